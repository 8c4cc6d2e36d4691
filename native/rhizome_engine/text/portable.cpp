// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "text/block.hpp"

namespace rhizome {
namespace {

using byte_classes = std::array<std::uint8_t, 256>;

// One bit a class; the position is the order of the masks' fields.
constexpr byte_classes json_classes = [] {
  byte_classes table{};
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const std::string_view operators = "{}[],:";
    const std::string_view blank = " \t\n\r";
    const auto is_operator = operators.find(static_cast<char>(byte)) != std::string_view::npos;
    const auto is_blank = blank.find(static_cast<char>(byte)) != std::string_view::npos;
    table[byte] = static_cast<std::uint8_t>((is_operator ? 1 : 0) | (is_operator || is_blank ? 0 : 2) |
                                            (byte == '"' ? 4 : 0) | (byte == '\\' ? 8 : 0) | (byte < 0x20 ? 16 : 0));
  }
  return table;
}();

constexpr byte_classes c_classes = [] {
  byte_classes table{};
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const std::string_view operators = "(){}[],;:";
    const auto lower = byte | 0x20;
    const auto is_word =
        (lower >= 'a' && lower <= 'z') || (byte >= '0' && byte <= '9') || byte == '_' || byte == '$' || byte > 0x7F;
    table[byte] = static_cast<std::uint8_t>(
        (operators.find(static_cast<char>(byte)) != std::string_view::npos ? 1 : 0) | (is_word ? 2 : 0) |
        (byte == '"' || byte == '\'' ? 4 : 0) | (byte == '\\' ? 8 : 0) | (byte == '/' ? 16 : 0) |
        (byte == '*' ? 32 : 0) | (byte == '\n' ? 64 : 0) | (byte == '#' ? 128 : 0));
  }
  return table;
}();

/// The classes of a block by class: bit i of the k-th word is bit k of the i-th byte's classes. Eight bytes at a time, as the
/// transposition of a matrix of 8 by 8 bits (Warren, "Hacker's Delight", 7-3).
[[gnu::always_inline]] inline std::array<std::uint64_t, 8> classify(const char* block, const byte_classes& classes) {
  std::array<std::uint64_t, 8> masks{};
  for (unsigned group = 0; group < 8; ++group) {
    std::uint64_t bits = 0;
    for (unsigned i = 0; i < 8; ++i) {
      bits |= std::uint64_t{classes[static_cast<unsigned char>(block[8 * group + i])]} << (8 * i);
    }
    auto swapped = (bits ^ bits >> 7) & 0x00AA00AA00AA00AA;
    bits ^= swapped ^ swapped << 7;
    swapped = (bits ^ bits >> 14) & 0x0000CCCC0000CCCC;
    bits ^= swapped ^ swapped << 14;
    swapped = (bits ^ bits >> 28) & 0x00000000F0F0F0F0;
    bits ^= swapped ^ swapped << 28;
    for (unsigned k = 0; k < 8; ++k) {
      masks[k] |= (bits >> (8 * k) & 0xFF) << (8 * group);
    }
  }
  return masks;
}

/// Each bit becomes the parity of itself and all lower ones.
std::uint64_t parity_prefix(std::uint64_t bits) {
  for (unsigned shift = 1; shift < 64; shift *= 2) {
    bits ^= bits << shift;
  }
  return bits;
}

/// Length of the character that begins at `at`, or 0. The ranges are those of the Unicode standard's table 3-7.
std::size_t character_bytes(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) -> unsigned {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0;
  };
  const auto tail = [&](std::size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const auto lead = byte(0);
  if (lead < 0x80) {
    return 1;
  }
  if (lead >= 0xC2 && lead <= 0xDF) {
    return tail(1) ? 2 : 0;
  }
  if (lead >= 0xE0 && lead <= 0xEF) {
    const bool second = tail(1) && (lead != 0xE0 || byte(1) >= 0xA0) && (lead != 0xED || byte(1) <= 0x9F);
    return second && tail(2) ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    const bool second = tail(1) && (lead != 0xF0 || byte(1) >= 0x90) && (lead != 0xF4 || byte(1) <= 0x8F);
    return second && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

std::uint32_t* json_portable(const char* first, std::size_t blocks, std::uint32_t offset, json_state& state,
                             std::uint32_t* out) {
  for (std::size_t i = 0; i < blocks; ++i) {
    const auto classes = classify(first + i * block_bytes, json_classes);
    const json_masks masks{classes[0], classes[1], classes[2], classes[3], classes[4]};
    const auto quotes = masks.quote & ~escaped_bytes(masks.backslash, state.escape);
    const auto inside = parity_prefix(quotes) ^ state.in_string;
    out = write_marks(json_marks(masks, quotes, inside, offset, state), offset, out);
    offset += block_bytes;
  }
  return out;
}

void classify_c_portable(const char* first, std::size_t blocks, c_masks* out) {
  for (std::size_t i = 0; i < blocks; ++i) {
    const auto classes = classify(first + i * block_bytes, c_classes);
    out[i] = {classes[0], classes[1], classes[2], classes[3], classes[4], classes[5], classes[6], classes[7]};
  }
}

std::size_t utf8_fault(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    std::uint64_t eight = 0;
    if (text.size() - at >= sizeof eight) {
      std::memcpy(&eight, text.data() + at, sizeof eight);
      if ((eight & 0x8080808080808080) == 0) {
        at += sizeof eight;
        continue;
      }
    }
    const auto length = character_bytes(text, at);
    if (length == 0) {
      return at;
    }
    at += length;
  }
  return text.size();
}

bool utf8_portable(std::string_view text) { return utf8_fault(text) == text.size(); }

}  // namespace rhizome
