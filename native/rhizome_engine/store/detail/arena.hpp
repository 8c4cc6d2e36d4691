// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <bit>
#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "store/detail/layout.hpp"
#include "store/detail/pins.hpp"
#include "store/detail/region.hpp"

namespace rhizome::detail {

/// What memory is used for, as a user sees it; `mark` is what allocate_mark() gives.
enum class memory_use : std::uint8_t { newest, history, valid, property, index, log, mark };
inline constexpr std::size_t memory_uses = 7;

/// Blocks of a region of chunks of 2 MiB. The writer alone allocates and frees; readers turn references into addresses.
///
/// Small blocks (up to 1 MiB) have power-of-two sizes from 32 bytes and are cut from chunks; freed ones wait in a list by size class. Large
/// ones are runs of whole chunks. Packed blocks, for compaction, have any multiple of 16 bytes and lie one after the other. A freed
/// block of any size is cut at chunk borders into powers of two. A chunk all of whose blocks are free becomes whole again in `sweep`.
class arena {
public:
  [[nodiscard]] bool reserve(std::size_t bytes, paging pages);

  [[nodiscard]] std::byte* base() const noexcept { return region_.data(); }
  /// Bytes of addresses, which never change: all blocks together have no more.
  [[nodiscard]] std::size_t reserved() const noexcept { return region_.reserved(); }
  template <class T>
  [[nodiscard]] T* at(ref r) const noexcept {
    return reinterpret_cast<T*>(region_.data() + std::size_t{r} * unit_bytes);
  }

  /// What allocate() really takes for `bytes`.
  [[nodiscard]] static constexpr std::size_t size_class(std::size_t bytes) noexcept {
    if (bytes > chunk_bytes / 2) return round_up(bytes, chunk_bytes);
    return std::bit_ceil(std::max<std::size_t>(bytes, smallest));
  }
  /// 0: the addresses or the system's memory have run out. The bytes hold anything.
  [[nodiscard]] ref allocate(std::size_t bytes, memory_use use);
  /// The same, of exactly `bytes` (rounded up to 16), behind the last packed block.
  [[nodiscard]] ref allocate_packed(std::size_t bytes, memory_use use);
  /// Two pieces of `bytes` (a multiple of 16, at most pair_piece_max), the second apart_bytes behind the first, which lies behind the first
  /// of the last pair. Each is freed or retired on its own.
  [[nodiscard]] ref allocate_pair(std::size_t bytes, memory_use use);
  static constexpr std::size_t pair_piece_max = std::size_t{64} << 10;
  /// mark_bytes for memory_use::mark, beside others of them.
  [[nodiscard]] ref allocate_mark();
  static constexpr std::size_t mark_bytes = 32;
  /// Frees what was allocated with that size (size_class(bytes), or round_up(bytes, 16) of a packed one) at once.
  void free(ref r, std::size_t bytes, memory_use use);
  /// Frees it as soon as no pin of the epoch or an earlier one is left.
  void retire(ref r, std::size_t bytes, memory_use use, std::uint64_t epoch);
  /// Frees what was retired before `oldest`.
  void collect(std::uint64_t oldest);
  /// Makes chunks whole again whose blocks are all free, and gives their memory back to the system.
  void sweep();
  /// Ends the packed run: the next packed block begins a new chunk.
  void end_packed();

  /// Takes the first chunks for an image of `bytes`, which is to be placed at offset `chunk_bytes`. Only while nothing is allocated.
  /// `used` says what it is used for, by memory_use.
  [[nodiscard]] ref adopt(std::size_t bytes, const std::array<std::size_t, memory_uses>& used);

  [[nodiscard]] std::size_t used(memory_use use) const noexcept { return used_[static_cast<std::size_t>(use)]; }
  [[nodiscard]] std::size_t retired_bytes() const noexcept { return retired_bytes_; }
  [[nodiscard]] std::size_t free_bytes() const noexcept { return free_bytes_; }
  [[nodiscard]] std::size_t in_use() const noexcept { return in_use_; }

private:
  static constexpr std::size_t smallest = 32;
  static constexpr std::size_t classes = 16;                         // 32 bytes .. 1 MiB
  static constexpr std::size_t marks_bytes = std::size_t{64} << 10;  // what marks are cut from
  struct retired {
    std::uint64_t epoch;
    ref at;
    memory_use use;
    std::size_t bytes;
  };

  [[nodiscard]] std::size_t take_chunks(std::size_t count);  // index of the first; 0: none
  void give_chunks(std::size_t first, std::size_t count);
  void give_pieces(std::size_t offset, std::size_t bytes);
  void account(std::size_t offset, std::size_t bytes, bool in);
  void add(memory_use use, std::size_t bytes) noexcept {
    used_[static_cast<std::size_t>(use)] += bytes;
    in_use_ += bytes;
  }
  [[nodiscard]] static constexpr std::size_t class_of(std::size_t bytes) noexcept {
    return static_cast<std::size_t>(std::countr_zero(bytes)) - 5;
  }

  region region_;
  std::size_t chunks_ = 1;                   // chunk 0 stays empty, so that reference 0 is none
  std::map<std::size_t, std::size_t> runs_;  // whole free chunks: first -> count
  std::vector<std::uint32_t> live_;          // bytes in use by chunk
  std::array<std::vector<ref>, classes> free_;
  std::vector<ref> free_marks_;  // kept apart, or marks would come to lie where blocks were, each in a page of its own
  std::size_t cursor_ = 0, cursor_end_ = 0;  // the chunk that small blocks are cut from
  std::size_t packed_ = 0, packed_end_ = 0;  // where packed blocks go on
  std::size_t pair_ = 0, pair_end_ = 0;  // where the first pieces of pairs go on; the chunk behind has the second ones
  std::deque<retired> retired_;
  std::size_t retired_bytes_ = 0;
  std::size_t free_bytes_ = 0;  // in the lists and runs
  std::size_t in_use_ = 0;
  std::array<std::size_t, memory_uses> used_{};
};

}  // namespace rhizome::detail
