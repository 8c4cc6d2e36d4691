// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "nerve/overlay_message.hpp"

namespace karyon::detail {

struct hyparview_options {
  std::size_t active_max = 5;
  std::size_t passive_max = 30;
  std::uint8_t active_walk = 6;   // steps of a newcomer's walk
  std::uint8_t passive_walk = 3;  // steps before its end where it is remembered
  std::size_t shuffle_active = 3;
  std::size_t shuffle_passive = 4;
  std::uint8_t shuffle_walk = 6;
  std::uint64_t heartbeat_ns = 1'000'000'000;
  std::uint64_t silence_ns = 3'500'000'000;  // of a neighbour, before it counts as gone
  std::uint64_t shuffle_ns = 10'000'000'000;
  std::uint64_t answer_ns = 2'000'000'000;  // for a would-be neighbour
  std::uint64_t rejoin_ns = 5'000'000'000;  // between two joins of a node without neighbours
  double rewire = 0.1;                      // how likely a shuffle comes with a new neighbour
  // How often one peer can make a node with a full view change its neighbours: so many at once, then one each so often.
  std::uint64_t force_every_ns = 1'000'000'000;
  std::uint64_t force_at_once = 4;
  // How often, from one heartbeat to the next, a node without neighbours asks on at once when it was refused: who knows none but one that
  // refuses would ask it again as fast as messages go.
  std::size_t refusals_at_once = 40;
};

/// Who a node's neighbours are: a handful, however many nodes there are, and connected. HyParView (Leitao, Pereira, Rodrigues, DSN
/// 2007): a small symmetric active view that is repaired from a larger passive one, which random walks keep fresh. No I/O, clock or
/// chance of its own: (state, event, now, random) -> effects.
///
/// Beyond the paper, against faults seen in its implementations:
///
///  - neighbours exchange heartbeats: one that is silent is dropped, and one whose heartbeat comes from no neighbour is told so, so that
///    half a link does not stay (one-way partitions, lost disconnects);
///  - a would-be neighbour that does not answer leaves the passive view, so the dead do not stay in it;
///  - now and then a shuffle goes to a contact rather than on a walk, and a random passive peer becomes a neighbour though none is needed.
///    So islands, each with full views, find each other again: after partitions, and when thousands join through one contact at once.
///    All shuffles go to contacts of a node that lacks neighbours and knows of nobody else: so do small islands, within seconds;
///  - who has one neighbour alone asks others with high priority (`must`), as the paper has it for who has none: two that are left with
///    each other would be refused by full views, and miss what is broadcast meanwhile;
///  - a peer that has begun anew (a larger incarnation) replaces what is known of its earlier life.
///
/// And against peers that lie. Who a message is from is the transport's word; what it says of others is hearsay, and:
///
///  - makes nobody a neighbour, and ends no link: a newcomer that a walk names is asked, may say no, and takes a place only when it has
///    agreed itself. An answer to no question is left out, and so is a walk that does not come from a neighbour;
///  - replaces hearsay alone in the passive view, half of which is kept for peers that have been neighbours: so links are repaired
///    however many names somebody has made up. A shuffle's answer is taken once for each shuffle;
///  - a node with a full view makes room for one and the same peer, by its own wish or by the walks that it brings, now and then only
///    (force_every_ns), whoever it names; and for all others together as for 64. Whom it refuses it tells of others.
class hyparview {
public:
  hyparview(const peer_id& self, const hyparview_options& options) : self_(self), options_(options) {
    active_.reserve(options_.active_max);
  }

  // Events. `now_ns` never goes back.

  /// Somebody to join through, also again later: of a static list, or found by discovery.
  void learn_contact(const peer_id& contact);
  /// Joins; the first tick is due at once.
  void start(std::uint64_t now_ns, overlay_random& random, overlay_effects& effects);
  void receive(const peer_id& from, const overlay_message& m, std::uint64_t now_ns, overlay_random& random,
               overlay_effects& effects);
  /// The transport has lost a peer, or can not reach it.
  void lost(const peer_id& peer, std::uint64_t now_ns, overlay_random& random, overlay_effects& effects);
  /// At next_ns(), or later.
  void tick(std::uint64_t now_ns, overlay_random& random, overlay_effects& effects);
  /// Leaves: its neighbours are told.
  void leave(overlay_effects& effects);

  [[nodiscard]] std::uint64_t next_ns() const noexcept;
  [[nodiscard]] bool is_neighbor(const peer_id& peer) const noexcept;
  [[nodiscard]] std::vector<peer_id> neighbors() const;
  [[nodiscard]] const peer_id& self() const noexcept { return self_; }
  /// For who runs thousands in one process: brings what the next event needs closer.
  void fetch() const noexcept { __builtin_prefetch(active_.data()); }

private:
  struct neighbor_state {
    peer_id id;
    std::uint64_t heard_ns = 0;
  };
  struct asked_peer {
    peer_id id;
    std::uint64_t until_ns = 0;
    bool invited = false;  // by a walk's end; not because a neighbour is needed
  };
  /// A rate by one number (the virtual scheduling algorithm of ITU-T I.371): when all that was taken is paid.
  struct forcing_peer {
    std::uint64_t node = 0;
    std::uint64_t paid_ns = 0;
  };
  void on_join(const peer_id& from, std::uint64_t now_ns, overlay_random& random, overlay_effects& effects);
  void on_forward_join(const peer_id& from, const overlay_message& m, std::uint64_t now_ns, overlay_random& random,
                       overlay_effects& effects);
  void on_neighbor(const peer_id& from, bool must, std::uint64_t now_ns, overlay_random& random,
                   overlay_effects& effects);
  void on_answer(const peer_id& from, const overlay_message& m, std::uint64_t now_ns, overlay_random& random,
                 overlay_effects& effects);
  void refuse(const peer_id& from, overlay_random& random, overlay_effects& effects);
  void on_shuffle(const peer_id& from, const overlay_message& m, overlay_random& random, overlay_effects& effects);
  void invite(const peer_id& who, const peer_id& from, std::uint64_t now_ns, overlay_random& random,
              overlay_effects& effects);
  [[nodiscard]] const peer_id* step(const peer_id& from, const peer_id& who, overlay_random& random) const;
  /// Whether this peer may have a place made for somebody now.
  [[nodiscard]] bool may_force(const peer_id& by, std::uint64_t now_ns);
  /// Whether it may have a place itself.
  [[nodiscard]] bool may_enter(const peer_id& by, std::uint64_t now_ns);
  void add_neighbor(const peer_id& peer, std::uint64_t now_ns, overlay_random& random, overlay_effects& effects);
  void drop_neighbor(std::size_t index, overlay_effects& effects);
  void remember(const peer_id& peer, overlay_random& random);
  void remember_neighbor(const peer_id& peer, overlay_random& random);
  void remember_all(std::span<const peer_id> peers, std::span<const peer_id> sent, overlay_random& random);
  void forget(const peer_id& peer) noexcept;
  void forget_earlier_life(const peer_id& peer, overlay_effects& effects);
  void fill(std::uint64_t now_ns, overlay_random& random, overlay_effects& effects);
  void ask(const peer_id& peer, bool must, std::uint64_t now_ns, overlay_effects& effects, bool invited = false);
  [[nodiscard]] bool is_asked(const peer_id& peer) const noexcept;
  void shuffle(std::uint64_t now_ns, overlay_random& random, overlay_effects& effects);
  [[nodiscard]] std::vector<peer_id> sample(overlay_random& random) const;
  /// One that is not asked yet; null if there is none.
  [[nodiscard]] const peer_id* candidate(overlay_random& random) const;

  // What most messages need, first.
  const peer_id self_;
  std::vector<neighbor_state> active_;
  std::vector<asked_peer> asked_;
  std::uint64_t next_heartbeat_ns_ = 0;
  std::uint64_t next_shuffle_ns_ = 0;
  std::uint64_t next_join_ns_ = 0;
  const hyparview_options options_;
  std::vector<peer_id> passive_;  // of hearsay
  std::vector<peer_id> former_;   // that have been neighbours; with passive_ at most passive_max
  std::vector<peer_id> contacts_;
  std::vector<peer_id> last_sample_;  // empty: no answer is awaited
  std::vector<forcing_peer> forced_;
  std::size_t refusals_ = 0;  // since the last heartbeat, of a node without neighbours
};

}  // namespace karyon::detail
