// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <mutex>

#include "base/types.hpp"

namespace rhizome::detail {

/// Which shard a vertex is of, and its number there. Ids are cut into ranges of 2^bits. In shard k everything is numbered from its own first
/// vertex on, modulo 2^32: its own vertices are [0, vertices_max), as in a store by itself, and those of others lie above. The last number
/// of a range is never a vertex, so that no number is no_vertex.
struct sharding {
  unsigned bits = 0;
  unsigned count = 0;

  [[nodiscard]] unsigned shard_of(vertex v) const noexcept { return v >> bits; }
  [[nodiscard]] bool has(vertex v) const noexcept { return v != no_vertex && shard_of(v) < count; }
  [[nodiscard]] vertex in(unsigned shard, vertex v) const noexcept { return v - first(shard); }
  [[nodiscard]] vertex first(unsigned shard) const noexcept {
    return static_cast<vertex>(std::uint64_t{shard} << bits);
  }
};

/// How `count` shards of that many vertices each are numbered. errc::invalid_argument: none, or more than 2^32 ids.
[[nodiscard]] result<sharding> make_sharding(vertex vertices_max, unsigned count);

/// What the stores of a sharded one share.
struct cut {
  sharding how;        ///< Set before the first of them is made.
  std::mutex showing;  ///< Held while commits become visible, and while all shards are pinned; never for longer.

  /// A time for a commit, not before that of any commit that was visible when it was asked for.
  [[nodiscard]] time_us stamp(time_us now) noexcept {
    time_us newest = newest_.load(std::memory_order_relaxed);
    while (newest < now && !newest_.compare_exchange_weak(newest, now, std::memory_order_relaxed)) {
    }
    return newest < now ? now : newest;
  }

private:
  // Relaxed: whoever saw a commit took `showing` after it was stamped, which orders the two.
  std::atomic<time_us> newest_{0};
};

}  // namespace rhizome::detail
