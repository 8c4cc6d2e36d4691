// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/types.hpp"

namespace rhizome::detail {

inline constexpr std::size_t chunk_bytes = std::size_t{2} << 20;  ///< A huge page; all regions grow by multiples of it.

[[nodiscard]] constexpr std::size_t round_up(std::size_t bytes, std::size_t to) noexcept {
  return (bytes + to - 1) / to * to;
}

/// What pages a region is to have.
struct paging {
  bool huge = false;
  int node = -1;  ///< The NUMA node that they should come from; -1: any.
};
inline constexpr int nodes_max = 1024;

/// Addresses reserved once, made usable from the front as they are needed: what grows in it never moves, so that readers hold plain
/// pointers while the writer appends. Fresh bytes are zero. One thread grows it; reading needs no care beyond that of what is in it.
class region {
public:
  region() = default;
  region(region&& other) noexcept { *this = std::move(other); }
  region& operator=(region&& other) noexcept {
    std::swap(base_, other.base_);
    std::swap(map_, other.map_);
    std::swap(map_bytes_, other.map_bytes_);
    std::swap(reserved_, other.reserved_);
    std::swap(usable_, other.usable_);
    std::swap(huge_, other.huge_);
    return *this;
  }
  ~region() {
    if (map_ != nullptr) ::munmap(map_, map_bytes_);
  }

  /// Reserves addresses for at least `bytes`, aligned to a huge page. False: the system has none left.
  [[nodiscard]] bool reserve(std::size_t bytes, paging pages) noexcept {
    reserved_ = round_up(std::max(bytes, chunk_bytes), chunk_bytes);
    map_bytes_ = reserved_ + chunk_bytes;
    void* map = ::mmap(nullptr, map_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) {
      reserved_ = map_bytes_ = 0;
      return false;
    }
    map_ = map;
    base_ = reinterpret_cast<std::byte*>(round_up(reinterpret_cast<std::uintptr_t>(map), chunk_bytes));
    huge_ = pages.huge;
    if (pages.node >= 0) prefer(pages.node);
    return true;
  }

  /// Makes the first `bytes` usable. False: beyond what was reserved, or the system has no memory; nothing changed then.
  [[nodiscard]] bool grow(std::size_t bytes) noexcept {
    if (bytes <= usable_) return true;
    std::size_t wanted = round_up(bytes, chunk_bytes);
    if (wanted > reserved_) return false;
    std::byte* from = base_ + usable_;
    if (::mprotect(from, wanted - usable_, PROT_READ | PROT_WRITE) != 0) return false;
    // Refused on systems without huge pages: slower, not wrong.
    if (huge_) static_cast<void>(::madvise(from, wanted - usable_, MADV_HUGEPAGE));
    usable_ = wanted;
    return true;
  }

  /// Gives the pages of [from, from + bytes) back to the system, whole pages only; they read as zero afterwards.
  void discard(std::size_t from, std::size_t bytes) noexcept {
    std::size_t first = round_up(from, page_bytes);
    std::size_t last = (from + bytes) / page_bytes * page_bytes;
    if (first < last) static_cast<void>(::madvise(base_ + first, last - first, MADV_DONTNEED));
  }

  [[nodiscard]] std::byte* data() const noexcept { return base_; }
  [[nodiscard]] std::size_t usable() const noexcept { return usable_; }
  [[nodiscard]] std::size_t reserved() const noexcept { return reserved_; }

private:
  static constexpr std::size_t page_bytes = 4096;

  /// By the system call itself: a library for one call would be one more that an organelle needs. Refused where there is no such node:
  /// then pages come from where they are touched first.
  void prefer(int node) noexcept {
    constexpr unsigned word_bits = sizeof(unsigned long) * CHAR_BIT;
    constexpr int mpol_preferred = 1;  // linux/mempolicy.h
    std::array<unsigned long, nodes_max / word_bits> mask{};
    mask[static_cast<unsigned>(node) / word_bits] = 1UL << (static_cast<unsigned>(node) % word_bits);
    static_cast<void>(::syscall(SYS_mbind, map_, map_bytes_, mpol_preferred, mask.data(), nodes_max + 1UL, 0U));
  }

  std::byte* base_ = nullptr;
  void* map_ = nullptr;
  std::size_t map_bytes_ = 0;
  std::size_t reserved_ = 0;
  std::size_t usable_ = 0;
  bool huge_ = false;
};

/// An array in a region: zero-filled, grows in place up to a bound given once.
template <class T>
class growing_array {
public:
  [[nodiscard]] bool reserve(std::size_t count_max, paging pages) noexcept {
    return region_.reserve(count_max * sizeof(T), pages);
  }
  /// Makes indices below `count` usable.
  [[nodiscard]] bool ensure(std::size_t count) noexcept { return region_.grow(count * sizeof(T)); }
  [[nodiscard]] T* data() const noexcept { return reinterpret_cast<T*>(region_.data()); }
  [[nodiscard]] T& operator[](std::size_t i) const noexcept { return data()[i]; }
  [[nodiscard]] std::size_t usable() const noexcept { return region_.usable() / sizeof(T); }
  /// Gives the memory of [from, to) back; the elements read as zero.
  void discard(std::size_t from, std::size_t to) noexcept {
    region_.discard(from * sizeof(T), (to - from) * sizeof(T));
  }

private:
  region region_;
};

}  // namespace rhizome::detail
