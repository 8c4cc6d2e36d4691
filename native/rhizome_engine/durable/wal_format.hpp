// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/types.hpp"
#include "durable/crc32c.hpp"

// The bytes of a log's segment. The tables, and what is valid, are in docs/internals/rhizome-wal-format.md.
namespace rhizome {

/// What ties the files of one store together: random, made with the store.
using store_id = std::array<std::uint8_t, 16>;

/// What all files of a store say of it. `kind` is what the store makes of its changes (options that alter their meaning); the files only
/// keep it.
struct store_identity {
  store_id id{};
  std::uint32_t kind = 0;

  friend bool operator==(const store_identity&, const store_identity&) = default;
};

inline constexpr std::uint32_t wal_version = 1;

struct segment_header {
  std::array<char, 8> magic{'r', 'h', 'i', 'z', 'w', 'a', 'l', '\n'};
  std::uint32_t version = wal_version;
  std::uint32_t bytes = 64;  ///< Of this header.
  store_id store{};
  std::uint64_t index = 0;  ///< 1 for the store's first segment, without gaps.
  time_us time_base = 0;    ///< What the transactions' times are relative to.
  commit_number first = 0;  ///< The commit that the segment's first frame belongs to.
  std::uint32_t kind = 0;   ///< Of the store.
  std::uint32_t unused = 0;
  std::uint32_t crc = 0;  ///< Of all before it.
};
static_assert(sizeof(segment_header) == 64);

/// A transaction is one frame or several in a row: its payload is cut anywhere, so that no frame is longer than a buffer.
struct frame_header {
  std::uint32_t crc = 0;  ///< Of the segment's own CRC, the frame's offset, and all of the frame after this field.
  std::uint32_t size_flags = 0;  ///< Payload's length in the low 24 bits; frame_flags above.
  commit_number commit = 0;      ///< The transaction that it belongs to; of a seal, the last one before it.
  commit_number durable = 0;     ///< This one and all before were on the disk when the frame was made.
};
static_assert(sizeof(frame_header) == 16);

enum frame_flags : std::uint32_t {
  frame_begins = 1U << 24,  ///< The transaction's first frame,
  frame_ends = 1U << 25,    ///< and its last.
  frame_seals = 1U << 26,   ///< No transaction: all before it is durable.
  frame_moves = 1U << 27,   ///< With frame_seals: and the log goes on in the next segment.
};
inline constexpr std::uint32_t frame_size_mask = (1U << 24) - 1;
/// Longer payloads are cut.
inline constexpr std::size_t frame_payload_target = std::size_t{256} << 10;
inline constexpr std::size_t frame_payload_max = frame_payload_target + (std::size_t{1} << 10);

[[nodiscard]] inline std::uint32_t frame_crc(std::uint32_t segment_crc, std::uint64_t offset,
                                             std::span<const std::byte> frame) noexcept {
  const std::uint32_t place = crc32c(segment_crc, &offset, sizeof offset);
  return crc32c(place, frame.data() + sizeof(std::uint32_t), frame.size() - sizeof(std::uint32_t));
}

/// "0000000012.wal" and back; nothing for any other name.
[[nodiscard]] std::string segment_name(std::uint64_t index);
[[nodiscard]] std::optional<std::uint64_t> numbered_name(std::string_view name, std::string_view before,
                                                         std::string_view after) noexcept;
/// Files that were not finished when the process ended have this at the end of their name, and are removed.
inline constexpr std::string_view unfinished_suffix = ".tmp";

}  // namespace rhizome
