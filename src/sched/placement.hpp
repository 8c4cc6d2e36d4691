// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <karyon/core/export.hpp>
#include <karyon/core/result.hpp>

namespace karyon::detail {

/// How far from the worker that made it runnable a task was queued.
enum class wake_distance : std::uint8_t { same_worker, same_cache, same_node, other_node };

/// Tells a worker when what it gives away had better stay away.
///
/// Donations move a task for one turn; what outsiders, timers and other nodes send to it goes to its home again. A worker that
/// gives and gives, and gets nothing back, is the home of too many busy cells. Measured in windows: one in which it gave, net,
/// more than an eighth of what it ran is an overload; from the second such window in a row on, half of the first donation of
/// each gets its home at the receiver. So homes move by a few cells at a time, and stop moving in the first window without a
/// one-sided flow: they do not swing, since a swing needs two windows of overload on the other side.
///
/// Threads: `received` any; the rest is the worker's own.
class KARYON_API donation_balance {
public:
  static constexpr std::uint64_t window_ticks = 64;  // 34 ms
  /// A window that is seen to be over this late says nothing about the present.
  static constexpr std::uint64_t stale_windows = 4;

  /// `n` tasks are given away at tick `now` by a worker that has run `turns` in all: how many of them get a new home.
  [[nodiscard]] std::size_t gave(std::size_t n, std::uint64_t now, std::uint64_t turns) noexcept;
  /// Relaxed: a count; a donation that is counted in the window after its own changes nothing that matters.
  void received(std::size_t n) noexcept { received_.fetch_add(n, std::memory_order_relaxed); }

private:
  std::uint64_t window_start_ = 0;
  std::uint64_t turns_before_ = 0;
  std::uint64_t given_ = 0;
  unsigned overloads_ = 0;  // windows in a row
  bool move_next_ = false;  // of this window's first donation
  std::atomic<std::uint64_t> received_{0};
};

/// The units that the calling thread may run on now, by the system's number, in order. Errors: unsupported, system_error.
[[nodiscard]] KARYON_API result<std::vector<std::uint32_t>> units_of_current_thread();

}  // namespace karyon::detail
