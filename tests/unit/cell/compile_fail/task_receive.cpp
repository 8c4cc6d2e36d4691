// SPDX-License-Identifier: Apache-2.0
// To wait for a signal that the class does not list must not compile, with a sentence that says what to do.
#include <karyon/cell/task.hpp>

struct order {};
struct unlisted {};

#ifdef KARYON_CONTROL
using candidate = order;
#else
using candidate = unlisted;
#endif

class clerk : public karyon::cell {
public:
  using accepts = karyon::signals<order>;
  karyon::task<> on(order) { static_cast<void>(co_await receive<candidate>(this)); }
};

karyon::send_result send(const karyon::ref<clerk>& r) { return r.send(order{}); }
