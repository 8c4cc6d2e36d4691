// SPDX-License-Identifier: Apache-2.0
#include "nerve/hyparview.hpp"

#include <algorithm>
#include <utility>

namespace karyon::detail {

namespace {

using kind = overlay_message::kind;

overlay_message message(kind what, bool flag = false) {
  overlay_message m;
  m.what = what;
  m.flag = flag;
  return m;
}

}  // namespace

bool hyparview::is_neighbor(const peer_id& peer) const noexcept {
  return std::any_of(active_.begin(), active_.end(), [&](const neighbor_state& n) { return n.id == peer; });
}

std::vector<peer_id> hyparview::neighbors() const {
  std::vector<peer_id> out;
  for (const neighbor_state& n : active_) out.push_back(n.id);
  return out;
}

std::uint64_t hyparview::next_ns() const noexcept {
  std::uint64_t next = std::min(next_heartbeat_ns_, next_shuffle_ns_);
  for (const asked_peer& a : asked_) next = std::min(next, a.until_ns);
  return next;
}

// ---- events --------------------------------------------------------------------------------------------------------

void hyparview::learn_contact(const peer_id& contact) {
  if (contact.node == self_.node) return;
  std::erase_if(contacts_, [&](const peer_id& c) { return c.node == contact.node; });
  constexpr std::size_t contacts_max = 32;
  if (contacts_.size() >= contacts_max) contacts_.erase(contacts_.begin());
  contacts_.push_back(contact);
}

void hyparview::start(std::uint64_t now_ns, overlay_random& random, overlay_effects& effects) {
  // Nodes that start together do not beat together.
  next_heartbeat_ns_ = now_ns + random.below(options_.heartbeat_ns);
  next_shuffle_ns_ = now_ns + random.below(options_.shuffle_ns);
  next_join_ns_ = now_ns;
  fill(now_ns, random, effects);
}

void hyparview::receive(const peer_id& from, const overlay_message& m, std::uint64_t now_ns, overlay_random& random,
                        overlay_effects& effects) {
  if (from.node == self_.node) return;
  const auto known =
      std::find_if(active_.begin(), active_.end(), [&](const neighbor_state& n) { return n.id == from; });
  if (known != active_.end()) {
    known->heard_ns = now_ns;
  } else {
    forget_earlier_life(from, effects);
  }
  switch (m.what) {
    case kind::join: return on_join(from, now_ns, random, effects);
    case kind::forward_join: return on_forward_join(from, m, now_ns, random, effects);
    case kind::neighbor: return on_neighbor(from, m.flag, now_ns, random, effects);
    case kind::neighbor_answer: return on_answer(from, m, now_ns, random, effects);
    case kind::disconnect: {
      const auto found = std::find_if(active_.begin(), active_.end(), [&](const auto& n) { return n.id == from; });
      if (found != active_.end()) drop_neighbor(static_cast<std::size_t>(found - active_.begin()), effects);
      if (m.flag) {
        remember_neighbor(from, random);
      } else {
        forget(from);
      }
      return fill(now_ns, random, effects);
    }
    case kind::shuffle: return on_shuffle(from, m, random, effects);
    case kind::shuffle_reply:
      if (!last_sample_.empty()) remember_all(m.peers, std::exchange(last_sample_, {}), random);
      return;
    case kind::heartbeat:
      // It takes us for a neighbour, and is none of ours: it lost a disconnect, or we do not hear it often enough.
      if (!is_neighbor(from)) effects.send(from, message(kind::disconnect, true));
      return;
    default: return;
  }
}

void hyparview::lost(const peer_id& peer, std::uint64_t now_ns, overlay_random& random, overlay_effects& effects) {
  const auto found = std::find_if(active_.begin(), active_.end(), [&](const auto& n) { return n.id == peer; });
  if (found != active_.end()) drop_neighbor(static_cast<std::size_t>(found - active_.begin()), effects);
  forget(peer);
  std::erase_if(asked_, [&](const asked_peer& a) { return a.id == peer; });
  fill(now_ns, random, effects);
}

void hyparview::tick(std::uint64_t now_ns, overlay_random& random, overlay_effects& effects) {
  for (std::size_t i = asked_.size(); i-- > 0;) {
    if (asked_[i].until_ns > now_ns) continue;
    forget(asked_[i].id);
    asked_.erase(asked_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  if (now_ns >= next_heartbeat_ns_) {
    next_heartbeat_ns_ = now_ns + options_.heartbeat_ns;
    refusals_ = 0;
    for (std::size_t i = active_.size(); i-- > 0;) {
      if (now_ns - active_[i].heard_ns <= options_.silence_ns) continue;
      const peer_id silent = active_[i].id;
      drop_neighbor(i, effects);
      // It may hear us though we do not hear it.
      effects.send(silent, message(kind::disconnect, true));
    }
    for (const neighbor_state& n : active_) effects.send(n.id, message(kind::heartbeat));
  }
  if (now_ns >= next_shuffle_ns_) {
    next_shuffle_ns_ = now_ns + options_.shuffle_ns;
    shuffle(now_ns, random, effects);
  }
  fill(now_ns, random, effects);
}

void hyparview::leave(overlay_effects& effects) {
  for (const neighbor_state& n : active_) effects.send(n.id, message(kind::disconnect, false));
  active_.clear();
}

// ---- joining -------------------------------------------------------------------------------------------------------

bool hyparview::may_enter(const peer_id& by, std::uint64_t now_ns) {
  return active_.size() < options_.active_max || is_neighbor(by) || may_force(by, now_ns);
}

/// A bounded number of peers is kept in mind. One more takes over what the one that is soonest forgiven owes: so no crowd shields who
/// forces often, and a crowd itself, however many they are, forces as often as that number can.
bool hyparview::may_force(const peer_id& by, std::uint64_t now_ns) {
  auto found = std::find_if(forced_.begin(), forced_.end(), [&](const forcing_peer& f) { return f.node == by.node; });
  if (found == forced_.end()) {
    constexpr std::size_t forced_max = 64;
    if (forced_.size() < forced_max) {
      found = forced_.insert(forced_.end(), {by.node, 0});
    } else {
      found = std::min_element(forced_.begin(), forced_.end(),
                               [](const forcing_peer& x, const forcing_peer& y) { return x.paid_ns < y.paid_ns; });
      found->node = by.node;
    }
  }
  const std::uint64_t from_ns = std::max(found->paid_ns, now_ns);
  if (from_ns - now_ns >= options_.force_at_once * options_.force_every_ns) return false;
  found->paid_ns = from_ns + options_.force_every_ns;
  return true;
}

void hyparview::on_join(const peer_id& from, std::uint64_t now_ns, overlay_random& random, overlay_effects& effects) {
  if (!may_enter(from, now_ns)) return refuse(from, random, effects);
  add_neighbor(from, now_ns, random, effects);
  effects.send(from, message(kind::neighbor_answer, true));
  overlay_message walk = message(kind::forward_join);
  walk.who = from;
  walk.ttl = options_.active_walk;
  for (const neighbor_state& n : active_) {
    if (!(n.id == from)) effects.send(n.id, walk);
  }
}

void hyparview::on_forward_join(const peer_id& from, const overlay_message& m, std::uint64_t now_ns,
                                overlay_random& random, overlay_effects& effects) {
  if (m.who.node == self_.node || is_neighbor(m.who) || !is_neighbor(from)) return;
  if (m.ttl == 0 || active_.size() <= 1) return invite(m.who, from, now_ns, random, effects);
  if (m.ttl == options_.passive_walk) remember(m.who, random);
  const peer_id* const next = step(from, m.who, random);
  if (next == nullptr) return invite(m.who, from, now_ns, random, effects);
  overlay_message walk = m;
  walk.ttl = static_cast<std::uint8_t>(std::min<int>(m.ttl - 1, options_.active_walk));  // m's is a peer's word
  effects.send(*next, walk);
}

/// Where a walk goes on: not back, and not to whose it is. Null if there is nowhere.
const peer_id* hyparview::step(const peer_id& from, const peer_id& who, overlay_random& random) const {
  const auto fits = [&](const neighbor_state& n) { return !(n.id == from) && !(n.id == who); };
  const auto n = static_cast<std::size_t>(std::count_if(active_.begin(), active_.end(), fits));
  if (n == 0) return nullptr;
  std::size_t skip = random.below(n);
  auto i = std::find_if(active_.begin(), active_.end(), fits);
  for (; skip > 0; --skip) i = std::find_if(i + 1, active_.end(), fits);
  return &i->id;
}

/// The newcomer has room, so it is not forced: one that has none is no newcomer. `from` pays for the place that it may take.
void hyparview::invite(const peer_id& who, const peer_id& from, std::uint64_t now_ns, overlay_random& random,
                       overlay_effects& effects) {
  if (may_force(from, now_ns)) {
    ask(who, false, now_ns, effects, true);
  } else {
    remember(who, random);
  }
}

// ---- neighbours ----------------------------------------------------------------------------------------------------

void hyparview::on_neighbor(const peer_id& from, bool must, std::uint64_t now_ns, overlay_random& random,
                            overlay_effects& effects) {
  const bool agreed = is_neighbor(from) || (must ? may_enter(from, now_ns) : active_.size() < options_.active_max);
  if (!agreed && must) return refuse(from, random, effects);
  if (agreed) add_neighbor(from, now_ns, random, effects);
  effects.send(from, message(kind::neighbor_answer, agreed));
}

/// Who has no neighbours, or says so, is told whom else it could ask.
void hyparview::refuse(const peer_id& from, overlay_random& random, overlay_effects& effects) {
  overlay_message answer = message(kind::neighbor_answer, false);
  answer.peers = sample(random);
  std::erase_if(answer.peers, [&](const peer_id& p) { return p.node == self_.node || p.node == from.node; });
  effects.send(from, std::move(answer));
}

void hyparview::on_answer(const peer_id& from, const overlay_message& m, std::uint64_t now_ns, overlay_random& random,
                          overlay_effects& effects) {
  if (std::erase_if(asked_, [&](const asked_peer& a) { return a.id.node == from.node; }) == 0) return;
  if (m.flag) return add_neighbor(from, now_ns, random, effects);
  remember_all(m.peers, {}, random);
  if (active_.empty() && refusals_ < options_.refusals_at_once) {
    ++refusals_;
    fill(now_ns, random, effects);
  }  // else with the next heartbeat: where all are full, asking on and on would be all that is done
}

void hyparview::add_neighbor(const peer_id& peer, std::uint64_t now_ns, overlay_random& random,
                             overlay_effects& effects) {
  if (peer.node == self_.node || is_neighbor(peer)) return;
  if (active_.size() >= options_.active_max) {
    const std::size_t victim = random.below(active_.size());
    const peer_id dropped = active_[victim].id;
    drop_neighbor(victim, effects);
    effects.send(dropped, message(kind::disconnect, true));
    remember_neighbor(dropped, random);
  }
  forget(peer);
  active_.push_back({peer, now_ns});
  effects.neighbors_up.push_back(peer);
}

void hyparview::drop_neighbor(std::size_t index, overlay_effects& effects) {
  effects.neighbors_down.push_back(active_[index].id);
  active_.erase(active_.begin() + static_cast<std::ptrdiff_t>(index));
}

void hyparview::ask(const peer_id& peer, bool must, std::uint64_t now_ns, overlay_effects& effects, bool invited) {
  if (is_asked(peer)) return;
  asked_.push_back({peer, now_ns + options_.answer_ns, invited});
  effects.send(peer, message(kind::neighbor, must));
}

bool hyparview::is_asked(const peer_id& peer) const noexcept {
  return std::any_of(asked_.begin(), asked_.end(), [&](const asked_peer& a) { return a.id == peer; });
}

/// Of those that have been neighbours as likely as of those that others tell of, whoever they are.
const peer_id* hyparview::candidate(overlay_random& random) const {
  const auto one_of = [&](const std::vector<peer_id>& from) -> const peer_id* {
    const std::size_t start = from.empty() ? 0 : random.below(from.size());
    for (std::size_t i = 0; i < from.size(); ++i) {
      const peer_id& p = from[(start + i) % from.size()];
      if (!is_asked(p)) return &p;
    }
    return nullptr;
  };
  const bool former_first = !former_.empty() && random.chance(0.5);
  const peer_id* const first = one_of(former_first ? former_ : passive_);
  return first != nullptr ? first : one_of(former_first ? passive_ : former_);
}

void hyparview::fill(std::uint64_t now_ns, overlay_random& random, overlay_effects& effects) {
  const std::size_t at_once = active_.empty() ? options_.active_max : 2;
  // Who was only invited counts for nothing: it may be nobody.
  auto asked = static_cast<std::size_t>(
      std::count_if(asked_.begin(), asked_.end(), [](const asked_peer& a) { return !a.invited; }));
  for (; active_.size() + asked < options_.active_max && asked < at_once; ++asked) {
    const peer_id* const next = candidate(random);
    if (next == nullptr) break;
    // With one neighbour as with none: that one may have no other either, and full views refuse who does not insist.
    ask(peer_id(*next), active_.size() <= 1, now_ns, effects);
  }
  if (!active_.empty() || asked != 0 || now_ns < next_join_ns_ || contacts_.empty()) return;
  next_join_ns_ = now_ns + options_.rejoin_ns / 2 + random.below(options_.rejoin_ns);
  const peer_id& contact = contacts_[random.below(contacts_.size())];
  asked_.push_back({contact, now_ns + options_.answer_ns});
  effects.send(contact, message(kind::join));
}

// ---- the passive view ----------------------------------------------------------------------------------------------

void hyparview::remember(const peer_id& peer, overlay_random& random) {
  if (peer.node == self_.node || is_neighbor(peer)) return;
  for (const peer_id& p : former_) {
    if (p.node == peer.node) return;
  }
  for (peer_id& p : passive_) {
    if (p.node != peer.node) continue;
    p.incarnation = std::max(p.incarnation, peer.incarnation);
    return;
  }
  if (passive_.size() + former_.size() < options_.passive_max) {
    passive_.push_back(peer);
  } else if (!passive_.empty()) {
    passive_[random.below(passive_.size())] = peer;
  }
}

/// It has been there itself: no hearsay takes its place.
void hyparview::remember_neighbor(const peer_id& peer, overlay_random& random) {
  if (peer.node == self_.node || is_neighbor(peer)) return;
  std::erase_if(passive_, [&](const peer_id& p) { return p.node == peer.node; });
  for (peer_id& p : former_) {
    if (p.node != peer.node) continue;
    p.incarnation = std::max(p.incarnation, peer.incarnation);
    return;
  }
  if (former_.size() >= options_.passive_max / 2) {
    former_[random.below(former_.size())] = peer;
    return;
  }
  former_.push_back(peer);
  if (passive_.size() + former_.size() <= options_.passive_max) return;
  std::swap(passive_[random.below(passive_.size())], passive_.back());
  passive_.pop_back();
}

void hyparview::remember_all(std::span<const peer_id> peers, std::span<const peer_id> sent, overlay_random& random) {
  // A shuffle has no more: who sends more makes them up.
  for (const peer_id& p : peers.first(std::min(peers.size(), 1 + options_.shuffle_active + options_.shuffle_passive))) {
    // What the other has got of ours goes first.
    if (passive_.size() + former_.size() >= options_.passive_max) {
      const auto given = std::find_if(passive_.begin(), passive_.end(), [&](const peer_id& mine) {
        return std::find(sent.begin(), sent.end(), mine) != sent.end();
      });
      if (given != passive_.end()) passive_.erase(given);
    }
    remember(p, random);
  }
}

void hyparview::forget(const peer_id& peer) noexcept {
  std::erase(passive_, peer);
  std::erase(former_, peer);
}

void hyparview::forget_earlier_life(const peer_id& peer, overlay_effects& effects) {
  for (std::size_t i = active_.size(); i-- > 0;) {
    if (active_[i].id.node == peer.node && active_[i].id.incarnation < peer.incarnation) drop_neighbor(i, effects);
  }
  const auto earlier = [&](const peer_id& p) { return p.node == peer.node && p.incarnation < peer.incarnation; };
  std::erase_if(passive_, earlier);
  std::erase_if(former_, earlier);
  for (peer_id& c : contacts_) {
    // 0 stands for whichever life it lives, also the one after this.
    if (c.node == peer.node && c.incarnation != 0) c.incarnation = std::max(c.incarnation, peer.incarnation);
  }
}

std::vector<peer_id> hyparview::sample(overlay_random& random) const {
  std::vector<peer_id> out;
  out.reserve(1 + options_.shuffle_active + options_.shuffle_passive);
  out.push_back(self_);
  // n different ones of `size`, in turn from a random place on.
  const auto take = [&](std::size_t size, std::size_t n, auto&& at) {
    const std::size_t start = size != 0 ? random.below(size) : 0;
    for (std::size_t left = size, i = start; n > 0 && left > 0; --left, i = (i + 1) % size) {
      if (random.below(left) >= n) continue;
      out.push_back(at(i));
      --n;
    }
  };
  take(active_.size(), options_.shuffle_active, [&](std::size_t i) { return active_[i].id; });
  take(passive_.size() + former_.size(), options_.shuffle_passive,
       [&](std::size_t i) { return i < passive_.size() ? passive_[i] : former_[i - passive_.size()]; });
  return out;
}

void hyparview::shuffle(std::uint64_t now_ns, overlay_random& random, overlay_effects& effects) {
  if (random.chance(options_.rewire)) {
    if (const peer_id* const next = candidate(random)) ask(peer_id(*next), true, now_ns, effects);
  }
  overlay_message m = message(kind::shuffle);
  m.who = self_;
  m.ttl = options_.shuffle_walk;
  m.peers = sample(random);
  last_sample_ = m.peers;
  // Who lacks neighbours and knows of nobody else has only its contacts to hear from: two that are left of many would stay two.
  const bool knows_nobody = active_.size() < options_.active_max && passive_.empty() && former_.empty();
  if (!contacts_.empty() && (active_.empty() || knows_nobody || random.chance(options_.rewire))) {
    m.ttl = 0;
    effects.send(contacts_[random.below(contacts_.size())], std::move(m));
  } else if (!active_.empty()) {
    effects.send(active_[random.below(active_.size())].id, std::move(m));
  }
}

void hyparview::on_shuffle(const peer_id& from, const overlay_message& m, overlay_random& random,
                           overlay_effects& effects) {
  // A walk comes from a neighbour; what comes to a contact, from whose it is.
  if (m.who.node == self_.node || (!is_neighbor(from) && !(from == m.who))) return;
  if (m.ttl > 0 && active_.size() > 1) {
    if (const peer_id* const next = step(from, m.who, random)) {
      overlay_message walk = m;
      walk.ttl = static_cast<std::uint8_t>(std::min<int>(m.ttl - 1, options_.shuffle_walk));
      return effects.send(*next, std::move(walk));
    }
  }
  overlay_message reply = message(kind::shuffle_reply);
  reply.peers = sample(random);
  const std::vector<peer_id> sent = reply.peers;
  effects.send(m.who, std::move(reply));
  remember_all(m.peers, sent, random);
}

}  // namespace karyon::detail
