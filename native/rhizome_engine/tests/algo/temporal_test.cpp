// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <limits>

#include "algo/temporal.hpp"
#include "graphs.hpp"
#include "support/catch.hpp"

namespace rhizome {
namespace {

using testing::finish;
using columns = contact_columns<std::uint32_t>;

/// A log with many contacts at each moment, in columns of its own.
struct sample_log {
  std::vector<vertex> sources;
  std::vector<vertex> targets;
  std::vector<std::uint32_t> times;
  vertex vertices = 0;

  sample_log(std::uint64_t seed, vertex count, std::size_t contacts, unsigned a_moment) : vertices(count) {
    for (auto const& one : testing::random_arcs(seed, count, contacts)) {
      times.push_back(static_cast<std::uint32_t>(sources.size() / a_moment));
      sources.push_back(one.source);
      targets.push_back(one.target);
    }
  }
  [[nodiscard]] columns view() const { return {sources, targets, times, vertices}; }
};

/// The earliest arrivals by trying all contacts against all until nothing gets better. A way is told by the place in the log of its
/// last contact, which orders those of the same time.
std::vector<std::uint32_t> slow_arrivals(const sample_log& log, vertex source, std::uint32_t start, std::size_t first,
                                         std::size_t last, ties equal) {
  constexpr auto none = std::numeric_limits<std::size_t>::max();
  std::vector<std::size_t> via(log.vertices, none);  // place in the log of the contact that reached it first
  auto const time_at = [&](vertex v) { return v == source ? start : log.times[via[v]]; };
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t i = first; i < last; ++i) {
      auto const from = log.sources[i];
      auto const to = log.targets[i];
      if ((from != source && via[from] == none) || to == source || log.times[i] < start) {
        continue;
      }
      bool const follows = equal == ties::never ? time_at(from) < log.times[i] : from == source ? true : via[from] < i;
      if (follows && (via[to] == none || i < via[to])) {
        via[to] = i;
        changed = true;
      }
    }
  }
  std::vector<std::uint32_t> arrivals(log.vertices, earliest_arrival<columns>::never);
  for (vertex v = 0; v < log.vertices; ++v) {
    if (v == source || via[v] != none) {
      arrivals[v] = time_at(v);
    }
  }
  return arrivals;
}

TEST_CASE("News arrives along contacts in the order of the log at the earliest, and no sooner") {
  auto const seed = GENERATE(range(std::uint64_t{1}, std::uint64_t{40}));
  sample_log const log(seed, static_cast<vertex>(2 + seed * 3), 12 * seed, 1 + static_cast<unsigned>(seed % 7));
  auto const source = static_cast<vertex>(seed % 5 % log.vertices);
  for (auto const equal : {ties::in_order, ties::never}) {
    for (std::size_t const first : {std::size_t{0}, log.times.size() / 3}) {
      for (std::uint32_t const start : {std::uint32_t{0}, log.times.back() / 2}) {
        auto const last = log.times.size() - log.times.size() / 4;
        auto const expected = slow_arrivals(log, source, start, first, last, equal);
        earliest_arrival<columns> search(log.view(), source, start, first, last, equal);
        finish(search, 1);
        CHECK(std::equal(expected.begin(), expected.end(), search.arrivals().begin(), search.arrivals().end()));
        CHECK(search.reached() ==
              log.vertices - static_cast<std::uint64_t>(
                                 std::count(expected.begin(), expected.end(), earliest_arrival<columns>::never)));
      }
    }
  }
}

TEST_CASE("Of contacts at the same time the log's order says which came first") {
  std::vector<vertex> const sources{0, 1};
  std::vector<vertex> const targets{1, 2};
  std::vector<std::uint32_t> const times{5, 5};
  columns const log{sources, targets, times, 3};
  earliest_arrival<columns> ordered(log, 0, 0);
  finish(ordered, ~0ULL);
  CHECK(ordered.arrivals()[2] == 5);
  CHECK(ordered.parents()[2] == 1);
  earliest_arrival<columns> strict(log, 0, 0, 0, 2, ties::never);
  finish(strict, ~0ULL);
  CHECK(strict.arrivals()[1] == 5);
  CHECK(strict.arrivals()[2] == earliest_arrival<columns>::never);
}

TEST_CASE("A pass over a long log is taken in steps") {
  sample_log const log(7, 3'000, 300'000, 3);
  earliest_arrival<columns> search(log.view(), 1, 0);
  CHECK(finish(search, 1) > 5);
  earliest_arrival<columns> from_nowhere(log.view(), 3'000, 0);
  CHECK(finish(from_nowhere, 1) == 1);
  CHECK(from_nowhere.reached() == 0);
}

struct timed_graph {
  struct timed_arc {
    vertex target;
    interval during;
  };
  std::vector<std::vector<timed_arc>> arcs;
  [[nodiscard]] vertex vertices() const { return static_cast<vertex>(arcs.size()); }
  template <class F>
  void for_each_interval(vertex v, F&& f) const {
    for (auto const& one : arcs[v]) {
      f(one.target, one.during);
    }
  }
};

TEST_CASE("Over arcs that are there for a while one waits until they can be passed") {
  auto const seed = GENERATE(range(std::uint64_t{1}, std::uint64_t{30}));
  testing::splitmix random{seed};
  auto const vertices = static_cast<vertex>(2 + seed * 2);
  timed_graph graph;
  graph.arcs.resize(vertices);
  for (auto const& one : testing::random_arcs(seed, vertices, seed * 8)) {
    auto const from = static_cast<time_us>(random.below(100));
    graph.arcs[one.source].push_back({one.target, {from, from + static_cast<time_us>(random.below(30))}});
  }
  interval const window{20, 90};
  constexpr auto never = earliest_arrival_during<timed_graph>::never;
  std::vector<time_us> expected(vertices, never);
  expected[0] = window.from;
  for (time_us now = window.from; now < window.to; ++now) {  // moment by moment
    for (bool changed = true; changed;) {
      changed = false;
      for (vertex v = 0; v < vertices; ++v) {
        for (auto const& one : graph.arcs[v]) {
          if (expected[v] <= now && one.during.contains(now) && now < expected[one.target]) {
            expected[one.target] = now;
            changed = true;
          }
        }
      }
    }
  }
  earliest_arrival_during<timed_graph> search(graph, 0, window);
  finish(search, 1);
  CHECK(std::equal(expected.begin(), expected.end(), search.arrivals().begin(), search.arrivals().end()));
}

TEST_CASE("An empty window and a source that is not there reach nothing") {
  timed_graph graph;
  graph.arcs = {{{1, {}}}, {}};
  earliest_arrival_during<timed_graph> empty(graph, 0, {5, 5});
  finish(empty, ~0ULL);
  CHECK(empty.arrivals()[0] == earliest_arrival_during<timed_graph>::never);
  earliest_arrival_during<timed_graph> nowhere(graph, 2, {5, 6});
  finish(nowhere, ~0ULL);
  CHECK(nowhere.arrivals()[1] == earliest_arrival_during<timed_graph>::never);
}

}  // namespace
}  // namespace rhizome
