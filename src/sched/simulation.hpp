#pragma once

#include <cstdint>

#include <karyon/core/export.hpp>

namespace karyon::detail {

class scheduler;

/// Stands in for threads, time and chance on the thread that has one set (room sim): schedulers that start there get no
/// threads, but run as it steps them; monotonic_ns() tells its time; what would block that thread drives it instead
/// (sched/wait.hpp). Everything of it is that one thread's.
class KARYON_API simulation {
public:
  using condition = bool (*)(const void* what);

  simulation(const simulation&) = delete;
  simulation& operator=(const simulation&) = delete;

  /// A scheduler starts, or has stopped. What is left in its queues stays there for scheduler::drain.
  virtual void adopt(scheduler& s) = 0;
  virtual void release(scheduler& s) noexcept = 0;

  /// In place of blocking: runs until `ready(what)`, at the longest until the time `deadline_ns`. Returns ready(what).
  /// Aborts with a sentence if there is no deadline and nothing is left that could ever happen.
  [[nodiscard]] virtual bool drive_until(condition ready, const void* what, std::uint64_t deadline_ns) noexcept = 0;

  /// The same sequence for the same seed.
  [[nodiscard]] virtual std::uint64_t random_bits() noexcept = 0;

  [[nodiscard]] std::uint64_t now_ns() const noexcept { return now_ns_; }

protected:
  simulation() = default;
  ~simulation() = default;

  // Not zero: a time of nothing means "none" in places.
  std::uint64_t now_ns_ = 1'000'000'000'000;
};

/// The simulation that the calling thread drives, or null, as in production.
#if defined(__GNUC__)
extern KARYON_API thread_local constinit simulation* current_simulation __attribute__((tls_model("initial-exec")));
#endif

}  // namespace karyon::detail
