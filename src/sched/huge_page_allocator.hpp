// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <new>
#include <optional>

#include "sched/numa_memory.hpp"

namespace karyon::detail {

/// For tables whose entries are looked up at random: once one has 2 MiB it lies on huge pages. Of small ones the processor
/// keeps the addresses of some thousand, and waits for the page table at each look into a larger table.
///
/// A standard allocator. Any thread. Throws std::bad_alloc. A large table costs system calls to make and to free, so it is for
/// what grows by factors.
template <class T>
class huge_page_allocator {
public:
  using value_type = T;
  static_assert(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);

  huge_page_allocator() noexcept = default;
  template <class Other>
  huge_page_allocator(const huge_page_allocator<Other>&) noexcept {}  // NOLINT: allocators convert

  [[nodiscard]] T* allocate(std::size_t n) {
    if (n < from) return static_cast<T*>(::operator new(n * sizeof(T)));
    const auto region = allocate_region(n * sizeof(T), std::nullopt, page_kind::huge);
    if (!region) throw std::bad_alloc();
    return reinterpret_cast<T*>(region->data);
  }
  void deallocate(T* at, std::size_t n) noexcept {
    if (n < from) return ::operator delete(at);
    memory_region region;
    region.data = reinterpret_cast<std::byte*>(at);
    region.bytes = (n * sizeof(T) + huge_page_bytes - 1) / huge_page_bytes * huge_page_bytes;
    release_region(region);
  }
  friend bool operator==(const huge_page_allocator&, const huge_page_allocator&) noexcept { return true; }

private:
  static constexpr std::size_t from = huge_page_bytes / sizeof(T);  // entries
};

}  // namespace karyon::detail
