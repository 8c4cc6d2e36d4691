#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <new>
#include <optional>

#include <karyon/supervise/supervisor_spec.hpp>

#include "supervise/cause_table.hpp"
#include "supervise/in_ns.hpp"
#include "supervise/restart_budget.hpp"
#include "supervise/restart_history.hpp"

namespace karyon::detail {

/// Whether a supervisor of many children restarts one more: its options' intensity, for all shards together. Any thread.
class restart_limits {
public:
  explicit restart_limits(const supervisor_options& options)
      : restarts_(options.intensity.restarts),
        share_(options.intensity_share),
        bursts_(options.one_cause_window.count() > 0),
        budget_(share_ > 0 ? 0 : restarts_, period_of(options)),
        causes_(window_of(options)) {
    if (share_ > 0) history_.emplace(period_of(options));
  }

  [[nodiscard]] static std::uint64_t window_of(const supervisor_options& options) noexcept {
    return in_ns(options.one_cause_window);
  }

  /// One more failure, of a supervisor with so many children. `seen` is the calling shard's own table of bursts: it spares all but the first
  /// failure of a burst on each shard the lock.
  [[nodiscard]] bool allow(const exit_reason& why, std::uint64_t now_ns, std::uint64_t children,
                           cause_table& seen) noexcept {
    try {
      return bursts_ ? count_burst(why, now_ns, children, seen) : count(now_ns, children);
    } catch (const std::bad_alloc&) {
      return false;  // a budget that can not be kept is exceeded
    }
  }

private:
  [[nodiscard]] static std::uint64_t period_of(const supervisor_options& options) noexcept {
    return static_cast<std::uint64_t>(options.intensity.period.count());
  }
  [[nodiscard]] bool count(std::uint64_t now_ns, std::uint64_t children) {
    if (!history_) return budget_.add(now_ns);
    const auto shared = static_cast<std::uint64_t>(share_ * static_cast<double>(children));
    return history_->add(now_ns, std::max<std::uint64_t>(restarts_, shared));
  }
  /// Counts a failure unless it belongs to a burst that has been. One that is not allowed opens none: so are those that follow not.
  [[nodiscard]] bool count_burst(const exit_reason& why, std::uint64_t now_ns, std::uint64_t children,
                                 cause_table& seen) {
    if (seen.find(why, now_ns)) return true;
    const std::lock_guard lock(mutex_);
    auto began_ns = causes_.find(why, now_ns);
    if (!began_ns) {
      if (!count(now_ns, children)) return false;
      causes_.open(why, now_ns);
      began_ns = now_ns;
    }
    seen.open(why, *began_ns);
    return true;
  }

  const std::uint32_t restarts_;
  const double share_;
  const bool bursts_;
  restart_budget budget_;
  std::optional<restart_history> history_;  // with a share, in place of the budget
  std::mutex mutex_;
  cause_table causes_;  // mutex_
};

}  // namespace karyon::detail
