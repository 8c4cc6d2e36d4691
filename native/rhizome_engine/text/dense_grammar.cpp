// SPDX-License-Identifier: Apache-2.0
#include "text/dense_grammar.hpp"

#include <tree_sitter/parser.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace rhizome {
namespace {

/// A state's list: how many groups; of each what is done, for how many symbols, and these. The first that has a symbol counts.
void spread(const std::uint16_t* list, std::uint16_t* row) {
  for (auto groups = *list++; groups > 0; --groups) {
    const auto entry = *list++;
    for (auto symbols = *list++; symbols > 0; --symbols) {
      auto& place = row[*list++];
      place = place == 0 ? entry : place;
    }
  }
}

}  // namespace

dense_grammar::dense_grammar(const TSLanguage* grammar) noexcept : grammar_(grammar) {
  constexpr std::uint32_t abi = 14;
  const std::size_t states = grammar->state_count;
  const std::size_t symbols = grammar->symbol_count;
  const std::size_t large = grammar->large_state_count;
  if (grammar->version != abi || large >= states) {
    return;
  }
  table_.reset(new (std::nothrow) std::uint16_t[states * symbols]());
  own_.reset(new (std::nothrow) TSLanguage(*grammar));
  if (table_ == nullptr || own_ == nullptr) {
    return;
  }
  std::copy_n(grammar->parse_table, large * symbols, table_.get());
  for (auto state = large; state < states; ++state) {
    spread(grammar->small_parse_table + grammar->small_parse_table_map[state - large],
           table_.get() + state * symbols);
  }
  own_->parse_table = table_.get();
  own_->large_state_count = grammar->state_count;
  grammar_ = own_.get();
}

dense_grammar::~dense_grammar() = default;

}  // namespace rhizome
