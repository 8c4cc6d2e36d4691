// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "base/image.hpp"
#include "store/detail/layout.hpp"
#include "store/log.hpp"

// What an image is made of. The tables are in docs/internals/rhizome-checkpoint-format.md.
namespace rhizome::detail {

inline constexpr std::uint32_t image_version = 1;
inline constexpr std::size_t image_page = 4096;

struct image_state {
  std::uint32_t version = image_version;
  commit_number commit = 0;
  commit_number commit_base = 0;
  commit_number horizon = 0;
  vertex vertices = 0;
  vertex alive = 0;
  std::uint64_t log_begin = 0;    ///< The first entry that is there,
  std::uint64_t log_end = 0;      ///< and the end: indices as commit_row::log_end has them.
  std::uint64_t block_bytes = 0;  ///< Of all block sections, each rounded up to pages.
  std::uint64_t newest_bytes = 0, history_bytes = 0, valid_bytes = 0;  ///< Of these, by what they are used for.
};
static_assert(sizeof(image_state) == 72);

struct image_name {
  std::uint32_t of_property = 0;  ///< 0: a label's.
  std::uint32_t number = 0;
  commit_number since = 0;
  std::uint32_t length = 0;  ///< Of the name, which follows.
};
static_assert(sizeof(image_name) == 16);

/// One version; those of one property follow each other, the oldest first.
struct image_property {
  commit_number begin = 0;
  std::uint16_t of_arc = 0;
  std::uint16_t kind = 0;  ///< Index of the alternative in `value`.
  label arc_label = 0;
  property_key key = 0;
  vertex source = 0;
  vertex target = 0;
  std::uint32_t unused = 0;
  interval valid;
  std::uint64_t length = 0;  ///< Of the payload, which follows: 8 bytes of a number, or a string.
};
static_assert(sizeof(image_property) == 48);

struct image_entry {
  std::uint64_t where = 0;
  commit_number changed = 0;
  std::uint32_t capacity = 0;
};
static_assert(sizeof(image_entry) == sizeof(vertex_entry));

inline constexpr image_section state_section{1, sizeof(image_state)};
inline constexpr image_section lives_section{2, sizeof(vertex_life)};
inline constexpr image_section commits_section{3, sizeof(commit_row)};
inline constexpr image_section log_section{4, sizeof(log_entry)};
inline constexpr image_section names_section{5, 1};
inline constexpr image_section properties_section{6, 1};
/// Of one label. Blocks are at the offset that the references say, counted from chunk_bytes.
[[nodiscard]] constexpr image_section blocks_section(label l, direction way) noexcept {
  return {1024 + 8U * l + 2U * static_cast<std::uint32_t>(way), unit_bytes};
}
[[nodiscard]] constexpr image_section entries_section(label l, direction way) noexcept {
  return {1025 + 8U * l + 2U * static_cast<std::uint32_t>(way), sizeof(vertex_entry)};
}
[[nodiscard]] constexpr image_section counts_section(label l) noexcept { return {1028 + 8U * l, sizeof(arcs_row)}; }

/// The log's section begins with the page of log_begin, so that it can be placed.
[[nodiscard]] constexpr std::uint64_t log_section_begin(std::uint64_t log_begin) noexcept {
  constexpr std::uint64_t a_page = image_page / sizeof(log_entry);
  return log_begin / a_page * a_page;
}

}  // namespace rhizome::detail
