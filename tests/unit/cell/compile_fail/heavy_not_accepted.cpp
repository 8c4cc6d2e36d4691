// SPDX-License-Identifier: Apache-2.0
// A class can declare only handlers of signals that it accepts as heavy.
#include <karyon/cell/runtime.hpp>

struct listed {};
struct unlisted {};

class worker_bee : public karyon::cell {
public:
  using accepts = karyon::signals<listed>;
#ifdef KARYON_CONTROL
  using dirty_cpu = karyon::signals<listed>;
#else
  using dirty_cpu = karyon::signals<unlisted>;
#endif
  void on(listed) {}
};

void start(karyon::runtime& rt) { rt.spawn<worker_bee>(); }
