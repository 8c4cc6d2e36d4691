// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include <tl/expected.hpp>

#include "base/types.hpp"

namespace rhizome {

/// Why a text has no structure to give.
enum class scan_fault : std::uint8_t {
  too_long = 1,          ///< 4 GiB or more: offsets have 32 bits.
  malformed_utf8,        ///< The bytes at the offset begin no character.
  unterminated_string,   ///< The literal that begins at the offset has no end (in C: none on its line).
  control_in_string,     ///< JSON: a byte below 0x20 in a string must be written as an escape.
  unterminated_comment,  ///< The comment that begins at the offset has no end.
};
struct scan_error {
  scan_fault fault{};
  std::uint32_t offset = 0;

  friend bool operator==(const scan_error&, const scan_error&) = default;
};
/// The same as the engine's error: `limit` for a text that is too long, else `corrupt`; the sentence names the offset.
[[nodiscard]] error to_error(const scan_error& refused);

/// Which instructions do the work. All give the same marks.
enum class scan_path : std::uint8_t { automatic, portable, avx2, avx512 };
/// Whether this machine can take that path.
[[nodiscard]] bool available(scan_path path) noexcept;

struct c_scan_options {
  /// A quote that has no partner on its line is plain text, and so are the later ones of its kind on that line; else it is a
  /// fault. Skipped groups (`#if 0`) may hold prose. Lines of directives are always read that way (`#error don't`).
  bool lone_quotes = false;
};

/// Finds the bytes that give a text its structure, so that a reader jumps from one to the next instead of looking at each byte.
///
/// What comes back is a list of marks: ascending offsets into the caller's text, which is neither copied nor changed; a mark's
/// meaning is the byte that it points at. text/pieces.hpp makes slices of them. Texts must be UTF-8.
///
/// json: the brackets, commas and colons outside of strings, the opening quote of each string, and the first byte of each other
/// scalar. Grammar is not checked. (The index of simdjson's first stage: Langdale and Lemire, "Parsing gigabytes of JSON per
/// second", 2019; UTF-8 as in Keiser and Lemire, "Validating UTF-8 in less than one instruction per byte", 2021.)
///
/// c: outside of literals and comments ( ) { } [ ] , ; : and the first byte of each word (a run of letters, digits, _, $ and
/// bytes above 0x7F, with the ' between digits); the # that begins a directive and the newline that ends it, continued lines
/// joined; of literals ("...", '...', raw strings) and comments the first byte and the last, one after the other. A # after a
/// comment on the same line begins no directive; trigraphs are not read.
///
/// A scanner keeps the memory of its marks (4 bytes each) for the next text: they are good until then. One thread at a time.
class structure_scanner {
public:
  using marks = std::span<const std::uint32_t>;

  /// A path that this machine does not have is replaced by the next narrower one; `automatic` is the widest.
  explicit structure_scanner(scan_path path = scan_path::automatic) noexcept;

  [[nodiscard]] tl::expected<marks, scan_error> json(std::string_view text);
  [[nodiscard]] tl::expected<marks, scan_error> c(std::string_view text, c_scan_options options = {});

private:
  const struct scan_functions* functions_;
  std::unique_ptr<std::uint32_t[]> marks_;
  std::size_t capacity_ = 0;

  friend class mark_writer;
};

}  // namespace rhizome
