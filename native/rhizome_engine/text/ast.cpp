// SPDX-License-Identifier: Apache-2.0
#include "text/ast.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "text/ast_inside.hpp"
#include "text/block.hpp"
#include "text/dense_grammar.hpp"

extern "C" const TSLanguage* tree_sitter_c(void);
extern "C" const TSLanguage* tree_sitter_cpp(void);

namespace rhizome {
namespace {

constexpr std::size_t text_bytes_max = (std::size_t{1} << 24) - 1;  // places of nodes are kept in 24 bits

result<void> check(std::string_view text) {
  if (text.size() > text_bytes_max) {
    return fail(errc::limit, "a text of " + std::to_string(text.size()) +
                                 " bytes is too long for a syntax tree: 16 MiB is the most");
  }
  if (!(has_avx2() ? utf8_avx2 : utf8_portable)(text)) {
    return tl::unexpected(to_error({scan_fault::malformed_utf8, static_cast<std::uint32_t>(utf8_fault(text))}));
  }
  return {};
}

result<std::unique_ptr<TSTree, tree_deleter>> parse_text(const std::string& text, const language& grammar,
                                                         const TSTree* before) {
  const std::unique_ptr<TSParser, parser_deleter> parser(ts_parser_new());
  if (!ts_parser_set_language(parser.get(), grammar.grammar())) {
    return fail(errc::wrong_version, "tree-sitter refuses the grammar of " + std::string{grammar.name()});
  }
  std::unique_ptr<TSTree, tree_deleter> tree(
      ts_parser_parse_string(parser.get(), before, text.data(), static_cast<std::uint32_t>(text.size())));
  if (tree == nullptr) {
    return fail(errc::cancelled, "tree-sitter gave no tree");
  }
  return tree;
}

TSPoint point_at(std::string_view text, std::uint32_t offset) {
  TSPoint point{0, 0};
  std::size_t line = 0;
  for (auto at = text.find('\n'); at < offset; at = text.find('\n', at + 1)) {
    ++point.row;
    line = at + 1;
  }
  point.column = offset - static_cast<std::uint32_t>(line);
  return point;
}

}  // namespace

result<language> language::of_grammar(const TSLanguage* grammar, std::string_view name) {
  const auto found = ts_language_version(grammar);
  if (found < TREE_SITTER_MIN_COMPATIBLE_LANGUAGE_VERSION || found > TREE_SITTER_LANGUAGE_VERSION) {
    return fail(errc::wrong_version, "the grammar of " + std::string{name} + " was generated for ABI " +
                                         std::to_string(found) + " of tree-sitter, and this library reads " +
                                         std::to_string(TREE_SITTER_MIN_COMPATIBLE_LANGUAGE_VERSION) + " to " +
                                         std::to_string(TREE_SITTER_LANGUAGE_VERSION) +
                                         ": take another version of the grammar");
  }
  return language(grammar, name);
}

result<language> language::c() {
  static const dense_grammar grammar(tree_sitter_c());
  return of_grammar(grammar.get(), "c");
}
result<language> language::cpp() {
  static const dense_grammar grammar(tree_sitter_cpp());
  return of_grammar(grammar.get(), "cpp");
}

result<language> language::of_file(std::string_view path) {
  const auto dot = path.rfind('.');
  const auto extension = dot == std::string_view::npos ? std::string_view{} : path.substr(dot);
  if (extension == ".c") {
    return c();
  }
  for (const std::string_view known : {".h", ".cc", ".cpp", ".cxx", ".hpp", ".hh", ".hxx", ".ipp"}) {
    if (extension == known) {
      return cpp();
    }
  }
  return fail(errc::unsupported, "there is no grammar for files such as " + std::string{path});
}

std::string_view language::kind_name(syntax_kind kind) const {
  const char* name = ts_language_symbol_name(grammar_, kind);
  return name == nullptr ? std::string_view{} : std::string_view{name};
}

struct ast_cursor::place {
  std::shared_ptr<const ast::version> held;
  TSTreeCursor cursor;

  place(std::shared_ptr<const ast::version> version)
      : held(std::move(version)), cursor(ts_tree_cursor_new(ts_tree_root_node(held->tree.get()))) {}
  ~place() { ts_tree_cursor_delete(&cursor); }
  place(const place&) = delete;
  place& operator=(const place&) = delete;
};

ast_cursor::ast_cursor(std::unique_ptr<place> at) noexcept : place_(std::move(at)) {}
ast_cursor::ast_cursor(ast_cursor&& other) noexcept = default;
ast_cursor::~ast_cursor() = default;

ast_node ast_cursor::node() const {
  const auto node = ts_tree_cursor_current_node(&place_->cursor);
  return {ts_node_symbol(node),
          ts_tree_cursor_current_field_id(&place_->cursor),
          ts_node_is_named(node),
          ts_node_symbol(node) == static_cast<TSSymbol>(-1) || ts_node_is_missing(node),
          {ts_node_start_byte(node), ts_node_end_byte(node)}};
}
bool ast_cursor::to_child() { return ts_tree_cursor_goto_first_child(&place_->cursor); }
bool ast_cursor::to_sibling() { return ts_tree_cursor_goto_next_sibling(&place_->cursor); }
bool ast_cursor::to_parent() { return ts_tree_cursor_goto_parent(&place_->cursor); }

const std::string& ast::text() const noexcept { return *version_->text; }
std::shared_ptr<const std::string> ast::shared_text() const noexcept { return version_->text; }
const language& ast::of() const noexcept { return version_->of; }
ast_cursor ast::walk() const { return ast_cursor(std::make_unique<ast_cursor::place>(version_)); }
bool ast::has_error() const { return ts_node_has_error(ts_tree_root_node(version_->tree.get())); }

result<ast> ast::edit(std::uint32_t from, std::uint32_t to, std::string_view replacement) const {
  const auto& old = *version_->text;
  if (from > to || to > old.size()) {
    return fail(errc::invalid_argument, "bytes " + std::to_string(from) + " to " + std::to_string(to) +
                                            " are no part of a text of " + std::to_string(old.size()));
  }
  std::string text;
  text.reserve(old.size() - (to - from) + replacement.size());
  text.append(old, 0, from).append(replacement).append(old, to, std::string::npos);
  if (auto good = check(text); !good) {
    return tl::unexpected(good.error());
  }
  const auto end = from + static_cast<std::uint32_t>(replacement.size());
  // The old tree is told where it was edited; a copy of it, which shares its nodes, since others may read the old one.
  const std::unique_ptr<TSTree, tree_deleter> before(ts_tree_copy(version_->tree.get()));
  const TSInputEdit change{from, to, end, point_at(old, from), point_at(old, to), point_at(text, end)};
  ts_tree_edit(before.get(), &change);
  auto tree = parse_text(text, version_->of, before.get());
  if (!tree) {
    return tl::unexpected(tree.error());
  }
  return ast(std::make_shared<version>(
      version{version_->of, std::make_shared<const std::string>(std::move(text)), std::move(*tree)}));
}

result<ast> parse(std::string text, const language& grammar) {
  if (auto good = check(text); !good) {
    return tl::unexpected(good.error());
  }
  auto tree = parse_text(text, grammar, nullptr);
  if (!tree) {
    return tl::unexpected(tree.error());
  }
  return ast(std::make_shared<ast::version>(
      ast::version{grammar, std::make_shared<const std::string>(std::move(text)), std::move(*tree)}));
}

result<ast> parse_file(const std::string& path, const language& grammar) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rbe"), std::fclose);
  if (file == nullptr) {
    return fail(errno == ENOENT ? errc::not_found : errc::io, path + ": " + std::strerror(errno));
  }
  std::string text;
  char buffer[64 * 1024];
  while (const auto got = std::fread(buffer, 1, sizeof buffer, file.get())) {
    text.append(buffer, got);
    if (text.size() > text_bytes_max) {
      break;  // parse says so
    }
  }
  if (std::ferror(file.get()) != 0) {
    return fail(errc::io, path + ": " + std::strerror(errno));
  }
  return parse(std::move(text), grammar);
}

}  // namespace rhizome
