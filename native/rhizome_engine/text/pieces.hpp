// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "text/structure.hpp"

namespace rhizome {

/// A part of a text, [from, to): it points into the caller's buffer by offsets, so it stays right when the buffer moves.
struct text_slice {
  std::uint32_t from = 0;
  std::uint32_t to = 0;

  [[nodiscard]] std::string_view of(std::string_view text) const { return text.substr(from, to - from); }
  friend bool operator==(const text_slice&, const text_slice&) = default;
};

/// What the mark at `index` of a JSON text stands for: one structural byte, or a whole scalar (a string with its quotes).
[[nodiscard]] inline text_slice json_slice(std::string_view text, structure_scanner::marks marks, std::size_t index) {
  const auto from = marks[index];
  switch (text[from]) {
    case '{':
    case '}':
    case '[':
    case ']':
    case ',':
    case ':': return {from, from + 1};
    default: break;
  }
  auto to = index + 1 < marks.size() ? marks[index + 1] : static_cast<std::uint32_t>(text.size());
  while (text[to - 1] == ' ' || text[to - 1] == '\t' || text[to - 1] == '\n' || text[to - 1] == '\r') {
    --to;
  }
  return {from, to};
}

enum class c_piece_kind : std::uint8_t {
  word,
  number,
  punctuation,
  string,
  character,
  comment,
  directive,
  directive_end
};
struct c_piece {
  c_piece_kind kind{};
  text_slice where;
};

/// Walks the pieces of a C-like text in order. Costs nothing a piece but the search for a word's end.
class c_pieces {
public:
  c_pieces(std::string_view text, structure_scanner::marks marks) noexcept : text_(text), marks_(marks) {}

  /// The next piece; none at the end.
  [[nodiscard]] std::optional<c_piece> next() {
    if (next_ == marks_.size()) {
      return std::nullopt;
    }
    const auto from = marks_[next_++];
    switch (text_[from]) {
      case '"': return c_piece{c_piece_kind::string, {from, marks_[next_++] + 1}};
      case '\'': return c_piece{c_piece_kind::character, {from, marks_[next_++] + 1}};
      case '/': return c_piece{c_piece_kind::comment, {from, marks_[next_++] + 1}};
      case '#': return c_piece{c_piece_kind::directive, {from, from + 1}};
      case '\n': return c_piece{c_piece_kind::directive_end, {from, from + 1}};
      case '(':
      case ')':
      case '{':
      case '}':
      case '[':
      case ']':
      case ',':
      case ';':
      case ':': return c_piece{c_piece_kind::punctuation, {from, from + 1}};
      default: return word(from);
    }
  }

private:
  [[nodiscard]] static bool digit(char byte) noexcept { return byte >= '0' && byte <= '9'; }
  [[nodiscard]] static bool word_byte(char byte) noexcept {
    const auto lower = static_cast<char>(byte | 0x20);
    return (lower >= 'a' && lower <= 'z') || digit(byte) || byte == '_' || byte == '$' ||
           static_cast<signed char>(byte) < 0;
  }
  [[nodiscard]] c_piece word(std::uint32_t from) const {
    const bool number = digit(text_[from]);
    // A quote within a number is a digit separator unless a mark says that a literal begins there.
    const auto limit = next_ < marks_.size() ? marks_[next_] : static_cast<std::uint32_t>(text_.size());
    auto to = from + 1;
    while (to < limit && (word_byte(text_[to]) || (number && text_[to] == '\''))) {
      ++to;
    }
    return {number ? c_piece_kind::number : c_piece_kind::word, {from, to}};
  }

  std::string_view text_;
  structure_scanner::marks marks_;
  std::size_t next_ = 0;
};

}  // namespace rhizome
