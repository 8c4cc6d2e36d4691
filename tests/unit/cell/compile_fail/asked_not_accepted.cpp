// SPDX-License-Identifier: Apache-2.0
// A question that the receiver's class does not list is told in the same sentence as a signal that is sent.
#include <chrono>

#include <karyon/cell/runtime.hpp>

struct listed {};
struct unlisted {};

class receiver : public karyon::cell {
public:
  using accepts = karyon::signals<listed>;
  int on(listed) { return 1; }
};

#ifdef KARYON_CONTROL
using candidate = listed;
#else
using candidate = unlisted;
#endif

bool asks(karyon::runtime& rt, const karyon::ref<receiver>& r) {
  return rt.ask(r, candidate{}, std::chrono::seconds(1)).has_value();
}
