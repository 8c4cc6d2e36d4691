// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "nerve/transport.hpp"

namespace karyon::detail {

/// One broadcast over an overlay: where it came from, and which of its.
struct broadcast_id {
  std::uint64_t origin = 0;
  std::uint64_t sequence = 0;
  friend bool operator==(const broadcast_id&, const broadcast_id&) = default;
  friend auto operator<=>(const broadcast_id&, const broadcast_id&) = default;
};

/// What nodes of an overlay tell each other. Which fields count depends on the kind.
struct overlay_message {
  enum class kind : std::uint8_t {
    // HyParView
    join,             // the sender is new
    forward_join,     // `who` is new; `ttl` steps are left of its walk
    neighbor,         // the sender wants the receiver as a neighbour; `flag`: it must not be refused
    neighbor_answer,  // `flag`: it is one from now on; else `peers` to ask instead
    disconnect,       // it is not a neighbour any more; `flag`: but alive, and worth remembering
    shuffle,          // `peers` of `who`, on a walk of `ttl` more steps
    shuffle_reply,    // `peers` in return
    heartbeat,        // between neighbours
    // Plumtree
    gossip,  // the broadcast itself, in its `ttl`th hop; in these three, `who` is the gateway that has handed it on, if any
    have,   // the sender has the broadcast
    graft,  // the sender wants it, and those that follow
    prune   // the sender has them from another
  };
  kind what = kind::heartbeat;
  bool flag = false;
  std::uint8_t ttl = 0;
  peer_id who;
  std::vector<peer_id> peers;
  broadcast_id id;
  std::shared_ptr<const std::string> payload;
};

/// What a node of an overlay wants done.
struct overlay_effects {
  struct sending {
    peer_id to;
    overlay_message what;
  };
  struct delivery {
    broadcast_id id;
    std::shared_ptr<const std::string> payload;
    std::uint8_t hops = 0;
  };
  std::vector<sending> sends;  // in this order
  std::vector<delivery> deliveries;
  std::vector<peer_id> neighbors_up;  // Plumtree is told of these
  std::vector<peer_id> neighbors_down;

  void send(const peer_id& to, overlay_message what) { sends.push_back({to, std::move(what)}); }
  void clear() noexcept {
    sends.clear();
    deliveries.clear();
    neighbors_up.clear();
    neighbors_down.clear();
  }
};

/// A sequence of numbers that follows from its seed: splitmix64 (Steele, Lea, Flood 2014).
class overlay_random {
public:
  explicit overlay_random(std::uint64_t seed) noexcept : state_(seed) {}
  std::uint64_t operator()() noexcept {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30u)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27u)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31u);
  }
  /// 0 .. n - 1; n > 0.
  std::size_t below(std::size_t n) noexcept {
    __extension__ using wide = unsigned __int128;
    return static_cast<std::size_t>((static_cast<wide>((*this)()) * n) >> 64u);
  }
  bool chance(double p) noexcept { return static_cast<double>((*this)() >> 11u) * 0x1p-53 < p; }

private:
  std::uint64_t state_;
};

}  // namespace karyon::detail
