// SPDX-License-Identifier: Apache-2.0
// A class that lists a signal and has no handler for it must not compile, and the compiler's trace names that signal.
#include <karyon/cell/runtime.hpp>

struct handled {};
struct forgotten {};

class receiver : public karyon::cell {
public:
  using accepts = karyon::signals<handled, forgotten>;
  void on(handled) {}
#ifdef KARYON_CONTROL
  void on(forgotten) {}
#endif
};

void start(karyon::runtime& rt) { rt.spawn<receiver>(); }
