// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace karyon::detail {

/// What is published over a server, around the value's bytes. Little-endian:
///
///   offset  bytes  field
///        0      2  magic, 0x454B ("KE")
///        2      1  version, 1
///        3      1  hops
///        4      8  type (hormone_type::schema)
///       12      8  origin: a bus of a process, by chance
///       20      8  sequence of the origin
///       28      8  when it was published, microseconds since 1970
///       36      4  time to live, microseconds
///       40      1  length n of the sender's name
///       41      n  the sender's name
///   41 + n         the value, as the payload of a signal
///
/// Valid if and only if it is 41 + n bytes at least, and magic and version are these.
struct endocrine_frame {
  std::uint8_t hops = 0;
  std::uint64_t type = 0;
  std::uint64_t origin = 0;
  std::uint64_t sequence = 0;
  std::uint64_t published_us = 0;
  std::uint32_t ttl_us = 0;
  std::string_view sender;
  std::span<const std::byte> value;
};

inline constexpr std::size_t endocrine_frame_bytes = 41;

/// All of it but the value, which is appended to what this returns.
[[nodiscard]] inline std::vector<std::byte> encode_endocrine_head(const endocrine_frame& f, std::size_t value_bytes) {
  std::vector<std::byte> out;
  const std::string_view sender = f.sender.substr(0, 255);
  out.reserve(endocrine_frame_bytes + sender.size() + value_bytes);
  const auto put = [&out](std::uint64_t v, unsigned bytes) {
    for (unsigned i = 0; i < bytes; ++i) out.push_back(static_cast<std::byte>(v >> (8 * i)));
  };
  put(0x454B, 2);
  put(1, 1);
  put(f.hops, 1);
  put(f.type, 8);
  put(f.origin, 8);
  put(f.sequence, 8);
  put(f.published_us, 8);
  put(f.ttl_us, 4);
  put(sender.size(), 1);
  for (const char c : sender) out.push_back(static_cast<std::byte>(c));
  return out;
}

/// Writes the sequence into a frame that encode_endocrine_head has begun.
inline void stamp_endocrine_sequence(std::span<std::byte> frame, std::uint64_t sequence) noexcept {
  for (unsigned i = 0; i < 8; ++i) frame[20 + i] = static_cast<std::byte>(sequence >> (8 * i));
}

/// False if it is none. Allocates nothing: `to` refers to `from`.
[[nodiscard]] inline bool decode_endocrine_frame(std::span<const std::byte> from, endocrine_frame& to) noexcept {
  if (from.size() < endocrine_frame_bytes) return false;
  const auto get = [from](std::size_t at, unsigned bytes) {
    std::uint64_t v = 0;
    for (unsigned i = 0; i < bytes; ++i) v |= std::to_integer<std::uint64_t>(from[at + i]) << (8 * i);
    return v;
  };
  if (get(0, 2) != 0x454B || get(2, 1) != 1) return false;
  const std::size_t name = get(40, 1);
  if (from.size() - endocrine_frame_bytes < name) return false;
  to.hops = static_cast<std::uint8_t>(get(3, 1));
  to.type = get(4, 8);
  to.origin = get(12, 8);
  to.sequence = get(20, 8);
  to.published_us = get(28, 8);
  to.ttl_us = static_cast<std::uint32_t>(get(36, 4));
  to.sender = {reinterpret_cast<const char*>(from.data()) + endocrine_frame_bytes, name};
  to.value = from.subspan(endocrine_frame_bytes + name);
  return true;
}

}  // namespace karyon::detail
