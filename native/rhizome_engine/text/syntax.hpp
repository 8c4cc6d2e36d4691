// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/ast.hpp"

namespace rhizome {

/// What a node does to the program, told from its kind by the grammar's usual words, so that one table serves C, C++ and others.
enum class syntax_role : std::uint8_t {
  none,
  definition,  ///< of a function, type, macro, namespace, enumerator
  call,
  include,
  name,  ///< an identifier
};

/// A node of a tree that lies flat: nodes stand in the order of a walk that meets parents first, so a node's subtree is the
/// `size` nodes from it on, its first child the next one, and a child's sibling the one `size` further.
struct syntax_node {
  std::uint64_t hash =
      0;  ///< Of all that it holds, layout included; not of where it stands. Equal hashes are taken for equal subtrees.
  std::uint32_t from = 0;  ///< In the text.
  std::uint32_t length = 0;
  std::uint32_t offset = 0;  ///< From its parent's begin.
  std::uint32_t size = 1;
  text_slice name;             ///< What it defines, calls, includes (without quotes) or is. Empty for role none.
  std::uint32_t spelling = 0;  ///< That name's place in syntax::spellings; not for the roles none and include.
  syntax_kind kind = 0;
  syntax_role role = syntax_role::none;
};

enum class syntax_detail : std::uint8_t {
  outline,  ///< Definitions, calls and includes, each a child of the definition that it stands in.
  tree,     ///< Every named node.
};

/// One version of a text, ready to be compared and kept: a value, which does not keep the tree that it was made of. Any thread.
class syntax {
public:
  /// One walk over the tree. Allocates nothing but the nodes and a stack.
  [[nodiscard]] static syntax of(const ast& tree, syntax_detail detail);

  [[nodiscard]] const language& grammar() const noexcept { return language_; }
  [[nodiscard]] syntax_detail detail() const noexcept { return detail_; }
  /// The root first; never empty.
  [[nodiscard]] std::span<const syntax_node> nodes() const noexcept { return nodes_; }
  [[nodiscard]] std::string_view name(std::size_t node) const { return nodes_[node].name.of(*text_); }
  /// The distinct names in the text, each where it is first met: its identifiers, and what it defines and calls. Those of all of
  /// the text, also where an outline leaves their nodes out.
  [[nodiscard]] std::span<const text_slice> spellings() const noexcept { return spellings_; }
  [[nodiscard]] std::string_view spelling(std::size_t number) const { return spellings_[number].of(*text_); }
  /// Lets go of the text but for the names in it: slices of names are no places in the text then, all else stays.
  void keep_names_only();
  /// How many nodes of the syntax tree were walked, the tokens that are not kept included.
  [[nodiscard]] std::size_t walked() const noexcept { return walked_; }

private:
  syntax(const ast& tree, syntax_detail detail) : language_(tree.of()), text_(tree.shared_text()), detail_(detail) {}
  language language_;
  std::shared_ptr<const std::string> text_;
  syntax_detail detail_;
  std::vector<syntax_node> nodes_;
  std::vector<text_slice> spellings_;
  std::size_t walked_ = 0;

  friend class flattener;
};

inline constexpr std::uint32_t no_node = 0xFFFFFFFF;

/// Which nodes of a later version are nodes of an earlier one.
struct syntax_match {
  std::vector<std::uint32_t>
      earlier;             ///< For each node of the later version: that of the earlier one, or no_node: it began.
  std::vector<bool> kept;  ///< For each node of the earlier version: false: it ended.
};

/// Compares two versions from the root down. The roots are one. Of two nodes that are one, equal children (by hash) that stand in
/// the same order are one with all that is below them; between them, those of the same kind, role and name, in order, are one
/// that has changed. All others ended and began. What moved to another parent, or past an equal sibling, ends and begins.
/// (The top-down half of GumTree - Falleri et al. 2014 - with order kept, and containers matched by name.) Costs n log n at most.
[[nodiscard]] syntax_match match_syntax(const syntax& earlier, const syntax& later);

}  // namespace rhizome
