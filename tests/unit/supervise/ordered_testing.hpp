// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include <karyon/supervise/ordered_supervisor.hpp>

#include "unit/supervise/supervised.hpp"

namespace karyon::tests {

/// Writes its birth and its end.
class chronicler : public cell {
public:
  using accepts = signals<die, get, fail_hard>;
  chronicler(diary& d, std::string name) : diary_(&d), name_(std::move(name)) { diary_->write("+" + name_); }
  void on(const die& d) { exit(d.why); }
  int on(get) { return 7; }
  void on(fail_hard) { throw std::runtime_error("hard"); }
  void on_exit(const exit_reason& why) { diary_->write("-" + name_ + " " + to_string(why)); }

private:
  diary* diary_;
  std::string name_;
};

/// Waits at a door in its constructor.
class latecomer : public cell {
public:
  using accepts = signals<ping>;
  latecomer(registry& r, const door& d) : alive_(r.living) {
    r.born.fetch_add(1);
    d.pass();
  }
  bool on(ping) { return true; }

private:
  counted alive_;
};

/// Dies of the first signal, which it has sent itself.
class stillborn : public cell {
public:
  using accepts = signals<fail_hard>;
  explicit stillborn(registry& r) : alive_(r.living) {
    r.born.fetch_add(1);
    self(this).send(fail_hard{});
  }
  void on(fail_hard) { throw std::runtime_error("hard"); }

private:
  counted alive_;
};

/// Traps exits, and heeds none.
class stubborn : public cell {
public:
  using accepts = signals<ping>;
  explicit stubborn(registry& r) : alive_(r.living) { trap_exit(true); }
  void on(const exit_signal&) {}
  bool on(ping) { return true; }

private:
  counted alive_;
};

inline child_options within(std::chrono::milliseconds t) {
  child_options o;
  o.shutdown = child_shutdown::within(t);
  return o;
}
inline child_options of_type(restart_type t) {
  child_options o;
  o.restart = t;
  return o;
}
inline constexpr restart_intensity endless{4'000'000'000U, std::chrono::hours(24)};

inline child_spec wards(registry& r, const std::string& id, int number = 0) {
  return child_spec::of<ward>(id, std::ref(r), number);
}
inline child_spec writes(diary& d, const std::string& id) { return child_spec::of<chronicler>(id, std::ref(d), id); }

}  // namespace karyon::tests
