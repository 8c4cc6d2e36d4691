// SPDX-License-Identifier: Apache-2.0
//
// What a transaction sees of the graph: its snapshot, and its own changes on top.
#include <algorithm>

#include "store/detail/refusals.hpp"
#include "store/detail/transaction_state.hpp"

namespace rhizome {

using detail::check_key;
using detail::finished;
using detail::no_arc_there;
using detail::no_vertex_there;

bool transaction::alive(vertex v) const { return state_ && state_->open && state_->alive(v); }

bool transaction::contains(label arcs, vertex source, vertex target) const {
  return state_ && state_->open && arcs < labels_max && state_->alive(source) && state_->alive(target) &&
         state_->has_arc(arcs, source, target);
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
  if (!state_->has_arc(arcs, source, target)) return no_arc_there();
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

}  // namespace rhizome
