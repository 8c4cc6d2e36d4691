// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <tree_sitter/api.h>

#include <memory>
#include <string>

#include "text/ast.hpp"

namespace rhizome {

struct tree_deleter {
  void operator()(TSTree* tree) const noexcept { ts_tree_delete(tree); }
};
struct parser_deleter {
  void operator()(TSParser* parser) const noexcept { ts_parser_delete(parser); }
};

struct ast::version {
  language of;
  std::shared_ptr<const std::string> text;
  std::unique_ptr<TSTree, tree_deleter> tree;
};

}  // namespace rhizome
