// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>

namespace rhizome {

/// What one step of a cursor came to.
enum class progress : std::uint8_t {
  done,       ///< The result is there.
  more,       ///< The budget is spent: step again, with a new one.
  cancelled,  ///< The asker is gone. The cursor may still be stepped on, with a budget that is not cancelled.
};

/// How long one step may take. The default: as long as it takes.
struct budget_limits {
  std::uint64_t arcs = std::numeric_limits<std::uint64_t>::max();  ///< Arcs and vertices that it may look at.
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  const std::atomic<bool>* cancel = nullptr;  ///< Set by anyone, at any time; must outlive the budget.
};

/// Keeps a long traversal from holding its thread: a cursor's step works until its budget is spent, then returns and goes on in the
/// next step. Cursors ask between chunks of work (some thousand arcs, or a vertex's arcs where it has more), so a step
/// overshoots by a chunk, 10 to 100 us; and each step but a cancelled one does at least one chunk, so that small budgets
/// end as well. One budget is for one step; the threads of a team share it.
class budget {
public:
  budget() = default;
  explicit budget(budget_limits limits)
      : left_(limits.arcs),
        deadline_(limits.deadline),
        cancel_(limits.cancel),
        timed_(limits.deadline != std::chrono::steady_clock::time_point::max()) {}

  /// Notes `arcs` of work as done. Returns whether there may be more.
  bool spend(std::uint64_t arcs) noexcept {
    // Relaxed throughout: no data hangs on it, only when to stop.
    worked_.store(true, std::memory_order_relaxed);
    auto const before = left_.load(std::memory_order_relaxed);
    if (before != std::numeric_limits<std::uint64_t>::max()) {
      left_.store(before > arcs ? before - arcs : 0,
                  std::memory_order_relaxed);  // a race loses a chunk's count, no more
    }
    return !spent();
  }

  [[nodiscard]] bool spent() const noexcept {
    return left_.load(std::memory_order_relaxed) == 0 || is_cancelled() ||
           (timed_ && std::chrono::steady_clock::now() >= deadline_);
  }
  [[nodiscard]] bool is_cancelled() const noexcept {
    return cancel_ != nullptr &&
           cancel_->load(std::memory_order_relaxed);  // a flag alone: nothing is read by its leave
  }
  /// Whether another piece of work may be begun: the first one always, unless cancelled.
  [[nodiscard]] bool may_begin() const noexcept {
    return worked_.load(std::memory_order_relaxed) ? !spent() : !is_cancelled();
  }
  /// What a step returns that stopped before the end.
  [[nodiscard]] progress unfinished() const noexcept { return is_cancelled() ? progress::cancelled : progress::more; }

private:
  std::atomic<std::uint64_t> left_{std::numeric_limits<std::uint64_t>::max()};
  std::chrono::steady_clock::time_point deadline_ = std::chrono::steady_clock::time_point::max();
  const std::atomic<bool>* cancel_ = nullptr;
  std::atomic<bool> worked_{false};
  bool timed_ = false;
};

}  // namespace rhizome
