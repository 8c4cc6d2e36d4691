// SPDX-License-Identifier: Apache-2.0
#include "nerve/plumtree.hpp"

#include <algorithm>
#include <utility>

namespace karyon::detail {

namespace {

using kind = overlay_message::kind;

bool has(const std::vector<peer_id>& peers, const peer_id& p) noexcept {
  return std::find(peers.begin(), peers.end(), p) != peers.end();
}

}  // namespace

broadcast_id plumtree::broadcast(std::shared_ptr<const std::string> payload, std::uint64_t now_ns,
                                 overlay_effects& effects) {
  overlay_message m;
  m.what = kind::gossip;
  m.id = {origin_, ++sequence_};
  m.payload = std::move(payload);
  static_cast<void>(is_new(m));
  keep(m, now_ns);
  push(m, nullptr, effects);
  return m.id;
}

bool plumtree::hand_on(const broadcast_id& id, std::shared_ptr<const std::string> payload, std::uint64_t now_ns,
                       overlay_effects& effects) {
  overlay_message m;
  m.what = kind::gossip;
  m.who = self_;
  m.id = id;
  if (!is_new(m)) return false;
  no_longer_missing(m);
  effects.deliveries.push_back({id, payload, 0});
  m.payload = std::move(payload);
  keep(m, now_ns);
  push(m, nullptr, effects);
  return true;
}

void plumtree::receive(const peer_id& from, const overlay_message& m, std::uint64_t now_ns, overlay_effects& effects) {
  switch (m.what) {
    case kind::gossip: return on_gossip(from, m, now_ns, effects);
    case kind::have: return on_have(from, m, now_ns);
    case kind::graft: return on_graft(from, m, effects);
    case kind::prune: return make_lazy(from);
    default: return;
  }
}

void plumtree::neighbor_up(const peer_id& peer, std::uint64_t now_ns, overlay_effects& effects) {
  if (has(eager_, peer) || has(lazy_, peer)) return;
  eager_.push_back(peer);
  std::size_t told = 0;
  for (auto i = kept_order_.rbegin(); i != kept_order_.rend() && told < options_.recent_max; ++i, ++told) {
    if (kept_.find(*i)->second.until_ns + options_.recent_ns < now_ns + options_.keep_ns) return;
    overlay_message have;
    have.what = kind::have;
    have.id = i->id;
    have.who = kept_.find(*i)->second.wave;
    effects.send(peer, std::move(have));
  }
}

void plumtree::neighbor_down(const peer_id& peer) {
  std::erase(eager_, peer);
  std::erase(lazy_, peer);
  for (auto& [id, m] : missing_) std::erase(m.have_it, peer);
}

std::uint64_t plumtree::next_ns() const noexcept {
  std::uint64_t next = ~std::uint64_t{0};
  for (const auto& [id, m] : missing_) next = std::min(next, m.due_ns);
  return next;
}

void plumtree::tick(std::uint64_t now_ns, overlay_effects& effects) {
  while (!kept_order_.empty()) {
    const auto oldest = kept_.find(kept_order_.front());
    if (oldest->second.until_ns > now_ns) break;
    kept_.erase(oldest);
    kept_order_.pop_front();
  }
  for (auto i = missing_.begin(); i != missing_.end();) {
    missing_broadcast& m = i->second;
    if (m.due_ns > now_ns) {
      ++i;
    } else if (m.have_it.empty()) {
      i = missing_.erase(i);  // nobody is left to ask; who has it announces it no more
    } else {
      const peer_id from = m.have_it.front();
      m.have_it.erase(m.have_it.begin());
      m.due_ns = now_ns + options_.patience_again_ns;
      make_eager(from);
      overlay_message graft;
      graft.what = kind::graft;
      graft.id = i->first.id;
      graft.who = m.wave;
      effects.send(from, std::move(graft));
      ++i;
    }
  }
}

bool plumtree::is_new(const overlay_message& gossip) {
  const broadcast_id& id = gossip.id;
  if (!name_of(gossip).foreign) return home_.is_new(id.origin, id.sequence);
  return !home_.has_seen(id.origin, id.sequence) && foreign_.is_new(id.origin, id.sequence);
}

void plumtree::no_longer_missing(const overlay_message& gossip) {
  const known_as name = name_of(gossip);
  missing_.erase(name);
  if (!name.foreign) missing_.erase({name.id, true});  // what a gateway brings under its id is left out from now on
}

/// Byte for byte but for the head: by its id alone, who guesses it in another compartment could have it left out here.
bool plumtree::was_brought_by_a_gateway(const overlay_message& gossip) const {
  const known_as name = name_of(gossip);
  if (name.foreign) return false;
  const auto found = kept_.find({name.id, true});
  if (found == kept_.end()) return false;
  const std::string& one = *found->second.payload;
  const std::string& other = *gossip.payload;
  const std::size_t head = options_.head_bytes;
  const std::size_t kept = options_.head_kept;
  return one.size() == other.size() && one.size() >= head && one.compare(0, kept, other, 0, kept) == 0 &&
         one.compare(head, one.npos, other, head, other.npos) == 0;
}

/// Where it was known before, but not by the wave that it comes with now.
bool plumtree::meets_another_wave(const overlay_message& gossip) const {
  bool another = false;
  for (const bool foreign : {false, true}) {
    const auto found = kept_.find({gossip.id, foreign});
    if (found == kept_.end()) continue;
    if (found->second.wave == gossip.who) return false;
    another = true;
  }
  return another;
}

void plumtree::on_gossip(const peer_id& from, const overlay_message& m, std::uint64_t now_ns,
                         overlay_effects& effects) {
  if (m.payload == nullptr) return;
  if (m.ttl >= options_.hops_max) {
    ++too_far_;
    return;
  }
  if (!is_new(m)) {
    ++duplicates_;
    if (meets_another_wave(m)) return;
    make_lazy(from);
    // Each time: if a prune was lost it would send everything twice for as long as it is a neighbour.
    if (has(lazy_, from)) {
      overlay_message prune;
      prune.what = kind::prune;
      effects.send(from, std::move(prune));
    }
    return;
  }
  no_longer_missing(m);
  const auto hops = static_cast<std::uint8_t>(m.ttl + 1);
  if (was_brought_by_a_gateway(m)) {  // delivered, and on its way to all, in the gateway's wave
    ++duplicates_;
    overlay_message here = m;
    here.ttl = hops;
    keep(here, now_ns);
    return;
  }
  effects.deliveries.push_back({m.id, m.payload, hops});
  make_eager(from);
  overlay_message on = m;
  on.ttl = hops;
  keep(on, now_ns);
  push(on, &from, effects);
}

void plumtree::on_have(const peer_id& from, const overlay_message& m, std::uint64_t now_ns) {
  const known_as name = name_of(m);
  if (home_.has_seen(m.id.origin, m.id.sequence)) return;
  if (name.foreign && foreign_.has_seen(m.id.origin, m.id.sequence)) return;
  auto found = missing_.find(name);
  if (found == missing_.end()) {
    if (missing_.size() >= options_.missing_max) return;
    found = missing_.emplace(name, missing_broadcast{m.who, {}, now_ns + options_.patience_ns}).first;
  }
  if (!has(found->second.have_it, from)) found->second.have_it.push_back(from);
}

void plumtree::on_graft(const peer_id& from, const overlay_message& m, overlay_effects& effects) {
  make_eager(from);
  const auto found = kept_.find(name_of(m));
  if (found == kept_.end()) return;
  overlay_message gossip;
  gossip.what = kind::gossip;
  gossip.id = m.id;
  gossip.who = found->second.wave;
  gossip.ttl = found->second.hops;
  gossip.payload = found->second.payload;
  effects.send(from, std::move(gossip));
}

void plumtree::keep(const overlay_message& gossip, std::uint64_t now_ns) {
  kept_broadcast it{gossip.payload, now_ns + options_.keep_ns, gossip.ttl, gossip.who};
  const known_as name = name_of(gossip);
  if (!kept_.emplace(name, std::move(it)).second) return;
  kept_order_.push_back(name);
  if (kept_order_.size() <= options_.keep_max) return;
  kept_.erase(kept_order_.front());
  kept_order_.pop_front();
}

void plumtree::push(const overlay_message& gossip, const peer_id* except, overlay_effects& effects) {
  for (const peer_id& p : eager_) {
    if (except == nullptr || !(p == *except)) effects.send(p, gossip);
  }
  overlay_message have;
  have.what = kind::have;
  have.id = gossip.id;
  have.who = gossip.who;
  for (const peer_id& p : lazy_) {
    if (except == nullptr || !(p == *except)) effects.send(p, have);
  }
}

void plumtree::make_eager(const peer_id& peer) {
  if (std::erase(lazy_, peer) != 0) eager_.push_back(peer);
}

void plumtree::make_lazy(const peer_id& peer) {
  if (std::erase(eager_, peer) != 0) lazy_.push_back(peer);
}

}  // namespace karyon::detail
