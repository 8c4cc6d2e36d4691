// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/types.hpp"

namespace rhizome::detail {

/// A place in the arena, in units of 16 bytes from its base; 0: none. References are relative, so that an image of blocks can be mapped
/// anywhere.
using ref = std::uint32_t;
inline constexpr std::size_t unit_bytes = 16;

/// One vertex of one label and direction. Written by the writer alone, read by anybody.
///
/// `where`, in one word so that a reader gets a block and a count that belong together:
///
///       63      62 ..... 32   31 ..... 0
///     +-------+-------------+-----------+
///     | dirty | count       | block     |
///     +-------+-------------+-----------+
///
///   count  positions of the block that are filled, dead ones included
///   dirty  the block has ends: some positions below count may be dead
///
///   transition                  new word                     before it is stored (release)
///   append                      count + 1                    target and begin of the position, `changed`
///   first death in a block      dirty set                    the ends, the end, `changed`
///   further death               the same                     the end, `changed`
///   growth, cleaning, packing   another block, its count     all of the new block; the old one is retired afterwards
///
/// Readers load `where` (acquire) and only then `changed` (relaxed): what they get is at least the commit of the last change that the
/// word shows. `changed` <= t and not dirty: every position is there at t, and no later version was ever closed.
struct vertex_entry {
  std::atomic<std::uint64_t> where;
  std::atomic<commit_number> changed;  ///< The last commit that appended or closed here.
  /// For the writer alone, which it spares the header's cache line: the block's shape; of a dirty block the `ref` of its marked_block.
  std::uint32_t shape;
};
static_assert(sizeof(vertex_entry) == 16);

/// Blocks that compaction packed have their begins as far behind their targets as this, so that the targets of one vertex follow on
/// those of the vertex before it, and whoever reads them alone passes over them as over those of a CSR. A huge page.
inline constexpr std::size_t apart_bytes = std::size_t{2} << 20;

/// A block's capacity in the low 31 bits; the highest says that its begins lie `apart_bytes` behind its targets and not behind the last.
inline constexpr std::uint32_t apart_bit = 0x8000'0000U;
[[nodiscard]] constexpr std::uint32_t capacity_of(std::uint32_t shape) noexcept { return shape & ~apart_bit; }
/// From the first target to the first begin, in elements.
[[nodiscard]] constexpr std::size_t begins_offset(std::uint32_t shape) noexcept {
  return (shape & apart_bit) != 0 ? apart_bytes / sizeof(commit_number) : shape;
}

struct placed {
  ref block = 0;
  std::uint32_t count = 0;
  bool dirty = false;

  [[nodiscard]] static constexpr placed of(std::uint64_t word) noexcept {
    return {static_cast<ref>(word), static_cast<std::uint32_t>(word >> 32) & 0x7fff'ffffU, (word >> 63) != 0};
  }
  [[nodiscard]] constexpr std::uint64_t word() const noexcept {
    return (std::uint64_t{dirty} << 63) | (std::uint64_t{count} << 32) | block;
  }
};

/// The head of a block; `capacity` targets follow, then (or apart) `capacity` begins, both in the order in which they were appended, so
/// begins never fall. The three references are 0 where there is no such part:
///   ends     an ends_head; there where the entry is dirty
///   history  the newest batch of closed versions that are no longer in the block
///   valid    a valid_column with `capacity` intervals
struct block_header {
  std::uint32_t shape;
  std::atomic<ref> ends;
  std::atomic<ref> history;
  std::atomic<ref> valid;

  [[nodiscard]] const vertex* targets() const noexcept { return reinterpret_cast<const vertex*>(this + 1); }
  [[nodiscard]] vertex* targets() noexcept { return reinterpret_cast<vertex*>(this + 1); }
  [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_of(shape); }
  [[nodiscard]] const commit_number* begins() const noexcept { return targets() + begins_offset(shape); }
  [[nodiscard]] commit_number* begins() noexcept { return targets() + begins_offset(shape); }
};
static_assert(sizeof(block_header) == unit_bytes);

[[nodiscard]] constexpr std::size_t block_bytes(std::uint32_t capacity) noexcept {
  return sizeof(block_header) + std::size_t{capacity} * (sizeof(vertex) + sizeof(commit_number));
}
/// Each of the two pieces of a block whose begins lie apart. The second has no header, but lies as far on in its chunk as the first.
[[nodiscard]] constexpr std::size_t apart_piece_bytes(std::uint32_t capacity) noexcept {
  return (sizeof(block_header) + std::size_t{capacity} * sizeof(vertex) + unit_bytes - 1) / unit_bytes * unit_bytes;
}

/// The deaths of a block's positions. Apart from the ends themselves: then those of a block with a power of two of bytes fill half of one,
/// and all that is written at each death but the end lies in few pages.
struct ends_head {
  std::atomic<std::uint32_t> dead;  ///< How many are dead; stored (release) after `changed`.
  ref ends;                         ///< `capacity` commit numbers, newest_commit where the position lives.

  [[nodiscard]] static constexpr std::size_t ends_bytes(std::size_t capacity) noexcept {
    return capacity * sizeof(commit_number);
  }
};

/// The ends of a dirty block's positions. `base`: of the arena.
[[nodiscard]] inline const commit_number* ends_of(const std::byte* base, const block_header& block) noexcept {
  std::size_t head = std::size_t{block.ends.load(std::memory_order_relaxed)} * unit_bytes;  // told by `where`
  std::size_t ends = std::size_t{reinterpret_cast<const ends_head*>(base + head)->ends} * unit_bytes;
  return reinterpret_cast<const commit_number*>(base + ends);
}

/// An arc's version that has ended.
struct closed_version {
  vertex target;
  commit_number begin;
  commit_number end;
};

/// Closed versions in the order of their ends; all ends of `previous` are no later than the first here. `count` versions follow, then,
/// where has_valid, their intervals from the next multiple of 8 bytes on. Immutable, but for `previous`, which trimming may cut.
struct history_batch {
  std::atomic<ref> previous;  ///< Relaxed: what it leads to was published with the block's `history`.
  std::uint32_t count;
  commit_number latest_end;
  std::uint32_t has_valid;

  [[nodiscard]] const closed_version* versions() const noexcept {
    return reinterpret_cast<const closed_version*>(this + 1);
  }
  [[nodiscard]] closed_version* versions() noexcept { return reinterpret_cast<closed_version*>(this + 1); }
  [[nodiscard]] static constexpr std::size_t versions_bytes(std::size_t count) noexcept {
    return (count * sizeof(closed_version) + 7) / 8 * 8;
  }
  [[nodiscard]] const interval* valid() const noexcept {
    return reinterpret_cast<const interval*>(reinterpret_cast<const std::byte*>(this + 1) + versions_bytes(count));
  }
  [[nodiscard]] interval* valid() noexcept {
    return reinterpret_cast<interval*>(reinterpret_cast<std::byte*>(this + 1) + versions_bytes(count));
  }
  [[nodiscard]] static constexpr std::size_t bytes(std::size_t count, bool has_valid) noexcept {
    return sizeof(history_batch) + versions_bytes(count) + (has_valid ? count * sizeof(interval) : 0);
  }
};
static_assert(sizeof(history_batch) == unit_bytes);

/// The valid times of a block's positions, with bounds that spare most readers the look at them. The bounds only ever widen, before
/// the position that widens them is published: an older reader sees wider ones, which is safe.
struct valid_column {
  std::atomic<time_us> from_min;
  std::atomic<time_us> from_max;
  std::atomic<time_us> to_min;
  std::atomic<time_us> to_max;

  [[nodiscard]] const interval* at() const noexcept { return reinterpret_cast<const interval*>(this + 1); }
  [[nodiscard]] interval* at() noexcept { return reinterpret_cast<interval*>(this + 1); }
  [[nodiscard]] static constexpr std::size_t bytes(std::size_t capacity) noexcept {
    return sizeof(valid_column) + capacity * sizeof(interval);
  }
  /// Whether every position is true at some moment of `window`, which is not empty.
  [[nodiscard]] bool all_during(const interval& window) const noexcept {
    return from_max.load(std::memory_order_relaxed) < window.to && window.from < to_min.load(std::memory_order_relaxed);
  }
  /// Whether none is.
  [[nodiscard]] bool none_during(const interval& window) const noexcept {
    return window.to <= from_min.load(std::memory_order_relaxed) ||
           to_max.load(std::memory_order_relaxed) <= window.from;
  }
};

/// When a vertex was there. `died` changes once.
struct vertex_life {
  std::atomic<commit_number> born;  ///< 0: not yet, or never.
  std::atomic<commit_number> died;  ///< 0: not yet.

  [[nodiscard]] bool alive(commit_number t) const noexcept {
    commit_number b = born.load(std::memory_order_relaxed);
    commit_number d = died.load(std::memory_order_relaxed);
    return b != 0 && b <= t && (d == 0 || d > t);
  }
};

/// What the commit table knows of a commit.
struct commit_row {
  time_us time;
  std::uint64_t log_end;  ///< The end of its entries in the log.
  vertex vertices;        ///< Ids given out to commits so far lie below it.
  vertex alive;           ///< Vertices that were there after it.
};

/// The live arcs of a label after a commit that changed their number.
struct arcs_row {
  std::uint64_t arcs;
  commit_number commit;
  std::uint32_t unused;
};

[[nodiscard]] inline commit_number load_end(const commit_number& end) noexcept {
  // A death is told by the release of `where` or, to readers of later snapshots, of the visible commit; to an older reader
  // both values mean alive. So relaxed is enough.
  return std::atomic_ref<commit_number>(const_cast<commit_number&>(end)).load(std::memory_order_relaxed);
}
inline void store_end(commit_number& end, commit_number value) noexcept {
  std::atomic_ref<commit_number>(end).store(value, std::memory_order_relaxed);
}

/// The number of positions of `block` below `count` that had begun at `t`.
[[nodiscard]] inline std::uint32_t prefix_at(const block_header& block, std::uint32_t count, commit_number t) noexcept {
  const commit_number* begins = block.begins();
  // A reader beside the writer is a few appends behind: they are in the line of the last begin.
  for (std::uint32_t newer = 0; newer < 8; ++newer, --count)
    if (count == 0 || begins[count - 1] <= t) return count;
  std::uint32_t low = 0;
  std::uint32_t length = count;
  while (length > 0) {  // branch-free upper bound
    std::uint32_t half = length / 2;
    bool right = begins[low + half] <= t;
    low += right ? half + 1 : 0;
    length = right ? length - half - 1 : half;
  }
  return low;
}

}  // namespace rhizome::detail
