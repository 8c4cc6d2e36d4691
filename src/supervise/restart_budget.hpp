#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace karyon::detail {

/// Decides whether one more restart is still within a restart intensity: n restarts in any period, OTP's rule.
///
/// I/O-free: time comes in. Restart number k is allowed if and only if k < n, or restart k - n lies more than the period
/// back; so it is enough to remember the times of the last n restarts, in a ring. O(1), lock-free, any number of threads.
/// Two restarts that are decided at the same moment on two threads count as one after the other, in either order. Exact
/// unless a thread is held up for a whole period between its look at the clock and add (tests/model/budget_model.cpp).
class restart_budget {
public:
  restart_budget(std::uint32_t restarts, std::uint64_t period_ns);
  ~restart_budget();
  restart_budget(const restart_budget&) = delete;
  restart_budget& operator=(const restart_budget&) = delete;

  /// Counts one restart at the monotonic time `now_ns`; false if it is one too many. Throws std::bad_alloc.
  [[nodiscard]] bool add(std::uint64_t now_ns);

private:
  static constexpr std::uint32_t chunk_size = 8192;
  struct chunk {
    std::atomic<std::uint64_t> at[chunk_size] = {};  // time + 1; 0: not written yet
  };
  [[nodiscard]] std::atomic<std::uint64_t>& place(std::uint32_t i);

  const std::uint32_t restarts_;
  const std::uint64_t period_ns_;
  std::atomic<std::uint64_t> count_{0};
  // Chunks are allocated when first used, so a budget of millions costs memory only for restarts that happen.
  std::unique_ptr<std::atomic<chunk*>[]> chunks_;
};

}  // namespace karyon::detail
