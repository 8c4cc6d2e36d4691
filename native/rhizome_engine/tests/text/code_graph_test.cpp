// SPDX-License-Identifier: Apache-2.0
#include "text/code_graph.hpp"

#include <algorithm>
#include <string>
#include <tuple>

#include "random_program.hpp"
#include "support/catch.hpp"

using namespace rhizome;

namespace {

store small_store() {
  store_options options;
  options.memory_limit_bytes = std::size_t{256} << 20;
  options.vertices_max = 1 << 20;
  options.huge_pages = false;
  options.unique_arcs = false;
  return store::make(options).value();
}

syntax read(std::string text, syntax_detail detail = syntax_detail::outline) {
  return syntax::of(parse(std::move(text), language::cpp().value()).value(), detail);
}

using names = std::vector<std::string>;

code_moment at(time_us valid) { return {valid, std::nullopt}; }

/// What nodes_of has to give: the flat tree, siblings in the order that the graph can tell.
void expect(const syntax& version, std::uint32_t i, std::uint32_t depth, std::vector<code_node>& out) {
  const auto& node = version.nodes()[i];
  out.push_back({depth, node.kind, node.offset, node.length, std::string{version.name(i)}});
  std::vector<std::uint32_t> children;
  for (auto child = i + 1; child < i + node.size; child += version.nodes()[child].size) {
    children.push_back(child);
  }
  std::stable_sort(children.begin(), children.end(), [&](std::uint32_t a, std::uint32_t b) {
    const auto& left = version.nodes()[a];
    const auto& right = version.nodes()[b];
    return std::tie(left.offset, left.length, left.kind) < std::tie(right.offset, right.length, right.kind);
  });
  for (const auto child : children) {
    expect(version, child, depth + 1, out);
  }
}
std::vector<code_node> nodes_in(const syntax& version) {
  std::vector<code_node> nodes;
  expect(version, 0, 0, nodes);
  return nodes;
}

}  // namespace

TEST_CASE("the graph knows who defines, calls and includes, now and before", "[rhizome][code]") {
  auto graph = small_store();
  auto code = code_graph::over(graph).value();
  REQUIRE(code.put("lib/a.h", read("int a() { return b(); }\nstruct s {};\n"), 100));
  REQUIRE(code.put("lib/b.h", read("#include \"a.h\"\nint b() { return 1; }\n"), 100));
  REQUIRE(code.put("main.c", read("#include \"lib/b.h\"\nint main() { a(); a(); x.c(); }\n"), 100));
  REQUIRE(code.put("lib/a.h", read("struct s {};\nint c() { return 1; }\n"), 200));
  CHECK(code.defined_in("lib/a.h", at(150)).value() == names{"a", "s"});
  CHECK(code.defined_in("lib/a.h", {}).value() == names{"c", "s"});
  CHECK(code.defined_in("lib/a.h", at(50)).value().empty());
  CHECK(code.definers("a", at(199)).value() == names{"lib/a.h"});
  CHECK(code.definers("a", at(200)).value().empty());
  CHECK(code.callers("a", {}).value() == std::vector<code_place>{{"main.c", "main"}});
  CHECK(code.callers("b", at(150)).value() == std::vector<code_place>{{"lib/a.h", "a"}});
  CHECK(code.callers("b", at(250)).value().empty());
  CHECK(code.includers("lib/a.h", {}).value() == names{"lib/b.h"});
  CHECK(code.includers("lib/b.h", {}).value() == names{"main.c"});
  CHECK(code.impact("lib/a.h", {}).value() == std::vector<code_effect>{{"lib/b.h", 1, true}, {"main.c", 2, true}});
  CHECK(code.impact("lib/b.h", at(150)).value() ==
        std::vector<code_effect>{{"main.c", 1, true}, {"lib/a.h", 1, false}});
  CHECK(code.impact("nothing.c", {}).error().code == errc::not_found);
}

TEST_CASE("the graph knows which files use a name, before, between and after", "[rhizome][code]") {
  for (const auto detail : {syntax_detail::outline, syntax_detail::tree}) {
    auto graph = small_store();
    auto code = code_graph::over(graph).value();
    REQUIRE(code.put("a.c", read("int f(struct s *p) { return p->field + g; }\n", detail), 10));
    REQUIRE(code.put("b.c", read("int g;\n", detail), 10));
    REQUIRE(code.put("b.c", read("int h;\n", detail), 20));
    REQUIRE(code.put("b.c", read("int g, h;\n", detail), 30));
    REQUIRE(code.remove("b.c", 40));
    CHECK(code.users("field", {}).value() == names{"a.c"});
    CHECK(code.users("f", {}).value() == names{"a.c"});
    CHECK(code.users("g", at(5)).value().empty());
    CHECK(code.users("g", at(15)).value() == names{"a.c", "b.c"});
    CHECK(code.users("g", at(25)).value() == names{"a.c"});
    CHECK(code.users("h", at(25)).value() == names{"b.c"});
    CHECK(code.users("g", at(35)).value() == names{"a.c", "b.c"});
    CHECK(code.users("h", at(35)).value() == names{"b.c"});
    CHECK(code.users("h", at(45)).value().empty());
    CHECK(code.users("nothing", {}).value().empty());
    CHECK(code.last_change("b.c") == 40);
    CHECK_FALSE(code.last_change("c.c"));
  }
}

TEST_CASE("an include by a relative path is of the file that it leads to", "[rhizome][code]") {
  auto graph = small_store();
  auto code = code_graph::over(graph).value();
  REQUIRE(code.put("lib/a.h", read(""), 1));
  REQUIRE(code.put("src/b.c", read("#include \"../lib/a.h\"\n"), 1));
  REQUIRE(code.put("lib/c.c", read("#include \"./a.h\"\n"), 1));
  REQUIRE(code.put("d.c", read("#include \"ib/a.h\"\n"), 1));
  CHECK(code.includers("lib/a.h", {}).value() == names{"lib/c.c", "src/b.c"});
}

TEST_CASE("a store that refuses parallel arcs is none for programs", "[rhizome][code]") {
  store_options options;
  options.memory_limit_bytes = std::size_t{64} << 20;
  options.vertices_max = 1 << 10;
  auto graph = store::make(options).value();
  CHECK(code_graph::over(graph).error().code == errc::invalid_argument);
}

TEST_CASE("what was recorded later is not seen by a question about an earlier commit", "[rhizome][code]") {
  auto graph = small_store();
  auto code = code_graph::over(graph).value();
  const auto first = code.put("a.c", read("int a() {}\n"), 100).value();
  REQUIRE(code.put("a.c", read("int b() {}\n"), 150));
  CHECK(code.defined_in("a.c", {170, first.commit}).value() == names{"a"});
  CHECK(code.defined_in("a.c", at(170)).value() == names{"b"});
}

TEST_CASE("an unchanged part of a file goes on being the same vertices", "[rhizome][code]") {
  auto graph = small_store();
  auto code = code_graph::over(graph).value();
  const std::string a = "int a() { return 1; }\n";
  const std::string b = "int b() { return a() + 2; }\n";
  const auto first = code.put("f.c", read(a + b, syntax_detail::tree), 1).value();
  CHECK(first.kept == 0);
  const auto vertices = graph.now()->vertices();
  const auto second = code.put("f.c", read("// new\n" + a + b, syntax_detail::tree), 2).value();
  CHECK(second.begun == 1);  // the comment
  CHECK(second.ended == 0);
  CHECK(second.kept == first.begun);
  CHECK(graph.now()->vertices() == vertices + 1);
  const auto third = code.put("f.c", read(a, syntax_detail::tree), 3).value();
  CHECK(third.begun == 0);
  CHECK(third.kept + third.ended == first.begun + 1);
}

TEST_CASE("a file that is removed is there before, and may come back", "[rhizome][code]") {
  auto graph = small_store();
  auto code = code_graph::over(graph).value();
  REQUIRE(code.put("a.h", read("int a() { b(); }\n"), 10));
  REQUIRE(code.remove("a.h", 20));
  CHECK(code.remove("a.h", 30).error().code == errc::not_found);
  CHECK(code.put("a.h", read(""), 20).error().code == errc::invalid_argument);
  REQUIRE(code.put("a.h", read("int c() {}\n"), 40));
  CHECK(code.defined_in("a.h", at(15)).value() == names{"a"});
  CHECK(code.defined_in("a.h", at(25)).value().empty());
  CHECK(code.nodes_of("a.h", at(25)).value().empty());
  CHECK(code.callers("b", at(25)).value().empty());
  CHECK(code.defined_in("a.h", at(45)).value() == names{"c"});
}

TEST_CASE("every version of a file can be read back from the graph, node by node", "[rhizome][code]") {
  std::mt19937_64 rng(5);
  for (const auto detail : {syntax_detail::outline, syntax_detail::tree}) {
    auto graph = small_store();
    auto code = code_graph::over(graph).value();
    std::vector<syntax> versions;
    auto tree = parse(random_program(rng, 15), language::cpp().value()).value();
    for (time_us time = 0; time < 25; ++time) {
      versions.push_back(syntax::of(tree, detail));
      const auto change = code.put("p.cpp", versions.back(), time).value();
      REQUIRE(change.begun + change.kept == versions.back().nodes().size());
      const auto edit = random_edit(rng, tree.text());
      tree = tree.edit(edit.from, edit.to, edit.with).value();
    }
    for (time_us time = 0; time < 25; ++time) {
      REQUIRE(code.nodes_of("p.cpp", at(time)).value() == nodes_in(versions[static_cast<std::size_t>(time)]));
    }
  }
}

TEST_CASE("a version that the store refuses leaves no trace", "[rhizome][code]") {
  store_options options;
  options.memory_limit_bytes = std::size_t{256} << 20;
  options.vertices_max = 20;
  options.huge_pages = false;
  options.unique_arcs = false;
  auto graph = store::make(options).value();
  auto code = code_graph::over(graph).value();
  REQUIRE(code.put("a.c", read("int a() {}\n"), 1));
  std::string many;
  for (int i = 0; i < 30; ++i) {
    many += "int f" + std::to_string(i) + "() { g(); }\n";
  }
  CHECK(code.put("a.c", read(many), 2).error().code == errc::limit);
  CHECK(code.defined_in("a.c", {}).value() == names{"a"});
  CHECK(code.callers("g", {}).value().empty());
}
