// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "text/code_graph.hpp"

namespace rhizome {

/// The property `syntax`: 63..48 kind, 47..24 offset from the parent's begin, 23..0 length. Texts are shorter than 2^24 bytes.
[[nodiscard]] inline value pack(const syntax_node& node) {
  return static_cast<std::int64_t>(std::uint64_t{node.kind} << 48 | std::uint64_t{node.offset} << 24 | node.length);
}
[[nodiscard]] inline code_node unpack(std::int64_t packed) {
  const auto bits = static_cast<std::uint64_t>(packed);
  code_node node;
  node.kind = static_cast<syntax_kind>(bits >> 48);
  node.offset = static_cast<std::uint32_t>(bits >> 24 & 0xFFFFFF);
  node.length = static_cast<std::uint32_t>(bits & 0xFFFFFF);
  return node;
}

}  // namespace rhizome
