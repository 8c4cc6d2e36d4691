#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "sched/parker.hpp"

namespace karyon::detail {

/// The runtime's coarse clock: one thread that counts ticks of half a millisecond while any worker is busy, so that a
/// worker learns of elapsed time by reading a word instead of a clock (a clock read is dearer than a whole signal).
///
/// It stops counting, and sleeps, some ticks after the last worker has gone to sleep: an idle runtime costs nothing.
class pulse {
public:
  pulse() = default;
  pulse(const pulse&) = delete;
  pulse& operator=(const pulse&) = delete;
  ~pulse() { stop(); }

  void start();
  void stop() noexcept;

  /// The number of ticks so far. Relaxed: only ever compared with an earlier read of the same thread.
  [[nodiscard]] std::uint64_t ticks() const noexcept { return ticks_.load(std::memory_order_relaxed); }

  /// A worker wakes up. Sequentially consistent with the pulse's own look at the count before it sleeps.
  void worker_wakes() noexcept {
    busy_.fetch_add(1, std::memory_order_seq_cst);
    parker_.wake();
  }
  /// In place of the thread, in a simulation.
  void show(std::uint64_t ticks) noexcept { ticks_.store(ticks, std::memory_order_relaxed); }
  void worker_sleeps() noexcept { busy_.fetch_sub(1, std::memory_order_relaxed); }

  static constexpr std::uint64_t tick_ns = std::uint64_t{1} << 19;

private:
  void loop() noexcept;

  alignas(64) std::atomic<std::uint64_t> ticks_{0};
  alignas(64) std::atomic<std::uint32_t> busy_{0};
  std::atomic<bool> stop_{false};
  parker parker_;
  std::thread thread_;
};

}  // namespace karyon::detail
