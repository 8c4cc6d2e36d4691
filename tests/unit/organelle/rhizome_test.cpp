#include <karyon/organelle/rhizome.hpp>

#include <karyon/karyon.hpp>

#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "rhizome_testing.hpp"
#include "support/catch.hpp"

using namespace std::chrono_literals;
namespace rz = karyon::rhizome;
using karyon::tests::engine;

namespace {

/// A graph through the boundary, on this thread.
class world {
public:
  explicit world(bool symmetric = false) : graph(one(call.make(std::monostate(), symmetric).now())) {}

  static karyon::handle one(const karyon::organelle_result& r) {
    if (!r) throw std::runtime_error(r.error().message());
    return r->get<karyon::handle>().value();
  }
  static std::uint64_t number(const karyon::organelle_result& r, std::size_t i = 0) {
    if (!r) throw std::runtime_error(r.error().message());
    return r->get<std::uint64_t>(i).value();
  }
  karyon::handle begin() { return one(call.begin(graph).now()); }
  karyon::handle snapshot() { return one(call.snapshot(graph).now()); }
  std::uint64_t commit(const karyon::handle& t) { return number(call.commit(t).now()); }
  /// Arcs of label 0 among `vertices` new vertices, in one commit.
  std::uint64_t arcs(std::uint32_t vertices, const std::vector<rz::vertex>& pairs) {
    const karyon::handle t = begin();
    if (vertices != 0) number(call.add_vertices(t, vertices).now());
    REQUIRE(call.add_arcs(t, 0U, pairs).now());
    return commit(t);
  }
  std::vector<rz::vertex> neighbours(const karyon::organelle_result& r) {
    const auto list = r.value().get<karyon::view>().value();
    const auto all = list.elements<rz::vertex>();
    return {all.begin(), all.end()};
  }

  rz::functions call = rz::functions::of(engine()).value();
  karyon::handle graph;
};

template <class T>
std::vector<T> column(const karyon::organelle_result& r, std::int64_t i) {
  const auto c = r.value().get<karyon::columns>().value();
  const ArrowArray* const array = c.array()->children[i];
  const T* const data = static_cast<const T*>(array->buffers[1]) + array->offset;
  return {data, data + array->length};
}

using vertices = std::vector<rz::vertex>;

}  // namespace

TEST_CASE("the engine counts arguments from 1 in its errors, as the host does") {
  world w;
  const auto wrong = w.call.commit(w.graph).now();
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().message().find("argument 1 is not a ") != std::string::npos);
}

TEST_CASE("the engine is loaded as every organelle, with its checksum, and names its functions") {
  CHECK(engine().name() == "rhizome");
  CHECK(rz::functions::of(engine()).has_value());
}

TEST_CASE("a commit is seen by snapshots taken after it, and by none before") {
  world w;
  w.arcs(3, {0, 1, 0, 2});
  const karyon::handle before = w.snapshot();
  w.arcs(0, {1, 2});
  CHECK(world::number(w.call.arcs(before, 0U).now()) == 2);
  CHECK(world::number(w.call.arcs(w.snapshot(), 0U).now()) == 3);
  CHECK(w.neighbours(w.call.neighbours(before, 0U, 0U).now()) == vertices{1, 2});
  CHECK(w.neighbours(w.call.neighbours(before, 0U, 2U, 1U).now()) == vertices{0});
}

TEST_CASE("a view of neighbours outlives the handles of its snapshot and its graph") {
  auto w = std::make_unique<world>();
  w->arcs(3, {0, 1, 0, 2});
  const auto list = w->call.neighbours(w->snapshot(), 0U, 0U).now().value().get<karyon::view>().value();
  w.reset();
  const auto all = list.elements<rz::vertex>();
  CHECK(vertices(all.begin(), all.end()) == vertices{1, 2});
}

TEST_CASE("the past is read at a commit and at a valid time") {
  world w;
  const std::uint64_t first = w.arcs(3, {0, 1});
  const karyon::handle t = w.begin();
  REQUIRE(w.call.remove_arc(t, 0U, 0U, 1U).now());
  REQUIRE(w.call.add_arc(t, 0U, 0U, 2U, 100, 200).now());
  const std::uint64_t second = w.commit(t);
  const karyon::handle now = w.snapshot();
  CHECK(w.neighbours(w.call.neighbours(now, 0U, 0U).now()) == vertices{2});
  CHECK(w.neighbours(w.call.neighbours(now, 0U, 0U, 0U, first).now()) == vertices{1});
  CHECK(w.neighbours(w.call.neighbours(now, 0U, 0U, 0U, second, 150).now()) == vertices{2});
  CHECK(w.neighbours(w.call.neighbours(now, 0U, 0U, 0U, second, 200).now()).empty());
  const auto history = w.call.history(now, 0U, 0U, 1U).now();
  CHECK(column<std::uint32_t>(history, 0) == std::vector{static_cast<std::uint32_t>(first)});
  CHECK(column<std::uint32_t>(history, 1) == std::vector{static_cast<std::uint32_t>(second)});
  const auto changes = w.call.diff(now, first, second).now();
  CHECK(changes.value().get<karyon::columns>().value().rows() == 2);
}

TEST_CASE("properties keep integers, reals and texts, and are named") {
  world w;
  const karyon::handle t = w.begin();
  world::number(w.call.add_vertices(t, 2U).now());
  const auto size = world::number(w.call.name_property(t, "size").now());
  const auto name = world::number(w.call.name_property(t, "name").now());
  REQUIRE(w.call.set_property(t, 0U, size, 7).now());
  REQUIRE(w.call.set_property(t, 0U, name, "zero").now());
  REQUIRE(w.call.set_property(t, 1U, size, 2.5).now());
  w.commit(t);
  const karyon::handle now = w.snapshot();
  CHECK(w.call.property(now, 0U, size).now().value().get<std::int64_t>().value() == 7);
  CHECK(w.call.property(now, 1U, size).now().value().get<double>().value() == 2.5);
  CHECK(w.call.property(now, 0U, name).now().value().get<karyon::view>().value().text() == "zero");
  CHECK(std::holds_alternative<std::monostate>(w.call.property(now, 1U, name).now().value()[0]));
  CHECK(world::number(w.call.find_property(now, "size").now()) == size);
}

TEST_CASE("a query expands, filters, goes back in time and stops at its limit") {
  world w;
  const std::uint64_t first = w.arcs(6, {0, 1, 0, 2, 1, 3, 2, 3, 2, 4});
  const karyon::handle t = w.begin();
  const auto kind = world::number(w.call.name_property(t, "kind").now());
  REQUIRE(w.call.set_property(t, 3U, kind, "leaf").now());
  REQUIRE(w.call.add_arc(t, 0U, 0U, 5U).now());
  w.commit(t);
  const karyon::handle now = w.snapshot();
  const auto key = static_cast<std::uint32_t>(kind);

  const auto ways = rz::query().out(0).keep().out(0);
  auto r = w.call.query(now, vertices{0}, ways.steps(), ways.texts()).now();
  CHECK(world::number(r, 1) == 3);
  CHECK(column<rz::vertex>(r, 1) == vertices{3, 3, 4});

  const auto leaves = rz::query().out(0).out(0).distinct().where(key, rz::comparison::equal, "leaf");
  r = w.call.query(now, vertices{0}, leaves.steps(), leaves.texts()).now();
  CHECK(column<rz::vertex>(r, 0) == vertices{3});

  const auto past = rz::query().as_of(static_cast<rz::commit_number>(first)).out(0);
  r = w.call.query(now, vertices{0}, past.steps()).now();
  CHECK(column<rz::vertex>(r, 0) == vertices{1, 2});

  const auto some = rz::query().out(0).limit(2);
  CHECK(world::number(w.call.query(now, vertices{0}, some.steps(), std::monostate(), true).now(), 1) == 2);
}

TEST_CASE("a query that can not be is refused, and says why") {
  world w;
  w.arcs(2, {0, 1});
  const karyon::handle now = w.snapshot();
  std::vector<rhizome_step> steps(1);
  steps[0].kind = 99;
  CHECK(w.call.query(now, vertices{0}, steps).now().error().status() == KARYON_INVALID_ARGUMENT);
  steps[0].kind = RHIZOME_WHERE;
  steps[0].type = RHIZOME_TEXT;
  steps[0].number = 10;
  steps[0].text_at = ~std::uint64_t{0} - 4;
  CHECK(w.call.query(now, vertices{0}, steps, "short").now().error().status() == KARYON_INVALID_ARGUMENT);
  rhizome_step distinct{};
  distinct.kind = RHIZOME_DISTINCT;
  steps.assign(1001, distinct);
  CHECK(w.call.query(now, vertices{0}, steps).now().error().status() == KARYON_LIMIT);
  steps.resize(1);
  CHECK(w.call.query(now, "abc", steps).now().error().status() == KARYON_INVALID_ARGUMENT);
}

TEST_CASE("algorithms give columns by vertex") {
  world w(true);
  w.arcs(5, {0, 1, 1, 2, 0, 2, 3, 4});
  const karyon::handle now = w.snapshot();
  const auto scores = w.call.pagerank(now, 0U).now();
  CHECK(column<float>(scores, 0).size() == 5);
  CHECK(world::number(w.call.components(now, 0U).now(), 1) == 2);
  CHECK(world::number(w.call.triangles(now, 0U).now()) == 1);
  const auto tree = w.call.bfs(now, 0U, std::monostate(), std::monostate(), 0U).now();
  CHECK(world::number(tree, 1) == 3);
  CHECK(column<rz::vertex>(tree, 0)[3] == rz::no_vertex);
  CHECK(w.neighbours(w.call.khop(now, 0U, std::monostate(), std::monostate(), vertices{3}, 2U).now()) ==
        vertices{3, 4});
}

TEST_CASE("objects of another kind, vertices and labels that there are not are refused by status") {
  world w;
  w.arcs(2, {0, 1});
  const karyon::handle now = w.snapshot();
  CHECK(w.call.degree(w.graph, 0U, 0U).now().error().status() == KARYON_INVALID_ARGUMENT);
  CHECK(w.call.degree(now, 0U, 7U).now().error().status() == KARYON_NOT_FOUND);
  CHECK(w.call.degree(now, 1U << 20, 0U).now().error().status() == KARYON_INVALID_ARGUMENT);
  const karyon::handle t = w.begin();
  CHECK(w.call.add_arc(t, 0U, 0U, 1U).now().error().status() == KARYON_ALREADY_THERE);
  CHECK(w.call.set_property(t, 0U, 0U, now).now().error().status() == KARYON_INVALID_ARGUMENT);
}

TEST_CASE("of two transactions that change the same arc the second one is told of a conflict") {
  world w;
  w.arcs(2, {0, 1});
  const karyon::handle a = w.begin();
  const karyon::handle b = w.begin();
  REQUIRE(w.call.remove_arc(a, 0U, 0U, 1U).now());
  REQUIRE(w.call.remove_arc(b, 0U, 0U, 1U).now());
  w.commit(a);
  CHECK(w.call.commit(b).now().error().status() == KARYON_CONFLICT);
}

namespace {

struct rank {};
struct found {
  std::uint64_t vertices = 0;
};

/// Asks for what takes longer than a handler may.
class ranker : public karyon::cell {
public:
  using accepts = karyon::signals<rank>;
  ranker(rz::functions call, karyon::handle snapshot) : call_(std::move(call)), snapshot_(std::move(snapshot)) {}
  karyon::task<found> on(rank) {
    const auto r = co_await call_.pagerank(snapshot_, 0U).on(this);
    co_return found{r.value().get<karyon::columns>().value().rows()};
  }

private:
  rz::functions call_;
  karyon::handle snapshot_;
};

}  // namespace

TEST_CASE("a cell awaits what the engine computes, on whatever thread that is") {
  world w(true);
  std::vector<rz::vertex> pairs;
  constexpr rz::vertex n = 20'000;
  for (rz::vertex v = 1; v < n; ++v) pairs.insert(pairs.end(), {v, v / 2});
  w.arcs(n, pairs);
  karyon::runtime rt;
  const auto cell = rt.spawn<ranker>(w.call, w.snapshot());
  const auto answer = rt.ask(cell, rank{}, 1min);
  REQUIRE(answer.has_value());
  CHECK(answer->vertices == n);
}

namespace {

struct look_back {};

/// Asks for what a vertex' property was before all that was told of it since.
class historian : public karyon::cell {
public:
  using accepts = karyon::signals<look_back>;
  historian(rz::functions call, karyon::handle snapshot, std::uint64_t commit)
      : call_(std::move(call)), snapshot_(std::move(snapshot)), commit_(commit) {}
  karyon::task<std::int64_t> on(look_back) {
    const auto r = co_await call_.property(snapshot_, 0U, 0U, commit_).on(this);
    co_return r.value().get<std::int64_t>().value();
  }

private:
  rz::functions call_;
  karyon::handle snapshot_;
  std::uint64_t commit_;
};

}  // namespace

TEST_CASE("a property with so many versions that a look back takes long is looked up on another thread") {
  world w;
  const karyon::handle first = w.begin();
  world::number(w.call.add_vertices(first, 1U).now());
  REQUIRE(w.call.set_property(first, 0U, 0U, -1).now());
  const std::uint64_t then = w.commit(first);
  const karyon::handle t = w.begin();
  bool all = true;
  for (int i = 0; i < 1'000'000; ++i) all = all && w.call.set_property(t, 0U, 0U, i).now().has_value();
  REQUIRE(all);
  w.commit(t);
  karyon::runtime rt;
  const auto cell = rt.spawn<historian>(w.call, w.snapshot(), then);
  for (int i = 0; i < 200 && w.call.property.stats().away == 0; ++i) {
    const auto answer = rt.ask(cell, look_back{}, 1min);
    REQUIRE(answer.has_value());
    REQUIRE(*answer == -1);
  }
  CHECK(w.call.property.stats().away > 0);
}

TEST_CASE("a graph that is kept in a directory comes back with all that was committed") {
  const auto call = rz::functions::of(engine()).value();
  const auto directory = std::filesystem::temp_directory_path() / ("rhizome-test-" + std::to_string(getpid()));
  const auto opened = [&] { return world::one(call.open(directory.string()).now()); };
  {
    const karyon::handle graph = opened();
    const karyon::handle t = world::one(call.begin(graph).now());
    world::number(call.add_vertices(t, 2U).now());
    REQUIRE(call.add_arc(t, 0U, 0U, 1U).now());
    CHECK(call.commit(t).now().error().status() == KARYON_INVALID_ARGUMENT);  // it would hold a handler up
    CHECK(world::number(call.commit_durable(t).now()) == 1);
    CHECK(call.open(directory.string()).now().error().status() == KARYON_CONFLICT);  // one owner at a time
  }
  {
    const karyon::handle graph = opened();
    CHECK(world::number(call.arcs(world::one(call.snapshot(graph).now()), 0U).now()) == 1);
    CHECK(world::number(call.checkpoint(graph).now()) == 1);
    REQUIRE(call.close(graph).now());
  }
  CHECK(world::number(call.arcs(world::one(call.snapshot(opened()).now()), 0U).now()) == 1);
  CHECK(call.checkpoint(world().graph).now().error().status() == KARYON_INVALID_ARGUMENT);
  std::filesystem::remove_all(directory);
}
