#pragma once

#include <cstdint>

namespace karyon {

/// Where a new cell lives. Its memory comes from its node, and it never leaves the node unless work stealing across nodes
/// is switched on.
struct placement {
  enum class kind : std::uint8_t { parent, node, worker, spread };

  /// The node of the cell that spawns; from outside the runtime: spread. The default.
  static constexpr placement near_parent() noexcept { return {kind::parent, 0}; }
  /// One of the workers of node `n`, in turn; 0 <= n < runtime::nodes().
  static constexpr placement on_node(std::uint32_t n) noexcept { return {kind::node, n}; }
  /// Worker `w` and no other: the cell is pinned, and never moves. 0 <= w < runtime::workers().
  static constexpr placement on_worker(std::uint32_t w) noexcept { return {kind::worker, w}; }
  /// All workers of all nodes in turn.
  static constexpr placement spread() noexcept { return {kind::spread, 0}; }

  kind how = kind::parent;
  std::uint32_t index = 0;
};

}  // namespace karyon
