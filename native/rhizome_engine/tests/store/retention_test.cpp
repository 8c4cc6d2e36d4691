// SPDX-License-Identifier: Apache-2.0
//
// What is left of the past after a trim, and the ways to ask for it: bulks of removals, windows of valid time, histories of an entity.
#include <string>
#include <tuple>
#include <vector>

#include "store/store.hpp"
#include "support/catch.hpp"

using namespace rhizome;

namespace {

time_us fake_time = 0;
time_us fake_clock() { return fake_time; }

/// A store with `count` vertices, as of commit 1.
store with_vertices(vertex count, arcs_kind kind = arcs_kind::directed) {
  store_options o;
  o.memory_limit_bytes = std::size_t{64} << 20;
  o.vertices_max = 1 << 16;
  o.huge_pages = false;
  o.arcs = kind;
  o.clock = fake_clock;
  store s = store::make(o).value();
  transaction tx = s.begin().value();
  REQUIRE(tx.add_vertices(count).value() == 0);
  REQUIRE(tx.commit().value() == 1);
  return s;
}

template <class T>
errc code_of(const result<T>& r) {
  REQUIRE(!r.has_value());
  return r.error().code;
}

template <class G>
std::vector<vertex> seen(const G& graph, vertex v) {
  std::vector<vertex> out;
  graph.for_each(v, [&out](vertex w) { out.push_back(w); });
  return out;
}

}  // namespace

TEST_CASE("a bulk of removals refuses or skips the arcs that are not there") {
  for (const arcs_kind kind : {arcs_kind::directed, arcs_kind::symmetric}) {
    store s = with_vertices(10, kind);
    transaction first = s.begin().value();
    for (vertex v = 1; v < 8; ++v) REQUIRE(first.add_arc(0, 0, v));
    REQUIRE(first.commit());
    const std::vector<arc> some{{0, 1}, {0, 2}}, absent{{0, 3}, {5, 6}}, beyond{{0, 10}};
    transaction refused = s.begin().value();
    CHECK(code_of(refused.remove_arcs(0, beyond)) == errc::not_found);
    REQUIRE(refused.remove_arcs(0, absent));
    CHECK(code_of(refused.commit()) == errc::not_found);
    transaction removed = s.begin().value();
    REQUIRE(removed.remove_arcs(0, some));
    CHECK(!removed.contains(0, 0, 2));
    REQUIRE(removed.commit());
    transaction skipped = s.begin().value();
    REQUIRE(skipped.remove_arcs(0, absent, on_missing::skip));
    REQUIRE(skipped.commit());
    const snapshot now = s.now().value();
    CHECK(seen(now.newest(0), 0) == std::vector<vertex>{4, 5, 6, 7});
    CHECK(now.newest(0, direction::in).degree(3) == 0);
    CHECK(seen(now.as_of(2, 0).value(), 0).size() == 7);
  }
}

TEST_CASE("a bulk of removals takes back what its transaction added and refuses an arc that it names twice") {
  store s = with_vertices(10);
  transaction first = s.begin().value();
  REQUIRE(first.add_arc(0, 0, 1));
  REQUIRE(first.commit());
  transaction tx = s.begin().value();
  REQUIRE(tx.add_arc(0, 0, 2));
  const std::vector<arc> both{{0, 2}, {0, 1}}, twice{{0, 3}, {0, 3}};
  REQUIRE(tx.remove_arcs(0, both));
  CHECK(!tx.contains(0, 0, 2));
  REQUIRE(tx.add_arc(0, 0, 1));
  REQUIRE(tx.commit());
  CHECK(s.now().value().history(0, 0, 1).size() == 2);
  CHECK(s.now().value().history(0, 0, 2).empty());
  transaction again = s.begin().value();
  CHECK(code_of(again.remove_arcs(0, twice)) == errc::not_found);
}

TEST_CASE("bulks of removals in which blocks are cleaned again and again remove what they name and nothing else") {
  constexpr vertex hubs = 3;
  constexpr vertex each = 500;
  for (const arcs_kind kind : {arcs_kind::directed, arcs_kind::symmetric}) {
    store s = with_vertices(hubs + each, kind);
    transaction first = s.begin().value();
    for (vertex v = hubs; v < hubs + each; ++v)  // also vertices of few arcs, whose blocks are written anew
      for (vertex hub = 0; hub < hubs; ++hub)
        REQUIRE((v % 2 == 0 ? first.add_arc(0, hub, v) : first.add_arc(0, v, hub)));
    REQUIRE(first.commit());
    const snapshot before = s.now().value();
    const auto degree = [&](const snapshot& of, vertex v) {
      const std::uint32_t in = kind == arcs_kind::symmetric ? 0 : of.newest(0, direction::in).degree(v);
      return of.newest(0).degree(v) + in;
    };
    // Small ones first, so that the large one finds its blocks marked.
    vertex v = hubs;
    for (const vertex until : {hubs + 5U, hubs + 9U, hubs + 400U}) {
      std::vector<arc> list;
      for (; v < until; ++v)
        for (vertex hub = 0; hub < hubs; ++hub) list.push_back(v % 2 == 0 ? arc{hub, v} : arc{v, hub});
      transaction tx = s.begin().value();
      REQUIRE(tx.remove_arcs(0, list));
      REQUIRE(tx.add_arc(0, list.back().source, list.back().target));
      REQUIRE(tx.add_arc(0, list.back().target, list.back().source).has_value() == (kind == arcs_kind::directed));
      REQUIRE(tx.commit());
      const snapshot now = s.now().value();
      const std::uint32_t again = kind == arcs_kind::directed ? 2 : 1;
      CHECK(degree(now, hubs - 1) == hubs + each - v + again * (until == hubs + 5 ? 1 : until == hubs + 9 ? 2 : 3));
      CHECK(degree(now, 0) == hubs + each - v);
      CHECK(degree(now, v - 1) == again);
      if (v < hubs + each) CHECK(degree(now, v) == hubs);
      CHECK(degree(before, 0) == each);
      CHECK(now.history(0, list.front().source, list.front().target).size() == 1);
      CHECK(now.history(0, list.back().source, list.back().target).size() == 2);
    }
  }
}

TEST_CASE("a bulk of removals conflicts with a removal that was committed first") {
  store s = with_vertices(10);
  transaction first = s.begin().value();
  REQUIRE(first.add_arc(0, 0, 1));
  REQUIRE(first.commit());
  const std::vector<arc> list{{0, 1}};
  transaction slow = s.begin().value();
  REQUIRE(slow.remove_arcs(0, list, on_missing::skip));
  transaction fast = s.begin().value();
  REQUIRE(fast.remove_arcs(0, list));
  REQUIRE(fast.commit());
  CHECK(code_of(slow.commit()) == errc::conflict);
}

TEST_CASE("trimming gives back what each commit has cost, and the times of those left are known") {
  fake_time = 1'000;
  store s = with_vertices(4);
  constexpr commit_number commits = 20'000;
  for (commit_number n = 2; n <= commits; ++n) {
    fake_time += 10;
    transaction tx = s.begin().value();
    REQUIRE((n % 2 == 0 ? tx.add_arc(0, 0, 1) : tx.remove_arc(0, 0, 1)));
    REQUIRE(tx.commit().value() == n);
  }
  const std::size_t before = s.memory().log;
  REQUIRE(s.trim(commits - 100).value() == commits - 100);
  CHECK(s.memory().log < before / 100);
  const snapshot now = s.now().value();
  CHECK(code_of(now.time_of(commits - 101)) == errc::trimmed);
  CHECK(now.time_of(commits - 100).value() == 1'000 + 10 * (commits - 101));
  CHECK(now.commit_at(fake_time - 500) == commits - 50);
  CHECK(now.commit_at(fake_time - 1'000) == commits - 100);
  CHECK(code_of(now.as_of(now.commit_at(fake_time - 1'001), 0)) == errc::trimmed);
  CHECK(code_of(now.as_of(now.commit_at(0), 0)) == errc::trimmed);
  for (commit_number n = commits - 100; n <= commits; ++n) {
    CHECK(now.as_of(n, 0).value().arcs() == (n + 1) % 2);
    CHECK(now.as_of(n, 0).value().degree(0) == (n + 1) % 2);
  }
}

TEST_CASE("a window of valid time shows the arcs that are true at some moment of it") {
  store s = with_vertices(6);
  transaction tx = s.begin().value();
  REQUIRE(tx.add_arc(0, 0, 1));
  REQUIRE(tx.add_arc(0, 0, 2, {10, 20}));
  REQUIRE(tx.add_arc(0, 0, 3, {20, 30}));
  REQUIRE(tx.add_arc(0, 0, 4, {40, end_of_time}));
  REQUIRE(tx.commit().value() == 2);
  transaction correct = s.begin().value();
  REQUIRE(correct.set_valid(0, 0, 2, {90, 91}));
  REQUIRE(correct.commit().value() == 3);
  const snapshot now = s.now().value();
  auto during = [&](commit_number t, time_us from, time_us to) {
    const valid_view graph = now.as_of_valid_during(t, {from, to}, 0).value();
    std::vector<vertex> out = seen(graph, 0);
    std::sort(out.begin(), out.end());
    REQUIRE(out.size() == graph.degree(0));
    if (const arcs_place p = graph.place_of(0); p != no_place) REQUIRE(graph.targets_at(p).size() == out.size());
    return out;
  };
  using list = std::vector<vertex>;
  CHECK(during(2, 0, 10) == list{1});
  CHECK(during(2, 0, 11) == list{1, 2});
  CHECK(during(2, 15, 25) == list{1, 2, 3});
  CHECK(during(2, 20, 21) == list{1, 3});
  CHECK(during(2, 30, 40) == list{1});
  CHECK(during(2, 0, 41) == list{1, 2, 3, 4});
  CHECK(during(2, beginning_of_time, end_of_time) == list{1, 2, 3, 4});
  CHECK(during(3, 0, 41) == list{1, 3, 4});
  CHECK(during(3, 90, 91) == list{1, 2, 4});
  CHECK(now.valid_during({15, 25}, 0, direction::in).value().degree(3) == 1);
  CHECK(code_of(now.valid_during({5, 5}, 0)) == errc::invalid_argument);
}

TEST_CASE("at the end of time all is true that has no end, beside arcs that have one or not") {
  store s = with_vertices(7);
  transaction tx = s.begin().value();
  REQUIRE(tx.add_arc(0, 0, 1));
  REQUIRE(tx.add_arc(0, 0, 2, {10, 20}));
  REQUIRE(tx.add_arc(0, 0, 3, {30, end_of_time}));
  REQUIRE(tx.add_arc(0, 0, 4, {beginning_of_time, end_of_time - 1}));
  REQUIRE(tx.add_arc(0, 5, 6));
  REQUIRE(tx.set_property(0, 1, std::int64_t{1}));
  REQUIRE(tx.set_property(0, 1, std::int64_t{2}, {10, 20}));
  REQUIRE(tx.set_property(0, 2, std::int64_t{3}, {30, end_of_time}));
  REQUIRE(tx.commit());
  const snapshot now = s.now().value();
  using list = std::vector<vertex>;
  for (const auto& [moment, arcs, text] :
       {std::tuple{end_of_time, list{1, 3}, "end"}, std::tuple{end_of_time - 1, list{1, 3}, "the microsecond before"},
        std::tuple{end_of_time - 2, list{1, 3, 4}, "two before"}, std::tuple{beginning_of_time, list{1, 4}, "begin"}}) {
    INFO(text);
    const valid_view graph = now.valid_at(moment, 0).value();
    CHECK(seen(graph, 0) == arcs);
    CHECK(seen(graph, 5) == list{6});
    CHECK(graph.arcs() == arcs.size() + 1);
    CHECK(now.property(0, 1, {}, moment).value() == value(std::int64_t{1}));
    CHECK(now.property(0, 2, {}, moment).value() == (moment > 30 ? value(std::int64_t{3}) : value{}));
  }
}

TEST_CASE("a vertex' positions are what a walk passes over, whatever it shows") {
  store s = with_vertices(300);
  const auto change = [&s](auto&& what) {
    transaction tx = s.begin().value();
    what(tx);
    REQUIRE(tx.commit());
  };
  change([](transaction& tx) {
    for (vertex v = 1; v <= 200; ++v) REQUIRE(tx.add_arc(0, 0, v));
  });
  const snapshot before = s.now().value();
  change([](transaction& tx) {
    for (vertex v = 1; v <= 10; ++v) REQUIRE(tx.remove_arc(0, 0, v));  // too few for the block to be cleaned
    for (vertex v = 201; v <= 205; ++v) REQUIRE(tx.add_arc(0, 0, v));
  });
  CHECK(s.now().value().newest(0).degree(0) == 195);
  CHECK(s.now().value().newest(0).positions(0) == 205);
  CHECK(before.newest(0).degree(0) == 200);
  CHECK(before.newest(0).positions(0) == 205);
  CHECK(before.newest(0).positions(7) == 0);
  CHECK(before.newest(5).positions(0) == 0);
}

TEST_CASE("the history of a vertex has its own times and all versions of its arcs, and that of an arc its properties") {
  store s = with_vertices(5);
  auto commit = [&s](auto&& change) {
    transaction tx = s.begin().value();
    change(tx);
    return tx.commit().value();
  };
  const commit_number came = commit([](transaction& tx) { REQUIRE(tx.add_arc(0, 1, 2, {5, 9})); });
  const commit_number named = commit([](transaction& tx) {
    REQUIRE(tx.set_property(0, 1, 2, 7, std::int64_t{1}));
    REQUIRE(tx.add_arc(0, 3, 1));
  });
  const commit_number renamed =
      commit([](transaction& tx) { REQUIRE(tx.set_property(0, 1, 2, 7, std::string("two"))); });
  const commit_number went = commit([](transaction& tx) { REQUIRE(tx.remove_arc(0, 1, 2)); });
  const commit_number gone = commit([](transaction& tx) { REQUIRE(tx.remove_vertex(1)); });
  const snapshot now = s.now().value();
  CHECK(now.times_of(1) == vertex_times{1, gone});
  CHECK(now.times_of(2) == vertex_times{1, newest_commit});
  CHECK(!now.times_of(5));
  CHECK(now.history_of(1, 0) == std::vector<neighbour_version>{{2, {came, went, {5, 9}}}});
  CHECK(now.history_of(1, 0, direction::in) == std::vector<neighbour_version>{{3, {named, gone, {}}}});
  const auto values = now.history(0, 1, 2, 7);
  REQUIRE(values.size() == 3);
  CHECK((values[0].begin == named && values[0].data == value(std::int64_t{1})));
  CHECK((values[1].begin == renamed && values[1].data == value(std::string("two"))));
  CHECK((values[2].begin == went && values[2].data == value{}));
}
