// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <karyon/organelle/rhizome_steps.h>
#include <karyon/organelle/organelle.hpp>

/// The rhizome engine, a bitemporal graph, from a host's side. What it holds (graphs, transactions, snapshots) are handles; its functions
/// are called as those of every organelle, see organelle_function:
///
///     auto engine = karyon::organelle::load(karyon::rhizome::installed_engine());
///     auto rhizome = karyon::rhizome::functions::of(*engine).value();
///     auto graph = rhizome.make().now()->get<karyon::handle>().value();
///     auto found = co_await rhizome.pagerank(snapshot, label).on(this);
///
/// docs/howto/query-the-past.md
namespace karyon::rhizome {

/// Dense, from 0.
using vertex = std::uint32_t;
inline constexpr vertex no_vertex = 0xffff'ffff;
/// Transaction time: the number of a commit, from 1.
using commit_number = std::uint32_t;
/// Wall-clock and valid time: microseconds since 1970-01-01 UTC.
using time_us = std::int64_t;

/// What a condition of a query compares with.
enum class comparison : std::uint32_t {
  equal = RHIZOME_EQUAL,
  not_equal = RHIZOME_NOT_EQUAL,
  less = RHIZOME_LESS,
  greater = RHIZOME_GREATER
};

/// A question about a graph, put together from steps, each of which works on the rows that the one before it found:
///
///     const auto q = karyon::rhizome::query().in(includes).in(includes).where(language, comparison::equal, "C").distinct().limit(10);
///     auto r = rhizome.query(snapshot, std::vector{file}, q.steps(), q.texts()).now();
///
/// A row stands for a way, so a vertex that is reached on two ways is there twice, unless `distinct`. Nothing is looked at that the steps
/// behind do not ask for. A value; building one may throw std::bad_alloc. At most 1,000 steps.
class query {
public:
  /// Along arcs of a label, or against them: a row for each.
  query& out(std::uint32_t label) { return add(RHIZOME_OUT, label, 0); }
  query& in(std::uint32_t label) { return add(RHIZOME_IN, label, 0); }
  /// The steps behind it see the graph as it was recorded at a commit; or only what was true in the world at a moment.
  query& as_of(commit_number commit) { return add(RHIZOME_AS_OF, 0, commit); }
  query& valid_at(time_us moment) { return add(RHIZOME_VALID_AT, 0, moment); }
  /// Rows whose vertex has a property that compares so with a value of the same kind.
  query& where(std::uint32_t key, comparison how, std::int64_t number) {
    return add(RHIZOME_WHERE, key, number).compare(how, RHIZOME_INTEGER);
  }
  query& where(std::uint32_t key, comparison how, double number) {
    add(RHIZOME_WHERE, key, 0).compare(how, RHIZOME_REAL);
    steps_.back().real = number;
    return *this;
  }
  query& where(std::uint32_t key, comparison how, std::string_view text) {
    add(RHIZOME_WHERE, key, static_cast<std::int64_t>(text.size())).compare(how, RHIZOME_TEXT);
    steps_.back().text_at = texts_.size();
    texts_.append(text);
    return *this;
  }
  /// Rows whose vertex has the property at all.
  query& present(std::uint32_t key) {
    add(RHIZOME_WHERE, key, 0);
    steps_.back().compare = RHIZOME_PRESENT;
    return *this;
  }
  /// The vertex where a row is now becomes a column of the result.
  query& keep() { return add(RHIZOME_KEEP, 0, 0); }
  /// Of rows that are at the same vertex now, the first.
  query& distinct() { return add(RHIZOME_DISTINCT, 0, 0); }
  query& limit(std::uint32_t rows) { return add(RHIZOME_LIMIT, 0, rows); }

  /// For functions::query. Good as long as this.
  [[nodiscard]] const std::vector<rhizome_step>& steps() const noexcept { return steps_; }
  [[nodiscard]] const std::string& texts() const noexcept { return texts_; }

private:
  query& add(std::uint32_t kind, std::uint32_t name, std::int64_t number) {
    rhizome_step step{};
    step.kind = kind;
    step.name = name;
    step.number = number;
    steps_.push_back(step);
    return *this;
  }
  query& compare(comparison how, std::uint32_t type) {
    steps_.back().compare = static_cast<std::uint32_t>(how);
    steps_.back().type = type;
    return *this;
  }

  std::vector<rhizome_step> steps_;
  std::string texts_;
};

/// Where the engine lies that was installed with this library: found from where the library lies (or the program that it is linked into),
/// so also after the whole installation was moved. If there is none, where it would have been installed.
[[nodiscard]] KARYON_API const std::string& installed_engine();

/// The engine's functions, each a call site of its own. Arguments in brackets may be left out from the end, or given as std::monostate; `at`
/// stands for [commit], [moment]: a point on the two time axes, without which they read the snapshot's newest. [until], the last argument
/// of those that take it, makes of the moment a window [moment, until): arcs that were true at some moment of it. Vertices and labels are
/// unsigned numbers. Those marked * are stepped within a time budget in a cell, and go to another thread when they take longer.
///
///   graphs       make([memory_limit_bytes], [symmetric], [unique]) -> graph       begin(graph) -> transaction
///                snapshot(graph) -> snapshot     newest(graph) -> commit          memory(graph) -> bytes by category (memory_of)
///                compact(graph, budget_bytes) -> moved, left                      trim(graph, before) -> commit
///                open(directory, [memory_limit_bytes], [symmetric], [unique]) -> graph, commit, commits taken from the log
///                checkpoint(graph) -> commit                                      close(graph)
///   changes      name_label(transaction, name) -> label                           name_property(transaction, name) -> key
///                add_vertices(transaction, count) -> first                        remove_vertex(transaction, vertex)
///                add_arc(transaction, label, source, target, [from], [to])        remove_arc(transaction, label, source, target)
///                add_arcs(transaction, label, pairs of vertices, [skip])          set_valid(transaction, label, source, target, [from], [to])
///                remove_arcs(transaction, label, pairs of vertices, [skip])
///                set_property(transaction, vertex, key, value, [from], [to])      set_arc_property(transaction, label, source, target, key, value)
///                commit(transaction) -> commit                                    commit_durable(transaction) -> commit, on the disk
///   reads        degree(snapshot, label, vertex, [direction], at, [until]) -> number       neighbours(the same) -> view of vertices
///                contains(snapshot, label, source, target, [commit]) -> bool      vertices(snapshot) -> ids, alive
///                arcs(snapshot, label) -> number                                  commit_of(snapshot) -> commit
///                commit_at(snapshot, time) -> commit                              time_of(snapshot, commit) -> time
///                property(snapshot, vertex, key, at) -> value or none             arc_property(snapshot, label, source, target, key, [commit])
///                history(snapshot, label, source, target) -> columns              property_history(snapshot, vertex, key) -> columns
///                history_of(snapshot, label, vertex, [direction]) -> columns, and the commits at which the vertex came and went
///                diff(snapshot, from, to) -> columns                              find_label, find_property(snapshot, name) -> number or none
///   * algorithms pagerank(snapshot, label, at, [damping], [tolerance], [iterations], [share_dangling], [until])
///                -> columns, iterations
///                bfs(snapshot, label, at (both given), source, [until]) -> columns, reached
///                components(snapshot, label, at, [until]) -> columns, count       triangles(snapshot, label, at, [until]) -> number
///                khop(snapshot, label, at (both given), seeds, hops, [direction], [until]) -> view of vertices
///                shortest_paths(snapshot, label, at (both given), source, key, [otherwise], [target], [until]) -> columns, reached
///                An arc costs what its property `key` says, or `otherwise` without one; without both it can not be passed.
///                earliest_arrival(snapshot, label, source, after, to) -> columns, reached: by the commits that added the arcs
///                earliest_arrival_during(snapshot, label, source, from, to, [commit]) -> columns, reached: by when the arcs were true
///                query(snapshot, [start], steps, [texts], [count]) -> columns, rows
///
/// A transaction is used by one call at a time. Errors: those of the engine, as KARYON_... status (docs/howto/query-the-past.md).
struct KARYON_API functions {
  /// errc::not_found: the library is not the engine, or lacks a function.
  [[nodiscard]] static result<functions> of(const organelle& engine);

// The formatter never comes to an end with this list.
// clang-format off
#define KARYON_RHIZOME_FUNCTIONS(X) \
  X(make) X(open) X(checkpoint) X(close) X(commit_durable) X(begin) X(snapshot) X(newest) X(compact) X(trim) \
  X(memory) X(name_label) X(name_property) X(add_vertices) X(remove_vertex) X(add_arc) X(add_arcs) \
  X(remove_arcs) X(remove_arc) X(set_valid) X(set_property) X(set_arc_property) X(commit) X(degree) X(neighbours) \
  X(contains) X(vertices) X(arcs) X(commit_of) X(commit_at) X(time_of) X(property) X(arc_property) X(history) \
  X(history_of) X(property_history) X(diff) X(find_label) X(find_property) X(pagerank) X(bfs) X(components) \
  X(triangles) X(khop) X(shortest_paths) X(earliest_arrival) X(earliest_arrival_during) X(query)
// clang-format on
#define KARYON_RHIZOME_MEMBER(name) organelle_function name;
  KARYON_RHIZOME_FUNCTIONS(KARYON_RHIZOME_MEMBER)
#undef KARYON_RHIZOME_MEMBER
};

/// What a node of a syntax tree does to its program.
enum class syntax_role : std::uint32_t {
  none,
  definition,  ///< of a function, type, macro, namespace, enumerator
  call,
  include,
  name  ///< an identifier
};

/// The columns that syntax_nodes and syntax_diff give, of which all are as long: nodes in the order of a walk that meets parents first. Places
/// are offsets into the text. Good as long as the columns that it was made of.
struct syntax_columns {
  std::span<const std::uint32_t> kind;  ///< The grammar's number (kind_name).
  std::span<const std::uint32_t> role;  ///< A syntax_role.
  std::span<const std::uint32_t> from;
  std::span<const std::uint32_t> to;
  std::span<const std::uint32_t> name_from;  ///< What it defines, calls, includes or is; as name_to: nothing.
  std::span<const std::uint32_t> name_to;
  std::span<const std::uint32_t> last;  ///< syntax_nodes: the subtree's nodes; syntax_diff: 1: it began, 0: it ended.

  /// errc::invalid_argument: columns of something else.
  [[nodiscard]] KARYON_API static result<syntax_columns> of(const columns& nodes);
};

/// The texts of a view in which each is ended by a zero byte. Good as long as the view.
[[nodiscard]] KARYON_API std::vector<std::string_view> texts_of(const view& joined);

/// The engine's functions that read text: the structural scanner, syntax trees, and programs in a graph. Calls, arguments and errors as in
/// `functions`; a syntax, like a graph, is a handle that any cells may share. An engine that was built without grammars or without
/// libtree-sitter refuses parse and parse_file (KARYON_UNSUPPORTED; the sentence says what was missing).
///
///   scanner      scan_json(text) -> view of marks             scan_c(text, [lone_quotes]) -> view of marks
///                A mark is a 32-bit offset of a byte that gives the text its structure. KARYON_CORRUPT: not UTF-8, a literal without end.
///   syntax       parse(text, language) -> syntax              parse_file(path, [language]) -> syntax
///                edit(syntax, from, to, replacement) -> syntax: what lies outside of the change is taken over from the one before
///                syntax_text(syntax) -> view, whether it has faults       kind_name(syntax, kind) -> view
///                syntax_nodes(syntax, [all]) -> columns (syntax_columns), number of nodes in the tree
///                syntax_diff(earlier, later, [all]) -> columns, number of nodes that go on
///                A language is "c", "cpp", or a file's name, by whose end it is told. Without `all`: definitions, calls and includes.
///   programs     code(graph) -> code: of a graph made with unique = false; one for the graph's whole life
///                code_put(code, path, syntax, since, [all]) -> file, begun, kept, ended, commit: the file's version from a time on
///                code_remove(code, path, since) -> the same         code_last(code, path) -> time of its last version, or none
///                code_defined_in(code, path, [valid], [commit]) -> texts (texts_of)
///                code_definers, code_users(code, name, [valid], [commit]) -> texts: files
///                code_callers(code, name, [valid], [commit]) -> texts: file, definition around the call, file, ...
///                code_includers(code, path, [valid], [commit]) -> texts: files
///                code_impact(code, path, [valid], [commit]) -> texts: files, nearest first; columns distance and includes (1: by an include
///                of something on the way, 0: by a call of what the file defines)
///                The vertices and arcs that these make are read with `functions` as all others are.
struct KARYON_API code_functions {
  /// errc::not_found: the library is not the engine, or an older one.
  [[nodiscard]] static result<code_functions> of(const organelle& engine);

// clang-format off
#define KARYON_RHIZOME_CODE_FUNCTIONS(X) \
  X(scan_json) X(scan_c) X(parse) X(parse_file) X(edit) X(syntax_text) X(kind_name) X(syntax_nodes) X(syntax_diff) X(code) \
  X(code_put) X(code_remove) X(code_last) X(code_defined_in) X(code_definers) X(code_users) X(code_callers) \
  X(code_includers) X(code_impact)
// clang-format on
#define KARYON_RHIZOME_MEMBER(name) organelle_function name;
  KARYON_RHIZOME_CODE_FUNCTIONS(KARYON_RHIZOME_MEMBER)
#undef KARYON_RHIZOME_MEMBER
};

}  // namespace karyon::rhizome
