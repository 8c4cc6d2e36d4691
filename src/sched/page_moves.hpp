// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <karyon/core/export.hpp>

namespace karyon::detail {

/// What became of pages that were to be on a node.
struct page_counts {
  std::uint64_t moved = 0;
  std::uint64_t there = 0;    ///< they were on it before
  std::uint64_t absent = 0;   ///< never touched: they will be taken where they are first
  std::uint64_t refused = 0;  ///< the system left them where they are

  page_counts& operator+=(const page_counts& other) noexcept {
    moved += other.moved;
    there += other.there;
    absent += other.absent;
    refused += other.refused;
    return *this;
  }
};

/// The system's page: what it moves, at the least.
[[nodiscard]] KARYON_API std::size_t page_bytes() noexcept;

/// Whether this machine is itself (no pretended one), has several nodes with memory, and this is one of them.
[[nodiscard]] KARYON_API bool can_move_pages_to(std::uint32_t node_os_index) noexcept;

/// Moves pages of this process, given by their first addresses, to a node; other threads may use them meanwhile, and wait as
/// for a page fault. At most 64 in a call. Cost: two system calls, and a copy a page.
[[nodiscard]] KARYON_API page_counts move_pages_to(std::span<void* const> pages, std::uint32_t node_os_index) noexcept;

/// The node that a page's memory is on, by the system's number; nothing if it was never touched, or the system does not tell.
[[nodiscard]] KARYON_API std::optional<std::uint32_t> node_of_page(const void* page) noexcept;

/// Splits the huge pages that this range touches, so that its pages can be moved one by one. False if the system can not
/// (before Linux 5.4). Both ends are multiples of a page. Cost: some hundred microseconds a huge page, else a system call.
[[nodiscard]] KARYON_API bool split_huge_pages(void* first, std::size_t bytes) noexcept;

}  // namespace karyon::detail
