// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/scanner.hpp"

#include <array>
#include <cstring>

#include "tools/colony/characters.hpp"

namespace karyon::tools {

namespace {

constexpr std::size_t raw_delimiter_bytes_max = 16;  // [lex.string]

bool is_encoding_prefix(std::string_view name, bool& raw) noexcept {
  raw = !name.empty() && name.back() == 'R';
  if (raw) {
    name.remove_suffix(1);
  }
  return (raw && name.empty()) || name == "L" || name == "u" || name == "U" || name == "u8";
}

bool is_header_directive(std::string_view name) noexcept {
  return name == "include" || name == "include_next" || name == "import" || name == "embed";
}

bool is_conditional(std::string_view name) noexcept { return name == "if" || name == "elif"; }

bool is_free_text(std::string_view name) noexcept {
  return name == "error" || name == "warning" || name == "pragma" || name == "ident" || name == "sccs";
}

bool takes_header_name(std::string_view name) noexcept {
  return name == "__has_include" || name == "__has_include_next" || name == "__has_embed";
}

}  // namespace

scanner::scanner(std::string_view text) noexcept
    : begin_(text.data()), pos_(text.data()), end_(text.data() + text.size()) {
  if (text.substr(0, 3) == "\xEF\xBB\xBF") {
    pos_ += 3;
  }
}

bool scanner::next(identifier_use& use) {
  while (!at_end()) {
    const auto c = static_cast<unsigned char>(*pos_);
    if (is_blank(c)) {
      ++pos_;
    } else if (c == '\n' || c == '\r') {
      end_line();
    } else if (c == '/') {
      skip_comment_or_slash();
    } else if (c == '\\' && splice_length(pos_) != 0) {
      skip_splices();
    } else if (is_digit(c) || (c == '.' && is_digit(at(pos_ + 1)))) {
      skip_number();
    } else if (is_identifier_start(c) || ((c == '\\' || c >= 0x80) && identifier_starts_here())) {
      const std::uint32_t line = line_;
      const std::string_view name = read_identifier();
      if (is_use(name)) {
        use = {name, line};
        return true;
      }
    } else {
      skip_punctuation(c);
    }
  }
  return false;
}

// Decides what an identifier is at this place: a directive's name, a literal's prefix, a keyword, or a use.
bool scanner::is_use(std::string_view name) noexcept {
  line_is_blank_ = false;
  header_name_next_ = false;
  if (directive_ == directive::name_next) {
    header_name_next_ = is_header_directive(name);
    directive_ = is_conditional(name) ? directive::conditional
                 : is_free_text(name) ? directive::ignored
                                      : directive::other;
    return false;
  }
  if (const unsigned char c = at(pos_); c == '"' || c == '\'') {
    bool raw = false;
    if (is_encoding_prefix(name, raw) && !(raw && c == '\'')) {
      if (raw) {
        skip_raw_string();
      } else {
        skip_quoted(static_cast<char>(c));
      }
      return false;
    }
  }
  if (directive_ == directive::ignored) {
    return false;
  }
  if (takes_header_name(name)) {
    header_name_next_ = true;
    return false;
  }
  return !is_keyword(name) && !(directive_ == directive::conditional && name == "defined");
}

// The length of the line splice at p, or 0. GCC and Clang both let white space follow the backslash.
std::size_t scanner::splice_length(const char* p) const noexcept {
  const char* q = p + 1;
  while (q < end_ && (*q == ' ' || *q == '\t')) {
    ++q;
  }
  if (at(q) == '\r' && at(q + 1) == '\n') {
    return static_cast<std::size_t>(q + 2 - p);
  }
  return q < end_ && (*q == '\n' || *q == '\r') ? static_cast<std::size_t>(q + 1 - p) : 0;
}

void scanner::skip_splices() noexcept {
  while (!at_end() && *pos_ == '\\') {
    const std::size_t length = splice_length(pos_);
    if (length == 0) {
      return;
    }
    pos_ += length;
    ++line_;
  }
}

void scanner::end_line() noexcept {
  pos_ += at(pos_) == '\r' && at(pos_ + 1) == '\n' ? 2 : 1;
  ++line_;
  line_is_blank_ = true;
  header_name_next_ = false;
  directive_ = directive::none;
}

// What follows a # is no directive's name (`# 1 "file"`).
void scanner::leave_directive_name() noexcept {
  if (directive_ == directive::name_next) {
    directive_ = directive::other;
  }
}

void scanner::count_lines(const char* from, const char* to) noexcept {
  for (const char* p = from; p != to; ++p) {
    line_ += *p == '\n' || (*p == '\r' && at(p + 1) != '\n') ? 1U : 0U;
  }
}

void scanner::skip_comment_or_slash() noexcept {
  ++pos_;
  skip_splices();
  if (at(pos_) == '/') {
    skip_line_comment();
  } else if (at(pos_) == '*') {
    ++pos_;
    skip_block_comment();
  } else {
    leave_directive_name();
    line_is_blank_ = false;
    header_name_next_ = false;
  }
}

// Stops before the end of the line, so that the caller sees the line end.
void scanner::skip_line_comment() noexcept {
  while (!at_end() && *pos_ != '\n' && *pos_ != '\r') {
    if (*pos_ == '\\') {
      skip_splices();
      if (!at_end() && *pos_ == '\\') {
        ++pos_;
      }
    } else {
      ++pos_;
    }
  }
}

void scanner::skip_block_comment() noexcept {
  while (!at_end()) {
    const auto* star = static_cast<const char*>(std::memchr(pos_, '*', static_cast<std::size_t>(end_ - pos_)));
    const char* const stop = star == nullptr ? end_ : star + 1;
    count_lines(pos_, stop);
    pos_ = stop;
    skip_splices();
    if (star != nullptr && at(pos_) == '/') {
      ++pos_;
      return;
    }
  }
}

void scanner::skip_number() noexcept {
  line_is_blank_ = false;
  header_name_next_ = false;
  leave_directive_name();
  while (!at_end()) {
    const auto c = static_cast<unsigned char>(*pos_);
    const unsigned char following = at(pos_ + 1);
    if ((c == 'e' || c == 'E' || c == 'p' || c == 'P') && (following == '+' || following == '-')) {
      pos_ += 2;
    } else if (is_identifier_part(c) || c == '.') {
      ++pos_;
    } else if (c == '\'' && is_identifier_part(following)) {
      pos_ += 2;
    } else if (c == '\\' && splice_length(pos_) != 0) {
      skip_splices();
    } else {
      return;
    }
  }
}

// Starts on the opening quote; stops behind the closing one, or before the end of the line.
void scanner::skip_quoted(char quote) noexcept {
  ++pos_;
  while (!at_end() && *pos_ != '\n' && *pos_ != '\r') {
    const char c = *pos_;
    if (c == '\\' && splice_length(pos_) != 0) {
      skip_splices();
      continue;
    }
    ++pos_;
    if (c == quote) {
      return;
    }
    if (c == '\\') {
      skip_splices();
      if (!at_end() && *pos_ != '\n' && *pos_ != '\r') {
        ++pos_;
      }
    }
  }
}

// Starts on the opening quote. A malformed delimiter makes it an ordinary string, so that it can not swallow the text.
void scanner::skip_raw_string() noexcept {
  std::array<char, raw_delimiter_bytes_max + 2> closing{};
  std::size_t length = 0;
  closing[length++] = ')';
  const char* p = pos_ + 1;
  for (; p < end_ && *p != '('; ++p) {
    const auto c = static_cast<unsigned char>(*p);
    if (length > raw_delimiter_bytes_max || c <= ' ' || c == ')' || c == '\\' || c == '"') {
      skip_quoted('"');
      return;
    }
    closing[length++] = *p;
  }
  closing[length++] = '"';
  const std::string_view rest(p, static_cast<std::size_t>(end_ - p));
  const std::size_t found = rest.find(std::string_view(closing.data(), length));
  const char* const stop = found == std::string_view::npos ? end_ : p + found + length;
  count_lines(pos_, stop);
  pos_ = stop;
}

// Starts on the opening < or "; a header name knows no escapes.
void scanner::skip_header_name(char closing) noexcept {
  ++pos_;
  while (!at_end() && *pos_ != '\n' && *pos_ != '\r') {
    if (*pos_ == '\\' && splice_length(pos_) != 0) {
      skip_splices();
    } else if (*pos_++ == closing) {
      return;
    }
  }
}

void scanner::skip_punctuation(unsigned char c) noexcept {
  leave_directive_name();
  const bool wants_header_name = header_name_next_;
  header_name_next_ = wants_header_name && c == '(';
  const bool starts_line = line_is_blank_;
  line_is_blank_ = false;
  if (wants_header_name && (c == '<' || c == '"')) {
    skip_header_name(c == '<' ? '>' : '"');
  } else if (c == '"' || (c == '\'' && directive_ != directive::ignored)) {
    skip_quoted(static_cast<char>(c));
  } else if (starts_line && (c == '#' || (c == '%' && at(pos_ + 1) == ':'))) {
    directive_ = directive::name_next;
    pos_ += c == '#' ? 1 : 2;
  } else {
    ++pos_;
  }
}

// Reads a universal character name or a well-formed UTF-8 sequence at p; its length, or 0 where there is neither.
std::size_t scanner::extended_character(const char* p, std::uint32_t& code_point) const noexcept {
  const auto left = static_cast<std::size_t>(end_ - p);
  const std::size_t length =
      *p == '\\' ? decode_universal_name({p, left}, code_point) : decode_utf8({p, left}, code_point);
  return length != 0 && is_identifier_code_point(code_point) ? length : 0;
}

bool scanner::identifier_starts_here() const noexcept {
  std::uint32_t code_point = 0;
  return extended_character(pos_, code_point) != 0;
}

// Nearly every name is one run of ASCII: it is returned as it stands in the text.
std::string_view scanner::read_identifier() {
  const char* const start = pos_;
  while (!at_end() && is_identifier_part(static_cast<unsigned char>(*pos_))) {
    ++pos_;
  }
  if (!at_end() && (*pos_ == '\\' || static_cast<unsigned char>(*pos_) >= 0x80)) {
    return read_unusual_identifier(start);
  }
  return {start, static_cast<std::size_t>(pos_ - start)};
}

std::string_view scanner::read_unusual_identifier(const char* start) {
  std::string name(start, pos_);
  const std::size_t plain_length = name.size();
  while (!at_end()) {
    const auto c = static_cast<unsigned char>(*pos_);
    std::uint32_t code_point = 0;
    std::size_t length = 0;
    if (is_identifier_part(c)) {
      name.push_back(*pos_++);
    } else if (c == '\\' && splice_length(pos_) != 0) {
      skip_splices();
    } else if ((c == '\\' || c >= 0x80) && (length = extended_character(pos_, code_point)) != 0) {
      append_utf8(name, code_point);
      pos_ += length;
    } else {
      break;
    }
  }
  if (name.size() == plain_length) {  // only a splice or a stray byte behind it
    return {start, plain_length};
  }
  return unusual_names_.emplace_back(std::move(name));
}

}  // namespace karyon::tools
