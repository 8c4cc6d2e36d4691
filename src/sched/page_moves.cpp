// SPDX-License-Identifier: Apache-2.0
#include "sched/page_moves.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>

#include <hwloc.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sched/numa_memory.hpp"
#include "sched/topology_system.hpp"

namespace karyon::detail {

namespace {

constexpr std::size_t pages_max = 64;
constexpr int move_own_pages = 2;  // MPOL_MF_MOVE: those that no other process has as well

// move_pages(2), for which the C library has no function. Without `nodes` it only tells where the pages are.
long call_move_pages(std::span<void* const> pages, const int* nodes, int* status) noexcept {
  return ::syscall(SYS_move_pages, 0, pages.size(), pages.data(), nodes, status, move_own_pages);
}

}  // namespace

std::size_t page_bytes() noexcept {
  static const auto bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

bool can_move_pages_to(std::uint32_t node_os_index) noexcept {
  if (system_topology() == nullptr || system_is_pretended() || !system_has_node(node_os_index)) return false;
  return hwloc_get_nbobjs_by_type(system_topology(), HWLOC_OBJ_NUMANODE) > 1;
}

page_counts move_pages_to(std::span<void* const> pages, std::uint32_t node_os_index) noexcept {
  assert(pages.size() <= pages_max && "pages are moved in groups");
  page_counts counts;
  std::array<int, pages_max> before{};
  std::array<int, pages_max> after{};
  std::array<int, pages_max> nodes{};
  const int wanted = static_cast<int>(node_os_index);
  nodes.fill(wanted);
  if (call_move_pages(pages, nullptr, before.data()) < 0) {
    counts.refused = pages.size();
    return counts;
  }
  // What it says of each page counts, not whether it could do all.
  std::copy_n(before.begin(), pages.size(), after.begin());
  static_cast<void>(call_move_pages(pages, nodes.data(), after.data()));
  for (std::size_t i = 0; i < pages.size(); ++i) {
    if (before[i] == wanted) {
      ++counts.there;
    } else if (before[i] == -ENOENT || before[i] == -EFAULT) {
      ++counts.absent;
    } else if (after[i] == wanted) {
      ++counts.moved;
    } else {
      ++counts.refused;
    }
  }
  return counts;
}

std::optional<std::uint32_t> node_of_page(const void* page) noexcept {
  void* const pages[] = {const_cast<void*>(page)};
  int status = -1;
  if (call_move_pages(pages, nullptr, &status) < 0 || status < 0) return std::nullopt;
  return static_cast<std::uint32_t>(status);
}

bool split_huge_pages(void* first, std::size_t bytes) noexcept {
#if defined(MADV_COLD)
  // To put a part of a huge page among the inactive ones the kernel takes it apart; that is all that this is for.
  const auto begin = reinterpret_cast<std::uintptr_t>(first);
  for (std::uintptr_t at = begin; at < begin + bytes; at = (at / huge_page_bytes + 1) * huge_page_bytes) {
    if (::madvise(reinterpret_cast<void*>(at), page_bytes(), MADV_COLD) != 0) return false;
  }
  return true;
#else
  static_cast<void>(first);
  static_cast<void>(bytes);
  return false;
#endif
}

}  // namespace karyon::detail
