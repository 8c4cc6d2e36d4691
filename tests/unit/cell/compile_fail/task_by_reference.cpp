// SPDX-License-Identifier: Apache-2.0
// A handler that is a coroutine and takes its signal by reference must not compile, with a sentence that says why.
#include <karyon/cell/task.hpp>

struct order {
  int number;
};

#ifdef KARYON_CONTROL
using parameter = order;
#else
using parameter = const order&;
#endif

class clerk : public karyon::cell {
public:
  using accepts = karyon::signals<order>;
  karyon::task<int> on(parameter o) {
    co_await sleep_for(std::chrono::seconds(1));
    co_return o.number;
  }
};

karyon::send_result send(const karyon::ref<clerk>& r) { return r.send(order{1}); }
