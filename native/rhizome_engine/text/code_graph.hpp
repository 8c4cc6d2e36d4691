// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/types.hpp"
#include "store/store.hpp"
#include "text/syntax.hpp"

namespace rhizome {

/// What putting a version of a file into the graph changed.
struct code_change {
  vertex file = no_vertex;
  std::uint32_t begun = 0;  ///< Nodes that are new, that go on, and that ended.
  std::uint32_t kept = 0;
  std::uint32_t ended = 0;
  commit_number commit = 0;
};

/// When a question is about: as the world was at `valid`, as far as was recorded at commit `recorded`.
struct code_moment {
  time_us valid = end_of_time - 1;  ///< The default: what is still true.
  std::optional<commit_number> recorded;
};

/// A node as the graph has it.
struct code_node {
  std::uint32_t depth = 0;
  syntax_kind kind = 0;
  std::uint32_t offset = 0;  ///< From its parent's begin.
  std::uint32_t length = 0;
  std::string name;

  friend auto operator<=>(const code_node&, const code_node&) = default;
};

struct code_place {
  std::string file;
  std::string definition;  ///< The innermost one around it; empty: none.

  friend auto operator<=>(const code_place&, const code_place&) = default;
};

/// Why a file is touched by a change of another one.
struct code_effect {
  std::string file;
  std::uint32_t distance = 0;  ///< 1: directly.
  bool includes = false;       ///< It includes a file on the way; else it calls what one defines, by name.

  friend bool operator==(const code_effect&, const code_effect&) = default;
};

/// Programs in a store: their files, what is in them, and what names what, at all times. There is no text in between: nodes of syntax
/// trees become vertices.
///
///     child     file -> the root of its tree; node -> node within it
///     defines   file -> definition
///     named     definition or identifier -> name
///     calls     call -> name
///     includes  include -> path, as it is written, but for "./" and "../" at its begin
///     uses      file -> name: of an outline, each name that its text has anywhere
///
/// A vertex of a node has the property `syntax`: kind (16 bits), offset from the parent's begin (24), length in bytes (24). Files,
/// names and paths have `name`. Names and paths are there once for all files; they have no valid time.
///
/// Valid time: the first version of a file is true from the time that it is put with, until the next version's. Nodes that are
/// the same in both (match_syntax) go on being the same vertex; of those that ended, the arc that leads into the subtree ends, and
/// the arcs `defines`, `calls` and `includes` of all of it. An arc `uses` is true as long as some version in a row has the name. Arcs within a subtree that begins or ends as a whole have no times
/// of their own: they are true as long as it can be reached. Transaction time is when it was put.
///
/// A name may be used again after a time without it, by another arc of the same ends: the store takes parallel arcs
/// (store_options::unique_arcs = false).
///
/// It keeps, outside of the graph, the newest version of each file and the vertices of names: so one object writes a store's
/// programs for as long as the store lives. One thread at a time writes, and nobody asks meanwhile; any number of threads ask.
class code_graph {
public:
  /// Names what it needs in the store, which outlives it. errc::invalid_argument: a store of unique arcs; limit, read_only.
  [[nodiscard]] static result<code_graph> over(store& graph);

  /// The version of a file that is true from `since` on. One transaction. errc::invalid_argument: not later than the file's last
  /// version, or of another language or detail; and what the store says, in which case nothing has changed.
  [[nodiscard]] result<code_change> put(std::string_view path, syntax version, time_us since);
  /// The file is gone from `since` on. errc::not_found.
  [[nodiscard]] result<code_change> remove(std::string_view path, time_us since);

  /// The time of the file's newest version or removal; none: it was never put.
  [[nodiscard]] std::optional<time_us> last_change(std::string_view path) const;

  /// The names of what a file defines, in order. errc::not_found: no such file, ever; then too below.
  [[nodiscard]] result<std::vector<std::string>> defined_in(std::string_view path, const code_moment& at) const;
  /// The files that define the name.
  [[nodiscard]] result<std::vector<std::string>> definers(std::string_view name, const code_moment& at) const;
  /// Where the name is called.
  [[nodiscard]] result<std::vector<code_place>> callers(std::string_view name, const code_moment& at) const;
  /// The files whose text has the name, be it defined, called or otherwise used there.
  [[nodiscard]] result<std::vector<std::string>> users(std::string_view name, const code_moment& at) const;
  /// The files that include the file: those whose include's path is the end of its path.
  [[nodiscard]] result<std::vector<std::string>> includers(std::string_view path, const code_moment& at) const;
  /// The files that a change of the file may touch: those that include it, through others too, and those that call what it
  /// defines. By names alone, so it may name too many: a name that two files define is called from both. Nearest first.
  [[nodiscard]] result<std::vector<code_effect>> impact(std::string_view path, const code_moment& at) const;
  /// The nodes of a file, parents first; empty when it was not there.
  [[nodiscard]] result<std::vector<code_node>> nodes_of(std::string_view path, const code_moment& at) const;

  [[nodiscard]] std::size_t files() const noexcept { return files_.size(); }

private:
  struct live_node {
    vertex self = no_vertex;
    vertex name = no_vertex;
    time_us since = 0;
  };
  struct live_use {
    vertex name = no_vertex;
    time_us since = 0;
  };
  struct file_record {
    vertex self = no_vertex;
    time_us last = beginning_of_time;
    std::optional<syntax> now;  // none: removed
    std::vector<live_node> live;
    std::vector<live_use> uses;  // of an outline; ascending by name
  };
  struct text_hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
  };
  template <class T>
  using by_text = std::unordered_map<std::string, T, text_hash, std::equal_to<>>;
  class writer;
  class reader;

  explicit code_graph(store& graph) : store_(&graph) {}

  store* store_;
  label child_ = 0;
  label defines_ = 0;
  label named_ = 0;
  label calls_ = 0;
  label includes_ = 0;
  label uses_ = 0;
  property_key name_key_ = 0;
  property_key syntax_key_ = 0;
  by_text<file_record> files_;
  by_text<vertex> names_;
  by_text<vertex> paths_;
};

}  // namespace rhizome
