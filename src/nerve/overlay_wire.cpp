// SPDX-License-Identifier: Apache-2.0
#include "nerve/overlay_wire.hpp"

#include <algorithm>
#include <memory>
#include <string>

namespace karyon::detail {

namespace {

void put(std::vector<std::byte>& out, std::uint64_t v, unsigned bytes) {
  for (unsigned i = 0; i < bytes; ++i) out.push_back(static_cast<std::byte>(v >> (8 * i)));
}

std::uint64_t get(std::span<const std::byte> from, std::size_t at, unsigned bytes) noexcept {
  std::uint64_t v = 0;
  for (unsigned i = 0; i < bytes; ++i) v |= std::to_integer<std::uint64_t>(from[at + i]) << (8 * i);
  return v;
}

}  // namespace

std::vector<std::byte> encode_overlay(const overlay_message& m) {
  const std::size_t peers = std::min(m.peers.size(), overlay_peers_max);
  const bool gossip = m.what == overlay_message::kind::gossip && m.payload != nullptr;
  std::vector<std::byte> out;
  out.reserve(overlay_wire_bytes + 16 * peers + (gossip ? m.payload->size() : 0));
  put(out, 1, 1);
  put(out, static_cast<std::uint64_t>(m.what), 1);
  put(out, m.flag ? 1 : 0, 1);
  put(out, m.ttl, 1);
  put(out, m.who.node, 8);
  put(out, m.who.incarnation, 8);
  put(out, m.id.origin, 8);
  put(out, m.id.sequence, 8);
  put(out, peers, 2);
  for (std::size_t i = 0; i < peers; ++i) {
    put(out, m.peers[i].node, 8);
    put(out, m.peers[i].incarnation, 8);
  }
  if (gossip) {
    for (const char c : *m.payload) out.push_back(static_cast<std::byte>(c));
  }
  return out;
}

bool decode_overlay(std::span<const std::byte> from, overlay_message& to) {
  if (from.size() < overlay_wire_bytes || get(from, 0, 1) != 1) return false;
  const std::uint64_t kind = get(from, 1, 1);
  if (kind > static_cast<std::uint64_t>(overlay_message::kind::prune) || get(from, 2, 1) > 1) return false;
  const auto peers = static_cast<std::size_t>(get(from, 36, 2));
  if (peers > overlay_peers_max || from.size() - overlay_wire_bytes < 16 * peers) return false;
  const std::span<const std::byte> rest = from.subspan(overlay_wire_bytes + 16 * peers);
  to.what = static_cast<overlay_message::kind>(kind);
  const bool gossip = to.what == overlay_message::kind::gossip;
  if (!gossip && !rest.empty()) return false;
  to.flag = get(from, 2, 1) != 0;
  to.ttl = static_cast<std::uint8_t>(get(from, 3, 1));
  to.who = {get(from, 4, 8), get(from, 12, 8)};
  to.id = {get(from, 20, 8), get(from, 28, 8)};
  to.peers.clear();
  for (std::size_t i = 0; i < peers; ++i) {
    const std::size_t at = overlay_wire_bytes + 16 * i;
    to.peers.push_back({get(from, at, 8), get(from, at + 8, 8)});
  }
  to.payload =
      gossip ? std::make_shared<const std::string>(reinterpret_cast<const char*>(rest.data()), rest.size()) : nullptr;
  return true;
}

}  // namespace karyon::detail
