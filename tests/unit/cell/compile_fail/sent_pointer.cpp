// SPDX-License-Identifier: Apache-2.0
// A send of what is no value must not compile, with the sentence that says what is wrong with this very type.
#include <karyon/cell/runtime.hpp>

struct value {
  int number;
};
struct pointing {
  int* number;
};

#ifdef KARYON_CONTROL
using candidate = value;
#else
using candidate = pointing;
#endif

class receiver : public karyon::cell {
public:
  using accepts = karyon::signals<candidate>;
  void on(candidate) {}
};

karyon::send_result send(const karyon::ref<receiver>& r) { return r.send(candidate{}); }
karyon::send_result send(const karyon::cell_ref& r) { return r.send(candidate{}); }
