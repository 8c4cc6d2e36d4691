// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "text/structure.hpp"

// The scanner once more, byte after byte: slow, and plain enough to be seen to be right.
namespace rhizome::model {

using outcome = tl::expected<std::vector<std::uint32_t>, scan_error>;

inline bool is_any(char byte, std::string_view set) { return set.find(byte) != std::string_view::npos; }
inline bool is_digit(char byte) { return byte >= '0' && byte <= '9'; }
inline bool is_word(char byte) {
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || is_digit(byte) || byte == '_' || byte == '$' ||
         static_cast<unsigned char>(byte) > 0x7F;
}

/// Decodes each character and looks at the code point.
inline std::optional<std::uint32_t> malformed(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const unsigned lead = static_cast<unsigned char>(text[at]);
    const std::size_t length = lead < 0x80   ? 1
                               : lead < 0xC0 ? 0
                               : lead < 0xE0 ? 2
                               : lead < 0xF0 ? 3
                               : lead < 0xF8 ? 4
                                             : 0;
    bool good = length != 0 && at + length <= text.size();
    unsigned code = length <= 1 ? lead : lead & (0xFFU >> (length + 1));
    for (std::size_t i = 1; good && i < length; ++i) {
      const unsigned tail = static_cast<unsigned char>(text[at + i]);
      good = tail >= 0x80 && tail < 0xC0;
      code = code << 6 | (tail & 0x3F);
    }
    constexpr unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (!good || code < least[length] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
      return static_cast<std::uint32_t>(at);
    }
    at += length;
  }
  return std::nullopt;
}

inline outcome refuse(scan_fault fault, std::size_t at) {
  return tl::unexpected(scan_error{fault, static_cast<std::uint32_t>(at)});
}

inline outcome json(std::string_view text) {
  if (const auto at = malformed(text)) {
    return refuse(scan_fault::malformed_utf8, *at);
  }
  std::vector<std::uint32_t> marks;
  bool in_scalar = false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const auto offset = static_cast<std::uint32_t>(at);
    if (text[at] == '\\') {  // outside of strings, too, it keeps what follows from being a quote
      if (!in_scalar) {
        marks.push_back(offset);
      }
      in_scalar = true;
      if (at + 1 < text.size() && text[at + 1] == '"') {
        ++at;
      } else if (at + 1 < text.size() && text[at + 1] == '\\') {
        ++at;
      }
    } else if (text[at] == '"') {
      marks.push_back(offset);
      const auto open = at;
      for (++at; at < text.size() && text[at] != '"'; at += text[at] == '\\' ? 2 : 1) {
        if (static_cast<unsigned char>(text[at]) < 0x20) {
          return refuse(scan_fault::control_in_string, at);
        }
        if (text[at] == '\\' && at + 1 < text.size() && static_cast<unsigned char>(text[at + 1]) < 0x20) {
          return refuse(scan_fault::control_in_string, at + 1);
        }
      }
      if (at >= text.size()) {
        return refuse(scan_fault::unterminated_string, open);
      }
      in_scalar = false;
    } else if (is_any(text[at], "{}[],:")) {
      marks.push_back(offset);
      in_scalar = false;
    } else if (is_any(text[at], " \t\n\r")) {
      in_scalar = false;
    } else {
      if (!in_scalar) {
        marks.push_back(offset);
      }
      in_scalar = true;
    }
  }
  return marks;
}

class c_reader {
public:
  c_reader(std::string_view text, c_scan_options options) : text_(text), options_(options) {}

  outcome read() {
    if (const auto at = malformed(text_)) {
      return refuse(scan_fault::malformed_utf8, *at);
    }
    while (at_ < text_.size() && !fault_) {
      step();
    }
    if (fault_) {
      return tl::unexpected(*fault_);
    }
    return marks_;
  }

private:
  char byte(std::size_t at) const { return at < text_.size() ? text_[at] : '\0'; }
  void mark(std::size_t at) { marks_.push_back(static_cast<std::uint32_t>(at)); }
  void pass(std::size_t to) {
    at_ = to;
    fresh_ = false;
  }
  void fail(scan_fault fault, std::size_t at) { fault_ = scan_error{fault, static_cast<std::uint32_t>(at)}; }
  std::size_t newline_after_backslash(std::size_t at) const {  // length of a continuation that begins there, or 0
    if (byte(at) != '\\') {
      return 0;
    }
    return byte(at + 1) == '\n' ? 2 : byte(at + 1) == '\r' && byte(at + 2) == '\n' ? 3 : 0;
  }
  bool continued(std::size_t newline) const {
    return (newline >= 1 && newline_after_backslash(newline - 1) == 2) ||
           (newline >= 2 && newline_after_backslash(newline - 2) == 3);
  }

  void step() {
    const char now = text_[at_];
    if (now == '/' && byte(at_ + 1) == '/') {
      line_comment();
    } else if (now == '/' && byte(at_ + 1) == '*') {
      block_comment();
    } else if (now == '"' || now == '\'') {
      quote();
    } else if (now == '\n') {
      if (directive_ && !continued(at_)) {
        mark(at_);
        directive_ = false;
      }
      ++at_;
      fresh_ = true;
    } else if (now == ' ' || now == '\t') {
      ++at_;
    } else if (now == '#' && fresh_ && !directive_) {
      mark(at_);
      directive_ = true;
      pass(at_ + 1);
    } else {
      const bool joined = at_ > 0 && (is_word(text_[at_ - 1]) || separators_.count(at_ - 1) != 0);
      if (is_any(now, "(){}[],;:") || (is_word(now) && !joined)) {
        mark(at_);
      }
      pass(at_ + 1);
    }
  }

  void line_comment() {
    mark(at_);
    auto end = at_ + 2;
    while (end < text_.size() && (text_[end] != '\n' || continued(end))) {
      ++end;
    }
    mark(end - 1);
    pass(end);
  }

  void block_comment() {
    const auto end = text_.find("*/", at_ + 2);
    if (end == std::string_view::npos) {
      return fail(scan_fault::unterminated_comment, at_);
    }
    mark(at_);
    mark(end + 1);
    pass(end + 2);
  }

  void quote() {
    const auto open = at_;
    auto begin = open;
    while (begin > 0 && is_word(text_[begin - 1])) {
      --begin;
    }
    const auto before = text_.substr(begin, open - begin);
    if (text_[open] == '\'' && !before.empty() &&
        (is_digit(before[0]) || (begin > 0 && separators_.count(begin - 1) != 0))) {
      separators_.insert(open);
      return pass(open + 1);
    }
    if (open < plain_until_[text_[open] == '"']) {
      return pass(open + 1);
    }
    const bool raw = before == "R" || before == "LR" || before == "uR" || before == "UR" || before == "u8R";
    if (text_[open] == '"' && raw && raw_string(open)) {
      return;
    }
    auto end = open + 1;
    while (end < text_.size() && text_[end] != text_[open] && text_[end] != '\n') {
      const auto skip = newline_after_backslash(end);
      end += skip != 0 ? skip : text_[end] == '\\' ? 2 : 1;
    }
    if (end < text_.size() && text_[end] == text_[open]) {
      mark(open);
      mark(end);
      pass(end + 1);
    } else if (directive_ || options_.lone_quotes) {
      plain_until_[text_[open] == '"'] = end;
      pass(open + 1);
    } else {
      fail(scan_fault::unterminated_string, open);
    }
  }

  bool raw_string(std::size_t open) {
    auto parenthesis = open + 1;
    while (parenthesis < text_.size() && parenthesis - open <= 17 && !is_any(text_[parenthesis], "( )\\\n\t\v\f\"")) {
      ++parenthesis;
    }
    if (byte(parenthesis) != '(' || parenthesis - open > 17) {
      return false;
    }
    const auto end = ")" + std::string{text_.substr(open + 1, parenthesis - open - 1)} + "\"";
    const auto found = text_.find(end, parenthesis + 1);
    if (found == std::string_view::npos) {
      fail(scan_fault::unterminated_string, open);
      return true;
    }
    mark(open);
    mark(found + end.size() - 1);
    pass(found + end.size());
    return true;
  }

  std::string_view text_;
  c_scan_options options_;
  std::optional<scan_error> fault_;
  std::vector<std::uint32_t> marks_;
  std::set<std::size_t> separators_;
  std::size_t plain_until_[2] = {0, 0};
  std::size_t at_ = 0;
  bool directive_ = false;
  bool fresh_ = true;
};

inline outcome c(std::string_view text, c_scan_options options) { return c_reader(text, options).read(); }

/// Whether a scanner said the same as the model.
template <class Marks>
bool same(const tl::expected<Marks, scan_error>& scanned, const outcome& expected) {
  if (scanned.has_value() != expected.has_value()) {
    return false;
  }
  if (!expected) {
    return scanned.error() == expected.error();
  }
  return std::vector<std::uint32_t>(scanned->begin(), scanned->end()) == *expected;
}

}  // namespace rhizome::model
