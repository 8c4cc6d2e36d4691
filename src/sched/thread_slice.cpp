#include "sched/thread_slice.hpp"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace karyon::detail {

namespace {

// The kernel's sched_attr in its first version, which older C libraries do not have.
struct attributes {
  std::uint32_t bytes;
  std::uint32_t policy;
  std::uint64_t flags;
  std::int32_t nice;
  std::uint32_t priority;
  std::uint64_t runtime_ns;
  std::uint64_t deadline_ns;
  std::uint64_t period_ns;
};
static_assert(sizeof(attributes) == 48);

/// 0: the system's own.
void set_slice(std::uint64_t ns) noexcept {
  attributes a{};
  if (syscall(SYS_sched_getattr, 0, &a, sizeof a, 0) != 0 || a.policy != SCHED_OTHER) return;
  a.bytes = sizeof a;
  a.runtime_ns = ns;
  static_cast<void>(syscall(SYS_sched_setattr, 0, &a, 0));
}

}  // namespace

void thread_slice::make_short() noexcept { set_slice(100'000); }  // the least that there is

void thread_slice::make_usual() noexcept { set_slice(0); }

}  // namespace karyon::detail
