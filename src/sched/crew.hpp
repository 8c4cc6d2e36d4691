#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <karyon/core/export.hpp>

#include "sched/parker.hpp"
#include "sched/seat.hpp"

namespace karyon::detail {

class pulse;
class worker;

/// The threads of a scheduler. Each runs one worker, or has lost its worker to another while a handler on it did not return,
/// or is a spare that waits for such a case. Spares are made when the first is needed, and kept.
class KARYON_API crew {
public:
  static constexpr unsigned no_node = ~0u;
  struct member {
    seat place;
    parker bed;
    std::atomic<worker*> assigned{nullptr};  // crew: the worker to run next; seq_cst with bed, as the parker asks
    worker* serves = nullptr;                // the crew's mutex; null for one that has lost its worker, and for spares
    bool away = false;                       // the crew's mutex; has lost its worker and has not come back yet
    unsigned node = no_node;                 // the crew's mutex; of the worker that it ran last
    int tid = 0;  // the system's number; written by the thread before it first takes a worker
    std::thread thread;

    // The watch's notes on the handler that it last saw here.
    std::uint64_t seen_number = 0;
    std::uint64_t first_seen_ns = 0;
    std::uint64_t last_seen_ns = 0;
    const void* seen_what = nullptr;
    const void* seen_whom = nullptr;
    unsigned seen_worker = 0;
    std::uint8_t stage = 0;
    std::uint64_t used_cpu_ns = 0;  // of the thread, at last_seen_ns; 0: not asked in this turn
    std::uint64_t own_ns = 0;       // of this turn: seen to compute, or to be blocked
  };

  crew(pulse& clock, std::size_t spares_max) : pulse_(clock), spares_max_(spares_max) {}
  crew(const crew&) = delete;
  crew& operator=(const crew&) = delete;
  ~crew() { stop(); }

  /// Gives a worker its thread. `watched`: handlers on it are seen by the watch. Throws std::system_error where the system
  /// has no thread left. Before stop().
  void start(worker& w, bool watched);
  /// Ends the spares and joins all threads; the workers are told to stop beforehand, by the scheduler. Idempotent.
  void stop() noexcept;

  enum class outcome : std::uint8_t {
    taken,     ///< a spare runs the worker now
    busy,      ///< the thread was inside the runtime, or is through with that handler: look again
    no_spare,  ///< as many spares as may be are busy, or the system has no thread left
  };
  /// Moves the worker of `from`, whose handler `number` does not return, to a spare. The watch's thread only.
  [[nodiscard]] outcome take_over(member& from, std::uint64_t number) noexcept;

  /// Calls `f(member&)` for each thread. The watch's thread only.
  template <class F>
  void for_each(F&& f) {
    const std::lock_guard lock(mutex_);
    for (const auto& m : members_) f(*m);
  }
  /// Worker threads that a handler has kept from their worker, at present.
  [[nodiscard]] std::size_t away() const noexcept { return away_.load(std::memory_order_relaxed); }
  /// All threads there are.
  [[nodiscard]] std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return members_.size();
  }

private:
  /// mutex_. Throws std::system_error, std::bad_alloc.
  member& add();
  /// mutex_. Takes the spare out that suits a worker of this node best; there is one.
  [[nodiscard]] member& take_spare(unsigned node) noexcept;
  /// mutex_.
  static void give(member& m, worker& w) noexcept;
  void serve(member& m) noexcept;
  void come_back(member& m) noexcept;

  pulse& pulse_;
  const std::size_t spares_max_;
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<member>> members_;  // mutex_
  std::vector<member*> spares_;                   // mutex_; has room for all members
  std::size_t made_for_workers_ = 0;              // mutex_
  bool watched_ = false;                          // before the threads start
  std::atomic<bool> stopping_{false};
  std::atomic<std::size_t> away_{0};
};

}  // namespace karyon::detail
