#include <karyon/cell/detail/ask.hpp>

#include "sched/cpu.hpp"
#include "sched/futex.hpp"
#include "sched/parker.hpp"
#include "sched/wait.hpp"

namespace karyon::detail {

void answer_slot::complete() noexcept {
  // Dekker with wait(): state is written before sleeping_ is read here, the other way round there.
  state_.store(1, std::memory_order_seq_cst);
  if (sleeping_.load(std::memory_order_seq_cst) != 0) futex_wake(state_);
}

bool answer_slot::wait(std::uint64_t timeout_ns) noexcept {
  if (simulation* s = current_simulation) {
    return s->drive_until([](const void* a) { return static_cast<const answer_slot*>(a)->answered(); }, this,
                          deadline_in(timeout_ns));
  }
  const std::uint64_t start = monotonic_ns();
  const std::uint64_t end = timeout_ns > futex_no_deadline - start ? futex_no_deadline : start + timeout_ns;
  constexpr std::uint64_t spin_ns = 20'000;  // about what it takes to be woken
  while (monotonic_ns() - start < spin_ns) {
    for (int i = 0; i < 16; ++i) {
      if (answered()) return true;
      cpu_relax();
    }
  }
  sleeping_.store(1, std::memory_order_seq_cst);
  while (state_.load(std::memory_order_seq_cst) == 0 && monotonic_ns() < end) futex_wait(state_, 0, end);
  sleeping_.store(0, std::memory_order_relaxed);  // a complete() that still sees 1 wakes nobody, and that is all
  return answered();
}

}  // namespace karyon::detail
