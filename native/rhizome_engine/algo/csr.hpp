// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>

#include "algo/huge_array.hpp"
#include "base/adjacency.hpp"
#include "base/types.hpp"

namespace rhizome {

namespace detail {

/// Calls f for an arc; whether the walk goes on.
template <class F>
inline bool visit(F& f, vertex target) {
  if constexpr (std::is_same_v<std::invoke_result_t<F&, vertex>, bool>) {
    return f(target);
  } else {
    f(target);
    return true;
  }
}

}  // namespace detail

/// The limit that a graph store is measured against, and the graph of who needs no history: all arcs in one array, in the order of
/// their sources. Never changes; a copy is another handle to the same arrays, good in any thread. `neighbours` are in ascending
/// order. Eight bytes a vertex and four an arc.
class csr {
public:
  struct arc {
    vertex source = 0;
    vertex target = 0;
    friend constexpr auto operator<=>(const arc&, const arc&) = default;
  };
  enum class duplicates : std::uint8_t { kept, dropped };  ///< dropped: of equal arcs one stays, and no loop does.

  csr() = default;

  /// In time linear in arcs but for the sorting of each vertex's. Throws std::bad_alloc, and std::out_of_range where an arc
  /// names a vertex that is not below `vertices`.
  csr(vertex vertices, std::span<const arc> arcs, duplicates equal_arcs);

  [[nodiscard]] csr transposed() const;

  [[nodiscard]] vertex vertices() const noexcept { return vertices_; }
  [[nodiscard]] std::uint64_t arcs() const noexcept { return vertices_ == 0 ? 0 : begins_[vertices_]; }
  [[nodiscard]] std::uint32_t degree(vertex v) const noexcept {
    return static_cast<std::uint32_t>(begins_[v + std::size_t{1}] - begins_[v]);
  }
  [[nodiscard]] std::span<const vertex> neighbours(vertex v) const noexcept {
    return {targets_ + begins_[v], static_cast<std::size_t>(begins_[v + std::size_t{1}] - begins_[v])};
  }
  void prefetch(vertex v) const noexcept { __builtin_prefetch(targets_ + begins_[v]); }
  void prefetch_entry(vertex v) const noexcept { __builtin_prefetch(&begins_[v]); }
  template <class F>
  void for_each(vertex v, F&& f) const {
    auto const* const end = targets_ + begins_[v + std::size_t{1}];
    for (auto const* at = targets_ + begins_[v]; at != end; ++at) {
      if (!detail::visit(f, *at)) {
        return;
      }
    }
  }

private:
  struct arrays {
    huge_array<std::uint64_t> begins;  // one more than there are vertices
    huge_array<vertex> targets;
  };
  explicit csr(vertex vertices, std::shared_ptr<const arrays> owned);

  std::shared_ptr<const arrays> owned_;
  const std::uint64_t* begins_ = nullptr;
  const vertex* targets_ = nullptr;
  vertex vertices_ = 0;
};
static_assert(listed_adjacency<csr>);

}  // namespace rhizome
