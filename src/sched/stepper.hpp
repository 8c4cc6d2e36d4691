#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <karyon/core/export.hpp>

#include "sched/scheduler.hpp"

namespace karyon::detail {

/// The workers of a scheduler without threads, as a simulation runs them: one task at a time, on the thread that calls, with
/// the caller choosing which. What tasks see of their worker is as on a thread of its own.
///
/// One thread, that of the simulation.
class KARYON_API stepper {
public:
  explicit stepper(scheduler& s);
  /// Gives what is runnable back to the queues.
  ~stepper();
  stepper(const stepper&) = delete;
  stepper& operator=(const stepper&) = delete;

  [[nodiscard]] scheduler& owner() const noexcept { return owner_; }

  /// Looks what has become runnable, and makes it eligible behind what is.
  void collect();
  /// How many tasks a worker has that it may run: pinned ones, and those that no worker of its node has yet.
  [[nodiscard]] std::size_t runnable(unsigned worker) const noexcept { return waiting_[worker].size(); }
  [[nodiscard]] task* at(unsigned worker, std::size_t i) const noexcept { return waiting_[worker][i].what; }
  /// Takes task `i` of worker `from` out. `where` is drawn from to choose the worker that runs it: itself, or one that would
  /// be given it if it were idle.
  struct taken {
    task* what;
    class worker* where;
  };
  [[nodiscard]] taken take(unsigned from, std::size_t i, std::uint64_t where) noexcept;
  /// Runs a task that was taken, in a turn of at most so many signals.
  void run(const taken& t, std::uint32_t signals_per_turn);

  /// The earliest time at which a worker's timers may have something to do; timer_wheel::no_deadline if it has none.
  [[nodiscard]] std::uint64_t next_timer_ns(unsigned worker) const noexcept;
  /// Time has come to `now_ns`: fires what is due on this worker, on it.
  void fire_timers(unsigned worker, std::uint64_t now_ns);
  /// Frees the timers that others have cancelled.
  void release_cancelled(unsigned worker);
  /// What the workers' coarse clock shows.
  void show_time(std::uint64_t now_ns) noexcept;

private:
  struct entry {
    task* what;
    bool pinned;  // or of high priority: stays with its worker. Any order may be met, so no lane comes first.
  };
  void collect(unsigned index);

  scheduler& owner_;
  std::vector<std::vector<entry>> waiting_;  // by worker
};

}  // namespace karyon::detail
