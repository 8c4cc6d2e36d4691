// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include <karyon/core/export.hpp>
#include <karyon/core/result.hpp>

namespace karyon::detail {

inline constexpr std::size_t huge_page_bytes = std::size_t{2} << 20U;

/// How a region's pages are to be had.
enum class page_kind : std::uint8_t {
  standard,  ///< Aligned to the system's page.
  huge,      ///< Aligned to and rounded up to 2 MiB, and advised to be backed by huge pages.
};

/// Memory straight from the system, for slabs and arenas that want to choose their NUMA node.
///
/// A plain handle without a destructor, since its owners (slabs that outlive every cell) decide when it goes back:
/// hand it to `release_region` exactly once, or keep it until the process ends.
struct memory_region {
  std::byte* data = nullptr;
  std::size_t bytes = 0;           ///< What can be used: the size asked for, rounded up to whole pages.
  bool on_preferred_node = false;  ///< Whether the system accepted the node; false as well where none was asked for.
  bool huge_advised = false;       ///< Whether the system accepted the advice; it still may find no huge page.
};

/// Reserves at least `bytes` zeroed bytes, to be taken from NUMA node `node_os_index` if that has room when a page is
/// first touched, and from the nearest other node otherwise. Nothing (`std::nullopt`) means where the touching thread
/// runs.
///
/// The node and the huge pages are preferences: a container that forbids binding, or a kernel without huge pages, gives
/// ordinary memory, and the fields of the region say so. No page is touched here. Any thread may call it.
/// Errors: `invalid_argument` for 0 bytes or more than the address space holds, `out_of_memory` where the system has
/// none.
/// Cost: one to four system calls.
[[nodiscard]] KARYON_API result<memory_region> allocate_region(std::size_t bytes,
                                                               std::optional<std::uint32_t> node_os_index,
                                                               page_kind pages);

/// Gives a region back. Releasing an empty region does nothing; the handle and all its copies are invalid afterwards.
KARYON_API void release_region(const memory_region& region) noexcept;

}  // namespace karyon::detail
