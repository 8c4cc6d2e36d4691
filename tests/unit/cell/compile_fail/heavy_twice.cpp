// SPDX-License-Identifier: Apache-2.0
// A handler runs on one pool.
#include <karyon/cell/runtime.hpp>

struct first {};
struct second {};

class worker_bee : public karyon::cell {
public:
  using accepts = karyon::signals<first, second>;
  using dirty_cpu = karyon::signals<first>;
#ifdef KARYON_CONTROL
  using dirty_io = karyon::signals<second>;
#else
  using dirty_io = karyon::signals<second, first>;
#endif
  void on(first) {}
  void on(second) {}
};

void start(karyon::runtime& rt) { rt.spawn<worker_bee>(); }
