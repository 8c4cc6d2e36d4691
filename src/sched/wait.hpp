#pragma once

#include <atomic>
#include <cstdint>

#include <karyon/core/export.hpp>

#include "sched/simulation.hpp"

namespace karyon::detail {

// The one way in which a thread outside the workers waits for them. Whatever blocks in any other way (a latch, a condition
// variable, a sleep) would hang in a simulation, where the waiting thread is also the one that runs the cells.

inline constexpr std::uint64_t never_ns = ~std::uint64_t{0};

/// `delay_ns` from now as a deadline; never_ns where that is beyond the clock's end.
[[nodiscard]] KARYON_API std::uint64_t deadline_in(std::uint64_t delay_ns) noexcept;

/// Something that happens once, and threads that wait for it.
///
/// Any thread may call anything. What was done before set() is seen after a wait that returns true. It may be destroyed (it
/// may lie on the waiter's stack) as soon as one wait has returned true, though set() has not returned yet: set() does not
/// touch it after the exchange. With several waiters the last one must see to that.
///
///   state     open 0 -> awaited 1   a waiter, before it sleeps (CAS)
///             open, awaited -> happened 2  set: exchange, release
///
/// Orders: the release of set pairs with the acquire of is_set: who finds it set sees what was done before.
class KARYON_API blocking_event {
public:
  blocking_event() = default;
  blocking_event(const blocking_event&) = delete;
  blocking_event& operator=(const blocking_event&) = delete;

  /// Once or more often; wakes all that wait. One exchange, and a system call if somebody sleeps.
  void set() noexcept;
  [[nodiscard]] bool is_set() const noexcept { return state_.load(std::memory_order_acquire) == happened; }
  /// Blocks until set, at the longest until the time `deadline_ns` (of monotonic_ns; never_ns: no deadline). Whether it is
  /// set. Not from a worker.
  [[nodiscard]] bool wait_until(std::uint64_t deadline_ns) noexcept;
  void wait() noexcept { static_cast<void>(wait_until(never_ns)); }

private:
  static constexpr std::uint32_t open = 0;
  static constexpr std::uint32_t awaited = 1;
  static constexpr std::uint32_t happened = 2;
  std::atomic<std::uint32_t> state_{open};
};

/// A number of things that all must happen: a blocking_event that is set by the last of them.
class KARYON_API blocking_count {
public:
  explicit blocking_count(std::uint32_t n) noexcept : left_(n) {
    if (n == 0) event_.set();
  }
  /// One of them has happened; n times in all. Acquire-release pairs with that of the others: the last one, and by it whoever
  /// waits, has seen what they did before.
  void arrive() noexcept {
    if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) event_.set();
  }
  [[nodiscard]] bool wait_until(std::uint64_t deadline_ns) noexcept { return event_.wait_until(deadline_ns); }
  void wait() noexcept { event_.wait(); }

private:
  std::atomic<std::uint32_t> left_;
  blocking_event event_;
};

/// Looks now and then (after 50 us, then more and more seldom, at least every 2 ms) until `ready(what)` or until the time
/// `deadline_ns`; returns ready(what). For what is rare, short, and not worth an event.
[[nodiscard]] KARYON_API bool poll_until(simulation::condition ready, const void* what,
                                         std::uint64_t deadline_ns) noexcept;
template <class Ready>
[[nodiscard]] bool poll_until(const Ready& ready, std::uint64_t deadline_ns) noexcept {
  return poll_until([](const void* r) { return (*static_cast<const Ready*>(r))(); }, &ready, deadline_ns);
}

/// 64 random bits for decisions such as jitter, never for secrets. In a simulation they follow from its seed.
[[nodiscard]] KARYON_API std::uint64_t random_bits() noexcept;

}  // namespace karyon::detail
