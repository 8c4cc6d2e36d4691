// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/census.hpp"

#include <unistd.h>

#include <cstdio>
#include <memory>

namespace karyon::tools {

std::uint64_t resident_bytes() noexcept {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen("/proc/self/statm", "re"), &std::fclose);
  unsigned long long total = 0;
  unsigned long long resident = 0;
  if (file == nullptr || std::fscanf(file.get(), "%llu %llu", &total, &resident) != 2) {
    return 0;
  }
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace karyon::tools
