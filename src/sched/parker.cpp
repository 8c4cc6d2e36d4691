#include "sched/parker.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

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
  static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t), "the kernel reads the word itself");
  auto* word = reinterpret_cast<std::uint32_t*>(&state_);
  while (state_.load(std::memory_order_seq_cst) == parked) {
    timespec ts{};
    if (deadline_ns != 0) {
      if (monotonic_ns() >= deadline_ns) break;
      ts.tv_sec = static_cast<time_t>(deadline_ns / 1'000'000'000u);
      ts.tv_nsec = static_cast<long>(deadline_ns % 1'000'000'000u);
    }
    // FUTEX_WAIT_BITSET takes an absolute monotonic deadline, so an interrupted wait does not start over.
    syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, parked, deadline_ns != 0 ? &ts : nullptr, nullptr,
            FUTEX_BITSET_MATCH_ANY);
  }
  state_.store(awake, std::memory_order_seq_cst);
}

bool parker::wake_slow() noexcept {
  std::uint32_t expected = parked;
  if (!state_.compare_exchange_strong(expected, awake, std::memory_order_seq_cst)) return false;
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&state_), FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  return true;
}

}  // namespace karyon::detail
