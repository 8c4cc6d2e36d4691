// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <stdexcept>
#include <tuple>

#include "algo/bfs.hpp"
#include "algo/components.hpp"
#include "algo/khop.hpp"
#include "algo/pagerank.hpp"
#include "algo/shortest_paths.hpp"
#include "algo/triangles.hpp"
#include "graphs.hpp"
#include "support/catch.hpp"

namespace rhizome {
namespace {

using arc = csr::arc;
using testing::both_ways;
using testing::finish;
using testing::random_arcs;

struct sample {
  std::uint64_t seed;
  vertex vertices;
  std::size_t arcs;
};
const std::vector<sample> samples{{1, 1, 0},         {2, 1, 3},           {3, 2, 1},       {4, 7, 9},
                                  {5, 64, 40},       {6, 65, 300},        {7, 200, 150},   {8, 300, 5'000},
                                  {9, 1'500, 1'400}, {10, 3'000, 40'000}, {11, 40, 1'500}, {12, 5'000, 90'000}};

std::vector<unsigned> levels_from(const csr& graph, vertex source) {
  std::vector<unsigned> levels(graph.vertices(), ~0U);
  std::vector<vertex> queue{source};
  levels[source] = 0;
  for (std::size_t i = 0; i < queue.size(); ++i) {
    for (auto const to : graph.neighbours(queue[i])) {
      if (levels[to] == ~0U) {
        levels[to] = levels[queue[i]] + 1;
        queue.push_back(to);
      }
    }
  }
  return levels;
}

/// Whether the parents are a breadth-first tree: the same vertices, each one level below its parent, over an arc.
template <class Search>
void check_tree(const csr& graph, vertex source, const Search& search) {
  auto const levels = levels_from(graph, source);
  std::uint64_t reached = 0;
  for (vertex v = 0; v < graph.vertices(); ++v) {
    auto const parent = search.parents()[v];
    bool const is_reached = levels[v] != ~0U;
    REQUIRE((parent != no_vertex) == is_reached);
    REQUIRE(search.path_to(v).size() == (is_reached ? levels[v] + 1 : 0));
    reached += is_reached ? 1U : 0U;
    if (is_reached && v != source) {
      REQUIRE(levels[parent] + 1 == levels[v]);
      auto const targets = graph.neighbours(parent);
      REQUIRE(std::binary_search(targets.begin(), targets.end(), v));
    }
  }
  REQUIRE(search.reached() == reached);
  REQUIRE(search.parents()[source] == source);
}

TEST_CASE("A plain graph has each vertex's arcs, and its transpose has them the other way") {
  auto const one = GENERATE(from_range(samples));
  auto const arcs = random_arcs(one.seed, one.vertices, one.arcs);
  std::multiset<arc> expected(arcs.begin(), arcs.end());
  std::multiset<arc> forth;
  std::multiset<arc> back;
  csr const graph(one.vertices, arcs, csr::duplicates::kept);
  auto const transposed = graph.transposed();
  for (vertex v = 0; v < one.vertices; ++v) {
    graph.for_each(v, [&](vertex to) { forth.insert({v, to}); });
    transposed.for_each(v, [&](vertex from) { back.insert({from, v}); });
    CHECK(graph.degree(v) == graph.neighbours(v).size());
  }
  CHECK(forth == expected);
  CHECK(back == expected);
  CHECK(graph.arcs() == arcs.size());
  std::set<arc> once(arcs.begin(), arcs.end());
  std::erase_if(once, [](arc a) { return a.source == a.target; });
  CHECK(csr(one.vertices, arcs, csr::duplicates::dropped).arcs() == once.size());
}

TEST_CASE("A plain graph refuses an arc whose end is not there") {
  std::vector<arc> const arcs{{0, 3}};
  CHECK_THROWS_AS(csr(3, arcs, csr::duplicates::kept), std::out_of_range);
}

TEST_CASE("A breadth-first search finds a shortest way to each vertex, in both directions and with any budget") {
  auto const one = GENERATE(from_range(samples));
  csr const graph(one.vertices, random_arcs(one.seed, one.vertices, one.arcs), csr::duplicates::kept);
  auto const back = graph.transposed();
  team two(2);
  for (std::uint64_t allowed : {std::uint64_t{0}, std::uint64_t{100}, ~std::uint64_t{0}}) {
    for (bool const optimising : {true, false}) {
      auto const source = static_cast<vertex>(one.seed % one.vertices);
      bfs<csr, csr> alone(graph, back, source, {optimising});
      finish(alone, allowed);
      check_tree(graph, source, alone);
      bfs<csr, csr> together(graph, back, source, {optimising});
      finish(together, allowed, two);
      check_tree(graph, source, together);
    }
  }
}

TEST_CASE("A breadth-first search goes up and down again where the graph is wide and has a tail") {
  std::vector<arc> arcs = random_arcs(5, 4'000, 60'000);
  for (vertex v = 4'000; v < 5'000; ++v) {
    arcs.push_back({v - 1, v});
  }
  csr const graph(5'000, both_ways(arcs), csr::duplicates::dropped);
  bfs<csr, csr> search(graph, graph, 17);
  auto const steps = finish(search, 200);
  CHECK(steps > 10);
  check_tree(graph, 17, search);
}

TEST_CASE("A breadth-first search from a vertex that is not there reaches nothing") {
  csr const graph(3, {}, csr::duplicates::kept);
  bfs<csr, csr> search(graph, graph, 3);
  finish(search, ~0ULL);
  CHECK(search.reached() == 0);
  CHECK(search.path_to(1).empty());
  CHECK(search.path_to(99).empty());
}

TEST_CASE("Components are labelled by their smallest vertex, whatever the arcs' directions") {
  auto const one = GENERATE(from_range(samples));
  auto const arcs = random_arcs(one.seed, one.vertices, one.arcs);
  csr const graph(one.vertices, arcs, csr::duplicates::kept);
  csr const undirected(one.vertices, both_ways(arcs), csr::duplicates::kept);
  std::vector<vertex> expected(one.vertices);
  std::iota(expected.begin(), expected.end(), 0U);
  for (bool changed = true; changed;) {
    changed = false;
    for (auto const& a : arcs) {
      auto const low = std::min(expected[a.source], expected[a.target]);
      changed = changed || expected[a.source] != low || expected[a.target] != low;
      expected[a.source] = expected[a.target] = low;
    }
  }
  auto const back = graph.transposed();
  team two(2);
  for (std::uint64_t allowed : {std::uint64_t{0}, ~std::uint64_t{0}}) {
    components<csr, csr> directed(graph, back, false);
    finish(directed, allowed);
    CHECK(std::equal(expected.begin(), expected.end(), directed.labels().begin(), directed.labels().end()));
    components<csr, csr> both(undirected, undirected, true);
    finish(both, allowed, two);
    CHECK(std::equal(expected.begin(), expected.end(), both.labels().begin(), both.labels().end()));
    CHECK(both.count() == std::set<vertex>(expected.begin(), expected.end()).size());
  }
}

std::vector<double> slow_pagerank(const csr& graph, const csr& back, bool share) {
  auto const n = graph.vertices();
  std::vector<double> scores(n, 1.0 / n);
  for (int round = 0; round < 300; ++round) {
    std::vector<double> next(n);
    double lost = 0;
    for (vertex v = 0; v < n; ++v) {
      lost += graph.degree(v) == 0 && share ? scores[v] : 0;
    }
    for (vertex v = 0; v < n; ++v) {
      double sum = 0;
      for (auto const from : back.neighbours(v)) {
        sum += scores[from] / graph.degree(from);
      }
      next[v] = 0.15 / n + 0.85 * (sum + lost / n);
    }
    scores = next;
  }
  return scores;
}

TEST_CASE("PageRank comes to the scores of the textbook's formula") {
  auto const one = GENERATE(from_range(samples));
  csr const graph(one.vertices, random_arcs(one.seed, one.vertices, one.arcs), csr::duplicates::kept);
  auto const back = graph.transposed();
  team two(2);
  for (bool const share : {false, true}) {
    auto const expected = slow_pagerank(graph, back, share);
    pagerank_options const options{0.85, 1e-6, 200, share};
    pagerank<csr, csr> alone(graph, back, options);
    pagerank<csr, csr> together(graph, back, options);
    finish(alone, 500);
    finish(together, 500, two);
    double off_alone = 0;
    double off_together = 0;
    for (vertex v = 0; v < one.vertices; ++v) {
      off_alone += std::fabs(static_cast<double>(alone.scores()[v]) - expected[v]);
      off_together += std::fabs(static_cast<double>(together.scores()[v]) - expected[v]);
    }
    CHECK(off_alone < 1e-4);
    CHECK(off_together < 1e-4);
  }
}

TEST_CASE("PageRank stops at its tolerance, and at its number of iterations") {
  csr const graph(3'000, both_ways(random_arcs(3, 3'000, 40'000)), csr::duplicates::dropped);
  pagerank<csr, csr> loose(graph, graph, {0.85, 1e-2, 100, false});
  pagerank<csr, csr> tight(graph, graph, {0.85, 1e-6, 100, false});
  pagerank<csr, csr> few(graph, graph, {0.85, 0.0, 3, false});
  finish(loose, ~0ULL);
  finish(tight, ~0ULL);
  finish(few, ~0ULL);
  CHECK(loose.iterations() < tight.iterations());
  CHECK(loose.last_change() < 1e-2);
  CHECK(tight.last_change() < 1e-6);
  CHECK(few.iterations() == 3);
}

TEST_CASE("Triangles are counted once each, loops and repeated edges not at all") {
  auto const one = GENERATE(from_range(samples));
  auto const arcs = both_ways(random_arcs(one.seed, one.vertices, one.arcs));
  csr const simple(one.vertices, arcs, csr::duplicates::dropped);
  csr const repeated(one.vertices, arcs, csr::duplicates::kept);
  std::uint64_t expected = 0;
  for (vertex a = 0; a < one.vertices; ++a) {
    for (auto const b : simple.neighbours(a)) {
      for (auto const c : simple.neighbours(b)) {
        auto const last = simple.neighbours(c);
        expected += a < b && b < c && std::binary_search(last.begin(), last.end(), a) ? 1U : 0U;
      }
    }
  }
  team two(2);
  triangles<csr> alone(simple);
  finish(alone, 64);
  CHECK(alone.count() == expected);
  triangles<csr> together(repeated);
  finish(together, ~0ULL, two);
  CHECK(together.count() == expected);
}

double cost(vertex from, vertex to) { return ((from * 7 + to * 13) % 10) / 2.0; }

TEST_CASE("Weighted shortest ways are the cheapest, also those with arcs that cost nothing") {
  auto const one = GENERATE(from_range(samples));
  csr const graph(one.vertices, random_arcs(one.seed, one.vertices, one.arcs), csr::duplicates::kept);
  constexpr auto unreachable = shortest_paths<csr, decltype(&cost)>::unreachable;
  std::vector<double> expected(one.vertices, unreachable);
  expected[0] = 0;
  for (bool changed = true; changed;) {  // Bellman and Ford
    changed = false;
    for (vertex v = 0; v < one.vertices; ++v) {
      for (auto const to : graph.neighbours(v)) {
        auto const there = expected[v] + cost(v, to);
        changed = changed || there < expected[to];
        expected[to] = std::min(expected[to], there);
      }
    }
  }
  shortest_paths search(graph, 0, &cost);
  finish(search, 10);
  CHECK(std::equal(expected.begin(), expected.end(), search.distances().begin(), search.distances().end()));
  for (vertex v = 0; v < one.vertices; ++v) {
    auto const parent = search.parents()[v];
    REQUIRE((parent == no_vertex) == (expected[v] == unreachable));
    if (parent != no_vertex && v != 0) {
      CHECK(expected[parent] + cost(parent, v) == expected[v]);
    }
  }
  auto const target = one.vertices - 1;
  shortest_paths nearer(graph, 0, &cost, target);
  finish(nearer, 10);
  CHECK(nearer.distances()[target] == expected[target]);
}

TEST_CASE("A weight for which cheapest ways are not defined is named") {
  std::vector<arc> const arcs{{0, 1}, {1, 2}};
  csr const graph(3, arcs, csr::duplicates::kept);
  auto const negative = [](vertex from, vertex) { return from == 1 ? -1.0 : 1.0; };
  shortest_paths search(graph, 0, negative);
  finish(search, ~0ULL);
  REQUIRE(search.refused().has_value());
  CHECK(*search.refused() == std::pair(vertex{1}, vertex{2}));
  shortest_paths no_number(graph, 0, [](vertex, vertex) { return std::nan(""); });
  finish(no_number, ~0ULL);
  CHECK(no_number.refused().has_value());
}

TEST_CASE("A neighbourhood has each vertex within some arcs once, by levels") {
  auto const one = GENERATE(from_range(samples));
  csr const graph(one.vertices, random_arcs(one.seed, one.vertices, one.arcs), csr::duplicates::kept);
  auto const source = static_cast<vertex>(one.seed % one.vertices);
  auto const levels = levels_from(graph, source);
  for (unsigned const hops : {0U, 1U, 2U, 50U}) {
    std::vector<vertex> const seeds{source, source, one.vertices};
    khop<csr> search(graph, seeds, hops);
    finish(search, 10);
    for (unsigned level = 0; level <= hops; ++level) {
      std::set<vertex> expected;
      for (vertex v = 0; v < one.vertices; ++v) {
        if (levels[v] == level) {
          expected.insert(v);
        }
      }
      auto const found = search.level(level);
      CHECK(found.size() == expected.size());
      CHECK(std::set<vertex>(found.begin(), found.end()) == expected);
    }
    CHECK(search.level(hops + 1).empty());
  }
}

TEST_CASE("A set of vertices holds what was put into it, few or many") {
  auto const vertices = GENERATE(1U, 100U, 5'000U, 3'000'000U);
  vertex_set set(vertices);
  std::set<vertex> expected;
  testing::splitmix random{vertices};
  CHECK_FALSE(set.contains(0));
  for (int i = 0; i < 3'000; ++i) {
    auto const v = static_cast<vertex>(random.below(vertices));
    CHECK(set.insert(v) == expected.insert(v).second);
    auto const other = static_cast<vertex>(random.below(vertices));
    CHECK(set.contains(other) == expected.contains(other));
  }
  CHECK(set.size() == expected.size());
}

template <class Cursor>
void check_cancelled(Cursor cursor) {
  std::atomic<bool> cancel{true};
  budget gone(budget_limits{~0ULL, std::chrono::steady_clock::time_point::max(), &cancel});
  CHECK(cursor.step(gone) == progress::cancelled);
  cancel = false;
  CHECK(cursor.step(gone) == progress::done);
}

TEST_CASE("A cancelled search stops where it is, and goes on when it is stepped again") {
  csr const graph(3'000, both_ways(random_arcs(3, 3'000, 40'000)), csr::duplicates::dropped);
  check_cancelled(shortest_paths(graph, 0, &cost));
  check_cancelled(khop<csr>(graph, std::vector<vertex>{1}, 3));
  std::atomic<bool> cancel{true};
  budget gone(budget_limits{~0ULL, std::chrono::steady_clock::time_point::max(), &cancel});
  bfs<csr, csr> search(graph, graph, 0);
  pagerank<csr, csr> ranks(graph, graph);
  components<csr, csr> parts(graph, graph, true);
  triangles<csr> count(graph);
  auto const step_all = [&] {
    return std::tuple(search.step(gone), ranks.step(gone), parts.step(gone), count.step(gone));
  };
  auto const all = [](progress p) { return std::tuple(p, p, p, p); };
  CHECK(step_all() == all(progress::cancelled));
  cancel = false;
  CHECK(step_all() == all(progress::done));
}

TEST_CASE("A step whose time is over before it begins does a little and asks for more") {
  csr const graph(20'000, both_ways(random_arcs(3, 20'000, 60'000)), csr::duplicates::dropped);
  pagerank<csr, csr> ranks(graph, graph);
  std::uint64_t steps = 0;
  for (auto state = progress::more; state != progress::done; ++steps) {
    budget late(budget_limits{~0ULL, std::chrono::steady_clock::now()});
    state = ranks.step(late);
    REQUIRE(state != progress::cancelled);
  }
  CHECK(steps > 40);
}

TEST_CASE("A team calls its work once on each member, and hands on what a member throws") {
  for (unsigned const size : {1U, 2U, 5U}) {
    team workers(size);
    std::vector<std::atomic<int>> calls(size);
    for (int round = 0; round < 50; ++round) {
      workers.run([&](unsigned member) { ++calls[member]; });
    }
    for (auto const& count : calls) {
      CHECK(count == 50);
    }
    CHECK_THROWS_AS(workers.run([&](unsigned member) {
      if (member == size - 1) {
        throw std::runtime_error("member");
      }
    }),
                    std::runtime_error);
    workers.run([&](unsigned member) { ++calls[member]; });
    CHECK(calls[0] == 51);
  }
}

}  // namespace
}  // namespace rhizome
