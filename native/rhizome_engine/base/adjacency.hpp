// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <concepts>
#include <cstdint>
#include <span>

#include "base/types.hpp"

namespace rhizome {

/// What an algorithm sees of a graph: the arcs of one label (or of all) that are there at one point of both time axes. A view of a
/// snapshot is one, and so is a plain CSR; algorithms are templates over it, so that the newest snapshot is read without a test an
/// arc. Views are cheap values; any number of threads may read one at a time. It keeps what it shows alive.
///
/// `for_each(v, f)` calls f(target) for each arc out of v; where f returns bool, false ends the walk. `prefetch(v)` asks for what
/// for_each(v) will need. Arcs come in no particular order unless the view says so.
template <class G>
concept adjacency = requires(const G& g, vertex v) {
  { g.vertices() } -> std::convertible_to<vertex>;     // ids lie below it; some may be removed ones, of degree 0
  { g.arcs() } -> std::convertible_to<std::uint64_t>;  // exact
  { g.degree(v) } -> std::convertible_to<std::uint32_t>;
  {g.prefetch(v)};
  g.for_each(v, [](vertex) {});
};

/// Where the targets of one vertex lie, in one word. Another graph's word means nothing to this one.
using arcs_place = std::uint64_t;
inline constexpr arcs_place no_place = ~arcs_place{0};

/// An adjacency that tells where a vertex's targets lie, so that an algorithm that passes over all of it again and again looks each
/// vertex up once and keeps the word (8 bytes). `place_of(v)`: no_place where they do not lie in one piece, and for_each is the
/// way. `targets_at(p)` is good for as long as the view that gave the word, whatever is written meanwhile, and reads
/// nothing: that what it gives can be prefetched.
template <class G>
concept placed_adjacency = adjacency<G> && requires(const G& g, vertex v, arcs_place p) {
  { g.place_of(v) } -> std::same_as<arcs_place>;
  { g.targets_at(p) } -> std::same_as<std::span<const vertex>>;
};

/// An adjacency all of whose vertices have their targets in one piece.
template <class G>
concept listed_adjacency = adjacency<G> && requires(const G& g, vertex v) {
  { g.neighbours(v) } -> std::same_as<std::span<const vertex>>;
};

}  // namespace rhizome
