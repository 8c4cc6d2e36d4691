// SPDX-License-Identifier: Apache-2.0
// A class that lists no behaviours at all is told so in the sentence of one whose list lacks this one.
#include <karyon/cell/runtime.hpp>

struct knock {};
struct asleep;

class sleeper : public karyon::cell {
public:
  using accepts = karyon::signals<knock>;
#ifdef KARYON_CONTROL
  using behaviors = karyon::behaviors<asleep>;
#endif
  void on(knock) { become<asleep>(this); }
};

struct asleep {
  static void on(sleeper&, knock) {}
};

void start(karyon::runtime& rt) { rt.spawn<sleeper>(); }
