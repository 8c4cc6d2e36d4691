// SPDX-License-Identifier: Apache-2.0
//
// Readers beside a writer: each snapshot, of the present and of the past, has to add up to what was committed.
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "store/store.hpp"
#include "support/catch.hpp"

using namespace rhizome;

namespace {

constexpr vertex vertices = 48;
constexpr commit_number commits = 1000;

std::uint64_t hash(vertex a, vertex b) {
  return (std::uint64_t{a} * 0x9e37'79b9'7f4a'7c15ULL) ^ (std::uint64_t{b} * 0xc2b2'ae3d'27d4'eb4fULL);
}

template <class G>
std::uint64_t sum(const G& graph) {
  std::uint64_t total = 0;
  std::uint64_t arcs = 0;
  for (vertex v = 0; v < graph.vertices(); ++v) {
    std::uint32_t degree = 0;
    graph.for_each(v, [&](vertex w) {
      total += hash(v, w);
      ++degree;
    });
    if (degree != graph.degree(v)) return 0;
    arcs += degree;
  }
  return arcs == graph.arcs() ? total : 0;
}

}  // namespace

TEST_CASE("readers see whole commits of the present and the past while a writer adds, removes, packs and trims") {
  store_options o;
  o.memory_limit_bytes = std::size_t{64} << 20;
  o.vertices_max = 1 << 16;
  o.huge_pages = false;
  store s = store::make(o).value();
  std::vector<std::atomic<std::uint64_t>> expected(commits + 2);
  std::atomic<bool> done{false};
  std::atomic<int> wrong{0};

  auto read = [&](std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<snapshot> held;
    for (bool last = false; !last;) {
      last = done.load();
      snapshot now = s.now().value();
      if (now.commit() == 0) continue;
      wrong += sum(now.newest(0)) != expected[now.commit()].load() ? 1 : 0;
      wrong += sum(now.newest(0, direction::in).prepare()) == 0 ? 1 : 0;
      commit_number t = now.commit() - static_cast<commit_number>(random() % now.commit());
      if (auto past = now.as_of(t, 0)) {
        wrong += sum(*past) != expected[t].load() ? 1 : 0;
        wrong += sum(past->prepare()) != expected[t].load() ? 1 : 0;
      } else {
        wrong += past.error().code != errc::trimmed ? 1 : 0;
      }
      if (random() % 4 == 0) held.push_back(now);
      if (held.size() > 3) held.erase(held.begin());
      for (const snapshot& old : held) wrong += sum(old.newest(0)) != expected[old.commit()].load() ? 1 : 0;
      auto found = now.property(0, 1);
      wrong += !found || *found != value(static_cast<std::int64_t>(now.commit())) ? 1 : 0;
    }
  };
  std::thread first(read, 1), second(read, 2);

  std::mt19937_64 random(7);
  std::uint64_t total = 0;
  for (commit_number n = 1; n <= commits; ++n) {
    transaction tx = s.begin().value();
    if (n == 1) REQUIRE(tx.add_vertices(vertices).value() == 0);
    if (n % 10 == 1) REQUIRE(tx.add_vertices(40));
    for (int i = 0; i < 30; ++i) {
      vertex a = static_cast<vertex>(random() % 3 == 0 ? 0 : random() % vertices);
      vertex b = static_cast<vertex>(random() % (n < 10 ? vertices : vertices + n * 3));
      if (!tx.alive(b)) continue;
      if (tx.contains(0, a, b)) {
        REQUIRE(tx.remove_arc(0, a, b));
        total -= hash(a, b);
      } else {
        REQUIRE(tx.add_arc(0, a, b));
        total += hash(a, b);
      }
    }
    REQUIRE(tx.set_property(0, 1, static_cast<std::int64_t>(n)));
    expected[n].store(total);
    REQUIRE(tx.commit().value() == n);
    if (n % 7 == 0) REQUIRE(s.compact(2000));
    if (n % 31 == 0) REQUIRE(s.trim(n - 15));
  }
  done.store(true);
  first.join();
  second.join();
  CHECK(wrong.load() == 0);
}

TEST_CASE("of several threads that move the same arcs each change is made once") {
  store_options o;
  o.memory_limit_bytes = std::size_t{64} << 20;
  o.vertices_max = 1 << 16;
  o.huge_pages = false;
  o.arcs = arcs_kind::symmetric;
  store s = store::make(o).value();
  {
    transaction tx = s.begin().value();
    REQUIRE(tx.add_vertices(20));
    for (vertex v = 0; v < 10; ++v) REQUIRE(tx.add_arc(0, v, v + 10));
    REQUIRE(tx.commit());
  }
  // Each arc goes to another partner or stays: at all times every vertex below 10 has one.
  std::atomic<int> wrong{0};
  auto move = [&](std::uint64_t seed) {
    std::mt19937_64 random(seed);
    for (int made = 0; made < 60;) {
      transaction tx = s.begin().value();
      vertex v = static_cast<vertex>(random() % 10);
      vertex from = no_vertex;
      tx.for_each(0, v, direction::out, [&from](vertex w) { from = w; });
      vertex to = 10 + static_cast<vertex>(random() % 10);
      bool ready = tx.remove_arc(0, v, from).has_value() && tx.add_arc(0, v, to).has_value();
      if (!ready) ++wrong;
      auto committed = tx.commit();
      if (committed) ++made;
      if (!committed && committed.error().code != errc::conflict) ++wrong;
    }
  };
  std::thread a(move, 1), b(move, 2), c(move, 3);
  a.join();
  b.join();
  c.join();
  CHECK(wrong.load() == 0);
  view now = s.now().value().newest(0);
  for (vertex v = 0; v < 10; ++v) CHECK(now.degree(v) == 1);
  CHECK(now.arcs() == 20);
}
