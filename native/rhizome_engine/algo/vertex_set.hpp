// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#include "algo/huge_array.hpp"
#include "base/types.hpp"

namespace rhizome {

/// Vertices seen so far by a query that may see few or nearly all: a hash table, so that a small query does not pay for the
/// whole graph, until a bit a vertex takes less memory. Not for several threads.
class vertex_set {
public:
  /// `vertices`: all that are inserted lie below it.
  explicit vertex_set(vertex vertices = 0) : vertices_(vertices) {}

  /// Whether it is new. `v` must be below `vertices`.
  bool insert(vertex v) {
    if (bits_.size() != 0) {
      auto& word = bits_[v / 64];
      auto const bit = std::uint64_t{1} << (v % 64);
      bool const is_new = (word & bit) == 0;
      word |= bit;
      size_ += is_new ? 1U : 0U;
      return is_new;
    }
    return insert_hashed(v);
  }
  [[nodiscard]] bool contains(vertex v) const noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

private:
  bool insert_hashed(vertex v);
  void grow();
  [[nodiscard]] std::size_t slot_of(vertex v) const noexcept;

  vertex vertices_ = 0;
  std::size_t size_ = 0;
  huge_array<vertex> slots_;        // v + 1, 0: free; a power of two of them, at most half full
  huge_array<std::uint64_t> bits_;  // in its place from some size on
};

}  // namespace rhizome
