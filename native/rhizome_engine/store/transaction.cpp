// SPDX-License-Identifier: Apache-2.0
//
// The changes that a transaction takes, and its end. transaction_state.cpp has what it holds, transaction_reads.cpp what it sees.
#include "store/transaction.hpp"

#include <algorithm>

#include "store/detail/refusals.hpp"
#include "store/detail/transaction_state.hpp"

namespace rhizome {
namespace {

result<void> check_valid(const interval& valid) {
  if (!valid.empty()) return {};
  return fail(errc::invalid_argument, "the valid interval is empty: `from` has to be before `to`");
}

}  // namespace

using detail::check_key;
using detail::finished;
using detail::no_arc_there;
using detail::no_vertex_there;

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
  if (state_->c->options.unique_arcs && state_->has_arc(arcs, source, target))
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
  s->grow_own(list.size());
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
    s->grow_own(list.size());
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
  if (!state_->has_arc(arcs, source, target)) return no_arc_there();
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
