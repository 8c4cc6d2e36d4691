// SPDX-License-Identifier: Apache-2.0
//
// Repeating a commit of a log. The record may have been damaged in ways that its checksum misses or been written by another store,
// so each change is checked by itself before the first of them is written.
#include <algorithm>
#include <set>
#include <tuple>
#include <unordered_set>

#include "store/detail/core.hpp"
#include "store/detail/transaction_state.hpp"

namespace rhizome::detail {
namespace {

/// What the changes of a record so far come to, on top of the store.
class checker {
public:
  checker(core& c, const commit_record& record)
      : c_(c), sets_arc_property_(std::any_of(record.changes.begin(), record.changes.end(), [](const change& x) {
          return x.kind == change_kind::set_arc_property;
        })) {}

  [[nodiscard]] const char* check(const change& x) {
    switch (x.kind) {
      case change_kind::add_vertex:
        if (x.source >= c_.options.vertices_max) return "a vertex is beyond vertices_max";
        if (c_.lives[x.source].born.load(std::memory_order_relaxed) != 0 || !born_.insert(x.source).second)
          return "a vertex came to be twice";
        return nullptr;
      case change_kind::remove_vertex:
        if (!c_.has(x.source) || !alive(x.source)) return "a vertex ended that was not there";
        died_.insert(x.source);
        return nullptr;
      case change_kind::set_vertex_property:
        if (!c_.has(x.source) || !alive(x.source)) return "a property of a vertex that is not there";
        return x.key < property_keys_max && x.data != nullptr && !x.valid.empty() ? nullptr
                                                                                  : "a property that can not be";
      case change_kind::name_label:
        return x.arc_label < labels_max && is_name(x.data) ? nullptr : "a label's name that can not be";
      case change_kind::name_property:
        return x.key < property_keys_max && is_name(x.data) ? nullptr : "a property's name that can not be";
      default: return check_arc(x);
    }
  }

private:
  using key = std::tuple<label, vertex, vertex>;

  [[nodiscard]] static bool is_name(const value* data) {
    const auto* name = data == nullptr ? nullptr : std::get_if<std::string>(data);
    return name != nullptr && !name->empty();
  }
  [[nodiscard]] bool alive(vertex v) const {
    if (!c_.has(v)) return c_.may_end_at(v);  // another shard's log has it
    if (died_.contains(v)) return false;
    return c_.lives[v].alive(c_.last) || born_.contains(v);
  }
  [[nodiscard]] const char* check_arc(const change& x) {
    if (x.arc_label >= labels_max) return "a label is beyond labels_max";
    if (!alive(x.source) || !alive(x.target) || !(c_.has(x.source) || c_.has(x.target)))
      return "an arc of a vertex that is not there";
    if (x.valid.empty()) return "an empty interval";
    auto [s, t] = arc_key(c_, x.source, x.target);
    key name{x.arc_label, s, t};
    if (x.kind == change_kind::add_arc) {
      if (sets_arc_property_) added_.insert(name);  // a transaction of millions of arcs has none, as a rule
      return nullptr;
    }
    if (x.kind == change_kind::set_arc_property) {
      if (x.key >= property_keys_max || x.data == nullptr) return "a property that can not be";
      bool there = added_.contains(name) || (!closed_.contains(name) && living(x));
      return there ? nullptr : "a property of an arc that is not there";
    }
    if (x.kind != change_kind::remove_arc && x.kind != change_kind::set_valid) return "a change of an unknown kind";
    if (c_.options.unique_arcs && !closed_.insert(name).second) return "an arc ended twice";
    if (!living(x)) return "an arc ended that was not there";
    if (x.kind == change_kind::set_valid) added_.insert(name);  // its new version is there
    return nullptr;
  }
  [[nodiscard]] bool living(const change& x) const {
    return c_.tables(x.arc_label) != nullptr && c_.living(x.arc_label, x.source, x.target).there();
  }

  core& c_;
  const bool sets_arc_property_;
  std::unordered_set<vertex> born_, died_;
  std::set<key> added_, closed_;
};

}  // namespace

// What validate() makes room for, without its refusals: there is nobody to conflict with, and what was committed within the memory limit
// has to come back even where it takes a little more than it did.
result<void> core::make_replay_room(const transaction::state& tx) {
  if (last >= newest_commit - 1) return fail(errc::limit, "commit numbers have run out: open a new store");
  bool fits = log.ensure(log_size + tx.ops.size()) && commits.ensure(last - options.commit_base + 2);
  for (const log_entry& op : tx.ops) {
    bool arc = op.kind() == change_kind::add_arc || op.kind() == change_kind::remove_arc ||
               op.kind() == change_kind::set_valid;
    if (!arc) continue;
    label_tables* t = make_tables(op.arc_label);
    fits = fits && t != nullptr && t->counts.ensure(t->counts_size.load(std::memory_order_relaxed) + 1);
  }
  return fits ? result<void>{} : fail(errc::out_of_memory, "the system has no memory for the commit");
}

result<void> core::replay(const commit_record& record) {
  if (broken) return fail(errc::read_only, "the store takes no more writes since: " + broken->text);
  if (record.number != last + 1) return fail(errc::corrupt, "the commit's number is not the next one");
  vertex beyond = next_vertex.load(std::memory_order_relaxed);
  for (const change& x : record.changes) {
    if (x.kind != change_kind::add_vertex) continue;
    if (x.source >= options.vertices_max) return fail(errc::corrupt, "a vertex is beyond vertices_max");
    beyond = std::max(beyond, x.source + 1);
  }
  next_vertex.store(beyond, std::memory_order_relaxed);
  if (!grow_tables()) return fail(errc::out_of_memory, "the system has no memory for the vertices");
  commit_number at = 0;
  keep();
  pins::slot* slot = readers.take(visible, at);
  if (slot == nullptr) {
    drop(this);
    return fail(errc::out_of_memory, "no memory for one more pin");
  }
  transaction::state tx(snapshot(slot, at));
  checker check(*this, record);
  tx.ops.reserve(record.changes.size());
  for (const change& x : record.changes) {
    if (const char* wrong = check.check(x); wrong != nullptr) return fail(errc::corrupt, wrong);
    std::size_t op = tx.push(x.kind, x.arc_label, x.key, x.source, x.target);
    if (!x.valid.always() || x.data != nullptr) tx.attach(op, x.valid, x.data == nullptr ? value{} : *x.data);
  }
  if (auto room = make_replay_room(tx); !room) return room;
  found_.clear();  // nothing was looked for
  commit_number before = last;
  bool applied = false;
  try {
    applied = apply(tx, record.number, std::max(record.time, row(before).time));
  } catch (const std::bad_alloc&) {  // as in commit
  }
  if (!applied) {
    broken = error{errc::out_of_memory, "memory ran out within a commit: the store is read-only"};
    return tl::unexpected<error>(*broken);
  }
  publish();
  return {};
}

}  // namespace rhizome::detail
