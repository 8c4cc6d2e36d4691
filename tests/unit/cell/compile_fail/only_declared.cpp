// SPDX-License-Identifier: Apache-2.0
// A signal to a class that is nowhere defined is no matter of what the class accepts. One that is defined further down will do.
#include <karyon/cell/runtime.hpp>

struct listed {};
class receiver;

bool sends(const karyon::ref<receiver>& r) { return karyon::ok(r.send(listed{})); }

#ifdef KARYON_CONTROL
class receiver : public karyon::cell {
public:
  using accepts = karyon::signals<listed>;
  void on(listed) {}
};
#endif
