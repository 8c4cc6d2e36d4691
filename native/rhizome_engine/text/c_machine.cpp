// SPDX-License-Identifier: Apache-2.0
#include "text/c_machine.hpp"

namespace rhizome {
namespace {

bool is_digit(char byte) { return byte >= '0' && byte <= '9'; }

bool is_word(char byte) {
  const auto lower = static_cast<char>(byte | 0x20);
  return (lower >= 'a' && lower <= 'z') || is_digit(byte) || byte == '_' || byte == '$' ||
         static_cast<signed char>(byte) < 0;
}

/// All bits from that of `at` on.
std::uint64_t from_bit(std::uint64_t base, std::uint64_t at) { return ~std::uint64_t{0} << (at - base); }

std::uint64_t first_bit(std::uint64_t bits) { return static_cast<std::uint64_t>(std::countr_zero(bits)); }

}  // namespace

std::uint32_t* c_machine::step(std::uint64_t base, const c_masks& block, std::uint32_t* out) {
  marks_ = code_ = joined_ = 0;
  while (at_ < base + block_bytes && !fault_) {
    switch (place_) {
      case place::code: in_code(base, block); break;
      case place::literal: in_literal(base, block); break;
      case place::line_comment: in_line_comment(base, block, out); break;
      case place::block_comment: in_block_comment(base, block); break;
      case place::known_end: in_known_end(base); break;
    }
  }
  if (fault_) {
    return nullptr;
  }
  const auto word = block.word | joined_;
  const auto starts = word & ~(word << 1 | word_carry_);
  word_carry_ = word >> 63;
  return write_marks(marks_ | ((block.operators | starts) & code_), static_cast<std::uint32_t>(base), out);
}

std::uint32_t* c_machine::finish(std::uint32_t* out) {
  switch (place_) {
    case place::code: break;
    case place::line_comment: *out++ = static_cast<std::uint32_t>(text_.size() - 1); break;
    case place::literal: refuse(scan_fault::unterminated_string, opened_); break;
    case place::block_comment: refuse(scan_fault::unterminated_comment, opened_); break;
    case place::known_end: break;  // ends within the text, so a step has passed it
  }
  return out;
}

void c_machine::in_code(std::uint64_t base, const c_masks& block) {
  const auto live = from_bit(base, at_);
  const char after = byte(base + block_bytes);
  const auto second = (block.slash | block.star) >> 1 | std::uint64_t{after == '/' || after == '*'} << 63;
  const auto events = (block.quote | (block.slash & second) | (directive_ ? block.newline : block.hash)) & live;
  if (events == 0) {
    code_ |= live;
    at_ = base + block_bytes;
    return;
  }
  const auto at = base + first_bit(events);
  code_ |= live & ~from_bit(base, at);
  switch (text_[at]) {
    case '"':
    case '\'': quote(base, at); break;
    case '#': hash(base, at); break;
    case '\n':
      if (!escaped_newline(at)) {
        mark(base, at);
        directive_ = false;
      }
      at_ = at + 1;
      break;
    default:
      mark(base, at);
      opened_ = at;
      place_ = byte(at + 1) == '/' ? place::line_comment : place::block_comment;
      at_ = at + 2;
      break;
  }
}

void c_machine::in_literal(std::uint64_t base, const c_masks& block) {
  const auto events = (block.quote | block.backslash | block.newline) & from_bit(base, at_);
  if (events == 0) {
    at_ = base + block_bytes;
    return;
  }
  const auto at = base + first_bit(events);
  switch (text_[at]) {
    case '\\': at_ = at + (byte(at + 1) == '\r' && byte(at + 2) == '\n' ? 3 : 2); break;
    case '\n': refuse(scan_fault::unterminated_string, opened_); break;
    default:
      at_ = at + 1;
      if (text_[at] == text_[opened_]) {
        mark(base, at);
        place_ = place::code;
      }
      break;
  }
}

void c_machine::in_line_comment(std::uint64_t base, const c_masks& block, std::uint32_t*& out) {
  const auto events = block.newline & from_bit(base, at_);
  if (events == 0) {
    at_ = base + block_bytes;
    return;
  }
  const auto at = base + first_bit(events);
  if (escaped_newline(at)) {
    at_ = at + 1;
    return;
  }
  if (at == base) {  // its last byte lies in the block before, whose marks are written
    *out++ = static_cast<std::uint32_t>(at - 1);
  } else {
    mark(base, at - 1);
  }
  place_ = place::code;
  at_ = at;  // the newline itself may end a directive
}

void c_machine::in_block_comment(std::uint64_t base, const c_masks& block) {
  const auto second = block.slash >> 1 | std::uint64_t{byte(base + block_bytes) == '/'} << 63;
  const auto events = block.star & second & from_bit(base, at_);
  if (events == 0) {
    at_ = base + block_bytes;
    return;
  }
  at_ = closed_ = base + first_bit(events) + 1;  // the slash, which may be the next block's first byte
  place_ = place::known_end;
}

void c_machine::in_known_end(std::uint64_t base) {
  if (closed_ >= base + block_bytes) {
    at_ = base + block_bytes;
    return;
  }
  mark(base, closed_);
  at_ = closed_ + 1;
  place_ = place::code;
}

void c_machine::quote(std::uint64_t base, std::uint64_t at) {
  const bool apostrophe = text_[at] == '\'';
  at_ = at + 1;
  if (apostrophe && digit_separator(at)) {
    separator_ = at;
    joined_ |= std::uint64_t{1} << (at - base);
    return;
  }
  if (at < plain_until_[apostrophe ? 1 : 0]) {
    return;
  }
  if (!apostrophe && raw_string(at)) {
    if (!fault_) {
      mark(base, at);
      place_ = place::known_end;
    }
    return;
  }
  if ((directive_ || options_.lone_quotes) && !has_partner(at)) {
    return;
  }
  mark(base, at);
  opened_ = at;
  place_ = place::literal;
}

void c_machine::hash(std::uint64_t base, std::uint64_t at) {
  at_ = at + 1;
  auto before = at;
  while (before > 0 && (text_[before - 1] == ' ' || text_[before - 1] == '\t')) {
    --before;
  }
  if (before == 0 || text_[before - 1] == '\n') {
    mark(base, at);
    directive_ = true;
  }
}

/// Whether the apostrophe joins two parts of a number: the word before it begins with a digit, or after another such one.
bool c_machine::digit_separator(std::uint64_t at) const {
  auto begin = at;
  while (begin > 0 && is_word(text_[begin - 1])) {
    --begin;
  }
  return begin < at && (is_digit(text_[begin]) || (separator_ != 0 && begin == separator_ + 1));
}

/// Whether the quote begins a raw string; its end is then known, or refused.
bool c_machine::raw_string(std::uint64_t at) {
  if (at == 0 || text_[at - 1] != 'R') {
    return false;
  }
  auto begin = at;
  while (begin > 0 && at - begin < 4 && is_word(text_[begin - 1])) {
    --begin;
  }
  const auto prefix = text_.substr(begin, at - begin);
  if (prefix != "R" && prefix != "LR" && prefix != "uR" && prefix != "UR" && prefix != "u8R") {
    return false;
  }
  constexpr std::size_t delimiter_max = 16;
  std::string_view delimiter = text_.substr(at + 1, delimiter_max + 1);
  const auto open = delimiter.find_first_of("( )\\\n\t\v\f\"");
  if (open == std::string_view::npos || delimiter[open] != '(') {
    return false;
  }
  delimiter = delimiter.substr(0, open);
  for (auto end = text_.find(')', at + 2 + open); end != std::string_view::npos; end = text_.find(')', end + 1)) {
    const auto after = end + 1 + delimiter.size();
    if (text_.substr(end + 1, delimiter.size()) == delimiter && byte(after) == '"') {
      at_ = closed_ = after;
      return true;
    }
  }
  refuse(scan_fault::unterminated_string, at);
  return true;
}

/// Whether a quote has its partner on the same line, continued lines joined. If not, those after it need not be looked at.
bool c_machine::has_partner(std::uint64_t at) {
  auto next = at + 1;
  while (next < text_.size() && text_[next] != '\n') {
    if (text_[next] == text_[at]) {
      return true;
    }
    next += text_[next] != '\\' ? 1 : byte(next + 1) == '\r' && byte(next + 2) == '\n' ? 3 : 2;
  }
  plain_until_[text_[at] == '\'' ? 1 : 0] = next;
  return false;
}

bool c_machine::escaped_newline(std::uint64_t at) const {
  const auto before = at > 0 && text_[at - 1] == '\r' ? at - 1 : at;
  return before > 0 && text_[before - 1] == '\\';
}

}  // namespace rhizome
