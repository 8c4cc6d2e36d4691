#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <karyon/cell/crash_report.hpp>
#include <karyon/cell/runtime.hpp>

#include "core/log.hpp"
#include "core/rate_limit.hpp"
#include "sched/parker.hpp"
#include "sched/scheduler.hpp"
#include "sched/timer_wheel.hpp"

namespace karyon::detail {

/// What alike reports have in common, for the sum of those that were not made.
struct report_group {
  const char* what = "";  // "crash", or a supervisor's context
  std::string source;     // "/app/sessions shard 1"
  exit_reason why;
};

/// The parts of a reason by which reports are alike: kind, type and text.
inline void add_to_key(report_key& key, const exit_reason& why) noexcept {
  key.add(static_cast<std::uint64_t>(why.why()));
  key.add(why.type());
  key.add(why.text());
}

/// {"kind":"error","type":"std::runtime_error","text":"no such file"}
KARYON_API void append_json(std::string& to, const exit_reason& why);

/// A runtime's way to the log for reports: so many a second of each sort; the others are counted by group, a tally for
/// each worker, and summed up a second after the first of them, or when the runtime ends.
///
///   if (const std::uint64_t now_ns = desk.admit(sort, key, describe)) desk.file(now_ns, report);
///
/// Any thread.
class KARYON_API report_desk {
public:
  /// Each has a budget of its own, so that a storm of one does not drown the others.
  enum class sort : std::uint8_t { crash, child, supervisor };

  report_desk(const runtime_options& options, scheduler& workers);

  /// The time, if a report may be made now. If not, 0, and it is counted in the group `key`, which `describe()` names
  /// as a report_group if it is new. Cost of a refusal on a worker: no clock is read within a tick of the last refusal,
  /// no lock is taken for what is like the one before, nothing is allocated but for a new group.
  template <class Describe>
  [[nodiscard]] std::uint64_t admit(sort which, const report_key& key, Describe&& describe) noexcept {
    const covered here;
    const worker* w = worker::current();
    if (w == nullptr || &w->owner() != &workers_) {
      const std::uint64_t now_ns = monotonic_ns();
      return admit_at(which, now_ns, key, std::forward<Describe>(describe)) ? now_ns : 0;
    }
    own_tally& mine = tallies_[w->index()];
    // The coarse clock stands still while all workers sleep, hence the second part.
    const std::uint64_t moment = w->ticks() + (w->stats().sleeps.load(std::memory_order_relaxed) << 40U);
    std::uint64_t& refused_at = mine.refused_at[static_cast<std::size_t>(which)];
    if (refused_at != moment) {
      const std::uint64_t now_ns = monotonic_ns();
      if (budgets_[static_cast<std::size_t>(which)].allow(now_ns)) return now_ns;
      refused_at = moment;
    }
    mine.counts.count_own(key.value(), std::forward<Describe>(describe));
    // Sequentially consistent, as the count and the exchange in sum_up: who finds it set is in the sum that resets it.
    if (pending_since_ns_.load() == 0) note_pending(monotonic_ns());
    return 0;
  }
  /// The same at a given time, on a thread that is none of the workers.
  template <class Describe>
  [[nodiscard]] bool admit_at(sort which, std::uint64_t now_ns, const report_key& key, Describe&& describe) noexcept {
    if (budgets_[static_cast<std::size_t>(which)].allow(now_ns)) return true;
    tallies_[workers_.size()].counts.count(key.value(), std::forward<Describe>(describe));
    if (pending_since_ns_.load() == 0) note_pending(now_ns);
    return false;
  }

  /// Logs an admitted report, in the format that the runtime was given.
  template <class Report>
  void file(std::uint64_t now_ns, const Report& r) noexcept {
    sum_up_if_due(now_ns);
    if (!log_enabled(log_level::err)) return;
    try {
      log(log_level::err, format_ == report_format::json ? to_json(r) : to_text(r));
    } catch (...) {  // no memory for its words
      lost_.fetch_add(1, std::memory_order_relaxed);
    }
  }
  /// An admitted report could not be made, for want of memory.
  void lost() noexcept { lost_.fetch_add(1, std::memory_order_relaxed); }

  /// Logs the sums, if anything was counted.
  void sum_up(std::uint64_t now_ns) noexcept;
  /// Reports that were not made.
  [[nodiscard]] std::uint64_t suppressed() const noexcept;

private:
  using tally = report_tally<report_group>;
  struct own_tally {
    tally counts;
    // Its worker's: when each sort was last refused, by that worker's tick.
    std::array<std::uint64_t, 3> refused_at{~std::uint64_t{0}, ~std::uint64_t{0}, ~std::uint64_t{0}};
  };
  struct sum_timer : timer {
    report_desk* desk = nullptr;
  };

  void note_pending(std::uint64_t now_ns) noexcept;
  void sum_up_if_due(std::uint64_t now_ns) noexcept;

  scheduler& workers_;
  const report_format format_;
  std::array<report_budget, 3> budgets_;
  std::unique_ptr<own_tally[]> tallies_;  // one a worker, and one for all other threads
  std::atomic<std::uint64_t> lost_{0};
  alignas(64) std::atomic<std::uint64_t> pending_since_ns_{0};  // of the first in the next sum; 0: there is none
  std::atomic<bool> timer_started_{false};
  sum_timer timer_;  // whoever turns timer_started_ to true, then its worker
};

}  // namespace karyon::detail
