#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include <karyon/core/result.hpp>

#include "nerve/wire_types.hpp"

namespace karyon::detail {

/// What a node says of itself when a link begins.
struct node_hello {
  std::string node;
  std::vector<greeted_type> types;  // by number - 1
};

/// Greetings have a limit of their own, since they come before any credit.
inline constexpr std::size_t node_hello_bytes_max = 256 * 1024;

/// Of this process' list; `too_large` beyond the limit.
[[nodiscard]] result<std::vector<std::byte>> write_node_hello(const std::string& node);
/// invalid_argument, with what is wrong with it.
[[nodiscard]] result<node_hello> read_node_hello(std::span<const std::byte> hello);

}  // namespace karyon::detail
