#include <karyon/cell/detail/ask.hpp>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "sched/cpu.hpp"
#include "sched/parker.hpp"
#include "sched/wait.hpp"

namespace karyon::detail {

void answer_slot::complete() noexcept {
  // Dekker with wait(): state is written before sleeping_ is read here, the other way round there.
  state_.store(1, std::memory_order_seq_cst);
  if (sleeping_.load(std::memory_order_seq_cst) != 0) {
    syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&state_), FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  }
}

bool answer_slot::wait(std::uint64_t timeout_ns) noexcept {
  if (simulation* s = current_simulation) {
    return s->drive_until([](const void* a) { return static_cast<const answer_slot*>(a)->answered(); }, this,
                          deadline_in(timeout_ns));
  }
  const std::uint64_t start = monotonic_ns();
  const std::uint64_t end = timeout_ns > ~std::uint64_t{0} - start ? ~std::uint64_t{0} : start + timeout_ns;
  constexpr std::uint64_t spin_ns = 20'000;  // about what it takes to be woken
  while (monotonic_ns() - start < spin_ns) {
    for (int i = 0; i < 16; ++i) {
      if (answered()) return true;
      cpu_relax();
    }
  }
  sleeping_.store(1, std::memory_order_seq_cst);
  while (state_.load(std::memory_order_seq_cst) == 0 && monotonic_ns() < end) {
    timespec ts{static_cast<time_t>(end / 1'000'000'000u), static_cast<long>(end % 1'000'000'000u)};
    if (end / 1'000'000'000u > 0x7fffffffu) ts.tv_sec = 0x7fffffff;
    syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&state_), FUTEX_WAIT_BITSET_PRIVATE, 0, &ts, nullptr,
            FUTEX_BITSET_MATCH_ANY);
  }
  sleeping_.store(0, std::memory_order_relaxed);  // a complete() that still sees 1 wakes nobody, and that is all
  return answered();
}

}  // namespace karyon::detail
