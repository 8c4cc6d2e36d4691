// SPDX-License-Identifier: Apache-2.0
//
// Stands in for ast.cpp and syntax.cpp in a build without libtree-sitter or without grammars: there are no trees, and whoever
// asks for one is told why.
#include <utility>

#include "text/ast.hpp"
#include "text/syntax.hpp"

namespace rhizome {
namespace {

tl::unexpected<error> left_out() {
  return fail(errc::unsupported,
              "this build has no syntax trees: when it was configured, libtree-sitter or the grammars that npm fetches "
              "were missing");
}

}  // namespace

struct ast::version {
  language of;
  std::shared_ptr<const std::string> text;
};
struct ast_cursor::place {};

result<language> language::of_grammar(const TSLanguage*, std::string_view) { return left_out(); }
result<language> language::c() { return left_out(); }
result<language> language::cpp() { return left_out(); }
result<language> language::of_file(std::string_view) { return left_out(); }
std::string_view language::kind_name(syntax_kind) const { return {}; }

ast_cursor::ast_cursor(std::unique_ptr<place> at) noexcept : place_(std::move(at)) {}
ast_cursor::ast_cursor(ast_cursor&& other) noexcept = default;
ast_cursor::~ast_cursor() = default;
ast_node ast_cursor::node() const { return {}; }
bool ast_cursor::to_child() { return false; }
bool ast_cursor::to_sibling() { return false; }
bool ast_cursor::to_parent() { return false; }

const std::string& ast::text() const noexcept { return *version_->text; }
std::shared_ptr<const std::string> ast::shared_text() const noexcept { return version_->text; }
const language& ast::of() const noexcept { return version_->of; }
ast_cursor ast::walk() const { return ast_cursor(std::make_unique<ast_cursor::place>()); }
bool ast::has_error() const { return false; }
result<ast> ast::edit(std::uint32_t, std::uint32_t, std::string_view) const { return left_out(); }
result<ast> parse(std::string, const language&) { return left_out(); }
result<ast> parse_file(const std::string&, const language&) { return left_out(); }

syntax syntax::of(const ast& tree, syntax_detail detail) { return syntax(tree, detail); }

}  // namespace rhizome
