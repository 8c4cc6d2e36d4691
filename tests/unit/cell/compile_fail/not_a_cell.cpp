// SPDX-License-Identifier: Apache-2.0
// A class that is no cell has no place in a slot: it must not compile, whatever else it has.
#include <karyon/cell/runtime.hpp>

struct listed {};

#ifdef KARYON_CONTROL
class receiver : public karyon::cell {
#else
class receiver {
#endif
public:
  using accepts = karyon::signals<listed>;
  void on(listed) {}
};

void start(karyon::runtime& rt) { rt.spawn<receiver>(); }
