// SPDX-License-Identifier: Apache-2.0
#pragma once

struct TSLanguage;  // of tree-sitter

namespace rhizome {

/// The same grammar with a table that is quicker to read. tree-sitter's generator writes most states of a parser as lists of the symbols that
/// they take, which the library searches from the begin for each token and each reduction: a third of all parsing time with C++. Here each
/// state has a row with a place for every symbol, as the states that take many have it anyway: 9 MB for C++, 1.5 MB for C.
///
/// Lives for ever: make one a grammar. The grammar itself when it is not of ABI 14, whose tables these are, or there is no memory.
[[nodiscard]] const TSLanguage* with_dense_table(const TSLanguage* grammar) noexcept;

}  // namespace rhizome
