#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <karyon/core/export.hpp>

namespace karyon::detail {

/// A cell as its node's peers know it: an entry of that node's table of exported cells, and which of its tenants is meant. Never
/// an address. Index 0 is the node itself.
struct cell_number {
  std::uint32_t index = 0;
  std::uint16_t tenant = 0;
  friend bool operator==(const cell_number&, const cell_number&) = default;
};

enum class frame_kind : std::uint8_t {
  signal = 0,     // to a cell; nobody waits for an answer
  ask = 1,        // `source` is the number under which the asker waits
  answer = 2,     // to such a number
  refusal = 3,    // an ask or a signal could not be delivered; the payload says why
  control = 4,    // node to node: links, monitors, starts, look-ups
  gossip = 5,     // the overlay's
  endocrine = 6,  // broadcast through the overlay
  service = 7     // runtime to runtime: process groups, registries (node_services.hpp)
};

/// A frame's header in memory; on the wire 32 bytes, little-endian, whatever the machine:
///
///   offset  bytes  field
///        0      2  magic, 0x594B ("KY")
///        2      1  wire version, 1
///        3      1  kind (low 4 bits), flags (high 4 bits)
///        4      4  payload length in bytes
///        8      4  time to live in microseconds, 0: without limit
///       12      4  link epoch
///       16      2  sequence within the link
///       18      2  type: the signal type's place in the table that the links' greetings exchanged; 0 where none
///       20      6  destination: index (4), tenant (2)
///       26      6  source: index (4), tenant (2)
struct frame_header {
  frame_kind kind = frame_kind::signal;
  std::uint8_t flags = 0;
  std::uint32_t length = 0;
  std::uint32_t ttl_us = 0;
  std::uint32_t epoch = 0;
  std::uint16_t sequence = 0;
  std::uint16_t type = 0;
  cell_number destination;
  cell_number source;
};

inline constexpr std::size_t frame_header_bytes = 32;
inline constexpr std::uint16_t frame_magic = 0x594B;
inline constexpr std::uint8_t wire_version = 1;

/// A flag of control frames that the transport speaks with its like; no user of a transport sees or sets it.
inline constexpr std::uint8_t frame_of_link = 8;

/// What is wrong with bytes that should begin with a frame.
enum class frame_fault : std::uint8_t {
  none,
  truncated,  // there are fewer bytes than a header, or than its payload length says
  magic,      // not a frame at all
  version,    // of another wire version
  kind,       // a kind that this version does not know
  too_long,   // the payload is longer than the limit
};
inline constexpr std::size_t frame_faults = 6;

/// Writes the 32 bytes of a header at `at`, which need not be aligned. Any thread.
KARYON_API void encode_frame(const frame_header& header, std::byte* at) noexcept;

/// Reads the header at the beginning of `bytes`, which hold the payload behind it, and perhaps more frames behind that. `into` is
/// whole if and only if the result is `none`: then magic, version and kind are right and `length` payload bytes are there, no
/// more than `payload_bytes_max`. Touches nothing behind the header and allocates nothing. Any thread.
[[nodiscard]] KARYON_API frame_fault decode_frame(std::span<const std::byte> bytes, std::uint32_t payload_bytes_max,
                                                  frame_header& into) noexcept;

}  // namespace karyon::detail
