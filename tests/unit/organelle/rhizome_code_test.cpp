#include <karyon/organelle/rhizome.hpp>

#include <karyon/karyon.hpp>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "organelle/engine_place.hpp"
#include "rhizome_testing.hpp"
#include "support/catch.hpp"
#include "support/temporary_tree.hpp"

namespace rz = karyon::rhizome;
using karyon::handle;
using karyon::tests::engine;
using karyon::tests::temporary_tree;

namespace {

const rz::code_functions& call() {
  static const rz::code_functions functions = rz::code_functions::of(engine()).value();
  return functions;
}

template <class T>
T get(const karyon::organelle_result& r, std::size_t i = 0) {
  if (!r) throw std::runtime_error(r.error().message());
  return r->get<T>(i).value();
}

/// Whether this engine has grammars; if not, it must say so, and what is missing.
bool has_trees() {
  const auto parsed = call().parse("", "c").now();
  if (parsed) return true;
  CHECK(parsed.error().status() == KARYON_UNSUPPORTED);
  CHECK(parsed.error().message().find("no syntax trees") != std::string::npos);
  WARN("left out: this build has no grammars");
  return false;
}

std::vector<std::string> texts(const karyon::organelle_result& r) {
  const auto joined = get<karyon::view>(r);
  std::vector<std::string> all;
  for (const auto one : rz::texts_of(joined)) all.emplace_back(one);
  return all;
}
using list = std::vector<std::string>;

/// The nodes that have a name, as "role name", in order.
list named(const karyon::organelle_result& r, const std::string& text) {
  const auto nodes = get<karyon::columns>(r);
  const auto c = rz::syntax_columns::of(nodes).value();
  list found;
  for (std::size_t i = 0; i < c.role.size(); ++i) {
    if (c.role[i] != 0) {
      found.push_back(std::to_string(c.role[i]) + " " + text.substr(c.name_from[i], c.name_to[i] - c.name_from[i]));
    }
  }
  return found;
}

}  // namespace

TEST_CASE("the scanner's marks are offsets into the caller's text, and a fault is a status with its place") {
  const auto marks = get<karyon::view>(call().scan_json(R"({"a": [1]})").now());
  const auto all = marks.elements<std::uint32_t>();
  CHECK(std::vector<std::uint32_t>(all.begin(), all.end()) == std::vector<std::uint32_t>{0, 1, 4, 6, 7, 8, 9});
  CHECK(get<karyon::view>(call().scan_c("f(x);").now()).size() == 5 * sizeof(std::uint32_t));
  CHECK(call().scan_c("don't\n").now().error().status() == KARYON_CORRUPT);
  CHECK(call().scan_c("don't\n", true).now().has_value());
  CHECK(call().scan_json("\"\xff\"").now().error().message().find('1') != std::string::npos);
}

TEST_CASE("a text is parsed to a handle, and an edit to another one, which leaves the first as it was") {
  if (!has_trees()) return;
  const std::string text = "#include <a.h>\nint f(int x) { return g(x); }\n";
  const auto tree = get<handle>(call().parse(text, "c").now());
  CHECK(tree.type_name() == "rhizome.syntax");
  CHECK(named(call().syntax_nodes(tree).now(), text) == list{"3 a.h", "1 f", "2 g"});
  CHECK(get<karyon::view>(call().syntax_text(tree).now()).text() == text);
  CHECK_FALSE(get<bool>(call().syntax_text(tree).now(), 1));
  CHECK(get<std::uint64_t>(call().syntax_nodes(tree, true).now(), 1) > 20);

  const auto at = static_cast<std::uint32_t>(text.find("g(x)"));
  const auto edited = get<handle>(call().edit(tree, at, at + 1, "longer").now());
  const std::string after = std::string(get<karyon::view>(call().syntax_text(edited).now()).text());
  CHECK(after == "#include <a.h>\nint f(int x) { return longer(x); }\n");
  CHECK(named(call().syntax_nodes(edited).now(), after) == list{"3 a.h", "1 f", "2 longer"});
  CHECK(named(call().syntax_nodes(tree).now(), text) == list{"3 a.h", "1 f", "2 g"});
  CHECK(call().edit(tree, 1U, 1000U, "").now().error().status() == KARYON_INVALID_ARGUMENT);

  const auto changes = call().syntax_diff(tree, edited).now();
  const auto c = rz::syntax_columns::of(get<karyon::columns>(changes)).value();
  CHECK(std::vector<std::uint32_t>(c.last.begin(), c.last.end()) == std::vector<std::uint32_t>{0, 1});
  CHECK(get<std::uint64_t>(changes, 1) == 3);  // the whole, the include, and f
}

TEST_CASE("a file is parsed by its name's end or by the language that is given, or refused by status") {
  if (!has_trees()) return;
  temporary_tree files;
  files.write("a.c", "int class;\n");
  files.write("b", "class c {};\n");
  CHECK(call().parse_file(files.path("a.c")).now().has_value());
  CHECK(named(call().syntax_nodes(get<handle>(call().parse_file(files.path("b"), "cpp").now())).now(),
              "class c {};\n") == list{"1 c"});
  CHECK(call().parse_file(files.path("b")).now().error().status() == KARYON_UNSUPPORTED);
  CHECK(call().parse_file(files.path("none.c")).now().error().status() == KARYON_NOT_FOUND);
  CHECK(call().parse("\xff", "c").now().error().status() == KARYON_CORRUPT);
  CHECK(call().syntax_nodes(get<handle>(rz::functions::of(engine()).value().make().now())).now().error().status() ==
        KARYON_INVALID_ARGUMENT);
}

TEST_CASE("programs in a graph answer who defines, uses, calls and includes, and what a change touches, at each time") {
  if (!has_trees()) return;
  const auto graphs = rz::functions::of(engine()).value();
  const auto plain = get<handle>(graphs.make().now());
  CHECK(call().code(plain).now().error().status() == KARYON_INVALID_ARGUMENT);  // it has no parallel arcs
  const auto graph = get<handle>(graphs.make(std::monostate(), false, false).now());
  const auto code = get<handle>(call().code(graph).now());
  const auto put = [&](const char* path, const char* text, std::int64_t since) {
    const auto tree = get<handle>(call().parse(text, path).now());
    return call().code_put(code, path, tree, since).now();
  };
  CHECK(std::holds_alternative<std::monostate>(call().code_last(code, "a.h").now().value()[0]));
  REQUIRE(put("a.h", "int f() { return 1; }\n", 10));
  REQUIRE(put("b.h", "#include \"a.h\"\n", 10));
  REQUIRE(put("c.c", "#include \"b.h\"\n", 10));
  const auto recorded = get<std::uint64_t>(put("d.c", "int g() { return f(); }\n", 10), 4);
  REQUIRE(put("a.h", "int h() { return 1; }\n", 20));
  REQUIRE(call().code_remove(code, "b.h", 30).now());
  CHECK(put("a.h", "", 20).error().status() == KARYON_INVALID_ARGUMENT);
  CHECK(get<std::int64_t>(call().code_last(code, "a.h").now()) == 20);

  CHECK(texts(call().code_defined_in(code, "a.h").now()) == list{"h"});
  CHECK(texts(call().code_defined_in(code, "a.h", 15).now()) == list{"f"});
  CHECK(texts(call().code_defined_in(code, "a.h", 25, recorded).now()) == list{"f"});  // as was known then
  CHECK(texts(call().code_definers(code, "f", 15).now()) == list{"a.h"});
  CHECK(texts(call().code_definers(code, "f").now()).empty());
  CHECK(texts(call().code_users(code, "f").now()) == list{"d.c"});
  CHECK(texts(call().code_users(code, "f", 15).now()) == list{"a.h", "d.c"});
  CHECK(texts(call().code_callers(code, "f").now()) == list{"d.c", "g"});
  CHECK(texts(call().code_includers(code, "a.h", 25).now()) == list{"b.h"});
  const auto touched = call().code_impact(code, "a.h", 15).now();
  CHECK(texts(touched) == list{"b.h", "d.c", "c.c"});
  const auto columns = get<karyon::columns>(touched, 1);
  const auto* const distance = static_cast<const std::uint32_t*>(columns.array()->children[0]->buffers[1]);
  const auto* const includes = static_cast<const std::uint32_t*>(columns.array()->children[1]->buffers[1]);
  CHECK(std::vector<std::uint32_t>(distance, distance + 3) == std::vector<std::uint32_t>{1, 1, 2});
  CHECK(std::vector<std::uint32_t>(includes, includes + 3) == std::vector<std::uint32_t>{1, 0, 1});
  CHECK(texts(call().code_impact(code, "a.h").now()).empty());
  CHECK(call().code_impact(code, "none").now().error().status() == KARYON_NOT_FOUND);
  CHECK(call().code_users(code, "f", 15, 1'000'000).now().error().status() == KARYON_INVALID_ARGUMENT);
  // The graph itself shows what was put: two versions of a file differ by arcs.
  const auto now = get<handle>(graphs.snapshot(graph).now());
  CHECK(get<karyon::columns>(graphs.diff(now, recorded, recorded + 1).now()).rows() > 0);
}

TEST_CASE("the engine is found from the library or the program of an installation, wherever that was moved to") {
  temporary_tree tree;
  tree.write("moved/lib/x86/karyon/rhizome_engine.so", "");
  tree.write("moved/lib/x86/libkaryon_organelle.so", "");
  tree.write("moved/bin/karyon", "");
  tree.write("other/bin/program", "");
  const auto found = [&](const char* own) {
    return rz::detail::find_engine(tree.path(own), "lib/x86", "bin", "/made/lib/karyon");
  };
  const std::string engine_file = tree.path("moved/lib/x86/karyon/rhizome_engine.so");
  CHECK(found("moved/lib/x86/libkaryon_organelle.so") == engine_file);
  CHECK(found("moved/bin/karyon") == engine_file);
  CHECK(found("other/bin/program") == "/made/lib/karyon/rhizome_engine.so");
  CHECK(found("moved/elsewhere/program") == "/made/lib/karyon/rhizome_engine.so");
  CHECK(rz::detail::find_engine(tree.path("moved/bin/karyon"), "/lib/x86", "bin", "/made") ==
        "/made/rhizome_engine.so");
  CHECK(rz::detail::find_engine("", "lib", "bin", "/made") == "/made/rhizome_engine.so");
  CHECK(std::filesystem::exists(rz::detail::own_file()));
}
