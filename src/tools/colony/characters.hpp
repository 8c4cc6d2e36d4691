// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace karyon::tools {

// What the bytes of C and C++ text are, independent of any locale. Every function is pure and allocates nothing, but
// append_utf8, which may grow its string.

namespace detail {

enum character_class : std::uint8_t { class_start = 1, class_digit = 2, class_blank = 4 };

constexpr std::array<std::uint8_t, 256> make_character_classes() {
  std::array<std::uint8_t, 256> classes{};
  for (unsigned c = 'a'; c <= 'z'; ++c) {
    classes[c] = class_start;
    classes[c - 'a' + 'A'] = class_start;
  }
  classes['_'] = class_start;
  classes['$'] = class_start;
  for (unsigned c = '0'; c <= '9'; ++c) {
    classes[c] = class_digit;
  }
  for (const char c : {' ', '\t', '\v', '\f'}) {
    classes[static_cast<unsigned char>(c)] = class_blank;
  }
  return classes;
}

inline constexpr std::array<std::uint8_t, 256> character_classes = make_character_classes();

}  // namespace detail

constexpr bool is_digit(unsigned char c) noexcept { return c >= '0' && c <= '9'; }

/// White space within a line.
constexpr bool is_blank(unsigned char c) noexcept { return (detail::character_classes[c] & detail::class_blank) != 0; }

/// An ASCII letter, `_`, or `$`, which GCC and Clang accept in names.
constexpr bool is_identifier_start(unsigned char c) noexcept {
  return (detail::character_classes[c] & detail::class_start) != 0;
}

constexpr bool is_identifier_part(unsigned char c) noexcept {
  return (detail::character_classes[c] & (detail::class_start | detail::class_digit)) != 0;
}

/// True where C11 annex D.1 lets a name hold the code point (beyond ASCII).
[[nodiscard]] bool is_identifier_code_point(std::uint32_t code_point) noexcept;

/// Reads the well-formed UTF-8 sequence of at least two bytes that `text` starts with: its length, or 0.
[[nodiscard]] std::size_t decode_utf8(std::string_view text, std::uint32_t& code_point) noexcept;

/// Reads the universal character name (backslash, u, 4 digits or backslash, U, 8 digits) that `text` starts with: its
/// length, or 0.
[[nodiscard]] std::size_t decode_universal_name(std::string_view text, std::uint32_t& code_point) noexcept;

/// Appends a code point of at most 0x10FFFF.
void append_utf8(std::string& text, std::uint32_t code_point);

}  // namespace karyon::tools
