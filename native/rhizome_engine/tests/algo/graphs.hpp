// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "algo/budget.hpp"
#include "algo/csr.hpp"

namespace rhizome::testing {

struct splitmix {
  std::uint64_t state;
  std::uint64_t operator()() {
    auto z = state += 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }
  std::uint64_t below(std::uint64_t bound) { return (*this)() % bound; }
};

using arc = csr::arc;

/// Random arcs, loops and repetitions among them; squaring makes some vertices hubs.
inline std::vector<arc> random_arcs(std::uint64_t seed, vertex vertices, std::size_t count) {
  splitmix random{seed};
  auto const pick = [&] { return static_cast<vertex>(random.below(vertices) * random.below(vertices) / vertices); };
  std::vector<arc> arcs;
  for (std::size_t i = 0; i < count; ++i) {
    auto const source = pick();
    arcs.push_back({source, static_cast<vertex>(random.below(vertices))});
  }
  return arcs;
}

inline std::vector<arc> both_ways(std::vector<arc> arcs) {
  auto const count = arcs.size();
  for (std::size_t i = 0; i < count; ++i) {
    arcs.push_back({arcs[i].target, arcs[i].source});
  }
  return arcs;
}

/// Steps a cursor to its end with budgets of `arcs` each; how many steps that took.
template <class Cursor, class... Team>
std::uint64_t finish(Cursor& cursor, std::uint64_t arcs, Team&... workers) {
  for (std::uint64_t steps = 1;; ++steps) {
    budget allowed(budget_limits{arcs});
    if (cursor.step(allowed, workers...) == progress::done) {
      return steps;
    }
  }
}

/// A graph with two views, as queries want it; the label is of no interest.
struct two_views {
  csr forth;
  csr back;
  explicit two_views(csr graph) : forth(std::move(graph)), back(forth.transposed()) {}
  [[nodiscard]] const csr& out(label = 0) const { return forth; }
  [[nodiscard]] const csr& in(label = 0) const { return back; }
};

}  // namespace rhizome::testing
