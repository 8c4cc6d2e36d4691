#include "sched/thread_usage.hpp"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <string_view>

namespace karyon::detail {

std::uint64_t thread_usage::cpu_ns(pthread_t thread) noexcept {
  clockid_t clock{};
  timespec used{};
  if (pthread_getcpuclockid(thread, &clock) != 0 || clock_gettime(clock, &used) != 0) return 0;
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
