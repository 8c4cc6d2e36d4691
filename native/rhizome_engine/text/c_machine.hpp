// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

#include "text/block.hpp"

namespace rhizome {

/// Follows a C-like text through code, literals and comments, from one byte that may change that to the next.
///
/// The caller feeds it masks block by block; offsets are absolute, so that what begins in one block may end in any other.
class c_machine {
public:
  c_machine(std::string_view text, c_scan_options options) : text_(text), options_(options) {}

  /// Marks of the block that begins at `base`, appended to `out`, which has room for 72 more; null after a fault.
  std::uint32_t* step(std::uint64_t base, const c_masks& block, std::uint32_t* out);

  /// What is open at the text's end: appends the last mark of a line comment.
  std::uint32_t* finish(std::uint32_t* out);

  [[nodiscard]] const std::optional<scan_error>& fault() const noexcept { return fault_; }

private:
  enum class place : std::uint8_t { code, literal, line_comment, block_comment, known_end };

  void in_code(std::uint64_t base, const c_masks& block);
  void in_literal(std::uint64_t base, const c_masks& block);
  void in_line_comment(std::uint64_t base, const c_masks& block, std::uint32_t*& out);
  void in_block_comment(std::uint64_t base, const c_masks& block);
  void in_known_end(std::uint64_t base);

  void quote(std::uint64_t base, std::uint64_t at);
  void hash(std::uint64_t base, std::uint64_t at);
  bool digit_separator(std::uint64_t at) const;
  bool raw_string(std::uint64_t at);
  bool has_partner(std::uint64_t at);
  bool escaped_newline(std::uint64_t at) const;
  void refuse(scan_fault fault, std::uint64_t at) { fault_ = scan_error{fault, static_cast<std::uint32_t>(at)}; }

  [[nodiscard]] char byte(std::uint64_t at) const { return at < text_.size() ? text_[at] : '\0'; }
  void mark(std::uint64_t base, std::uint64_t at) { marks_ |= std::uint64_t{1} << (at - base); }

  std::string_view text_;
  c_scan_options options_;
  std::optional<scan_error> fault_;
  place place_ = place::code;
  bool directive_ = false;
  std::uint64_t at_ = 0;                   // the next byte to look at; may lie beyond the block
  std::uint64_t opened_ = 0;               // first byte of the literal or comment
  std::uint64_t closed_ = 0;               // its last byte, when that is known
  std::uint64_t separator_ = 0;            // the last digit separator
  std::uint64_t plain_until_[2] = {0, 0};  // quotes of that kind are plain text below it
  std::uint64_t word_carry_ = 0;
  // Of the current block:
  std::uint64_t marks_ = 0;
  std::uint64_t code_ = 0;
  std::uint64_t joined_ = 0;  // digit separators
};

}  // namespace rhizome
