#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cell/peer_channel.hpp"
#include "discover/flat_index.hpp"

namespace karyon::detail {

/// A change of what this node has: one more, or one less, of a member under a key.
struct replica_op {
  bool add = true;
  std::string key;
  std::uint64_t member = 0;
  std::uint64_t time = 0;
};

/// A change of what is known of another node.
struct replica_change {
  std::uint64_t node = 0;
  bool added = true;
  std::string key;
  std::uint64_t member = 0;
  std::uint64_t time = 0;
  std::uint32_t times = 1;
};

/// What is to be done after an event.
struct replica_effects {
  struct frame {
    peer to;
    std::shared_ptr<const std::vector<std::byte>> bytes;
  };
  struct request {
    std::uint64_t node;
    std::string key;
  };
  std::vector<frame> sends;  // in this order
  std::vector<replica_change> changes;
  std::vector<request> requests;  // another node asks for this key of ours to be removed
};

struct replica_limits {
  std::size_t frame_bytes = 32'768;      ///< 512 at least
  std::size_t entries_max = 16'000'000;  ///< that are kept of one peer; one that is there n times counts n times
  std::size_t bytes_max = std::size_t{1} << 30u;     ///< that entries of one peer take at most, by replica::bytes_of
  std::uint64_t time_max = ~std::uint64_t{0} >> 1u;  ///< a frame with a later time is malformed
};

/// Each node's own entries, known to all nodes that see it: the protocol of process groups and of the registry, without any I/O.
///
/// A node says of its own entries alone, never of what it has heard: so nothing that is gone comes back by a third node, and two that
/// do not see each other know nothing of each other. Its changes are numbered; a peer that has all up to n takes n + 1, and asks for
/// all of it when it finds a gap. (Erlang's pg, with numbers: pg's nodes lose nothing between them while a connection lasts; here a
/// peer may refuse a frame.)
///
///   frame      says                                          answered by
///   discover   here I am, with n changes; tell me yours      sync; and discover, if the receiver does not know the sender
///   more       tell me the entries that follow this one      sync
///   sync       a frame of my entries, as after change n      more, if it was not the last
///   delta      my change n                                   discover, if it is not the one that follows
///   digest     my last change is n (once a second)           discover, if the receiver does not have it
///   bye        I have nothing any more                       -
///   remove     please remove this key of yours               -
///
///   a peer     epoch 0            not heard of; discover was sent when it came up
///              epoch, no sync     has said discover, or a frame of a life that is not known
///              synced at n        its entries after change n are known
///              pulling            (beside one of these) a sync is asked for, or has come in part
///
/// However many entries there are, one frame of them is on its way to a peer at a time: the receiver pulls them in the order of their
/// keys, and the sender keeps nothing of it. Changes that come meanwhile are applied to what has come already; those of keys behind
/// that are in the frames to come. A frame that the network refuses is asked for again at the next tick, from where it stood.
/// Requests are numbered, and an answer to any but the last is left out; one that is asked once more keeps its number.
///
/// An epoch is one life of a scope: a peer whose epoch differs has lost all that it had. What arrives twice or late (an older
/// number) is left out. After tick() has been called on all nodes, and the frames that follow from it have arrived, each node knows
/// exactly the entries of all nodes that are up for it (tests/sim/discover_replica_test.cpp).
///
/// (state, event, now) -> effects; one thread at a time. A local change costs O(log own entries) and one encoding for all peers. A
/// frame that is not well-formed is counted and left out. Throws std::bad_alloc, whereupon tick mends what is missing.
class replica {
public:
  using entry_key = std::pair<std::string, std::uint64_t>;
  struct value {
    std::uint32_t times = 0;
    std::uint64_t time = 0;
    friend bool operator==(const value&, const value&) = default;
  };
  /// In the order of their keys, so that runs with one seed do the same.
  using entries = std::map<entry_key, value>;

  replica(std::uint64_t epoch, const replica_limits& limits) noexcept
      : epoch_(epoch), limits_(limits), requests_(static_cast<std::uint32_t>(mixed_bits(epoch))) {}

  /// Of what is sent from now on.
  void set_frame_bytes(std::size_t most) noexcept { limits_.frame_bytes = most; }
  void peer_up(const peer& who, replica_effects& fx);
  void peer_down(const peer& who, replica_effects& fx);
  void received(const peer& from, std::span<const std::byte> bytes, replica_effects& fx);
  /// Once a second: mends what a refused frame has left.
  void tick(replica_effects& fx);
  /// This node's own changes, in this order. A removal of what is not there is left out.
  void local(std::span<const replica_op> ops, replica_effects& fx);
  /// All peers forget this node's entries; nothing follows.
  void leave(replica_effects& fx);
  /// Asks a peer to remove a key.
  void ask_remove(std::uint64_t node, std::string_view key, replica_effects& fx);

  /// What an entry takes in memory, about: a node of the map, and its key.
  [[nodiscard]] static std::size_t bytes_of(std::string_view key) noexcept {
    return sizeof(entries::value_type) + 4 * sizeof(void*) + key.size();
  }

  [[nodiscard]] const entries& own() const noexcept { return own_; }
  /// What is known of a node; null if it is not up.
  [[nodiscard]] const entries* of(std::uint64_t node) const noexcept;
  [[nodiscard]] std::size_t peers() const noexcept { return peers_.size(); }
  /// 0 if it is not up.
  [[nodiscard]] std::uint64_t incarnation_of(std::uint64_t node) const noexcept {
    const known_peer* const p = find(node);
    return p != nullptr ? p->incarnation : 0;
  }
  [[nodiscard]] std::uint64_t malformed() const noexcept { return malformed_; }

private:
  /// What has come of a peer's entries so far.
  struct pull {
    std::uint32_t request = 0;  // that is not yet answered
    bool begun = false;         // the first frame has come
    bool moved = false;         // one has come since the last tick
    entries incoming;
    std::size_t count = 0;  // with how often each is there
    std::size_t bytes = 0;
    entry_key last;  // of what has come
    std::uint64_t sequence = 0;
  };
  struct known_peer {
    std::uint64_t incarnation = 0;
    std::uint64_t epoch = 0;
    std::uint64_t sequence = 0;  // its last change that is known
    bool synced = false;
    bool asked = false;   // discover was sent since the last tick
    bool behind = false;  // something is missing, and nobody has been asked for it
    entries view;
    std::size_t view_count = 0;  // with how often each is there
    std::size_t view_bytes = 0;
    std::unique_ptr<pull> pulling;  // apart: few are, and each node has one of these for each other
  };
  struct numbered_peer {
    std::uint64_t node;
    std::unique_ptr<known_peer> known;
  };
  struct frame_in;

  /// Where the peer is, or where it would have to be.
  [[nodiscard]] std::size_t place_of(std::uint64_t node) const noexcept;
  /// Null if it is not known.
  [[nodiscard]] known_peer* find(std::uint64_t node) const noexcept {
    const std::size_t i = place_of(node);
    return i < peers_.size() && peers_[i].node == node ? peers_[i].known.get() : nullptr;
  }

  void discover(const peer& to, known_peer& p, replica_effects& fx);
  void ask_for_more(const peer& to, known_peer& p, replica_effects& fx);
  /// The peer has come so far: asks for what is missing.
  void compare(const peer& with, known_peer& p, std::uint64_t sequence, replica_effects& fx);
  void send_sync(const peer& to, std::uint32_t request, const entry_key* behind, replica_effects& fx) const;
  void take_sync(const peer& from, known_peer& p, frame_in& in, replica_effects& fx);
  void take_delta(const peer& from, known_peer& p, frame_in& in, replica_effects& fx);
  void take_delta_of_pull(const peer& from, known_peer& p, frame_in& in, replica_effects& fx);
  [[nodiscard]] static replica_op next_op(frame_in& in);
  void adopt(std::uint64_t node, known_peer& p, std::uint64_t epoch, replica_effects& fx) const;
  static void replace(std::uint64_t node, known_peer& p, entries fresh, replica_effects& fx);
  [[nodiscard]] static bool apply(entries& to, const replica_op& op, std::size_t& bytes);
  [[nodiscard]] bool fits(const replica_op& op, std::size_t count, std::size_t bytes) const noexcept {
    return op.time <= limits_.time_max &&
           (!op.add || (count < limits_.entries_max && bytes + bytes_of(op.key) <= limits_.bytes_max));
  }

  const std::uint64_t epoch_;
  replica_limits limits_;
  std::uint64_t sequence_ = 0;
  std::uint32_t requests_;  // the last one; begins elsewhere in each life, so that answers to the one before fit none
  entries own_;
  std::size_t own_bytes_ = 0;  // not limited
  std::vector<numbered_peer>
      peers_;  // in the order of their nodes: found by few lines of memory, however many there are
  std::uint64_t malformed_ = 0;
};

}  // namespace karyon::detail
