// SPDX-License-Identifier: Apache-2.0
#include "nerve/frame.hpp"

#include "nerve/little_endian.hpp"

namespace karyon::detail {

namespace {

constexpr std::uint8_t last_kind = static_cast<std::uint8_t>(frame_kind::service);

void store_number(std::byte* at, const cell_number& number) noexcept {
  store_le(at, number.index);
  store_le(at + 4, number.tenant);
}

cell_number load_number(const std::byte* at) noexcept {
  return {load_le<std::uint32_t>(at), load_le<std::uint16_t>(at + 4)};
}

}  // namespace

void encode_frame(const frame_header& header, std::byte* at) noexcept {
  store_le(at, frame_magic);
  store_le(at + 2, wire_version);
  store_le(at + 3, static_cast<std::uint8_t>(static_cast<unsigned>(header.kind) | (header.flags & 0x0FU) << 4U));
  store_le(at + 4, header.length);
  store_le(at + 8, header.ttl_us);
  store_le(at + 12, header.epoch);
  store_le(at + 16, header.sequence);
  store_le(at + 18, header.type);
  store_number(at + 20, header.destination);
  store_number(at + 26, header.source);
}

frame_fault decode_frame(std::span<const std::byte> bytes, std::uint32_t payload_bytes_max,
                         frame_header& into) noexcept {
  if (bytes.size() < frame_header_bytes) return frame_fault::truncated;
  const std::byte* const at = bytes.data();
  if (load_le<std::uint16_t>(at) != frame_magic) return frame_fault::magic;
  if (load_le<std::uint8_t>(at + 2) != wire_version) return frame_fault::version;
  const auto kind_and_flags = load_le<std::uint8_t>(at + 3);
  if ((kind_and_flags & 0x0FU) > last_kind) return frame_fault::kind;
  const auto length = load_le<std::uint32_t>(at + 4);
  if (length > payload_bytes_max) return frame_fault::too_long;
  if (length > bytes.size() - frame_header_bytes) return frame_fault::truncated;
  into.kind = static_cast<frame_kind>(kind_and_flags & 0x0FU);
  into.flags = static_cast<std::uint8_t>(kind_and_flags >> 4U);
  into.length = length;
  into.ttl_us = load_le<std::uint32_t>(at + 8);
  into.epoch = load_le<std::uint32_t>(at + 12);
  into.sequence = load_le<std::uint16_t>(at + 16);
  into.type = load_le<std::uint16_t>(at + 18);
  into.destination = load_number(at + 20);
  into.source = load_number(at + 26);
  return frame_fault::none;
}

}  // namespace karyon::detail
