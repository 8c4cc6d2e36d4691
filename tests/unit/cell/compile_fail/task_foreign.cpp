// SPDX-License-Identifier: Apache-2.0
// A task that awaits what is not its cell's must not compile, with a sentence that says what it can await.
#include <karyon/cell/task.hpp>

struct order {};

class clerk : public karyon::cell {
public:
  using accepts = karyon::signals<order>;
  karyon::task<> on(order) {
#ifdef KARYON_CONTROL
    co_await sleep_for(std::chrono::seconds(1));
#else
    co_await std::suspend_always{};
#endif
  }
};

karyon::send_result send(const karyon::ref<clerk>& r) { return r.send(order{}); }
