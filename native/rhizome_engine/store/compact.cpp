// SPDX-License-Identifier: Apache-2.0
//
// Compaction and retention: what the writer does to blocks apart from commits. Neither changes what a reader may see.
#include <algorithm>

#include "store/detail/core.hpp"
#include "store/store.hpp"

namespace rhizome {
namespace {

/// The tables of a store in the order in which compaction passes over them.
std::vector<detail::table*> all_tables(detail::core& c) {
  std::vector<detail::table*> out;
  for (detail::label_tables* t : c.used) {
    out.push_back(&t->out);
    if (!c.symmetric()) out.push_back(&t->in);
  }
  return out;
}

/// Says that the writer's lock may be held for long.
class long_work {
public:
  explicit long_work(detail::core& c) noexcept : core_(c) { core_.long_work.fetch_add(1, std::memory_order_relaxed); }
  ~long_work() { core_.long_work.fetch_sub(1, std::memory_order_relaxed); }
  long_work(const long_work&) = delete;
  long_work& operator=(const long_work&) = delete;

private:
  detail::core& core_;
};

}  // namespace

result<compaction> store::compact(std::size_t budget_bytes) {
  detail::core& c = *core_;
  long_work noted(c);
  std::lock_guard lock(c.writer);
  if (c.broken) return fail(errc::read_only, "the store takes no more writes since: " + c.broken->text);
  compaction done;
  std::vector<detail::table*> tables = all_tables(c);
  while (c.compact_table < tables.size() && done.moved_bytes < std::max<std::size_t>(budget_bytes, 1)) {
    detail::table& t = *tables[c.compact_table];
    vertex& v = c.compact_vertex;
    for (; v < c.vertices && done.moved_bytes < std::max<std::size_t>(budget_bytes, 1); ++v) {
      if (v + 16 < c.vertices && t.wants_packing(v + 16)) t.prefetch_block(v + 16);
      if (t.wants_packing(v) && !t.pack(v, done.moved_bytes))
        return fail(errc::out_of_memory, "no memory for packed blocks");
    }
    if (v < c.vertices) break;
    v = 0;
    ++c.compact_table;
  }
  c.readers.advance();
  c.collect();
  if (c.compact_table >= tables.size()) {
    c.compact_table = 0;
    c.blocks.sweep();
    return done;
  }
  std::size_t whole = tables.size() * std::size_t{c.vertices};
  std::size_t left = whole - c.compact_table * std::size_t{c.vertices} - c.compact_vertex;
  done.left_bytes = c.blocks.used(detail::memory_use::newest) / whole * left + 1;
  return done;
}

result<commit_number> store::trim(commit_number before) {
  detail::core& c = *core_;
  long_work noted(c);
  std::lock_guard lock(c.writer);
  if (c.broken) return fail(errc::read_only, "the store takes no more writes since: " + c.broken->text);
  if (before > c.visible.load(std::memory_order_relaxed))
    return fail(errc::invalid_argument, "a commit to trim to that was not made yet");
  commit_number horizon = before;
  {
    std::lock_guard leases(c.lease_mutex);
    horizon = std::min(horizon, c.readers.oldest_commit());
    if (!c.leases.empty()) horizon = std::min(horizon, c.leases.begin()->first);
    if (horizon <= c.horizon.load(std::memory_order_relaxed)) return c.horizon.load(std::memory_order_relaxed);
    c.horizon.store(horizon, std::memory_order_relaxed);  // a number and no more: leases decide under the lock
  }
  for (detail::table* t : all_tables(c)) {
    t->set_horizon(horizon);
    std::vector<vertex> rest;
    for (vertex v : t->with_history()) {
      if (!t->trim(v, horizon)) return fail(errc::out_of_memory, "no memory for what is left of the history");
      if (t->has_history(v)) rest.push_back(v);
    }
    t->with_history() = std::move(rest);
  }
  c.props.trim(horizon, c.vertices);
  std::uint64_t log_end = c.row(horizon).log_end;
  c.log.discard(c.log_begin, log_end);
  c.log_begin = log_end;
  std::size_t row = horizon - c.options.commit_base;
  c.commits.discard(c.rows_begin, row);
  c.rows_begin = row;
  for (detail::label_tables* t : c.used) t->trim(horizon);
  c.readers.advance();
  c.collect();
  return horizon;
}

void store::collect() {
  std::lock_guard lock(core_->writer);
  core_->readers.advance();
  core_->collect();
}

memory_report store::memory() const {
  const detail::core& c = *core_;
  std::lock_guard lock(c.writer);
  using detail::memory_use;
  memory_report out;
  out.newest = c.blocks.used(memory_use::newest);
  out.history = c.blocks.used(memory_use::history) + c.blocks.used(memory_use::mark);
  out.valid = c.blocks.used(memory_use::valid);
  out.property = c.blocks.used(memory_use::property) + c.props.column_bytes() +
                 std::size_t{c.vertices} * sizeof(detail::vertex_life);
  out.index = c.blocks.used(memory_use::index);
  out.log = c.log_bytes();
  std::size_t entries = std::size_t{c.vertices} * c.used.size() * (c.symmetric() ? 1 : 2);
  out.newest += entries * sizeof(detail::vertex_entry);
  out.retired = c.blocks.retired_bytes();
  out.free = c.blocks.free_bytes();
  out.limit = c.options.memory_limit_bytes;
  return out;
}

}  // namespace rhizome
