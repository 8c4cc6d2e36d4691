#include "sched/wait.hpp"

#include <sys/random.h>
#include <time.h>

#include <algorithm>

#include "sched/futex.hpp"
#include "sched/parker.hpp"

namespace karyon::detail {

std::uint64_t deadline_in(std::uint64_t delay_ns) noexcept {
  const std::uint64_t now = monotonic_ns();
  return delay_ns < never_ns - now ? now + delay_ns : never_ns;
}

void blocking_event::set() noexcept {
  // Release pairs with is_set's acquire: who finds it set sees what was done before.
  if (state_.exchange(happened, std::memory_order_release) == awaited) futex_wake_all(state_);
}

bool blocking_event::wait_until(std::uint64_t deadline_ns) noexcept {
  if (simulation* s = current_simulation) {
    return s->drive_until([](const void* e) { return static_cast<const blocking_event*>(e)->is_set(); }, this,
                          deadline_ns);
  }
  while (!is_set()) {
    if (deadline_ns != never_ns && monotonic_ns() >= deadline_ns) return is_set();
    std::uint32_t expected = open;
    state_.compare_exchange_strong(expected, awaited, std::memory_order_relaxed);
    if (expected != happened) futex_wait(state_, awaited, deadline_ns);
  }
  return true;
}

bool poll_until(simulation::condition ready, const void* what, std::uint64_t deadline_ns) noexcept {
  if (simulation* s = current_simulation) return s->drive_until(ready, what, deadline_ns);
  constexpr std::uint64_t pause_max_ns = 2'000'000;
  std::uint64_t pause_ns = 50'000;
  while (!ready(what)) {
    const std::uint64_t now = monotonic_ns();
    if (now >= deadline_ns) return ready(what);
    const timespec pause{0, static_cast<long>(std::min(pause_ns, deadline_ns - now))};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, nullptr);
    pause_ns = std::min(pause_ns * 2, pause_max_ns);
  }
  return true;
}

namespace {

/// splitmix64 (Steele, Lea and Flood, OOPSLA 2014).
std::uint64_t next_of(std::uint64_t& state) noexcept {
  std::uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30u)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27u)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31u);
}

std::uint64_t seed_of_this_thread() noexcept {
  std::uint64_t seed = 0;
  if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed) seed = monotonic_ns();
  return seed;
}

}  // namespace

std::uint64_t random_bits() noexcept {
  if (simulation* s = current_simulation) return s->random_bits();
  static thread_local std::uint64_t state = seed_of_this_thread();
  return next_of(state);
}

}  // namespace karyon::detail
