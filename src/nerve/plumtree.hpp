// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "nerve/duplicate_filter.hpp"
#include "nerve/overlay_message.hpp"

namespace karyon::detail {

struct plumtree_options {
  std::uint64_t patience_ns = 500'000'000;        // for a broadcast that a neighbour says it has
  std::uint64_t patience_again_ns = 250'000'000;  // after a graft
  std::uint64_t keep_ns = 10'000'000'000;         // how long a broadcast can be asked for
  std::size_t keep_max = 1024;
  std::uint64_t recent_ns = 5'000'000'000;  // what a new neighbour is told of
  std::size_t recent_max = 32;
  std::size_t missing_max = 4096;
  std::size_t origins_max = 4096;
  std::uint8_t hops_max = 64;
  std::size_t head_bytes = 0;  // at the front of a payload, which gateways change on its way
  std::size_t head_kept = 0;   // but for the first so many
  std::uint64_t compartment =
      0;  // of the origin: a node in two has two, or ids of one would be taken for those of the other
};

/// Broadcast over a node's neighbours that costs one message a node: Plumtree (Leitao, Pereira, Rodrigues, SRDS 2007). Broadcasts are
/// pushed along the links of a tree, and announced along the others; who misses one that was announced grafts that link into the tree,
/// who gets one twice prunes the link. No I/O, clock or chance of its own.
///
/// Announcements are sent at once, not gathered. Every broadcast reaches a node once at the most (duplicate_filter), in no promised
/// order. Memory is bounded: what is too much to remember is not missed, or can not be asked for any more.
///
/// An id that a gateway has brought is the word of another compartment. It is remembered apart from those of this one, so that whoever
/// makes up ids there keeps nobody here from being heard: what is not handed on is left out only if it has come as such, or if the very
/// same bytes were brought by a gateway lately. (A broadcast that comes back through gateways before it comes by itself, and comes so when
/// its bytes are no longer kept, reaches a node twice.)
class plumtree {
public:
  plumtree(const peer_id& self, const plumtree_options& options)
      : self_(self),
        origin_(self.node ^ (self.incarnation * 0x9e3779b97f4a7c15u) ^ options.compartment),
        options_(options),
        home_(options.origins_max),
        foreign_(options.origins_max) {}

  /// The sequence begins anew with each life of the node, so the origin has its incarnation in it.
  broadcast_id broadcast(std::shared_ptr<const std::string> payload, std::uint64_t now_ns, overlay_effects& effects);
  /// A broadcast of another compartment, under the id that it has there; delivered here as well. False, and nothing is done, if it has been
  /// here already, whoever has brought it. What several nodes hand on goes out in as many waves (overlay_message::who), and where two meet
  /// nobody is pruned: each has come by a tree of its own, and the links between these trees make them one.
  [[nodiscard]] bool hand_on(const broadcast_id& id, std::shared_ptr<const std::string> payload, std::uint64_t now_ns,
                             overlay_effects& effects);
  void receive(const peer_id& from, const overlay_message& m, std::uint64_t now_ns, overlay_effects& effects);
  /// It is told what has come lately, so that who changes neighbours while a broadcast passes does not miss it.
  void neighbor_up(const peer_id& peer, std::uint64_t now_ns, overlay_effects& effects);
  void neighbor_down(const peer_id& peer);
  void tick(std::uint64_t now_ns, overlay_effects& effects);
  [[nodiscard]] std::uint64_t next_ns() const noexcept;

  [[nodiscard]] const std::vector<peer_id>& eager() const noexcept { return eager_; }
  [[nodiscard]] const std::vector<peer_id>& lazy() const noexcept { return lazy_; }
  /// Gossips that came a second time; the measure of how far from a tree it is.
  [[nodiscard]] std::uint64_t duplicates() const noexcept { return duplicates_; }
  [[nodiscard]] std::uint64_t too_far() const noexcept { return too_far_; }

private:
  struct kept_broadcast {
    std::shared_ptr<const std::string> payload;
    std::uint64_t until_ns = 0;
    std::uint8_t hops = 0;
    peer_id wave;  // of which of the waves of this broadcast it came
  };
  /// A broadcast of this compartment, or one that was handed on: they may have the same id, if somebody has made it up.
  struct known_as {
    broadcast_id id;
    bool foreign = false;
    friend auto operator<=>(const known_as&, const known_as&) = default;
  };
  [[nodiscard]] static known_as name_of(const overlay_message& m) noexcept { return {m.id, !(m.who == peer_id{})}; }
  struct missing_broadcast {
    peer_id wave;
    std::vector<peer_id> have_it;
    std::uint64_t due_ns = 0;
  };
  /// True the first time; remembers it.
  [[nodiscard]] bool is_new(const overlay_message& gossip);
  /// No neighbour need be asked for it any more.
  void no_longer_missing(const overlay_message& gossip);
  [[nodiscard]] bool was_brought_by_a_gateway(const overlay_message& gossip) const;
  [[nodiscard]] bool meets_another_wave(const overlay_message& gossip) const;
  void on_gossip(const peer_id& from, const overlay_message& m, std::uint64_t now_ns, overlay_effects& effects);
  void on_have(const peer_id& from, const overlay_message& m, std::uint64_t now_ns);
  void on_graft(const peer_id& from, const overlay_message& m, overlay_effects& effects);
  void keep(const overlay_message& gossip, std::uint64_t now_ns);
  void push(const overlay_message& gossip, const peer_id* except, overlay_effects& effects);
  void make_eager(const peer_id& peer);
  void make_lazy(const peer_id& peer);

  const peer_id self_;
  const std::uint64_t origin_;
  const plumtree_options options_;
  std::vector<peer_id> eager_;
  std::vector<peer_id> lazy_;
  duplicate_filter home_;     // what is not handed on
  duplicate_filter foreign_;  // what is
  std::map<known_as, kept_broadcast> kept_;
  std::deque<known_as> kept_order_;  // the oldest first
  std::map<known_as, missing_broadcast> missing_;
  std::uint64_t sequence_ = 0;
  std::uint64_t duplicates_ = 0;
  std::uint64_t too_far_ = 0;
};

}  // namespace karyon::detail
