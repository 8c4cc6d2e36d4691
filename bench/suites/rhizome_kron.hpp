// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <numeric>
#include <utility>
#include <vector>

#include "algo/budget.hpp"
#include "algo/csr.hpp"
#include "algo/team.hpp"
#include "harness/driver.hpp"

/// What the drivers of the suite `rhizome` share: the graph, which searches begin where, and how a time is taken.
namespace karyon::bench::kron {

using rhizome::vertex;
using edge = rhizome::csr::arc;

/// splitmix64, so that every driver makes the same graph on every machine.
struct random {
  std::uint64_t state;

  std::uint64_t next() {
    auto z = state += 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }
  std::uint64_t below(std::uint64_t bound) {
    return static_cast<std::uint64_t>((static_cast<unsigned __int128>(next()) * bound) >> 64);
  }
};

inline void shuffle(auto& values, std::uint64_t seed) {
  random choice{seed};
  for (auto i = values.size(); i > 1; --i) {
    std::swap(values[i - 1], values[choice.below(i)]);
  }
}

/// 2^scale vertices.
inline unsigned scale_of(work const& asked) {
  verify(asked.cells >= 1'024 && asked.cells < (std::uint64_t{1} << 30), "the suite takes 1,024 to 2^29 vertices");
  return static_cast<unsigned>(std::bit_width(asked.cells)) - 1;
}

/// Sixteen edges a vertex as the GAP benchmark draws them: quadrants of the adjacency matrix by 0.57, 0.19, 0.19 and 0.05, down to one
/// place, then vertices renumbered at random.
inline std::vector<edge> drawn_edges(unsigned scale) {
  auto const vertices = std::size_t{1} << scale;
  std::vector<vertex> names(vertices);
  std::iota(names.begin(), names.end(), vertex{0});
  shuffle(names, 27);
  std::vector<edge> edges(vertices * 16);
  random draw{20};
  for (auto& one : edges) {
    for (unsigned level = 0; level < scale; ++level) {
      auto const at = static_cast<double>(draw.next() >> 11) * 0x1p-53;
      one.source = one.source << 1 | (at >= 0.76 ? 1U : 0U);
      one.target = one.target << 1 | ((at >= 0.57 && at < 0.76) || at >= 0.95 ? 1U : 0U);
    }
    one = {names[one.source], names[one.target]};
  }
  return edges;
}

/// The graph: both directions of every edge, none twice, no loops.
inline rhizome::csr graph(unsigned scale) {
  auto arcs = drawn_edges(scale);
  auto const count = arcs.size();
  arcs.resize(2 * count);
  for (std::size_t i = 0; i < count; ++i) {
    arcs[count + i] = {arcs[i].target, arcs[i].source};
  }
  return {vertex{1} << scale, arcs, rhizome::csr::duplicates::dropped};
}

/// Each edge of the graph once, in an order without any order, as they would come over time.
inline std::vector<edge> edges_over_time(rhizome::csr const& graph) {
  std::vector<edge> edges;
  edges.reserve(graph.arcs() / 2);
  random side{5};
  for (vertex v = 0; v < graph.vertices(); ++v) {
    for (auto const to : graph.neighbours(v)) {
      if (v < to) {
        edges.push_back(side.next() & 1 ? edge{v, to} : edge{to, v});
      }
    }
  }
  shuffle(edges, 3);
  return edges;
}

/// Vertices that have arcs, the same in every driver.
inline std::vector<vertex> sources(rhizome::csr const& graph, std::size_t count) {
  std::vector<vertex> chosen;
  for (random pick{11}; chosen.size() < count;) {
    auto const v = static_cast<vertex>(pick.below(graph.vertices()));
    if (graph.degree(v) > 0) {
      chosen.push_back(v);
    }
  }
  return chosen;
}

/// With verbose=1 in the shape, all times go to standard error as well.
inline double median(work const& asked, std::vector<double> values) {
  std::sort(values.begin(), values.end());
  if (asked.option("verbose", 0) != 0) {
    for (auto const value : values) {
      std::fprintf(stderr, " %.2f", value);
    }
    std::fputs(" sorted\n", stderr);
  }
  auto const middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

/// Milliseconds that work() takes.
template <class F>
double timed_ms(F&& work) {
  auto const begin = now_ns();
  work();
  return static_cast<double>(now_ns() - begin) / 1e6;
}

/// Steps a cursor to its end in one go.
template <class Cursor>
void finish(Cursor& cursor, rhizome::team& workers) {
  rhizome::budget whole;
  verify(cursor.step(whole, workers) == rhizome::progress::done, "a search without a limit did not end");
}

inline std::uint64_t repeats(work const& asked) { return std::max<std::uint64_t>(1, asked.operations); }
inline unsigned threads(work const& asked) { return static_cast<unsigned>(asked.option("threads", 1)); }

}  // namespace karyon::bench::kron
