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
  forget_earlier_life(from, effects);
  for (neighbor_state& n : active_) {
    if (n.id == from) n.heard_ns = now_ns;
  }
  switch (m.what) {
    case kind::join: return on_join(from, now_ns, random, effects);
    case kind::forward_join: return on_forward_join(from, m, now_ns, random, effects);
    case kind::neighbor: return on_neighbor(from, m.flag, now_ns, random, effects);
    case kind::neighbor_answer: return on_answer(from, m.flag, now_ns, random, effects);
    case kind::disconnect: {
      const auto found = std::find_if(active_.begin(), active_.end(), [&](const auto& n) { return n.id == from; });
      if (found != active_.end()) drop_neighbor(static_cast<std::size_t>(found - active_.begin()), effects);
      if (m.flag) {
        remember(from, random);
      } else {
        forget(from);
      }
      return fill(now_ns, random, effects);
    }
    case kind::shuffle: return on_shuffle(from, m, random, effects);
    case kind::shuffle_reply: return remember_all(m.peers, last_sample_, random);
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

void hyparview::on_join(const peer_id& from, std::uint64_t now_ns, overlay_random& random, overlay_effects& effects) {
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
  if (m.who.node == self_.node) return;
  forget_earlier_life(m.who, effects);
  if (m.ttl == 0 || active_.size() <= 1) {
    if (!is_neighbor(m.who)) ask(m.who, true, now_ns, effects);
    return;
  }
  if (m.ttl == options_.passive_walk) remember(m.who, random);
  std::vector<peer_id> next;
  for (const neighbor_state& n : active_) {
    if (!(n.id == from) && !(n.id == m.who)) next.push_back(n.id);
  }
  if (next.empty()) {
    if (!is_neighbor(m.who)) ask(m.who, true, now_ns, effects);
    return;
  }
  overlay_message walk = m;
  walk.ttl = static_cast<std::uint8_t>(std::min<int>(m.ttl - 1, options_.active_walk));  // m's is a peer's word
  effects.send(next[random.below(next.size())], walk);
}

// ---- neighbours ----------------------------------------------------------------------------------------------------

void hyparview::on_neighbor(const peer_id& from, bool must, std::uint64_t now_ns, overlay_random& random,
                            overlay_effects& effects) {
  const bool agreed = must || is_neighbor(from) || active_.size() < options_.active_max;
  if (agreed) add_neighbor(from, now_ns, random, effects);
  effects.send(from, message(kind::neighbor_answer, agreed));
}

void hyparview::on_answer(const peer_id& from, bool agreed, std::uint64_t now_ns, overlay_random& random,
                          overlay_effects& effects) {
  std::erase_if(asked_, [&](const asked_peer& a) { return a.id.node == from.node; });
  if (agreed) {
    add_neighbor(from, now_ns, random, effects);
  } else if (active_.empty()) {
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
    remember(dropped, random);
  }
  forget(peer);
  active_.push_back({peer, now_ns});
  effects.neighbors_up.push_back(peer);
}

void hyparview::drop_neighbor(std::size_t index, overlay_effects& effects) {
  effects.neighbors_down.push_back(active_[index].id);
  active_.erase(active_.begin() + static_cast<std::ptrdiff_t>(index));
}

void hyparview::ask(const peer_id& peer, bool must, std::uint64_t now_ns, overlay_effects& effects) {
  if (std::any_of(asked_.begin(), asked_.end(), [&](const asked_peer& a) { return a.id == peer; })) return;
  asked_.push_back({peer, now_ns + options_.answer_ns});
  effects.send(peer, message(kind::neighbor, must));
}

void hyparview::fill(std::uint64_t now_ns, overlay_random& random, overlay_effects& effects) {
  const std::size_t at_once = active_.empty() ? options_.active_max : 2;
  while (active_.size() + asked_.size() < options_.active_max && asked_.size() < at_once) {
    std::vector<peer_id> candidates;
    for (const peer_id& p : passive_) {
      if (std::none_of(asked_.begin(), asked_.end(), [&](const asked_peer& a) { return a.id == p; })) {
        candidates.push_back(p);
      }
    }
    if (candidates.empty()) break;
    ask(candidates[random.below(candidates.size())], active_.empty(), now_ns, effects);
  }
  if (!active_.empty() || !asked_.empty() || now_ns < next_join_ns_ || contacts_.empty()) return;
  next_join_ns_ = now_ns + options_.rejoin_ns / 2 + random.below(options_.rejoin_ns);
  const peer_id& contact = contacts_[random.below(contacts_.size())];
  asked_.push_back({contact, now_ns + options_.answer_ns});
  effects.send(contact, message(kind::join));
}

// ---- the passive view ----------------------------------------------------------------------------------------------

void hyparview::remember(const peer_id& peer, overlay_random& random) {
  if (peer.node == self_.node || is_neighbor(peer)) return;
  for (peer_id& p : passive_) {
    if (p.node != peer.node) continue;
    p.incarnation = std::max(p.incarnation, peer.incarnation);
    return;
  }
  if (passive_.size() >= options_.passive_max) {
    passive_[random.below(passive_.size())] = peer;
  } else {
    passive_.push_back(peer);
  }
}

void hyparview::remember_all(std::span<const peer_id> peers, std::span<const peer_id> sent, overlay_random& random) {
  for (const peer_id& p : peers) {
    // What the other has got of ours goes first.
    if (passive_.size() >= options_.passive_max) {
      const auto given = std::find_if(passive_.begin(), passive_.end(), [&](const peer_id& mine) {
        return std::find(sent.begin(), sent.end(), mine) != sent.end();
      });
      if (given != passive_.end()) passive_.erase(given);
    }
    remember(p, random);
  }
}

void hyparview::forget(const peer_id& peer) noexcept { std::erase(passive_, peer); }

void hyparview::forget_earlier_life(const peer_id& peer, overlay_effects& effects) {
  for (std::size_t i = active_.size(); i-- > 0;) {
    if (active_[i].id.node == peer.node && active_[i].id.incarnation < peer.incarnation) drop_neighbor(i, effects);
  }
  std::erase_if(passive_, [&](const peer_id& p) { return p.node == peer.node && p.incarnation < peer.incarnation; });
  for (peer_id& c : contacts_) {
    // 0 stands for whichever life it lives, also the one after this.
    if (c.node == peer.node && c.incarnation != 0) c.incarnation = std::max(c.incarnation, peer.incarnation);
  }
}

std::vector<peer_id> hyparview::sample(overlay_random& random) const {
  std::vector<peer_id> out{self_};
  const auto take = [&](std::vector<peer_id> from, std::size_t n) {
    for (; n > 0 && !from.empty(); --n) {
      const std::size_t i = random.below(from.size());
      out.push_back(from[i]);
      from[i] = from.back();
      from.pop_back();
    }
  };
  take(neighbors(), options_.shuffle_active);
  take(passive_, options_.shuffle_passive);
  return out;
}

void hyparview::shuffle(std::uint64_t now_ns, overlay_random& random, overlay_effects& effects) {
  if (!passive_.empty() && random.chance(options_.rewire)) {
    ask(passive_[random.below(passive_.size())], true, now_ns, effects);
  }
  overlay_message m = message(kind::shuffle);
  m.who = self_;
  m.ttl = options_.shuffle_walk;
  m.peers = sample(random);
  last_sample_ = m.peers;
  if (!contacts_.empty() && (active_.empty() || random.chance(options_.rewire))) {
    m.ttl = 0;
    effects.send(contacts_[random.below(contacts_.size())], std::move(m));
  } else if (!active_.empty()) {
    effects.send(active_[random.below(active_.size())].id, std::move(m));
  }
}

void hyparview::on_shuffle(const peer_id& from, const overlay_message& m, overlay_random& random,
                           overlay_effects& effects) {
  if (m.who.node == self_.node) return;
  if (m.ttl > 0 && active_.size() > 1) {
    std::vector<peer_id> next;
    for (const neighbor_state& n : active_) {
      if (!(n.id == from) && !(n.id == m.who)) next.push_back(n.id);
    }
    if (!next.empty()) {
      overlay_message walk = m;
      walk.ttl = static_cast<std::uint8_t>(std::min<int>(m.ttl - 1, options_.shuffle_walk));
      return effects.send(next[random.below(next.size())], std::move(walk));
    }
  }
  overlay_message reply = message(kind::shuffle_reply);
  reply.peers = sample(random);
  const std::vector<peer_id> sent = reply.peers;
  effects.send(m.who, std::move(reply));
  remember_all(m.peers, sent, random);
}

}  // namespace karyon::detail
