#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <karyon/sim/testing.hpp>

#include "cell/observer.hpp"
#include "core/log.hpp"
#include "sched/simulation.hpp"
#include "sched/stepper.hpp"
#include "sim/trace.hpp"

namespace karyon::testing::detail {

using karyon::detail::cell_observer;
using karyon::detail::cell_slot;
using karyon::detail::log_capture;
using karyon::detail::scheduler;
using karyon::detail::simulation;
using karyon::detail::stepper;
using karyon::detail::task;
using karyon::detail::worker;

/// What a world does: chooses what runs next, keeps the time, looks at each signal before it is handled.
///
/// One thread. From its construction to its destruction it is the thread's simulation, observer and log.
class driver final : public simulation, public cell_observer, public log_capture {
public:
  explicit driver(const world_options& options);
  ~driver();

  // ---- for the world ----
  /// Aborts with a sentence inside a cell's turn, handler or constructor, where a call of the world is none of its business.
  void refuse_inside(const char* call) const noexcept;
  /// One thing happens at the present time; false if nothing can.
  bool step();
  /// Runs until nothing can happen at the present time, or something failed; where turns take time, until then at the longest.
  void settle(std::uint64_t end_ns = no_event);
  /// Runs until then, in time's order.
  void pass_until(std::uint64_t end_ns);
  /// Runs until `ready`, failed or the deadline, or until nothing is left that could happen.
  bool run_until(const std::function<bool()>& ready, std::uint64_t deadline_ns);

  void add_rule(std::shared_ptr<rule_state> r);
  /// The world is about to end: no rule applies any more, nothing can fail, and the budget of turns, which is the test's, is
  /// large enough for an end of many cells.
  void begin_end() noexcept;
  /// Throws if a rule has been broken.
  void check_failed() const;
  /// Throws as check_failed(), and if something expected did not happen; ends all expectations.
  void verify();
  [[nodiscard]] bool has_open_expectations() const noexcept;
  /// The thread has no simulation any more.
  void let_go() noexcept;
  /// Frees signals that rules have kept: after the runtime's shutdown.
  void discard_kept() noexcept;

  [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }
  [[nodiscard]] std::uint64_t elapsed_ns() const noexcept { return now_ns_ - started_ns_; }
  [[nodiscard]] const trace& happened() const noexcept { return trace_; }
  /// Signals that were lost by what the test itself has sent.
  [[nodiscard]] std::uint64_t lost_by_test(karyon::detail::loss cause) const noexcept {
    return lost_outside_[static_cast<std::size_t>(cause)];
  }
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_; }
  [[nodiscard]] std::uint64_t delayed_now() const noexcept { return delayed_.size(); }
  [[nodiscard]] std::vector<std::string> log_lines() const { return {log_.begin(), log_.end()}; }

  // ---- simulation ----
  void adopt(scheduler& s) override;
  void release(scheduler& s) noexcept override;
  bool drive_until(condition ready, const void* what, std::uint64_t deadline_ns) noexcept override;
  std::uint64_t random_bits() noexcept override { return chance_(); }

  // ---- cell_observer ----
  void runs(cell_slot& s) noexcept override;
  bool admits(cell_slot& s, signal& what) noexcept override;
  void ends(cell_slot& s, const exit_reason& why) noexcept override;
  void lost_outside(karyon::detail::loss cause, std::uint64_t n) noexcept override {
    lost_outside_[static_cast<std::size_t>(cause)] += n;
  }

  // ---- log_capture ----
  void line(log_level level, std::string_view text) override;

private:
  static constexpr std::uint64_t no_event = ~std::uint64_t{0};

  struct cell_name {
    std::uint32_t incarnation = 0;
    std::uint32_t number = 0;
  };
  /// The turn that happens right now, if one does.
  struct turn {
    worker* where = nullptr;
    std::uint32_t cell = 0;
  };
  struct due_timers {
    stepper* of;
    unsigned worker;
  };
  struct delayed_signal;
  /// A call of drive_until that has not returned; those it was called in lie below it on the stack.
  struct wait {
    condition ready;
    const void* what;
    std::uint64_t deadline_ns;
  };

  [[nodiscard]] bool is_blocked(const worker& w) const noexcept;
  [[nodiscard]] std::size_t runnable_tasks() const noexcept;
  bool run_due(std::size_t choice);
  void run_task(std::size_t choice);
  [[nodiscard]] stepper* chosen(std::size_t& choice, unsigned& worker) const noexcept;
  [[nodiscard]] bool is_slow(const task* t, const worker& w);
  [[nodiscard]] std::uint32_t turn_length() noexcept;
  [[nodiscard]] std::uint64_t next_event_ns();
  void move_to(std::uint64_t time_ns);
  void deliver_delayed();
  [[nodiscard]] bool within_budget(std::uint64_t turns_before);
  /// Whether turns themselves have brought the time there: then cells that are still busy go on in the next call.
  [[nodiscard]] bool turns_reached(std::uint64_t end_ns) const noexcept {
    return turn_time_ns_ != 0 && now_ns_ >= end_ns;
  }
  [[nodiscard]] std::uint32_t number_of(cell_slot& s);
  [[nodiscard]] bool applies(rule_state& r, const cell_slot& s, const signal& what);
  bool take_away(cell_slot& s, signal& what);
  void count_expected(const cell_slot& s, const signal& what);
  void record(event::kind what, const cell_slot& s, std::uint32_t number, std::string_view type,
              const exit_reason& why = {});
  void fail(std::string text);
  [[noreturn]] void deadlocked() const noexcept;
  [[noreturn]] void stuck(const std::string& why) const noexcept;

  const std::uint64_t seed_;
  const std::uint64_t turn_time_ns_;
  std::uint64_t turns_max_;
  const std::uint32_t signals_most_;
  const std::uint64_t started_ns_;
  random chance_;
  random rule_chance_;      // apart, so that a rule does not change what happens before it applies
  std::uint64_t slow_key_;  // 0: in this world nobody is slower than others

  std::vector<std::unique_ptr<stepper>> steppers_;
  std::vector<const worker*> blocked_;  // in a turn that waits, while others go on
  std::vector<wait> waits_;             // innermost last
  std::vector<due_timers> due_;
  bool delayed_due_ = false;
  std::uint64_t turns_ = 0;
  turn now_running_;

  std::unordered_map<const cell_slot*, cell_name> names_;
  std::uint32_t last_number_ = 0;
  trace trace_;
  std::deque<std::string> log_;

  std::vector<std::shared_ptr<rule_state>> rules_;
  std::multimap<std::uint64_t, delayed_signal*> delayed_;  // by the time at which they are due
  std::vector<signal*> lost_;                              // dropped ones
  std::uint64_t dropped_ = 0;
  std::array<std::uint64_t, 6> lost_outside_{};  // by loss
  std::string failure_;
};

/// The error that a failed world throws, with the seed and the world's last moments.
[[nodiscard]] std::string report_of(const driver& d, std::string_view what);
/// A report with the command that replays the seed.
[[nodiscard]] std::string with_command(const std::string& report, std::uint64_t seed);

}  // namespace karyon::testing::detail
