// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

namespace karyon::tools {

/// One use of an identifier: its name without line splices, and the 1-based line on which it starts.
struct identifier_use {
  std::string_view name;
  std::uint32_t line = 0;
};

/// True for the reserved words of C11 and C++20 and for the spellings that GCC and Clang reserve beside them
/// (`__attribute__`, `__inline`, ...): words that say nothing about a program's own names.
[[nodiscard]] bool is_keyword(std::string_view name) noexcept;

/// Finds the identifiers of C and C++ text without compiling it.
///
/// It works in one pass over bytes that nobody has vouched for: comments, numbers, string, character and raw string
/// literals are skipped, line splices are honoured wherever the languages honour them, and no text makes it fail, loop or
/// take more than linear time. Of the preprocessor it knows what a cross-reference needs: directive names and `defined`
/// are no uses, nor are the header names of `#include` and `__has_include` nor the text of `#error`, `#warning` and
/// `#pragma`; the names in `#define`, `#if` and the like are; both branches of a conditional are read. A literal that is
/// not terminated ends with its line (a raw string and a block comment: with the text). An identifier may hold `$`,
/// well-formed UTF-8 in the ranges of C11 annex D, and universal character names, which come out as UTF-8. The suffix of
/// a string or character literal counts as an identifier (`"x"PRIu64`, `"x"_tag`), that of a number does not.
///
/// One thread uses a scanner at a time. The text must outlive it.
class scanner {
public:
  explicit scanner(std::string_view text) noexcept;

  /// Moves to the next identifier that is no keyword; false at the end of the text, and from then on.
  /// `use.name` lives as long as both the text and the scanner. Allocates only for a name that is spliced or escaped.
  [[nodiscard]] bool next(identifier_use& use);

  /// How many bytes of the text are behind the scanner: lets a caller bound the work it does at a time.
  [[nodiscard]] std::size_t consumed() const noexcept { return static_cast<std::size_t>(pos_ - begin_); }

  /// The 1-based line that the scanner is on.
  [[nodiscard]] std::uint32_t line() const noexcept { return line_; }

private:
  enum class directive : std::uint8_t { none, name_next, conditional, ignored, other };

  [[nodiscard]] bool at_end() const noexcept { return pos_ == end_; }
  [[nodiscard]] unsigned char at(const char* p) const noexcept { return p < end_ ? static_cast<unsigned char>(*p) : 0; }
  [[nodiscard]] std::size_t splice_length(const char* p) const noexcept;
  void skip_splices() noexcept;
  void end_line() noexcept;
  void leave_directive_name() noexcept;
  void count_lines(const char* from, const char* to) noexcept;

  void skip_comment_or_slash() noexcept;
  void skip_line_comment() noexcept;
  void skip_block_comment() noexcept;
  void skip_number() noexcept;
  void skip_quoted(char quote) noexcept;
  void skip_raw_string() noexcept;
  void skip_header_name(char closing) noexcept;
  void skip_punctuation(unsigned char c) noexcept;

  [[nodiscard]] bool identifier_starts_here() const noexcept;
  [[nodiscard]] std::size_t extended_character(const char* p, std::uint32_t& code_point) const noexcept;
  [[nodiscard]] std::string_view read_identifier();
  [[nodiscard]] std::string_view read_unusual_identifier(const char* start);
  [[nodiscard]] bool is_use(std::string_view name) noexcept;

  const char* begin_;
  const char* pos_;
  const char* end_;
  std::uint32_t line_ = 1;
  bool line_is_blank_ = true;      // nothing but white space and comments since the line began
  bool header_name_next_ = false;  // after #include and __has_include(
  directive directive_ = directive::none;
  std::deque<std::string> unusual_names_;  // names that do not stand in the text as one piece; a deque never moves them
};

}  // namespace karyon::tools
