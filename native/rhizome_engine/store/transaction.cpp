// SPDX-License-Identifier: Apache-2.0
#include "store/transaction.hpp"

#include <algorithm>
#include <cassert>

#include "store/detail/core.hpp"
#include "store/detail/transaction_state.hpp"
#include "store/view.hpp"

namespace rhizome {
namespace {

result<void> check_label(label l) {
  if (l < labels_max) return {};
  return fail(errc::invalid_argument, "the label is not below labels_max");
}

result<void> check_key(property_key key) {
  if (key < property_keys_max) return {};
  return fail(errc::invalid_argument, "the property key is not below property_keys_max");
}

result<void> check_valid(const interval& valid) {
  if (!valid.empty()) return {};
  return fail(errc::invalid_argument, "the valid interval is empty: `from` has to be before `to`");
}

tl::unexpected<error> finished() { return fail(errc::read_only, "the transaction is finished: begin another"); }
tl::unexpected<error> no_vertex_there() { return fail(errc::not_found, "the vertex is not there"); }
tl::unexpected<error> no_arc_there() { return fail(errc::not_found, "the arc is not there"); }

}  // namespace

// --- what it holds ---------------------------------------------------------------------------------------------------------

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
  if ((own_used + 1) * 2 > own.size()) grow_own();
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

void transaction::state::grow_own() const {
  std::vector<own_arc> old(std::max<std::size_t>(16, own.size() * 2));
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
  if (count(gone.arc_label, gone.source, gone.target) == 0) drop_properties(op);  // they belong to the pair
}

bool transaction::state::added_in_bulk(std::uint32_t op) const noexcept {
  return std::any_of(bulks.begin(), bulks.end(),
                     [op](const detail::bulk_changes& b) { return op - 1 >= b.first && op - 1 < b.last; });
}

result<void> transaction::state::check(label l, vertex s, vertex t) const {
  if (!open) return finished();
  if (auto fine = check_label(l); !fine) return fine;
  if (!alive(s) || !alive(t)) return no_vertex_there();
  return {};
}

result<void> transaction::state::check(label l, std::span<const arc> list) const {
  if (!open) return finished();
  if (auto fine = check_label(l); !fine) return fine;
  bool there = false;
  if (all_alive && removed.empty() && c->options.shared == nullptr) {
    auto known = [this](vertex v) { return v < bound || is_own(v); };
    there = std::all_of(list.begin(), list.end(), [&](const arc& a) { return known(a.source) && known(a.target); });
  } else {
    there = std::all_of(list.begin(), list.end(), [&](const arc& a) { return alive(a.source) && alive(a.target); });
  }
  if (!there) return no_vertex_there();
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

std::uint32_t transaction::state::count(label l, vertex s, vertex t) const {
  const own_arc* mine = find_own(l, s, t);
  std::uint32_t base = base_count(l, s, t);
  if (mine == nullptr) return base;
  std::uint32_t left = base - std::min(base, mine->removals);
  if (mine->add == 0) return left;
  if (c->options.unique_arcs) return 1;
  auto key = detail::arc_key(*c, s, t);
  for (const log_entry& op : ops)
    if (op.kind_and_key == log_entry::pack(change_kind::add_arc) && op.arc_label == l &&
        detail::arc_key(*c, op.source, op.target) == key)
      ++left;
  return left;
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
  if (base <= gone) return no_arc_there();
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

// --- changes -----------------------------------------------------------------------------------------------------------------

transaction::transaction(std::unique_ptr<state> s) noexcept : state_(std::move(s)) {}
transaction::transaction(transaction&&) noexcept = default;
transaction& transaction::operator=(transaction&&) noexcept = default;
transaction::~transaction() = default;

const snapshot& transaction::reads() const noexcept { return state_->reads; }
std::size_t transaction::size() const noexcept { return state_ ? state_->live_ops : 0; }

void transaction::abort() noexcept {
  if (!state_ || !state_->open) return;
  state_->open = false;
  state_->let_go();
}

result<vertex> transaction::add_vertices(vertex count) {
  if (!state_ || !state_->open) return finished();
  if (count == 0) return fail(errc::invalid_argument, "add_vertices of none");
  std::atomic<vertex>& next = state_->c->next_vertex;
  vertex first = next.load(std::memory_order_relaxed);
  do {
    if (count > state_->c->options.vertices_max - first)
      return fail(errc::limit, "vertices_max is reached: make the store with a larger one");
  } while (!next.compare_exchange_weak(first, first + count, std::memory_order_relaxed));
  state_->ops.reserve(state_->ops.size() + count);
  for (vertex v = first; v < first + count; ++v) state_->push(change_kind::add_vertex, 0, 0, v, no_vertex);
  if (!state_->created.empty() && state_->created.back().first + state_->created.back().count == first) {
    state_->created.back().count += count;
  } else {
    state_->created.push_back({first, count});
  }
  return first;
}

result<void> transaction::remove_vertex(vertex v) {
  if (!state_ || !state_->open) return finished();
  if (!state_->alive(v)) return no_vertex_there();
  state_->index_by_vertex();
  for (label l = 0; l < labels_max; ++l) {
    if (state_->c->tables(l) == nullptr && !state_->own_labels.contains(l)) continue;
    std::vector<vertex> out, in;
    for_each(l, v, direction::out, [&out](vertex w) { out.push_back(w); });
    for (vertex w : out)
      if (auto gone = state_->close(l, v, w, nullptr); !gone) return gone;
    if (state_->c->symmetric()) continue;
    for_each(l, v, direction::in, [&in](vertex w) { in.push_back(w); });
    for (vertex w : in)
      if (auto gone = state_->close(l, w, v, nullptr); !gone) return gone;
  }
  // A vertex that this transaction made goes with what was done to it: nothing is left of it but its id.
  state_->push(change_kind::remove_vertex, 0, 0, v, no_vertex);
  state_->removed.insert(v);
  return {};
}

result<void> transaction::add_arc(label arcs, vertex source, vertex target, interval valid) {
  if (!state_) return finished();
  if (auto fine = state_->check(arcs, source, target); !fine) return fine;
  if (auto fine = check_valid(valid); !fine) return fine;
  if (state_->c->options.unique_arcs && state_->count(arcs, source, target) > 0)
    return fail(errc::already_there, "the arc is there already");
  std::size_t op = state_->push(change_kind::add_arc, arcs, 0, source, target);
  if (!valid.always()) state_->attach(op, valid, {});
  return {};
}

result<void> transaction::add_arcs(label arcs, std::span<const arc> list, on_duplicate then) {
  state* s = state_.get();
  if (s == nullptr) return finished();
  if (auto fine = s->check(arcs, list); !fine) return fine;
  std::size_t first = s->ops.size();
  s->ops.reserve(first + list.size());
  if (!s->c->options.unique_arcs) {
    for (const arc& a : list) s->push(change_kind::add_arc, arcs, 0, a.source, a.target);
    return {};
  }
  s->index_own();
  for (const arc& a : list) {
    std::size_t op = s->push(change_kind::add_arc, arcs, 0, a.source, a.target);
    state::own_arc& mine = s->place_own(op);
    if (mine.add == 0) {
      mine.add = static_cast<std::uint32_t>(op + 1);
      continue;
    }
    s->take_back(op);
    if (then == on_duplicate::skip) continue;
    for (std::size_t i = first; i < op; ++i) {
      if (s->ops[i].kind_and_key == 0) continue;
      s->place_own(i).add = 0;
      s->take_back(i);
    }
    s->indexed = s->ops.size();
    return fail(errc::already_there, "an arc is there twice: in the list, or added before");
  }
  s->indexed = s->ops.size();
  s->bulks.push_back({first, s->ops.size(), then == on_duplicate::skip});
  return {};
}

result<void> transaction::remove_arcs(label arcs, std::span<const arc> list, on_missing then) {
  state* s = state_.get();
  if (s == nullptr) return finished();
  if (auto fine = s->check(arcs, list); !fine) return fine;
  bool at_commit = s->c->options.unique_arcs;
  std::size_t first = s->ops.size();
  result<void> done;
  if (at_commit) {
    s->ops.reserve(first + list.size());
    s->index_own();
    s->closes = s->closes || !list.empty();
  }
  for (const arc& a : list) {
    if (at_commit) {
      std::size_t op = s->push(change_kind::remove_arc, arcs, 0, a.source, a.target);
      state::own_arc& mine = s->place_own(op);
      if (mine.any == op + 1) {  // nothing was done to it before: whether it is there is seen at the commit
        mine.base = static_cast<std::uint32_t>(op + 1);
        mine.removals = 1;
        s->drop_properties(op);
        continue;
      }
      s->ops.pop_back();
      --s->live_ops;
    }
    done = s->close(arcs, a.source, a.target, nullptr);
    if (!done && done.error().code == errc::not_found && then == on_missing::skip) done = {};
    if (!done) break;
    s->index_own();
  }
  if (at_commit) {
    s->indexed = s->ops.size();
    s->bulks.push_back({first, s->ops.size(), then == on_missing::skip});
  }
  return done;
}

result<void> transaction::remove_arc(label arcs, vertex source, vertex target) {
  if (!state_) return finished();
  if (auto fine = state_->check(arcs, source, target); !fine) return fine;
  return state_->close(arcs, source, target, nullptr);
}

result<void> transaction::set_valid(label arcs, vertex source, vertex target, interval valid) {
  if (!state_) return finished();
  if (auto fine = state_->check(arcs, source, target); !fine) return fine;
  if (auto fine = check_valid(valid); !fine) return fine;
  return state_->close(arcs, source, target, &valid);
}

result<void> transaction::set_property(vertex v, property_key key, value data, interval valid) {
  if (!state_ || !state_->open) return finished();
  if (auto fine = check_key(key); !fine) return fine;
  if (auto fine = check_valid(valid); !fine) return fine;
  if (!state_->alive(v)) return no_vertex_there();
  std::size_t op = state_->push(change_kind::set_vertex_property, 0, key, v, no_vertex);
  state_->attach(op, valid, std::move(data));
  return {};
}

result<void> transaction::set_property(label arcs, vertex source, vertex target, property_key key, value data) {
  if (!state_) return finished();
  if (auto fine = state_->check(arcs, source, target); !fine) return fine;
  if (auto fine = check_key(key); !fine) return fine;
  if (state_->count(arcs, source, target) == 0) return no_arc_there();
  std::size_t op = state_->push(change_kind::set_arc_property, arcs, key, source, target);
  state_->attach(op, {}, std::move(data));
  state_->sets_arc_property = true;
  return {};
}

result<label> transaction::name_label(std::string_view name) {
  if (!state_ || !state_->open) return finished();
  if (name.empty()) return fail(errc::invalid_argument, "a label's name is empty");
  auto number = state_->c->label_names.number(name);
  if (!number) return fail(errc::limit, "all labels have names");
  if (!state_->c->label_names.seen(*number, state_->reads.commit()) &&
      std::find(state_->named_labels.begin(), state_->named_labels.end(), *number) == state_->named_labels.end()) {
    std::size_t op = state_->push(change_kind::name_label, *number, 0, no_vertex, no_vertex);
    state_->attach(op, {}, std::string(name));
    state_->named_labels.push_back(*number);
  }
  return *number;
}

result<property_key> transaction::name_property(std::string_view name) {
  if (!state_ || !state_->open) return finished();
  if (name.empty()) return fail(errc::invalid_argument, "a property's name is empty");
  auto number = state_->c->property_names.number(name);
  if (!number) return fail(errc::limit, "all property keys have names");
  if (!state_->c->property_names.seen(*number, state_->reads.commit()) &&
      std::find(state_->named_keys.begin(), state_->named_keys.end(), *number) == state_->named_keys.end()) {
    std::size_t op = state_->push(change_kind::name_property, 0, *number, no_vertex, no_vertex);
    state_->attach(op, {}, std::string(name));
    state_->named_keys.push_back(*number);
  }
  return *number;
}

// --- its own reads -----------------------------------------------------------------------------------------------------------

bool transaction::alive(vertex v) const { return state_ && state_->open && state_->alive(v); }

bool transaction::contains(label arcs, vertex source, vertex target) const {
  return state_ && state_->open && arcs < labels_max && state_->alive(source) && state_->alive(target) &&
         state_->count(arcs, source, target) > 0;
}

void transaction::for_each(label arcs, vertex v, direction way, const std::function<void(vertex)>& f) const {
  if (!state_ || !state_->open || arcs >= labels_max || !state_->alive(v)) return;
  const state& s = *state_;
  s.index_own();
  std::vector<std::pair<vertex, std::uint32_t>> removed;  // of parallel arcs, how many are not to be shown
  if (v < s.bound) {
    s.reads.newest(arcs, way).for_each(v, [&](vertex w) {
      const auto* mine = way == direction::out ? s.find_own(arcs, v, w) : s.find_own(arcs, w, v);
      if (mine != nullptr && mine->removals > 0) {
        auto it = std::find_if(removed.begin(), removed.end(), [w](const auto& r) { return r.first == w; });
        if (it == removed.end()) it = removed.insert(removed.end(), {w, mine->removals});
        if (it->second > 0) {
          --it->second;
          return;
        }
      }
      f(w);
    });
  }
  s.index_by_vertex();
  auto touching = s.by_vertex.find(v);
  if (touching == s.by_vertex.end()) return;
  for (std::uint32_t i : touching->second) {
    const log_entry& op = s.ops[i];
    if (op.kind_and_key != log_entry::pack(change_kind::add_arc) || op.arc_label != arcs) continue;
    bool from = op.source == v && (way == direction::out || s.c->symmetric());
    bool to = op.target == v && (way == direction::in || s.c->symmetric());
    if (!from && !to) continue;
    if (s.c->options.unique_arcs && s.added_in_bulk(i + 1)) {
      const auto* mine = s.find_own(arcs, op.source, op.target);
      if (mine->removals == 0 && s.base_count(arcs, op.source, op.target) > 0) continue;  // to be skipped or refused
    }
    f(from ? op.target : op.source);
  }
}

std::vector<label> transaction::labels() const {
  std::vector<label> out;
  if (!state_ || !state_->open) return out;
  state_->index_by_vertex();
  for (label l = 0; l < labels_max; ++l)
    if (state_->c->tables(l) != nullptr || state_->own_labels.contains(l)) out.push_back(l);
  return out;
}

std::size_t transaction::scan_length(label arcs, vertex source, vertex target) const noexcept {
  if (!state_ || !state_->open || arcs >= labels_max || std::max(source, target) >= state_->bound) return 0;
  const detail::core& c = *state_->c;
  if (c.tables(arcs) == nullptr) return 0;
  return std::min(c.side(arcs, direction::out)->positions(source), c.side(arcs, direction::in)->positions(target));
}

std::size_t transaction::arcs_of(vertex v) const noexcept {
  if (!state_ || !state_->open || v >= state_->bound) return 0;
  const detail::core& c = *state_->c;
  std::size_t arcs = 0;
  for (label l = 0; l < labels_max; ++l) {
    if (c.tables(l) == nullptr) continue;
    arcs += c.side(l, direction::out)->positions(v);
    if (!c.symmetric()) arcs += c.side(l, direction::in)->positions(v);
  }
  return arcs;
}

result<value> transaction::property(vertex v, property_key key) const {
  if (!state_ || !state_->open) return finished();
  if (auto fine = check_key(key); !fine) return tl::unexpected<error>(fine.error());
  if (!state_->alive(v)) return no_vertex_there();
  for (std::size_t i = state_->ops.size(); i-- > 0;) {
    const log_entry& op = state_->ops[i];
    if (op.kind() == change_kind::set_vertex_property && op.source == v && op.key() == key)
      return state_->data[op.commit - 1].value_;
  }
  if (v >= state_->bound) return value{};
  return state_->reads.property(v, key);
}

result<value> transaction::property(label arcs, vertex source, vertex target, property_key key) const {
  if (!state_) return finished();
  if (auto fine = state_->check(arcs, source, target); !fine) return tl::unexpected<error>(fine.error());
  if (auto fine = check_key(key); !fine) return tl::unexpected<error>(fine.error());
  if (state_->count(arcs, source, target) == 0) return no_arc_there();
  auto wanted = detail::arc_key(*state_->c, source, target);
  for (std::size_t i = state_->ops.size(); i-- > 0;) {
    const log_entry& op = state_->ops[i];
    if (op.kind() == change_kind::set_arc_property && op.arc_label == arcs && op.key() == key &&
        detail::arc_key(*state_->c, op.source, op.target) == wanted)
      return state_->data[op.commit - 1].value_;
  }
  const auto* mine = state_->find_own(arcs, source, target);
  if (mine != nullptr && mine->add != 0 && !(state_->added_in_bulk(mine->add) && mine->removals == 0)) return value{};
  if (state_->base_count(arcs, source, target) == 0) return value{};
  return state_->reads.property(arcs, source, target, key, std::nullopt);
}

result<commit_number> transaction::commit() {
  if (!state_ || !state_->open) return finished();
  state* mine = state_.get();
  result<commit_number> outcome = [&] {
    std::lock_guard lock(mine->c->writer);
    return mine->c->commit(std::span<state* const>(&mine, 1)).front();
  }();
  mine->let_go();
  return outcome;
}

}  // namespace rhizome
