// SPDX-License-Identifier: Apache-2.0
#include "nerve/link_wire.hpp"

#include <array>
#include <cstring>

#include "nerve/little_endian.hpp"

namespace karyon::detail {

void append_word(std::vector<std::byte>& out, link_word word, std::uint32_t epoch, std::span<const std::byte> payload) {
  frame_header header;
  header.kind = frame_kind::control;
  header.flags = frame_of_link;
  header.type = static_cast<std::uint16_t>(word);
  header.epoch = epoch;
  header.length = static_cast<std::uint32_t>(payload.size());
  const std::size_t at = out.size();
  out.resize(at + frame_header_bytes + payload.size());
  encode_frame(header, out.data() + at);
  if (!payload.empty()) std::memcpy(out.data() + at + frame_header_bytes, payload.data(), payload.size());
}

void append_pulse(std::vector<std::byte>& out, std::uint32_t epoch, const link_pulse& p) {
  std::array<std::byte, pulse_bytes> bytes{};
  store_le(bytes.data(), p.sent_at);
  store_le(bytes.data() + 8, p.heard);
  store_le(bytes.data() + 16, p.heard_at);
  store_le(bytes.data() + 24, p.consumed_frames);
  store_le(bytes.data() + 32, p.consumed_slots);
  append_word(out, link_word::pulse, epoch, bytes);
}

void append_link_greeting(std::vector<std::byte>& out, const link_greeting& g) {
  std::vector<std::byte> bytes(greeting_bytes + g.endpoint.size() + g.hello.size());
  std::byte* const at = bytes.data();
  store_le(at, g.peer.node);
  store_le(at + 8, g.peer.incarnation);
  store_le(at + 16, g.cookie);
  store_le(at + 24, g.heard_cookie);
  store_le(at + 32, g.sent_at);
  store_le(at + 40, g.heard);
  store_le(at + 48, g.heard_at);
  store_le(at + 56, g.epoch);
  store_le(at + 60, g.window_frames);
  store_le(at + 64, g.window_slots);
  store_le(at + 68, g.frame_bytes_max);
  store_le(at + 72, static_cast<std::uint32_t>(g.endpoint.size()));
  store_le(at + 76, static_cast<std::uint32_t>(g.hello.size()));
  if (!g.endpoint.empty()) std::memcpy(at + greeting_bytes, g.endpoint.data(), g.endpoint.size());
  if (!g.hello.empty()) std::memcpy(at + greeting_bytes + g.endpoint.size(), g.hello.data(), g.hello.size());
  append_word(out, link_word::greet, 0, bytes);
}

void append_i_am(std::vector<std::byte>& out, const peer_id& self) {
  std::array<std::byte, i_am_bytes> bytes{};
  store_le(bytes.data(), self.node);
  store_le(bytes.data() + 8, self.incarnation);
  append_word(out, link_word::i_am, 0, bytes);
}

std::optional<link_pulse> read_pulse(std::span<const std::byte> payload) noexcept {
  if (payload.size() != pulse_bytes) return std::nullopt;
  const std::byte* const at = payload.data();
  link_pulse p;
  p.sent_at = load_le<std::uint64_t>(at);
  p.heard = load_le<std::uint64_t>(at + 8);
  p.heard_at = load_le<std::uint64_t>(at + 16);
  p.consumed_frames = load_le<std::uint64_t>(at + 24);
  p.consumed_slots = load_le<std::uint64_t>(at + 32);
  return p;
}

std::optional<link_greeting> read_link_greeting(std::span<const std::byte> payload) noexcept {
  if (payload.size() < greeting_bytes) return std::nullopt;
  const std::byte* const at = payload.data();
  link_greeting g;
  g.peer.node = load_le<std::uint64_t>(at);
  g.peer.incarnation = load_le<std::uint64_t>(at + 8);
  g.cookie = load_le<std::uint64_t>(at + 16);
  g.heard_cookie = load_le<std::uint64_t>(at + 24);
  g.sent_at = load_le<std::uint64_t>(at + 32);
  g.heard = load_le<std::uint64_t>(at + 40);
  g.heard_at = load_le<std::uint64_t>(at + 48);
  g.epoch = load_le<std::uint32_t>(at + 56);
  g.window_frames = load_le<std::uint32_t>(at + 60);
  g.window_slots = load_le<std::uint32_t>(at + 64);
  g.frame_bytes_max = load_le<std::uint32_t>(at + 68);
  const std::size_t endpoint = load_le<std::uint32_t>(at + 72);
  const std::size_t hello = load_le<std::uint32_t>(at + 76);
  if (endpoint == 0 || endpoint > endpoint_bytes_max || hello > hello_bytes_max) return std::nullopt;
  if (payload.size() != greeting_bytes + endpoint + hello) return std::nullopt;
  if (g.cookie == 0 || g.peer.node == 0 || g.epoch == 0) return std::nullopt;
  if (g.window_frames == 0 || g.window_slots == 0) return std::nullopt;
  g.endpoint = {reinterpret_cast<const char*>(at + greeting_bytes), endpoint};
  g.hello = payload.subspan(greeting_bytes + endpoint, hello);
  return g;
}

std::optional<peer_id> read_i_am(std::span<const std::byte> payload) noexcept {
  if (payload.size() != i_am_bytes) return std::nullopt;
  return peer_id{load_le<std::uint64_t>(payload.data()), load_le<std::uint64_t>(payload.data() + 8)};
}

}  // namespace karyon::detail
