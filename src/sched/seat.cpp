#include "sched/seat.hpp"

#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace karyon::detail {

bool process_fences::prepare() noexcept {
  return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

void process_fences::heavy() noexcept {
  // Can not fail once registered; prepare() is asked first.
  static_cast<void>(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0));
}

void process_fences::wait() noexcept { sched_yield(); }

}  // namespace karyon::detail
