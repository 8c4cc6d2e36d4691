// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <mutex>
#include <shared_mutex>

#include "module/functions.hpp"
#include "module/objects.hpp"
#include "text/code_graph.hpp"
#include "text/structure.hpp"

namespace rhizome::module {
namespace {

/// A text with its syntax tree. Any thread.
struct syntax_object {
  static constexpr const char* type_name = "rhizome.syntax";
  explicit syntax_object(ast t) noexcept : tree(std::move(t)) {}
  const ast tree;
};

/// Offsets into a text that somebody else keeps.
struct marks_object {
  static constexpr const char* type_name = "rhizome.marks";
  std::vector<std::uint32_t> list;
};

/// The programs in a graph, which it keeps. Any thread; whoever writes waits for those who ask, and they for it.
struct code_object {
  static constexpr const char* type_name = "rhizome.code";
  code_object(code_graph c, graph_object* g) noexcept : code(std::move(c)), graph(g) { host->keep(g); }
  ~code_object() { host->release(graph); }
  code_object(const code_object&) = delete;
  code_object& operator=(const code_object&) = delete;

  std::shared_mutex lock;
  code_graph code;
  graph_object* const graph;
};

// ---- the structural scanner ----------------------------------------------------------------------------------------------

template <class Scan>
karyon_status scan(karyon_call* call, Scan scan_text) {
  return guarded(call, [&]() -> result<void> {
    structure_scanner scanner;
    const auto marks = scan_text(scanner, text(call, 0));
    if (!marks) return tl::unexpected(to_error(marks.error()));
    auto* const owner = make_resource<marks_object>();
    try {
      owner->list.assign(marks->begin(), marks->end());
    } catch (...) {
      host->release(owner);
      throw;
    }
    give_view(call, std::span<const std::uint32_t>(owner->list), owner);
    return {};
  });
}

/// scan_json(v text) -> v marks: offsets of 32 bits into the text
karyon_status scan_json(karyon_call* call) {
  return scan(call, [](structure_scanner& scanner, std::string_view json) { return scanner.json(json); });
}

/// scan_c(v text, B lone_quotes) -> v marks
karyon_status scan_c(karyon_call* call) {
  const c_scan_options options{has(call, 1) && call->arguments[1].as.u64 != 0};
  return scan(call, [options](structure_scanner& scanner, std::string_view c) { return scanner.c(c, options); });
}

// ---- syntax trees --------------------------------------------------------------------------------------------------------

/// "c", "cpp", or what a file's name says.
result<language> language_of(std::string_view name) {
  if (name == "c") return language::c();
  if (name == "cpp") return language::cpp();
  return language::of_file(name);
}

void give_syntax(karyon_call* call, result<ast>& tree) {
  give_resource(call, make_resource<syntax_object>(*std::move(tree)));
}

/// parse(v text, v language or a file's name) -> syntax
karyon_status parse_text(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(const language grammar, language_of(text(call, 1)));
    auto tree = parse(std::string(text(call, 0)), grammar);
    if (!tree) return tl::unexpected(tree.error());
    give_syntax(call, tree);
    return {};
  });
}

/// parse_file(v path, V language) -> syntax
karyon_status parse_a_file(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(const language grammar, language_of(has(call, 1) ? text(call, 1) : text(call, 0)));
    auto tree = parse_file(std::string(text(call, 0)), grammar);
    if (!tree) return tl::unexpected(tree.error());
    give_syntax(call, tree);
    return {};
  });
}

/// edit(syntax, u from, u to, v replacement) -> syntax
karyon_status edit(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(syntax_object * before, object<syntax_object>(call, 0));
    RHIZOME_TRY(const std::uint32_t from, number<std::uint32_t>(call, 1, "the begin of the change"));
    RHIZOME_TRY(const std::uint32_t to, number<std::uint32_t>(call, 2, "the end of the change"));
    auto tree = before->tree.edit(from, to, text(call, 3));
    if (!tree) return tl::unexpected(tree.error());
    give_syntax(call, tree);
    return {};
  });
}

/// syntax_text(syntax) -> v, b whether something in it could not be read
karyon_status syntax_text(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(syntax_object * s, object<syntax_object>(call, 0));
    const bool broken = s->tree.has_error();
    host->keep(s);
    give_view(call, std::span<const char>(s->tree.text()), s);
    give(call, broken);
    return {};
  });
}

/// kind_name(syntax, u kind) -> v
karyon_status kind_name(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(syntax_object * s, object<syntax_object>(call, 0));
    RHIZOME_TRY(const syntax_kind kind, number<syntax_kind>(call, 1, "the kind"));
    const auto name = s->tree.of().kind_name(kind);
    host->keep(s);
    give_view(call, std::span<const char>(name), s);
    return {};
  });
}

syntax_detail detail_at(const karyon_call* call, std::uint32_t i) {
  return has(call, i) && call->arguments[i].as.u64 != 0 ? syntax_detail::tree : syntax_detail::outline;
}

/// Columns of nodes, parents first.
class node_columns {
public:
  void add(const syntax_node& node) {
    kind_.push_back(node.kind);
    role_.push_back(static_cast<std::uint32_t>(node.role));
    from_.push_back(node.from);
    to_.push_back(node.from + node.length);
    name_from_.push_back(node.name.from);
    name_to_.push_back(node.name.to);
  }
  void move_into(arrow_table& table) && {
    table.add("kind", std::move(kind_));
    table.add("role", std::move(role_));
    table.add("from", std::move(from_));
    table.add("to", std::move(to_));
    table.add("name_from", std::move(name_from_));
    table.add("name_to", std::move(name_to_));
  }

private:
  std::vector<std::uint32_t> kind_, role_, from_, to_, name_from_, name_to_;
};

/// syntax_nodes(syntax, B all) -> c kind, role, from, to, name_from, name_to, size; u nodes that were walked
karyon_status syntax_nodes(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(syntax_object * s, object<syntax_object>(call, 0));
    const auto flat = syntax::of(s->tree, detail_at(call, 1));
    node_columns columns;
    std::vector<std::uint32_t> sizes;
    for (const auto& node : flat.nodes()) {
      columns.add(node);
      sizes.push_back(node.size);
    }
    arrow_table table;
    std::move(columns).move_into(table);
    table.add("size", std::move(sizes));
    RHIZOME_CHECK(give_columns(call, table));
    give(call, std::uint64_t{flat.walked()});
    return {};
  });
}

/// syntax_diff(syntax earlier, syntax later, B all) -> c kind, role, from, to, name_from, name_to, later (1: the node began, its places
/// are of the later text; 0: it ended); u nodes that go on
karyon_status syntax_diff(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(syntax_object * before, object<syntax_object>(call, 0));
    RHIZOME_TRY(syntax_object * after, object<syntax_object>(call, 1));
    if (!(before->tree.of() == after->tree.of())) {
      return fail(errc::invalid_argument, "the two texts are of different languages");
    }
    const auto earlier = syntax::of(before->tree, detail_at(call, 2));
    const auto later = syntax::of(after->tree, detail_at(call, 2));
    const auto match = match_syntax(earlier, later);
    node_columns columns;
    std::vector<std::uint32_t> is_later;
    std::uint64_t kept = 0;
    for (std::size_t i = 0; i < earlier.nodes().size(); ++i) {
      if (match.kept[i]) {
        ++kept;
      } else {
        columns.add(earlier.nodes()[i]);
        is_later.push_back(0);
      }
    }
    for (std::size_t i = 0; i < later.nodes().size(); ++i) {
      if (match.earlier[i] == no_node) {
        columns.add(later.nodes()[i]);
        is_later.push_back(1);
      }
    }
    arrow_table table;
    std::move(columns).move_into(table);
    table.add("later", std::move(is_later));
    RHIZOME_CHECK(give_columns(call, table));
    give(call, kept);
    return {};
  });
}

// ---- programs in a graph -------------------------------------------------------------------------------------------------

/// code(graph) -> code
karyon_status make_code(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(graph_object * graph, object<graph_object>(call, 0));
    RHIZOME_TRY(code_graph made, code_graph::over(graph->graph()));
    give_resource(call, make_resource<code_object>(std::move(made), graph));
    return {};
  });
}

void give_change(karyon_call* call, const code_change& change) {
  give(call, std::uint64_t{change.file});
  give(call, std::uint64_t{change.begun});
  give(call, std::uint64_t{change.kept});
  give(call, std::uint64_t{change.ended});
  give(call, std::uint64_t{change.commit});
}

/// code_put(code, v path, syntax, i since, B all) -> u file, u nodes that began, u that go on, u that ended, u commit
karyon_status code_put(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(code_object * c, object<code_object>(call, 0));
    RHIZOME_TRY(syntax_object * s, object<syntax_object>(call, 2));
    auto version = syntax::of(s->tree, detail_at(call, 4));
    const std::unique_lock writing(c->lock);
    RHIZOME_TRY(const code_change change, c->code.put(text(call, 1), std::move(version), call->arguments[3].as.i64));
    give_change(call, change);
    return {};
  });
}

/// code_remove(code, v path, i since) -> as code_put
karyon_status code_remove(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(code_object * c, object<code_object>(call, 0));
    const std::unique_lock writing(c->lock);
    RHIZOME_TRY(const code_change change, c->code.remove(text(call, 1), call->arguments[2].as.i64));
    give_change(call, change);
    return {};
  });
}

/// code_last(code, v path) -> i time of its newest version or removal, or none
karyon_status code_last(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(code_object * c, object<code_object>(call, 0));
    const std::shared_lock reading(c->lock);
    if (const auto last = c->code.last_change(text(call, 1))) {
      give(call, std::int64_t{*last});
    } else {
      give_none(call);
    }
    return {};
  });
}

/// Texts one after the other, each ended by a zero byte.
void give_texts(karyon_call* call, std::string joined) {
  auto* const owner = make_resource<text_object>(std::move(joined));
  give_view(call, std::span<const char>(owner->text), owner);
}
void append(std::string& joined, std::string_view one) {
  joined += one;
  joined += '\0';
}

/// A question about a name or a path: (code, v name, I valid time, U commit).
template <class Ask>
karyon_status ask(karyon_call* call, Ask question) {
  return guarded(call, [&]() -> result<void> {
    RHIZOME_TRY(code_object * c, object<code_object>(call, 0));
    code_moment at;
    if (has(call, 2)) at.valid = call->arguments[2].as.i64;
    if (has(call, 3)) {
      RHIZOME_TRY(at.recorded, number<commit_number>(call, 3, "the commit"));
      if (*at.recorded > c->graph->graph().newest()) {
        return fail(errc::invalid_argument, "the commit is later than the graph's newest");
      }
    }
    const std::shared_lock reading(c->lock);
    return question(c->code, text(call, 1), at);
  });
}

using list_question = result<std::vector<std::string>> (code_graph::*)(std::string_view, const code_moment&) const;
/// -> v texts
template <list_question Question>
karyon_status ask_list(karyon_call* call) {
  return ask(call, [call](const code_graph& code, std::string_view about, const code_moment& at) -> result<void> {
    RHIZOME_TRY(const auto list, (code.*Question)(about, at));
    std::string joined;
    for (const auto& one : list) append(joined, one);
    give_texts(call, std::move(joined));
    return {};
  });
}

/// callers(code, v name, I moment, U commit) -> v texts: file, definition, file, definition ...
karyon_status callers(karyon_call* call) {
  return ask(call, [call](const code_graph& code, std::string_view about, const code_moment& at) -> result<void> {
    RHIZOME_TRY(const auto list, code.callers(about, at));
    std::string joined;
    for (const auto& one : list) {
      append(joined, one.file);
      append(joined, one.definition);
    }
    give_texts(call, std::move(joined));
    return {};
  });
}

/// impact(code, v path, I moment, U commit) -> v files; c distance, includes (1: by an include, 0: by a call), in the same order
karyon_status impact(karyon_call* call) {
  return ask(call, [call](const code_graph& code, std::string_view about, const code_moment& at) -> result<void> {
    RHIZOME_TRY(const auto list, code.impact(about, at));
    std::string joined;
    std::vector<std::uint32_t> distances;
    std::vector<std::uint32_t> includes;
    for (const auto& one : list) {
      append(joined, one.file);
      distances.push_back(one.distance);
      includes.push_back(one.includes ? 1 : 0);
    }
    arrow_table table;
    table.add("distance", std::move(distances));
    table.add("includes", std::move(includes));
    give_texts(call, std::move(joined));
    auto done = give_columns(call, table);
    if (!done) host->release(call->results[--call->result_count].as.view.owner);
    return done;
  });
}

constexpr karyon_cost some_us{20'000, 0, KARYON_NO_ARGUMENT, 0, nullptr};
// By bench/run organelle (1 to 2 GB/s) and bench/run rhizome (a node every 4 bytes, 1.5 million nodes a second).
constexpr karyon_cost scanning{2'000, 1'000, 0, 0, nullptr};
constexpr karyon_cost parsing{50'000, 200'000, 0, 0, nullptr};

constexpr std::array code_rows{
    karyon_function{"scan_json", "v", "v", &scan_json, scanning, KARYON_RUN_AUTO, 0},
    karyon_function{"scan_c", "vB", "v", &scan_c, scanning, KARYON_RUN_AUTO, 0},
    karyon_function{"parse", "vv", "r", &parse_text, parsing, KARYON_RUN_AUTO, 0},
    karyon_function{"parse_file", "vV", "r", &parse_a_file, some_ms, KARYON_RUN_DIRTY_IO, 0},
    karyon_function{"edit", "ruuv", "r", &edit, some_ms, KARYON_RUN_AUTO, 0},
    karyon_function{"syntax_text", "r", "vb", &syntax_text, few_us, KARYON_RUN_INLINE, 0},
    karyon_function{"kind_name", "ru", "v", &kind_name, few_us, KARYON_RUN_INLINE, 0},
    karyon_function{"syntax_nodes", "rB", "cu", &syntax_nodes, some_ms, KARYON_RUN_AUTO, 0},
    karyon_function{"syntax_diff", "rrB", "cu", &syntax_diff, some_ms, KARYON_RUN_AUTO, 0},
    // All that may have to wait for a writer runs where waiting holds nobody up.
    karyon_function{"code", "r", "r", &make_code, some_us, KARYON_RUN_DIRTY_CPU, 0},
    karyon_function{"code_put", "rvriB", "uuuuu", &code_put, some_ms, KARYON_RUN_DIRTY_CPU, 0},
    karyon_function{"code_remove", "rvi", "uuuuu", &code_remove, some_ms, KARYON_RUN_DIRTY_CPU, 0},
    karyon_function{"code_last", "rv", "I", &code_last, few_us, KARYON_RUN_DIRTY_CPU, 0},
    karyon_function{"code_defined_in", "rvIU", "v", &ask_list<&code_graph::defined_in>, some_us, KARYON_RUN_DIRTY_CPU,
                    0},
    karyon_function{"code_definers", "rvIU", "v", &ask_list<&code_graph::definers>, some_us, KARYON_RUN_DIRTY_CPU, 0},
    karyon_function{"code_users", "rvIU", "v", &ask_list<&code_graph::users>, some_us, KARYON_RUN_DIRTY_CPU, 0},
    karyon_function{"code_callers", "rvIU", "v", &callers, some_us, KARYON_RUN_DIRTY_CPU, 0},
    karyon_function{"code_includers", "rvIU", "v", &ask_list<&code_graph::includers>, some_us, KARYON_RUN_DIRTY_CPU, 0},
    karyon_function{"code_impact", "rvIU", "vc", &impact, some_ms, KARYON_RUN_DIRTY_CPU, 0},
};

}  // namespace

std::span<const karyon_function> code_functions() noexcept { return code_rows; }

}  // namespace rhizome::module
