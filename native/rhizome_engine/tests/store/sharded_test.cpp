// SPDX-License-Identifier: Apache-2.0
//
// A sharded store against the model of one store, and its commits beside readers.
#include "store/sharded.hpp"

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "model.hpp"
#include "store/detail/core.hpp"
#include "support/catch.hpp"

using namespace rhizome;

namespace {

std::atomic<time_us> fake_time{0};
time_us fake_clock() { return fake_time.load(); }

sharded_options three(arcs_kind kind, bool unique = true) {
  sharded_options o;
  o.each.memory_limit_bytes = std::size_t{16} << 20;
  o.each.vertices_max = 63;
  o.each.arcs = kind;
  o.each.unique_arcs = unique;
  o.each.huge_pages = false;
  o.each.clock = fake_clock;
  o.count = 3;
  return o;
}

template <class T>
errc code_of(const result<T>& r) {
  REQUIRE(!r.has_value());
  return r.error().code;
}

std::vector<vertex> seen(const sharded_view& graph, vertex v) {
  std::vector<vertex> out;
  graph.for_each(v, [&out](vertex w) { out.push_back(w); });
  REQUIRE(out.size() == graph.degree(v));
  std::sort(out.begin(), out.end());
  return out;
}

/// Random transactions on a sharded store and on the model, whose commits are numbered from 1 and made a microsecond apart.
class history {
public:
  history(std::uint64_t seed, arcs_kind kind, bool unique)
      : random_(seed),
        unique_(unique),
        store_(sharded_store::make(three(kind, unique)).value()),
        model_(kind == arcs_kind::symmetric) {}

  void run(commit_number commits) {
    for (commit_number n = 1; n <= commits; ++n) {
      fake_time = n;
      sharded_transaction tx = store_.begin().value();
      model next = model_;
      std::vector<vertex> vertices = vertices_;
      for (std::size_t i = 1 + pick(10); i > 0; --i) change(tx, next, vertices, n);
      if (pick(8) == 0) {
        tx.abort();
      } else {
        REQUIRE(tx.commit().has_value());
        model_ = std::move(next);
        vertices_ = std::move(vertices);
      }
      if (pick(5) == 0) REQUIRE(store_.shard(static_cast<unsigned>(pick(3))).compact(500));
    }
    const sharded_snapshot now = store_.now().value();
    for (commit_number t = 1; t <= commits; ++t) compare(now, t);
  }

private:
  std::size_t pick(std::size_t below) { return below == 0 ? 0 : random_() % below; }

  void change(sharded_transaction& tx, model& m, std::vector<vertex>& vertices, commit_number n) {
    if (vertices.empty() || pick(8) == 0) {
      vertex first = tx.add_vertices(static_cast<unsigned>(pick(3)), 2).value_or(no_vertex);
      for (vertex v = first; first != no_vertex && v < first + 2; ++v) {
        m.add_vertex(v, n);
        vertices.push_back(v);
      }
      if (vertices.empty()) return;
    }
    const vertex s = vertices[pick(vertices.size())];
    const vertex t = vertices[pick(vertices.size())];
    const bool both = m.alive(s, n) && m.alive(t, n);
    REQUIRE(tx.alive(s) == m.alive(s, n));
    const bool there = m.find(0, s, t) != nullptr;
    REQUIRE(tx.contains(0, s, t) == there);
    switch (pick(12)) {
      case 0: {
        if (pick(4) != 0) break;
        REQUIRE(tx.remove_vertex(s).has_value() == m.alive(s, n));
        if (m.alive(s, n)) m.remove_vertex(s, n);
        break;
      }
      case 1: {
        REQUIRE(tx.set_property(0, s, t, 1, std::int64_t{n}).has_value() == (both && there));
        if (both && there) m.set_property(0, s, t, 1, std::int64_t{n}, n);
        break;
      }
      case 2: {
        REQUIRE(tx.set_property(s, 1, std::int64_t{n}).has_value() == m.alive(s, n));
        if (m.alive(s, n)) m.set_property(s, 1, std::int64_t{n}, {}, n);
        break;
      }
      case 3:
      case 4: {
        REQUIRE(tx.remove_arc(0, s, t).has_value() == (both && there));
        if (both && there) m.remove_arc(0, s, t, n);
        break;
      }
      case 5: {
        const std::vector<arc> list{{s, t}, {t, s}};
        REQUIRE(tx.remove_arcs(0, list, on_missing::skip).has_value() == both);
        for (const arc& a : list)
          if (both && m.find(0, a.source, a.target) != nullptr) m.remove_arc(0, a.source, a.target, n);
        break;
      }
      default: {
        const bool fine = both && (!there || !unique_);
        REQUIRE(tx.add_arc(0, s, t).has_value() == fine);
        if (fine) m.add_arc(0, s, t, {}, n);
      }
    }
  }

  void compare(const sharded_snapshot& now, commit_number t) {
    for (const direction way : {direction::out, direction::in}) {
      const sharded_view graph = now.as_of(t, 0, way).value();
      std::uint64_t arcs = 0;
      for (const vertex v : vertices_) {
        if (v >= graph.vertices()) {
          REQUIRE(model_.neighbours(0, v, way, t, std::nullopt).empty());
          continue;
        }
        REQUIRE(seen(graph, v) == model_.neighbours(0, v, way, t, std::nullopt));
        arcs += graph.degree(v);
      }
      REQUIRE(arcs == graph.arcs());
    }
    const sharded_view newest = now.newest(0);
    for (const vertex v : vertices_) {
      REQUIRE(now.alive(v) == model_.alive(v, newest_commit - 1));
      if (!now.alive(v)) continue;
      REQUIRE(now.property(v, 1).value() == model_.property(v, 1, newest_commit - 1, std::nullopt));
      for (const vertex w : seen(newest, v))
        REQUIRE(now.property(0, v, w, 1).value() == model_.property(0, v, w, 1, newest_commit - 1));
    }
  }

  std::mt19937_64 random_;
  bool unique_;
  sharded_store store_;
  model model_;
  std::vector<vertex> vertices_;
};

}  // namespace

TEST_CASE("random histories over several shards read as the model of one store at every time") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 25)));
  CAPTURE(seed);
  history(seed, seed % 2 == 0 ? arcs_kind::directed : arcs_kind::symmetric, seed % 4 < 2).run(40);
}

TEST_CASE("a transaction over two shards that conflicts in one of them is made in neither") {
  sharded_store s = sharded_store::make(three(arcs_kind::directed)).value();
  sharded_transaction first = s.begin().value();
  const vertex a = first.add_vertices(0, 1).value();
  const vertex b = first.add_vertices(1, 1).value();
  const vertex c = first.add_vertices(2, 1).value();
  REQUIRE(first.commit());
  sharded_transaction slow = s.begin().value();
  REQUIRE(slow.add_arc(0, a, b));
  REQUIRE(slow.add_arc(0, b, c));
  sharded_transaction fast = s.begin().value();
  REQUIRE(fast.remove_vertex(c));
  REQUIRE(fast.commit());
  CHECK(code_of(slow.commit()) == errc::conflict);
  const sharded_snapshot now = s.now().value();
  CHECK(now.newest(0).arcs() == 0);
  CHECK(now.newest(0, direction::in).degree(b) == 0);
  CHECK(!now.alive(c));
  CHECK(code_of(slow.add_arc(0, a, b)) == errc::read_only);
}

TEST_CASE("an arc between shards can not be added twice, nor to what is not there") {
  sharded_store s = sharded_store::make(three(arcs_kind::symmetric)).value();
  sharded_transaction tx = s.begin().value();
  const vertex a = tx.add_vertices(0, 1).value();
  const vertex b = tx.add_vertices(2, 1).value();
  REQUIRE(tx.add_arc(0, a, b));
  CHECK(code_of(tx.add_arc(0, b, a)) == errc::already_there);
  CHECK(code_of(tx.add_arc(0, a, b + 1)) == errc::not_found);
  CHECK(code_of(tx.add_arc(0, no_vertex, a)) == errc::not_found);
  CHECK(code_of(tx.add_vertices(3, 1)) == errc::invalid_argument);
  REQUIRE(tx.commit());
  const std::vector<arc> again{{b, a}};
  sharded_transaction refused = s.begin().value();
  REQUIRE(refused.add_arcs(0, again));
  CHECK(code_of(refused.commit()) == errc::already_there);
  sharded_transaction skipped = s.begin().value();
  REQUIRE(skipped.add_arcs(0, again, on_duplicate::skip));
  REQUIRE(skipped.commit());
  CHECK(seen(s.now().value().newest(0), b) == std::vector<vertex>{a});
}

TEST_CASE("a shard tells the history of an arc to another shard, and that it was corrected, at both ends") {
  for (const arcs_kind kind : {arcs_kind::directed, arcs_kind::symmetric}) {
    sharded_store s = sharded_store::make(three(kind)).value();
    fake_time = 1;
    sharded_transaction first = s.begin().value();
    const vertex a = first.add_vertices(0, 1).value();
    const vertex b = first.add_vertices(1, 1).value();
    REQUIRE(first.add_arc(0, a, b, {10, 20}));
    REQUIRE(first.set_property(0, a, b, 3, std::int64_t{5}));
    REQUIRE(first.commit());
    sharded_transaction second = s.begin().value();
    REQUIRE(second.set_valid(0, a, b, {10, 30}));
    REQUIRE(second.commit());
    const sharded_snapshot now = s.now().value();
    const vertex first_of_1 = b;  // the first vertex of its shard
    for (const unsigned k : {0U, 1U}) {
      CAPTURE(k);
      const vertex source = k == 0 ? a : a - first_of_1;
      const vertex target = k == 0 ? b : 0;
      const snapshot& part = now.shard(k);
      const auto versions = part.history(0, source, target);
      REQUIRE(versions.size() == 2);
      CHECK(versions[0] == arc_version{1, 2, {10, 20}});
      CHECK(versions[1] == arc_version{2, newest_commit, {10, 30}});
      const auto changed = part.diff(1, 2).value();
      REQUIRE(changed.size() == 1);
      CHECK(changed[0].kind == change_kind::set_valid);
      CHECK(part.history(0, source, target, 3).size() == (k == 0 ? 1U : 0U));  // with the source, or the smaller id
    }
  }
}

TEST_CASE("readers see what is moved between shards once, whatever writers do in each of them") {
  sharded_store s = sharded_store::make(three(arcs_kind::directed)).value();
  constexpr vertex each = 8;
  std::vector<vertex> ids;
  {
    sharded_transaction tx = s.begin().value();
    for (unsigned k = 0; k < 3; ++k) {
      const vertex first = tx.add_vertices(k, each).value();
      for (vertex v = first; v < first + each; ++v) ids.push_back(v);
    }
    for (std::size_t i = 0; i < each; ++i) REQUIRE(tx.add_arc(0, ids[i], ids[i]));
    REQUIRE(tx.commit());
  }
  // Each arc out of some vertex moves to another one, perhaps of another shard: there are `each` of them at all times, in both directions.
  std::atomic<bool> done{false};
  std::atomic<int> wrong{0};
  std::thread reader([&] {
    for (bool last = false; !last;) {
      last = done.load();
      const sharded_snapshot now = s.now().value();
      for (const direction way : {direction::out, direction::in}) {
        const sharded_view graph = now.newest(0, way);
        std::uint64_t arcs = 0;
        for (const vertex v : ids) graph.for_each(v, [&arcs](vertex) { ++arcs; });
        if (arcs != each || graph.arcs() != each) ++wrong;
      }
    }
  });
  auto move = [&](std::uint64_t seed) {
    std::mt19937_64 random(seed);
    for (int made = 0; made < 150;) {
      sharded_transaction tx = s.begin().value();
      const sharded_view graph = tx.reads().newest(0);
      const vertex from = ids[random() % ids.size()];
      vertex to = no_vertex;
      graph.for_each(from, [&to](vertex w) { to = w; });
      if (to == no_vertex) continue;
      const vertex source = ids[random() % ids.size()];
      const vertex target = ids[random() % ids.size()];
      if (!tx.remove_arc(0, from, to)) ++wrong;
      if (!tx.add_arc(0, source, target)) continue;  // is there: two of them would become one
      const auto committed = tx.commit();
      if (committed) ++made;
      if (!committed && committed.error().code != errc::conflict) ++wrong;
    }
  };
  std::thread one(move, 1), other(move, 2);
  one.join();
  other.join();
  done.store(true);
  reader.join();
  CHECK(wrong.load() == 0);
}

TEST_CASE("shards that can not be are refused, and a node that is not there is only a wish") {
  sharded_options o = three(arcs_kind::directed);
  o.count = 0;
  CHECK(code_of(sharded_store::make(o)) == errc::invalid_argument);
  o.count = 1U << 27;
  CHECK(code_of(sharded_store::make(o)) == errc::invalid_argument);
  o.count = 2;
  o.nodes = {0, 1024};
  CHECK(code_of(sharded_store::make(o)) == errc::invalid_argument);
  o.nodes = {0, 1023};
  sharded_store s = sharded_store::make(o).value();
  sharded_transaction tx = s.begin().value();
  const vertex a = tx.add_vertices(0, 1).value();
  const vertex b = tx.add_vertices(1, 1).value();
  CHECK(s.shard_of(b) == 1);
  REQUIRE(tx.add_arc(0, a, b));
  REQUIRE(tx.commit());
  CHECK(seen(s.now().value().newest(0), a) == std::vector<vertex>{b});
}

TEST_CASE("a shard that more arcs reach than leave is prepared from the side where they come in") {
  sharded_options o = three(arcs_kind::directed, false);
  o.each.memory_limit_bytes = std::size_t{256} << 20;
  o.each.vertices_max = (1U << 20U) - 1;
  sharded_store s = sharded_store::make(o).value();
  constexpr vertex count = 600'000;  // of 4 bytes each: more than the room that goes with one vertex and no arc
  sharded_transaction tx = s.begin().value();
  const vertex from = tx.add_vertices(0, count).value();
  const vertex to = tx.add_vertices(1, 1).value();
  std::vector<arc> arcs;
  arcs.reserve(count);
  for (vertex i = 0; i < count; ++i) arcs.push_back({from + i, to});
  REQUIRE(tx.add_arcs(0, arcs));
  REQUIRE(tx.commit());
  tx = s.begin().value();
  REQUIRE(tx.remove_arc(0, from, to));  // so that what is left is a copy in a prepared view
  REQUIRE(tx.commit());
  const sharded_snapshot now = s.now().value();
  const prepared_view in = now.shard(1).newest(0, direction::in).prepare();
  CHECK(in.degree(0) == count - 1);
  vertex found = 0;
  in.for_each(0, [&](vertex) { ++found; });
  CHECK(found == count - 1);
}

TEST_CASE("what a large commit of several shards needs is given back where it is refused") {
  sharded_options o = three(arcs_kind::directed);
  o.each.memory_limit_bytes = std::size_t{64} << 20;
  o.each.vertices_max = 1023;
  sharded_store s = sharded_store::make(o).value();
  constexpr vertex count = 800;
  sharded_transaction tx = s.begin().value();
  const vertex from = tx.add_vertices(0, count).value();
  const vertex to = tx.add_vertices(1, count).value();
  REQUIRE(tx.commit());
  std::vector<arc> none;
  for (vertex i = 0; i < count * count; ++i) none.push_back({from + i / count, to + i % count});
  tx = s.begin().value();
  REQUIRE(tx.remove_arcs(0, none));
  CHECK(code_of(tx.commit()) == errc::not_found);
  CHECK(s.shard(0).inside().found_.capacity() == 0);
}
