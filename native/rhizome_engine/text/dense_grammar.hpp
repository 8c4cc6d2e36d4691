// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

struct TSLanguage;  // of tree-sitter

namespace rhizome {

/// The same grammar with a table that is quicker to read. tree-sitter's generator writes most states of a parser as lists of the symbols that
/// they take, which the library searches from the begin for each token and each reduction: a third of all parsing time with C++. Here each
/// state has a row with a place for every symbol, as the states that take many have it anyway: 9 MB for C++, 1.5 MB for C.
///
/// Trees and parsers point to the grammar: make one a grammar, with static storage, so that it leaves with the engine that is unloaded.
class dense_grammar {
public:
  /// Stands for `grammar` itself when it is not of ABI 14, whose tables these are, or there is no memory.
  explicit dense_grammar(const TSLanguage* grammar) noexcept;
  ~dense_grammar();
  dense_grammar(const dense_grammar&) = delete;
  dense_grammar& operator=(const dense_grammar&) = delete;

  [[nodiscard]] const TSLanguage* get() const noexcept { return grammar_; }

private:
  std::unique_ptr<std::uint16_t[]> table_;
  std::unique_ptr<TSLanguage> own_;
  const TSLanguage* grammar_;
};

}  // namespace rhizome
