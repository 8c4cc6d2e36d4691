// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/characters.hpp"

#include <algorithm>

namespace karyon::tools {

namespace {

struct code_point_range {
  std::uint32_t first;
  std::uint32_t last;
};

// C11, annex D.1, in ascending order.
constexpr std::array<code_point_range, 45> identifier_ranges{{
    {0x00A8, 0x00A8},   {0x00AA, 0x00AA},   {0x00AD, 0x00AD},   {0x00AF, 0x00AF},   {0x00B2, 0x00B5},
    {0x00B7, 0x00BA},   {0x00BC, 0x00BE},   {0x00C0, 0x00D6},   {0x00D8, 0x00F6},   {0x00F8, 0x00FF},
    {0x0100, 0x167F},   {0x1681, 0x180D},   {0x180F, 0x1FFF},   {0x200B, 0x200D},   {0x202A, 0x202E},
    {0x203F, 0x2040},   {0x2054, 0x2054},   {0x2060, 0x206F},   {0x2070, 0x218F},   {0x2460, 0x24FF},
    {0x2776, 0x2793},   {0x2C00, 0x2DFF},   {0x2E80, 0x2FFF},   {0x3004, 0x3007},   {0x3021, 0x302F},
    {0x3031, 0x303F},   {0x3040, 0xD7FF},   {0xF900, 0xFD3D},   {0xFD40, 0xFDCF},   {0xFDF0, 0xFE44},
    {0xFE47, 0xFFFD},   {0x10000, 0x1FFFD}, {0x20000, 0x2FFFD}, {0x30000, 0x3FFFD}, {0x40000, 0x4FFFD},
    {0x50000, 0x5FFFD}, {0x60000, 0x6FFFD}, {0x70000, 0x7FFFD}, {0x80000, 0x8FFFD}, {0x90000, 0x9FFFD},
    {0xA0000, 0xAFFFD}, {0xB0000, 0xBFFFD}, {0xC0000, 0xCFFFD}, {0xD0000, 0xDFFFD}, {0xE0000, 0xEFFFD},
}};

bool is_continuation(unsigned char c) noexcept { return (c & 0xC0U) == 0x80U; }

int hex_value(char c) noexcept {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  const char lower = static_cast<char>(static_cast<unsigned char>(c) | 0x20U);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

}  // namespace

bool is_identifier_code_point(std::uint32_t code_point) noexcept {
  const auto* range = std::lower_bound(identifier_ranges.begin(), identifier_ranges.end(), code_point,
                                       [](const code_point_range& r, std::uint32_t c) { return r.last < c; });
  return range != identifier_ranges.end() && range->first <= code_point;
}

std::size_t decode_utf8(std::string_view text, std::uint32_t& code_point) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const std::size_t length = text.empty() || byte(0) < 0xC2 ? 0
                             : byte(0) < 0xE0               ? 2
                             : byte(0) < 0xF0               ? 3
                             : byte(0) < 0xF5               ? 4
                                                            : 0;
  if (length == 0 || text.size() < length) {
    return 0;
  }
  std::uint32_t value = byte(0) & (0xFFU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if (!is_continuation(byte(i))) {
      return 0;
    }
    value = value << 6U | (byte(i) & 0x3FU);
  }
  const bool overlong = (length == 3 && value < 0x800) || (length == 4 && value < 0x10000);
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (overlong || surrogate || value > 0x10FFFF) {
    return 0;
  }
  code_point = value;
  return length;
}

std::size_t decode_universal_name(std::string_view text, std::uint32_t& code_point) noexcept {
  if (text.size() < 2 || text[0] != '\\' || (text[1] != 'u' && text[1] != 'U')) {
    return 0;
  }
  const std::size_t length = text[1] == 'u' ? 6 : 10;
  if (text.size() < length) {
    return 0;
  }
  std::uint32_t value = 0;
  for (const char c : text.substr(2, length - 2)) {
    const int digit = hex_value(c);
    if (digit < 0) {
      return 0;
    }
    value = value << 4U | static_cast<std::uint32_t>(digit);
  }
  code_point = value;
  return length;
}

void append_utf8(std::string& text, std::uint32_t code_point) {
  const auto push = [&text](std::uint32_t byte) {
    text.push_back(static_cast<char>(static_cast<unsigned char>(byte)));
  };
  if (code_point < 0x80) {
    push(code_point);
    return;
  }
  if (code_point < 0x800) {
    push(0xC0U | code_point >> 6U);
  } else {
    if (code_point < 0x10000) {
      push(0xE0U | code_point >> 12U);
    } else {
      push(0xF0U | code_point >> 18U);
      push(0x80U | (code_point >> 12U & 0x3FU));
    }
    push(0x80U | (code_point >> 6U & 0x3FU));
  }
  push(0x80U | (code_point & 0x3FU));
}

}  // namespace karyon::tools
