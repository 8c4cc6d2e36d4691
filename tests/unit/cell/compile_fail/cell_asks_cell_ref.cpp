// SPDX-License-Identifier: Apache-2.0
// The same where a cell asks.
#include <chrono>

#include <karyon/cell/runtime.hpp>

struct count {};
struct begin {};

class counter : public karyon::cell {
public:
  using accepts = karyon::signals<count>;
  int on(count) { return 1; }
};

#ifdef KARYON_CONTROL
using handle = karyon::ref<counter>;
#else
using handle = karyon::cell_ref;
#endif

class asker : public karyon::cell {
public:
  using accepts = karyon::signals<begin>;
  explicit asker(handle whom) : whom_(whom) {}
  void on(begin) {
    ask(whom_, count{}, std::chrono::seconds(1), [](const karyon::result<int>&) {});
  }

private:
  handle whom_;
};

void start(karyon::runtime& rt, const handle& whom) { rt.spawn<asker>(whom); }
