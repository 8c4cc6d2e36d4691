// SPDX-License-Identifier: Apache-2.0
#include "sched/numa_memory.hpp"

#include <cassert>
#include <cerrno>
#include <limits>
#include <memory>
#include <string>
#include <system_error>

#include <hwloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sched/topology_system.hpp"

namespace karyon::detail {

namespace {

std::size_t system_page_bytes() noexcept {
  static const auto bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

// Maps `bytes` at a multiple of `alignment` by mapping more and giving the ends back. Null where the system refuses.
std::byte* map_aligned(std::size_t bytes, std::size_t alignment) noexcept {
  const std::size_t slack = alignment - system_page_bytes();
  void* mapped =
      ::mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  auto* const first = static_cast<std::byte*>(mapped);
  const std::size_t misaligned = reinterpret_cast<std::uintptr_t>(first) % alignment;
  const std::size_t head = misaligned == 0 ? 0 : alignment - misaligned;
  const std::size_t tail = slack - head;
  if (head != 0) ::munmap(first, head);
  if (tail != 0) ::munmap(first + head + bytes, tail);
  return first + head;
}

bool prefer_node(const memory_region& region, std::uint32_t node_os_index) noexcept {
  if (system_is_pretended() || !system_has_node(node_os_index)) return false;
  const auto machine = system_topology();
  if (hwloc_get_nbobjs_by_type(machine, HWLOC_OBJ_NUMANODE) <= 1) return true;  // All memory is there anyway.
  const std::unique_ptr<hwloc_bitmap_s, void (*)(hwloc_bitmap_t)> set(hwloc_bitmap_alloc(), hwloc_bitmap_free);
  if (set == nullptr || hwloc_bitmap_only(set.get(), node_os_index) != 0) return false;
  // Without HWLOC_MEMBIND_STRICT this is a preference: the system falls back to another node when this one is full.
  return hwloc_set_area_membind(machine, region.data, region.bytes, set.get(), HWLOC_MEMBIND_BIND,
                                HWLOC_MEMBIND_BYNODESET) == 0;
}

}  // namespace

result<memory_region> allocate_region(std::size_t bytes, std::optional<std::uint32_t> node_os_index, page_kind pages) {
  const std::size_t alignment = pages == page_kind::huge ? huge_page_bytes : system_page_bytes();
  if (bytes == 0) return fail(errc::invalid_argument, "a memory region of 0 bytes was asked for");
  if (bytes > std::numeric_limits<std::size_t>::max() / 2)
    return fail(errc::invalid_argument, "a memory region of " + std::to_string(bytes) + " bytes was asked for");
  memory_region region;
  region.bytes = (bytes + alignment - 1) / alignment * alignment;
  errno = 0;
  region.data = map_aligned(region.bytes, alignment);
  if (region.data == nullptr)
    return fail(errc::out_of_memory, "the system has no " + std::to_string(region.bytes) +
                                         " bytes of memory: " + std::generic_category().message(errno));
  if (node_os_index) region.on_preferred_node = prefer_node(region, *node_os_index);
  if (pages == page_kind::huge) region.huge_advised = ::madvise(region.data, region.bytes, MADV_HUGEPAGE) == 0;
  return region;
}

void release_region(const memory_region& region) noexcept {
  if (region.data == nullptr) return;
  [[maybe_unused]] const int released = ::munmap(region.data, region.bytes);
  assert(released == 0 && "a region is released once, whole and by its own handle");
}

}  // namespace karyon::detail
