// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "supervise/ordered_logic.hpp"

namespace karyon::tests {

/// Plays the children of an ordered_logic, and writes down what it is told to do with them.
///
/// A child starts at once and ends as it is asked, unless it is told otherwise. It checks on the way what must hold always: no
/// child is started twice at a time, none is left when the supervisor says that it has ended.
class ordered_driver {
public:
  using logic_type = detail::ordered_logic;
  using key = logic_type::key;
  using effect = logic_type::effect;
  enum class birth { lives, fails, ignored, hangs };

  explicit ordered_driver(const logic_type::settings& s) : logic(s) {}

  /// A child of the spec; to be called before begin().
  ordered_driver& with(const std::string& id, restart_type restart = restart_type::permanent, bool significant = false,
                       child_shutdown how = child_shutdown::infinity()) {
    spec_.push_back({name(id), {id, restart, how, significant}});
    return *this;
  }
  ordered_driver& begin() {
    logic.begin(std::move(spec_));
    run();
    return *this;
  }
  /// As often as there is something to do, but at most so often.
  void run(int steps = 1000) {
    carry_out();
    while (steps-- > 0 && logic.step(now)) carry_out();
  }

  // -- what happens to children -----------------------------------------------------------------------------------------

  void ends(const std::string& id, const exit_reason& why) {
    dies(id, why);
    run();
  }
  /// The end alone, without what the supervisor makes of it.
  void dies(const std::string& id, const exit_reason& why) {
    const key child = keys_.at(id);
    living_.erase(child);
    hanging_.erase(child);
    logic.child_ended(child, why, now);
    carry_out();
  }
  void has_started(const std::string& id) {
    hanging_.erase(keys_.at(id));
    logic.child_started(keys_.at(id), now);
    run();
  }
  void has_failed(const std::string& id) {
    hanging_.erase(keys_.at(id));
    living_.erase(keys_.at(id));
    logic.child_start_failed(keys_.at(id), exit_reason(exit_reason::kind::start_failed, "type", "words"));
    run();
  }
  void exit(const exit_reason& why) {
    logic.request_exit(why);
    run();
  }
  void deadline_passes() {
    logic.deadline_due();
    run();
  }
  /// The end of a wait alone, which the supervisor has yet to look at.
  void wait_fires(const std::string& id) { logic.retry_due(keys_.at(id)); }
  void wait_is_over(const std::string& id) {
    wait_fires(id);
    run();
  }

  // -- commands ---------------------------------------------------------------------------------------------------------

  void add(const std::string& id, restart_type restart = restart_type::permanent, bool significant = false) {
    logic.start_child(++ticket_, fresh(id), {id, restart, child_shutdown::infinity(), significant});
  }
  void start_child(const std::string& id, restart_type restart = restart_type::permanent, bool significant = false) {
    add(id, restart, significant);
    run();
  }
  void terminate(const std::string& id) {
    logic.terminate_child(++ticket_, id);
    run();
  }
  void restart(const std::string& id) {
    logic.restart_child(++ticket_, id);
    run();
  }
  void remove(const std::string& id) {
    logic.delete_child(++ticket_, id);
    run();
  }

  /// What was written since the last look.
  std::vector<std::string> log() { return std::exchange(log_, {}); }
  [[nodiscard]] std::size_t living() const { return living_.size(); }
  [[nodiscard]] bool lives(const std::string& id) const { return living_.count(keys_.at(id)) != 0; }
  [[nodiscard]] child_state state(const std::string& id) const { return states_.at(keys_.at(id)); }
  [[nodiscard]] bool knows(const std::string& id) const {
    const auto k = keys_.find(id);
    return k != keys_.end() && forgotten_.count(k->second) == 0;
  }
  [[nodiscard]] std::string id_of(key child) const { return names_.at(child); }
  [[nodiscard]] std::vector<std::string> living_ids() const {
    std::vector<std::string> ids;
    for (const auto& [child, n] : living_) ids.push_back(names_.at(child));
    return ids;
  }
  /// Those whose start takes its time.
  [[nodiscard]] std::vector<std::string> hanging_ids() const {
    std::vector<std::string> ids;
    for (const auto& [child, n] : hanging_) ids.push_back(names_.at(child));
    return ids;
  }
  [[nodiscard]] std::uint64_t answers() const { return answers_; }
  [[nodiscard]] std::uint64_t asked() const { return ticket_; }

  logic_type logic;
  std::uint64_t now = 1'000'000'000;
  std::map<std::string, std::deque<birth>> births;  // of the next starts, by id; then it lives
  std::map<std::string, birth> always;              // unless this is said
  std::map<std::string, exit_reason> answer_to_ask;
  bool deaf = false;          // nobody ends when asked
  bool hard_to_kill = false;  // nor when killed
  bool quiet = false;         // reports and states are not written
  int errors = 0;             // of the logic: two incarnations of one child, one left behind
  int overs = 0;              // it has ended, or its start has failed

private:
  key name(const std::string& id) {
    const key child = ++last_;
    keys_[id] = child;
    names_[child] = id;
    return child;
  }
  key fresh(const std::string& id) {
    // The name stays with the child that has it, if the new one is refused.
    const bool known = knows(id);
    const key child = ++last_;
    names_[child] = id;
    if (!known) keys_[id] = child;
    return child;
  }
  void write(std::string line) { log_.push_back(std::move(line)); }
  void carry_out() {
    for (auto effects = logic.take_effects(); !effects.empty(); effects = logic.take_effects()) {
      for (effect& e : effects) carry_out(e);
    }
  }
  void end(key child, const exit_reason& why) {
    hanging_.erase(child);
    if (living_.erase(child) != 0) logic.child_ended(child, why, now);
  }
  void start(key child) {
    const std::string id = names_.at(child);
    keys_[id] = child;
    auto what = birth::lives;
    if (const auto a = always.find(id); a != always.end()) what = a->second;
    if (auto& next = births[id]; !next.empty()) {
      what = next.front();
      next.pop_front();
    }
    if (living_.count(child) != 0) ++errors;
    if (what == birth::lives || what == birth::hangs) living_[child] = true;
    if (what == birth::hangs) hanging_[child] = true;
    if (what == birth::lives) logic.child_started(child, now);
    if (what == birth::ignored) logic.child_ignored(child);
    if (what == birth::fails) {
      logic.child_start_failed(child, exit_reason(exit_reason::kind::start_failed, "type", "words"));
    }
  }
  void carry_out(effect& e) {
    const std::string id = e.child != logic_type::no_child ? names_.at(e.child) : "";
    switch (e.what) {
      case effect::start: write("start " + id); return start(e.child);
      case effect::ask: {
        write("ask " + id);
        const auto answer = answer_to_ask.find(id);
        if (!deaf) end(e.child, answer != answer_to_ask.end() ? answer->second : e.why);
        return;
      }
      case effect::kill:
        write("kill " + id);
        if (!hard_to_kill) end(e.child, exit_reason::killed());
        return;
      case effect::arm_deadline: return write("deadline in " + std::to_string(e.delay_ns / 1'000'000) + " ms");
      case effect::cancel_deadline: return write("no deadline");
      case effect::arm_retry: last_wait_ns = e.delay_ns; return write("wait " + id);
      case effect::cancel_retry: return write("no wait " + id);
      case effect::become: states_[e.child] = e.state; return;
      case effect::forget: forgotten_[e.child] = true; return write("forget " + id);
      case effect::report:
        if (!quiet) write(std::string(to_string(e.context)) + " " + id + ": " + to_string(e.why));
        return;
      case effect::answer:
        ++answers_;
        return write("answer " + std::to_string(e.asker) + ": " +
                     (e.refusal ? to_string(e.refusal->code()) : "ok" + (id.empty() ? "" : " " + id)));
      case effect::has_started: return write("has started");
      case effect::start_has_failed: return over("start has failed: " + to_string(e.why));
      case effect::has_ended: return over("has ended: " + to_string(e.why));
    }
  }
  void over(std::string line) {
    if (!living_.empty()) ++errors;
    ++overs;
    write(std::move(line));
  }

public:
  std::uint64_t last_wait_ns = 0;

private:
  std::vector<std::pair<key, logic_type::rules>> spec_;
  std::map<std::string, key> keys_;
  std::map<key, std::string> names_;
  std::map<key, bool> living_;
  std::map<key, bool> hanging_;
  std::map<key, bool> forgotten_;
  std::map<key, child_state> states_;
  std::vector<std::string> log_;
  key last_ = logic_type::no_child;
  logic_type::ticket ticket_ = 0;
  std::uint64_t answers_ = 0;
};

// -- what most tests of it use ----------------------------------------------------------------------------------------

using birth = ordered_driver::birth;
inline constexpr auto permanent = restart_type::permanent;
inline constexpr auto transient = restart_type::transient;
inline constexpr auto temporary = restart_type::temporary;
inline constexpr auto never = auto_shutdown::never;
inline constexpr auto any = auto_shutdown::any_significant;
inline constexpr auto all = auto_shutdown::all_significant;

inline ordered_driver::logic_type::settings rules(restart_strategy strategy = one_for_one,
                                                  std::uint32_t restarts = 1000, auto_shutdown automatic = never) {
  ordered_driver::logic_type::settings s;
  s.strategy = strategy;
  s.intensity = {restarts, std::chrono::seconds(5)};
  s.automatic = automatic;
  return s;
}

inline const exit_reason failure = exit_reason::error("type", "words");
inline const exit_reason with_words = exit_reason::shutdown("words");

/// a, b, c, running, nothing written yet.
inline ordered_driver three(const ordered_driver::logic_type::settings& s) {
  ordered_driver d(s);
  d.with("a").with("b").with("c").begin();
  d.log();
  return d;
}

}  // namespace karyon::tests
