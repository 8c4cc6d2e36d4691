// Which member of a group is picked.
#include <algorithm>

#include "discover/group_store.hpp"
#include "discover/names.hpp"

namespace karyon::detail {

result<member> group_store::pick(std::string_view group, pick_by how, bool local_only) {
  const std::uint64_t hash = hash_of(group);
  shard& s = shard_of(hash);
  const std::lock_guard lock(s.mutex);
  group_entry* const g = find_entry(s, group, hash);
  if (g == nullptr || (g->local.empty() && (local_only || g->remote.empty()))) {
    return fail(errc::not_found, "the group " + std::string(group) + " has no member" +
                                     (local_only ? " on this node" : " that is known here"));
  }
  return choose(s, *g, how, local_only);
}

member group_store::choose(shard& s, group_entry& g, pick_by how, bool local_only) noexcept {
  // Of those elsewhere neither load nor distance is known: who asks for these gets one here, if there is one.
  const bool all =
      !local_only && (g.local.empty() || how == pick_by::random || how == pick_by::round_robin) && !g.remote.empty();
  const std::uint64_t places = g.local.size() + (all ? g.remote.size() : 0);
  const auto elsewhere = [&](std::size_t i) {
    const remote_members::place& far = g.remote.at(i);
    return member_access::elsewhere(far.node, far.number, *this);
  };
  std::uint32_t chosen = 0;
  if (how == pick_by::round_robin) {
    // The turn goes over the places, and then over those elsewhere; one among local members leaves that among all as it is.
    const std::uint32_t end = g.local.end();
    std::uint32_t& turn = all ? g.turn_all : g.turn_here;
    std::uint64_t at = turn;
    if (at >= end + (all ? g.remote.size() : 0)) at = 0;
    while (at < end && !g.local.taken(static_cast<std::uint32_t>(at))) ++at;  // the last place is taken
    turn = static_cast<std::uint32_t>(at + 1);
    if (at >= end) return elsewhere(at - end);
    chosen = static_cast<std::uint32_t>(at);
  } else if (all) {
    const std::uint64_t dice = mixed_bits(++s.dice) % places;
    if (dice >= g.local.size()) return elsewhere(dice - g.local.size());
    chosen = any_place(s, g);
  } else if (how == pick_by::least_loaded) {
    chosen = least_loaded(s, g);
  } else {
    chosen = any_place(s, g);
    if (how == pick_by::nearest) chosen = nearest(g, chosen);
  }
  return g.as_member(g.local.at(chosen));
}

/// Each with the same probability, as long as half of the places are taken: what is thrown 32 times in vain takes the next one.
std::uint32_t group_store::any_place(shard& s, const group_entry& g) const noexcept {
  const std::uint32_t end = g.local.end();
  std::uint32_t at = 0;
  for (int throws = 0; throws < 32; ++throws) {
    at = static_cast<std::uint32_t>(mixed_bits(++s.dice) % end);
    if (g.local.taken(at)) return at;
  }
  return g.local.next_taken(at);
}

std::uint32_t group_store::least_loaded(shard& s, const group_entry& g) const noexcept {
  const std::size_t looks = std::min<std::size_t>(g.local.size(), 8);
  const bool each = g.local.size() <= 8;
  std::uint32_t at = any_place(s, g);
  std::uint32_t best = at;
  std::uint64_t least = ~std::uint64_t{0};
  for (std::size_t i = 0; i < looks && least != 0; ++i) {
    const cell_slot& slot = *g.local.at(at).slot();
    const bool idle = inbox_word::is_idle(slot.inbox.look());
    const std::uint64_t load = idle ? 0 : std::uint64_t{1} + slot.queued.load(std::memory_order_relaxed);
    if (load < least) best = at;
    least = std::min(least, load);
    at = each ? g.local.next_taken(at + 1) : any_place(s, g);
  }
  return best;
}

std::uint32_t group_store::nearest(const group_entry& g, std::uint32_t from) const noexcept {
  const covered here;
  worker* const mine = worker_at_hand();
  scheduler& workers = directory_.runtime().workers();
  if (mine == nullptr || &mine->owner() != &workers) return from;
  std::uint32_t at = from;
  for (std::size_t i = 0; i < std::min<std::size_t>(g.local.size(), 64); ++i) {
    if (workers.at(g.local.at(at).slot()->home).node() == mine->node()) return at;
    at = g.local.next_taken(at + 1);
  }
  return from;
}

}  // namespace karyon::detail
