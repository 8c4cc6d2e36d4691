#pragma once

// Ranges as they were at one moment: part of tree.hpp.

#include <algorithm>

#include <karyon/matrix/detail/tree.hpp>

namespace karyon::detail {

/// Base nodes that are held for a range, from left to right.
template <class Visited>
class held_nodes {
public:
  explicit held_nodes(const std::vector<Visited>& nodes) noexcept : nodes_(&nodes) {}
  held_nodes(const held_nodes&) = delete;
  held_nodes& operator=(const held_nodes&) = delete;
  ~held_nodes() {
    for (const Visited& v : *nodes_) v.node->lock.release_hold();
  }

private:
  const std::vector<Visited>* nodes_;
};

template <class Key, class Value, class Compare>
void tree<Key, Value, Compare>::scan(epoch_pin& pin, const bound& from, const bound& to, bool upwards,
                                     std::size_t limit, std::vector<found_entry>& found) const {
  // Few base nodes are seldom changed between two looks; of many, one always is where there are writers.
  constexpr std::size_t many = 64;
  constexpr unsigned attempts_without_holds = 4;
  std::vector<visited> path;
  for (unsigned attempt = 0; attempt < attempts_without_holds; ++attempt) {
    found.clear();
    path.clear();
    if (scan_once(from, to, upwards, limit, scan_mode::checked, found, path)) return;
    if (path.size() > many) break;
  }
  if (upwards) return scan_held(pin, from, to, limit, found);
  // Holds go upwards only, so downwards it takes a key to begin at: one that was there a moment ago, with nothing of interest
  // below it. Where that has gone meanwhile, and another one as well, all are held.
  for (unsigned attempt = 0; attempt < attempts_without_holds; ++attempt) {
    found.clear();
    path.clear();
    static_cast<void>(scan_once(from, to, false, limit, scan_mode::guessed, found, path));
    if (found.size() < limit) break;
    const Key lowest(keys::get(found.back().key));
    scan_held(pin, {&lowest, true}, to, no_limit, found);
    if (found.size() >= limit) return turn_round(limit, found);
  }
  scan_held(pin, from, to, no_limit, found);
  turn_round(limit, found);
}

/// Upwards, and nobody changes what was read until all of it is. Who holds one node may wait for the next one: in this order all of
/// them do, and nobody else waits with a lock in hand.
template <class Key, class Value, class Compare>
void tree<Key, Value, Compare>::scan_held(epoch_pin& pin, const bound& from, const bound& to, std::size_t limit,
                                          std::vector<found_entry>& found) const {
  if (pin.is_within(this, true)) throw_nested_range();  // it would wait for itself
  const user_code_mark comparisons(pin.record(), this, true);
  found.clear();
  std::vector<visited> path;
  const held_nodes<visited> holds(path);
  static_cast<void>(scan_once(from, to, true, limit, scan_mode::held, found, path));
}

template <class Key, class Value, class Compare>
void tree<Key, Value, Compare>::turn_round(std::size_t limit, std::vector<found_entry>& found) {
  std::reverse(found.begin(), found.end());
  if (found.size() > limit) found.resize(limit);
}

template <class Key, class Value, class Compare>
bool tree<Key, Value, Compare>::scan_once(const bound& from, const bound& to, bool upwards, std::size_t limit,
                                          scan_mode mode, std::vector<found_entry>& found,
                                          std::vector<visited>& path) const {
  const bool hold = mode == scan_mode::held;
  const bound& start = upwards ? from : to;
  bool first = true;
  slot_word edge = 0;  // the separator that the next base node lies at
  const auto pick = [&](const route_node& n, std::uint32_t count) -> std::uint32_t {
    if (first && start.key == nullptr) return upwards ? 0 : count;
    if (first) return by_key(*start.key)(n, count);
    decltype(auto) at = keys::get(edge);
    if (upwards) return partition_slots(n.keys.data(), count, [&](slot_word s) { return !key_below(at, s); });
    return partition_slots(n.keys.data(), count, [&](slot_word s) { return slot_below(s, at); });
  };
  for (unsigned refusals = 0;;) {
    place p;
    while (!descend<true>(pick, p)) {
    }
    if (hold) {
      // What is held must be on the list, whatever throws.
      if (path.size() == path.capacity()) path.reserve(2 * path.size() + 16);
      if (!p.at->lock.try_hold(p.version)) {
        wait_for_node(refusals++);
        continue;
      }
      p.at->statistic.fetch_add(range_over_several, std::memory_order_relaxed);
    }
    path.push_back({p.at, p.version});
    // Acquire pairs with the releases of those who change nodes (nodes.hpp): who sees the count sees the slots below it.
    const std::uint32_t count = p.at->count.load(std::memory_order_acquire);
    std::uint32_t begin = 0;
    std::uint32_t end = count;
    if (from.key != nullptr) {
      begin = partition_slots(p.at->keys.data(), count, [&](slot_word k) {
        return from.inclusive ? slot_below(k, *from.key) : !key_below(*from.key, k);
      });
    }
    if (to.key != nullptr) {
      end = partition_slots(p.at->keys.data(), count, [&](slot_word k) {
        return to.inclusive ? !key_below(*to.key, k) : slot_below(k, *to.key);
      });
    }
    const bool last = upwards ? end < count || !p.has_high : begin > 0 || !p.has_low;
    for (; begin < end && found.size() < limit;) {
      const std::uint32_t i = upwards ? begin++ : --end;
      // The acquire of the key pairs with the release of whoever put it there: what is in its box.
      found.push_back({p.at->keys[i].load(std::memory_order_acquire), values::load(p.at->value_at(i))});
    }
    if (mode == scan_mode::checked && !p.at->lock.unchanged(p.version)) return false;
    if (last || found.size() >= limit) break;
    edge = upwards ? p.high : p.low;
    first = false;
    // Small ones that were split for writers who have gone are a detour for ranges.
    if (!hold && count < base::capacity / 8) p.at->statistic.fetch_add(range_over_several, std::memory_order_relaxed);
  }
  if (mode != scan_mode::checked || path.size() == 1) return true;
  for (const visited& v : path) {
    // By look, as all nodes' looks have one order: of two ranges one could else see one writer alone, the other one another.
    if (v.node->lock.look() != v.version) return false;
  }
  return true;
}

}  // namespace karyon::detail
