// SPDX-License-Identifier: Apache-2.0
// Algorithms and queries over the store: what they say of a snapshot, and of its past, is what they say of a plain graph with the same
// arcs.
#include <algorithm>
#include <set>
#include <vector>

#include "algo/bfs.hpp"
#include "algo/components.hpp"
#include "algo/pagerank.hpp"
#include "algo/query.hpp"
#include "algo/snapshot_graph.hpp"
#include "algo/temporal.hpp"
#include "algo/triangles.hpp"
#include "graphs.hpp"
#include "store/store.hpp"
#include "support/catch.hpp"

namespace rhizome {
namespace {

using testing::finish;

constexpr vertex vertex_count = 400;
constexpr label follows = 3;

/// The Debian 12 version of tl::expected has no value() for results without one.
void must(const result<void>& outcome) { REQUIRE(outcome.has_value()); }

time_us ticking() {
  static time_us now = 0;
  return now += 10;
}

/// A store that gained and lost arcs in some commits, and what it had after each.
struct history {
  store graph;
  std::vector<std::set<csr::arc>> after;  // by commit; commit 1 made the vertices

  explicit history(std::uint64_t seed) : graph(make()), after(2) {
    auto change = graph.begin().value();
    change.add_vertices(vertex_count).value();
    change.commit().value();
    testing::splitmix random{seed};
    for (int commit = 0; commit < 30; ++commit) {
      auto arcs = after.back();
      auto tx = graph.begin().value();
      for (auto const& one : testing::random_arcs(random(), vertex_count, 120)) {
        if (random.below(3) == 0 && !arcs.empty()) {
          auto const gone = *std::next(arcs.begin(), static_cast<std::ptrdiff_t>(random.below(arcs.size())));
          must(tx.remove_arc(follows, gone.source, gone.target));
          arcs.erase(gone);
        } else if (arcs.insert(one).second) {
          must(tx.add_arc(follows, one.source, one.target));
        }
      }
      REQUIRE(tx.commit().value() == after.size());
      after.push_back(std::move(arcs));
    }
  }
  [[nodiscard]] csr plain(std::size_t commit) const {
    std::vector<csr::arc> const arcs(after[commit].begin(), after[commit].end());
    return {vertex_count, arcs, csr::duplicates::kept};
  }

private:
  static store make() {
    store_options options;
    options.clock = ticking;
    options.vertices_max = 1'000;
    return store::make(options).value();
  }
};

template <class Out, class In>
std::vector<std::size_t> path_lengths(Out out, In in) {
  bfs<Out, In> search(std::move(out), std::move(in), 0);
  finish(search, 300);
  std::vector<std::size_t> lengths;
  for (vertex v = 0; v < vertex_count; ++v) {
    lengths.push_back(search.path_to(v).size());
  }
  return lengths;
}

template <class Out, class In>
std::vector<vertex> labels(Out out, In in) {
  components<Out, In> parts(std::move(out), std::move(in), false);
  finish(parts, 300);
  return {parts.labels().begin(), parts.labels().end()};
}

TEST_CASE("Searches over each moment of a store's past say what they say of a plain graph of that moment") {
  history const past(GENERATE(1U, 2U, 3U));
  auto const now = past.graph.now().value();
  for (commit_number t = 1; t < past.after.size(); ++t) {
    auto const plain = past.plain(t);
    auto const back = plain.transposed();
    auto const out = now.as_of(t, follows).value();
    auto const in = now.as_of(t, follows, direction::in).value();
    CHECK(path_lengths(out, in) == path_lengths(plain, back));
    CHECK(path_lengths(out.prepare(), in.prepare()) == path_lengths(plain, back));
    CHECK(labels(out, in) == labels(plain, back));
    pagerank<view, view> ranks(out, in, {0.85, 1e-6, 100, true});
    pagerank<csr, csr> expected(plain, back, {0.85, 1e-6, 100, true});
    finish(ranks, 300);
    finish(expected, 300);
    for (vertex v = 0; v < vertex_count; ++v) {
      REQUIRE(std::abs(ranks.scores()[v] - expected.scores()[v]) < 1e-5F);
    }
  }
}

template <class Query>
std::multiset<vertex> ends_of(const Query& asked) {
  auto cursor = asked.run();
  finish(cursor, 50);
  auto const ends = cursor.rows().ends();
  return {ends.begin(), ends.end()};
}

TEST_CASE("A query over a snapshot can go to another time between its steps") {
  history const past(7);
  snapshot_graph const now(past.graph.now().value());
  auto const newest = static_cast<commit_number>(past.after.size() - 1);
  commit_number const middle = newest / 2;
  CHECK(now.commit() == newest);
  std::multiset<vertex> expected;
  auto const then = past.plain(middle);
  auto const today = past.plain(newest);
  for (vertex a = 0; a < 50; ++a) {
    for (auto const b : then.neighbours(a)) {
      for (auto const c : today.neighbours(b)) {
        expected.insert(c);
      }
    }
  }
  std::vector<vertex> first(50);
  for (vertex v = 0; v < 50; ++v) {
    first[v] = v;
  }
  auto const asked = query(now).from(first).as_of(middle);
  REQUIRE(asked.has_value());
  CHECK(ends_of(asked->out(follows).over(now).out(follows)) == expected);
  auto const time = past.graph.now().value().time_of(middle).value();
  auto const by_clock = query(now).as_of(moment{time + 5});
  REQUIRE(by_clock.has_value());
  std::multiset<vertex> sources_then;
  csr const back = then.transposed();
  for (auto const v : back.neighbours(9)) {
    sources_then.insert(v);
  }
  CHECK(ends_of(by_clock->from(9).in(follows)) == sources_then);
}

TEST_CASE("A query as of a time that is not there is refused with the store's reason") {
  history past(8);
  auto const now = snapshot_graph(past.graph.now().value());
  auto const later = query(now).as_of(commit_number{1'000});
  REQUIRE_FALSE(later.has_value());
  CHECK(later.error().code == errc::invalid_argument);
  CHECK(ends_of(query(now).from(1).out(17)).empty());
}

TEST_CASE("A query sees what was true in the world at a moment, as known at a commit") {
  history past(9);
  label const owns = 5;
  auto tx = past.graph.begin().value();
  must(tx.add_arc(owns, 1, 2, {100, 200}));
  must(tx.add_arc(owns, 1, 3, {150, 300}));
  auto const told = tx.commit().value();
  auto fix = past.graph.begin().value();
  must(fix.set_valid(owns, 1, 2, {100, 120}));
  auto const corrected = fix.commit().value();
  auto const now = past.graph.now().value();
  auto const before = valid_graph::make(now, told, 160).value();
  auto const after = valid_graph::make(now, corrected, 160).value();
  CHECK(ends_of(query(before).from(1).out(owns)) == std::multiset<vertex>{2, 3});
  CHECK(ends_of(query(after).from(1).out(owns)) == std::multiset<vertex>{3});
  CHECK(ends_of(query(after).from(3).in(owns)) == std::multiset<vertex>{1});
}

TEST_CASE("News spreads along a store's log as along the arcs in the order in which they were added") {
  history const past(10);
  auto const now = past.graph.now().value();
  std::vector<vertex> sources;
  std::vector<vertex> targets;
  std::vector<commit_number> times;
  auto const slice = now.log(0, now.commit()).value();
  for (auto const& entry : slice.entries()) {
    if (entry.kind() == change_kind::add_arc) {
      sources.push_back(entry.source);
      targets.push_back(entry.target);
      times.push_back(entry.commit);
    }
  }
  REQUIRE(sources.size() > 1'000);
  for (bool const both : {false, true}) {
    std::vector<commit_number> expected(vertex_count, newest_commit);
    expected[4] = 0;
    for (std::size_t i = 0; i < times.size(); ++i) {
      auto const hear = [&](vertex from, vertex to) {
        if (expected[from] <= times[i]) {
          expected[to] = std::min(expected[to], times[i]);
        }
      };
      hear(sources[i], targets[i]);
      if (both) {
        hear(targets[i], sources[i]);
      }
    }
    earliest_arrival<commit_contacts> search(commit_contacts(now, slice, follows, both), 4, 0);
    finish(search, 1);
    CHECK(std::equal(expected.begin(), expected.end(), search.arrivals().begin(), search.arrivals().end()));
  }
  earliest_arrival<commit_contacts> other(commit_contacts(now, slice, 1, false), 4, 0);
  finish(other, 1);
  CHECK(other.reached() == 1);
}

TEST_CASE("Triangles of a symmetric store are those of the plain graph") {
  store_options options;
  options.arcs = arcs_kind::symmetric;
  options.vertices_max = 1'000;
  auto graph = store::make(options).value();
  auto tx = graph.begin().value();
  tx.add_vertices(60).value();
  auto arcs = testing::random_arcs(5, 60, 400);
  std::vector<rhizome::arc> list;
  for (auto const& one : arcs) {
    if (one.source != one.target) {
      list.push_back({std::min(one.source, one.target), std::max(one.source, one.target)});
    }
  }
  must(tx.add_arcs(0, list, on_duplicate::skip));
  tx.commit().value();
  auto const now = graph.now().value().newest(0);
  triangles<view> counted(now);
  finish(counted, 20);
  csr const plain(60, testing::both_ways(arcs), csr::duplicates::dropped);
  triangles<csr> expected(plain);
  finish(expected, ~0ULL);
  CHECK(now.arcs() == plain.arcs());
  CHECK(counted.count() == expected.count());
}

}  // namespace
}  // namespace rhizome
