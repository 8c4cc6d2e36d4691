// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// What the kernel says about threads and pages, asked without the library under test and without hwloc, which the library
// asks.
namespace karyon::tests::numa {

using numbers = std::vector<std::uint32_t>;

/// Where the calling thread is at this moment.
struct spot {
  std::uint32_t cpu = 0;
  std::uint32_t node = 0;
};

[[nodiscard]] inline spot here() {
  unsigned cpu = 0;
  unsigned node = 0;
  if (::getcpu(&cpu, &node) != 0) throw std::system_error(errno, std::generic_category(), "getcpu");
  return {cpu, node};
}

inline constexpr std::uint32_t cpus_max = 4096;

/// The processors that the calling thread may run on.
[[nodiscard]] inline numbers affinity() {
  std::vector<::cpu_set_t> mask(CPU_ALLOC_SIZE(cpus_max) / sizeof(::cpu_set_t));
  const std::size_t bytes = mask.size() * sizeof(::cpu_set_t);
  if (::sched_getaffinity(0, bytes, mask.data()) != 0) {
    throw std::system_error(errno, std::generic_category(), "sched_getaffinity");
  }
  numbers cpus;
  for (std::uint32_t c = 0; c < cpus_max; ++c) {
    if (CPU_ISSET_S(c, bytes, mask.data())) cpus.push_back(c);
  }
  return cpus;
}

/// Keeps the calling thread, and those that it starts, on these processors; false where the system refuses.
[[nodiscard]] inline bool confine(const numbers& cpus) {
  std::vector<::cpu_set_t> mask(CPU_ALLOC_SIZE(cpus_max) / sizeof(::cpu_set_t));
  const std::size_t bytes = mask.size() * sizeof(::cpu_set_t);
  for (const std::uint32_t c : cpus) CPU_SET_S(c, bytes, mask.data());
  return ::sched_setaffinity(0, bytes, mask.data()) == 0;
}

/// The kernel's NUMA nodes and the processors of each. A kernel without NUMA has one node with those of this thread.
[[nodiscard]] inline std::map<std::uint32_t, numbers> nodes_of_kernel() {
  std::map<std::uint32_t, numbers> nodes;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/devices/system/node", none)) {
    const std::string name = entry.path().filename().string();
    if (name.size() < 5 || name.compare(0, 4, "node") != 0 || name.find_first_not_of("0123456789", 4) != name.npos) {
      continue;
    }
    numbers& cpus = nodes[static_cast<std::uint32_t>(std::stoul(name.substr(4)))];
    std::ifstream list(entry.path() / "cpulist");  // "0-3,8-11"
    for (std::string range; std::getline(list, range, ',');) {
      std::istringstream text(range);
      std::uint32_t first = 0;
      if (!(text >> first)) continue;
      std::uint32_t last = first;
      if (text.peek() == '-') text.ignore() >> last;
      for (std::uint32_t c = first; c <= last; ++c) cpus.push_back(c);
    }
  }
  if (nodes.empty()) nodes[0] = affinity();
  return nodes;
}

inline constexpr std::uintptr_t page_bytes = 4096;

/// On which node each of some pages lies. A negative number is the kernel's error for a page; -ENOENT: it is not there.
/// Throws std::system_error where the kernel does not tell (ENOSYS, or EPERM in a container).
[[nodiscard]] inline std::vector<int> nodes_of_pages(const std::vector<void*>& pages) {
  std::vector<int> nodes(pages.size());
  // Without a list of nodes to go to, it moves nothing and tells where each page is.
  if (::syscall(SYS_move_pages, 0, pages.size(), pages.data(), nullptr, nodes.data(), 0) < 0) {
    throw std::system_error(errno, std::generic_category(), "move_pages");
  }
  return nodes;
}

/// Pages, each counted once. Any thread may add.
class page_set {
public:
  void add(const void* first, std::size_t bytes) {
    const auto start = reinterpret_cast<std::uintptr_t>(first);
    const std::lock_guard lock(mutex_);
    for (std::uintptr_t page = start / page_bytes; page <= (start + bytes - 1) / page_bytes; ++page) {
      pages_.insert(page * page_bytes);
    }
  }
  [[nodiscard]] std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return pages_.size();
  }
  /// How many of them lie on which node; under a negative number, those of which the kernel says this error.
  [[nodiscard]] std::map<int, std::size_t> by_node() const {
    std::vector<void*> asked;
    {
      const std::lock_guard lock(mutex_);
      for (const std::uintptr_t page : pages_) asked.push_back(reinterpret_cast<void*>(page));
    }
    std::map<int, std::size_t> counts;
    for (const int node : nodes_of_pages(asked)) ++counts[node];
    return counts;
  }

private:
  mutable std::mutex mutex_;
  std::set<std::uintptr_t> pages_;  // mutex_
};

/// Whether the kernel tells where pages lie.
[[nodiscard]] inline bool pages_are_told() {
  int local = 0;
  try {
    return nodes_of_pages({reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(&local) / page_bytes * page_bytes)})
               .front() >= 0;
  } catch (const std::system_error&) {
    return false;
  }
}

/// Some pages of this very node, touched and then never given back; null where the system refuses.
[[nodiscard]] inline void* pages_on(std::uint32_t node, std::size_t bytes) {
  void* const area = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (area == MAP_FAILED) return nullptr;
  constexpr std::size_t word_bits = 8 * sizeof(unsigned long);
  std::vector<unsigned long> mask(node / word_bits + 1);
  mask[node / word_bits] = 1UL << (node % word_bits);
  // The kernel wants the number of bits and one more.
  if (::syscall(SYS_mbind, area, bytes, MPOL_BIND, mask.data(), mask.size() * word_bits + 1, 0) != 0) return nullptr;
  for (std::size_t at = 0; at < bytes; at += page_bytes) static_cast<volatile char*>(area)[at] = 1;
  return area;
}

}  // namespace karyon::tests::numa
