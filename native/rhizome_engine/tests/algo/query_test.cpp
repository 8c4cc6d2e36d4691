// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "algo/query.hpp"
#include "graphs.hpp"
#include "support/catch.hpp"

namespace rhizome {
namespace {

using arc = csr::arc;
using testing::finish;
using testing::two_views;

two_views sample_graph(std::uint64_t seed) {
  return two_views(csr(200, testing::random_arcs(seed, 200, 1'500), csr::duplicates::kept));
}

template <class Cursor>
std::multiset<vertex> ends_of(Cursor cursor, std::uint64_t arcs) {
  finish(cursor, arcs);
  auto const ends = cursor.rows().ends();
  return {ends.begin(), ends.end()};
}

TEST_CASE("A query's rows are the ways along its steps, whatever its budget") {
  auto const seed = GENERATE(range(std::uint64_t{1}, std::uint64_t{10}));
  auto const graph = sample_graph(seed);
  auto const even = [](vertex v) { return v % 2 == 0; };
  std::multiset<vertex> expected;
  for (vertex a = 0; a < 200; ++a) {
    for (auto const b : graph.forth.neighbours(a)) {
      if (even(b)) {
        for (auto const c : graph.back.neighbours(b)) {
          expected.insert(c);
        }
      }
    }
  }
  auto const asked = query(graph).from_all().out(0).where(even).in(0);
  CHECK(ends_of(asked.run(), 1) == expected);
  CHECK(ends_of(asked.run(), ~0ULL) == expected);
  auto counted = asked.count();
  finish(counted, 100);
  CHECK(counted.count() == expected.size());
  CHECK(ends_of(asked.distinct().run(), 10) == std::multiset<vertex>([&] {
          std::set<vertex> const once(expected.begin(), expected.end());
          return std::multiset<vertex>(once.begin(), once.end());
        }()));
}

TEST_CASE("Kept steps become columns, and a condition sees the whole row") {
  auto const graph = sample_graph(3);
  std::multiset<std::vector<vertex>> expected;
  for (vertex a = 0; a < 200; ++a) {
    for (auto const b : graph.forth.neighbours(a)) {
      for (auto const c : graph.forth.neighbours(b)) {
        if (c == a && b != a) {
          expected.insert({a, b, c});
        }
      }
    }
  }
  REQUIRE_FALSE(expected.empty());
  auto const back_at_start = [](auto row) {
    if constexpr (!std::is_same_v<decltype(row), vertex>) {
      return row[2] == row[0] && row[1] != row[0] && row.size() == 3;
    } else {
      return true;
    }
  };
  auto const returns = [&](detail::row_view row) { return back_at_start(row); };
  auto cursor = query(graph).from_all().keep().out(0).keep().out(0).where(returns).run();
  finish(cursor, 50);
  std::multiset<std::vector<vertex>> found;
  auto const& rows = cursor.rows();
  REQUIRE(rows.columns() == 3);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    found.insert({rows.column(0)[i], rows.column(1)[i], rows.column(2)[i]});
  }
  CHECK(found == expected);
}

TEST_CASE("A limit ends a query after so many rows, each of them a right one") {
  auto const graph = sample_graph(4);
  auto const all = ends_of(query(graph).from_all().out(0).out(0).run(), ~0ULL);
  for (std::uint64_t const rows : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{7}, std::uint64_t{1'024},
                                   std::uint64_t{3'000}, std::uint64_t{1'000'000}}) {
    for (std::uint64_t const allowed : {std::uint64_t{1}, ~std::uint64_t{0}}) {
      auto const some = ends_of(query(graph).from_all().out(0).out(0).limit(rows).run(), allowed);
      CHECK(some.size() == std::min<std::size_t>(rows, all.size()));
      CHECK(std::includes(all.begin(), all.end(), some.begin(), some.end()));
      auto const further = ends_of(query(graph).from(5).out(0).limit(rows).out(0).keep().limit(9).run(), allowed);
      CHECK(further.size() <= 9);
    }
  }
}

/// Counts what is looked at.
struct counting_view {
  csr graph;
  std::uint64_t* seen;
  [[nodiscard]] vertex vertices() const { return graph.vertices(); }
  [[nodiscard]] std::uint64_t arcs() const { return graph.arcs(); }
  [[nodiscard]] std::uint32_t degree(vertex v) const { return graph.degree(v); }
  void prefetch(vertex) const {}
  template <class F>
  void for_each(vertex v, F&& f) const {
    graph.for_each(v, [&](vertex target) -> bool {
      ++*seen;
      return detail::visit(f, target);
    });
  }
};
struct counting_graph {
  counting_view view;
  [[nodiscard]] const counting_view& out(label = 0) const { return view; }
  [[nodiscard]] const counting_view& in(label = 0) const { return view; }
};

TEST_CASE("A query with a limit looks at no more arcs than it gives rows, and none before it is stepped") {
  std::vector<arc> arcs;
  for (vertex v = 1; v < 100'000; ++v) {
    arcs.push_back({0, v});
  }
  std::uint64_t seen = 0;
  counting_graph const graph{{csr(100'000, arcs, csr::duplicates::kept), &seen}};
  auto cursor = query(graph).from(0).out().limit(10).run();
  CHECK(seen == 0);
  finish(cursor, ~0ULL);
  CHECK(cursor.rows().size() == 10);
  CHECK(seen == 10);
}

TEST_CASE("A condition is asked about each row once, and about few once the budget is spent") {
  auto const graph = sample_graph(5);
  std::vector<vertex> asked;
  auto const every_third = [&asked](vertex v) {
    asked.push_back(v);
    return v % 3 == 0;
  };
  auto cursor = query(graph).from_all().where(every_third).run();
  std::size_t most = 0;
  for (auto came = progress::more; came == progress::more;) {
    auto const before = asked.size();
    budget small({.arcs = 1});
    came = cursor.step(small);
    REQUIRE((asked.size() > before || came == progress::done));
    most = std::max(most, asked.size() - before);
  }
  CHECK(most <= 64);
  CHECK(asked.size() == 200);
  CHECK(std::set<vertex>(asked.begin(), asked.end()).size() == 200);
  CHECK(cursor.rows().size() == 67);
  auto limited = query(graph).from_all().where(every_third).limit(30).run();
  finish(limited, 1);
  CHECK(limited.rows().size() == 30);
  CHECK(limited.rows().ends().back() == 87);
}

TEST_CASE("A query can be run again, and its beginnings that are not there are left out") {
  auto const graph = sample_graph(6);
  auto const asked = query(graph).from(std::vector<vertex>{3, 200, 9, 3}).distinct().limit(5);
  CHECK(ends_of(asked.run(), ~0ULL) == std::multiset<vertex>{3, 9});
  CHECK(ends_of(asked.run(), ~0ULL) == std::multiset<vertex>{3, 9});
  CHECK(ends_of(query(graph).from(std::vector<vertex>{}).out(0).run(), ~0ULL).empty());
}

/// A graph with a past: at time t it has the first t arcs of a path.
struct growing_path {
  vertex length;
  [[nodiscard]] csr arcs() const {
    std::vector<arc> made;
    for (vertex v = 0; v < length; ++v) {
      made.push_back({v, v + 1});
    }
    return csr(100, made, csr::duplicates::kept);
  }
  [[nodiscard]] csr out(label = 0) const { return arcs(); }
  [[nodiscard]] csr in(label = 0) const { return arcs().transposed(); }
  [[nodiscard]] growing_path as_of(vertex time) const { return {time}; }
};

TEST_CASE("The steps behind an as-of see the graph of that time") {
  growing_path const now{10};
  CHECK(ends_of(query(now).from(4).out().out().run(), ~0ULL) == std::multiset<vertex>{6});
  CHECK(ends_of(query(now).as_of(vertex{5}).from(4).out().out().run(), ~0ULL).empty());
  CHECK(ends_of(query(now).from(4).as_of(vertex{5}).out().over(now).out().run(), ~0ULL) == std::multiset<vertex>{6});
  CHECK(ends_of(query(now).from(4).out().as_of(vertex{5}).out().run(), ~0ULL).empty());
}

TEST_CASE("A result goes to Arrow as columns that live until their consumer releases them") {
  auto const graph = sample_graph(7);
  auto cursor = query(graph).from_all().keep().out(0).run();
  finish(cursor, ~0ULL);
  std::vector<vertex> const sources(cursor.rows().column(0).begin(), cursor.rows().column(0).end());
  std::vector<vertex> const targets(cursor.rows().ends().begin(), cursor.rows().ends().end());
  ArrowSchema schema{};
  ArrowArray array{};
  {
    std::vector<std::string> const names{"source", "target"};
    auto const table = std::move(cursor).rows().to_arrow(names);
    REQUIRE(table.has_value());
    REQUIRE(table->export_to(schema, array).has_value());
  }
  CHECK(std::string(schema.format) == "+s");
  REQUIRE(schema.n_children == 2);
  CHECK(std::string(schema.children[0]->format) == "I");
  CHECK(std::string(schema.children[1]->name) == "target");
  REQUIRE(array.n_children == 2);
  CHECK(array.length == static_cast<std::int64_t>(sources.size()));
  auto moved = *array.children[1];  // as the specification lets a consumer take one column alone
  array.children[1]->release = nullptr;
  auto const* const source_column = static_cast<const vertex*>(array.children[0]->buffers[1]);
  CHECK(std::equal(sources.begin(), sources.end(), source_column));
  array.release(&array);
  CHECK(array.release == nullptr);
  CHECK(std::equal(targets.begin(), targets.end(), static_cast<const vertex*>(moved.buffers[1])));
  CHECK(moved.n_buffers == 2);
  CHECK(moved.null_count == 0);
  moved.release(&moved);
  schema.release(&schema);
  CHECK(schema.release == nullptr);
}

TEST_CASE("A table of columns that differ in length is refused, and so are names that do not match the columns") {
  arrow_table table;
  table.add("score", std::vector<double>{1, 2, 3});
  table.add("when", std::vector<moment>{{5}, {6}});
  ArrowSchema schema{};
  ArrowArray array{};
  auto const exported = table.export_to(schema, array);
  REQUIRE_FALSE(exported.has_value());
  CHECK(exported.error().code == errc::invalid_argument);
  CHECK(schema.release == nullptr);
  CHECK(array.release == nullptr);
  auto cursor = query(sample_graph(1)).from(1).run();
  finish(cursor, ~0ULL);
  std::vector<std::string> const names{"a", "b"};
  CHECK_FALSE(std::move(cursor).rows().to_arrow(names).has_value());
}

}  // namespace
}  // namespace rhizome
