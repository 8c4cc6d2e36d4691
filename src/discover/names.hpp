#pragma once

#include <cstdint>
#include <string_view>

#include <karyon/core/result.hpp>

#include "discover/flat_index.hpp"

namespace karyon::detail {

/// Whether it is UTF-8 of 1 to name_bytes_max bytes: invalid_argument, with `what` it would be the name of.
[[nodiscard]] result<void> check_name(std::string_view name, std::string_view what);
[[nodiscard]] bool is_utf8(std::string_view text) noexcept;

[[nodiscard]] inline std::uint64_t hash_of(std::string_view name) noexcept {
  return mixed_bits(std::hash<std::string_view>()(name));
}

}  // namespace karyon::detail
