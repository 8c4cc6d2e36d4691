// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <string>

#include <karyon/supervise/supervisor.hpp>

#include "unit/cell/cell_testing.hpp"

namespace karyon::tests {

struct die {
  exit_reason why;
};
struct where_am_i {};
struct fail_hard {};

/// What the incarnations of children have in common: who lives, how often which was born.
struct registry {
  std::atomic<int> living{0};
  std::atomic<int> born{0};
  std::atomic<int> refuse_births{0};  ///< so many constructor calls to come throw
};

/// A child with a number.
class ward : public cell {
public:
  using accepts = signals<die, get, ping, where_am_i, fail_hard>;
  ward(registry& r, int number) : number_(number), alive_(r.living) {
    if (r.refuse_births.load() > 0 && r.refuse_births.fetch_sub(1) > 0) throw std::runtime_error("no room");
    r.born.fetch_add(1);
  }
  void on(const die& d) { exit(d.why); }
  int on(get) { return number_; }
  bool on(ping) { return true; }
  std::uint32_t on(where_am_i) { return stats().worker; }
  void on(fail_hard) { throw std::runtime_error("hard"); }

private:
  int number_;
  counted alive_;
};

/// Whether the role is filled again, by another incarnation than `before`. One look: between two of them it may be gone.
template <class C>
[[nodiscard]] bool born_again(const child<C>& role, const ref<C>& before) {
  const ref<C> now = role.get();
  return now && !(now == before);
}

/// A budget that no test exhausts by accident.
inline supervisor_options generous() {
  return {.strategy = one_for_one, .intensity = {1'000'000, std::chrono::seconds(5)}};
}

}  // namespace karyon::tests
