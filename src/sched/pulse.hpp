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

  /// Called on the pulse's thread after each tick, and when it asks for it: with the time; returns after how many nanoseconds
  /// it wants to be called again at the latest.
  using look_function = std::uint64_t (*)(void* context, std::uint64_t now_ns);

  /// Throws std::system_error where the system has no thread left.
  void start(look_function look = nullptr, void* context = nullptr);
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
  void pass_tick() noexcept;

  alignas(64) std::atomic<std::uint64_t> ticks_{0};
  alignas(64) std::atomic<std::uint32_t> busy_{0};
  std::atomic<bool> stop_{false};
  look_function look_ = nullptr;
  void* context_ = nullptr;
  parker parker_;
  std::thread thread_;
};

}  // namespace karyon::detail
