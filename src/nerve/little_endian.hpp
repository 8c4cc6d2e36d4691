// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstring>

namespace karyon::detail {

/// Writes an unsigned number at `at`, least significant byte first, whatever the machine; `at` need not be aligned.
template <std::unsigned_integral Number>
void store_le(std::byte* at, Number value) noexcept {
  if constexpr (std::endian::native == std::endian::little) {
    std::memcpy(at, &value, sizeof value);
  } else {
    for (std::size_t i = 0; i < sizeof value; ++i) at[i] = static_cast<std::byte>((value >> (8 * i)) & 0xFFU);
  }
}

/// Reads what store_le wrote.
template <std::unsigned_integral Number>
[[nodiscard]] Number load_le(const std::byte* at) noexcept {
  Number value = 0;
  if constexpr (std::endian::native == std::endian::little) {
    std::memcpy(&value, at, sizeof value);
  } else {
    for (std::size_t i = sizeof value; i > 0; --i)
      value = static_cast<Number>(value << 8U | static_cast<Number>(at[i - 1]));
  }
  return value;
}

}  // namespace karyon::detail
