// SPDX-License-Identifier: Apache-2.0
//
// What happens when transactions commit: they are checked against what was committed since they began, told to the sink, written into
// the blocks with their number, and made visible together. Until then no reader sees any of it, since all that they read is
// bounded by the visible commit; so where the sink fails nothing has to be undone, the store only takes no more writes.
#include <algorithm>
#include <chrono>

#include "store/detail/core.hpp"
#include "store/detail/transaction_state.hpp"

namespace rhizome::detail {
namespace {

/// A request for a line that is far away holds the processor up until its page has been found, which takes longer than the work on a
/// change: unless others follow it at once, which then are looked for at the same time. So they are made for so many changes in a row.
constexpr std::size_t asked_at_once = 16;
constexpr std::size_t collect_bytes = std::size_t{1} << 20;
constexpr std::size_t scratch_bytes_max = std::size_t{8} << 20;

/// What a large commit needed beside the store is not kept for the next one, which may never come.
template <class T>
void keep_if_small(std::vector<T>& scratch) noexcept {
  if (scratch.capacity() * sizeof(T) > scratch_bytes_max) std::vector<T>().swap(scratch);
}

/// ask(i) for the changes of one group from `first` on, as far as there are that many.
template <class Ask>
void for_group(std::size_t first, std::size_t changes, Ask&& ask) {
  for (std::size_t i = first, end = std::min(first + asked_at_once, changes); i < end; ++i) ask(i);
}

}  // namespace

time_us core::now_us() const noexcept {
  if (options.clock != nullptr) return options.clock();
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::size_t core::in_use() const noexcept {
  std::size_t entries = std::size_t{vertices} * used.size() * (symmetric() ? 1 : 2);
  return blocks.in_use() + log_bytes() + vertices * sizeof(vertex_life) + entries * sizeof(vertex_entry) +
         props.column_bytes();
}

bool core::grow_tables() {
  std::size_t wanted = next_vertex.load(std::memory_order_relaxed);
  if (!lives.ensure(wanted) || !nothing.ensure(wanted)) return false;
  return std::all_of(used.begin(), used.end(), [&](label_tables* t) {
    return t->out.ensure(static_cast<vertex>(wanted)) && (symmetric() || t->in.ensure(static_cast<vertex>(wanted)));
  });
}

label_tables* core::make_tables(label l) {
  label_tables* there = labels[l].load(std::memory_order_relaxed);
  if (there != nullptr) return there;
  auto fresh = std::make_unique<label_tables>(blocks, readers, options.unique_arcs);
  vertex wanted = next_vertex.load(std::memory_order_relaxed);
  paging pages{options.huge_pages, options.numa_node};
  if (!fresh->out.reserve(options.vertices_max, pages) || !fresh->out.ensure(wanted)) return nullptr;
  if (!fresh->in.reserve(symmetric() ? 1 : options.vertices_max, pages)) return nullptr;
  if (!symmetric() && !fresh->in.ensure(wanted)) return nullptr;
  if (!fresh->counts.reserve(options.memory_limit_bytes / sizeof(arcs_row), {})) return nullptr;
  used.reserve(used.size() + 1);
  there = fresh.release();
  used.push_back(there);
  labels[l].store(there, std::memory_order_release);  // partner: tables()
  return there;
}

// --- checks ------------------------------------------------------------------------------------------------------------------

result<void> core::validate(transaction::state& tx) {
  commit_number read = tx.reads.commit();
  if (last >= newest_commit - 1) return fail(errc::limit, "commit numbers have run out: open a new store");
  std::size_t bound = tx.ops.size() * 64;
  auto within_limit = [&]() -> result<void> {
    if (in_use() + bound <= options.memory_limit_bytes) return {};
    return fail(errc::limit, "the memory limit is reached: trim the history, compact, or raise memory_limit_bytes");
  };
  if (auto fine = within_limit(); !fine) return fine;
  if (!grow_tables() || !log.ensure(log_size + tx.ops.size()) || !commits.ensure(last - options.commit_base + 2))
    return fail(errc::out_of_memory, "the system has no memory for the commit");
  found_.assign(tx.closes ? tx.ops.size() : 0, {});
  props.forget_claims();
  std::size_t columns = 0;  // one change may make a column with a place for each vertex
  std::size_t bulk = 0;
  for (std::size_t i = 0; i < tx.ops.size(); ++i) {
    look_ahead(tx, i);
    log_entry& op = tx.ops[i];
    while (bulk < tx.bulks.size() && tx.bulks[bulk].last <= i) ++bulk;
    const auto* in_bulk = bulk < tx.bulks.size() && tx.bulks[bulk].first <= i ? &tx.bulks[bulk] : nullptr;
    switch (op.kind()) {
      case change_kind::add_arc:
      case change_kind::remove_arc:
      case change_kind::set_valid:
      case change_kind::set_arc_property: {
        label_tables* t = make_tables(op.arc_label);
        if (t == nullptr || !t->counts.ensure(t->counts_size.load(std::memory_order_relaxed) + 1))
          return fail(errc::out_of_memory, "the system has no memory for a label's tables");
        auto fine = validate_arc(tx, op, in_bulk);
        if (!fine) return fine;
        break;
      }
      case change_kind::remove_vertex: {
        auto fine = validate_removal(tx, op.source);
        if (!fine) return fine;
        break;
      }
      case change_kind::set_vertex_property:
        columns += props.claim(op.source, op.key());
        if (!tx.is_own(op.source)) {
          if (!lives[op.source].alive(last)) return fail(errc::conflict, "a vertex was removed meanwhile: begin again");
          if (props.changed(op.source, op.key()) > read)
            return fail(errc::conflict, "a property was set meanwhile: begin again");
        }
        break;
      default: break;
    }
  }
  bound += columns;
  return columns == 0 ? result<void>() : within_limit();
}

result<void> core::validate_removal(const transaction::state& tx, vertex v) {
  commit_number read = tx.reads.commit();
  if (tx.is_own(v)) return {};
  if (!lives[v].alive(last)) return fail(errc::conflict, "the vertex was removed meanwhile: begin again");
  for (const label_tables* t : used) {
    bool out = t->out.entry(v).changed.load(std::memory_order_relaxed) > read;
    bool in = !symmetric() && t->in.entry(v).changed.load(std::memory_order_relaxed) > read;
    if (out || in) return fail(errc::conflict, "an arc of a removed vertex was changed meanwhile: begin again");
  }
  return {};
}

core::found_arc core::living(label l, vertex source, vertex target) {
  table& out = *side(l, direction::out);
  table& in = *side(l, direction::in);
  bool by_source = !has(target) || (has(source) && out.positions(source) <= in.positions(target));
  if (by_source) return {out.locate(source, target), {}};
  return {{}, in.locate(target, source)};
}

commit_number core::begin_of(const log_entry& op, const found_arc& found) const noexcept {
  return found.at_source.there() ? side(op.arc_label, direction::out)->begin_at(op.source, found.at_source.at)
                                 : side(op.arc_label, direction::in)->begin_at(op.target, found.at_target.at);
}

result<void> core::validate_arc(transaction::state& tx, log_entry& op, const bulk_changes* bulk) {
  commit_number read = tx.reads.commit();
  if (last_removal > read) {
    for (vertex v : {op.source, op.target})
      if (has(v) && !tx.is_own(v) && !lives[v].alive(last))
        return fail(errc::conflict, "a vertex of an arc was removed meanwhile: begin again");
  }
  // Looked at from its source, or in a shard that has not got it from its target.
  const bool here = has(op.source);
  table& at = *side(op.arc_label, here ? direction::out : direction::in);
  const vertex v = here ? op.source : op.target;
  const vertex w = here ? op.target : op.source;
  bool changed = at.entry(v).changed.load(std::memory_order_relaxed) > read;
  switch (op.kind()) {
    case change_kind::add_arc: {
      if (!options.unique_arcs || (bulk == nullptr && !changed)) return {};
      const auto* own = tx.closes ? tx.find_own(op.arc_label, op.source, op.target) : nullptr;
      if (own != nullptr && own->base != 0 && tx.ops[own->base - 1].kind() == change_kind::remove_arc) return {};
      if (changed && at.changed_since(v, w, read))
        return fail(errc::conflict, "an arc was added or removed meanwhile: begin again");
      if (bulk == nullptr || !living(op.arc_label, op.source, op.target).there()) return {};
      return skip_or(tx, op, bulk->skip, errc::already_there, "an arc of add_arcs is there already");
    }
    case change_kind::remove_arc:
    case change_kind::set_valid: {
      if (!changed && bulk == nullptr) return {};
      if (!options.unique_arcs) {
        const auto* own = tx.find_own(op.arc_label, op.source, op.target);
        std::uint32_t wanted = own == nullptr ? 1 : std::max(own->removals, 1U);
        if (at.count_of(v, w) >= wanted) return {};
        return fail(errc::conflict, "an arc was removed meanwhile: begin again");
      }
      found_arc found = living(op.arc_label, op.source, op.target);
      bool there = found.there() && (!changed || begin_of(op, found) <= read);
      if (there) {
        found_[static_cast<std::size_t>(&op - tx.ops.data())] = found;
        return {};
      }
      if (bulk == nullptr || (changed && at.changed_since(v, w, read)))
        return fail(errc::conflict, "an arc was changed meanwhile: begin again");
      return skip_or(tx, op, bulk->skip, errc::not_found, "an arc of remove_arcs is not there");
    }
    default: {
      auto [s, t] = arc_key(*this, op.source, op.target);
      if (props.changed(op.arc_label, s, t, op.key()) > read)
        return fail(errc::conflict, "a property was set meanwhile: begin again");
      if (!changed) return {};
      const auto* own = tx.find_own(op.arc_label, op.source, op.target);
      if (own != nullptr && own->add != 0) return {};
      found_arc found = living(op.arc_label, op.source, op.target);
      if (!found.there() || (options.unique_arcs && begin_of(op, found) > read))
        return fail(errc::conflict, "an arc was changed meanwhile: begin again");
      return {};
    }
  }
}

result<void> core::skip_or(transaction::state& tx, log_entry& op, bool skip, errc code, const char* text) {
  if (!skip) return fail(code, text);
  op.kind_and_key = 0;
  --tx.live_ops;
  return {};
}

// --- writing -----------------------------------------------------------------------------------------------------------------

result<void> core::tell_sink(const transaction::state& tx, commit_number n, time_us time,
                             std::span<const commit_part> others) {
  static const value nothing_said;
  changes_.clear();
  changes_.reserve(tx.live_ops);
  for (const log_entry& op : tx.ops) {
    if (op.kind_and_key == 0) continue;
    const auto* datum = tx.datum_of(op);
    bool carries = op.kind() >= change_kind::set_vertex_property;
    changes_.push_back({op.kind(), op.arc_label, op.key(), op.source, op.target,
                        datum == nullptr ? interval{} : datum->valid,
                        !carries ? nullptr : (datum == nullptr ? &nothing_said : &datum->value_)});
  }
  return options.sink->append({n, time, changes_, others});
}

/// The tables that a change of an arc is made in; null: none that are worth a look ahead.
label_tables* core::tables_of_arc(const log_entry& op) const noexcept {
  change_kind kind = op.kind();
  if (kind != change_kind::add_arc && kind != change_kind::remove_arc && kind != change_kind::set_valid) return nullptr;
  if (options.shared != nullptr && !(has(op.source) && has(op.target))) return nullptr;
  return labels[op.arc_label].load(std::memory_order_relaxed);
}

void core::prefetch_entries(const log_entry& op) const noexcept {
  const label_tables* t = tables_of_arc(op);
  if (t == nullptr) return;
  t->out.prefetch_entry(op.source);
  (symmetric() ? t->out : t->in).prefetch_entry(op.target);
}

void core::prefetch_marks(const log_entry& op) const noexcept {
  const label_tables* t = tables_of_arc(op);
  if (t == nullptr) return;
  t->out.prefetch_mark(op.source);
  (symmetric() ? t->out : t->in).prefetch_mark(op.target);
}

void core::prefetch_blocks(const log_entry& op, const found_arc& hint) const noexcept {
  const label_tables* t = tables_of_arc(op);
  if (t == nullptr) return;
  const table& in = symmetric() ? t->out : t->in;
  if (op.kind() == change_kind::add_arc) {
    t->out.prefetch_tail(op.source, op.target);
    in.prefetch_tail(op.target, op.source);
    return;
  }
  auto ask = [&](const table& side, vertex v, vertex w, const arc_place& known) {
    if (known.there()) {
      side.prefetch_close(v, w, known);
    } else {
      side.prefetch_find(v, w);
    }
  };
  ask(t->out, op.source, op.target, hint.at_source);
  ask(in, op.target, op.source, hint.at_target);
}

/// Asks for what living() reads of the change's arc.
void core::prefetch_living(const log_entry& op) const noexcept {
  const label_tables* t = tables_of_arc(op);
  if (t == nullptr) return;
  const table& in = symmetric() ? t->out : t->in;
  if (t->out.positions(op.source) <= in.positions(op.target)) {
    t->out.prefetch_find(op.source, op.target);
  } else {
    in.prefetch_find(op.target, op.source);
  }
}

/// Looks for an arc that is to be removed where the check has not, and asks for what table::close() writes there. What it reads was asked
/// for.
void core::find_other_end(const log_entry& op, found_arc& found) {
  label_tables* t = op.kind() == change_kind::remove_arc && found.there() ? tables_of_arc(op) : nullptr;
  if (t == nullptr || op.source == op.target) return;
  auto look = [](table& side, vertex v, vertex w, arc_place& known) {
    side.prefetch_history(v);
    if (known.there()) return;
    known = side.locate(v, w);
    if (known.there()) side.prefetch_close(v, w, known);
  };
  look(t->out, op.source, op.target, found.at_source);
  look(symmetric() ? t->out : t->in, op.target, op.source, found.at_target);
}

/// For the check, ahead of change `i` by groups: entries three, marks two, and what tells where an arc is one.
void core::look_ahead(const transaction::state& tx, std::size_t i) const noexcept {
  const std::size_t count = tx.ops.size();
  auto entries = [&](std::size_t k) { prefetch_entries(tx.ops[k]); };
  auto marks = [&](std::size_t k) { prefetch_marks(tx.ops[k]); };
  auto living = [&](std::size_t k) { prefetch_living(tx.ops[k]); };
  if (!tx.closes) {  // what is only appended to touches so little that one change at a time is faster
    if (i + 2 * asked_at_once < count) entries(i + 2 * asked_at_once);
    if (!tx.bulks.empty() && i + asked_at_once < count) living(i + asked_at_once);
    return;
  }
  if (i % asked_at_once != 0) return;
  if (i == 0) {
    for_group(0, count, entries);
    for_group(asked_at_once, count, entries);
    for_group(2 * asked_at_once, count, entries);
    for_group(0, count, marks);
    for_group(asked_at_once, count, marks);
    if (!tx.bulks.empty()) for_group(0, count, living);
  }
  for_group(i + 3 * asked_at_once, count, entries);
  for_group(i + 2 * asked_at_once, count, marks);
  if (!tx.bulks.empty()) for_group(i + asked_at_once, count, living);
}

/// For the writing: the same, and what is marked in the blocks of the group that begins.
void core::look_further_ahead(const transaction::state& tx, std::size_t i) {
  const std::size_t count = tx.ops.size();
  auto entries = [&](std::size_t k) { prefetch_entries(tx.ops[k]); };
  auto marks = [&](std::size_t k) { prefetch_marks(tx.ops[k]); };
  auto parts = [&](std::size_t k) { prefetch_blocks(tx.ops[k], k < found_.size() ? found_[k] : found_arc{}); };
  if (!tx.closes) {
    if (i + 2 * asked_at_once < count) entries(i + 2 * asked_at_once);
    if (i + asked_at_once < count) parts(i + asked_at_once);
    return;
  }
  if (i % asked_at_once != 0) return;
  if (i == 0) {
    for_group(0, count, entries);
    for_group(asked_at_once, count, entries);
    for_group(2 * asked_at_once, count, entries);
    for_group(0, count, marks);
    for_group(asked_at_once, count, marks);
    for_group(0, count, parts);
  }
  for_group(i + 3 * asked_at_once, count, entries);
  for_group(i + 2 * asked_at_once, count, marks);
  for_group(i + asked_at_once, count, parts);
  for_group(i, found_.size(), [&](std::size_t k) { find_other_end(tx.ops[k], found_[k]); });
}

bool core::apply(transaction::state& tx, commit_number n, time_us time) {
  static const value nothing_said;
  touched_.clear();
  for (std::size_t i = 0; i < tx.ops.size(); ++i) {
    look_further_ahead(tx, i);
    log_entry op = tx.ops[i];
    if (op.kind_and_key == 0) continue;
    const auto* datum = tx.datum_of(op);
    if (!apply_one(op, datum == nullptr ? interval{} : datum->valid, datum == nullptr ? nothing_said : datum->value_, n,
                   i < found_.size() ? found_[i] : found_arc{}))
      return false;
    op.commit = n;
    log[log_size++] = op;
  }
  for (label l : touched_) {
    label_tables& t = *labels[l].load(std::memory_order_relaxed);
    std::size_t rows = t.counts_size.load(std::memory_order_relaxed);
    t.counts[rows] = {t.arcs, n, 0};
    t.counts_size.store(rows + 1, std::memory_order_release);  // partner: label_tables::arcs_at
  }
  found_.clear();
  last = n;
  commits[n - options.commit_base] = {time, log_size, vertices, alive};
  return true;
}

bool core::apply_one(const log_entry& op, const interval& valid, const value& data, commit_number n,
                     const found_arc& hint) {
  auto touch = [&] {
    if (touched_.empty() || (touched_.back() != op.arc_label &&
                             std::find(touched_.begin(), touched_.end(), op.arc_label) == touched_.end()))
      touched_.push_back(op.arc_label);
  };
  switch (op.kind()) {
    case change_kind::add_vertex:
      lives[op.source].born.store(n, std::memory_order_relaxed);
      vertices = std::max(vertices, op.source + 1);
      ++alive;
      return true;
    case change_kind::remove_vertex:
      lives[op.source].died.store(n, std::memory_order_relaxed);
      --alive;
      last_removal = n;
      return true;
    case change_kind::add_arc: touch(); return add_arc(op.arc_label, op.source, op.target, valid, n);
    case change_kind::remove_arc: {
      touch();
      if (!remove_arc(op.arc_label, op.source, op.target, n, hint)) return false;
      auto [s, t] = arc_key(*this, op.source, op.target);
      return props.end(op.arc_label, s, t, n);
    }
    case change_kind::set_valid:
      return remove_arc(op.arc_label, op.source, op.target, n, hint) &&
             add_arc(op.arc_label, op.source, op.target, valid, n);
    case change_kind::set_vertex_property: return props.set(op.source, op.key(), data, valid, n);
    case change_kind::set_arc_property: {
      auto [s, t] = arc_key(*this, op.source, op.target);
      return props.set(op.arc_label, s, t, op.key(), data, n);
    }
    case change_kind::name_label:
      static_cast<void>(label_names.set(op.arc_label, std::get<std::string>(data), n));
      return true;
    case change_kind::name_property:
      static_cast<void>(property_names.set(op.key(), std::get<std::string>(data), n));
      return true;
  }
  return true;
}

bool core::add_arc(label l, vertex source, vertex target, const interval& valid, commit_number n) {
  label_tables& t = *labels[l].load(std::memory_order_relaxed);
  if (has(source)) {
    if (!t.out.append(source, target, n, valid)) return false;
    ++t.arcs;
  }
  if (!has(target)) return true;
  if (!symmetric()) return t.in.append(target, source, n, valid);
  if (source == target) return true;
  ++t.arcs;
  return t.out.append(target, source, n, valid);
}

/// `hint`: where it was before. A change of the same commit may have moved it since.
bool core::remove_arc(label l, vertex source, vertex target, commit_number n, const found_arc& hint) {
  label_tables& t = *labels[l].load(std::memory_order_relaxed);
  auto close = [n](table& side, vertex v, vertex w, const arc_place& known) {
    std::uint32_t at = side.find_again(v, w, known);
    return at != table::none && side.close(v, w, at, n);
  };
  if (has(source)) {
    if (!close(t.out, source, target, hint.at_source)) return false;
    --t.arcs;
  }
  if (!has(target)) return true;
  if (!symmetric()) return close(t.in, target, source, hint.at_target);
  if (source == target) return true;
  --t.arcs;
  return close(t.out, target, source, hint.at_target);
}

// --- the whole of it -----------------------------------------------------------------------------------------------------------

std::vector<result<commit_number>> core::commit(std::span<transaction::state* const> group) {
  std::vector<result<commit_number>> outcomes;
  outcomes.reserve(group.size());
  std::optional<error> sink_error;
  bool told = false;
  for (transaction::state* tx : group) {
    if (tx == nullptr || !tx->open) {
      outcomes.push_back(fail(errc::read_only, "the transaction is finished"));
      continue;
    }
    tx->open = false;
    if (closed.load(std::memory_order_relaxed)) {
      outcomes.push_back(fail(errc::read_only, "the store is closed"));
      continue;
    }
    if (broken || sink_error) {
      outcomes.push_back(
          fail(errc::read_only, "the store takes no more writes since: " + (broken ? *broken : *sink_error).text));
      continue;
    }
    outcomes.push_back(commit_one(*tx, told, sink_error));
  }
  if (told && !sink_error) {
    auto safe = options.sink->sync();
    if (!safe) sink_error = safe.error();
  }
  if (sink_error) {
    broken = sink_error;
    last = visible.load(std::memory_order_relaxed);  // what was applied beyond it stays unseen for good
    for (auto& outcome : outcomes)
      if (outcome && *outcome > last) outcome = tl::unexpected<error>(*sink_error);
  } else {
    publish();  // where memory ran out within one of them, those before it are whole
  }
  shrink();
  return outcomes;
}

result<commit_number> core::commit_one(transaction::state& tx, bool& told, std::optional<error>& sink_error) {
  if (tx.live_ops == 0) return tx.reads.commit();
  result<void> fine;
  try {  // nothing is written so far: the others of a group go on
    fine = validate(tx);
    if (fine && options.sink != nullptr) changes_.reserve(tx.live_ops);
  } catch (const std::bad_alloc&) {
    fine = fail(errc::out_of_memory, "the system has no memory for the commit");
  }
  if (!fine) return tl::unexpected<error>(fine.error());
  if (tx.live_ops == 0) return tx.reads.commit();
  commit_number n = last + 1;
  time_us time = std::max(now_us(), commits[last - options.commit_base].time);
  if (options.shared != nullptr) time = options.shared->stamp(time);
  if (options.sink != nullptr) {
    auto appended = tell_sink(tx, n, time);
    if (!appended) {
      sink_error = appended.error();
      return tl::unexpected<error>(appended.error());
    }
    told = true;
  }
  bool applied = false;
  try {
    applied = apply(tx, n, time);
  } catch (const std::bad_alloc&) {  // half of it may be there: nobody sees it, and nobody adds to it
  }
  if (!applied) {
    broken = error{errc::out_of_memory, "memory ran out within a commit: the store is read-only"};
    return tl::unexpected<error>(*broken);
  }
  return n;
}

void core::publish() noexcept {
  if (last == visible.load(std::memory_order_relaxed)) return;
  if (options.shared != nullptr) {
    std::lock_guard lock(options.shared->showing);
    show();
  } else {
    show();
  }
  settle();
}

void core::show() noexcept {
  visible.store(last, std::memory_order_seq_cst);  // releases all of the commits; partner: pins::take
}

void core::shrink() noexcept {
  keep_if_small(found_);
  keep_if_small(changes_);
}

void core::settle() noexcept {
  readers.advance();
  if (blocks.retired_bytes() >= collect_bytes) collect();
}

void core::collect() noexcept {
  if (blocks.retired_bytes() > 0) blocks.collect(readers.oldest_epoch());
}

}  // namespace rhizome::detail
