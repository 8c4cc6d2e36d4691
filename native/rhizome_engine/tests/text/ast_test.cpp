// SPDX-License-Identifier: Apache-2.0
#include "text/ast.hpp"

#include <cstdio>
#include <string>

#include "support/catch.hpp"

using namespace rhizome;

#ifndef KARYON_HAS_GRAMMARS

TEST_CASE("a build without grammars says so to whoever asks for a tree", "[rhizome][ast]") {
  CHECK(language::c().error().code == errc::unsupported);
  CHECK(language::of_file("a.cpp").error().text.find("no syntax trees") != std::string::npos);
  std::puts(
      "skipped: syntax trees are left out of this build (libtree-sitter or npm's grammars were missing at the "
      "configure step)");
}

#else

#include "random_program.hpp"
#include "text/syntax.hpp"

extern "C" const TSLanguage* tree_sitter_c(void);
extern "C" const TSLanguage* tree_sitter_cpp(void);

namespace {

/// Every node by a cursor walk: kinds, whether named, and places.
std::string shape_of(const ast& tree) {
  std::string shape;
  auto cursor = tree.walk();
  while (true) {
    const auto node = cursor.node();
    shape += std::string{tree.of().kind_name(node.kind)} + (node.named ? " " : "' ") + std::to_string(node.where.from) +
             "-" + std::to_string(node.where.to) + (node.error ? "! " : " ");
    if (cursor.to_child()) {
      shape += "(";
      continue;
    }
    while (!cursor.to_sibling()) {
      if (!cursor.to_parent()) {
        return shape;
      }
      shape += ")";
    }
  }
}

ast c_tree(std::string text) { return parse(std::move(text), language::c().value()).value(); }
ast cpp_tree(std::string text) { return parse(std::move(text), language::cpp().value()).value(); }

std::string roles_of(const ast& tree) {
  std::string found;
  const auto flat = syntax::of(tree, syntax_detail::outline);
  for (std::size_t i = 1; i < flat.nodes().size(); ++i) {
    constexpr const char* roles[] = {"none ", "definition ", "call ", "include ", "name "};
    found += std::string{roles[static_cast<int>(flat.nodes()[i].role)]} + std::string{flat.name(i)} + "; ";
  }
  return found;
}

}  // namespace

TEST_CASE("a text has a tree of its parts, and slices of nodes point into it", "[rhizome][ast]") {
  const auto tree = c_tree("int f(int a) { return a + 1; }\n");
  CHECK(!tree.has_error());
  auto cursor = tree.walk();
  CHECK(tree.of().kind_name(cursor.node().kind) == "translation_unit");
  REQUIRE(cursor.to_child());
  CHECK(tree.of().kind_name(cursor.node().kind) == "function_definition");
  REQUIRE(cursor.to_child());
  CHECK(cursor.node().where.of(tree.text()) == "int");
  CHECK(cursor.node().where.of(tree.text()).data() == tree.text().data());
  CHECK(cursor.to_parent());
  CHECK_FALSE(cursor.to_sibling());
}

TEST_CASE("a broken text has a tree that says so, and what is not text is refused", "[rhizome][ast]") {
  CHECK(c_tree("int f( {").has_error());
  CHECK_FALSE(c_tree("").has_error());
  CHECK(parse("int \xff;", language::c().value()).error().code == errc::corrupt);
  CHECK(parse(std::string(std::size_t{1} << 24, ' '), language::c().value()).error().code == errc::limit);
  CHECK(parse_file("no/such/file.c", language::c().value()).error().code == errc::not_found);
  CHECK(language::of_file("a.rs").error().code == errc::unsupported);
}

TEST_CASE("a grammar of another ABI is refused with both versions named", "[rhizome][ast]") {
  struct {
    std::uint32_t version = 15;
    std::uint32_t rest[63] = {};
  } newer;
  const auto refused = language::of_grammar(reinterpret_cast<const TSLanguage*>(&newer), "newer");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::wrong_version);
  CHECK(refused.error().text.find("ABI 15") != std::string::npos);
  CHECK(refused.error().text.find("14") != std::string::npos);
}

TEST_CASE("a grammar with a dense table makes the same trees as the one that it was made of", "[rhizome][ast]") {
  const auto as_generated = [](const std::string& text, const TSLanguage* grammar) {
    return shape_of(parse(text, language::of_grammar(grammar, "generated").value()).value());
  };
  std::mt19937_64 rng(13);
  for (int round = 0; round < 20; ++round) {
    auto text = random_program(rng, 20);
    const auto change = random_edit(rng, text);
    text.replace(change.from, change.to - change.from, change.with);
    REQUIRE(shape_of(c_tree(text)) == as_generated(text, tree_sitter_c()));
    REQUIRE(shape_of(cpp_tree(text)) == as_generated(text, tree_sitter_cpp()));
  }
  for (const char* file : {"native/rhizome_engine/text/syntax.cpp", "include/karyon/organelle/abi.h",
                           "native/rhizome_engine/tests/text/ast_test.cpp"}) {
    const auto tree = parse_file(file, language::cpp().value());
    REQUIRE(tree);
    CHECK(shape_of(*tree) == as_generated(tree->text(), tree_sitter_cpp()));
  }
}

TEST_CASE("an edited tree is the tree of the edited text, and the old one stays as it was", "[rhizome][ast]") {
  std::mt19937_64 rng(7);
  for (int round = 0; round < 20; ++round) {
    auto tree = cpp_tree(random_program(rng, 12));
    for (int step = 0; step < 10; ++step) {
      const auto before = shape_of(tree);
      const auto change = random_edit(rng, tree.text());
      const auto edited = tree.edit(change.from, change.to, change.with);
      REQUIRE(edited);
      CHECK(shape_of(tree) == before);
      // What is broken may be mended in more than one way; what is sound may not.
      const auto fresh = cpp_tree(edited->text());
      if (!fresh.has_error() && !edited->has_error()) {
        REQUIRE(shape_of(*edited) == shape_of(fresh));
      }
      tree = *edited;
    }
  }
  CHECK(c_tree("int a;").edit(3, 9, "").error().code == errc::invalid_argument);
  CHECK(c_tree("int a;").edit(3, 2, "").error().code == errc::invalid_argument);
}

TEST_CASE("an outline has what is defined, called and included, by name", "[rhizome][ast]") {
  CHECK(roles_of(c_tree(
            "#include <stdio.h>\n#include \"a/b.h\"\n#define MAX(a) (a)\nstruct point { int x; };\nstruct point p;\n"
            "typedef unsigned (*handler)(int);\nstatic char *f(void) { g(h(1)); return p->q(2); }\n")) ==
        "include stdio.h; include a/b.h; definition MAX; definition point; definition handler; definition f; call g; "
        "call h; call q; ");
  CHECK(roles_of(cpp_tree("namespace n { class c { void m() { std::move(x); t<int>(1); } }; }\n"
                          "int n::c::k(int& a) { return [] { return 1; }(); }\nc::~c() {}\nusing u = int;\n"
                          "enum class e { one, two };\nbool operator==(c, c) { return x(); }\n")) ==
        "definition n; definition c; definition m; call move; call t; definition k; definition ~c; definition u; "
        "definition e; definition one; definition two; definition operator==; call x; ");
}

TEST_CASE("a match of two versions keeps what is equal, whole, and each node at most once", "[rhizome][ast]") {
  std::mt19937_64 rng(11);
  for (int round = 0; round < 60; ++round) {
    const auto detail = round % 2 == 0 ? syntax_detail::tree : syntax_detail::outline;
    const auto tree = cpp_tree(random_program(rng, 10));
    const auto change = random_edit(rng, tree.text());
    const auto earlier = syntax::of(tree, detail);
    const auto later = syntax::of(tree.edit(change.from, change.to, change.with).value(), detail);
    const auto match = match_syntax(earlier, later);
    std::vector<bool> taken(earlier.nodes().size(), false);
    std::size_t begun = 0;
    for (std::size_t i = 0; i < later.nodes().size(); ++i) {
      const auto old = match.earlier[i];
      begun += old == no_node ? 1 : 0;
      if (old != no_node) {
        REQUIRE_FALSE(taken[old]);
        REQUIRE(match.kept[old]);
        taken[old] = true;
        REQUIRE(earlier.nodes()[old].kind == later.nodes()[i].kind);
        REQUIRE((i == 0 || earlier.name(old) == later.name(i)));
      }
    }
    REQUIRE(taken == match.kept);
    REQUIRE(begun < later.nodes().size());
  }
}

TEST_CASE("a function that is added, moved or renamed leaves the others alone", "[rhizome][ast]") {
  const auto begun = [](std::string before, std::string after) {
    const auto earlier = syntax::of(c_tree(std::move(before)), syntax_detail::outline);
    const auto later = syntax::of(c_tree(std::move(after)), syntax_detail::outline);
    const auto match = match_syntax(earlier, later);
    std::string names;
    for (std::size_t i = 1; i < later.nodes().size(); ++i) {
      if (match.earlier[i] == no_node) {
        names += std::string{later.name(i)} + " ";
      }
    }
    for (std::size_t i = 1; i < earlier.nodes().size(); ++i) {
      if (!match.kept[i]) {
        names += "-" + std::string{earlier.name(i)} + " ";
      }
    }
    return names;
  };
  const std::string a = "int a(void) { x(); }\n";
  const std::string b = "int b(void) { y(); y(); }\n";
  const std::string c = "int c(void) { z(); }\n";
  CHECK(begun(a + c, a + b + c).find("b y y") == 0);
  CHECK(begun(a + b + c, a + c) == "-b -y -y ");
  CHECK(begun(a + b + c, "\n\n" + a + b + c).empty());
  CHECK(begun(a + b, a + "int d(void) { y(); y(); }\n") == "d y y -b -y -y ");
  CHECK(begun(a + b, a + "int b(void) { y(); w(); y(); }\n") == "w ");
}

TEST_CASE("a text that nests without end is walked without the thread's stack", "[rhizome][ast]") {
  const std::size_t depth = 20'000;
  const auto tree = c_tree("int x = " + std::string(depth, '(') + "1" + std::string(depth, ')') + ";");
  CHECK(syntax::of(tree, syntax_detail::tree).nodes().size() > depth);
}

#endif
