// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/change.hpp"
#include "base/types.hpp"

namespace rhizome {

namespace detail {
struct cut;
}

/// Which arcs of a vertex: those that leave it or those that arrive.
enum class direction : std::uint8_t { out = 0, in = 1 };

/// What an arc is stored as.
enum class arcs_kind : std::uint8_t {
  directed,   ///< In the source's `out` and in the target's `in`.
  symmetric,  ///< As two arcs, one at each end, so that `in` and `out` are the same; a loop is stored once.
};

/// The number of labels and of property keys that a store can tell apart.
inline constexpr label labels_max = 1024;
inline constexpr property_key property_keys_max = 4096;

/// How a store is made. Nothing of it can be changed later.
struct store_options {
  /// Bytes that a transaction may not begin to commit beyond (errc::limit): it is checked when a commit begins, by what is in use and
  /// a bound of what the commit appends, so one commit may pass it by the growth of the blocks that it touches. The store reserves
  /// addresses for four times as much (at most 64 GiB, which is also the most that blocks can take) and touches none of them before
  /// they are needed.
  std::size_t memory_limit_bytes = std::size_t{16} << 30;
  /// Vertices there may ever be (removed ones included); addresses are reserved for them by label and direction.
  vertex vertices_max = vertex{1} << 28;
  arcs_kind arcs = arcs_kind::directed;
  /// Whether an arc (label, source, target) may be there once at a time. When false, parallel arcs are kept, adding never looks
  /// for one, and a removal takes the one that was added last.
  bool unique_arcs = true;
  /// madvise(MADV_HUGEPAGE) for blocks and tables.
  bool huge_pages = true;
  /// The NUMA node whose memory blocks, tables and the log are to take as long as it has any (mbind); -1: as the system sees fit. A wish:
  /// where the system refuses it (no such node, not allowed), the store works without. errc::invalid_argument: beyond 1023.
  int numa_node = -1;
  /// Told of each transaction before it becomes visible; null: nothing is durable. Outlives the store, owned by the caller.
  commit_sink* sink = nullptr;
  /// The wall clock, for the commit table; null: the system's. Never called by readers.
  time_us (*clock)() = nullptr;
  /// The number before the first commit of this store. For a store that goes on where another ended.
  commit_number commit_base = 0;
  /// Of a shard: what it shares with the others; see sharded_store, which sets it. Then an arc may have one end in another shard, whose
  /// number is not below vertices_max, and is kept at the other end alone.
  detail::cut* shared = nullptr;
  unsigned shard = 0;  ///< Its number among them.
};

}  // namespace rhizome
