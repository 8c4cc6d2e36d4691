#include "sched/thread_usage.hpp"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <string_view>

namespace karyon::detail {

std::uint64_t thread_usage::cpu_ns(int tid) noexcept {
  // What pthread_getcpuclockid gives, which may not be asked of a thread that has been joined: the kernel's clock of a thread by
  // its number (CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED in its posix-timers.h).
  const auto clock = static_cast<clockid_t>(~static_cast<unsigned>(tid) << 3u | 6u);
  timespec used{};
  if (clock_gettime(clock, &used) != 0) return 0;
  return static_cast<std::uint64_t>(used.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(used.tv_nsec);
}

bool thread_usage::is_runnable(int tid) noexcept {
  char path[48];
  std::snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  char text[128];
  const ssize_t got = read(file, text, sizeof text);
  close(file);
  if (got <= 0) return false;
  // "<tid> (<name>) <state> ...": the name is short, and may hold anything, parentheses as well.
  const std::string_view line(text, static_cast<std::size_t>(got));
  const std::size_t name_ends = line.rfind(") ");
  return name_ends != std::string_view::npos && name_ends + 2 < line.size() && line[name_ends + 2] == 'R';
}

}  // namespace karyon::detail
