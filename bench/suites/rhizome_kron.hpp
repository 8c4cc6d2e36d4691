// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <numeric>
#include <thread>
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

/// The generator's draws are this far apart, so that any thread can go on from any of them.
inline constexpr std::uint64_t random_stride = 0x9E3779B97F4A7C15ULL;

/// Edges [first, last) of those that one generator draws in a row, vertices not yet renumbered. Without branches: which quadrant comes next
/// is chance, and a processor that guesses it loses most of the time.
inline void draw(std::vector<edge>& edges, std::size_t first, std::size_t last, unsigned scale) {
  constexpr auto below = [](double share) { return static_cast<std::uint64_t>(share * 0x1p53); };
  random draws{20 + first * scale * random_stride};
  for (auto i = first; i < last; ++i) {
    vertex source = 0;
    vertex target = 0;
    for (unsigned level = 0; level < scale; ++level) {
      auto const at = draws.next() >> 11;
      auto const lower = static_cast<vertex>(at >= below(0.76));
      auto const right = static_cast<vertex>(at >= below(0.57)) ^ lower ^ static_cast<vertex>(at >= below(0.95));
      source = source << 1 | lower;
      target = target << 1 | right;
    }
    edges[i] = {source, target};
  }
}

/// f(first, last) for two halves of [0, count) on two threads: setting up is not what is measured.
template <class F>
void in_halves(std::size_t count, F const& f) {
  std::thread other([&] { f(count / 2, count); });
  f(std::size_t{0}, count / 2);
  other.join();
}

/// The graph: sixteen edges a vertex as the GAP benchmark draws them, quadrants of the adjacency matrix by 0.57, 0.19, 0.19 and 0.05, down to
/// one place, then vertices renumbered at random; both directions of every edge, none twice, no loops.
inline rhizome::csr graph(unsigned scale) {
  auto const vertices = std::size_t{1} << scale;
  std::vector<vertex> names(vertices);
  std::iota(names.begin(), names.end(), vertex{0});
  shuffle(names, 27);
  auto const count = vertices * 16;
  std::vector<edge> arcs(2 * count);
  in_halves(count, [&](std::size_t first, std::size_t last) {
    draw(arcs, first, last, scale);
    for (auto i = first; i < last; ++i) {
      arcs[i] = {names[arcs[i].source], names[arcs[i].target]};
      arcs[count + i] = {arcs[i].target, arcs[i].source};
    }
  });
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
