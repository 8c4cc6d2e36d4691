// SPDX-License-Identifier: Apache-2.0
// A signal that the receiver's class does not list must not compile, with a sentence that says what to do.
#include <karyon/cell/runtime.hpp>

struct listed {};
struct unlisted {};

class receiver : public karyon::cell {
public:
  using accepts = karyon::signals<listed>;
  void on(listed) {}
};

#ifdef KARYON_CONTROL
using candidate = listed;
#else
using candidate = unlisted;
#endif

karyon::send_result send(const karyon::ref<receiver>& r) { return r.send(candidate{}); }
