#include "sched/parker.hpp"

#include <time.h>

#include "sched/futex.hpp"

#include "sched/simulation.hpp"

namespace karyon::detail {

thread_local constinit simulation* current_simulation = nullptr;

std::uint64_t monotonic_ns() noexcept {
  if (const simulation* s = current_simulation) return s->now_ns();
  timespec ts{};
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return static_cast<std::uint64_t>(ts.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(ts.tv_nsec);
}

void parker::sleep(std::uint64_t deadline_ns) noexcept {
  const std::uint64_t end = deadline_ns != 0 ? deadline_ns : futex_no_deadline;
  while (state_.load(std::memory_order_seq_cst) == parked) {
    if (end != futex_no_deadline && monotonic_ns() >= end) break;
    futex_wait(state_, parked, end);
  }
  state_.store(awake, std::memory_order_seq_cst);
}

bool parker::wake_slow() noexcept {
  std::uint32_t expected = parked;
  if (!state_.compare_exchange_strong(expected, awake, std::memory_order_seq_cst)) return false;
  futex_wake(state_);
  return true;
}

}  // namespace karyon::detail
