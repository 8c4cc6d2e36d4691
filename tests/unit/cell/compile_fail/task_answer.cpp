// SPDX-License-Identifier: Apache-2.0
// A coroutine whose answer can not travel must not compile as a handler, with a sentence that says so.
#include <karyon/cell/task.hpp>

struct order {
  int number;
};

#ifdef KARYON_CONTROL
using answer = int;
#else
using answer = int*;
#endif

class clerk : public karyon::cell {
public:
  using accepts = karyon::signals<order>;
  karyon::task<answer> on(order) { co_return answer{}; }
};

karyon::send_result send(const karyon::ref<clerk>& r) { return r.send(order{1}); }
