// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "nerve/overlay_message.hpp"

namespace karyon::detail {

/// What nodes of an overlay send each other, in the payload of a frame of kind gossip (membership) or endocrine (broadcasts).
/// Little-endian:
///
///   offset  bytes  field
///        0      1  version, 1
///        1      1  kind
///        2      1  flag (bit 0)
///        3      1  ttl, or hops
///        4     16  who: node, incarnation (join walks and shuffles; of a broadcast, who has handed it on into the compartment; else 0)
///       20     16  broadcast: origin, sequence (else 0)
///       36      2  n, the number of peers
///       38     16n peers: node, incarnation
///   38 + 16n       the broadcast's payload (gossip only)
///
/// Valid if and only if version and kind are known, n is 64 at most, all n are there, and nothing follows but a gossip's payload.
inline constexpr std::size_t overlay_wire_bytes = 38;
inline constexpr std::size_t overlay_peers_max = 64;

[[nodiscard]] std::vector<std::byte> encode_overlay(const overlay_message& m);
/// False if it is none; allocates only what is there.
[[nodiscard]] bool decode_overlay(std::span<const std::byte> from, overlay_message& to);

}  // namespace karyon::detail
