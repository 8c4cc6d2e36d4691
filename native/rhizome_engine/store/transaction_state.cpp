// SPDX-License-Identifier: Apache-2.0
//
// What a transaction holds until its commit: its changes in order, and by arc what it did to each.
#include "store/detail/transaction_state.hpp"

#include <algorithm>
#include <bit>
#include <new>

#include "store/detail/refusals.hpp"

namespace rhizome {

namespace {

constexpr std::size_t room_bytes_min = std::size_t{64} << 10;  // less is had from the heap as fast
constexpr std::size_t room_bytes_max = std::size_t{8} << 20;   // more is not kept for nobody

}  // namespace

transaction::state::state(snapshot s) : reads(std::move(s)), c(const_cast<detail::core*>(&reads.inside())) {
  const auto& row = c->row(reads.commit());
  bound = row.vertices;
  all_alive = row.alive == row.vertices;
  if (c->spare.load(std::memory_order_relaxed) == nullptr) return;
  room_left.reset(c->spare.exchange(nullptr, std::memory_order_acquire));  // partner: let_go
  if (room_left == nullptr) return;
  ops.swap(room_left->ops);
  data.swap(room_left->data);
}

void transaction::state::let_go() noexcept {
  seen_out.reset();
  seen_in.reset();
  const std::size_t bytes = ops.capacity() * sizeof(log_entry) + data.capacity() * sizeof(datum);
  if (bytes >= room_bytes_min && bytes <= room_bytes_max) {
    if (room_left == nullptr) room_left.reset(new (std::nothrow) detail::transaction_room);
    if (room_left != nullptr) {
      ops.clear();
      data.clear();
      ops.swap(room_left->ops);
      data.swap(room_left->data);
      // Releases what was written to them; partner: state()
      room_left.reset(c->spare.exchange(room_left.release(), std::memory_order_acq_rel));
    }
  }
  snapshot gone(std::move(reads));
}

bool transaction::state::is_own(vertex v) const noexcept {
  return std::any_of(created.rbegin(), created.rend(),
                     [v](const vertex_range& r) { return v >= r.first && v - r.first < r.count; });
}

bool transaction::state::alive(vertex v) const noexcept {
  if (!c->has(v)) return c->options.shared != nullptr;  // another shard's: that one says whether it is there
  if (v < bound && all_alive && removed.empty()) return true;
  if (removed.contains(v)) return false;
  return reads.alive(v) || is_own(v);
}

std::size_t transaction::state::push(change_kind kind, label l, property_key key, vertex s, vertex t) {
  ops.push_back({0, s, t, l, log_entry::pack(kind, key)});
  ++live_ops;
  return ops.size() - 1;
}

void transaction::state::attach(std::size_t op, interval valid, value datum_value) {
  if (ops[op].commit == 0) {
    data.push_back({});
    ops[op].commit = static_cast<commit_number>(data.size());
  }
  data[ops[op].commit - 1] = {valid, std::move(datum_value)};
}

void transaction::state::take_back(std::size_t op) {
  ops[op].kind_and_key = 0;
  --live_ops;
}

namespace {

std::size_t own_home(label l, vertex s, vertex t, std::size_t mask) noexcept {
  std::uint64_t mixed = ((std::uint64_t{s} << 32) | t) + std::uint64_t{l} * 0x9e37'79b9'7f4a'7c55ULL;
  return ((mixed * 0xff51'afd7'ed55'8ccdULL) >> 29) & mask;
}

}  // namespace

const transaction::state::own_arc* transaction::state::find_own(label l, vertex source, vertex target) const {
  index_own();
  if (own.empty()) return nullptr;
  auto [s, t] = detail::arc_key(*c, source, target);
  for (std::size_t i = own_home(l, s, t, own.size() - 1);; i = (i + 1) & (own.size() - 1)) {
    const own_arc& slot = own[i];
    if (slot.any == 0) return nullptr;
    const log_entry& op = ops[slot.any - 1];
    if (op.arc_label == l && detail::arc_key(*c, op.source, op.target) == std::pair{s, t}) return &slot;
  }
}

transaction::state::own_arc& transaction::state::place_own(std::size_t op) const {
  if ((own_used + 1) * 2 > own.size()) grow_own(1);
  const log_entry& mine = ops[op];
  auto [s, t] = detail::arc_key(*c, mine.source, mine.target);
  std::size_t i = own_home(mine.arc_label, s, t, own.size() - 1);
  for (;; i = (i + 1) & (own.size() - 1)) {
    own_arc& slot = own[i];
    if (slot.any == 0) {
      slot.any = static_cast<std::uint32_t>(op + 1);
      ++own_used;
      return slot;
    }
    const log_entry& there = ops[slot.any - 1];
    if (there.arc_label == mine.arc_label && detail::arc_key(*c, there.source, there.target) == std::pair{s, t})
      return slot;
  }
}

void transaction::state::grow_own(std::size_t more) const {
  const std::size_t wanted = std::bit_ceil(std::max<std::size_t>(8, own_used + more) * 2);
  if (wanted <= own.size()) return;
  std::vector<own_arc> old(wanted);
  old.swap(own);
  for (const own_arc& slot : old) {
    if (slot.any == 0) continue;
    const log_entry& op = ops[slot.any - 1];
    auto [s, t] = detail::arc_key(*c, op.source, op.target);
    std::size_t i = own_home(op.arc_label, s, t, own.size() - 1);
    while (own[i].any != 0) i = (i + 1) & (own.size() - 1);
    own[i] = slot;
  }
}

/// Takes account of the ops since the last time. Adds only: the others are entered as they are made.
void transaction::state::index_own() const {
  for (; indexed < ops.size(); ++indexed) {
    const log_entry& op = ops[indexed];
    if (op.kind_and_key == log_entry::pack(change_kind::add_arc))
      place_own(indexed).add = static_cast<std::uint32_t>(indexed + 1);
  }
}

/// The same for walks: the adds at each vertex.
void transaction::state::index_by_vertex() const {
  for (; walked < ops.size(); ++walked) {
    const log_entry& op = ops[walked];
    if (op.kind_and_key != log_entry::pack(change_kind::add_arc)) continue;
    by_vertex[op.source].push_back(static_cast<std::uint32_t>(walked));
    if (op.target != op.source) by_vertex[op.target].push_back(static_cast<std::uint32_t>(walked));
    own_labels.insert(op.arc_label);
  }
}

void transaction::state::drop_add(own_arc& mine) {
  std::size_t op = mine.add - 1;
  log_entry gone = ops[op];
  take_back(op);
  mine.add = 0;
  auto key = detail::arc_key(*c, gone.source, gone.target);
  auto same = [&](const log_entry& e) {
    return e.arc_label == gone.arc_label && detail::arc_key(*c, e.source, e.target) == key;
  };
  if (c->options.unique_arcs) {
    drop_properties(op);
    return;
  }
  for (std::size_t i = op; i-- > 0 && mine.add == 0;)  // the parallel arc added before
    if (ops[i].kind_and_key == log_entry::pack(change_kind::add_arc) && same(ops[i]))
      mine.add = static_cast<std::uint32_t>(i + 1);
  if (!has_arc(gone.arc_label, gone.source, gone.target)) drop_properties(op);  // they belong to the pair
}

bool transaction::state::added_in_bulk(std::uint32_t op) const noexcept {
  return std::any_of(bulks.begin(), bulks.end(),
                     [op](const detail::bulk_changes& b) { return op - 1 >= b.first && op - 1 < b.last; });
}

result<void> transaction::state::check(label l, vertex s, vertex t) const {
  if (!open) return detail::finished();
  if (auto fine = detail::check_label(l); !fine) return fine;
  if (!alive(s) || !alive(t)) return detail::no_vertex_there();
  return {};
}

result<void> transaction::state::check(label l, std::span<const arc> list) const {
  if (!open) return detail::finished();
  if (auto fine = detail::check_label(l); !fine) return fine;
  bool there = false;
  if (all_alive && removed.empty() && c->options.shared == nullptr) {
    auto known = [this](vertex v) { return v < bound || is_own(v); };
    there = std::all_of(list.begin(), list.end(), [&](const arc& a) { return known(a.source) && known(a.target); });
  } else {
    there = std::all_of(list.begin(), list.end(), [&](const arc& a) { return alive(a.source) && alive(a.target); });
  }
  if (!there) return detail::no_vertex_there();
  return {};
}

std::uint32_t transaction::state::base_count(label l, vertex s, vertex t) const {
  if ((c->has(s) && s >= bound) || (c->has(t) && t >= bound)) return 0;
  if (!seen_out || seen_label != l) {
    seen_label = l;
    seen_out.emplace(reads.newest(l, direction::out));
    seen_in.emplace(reads.newest(l, direction::in));
  }
  bool by_source = !c->has(t) || (c->has(s) && seen_out->degree(s) <= seen_in->degree(t));
  return by_source ? seen_out->count_of(s, t) : seen_in->count_of(t, s);
}

bool transaction::state::has_arc(label l, vertex s, vertex t) const {
  const own_arc* mine = find_own(l, s, t);
  if (mine != nullptr && mine->add != 0) return true;
  return base_count(l, s, t) > (mine == nullptr ? 0 : mine->removals);
}

/// Removes the arc (corrected: null) or corrects its time.
result<void> transaction::state::close(label l, vertex s, vertex t, const interval* corrected) {
  auto* mine = const_cast<own_arc*>(find_own(l, s, t));
  if (mine != nullptr && mine->add != 0) {
    bool hides_base = c->options.unique_arcs && mine->base == 0 && added_in_bulk(mine->add) && base_count(l, s, t) > 0;
    if (!hides_base) {
      if (corrected != nullptr) {
        attach(mine->add - 1, *corrected, {});
      } else {
        drop_add(*mine);
      }
      return {};
    }
    drop_add(*mine);
  }
  std::uint32_t base = base_count(l, s, t);
  std::uint32_t gone = mine == nullptr ? 0 : mine->removals;
  if (base <= gone) return detail::no_arc_there();
  closes = true;
  if (mine != nullptr && mine->base != 0 && ops[mine->base - 1].kind() == change_kind::set_valid) {
    log_entry& op = ops[mine->base - 1];
    if (corrected != nullptr) {
      attach(mine->base - 1, *corrected, {});
    } else {
      op.kind_and_key = log_entry::pack(change_kind::remove_arc);
      op.commit = 0;
      ++mine->removals;
      drop_properties(mine->base - 1);
    }
    return {};
  }
  std::size_t op = push(corrected != nullptr ? change_kind::set_valid : change_kind::remove_arc, l, 0, s, t);
  if (corrected != nullptr) attach(op, *corrected, {});
  own_arc& slot = place_own(op);
  slot.base = static_cast<std::uint32_t>(op + 1);
  slot.removals += corrected == nullptr ? 1 : 0;
  if (corrected == nullptr) drop_properties(op);
  return {};
}

/// Takes back what was set on the arc of `op`, which is removed.
void transaction::state::drop_properties(std::size_t op) {
  if (!sets_arc_property) return;
  const log_entry gone = ops[op];
  auto key = detail::arc_key(*c, gone.source, gone.target);
  for (std::size_t i = 0; i < ops.size(); ++i)
    if (ops[i].kind() == change_kind::set_arc_property && ops[i].arc_label == gone.arc_label &&
        detail::arc_key(*c, ops[i].source, ops[i].target) == key)
      take_back(i);
}

}  // namespace rhizome
