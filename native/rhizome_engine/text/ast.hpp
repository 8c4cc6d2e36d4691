// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/types.hpp"
#include "text/pieces.hpp"

struct TSLanguage;  // of tree-sitter

namespace rhizome {

/// The number of a kind of nodes, which a language gives out: another language's numbers mean something else.
using syntax_kind = std::uint16_t;

/// A grammar. A small value, good for ever.
class language {
public:
  /// The two that the build brings (errc::unsupported: it has none; the sentence says what was missing).
  [[nodiscard]] static result<language> c();
  [[nodiscard]] static result<language> cpp();
  /// By a file's name: .c is C; .h, .cc, .cpp, .cxx, .hpp, .hh, .hxx, .ipp are C++, which reads most of C. errc::unsupported for others.
  [[nodiscard]] static result<language> of_file(std::string_view path);
  /// Any grammar that was generated for tree-sitter, which `name` is kept for and must outlive. errc::wrong_version when its
  /// tables are of an ABI that the library does not read.
  [[nodiscard]] static result<language> of_grammar(const TSLanguage* grammar, std::string_view name);

  [[nodiscard]] std::string_view name() const noexcept { return name_; }
  /// What a kind is called in the grammar, such as "function_definition".
  [[nodiscard]] std::string_view kind_name(syntax_kind kind) const;
  [[nodiscard]] const TSLanguage* grammar() const noexcept { return grammar_; }

  friend bool operator==(const language& a, const language& b) noexcept { return a.grammar_ == b.grammar_; }

private:
  language(const TSLanguage* grammar, std::string_view name) noexcept : grammar_(grammar), name_(name) {}
  const TSLanguage* grammar_;
  std::string_view name_;
};

/// Where a node stands and what it is. `named` nodes are those that the grammar has a rule for; the others are tokens such as "+".
struct ast_node {
  syntax_kind kind = 0;
  std::uint16_t field = 0;  ///< Which part of its parent it is; 0: none that has a name.
  bool named = false;
  bool error = false;  ///< The parser found no way to read it; what is in it is a guess.
  text_slice where;
};

/// A walk over the nodes of a tree, one step at a time, from the root. Keeps its tree; one thread at a time.
class ast_cursor {
public:
  ast_cursor(ast_cursor&& other) noexcept;
  ast_cursor(const ast_cursor&) = delete;
  ast_cursor& operator=(const ast_cursor&) = delete;
  ast_cursor& operator=(ast_cursor&&) = delete;
  ~ast_cursor();

  [[nodiscard]] ast_node node() const;
  /// Each says whether there is such a node; the cursor stays where there is none.
  bool to_child();
  bool to_sibling();
  bool to_parent();

private:
  friend class ast;
  struct place;
  explicit ast_cursor(std::unique_ptr<place> at) noexcept;
  std::unique_ptr<place> place_;
};

/// The syntax tree of one version of a text, with that text: an immutable value, whose copies share all. Any number of threads
/// may read it and its copies at a time. Slices of its nodes point into text().
class ast {
public:
  [[nodiscard]] const std::string& text() const noexcept;
  /// The text alone, for those who need the tree no longer.
  [[nodiscard]] std::shared_ptr<const std::string> shared_text() const noexcept;
  [[nodiscard]] const language& of() const noexcept;
  [[nodiscard]] ast_cursor walk() const;
  /// Whether something in the text could not be read.
  [[nodiscard]] bool has_error() const;

  /// The tree after the bytes [from, to) were replaced. What lies outside of the change is taken over from this one, which stays as
  /// it is: costs a copy of the text, and parsing about the change. errc::invalid_argument: not a part of the text; corrupt, limit.
  [[nodiscard]] result<ast> edit(std::uint32_t from, std::uint32_t to, std::string_view replacement) const;

  struct version;
  [[nodiscard]] const version& inside() const noexcept { return *version_; }

private:
  friend result<ast> parse(std::string text, const language& grammar);
  friend class ast_cursor;
  explicit ast(std::shared_ptr<const version> v) noexcept : version_(std::move(v)) {}
  std::shared_ptr<const version> version_;
};

/// A text's tree; there is one for every text, however broken. errc::corrupt: not UTF-8 (says where); limit: 16 MiB or more.
[[nodiscard]] result<ast> parse(std::string text, const language& grammar);
/// The same of a file: errc::io where it can not be read; not_found.
[[nodiscard]] result<ast> parse_file(const std::string& path, const language& grammar);

}  // namespace rhizome
