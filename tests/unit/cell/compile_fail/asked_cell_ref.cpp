// SPDX-License-Identifier: Apache-2.0
// A handle that names no class can be sent to and not asked: whoever asks it from outside of cells is told why.
#include <chrono>

#include <karyon/cell/runtime.hpp>

struct count {};

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

bool asks(karyon::runtime& rt, const handle& whom) {
  return rt.ask(whom, count{}, std::chrono::seconds(1)).has_value();
}
