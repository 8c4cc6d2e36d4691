#pragma once

#include <atomic>
#include <cstdint>

#include <karyon/core/export.hpp>

namespace karyon::detail {

/// A sleeper's word: lets one thread sleep until another has something for it, and costs the other nothing while
/// nobody sleeps.
///
///   state     meaning                    left by
///   awake 0   the owner runs             owner: prepare() -> parked
///   parked 1  the owner sleeps or is     owner: cancel() -> awake; any thread: wake() -> awake (one of them wins)
///             about to
///
/// Protocol (Dekker): the owner calls prepare(), looks once more for work, then sleep() or cancel(). The waker makes
/// its work visible by a sequentially consistent write, then calls wake(). Either the owner's second look sees the
/// work or the waker sees `parked`. All operations on the word are sequentially consistent for that reason.
class KARYON_API parker {
public:
  /// Owner only.
  void prepare() noexcept { state_.store(parked, std::memory_order_seq_cst); }
  /// Owner only; after prepare() found work. Relaxed: a waker that still sees `parked` wakes nobody, and that is all.
  void cancel() noexcept { state_.store(awake, std::memory_order_relaxed); }
  /// Owner only: blocks until woken or until the monotonic time `deadline_ns` (0: no deadline). Afterwards awake.
  void sleep(std::uint64_t deadline_ns) noexcept;

  /// Any thread. Returns true if this call ended a sleep. One load when the owner is awake.
  bool wake() noexcept {
    if (state_.load(std::memory_order_seq_cst) != parked) return false;
    return wake_slow();
  }
  [[nodiscard]] bool is_parked() const noexcept { return state_.load(std::memory_order_relaxed) == parked; }

private:
  static constexpr std::uint32_t awake = 0;
  static constexpr std::uint32_t parked = 1;
  bool wake_slow() noexcept;

  std::atomic<std::uint32_t> state_{awake};
};

/// Monotonic nanoseconds (CLOCK_MONOTONIC): never jumps when the wall clock is set. The time of the simulation on a thread
/// that drives one.
[[nodiscard]] KARYON_API std::uint64_t monotonic_ns() noexcept;

}  // namespace karyon::detail
