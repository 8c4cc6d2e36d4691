// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the tests of OTP's behaviours share. docs/internals/otp-behaviours.md says which test stands for which case of OTP's
// and Elixir's own suites.

#include <array>
#include <functional>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <karyon/supervise/ordered_supervisor.hpp>
#include <karyon/supervise/supervisor.hpp>

#include "unit/supervise/supervised.hpp"

namespace karyon::tests {

/// What a constructor does when its turn comes.
enum class birth : std::uint8_t { lives, throws, ignored };

/// Knows what the children of a test have done, by name, and what their next constructors are to do. Outlives the runtime.
///
/// The log has a line for each event: "+a" constructed, "!a" a constructor threw, "~a" ignored, "?a" asked to end (only who
/// traps exits can tell), "-a shutdown" ended so.
class stage {
public:
  stage() = default;
  stage(const stage&) = delete;
  stage& operator=(const stage&) = delete;
  /// Never two incarnations of one name, in no test.
  ~stage() { CHECK(doubled_ == 0); }

  /// The next births of that name; after them `then`.
  void births(const std::string& name, std::vector<birth> next, birth then = birth::lives) {
    const std::lock_guard lock(mutex_);
    auto& r = roles_[name];
    r.next = std::move(next);
    r.at = 0;
    r.then = then;
  }
  void all_births(const std::string& name, birth what) { births(name, {}, what); }

  /// A constructor begins: throws what it is to throw.
  void begin(const std::string& name) {
    const birth what = [&] {
      const std::lock_guard lock(mutex_);
      auto& r = roles_[name];
      ++r.attempts;
      return r.at < r.next.size() ? r.next[r.at++] : r.then;
    }();
    if (what == birth::throws) {
      note(name, "!" + name);
      throw std::runtime_error(name + " can not start");
    }
    if (what == birth::ignored) {
      note(name, "~" + name);
      throw ignore_start{};
    }
    const std::lock_guard lock(mutex_);
    auto& r = roles_[name];
    ++r.born;
    if (r.living++ > 0) ++doubled_;
    log_.push_back("+" + name);
  }
  void asked(const std::string& name) { note(name, "?" + name); }
  void ended(const std::string& name, const exit_reason& why) { note(name, "-" + name + " " + to_string(why)); }
  void gone(const std::string& name) {
    const std::lock_guard lock(mutex_);
    --roles_[name].living;
  }

  [[nodiscard]] int born(const std::string& name) const { return look(name).born; }
  [[nodiscard]] int attempts(const std::string& name) const { return look(name).attempts; }
  [[nodiscard]] int living(const std::string& name) const { return look(name).living; }
  [[nodiscard]] int living() const {
    const std::lock_guard lock(mutex_);
    int sum = 0;
    for (const auto& r : roles_) sum += r.second.living;
    return sum;
  }
  [[nodiscard]] lines log() const {
    const std::lock_guard lock(mutex_);
    return log_;
  }
  void forget_log() {
    const std::lock_guard lock(mutex_);
    log_.clear();
  }
  [[nodiscard]] bool logged(const std::string& line) const {
    const lines all = log();
    return std::find(all.begin(), all.end(), line) != all.end();
  }
  /// Waits for it.
  [[nodiscard]] bool comes(const std::string& line) const {
    return eventually([&] { return logged(line); });
  }
  [[nodiscard]] bool empty() const {
    return eventually([&] { return living() == 0; });
  }

private:
  struct role {
    std::vector<birth> next;
    std::size_t at = 0;
    birth then = birth::lives;
    int attempts = 0;
    int born = 0;
    int living = 0;
  };
  [[nodiscard]] role look(const std::string& name) const {
    const std::lock_guard lock(mutex_);
    const auto found = roles_.find(name);
    return found != roles_.end() ? found->second : role{};
  }
  void note(const std::string& name, std::string line) {
    const std::lock_guard lock(mutex_);
    static_cast<void>(roles_[name]);
    log_.push_back(std::move(line));
  }

  mutable std::mutex mutex_;
  std::map<std::string, role> roles_;
  lines log_;
  int doubled_ = 0;
};

/// A child that lives as the stage says, and ends as it is told.
class player : public cell {
public:
  using accepts = signals<die, get, fail_hard>;
  player(stage& s, std::string name) : stage_(&s), name_(std::move(name)) { stage_->begin(name_); }
  ~player() { stage_->gone(name_); }
  void on(const die& d) { exit(d.why); }
  int on(get) { return stage_->born(name_); }
  void on(fail_hard) { throw std::runtime_error("hard"); }
  void on_exit(const exit_reason& why) { stage_->ended(name_, why); }

private:
  stage* stage_;
  std::string name_;
};

/// A child that traps exits: it ends with a reason of its own when it is asked to, or not at all (deaf), but for `die`.
class trapper : public cell {
public:
  using accepts = signals<die, get>;
  trapper(stage& s, std::string name, std::optional<exit_reason> answer)
      : stage_(&s), name_(std::move(name)), answer_(std::move(answer)) {
    trap_exit(true);
    stage_->begin(name_);
  }
  ~trapper() { stage_->gone(name_); }
  void on(const die& d) { exit(d.why); }
  int on(get) { return stage_->born(name_); }
  void on(const exit_signal&) {
    stage_->asked(name_);
    if (answer_) exit(*answer_);
  }
  void on_exit(const exit_reason& why) { stage_->ended(name_, why); }

private:
  stage* stage_;
  std::string name_;
  std::optional<exit_reason> answer_;
};
inline constexpr std::nullopt_t deaf = std::nullopt;

/// A child that gives whoever starts it a value.
class informant : public cell {
public:
  using accepts = signals<die>;
  explicit informant(std::string what) { start_info(std::any(std::move(what))); }
  void on(const die& d) { exit(d.why); }
};

/// A child that does nothing.
class idler : public cell {
public:
  using accepts = signals<ping>;
  bool on(ping) { return true; }
};

// -- specs -----------------------------------------------------------------------------------------------------------------

[[nodiscard]] inline child_options kept(restart_type restart, std::optional<child_shutdown> shutdown = {},
                                        bool significant = false) {
  child_options o;
  o.restart = restart;
  o.shutdown = shutdown;
  o.significant = significant;
  return o;
}
inline constexpr restart_type permanent = restart_type::permanent;
inline constexpr restart_type transient = restart_type::transient;
inline constexpr restart_type temporary = restart_type::temporary;

[[nodiscard]] inline child_spec plays(stage& s, const std::string& id, const child_options& options = {}) {
  return child_spec::of<player>(id, std::ref(s), id).with(options);
}
[[nodiscard]] inline child_spec traps(stage& s, const std::string& id, std::optional<exit_reason> answer,
                                      const child_options& options = {}) {
  return child_spec::of<trapper>(id, std::ref(s), id, std::move(answer)).with(options);
}

/// A limit of restarts in a time that no test takes.
[[nodiscard]] inline restart_intensity at_most(std::uint32_t restarts) { return {restarts, std::chrono::hours(24)}; }
/// A limit that no test reaches.
[[nodiscard]] inline restart_intensity endless() { return at_most(4'000'000'000U); }

[[nodiscard]] inline supervisor_spec tree_of(restart_strategy strategy, std::vector<child_spec> children,
                                             restart_intensity intensity = at_most(2),
                                             auto_shutdown ends = auto_shutdown::never) {
  supervisor_spec s;
  s.strategy = strategy;
  s.intensity = intensity;
  s.auto_shutdown = ends;
  s.children = std::move(children);
  return s;
}
inline constexpr std::array<restart_strategy, 3> all_strategies{one_for_one, one_for_all, rest_for_one};

[[nodiscard]] inline const char* name_of(restart_strategy s) {
  return s == one_for_one ? "one_for_one" : s == one_for_all ? "one_for_all" : "rest_for_one";
}
[[nodiscard]] inline const char* name_of(restart_type t) {
  return t == permanent ? "permanent" : t == transient ? "transient" : "temporary";
}
[[nodiscard]] inline const char* name_of(auto_shutdown a) {
  return a == auto_shutdown::never             ? "never"
         : a == auto_shutdown::any_significant ? "any_significant"
                                               : "all_significant";
}

// -- looks -----------------------------------------------------------------------------------------------------------------

/// specs, active, supervisors, workers: as OTP's tests write it.
using tally = std::array<std::size_t, 4>;
[[nodiscard]] inline tally counts(const ordered_supervisor& s) {
  const child_counts c = s.count();
  return {c.specs, c.active, c.supervisors, c.workers};
}
[[nodiscard]] inline lines ids(const ordered_supervisor& s) {
  lines all;
  for (const child_info& c : s.children()) all.push_back(c.id);
  return all;
}
/// Nothing if there is no such child.
[[nodiscard]] inline std::optional<child_state> state_of(const ordered_supervisor& s, std::string_view id) {
  for (const child_info& c : s.children()) {
    if (c.id == id) return c.state;
  }
  return std::nullopt;
}
[[nodiscard]] inline bool becomes(const ordered_supervisor& s, std::string_view id, std::optional<child_state> state) {
  return eventually([&] { return state_of(s, id) == state; });
}
/// The incarnation there is now.
[[nodiscard]] inline cell_ref now(const ordered_supervisor& s, std::string_view id) { return s.find_any(id).get(); }
/// Waits until another incarnation than that one runs.
[[nodiscard]] inline bool replaced(const ordered_supervisor& s, std::string_view id, const cell_ref& before) {
  return eventually([&] {
    const cell_ref c = now(s, id);
    return c && c.alive() && !(c == before) && state_of(s, id) == child_state::running;
  });
}
/// The code of a call that should have failed.
template <class T>
[[nodiscard]] std::optional<errc> code_of(const result<T>& r) {
  return r ? std::nullopt : std::optional(r.error().code());
}
/// Waits until a supervisor has ended; how.
template <class Supervisor>
[[nodiscard]] std::string end_of(const Supervisor& s) {
  return s.wait_ended(long_time) ? to_string(*s.ended()) : "still there";
}

/// Stops a supervisor before the stage of its children goes, where several take turns in one runtime.
class stops_at_end {
public:
  explicit stops_at_end(ordered_supervisor s) : s_(std::move(s)) {}
  stops_at_end(const stops_at_end&) = delete;
  stops_at_end& operator=(const stops_at_end&) = delete;
  ~stops_at_end() { s_.stop(); }

private:
  ordered_supervisor s_;
};

/// Whether the supervisor still takes changes: all that it had begun before is done when this returns.
[[nodiscard]] inline bool settled(ordered_supervisor s) {
  if (!s.start_child(child_spec::of<idler>("probe").with(kept(temporary)))) return false;
  return s.terminate_child("probe").has_value();
}

// -- ends ------------------------------------------------------------------------------------------------------------------

/// The ways in which a child can come to its end.
enum class way : std::uint8_t { by_supervisor, normally, by_shutdown, by_shutdown_with_words, by_failure, by_kill };
inline constexpr std::array<way, 6> all_ways{way::by_supervisor,          way::normally,   way::by_shutdown,
                                             way::by_shutdown_with_words, way::by_failure, way::by_kill};
[[nodiscard]] inline const char* name_of(way w) {
  static constexpr std::array<const char*, 6> names{"by its supervisor",      "normally",   "by shutdown",
                                                    "by shutdown with words", "by failure", "by kill"};
  return names[static_cast<std::size_t>(w)];
}
[[nodiscard]] inline bool is_expected(way w) {
  return w == way::normally || w == way::by_shutdown || w == way::by_shutdown_with_words;
}

/// Ends an incarnation in one of the ways that are not its supervisor's. Does not wait.
inline void end_cell(runtime& rt, const cell_ref& c, way w) {
  switch (w) {
    case way::by_supervisor: break;
    case way::normally: c.send(die{exit_reason::normal()}); break;
    case way::by_shutdown: rt.exit(c, exit_reason::shutdown()); break;
    case way::by_shutdown_with_words: rt.exit(c, exit_reason::shutdown("for a reason")); break;
    case way::by_failure: c.send(fail_hard{}); break;
    case way::by_kill: rt.exit(c, exit_reason::killed()); break;
  }
}
/// Ends the child with this id and waits until this incarnation is gone.
inline void end_child(runtime& rt, ordered_supervisor s, std::string_view id, way w) {
  const cell_ref c = now(s, id);
  REQUIRE(c.alive());
  if (w == way::by_supervisor) {
    REQUIRE(s.terminate_child(id));
  } else {
    end_cell(rt, c, w);
  }
  REQUIRE(eventually([&] { return !c.alive(); }));
}

}  // namespace karyon::tests
