// SPDX-License-Identifier: Apache-2.0
#include "store/detail/table.hpp"

#include <algorithm>
#include <cstring>
#include <new>

namespace rhizome::detail {

// --- table: reading by the writer ------------------------------------------------------------------------------------------

bool table::reserve(vertex vertices_max, paging pages) { return entries_.reserve(vertices_max, pages); }

namespace {

/// Whether any of 16 targets is the wanted one.
bool any_of_16(const vertex* targets, vertex wanted) noexcept {
  using four = vertex __attribute__((vector_size(16)));
  const four all = {wanted, wanted, wanted, wanted};
  four at[4];
  std::memcpy(at, targets, sizeof at);
  const auto hit = (at[0] == all) | (at[1] == all) | (at[2] == all) | (at[3] == all);
  std::uint64_t halves[2];
  std::memcpy(halves, &hit, sizeof halves);
  return (halves[0] | halves[1]) != 0;
}

}  // namespace

std::uint32_t table::scan(const vertex* targets, std::uint32_t count, vertex target,
                          const commit_number* ends) noexcept {
  auto lives = [&](std::uint32_t i) { return ends == nullptr || load_end(ends[i]) == newest_commit; };
  std::uint32_t i = count;
  while (i >= 16) {
    i -= 16;
    if (!any_of_16(targets + i, target)) continue;
    for (std::uint32_t k = 16; k-- > 0;)
      if (targets[i + k] == target && lives(i + k)) return i + k;
  }
  while (i-- > 0)
    if (targets[i] == target && lives(i)) return i;
  return none;
}

std::uint32_t table::find(vertex v, vertex target) {
  const vertex_entry& e = entries_[v];
  placed p = placed::of(e.where.load(std::memory_order_relaxed));
  if (p.count == 0) return none;
  if (p.count < hub_degree) return scan(block(p)->targets(), p.count, target, ends_of_entry(e, p));
  const hub_index* hub = hub_of(v, p);
  return position_in(hub != nullptr ? *hub : make_index(v, p), target);
}

const hub_index* table::hub_of(vertex v, const placed& p) const noexcept {
  if (p.count < hub_degree) return nullptr;  // dropped whenever a block becomes shorter
  if (p.dirty) {
    const hub_index& index = marked(entries_[v]).index;
    return index.there() ? &index : nullptr;
  }
  std::uint32_t number = hub_numbers_.find_only(arena_, v);
  return number == none ? nullptr : &hubs_[number];
}

hub_index& table::make_index(vertex v, const placed& p) {
  if (!p.dirty && free_hubs_.empty()) {
    hubs_.emplace_back();
    free_hubs_.push_back(static_cast<std::uint32_t>(hubs_.size() - 1));
  }
  hub_index index;
  index.reserve(arena_, p.count);
  const vertex* targets = block(p)->targets();
  const commit_number* ends = ends_of_entry(entries_[v], p);
  for (std::uint32_t i = 0; i < p.count; ++i)
    if (ends == nullptr || load_end(ends[i]) == newest_commit) index.insert(arena_, targets[i], i);
  if (p.dirty) return marked(entries_[v]).index = index;
  std::uint32_t number = free_hubs_.back();
  try {
    hub_numbers_.insert(arena_, v, number);
  } catch (...) {
    index.release(arena_);
    throw;
  }
  free_hubs_.pop_back();
  return hubs_[number] = index;
}

std::uint32_t table::count_of(vertex v, vertex target) const {
  placed p = placed::of(entries_[v].where.load(std::memory_order_relaxed));
  const block_header& b = *block(p);
  const commit_number* ends = ends_of_entry(entries_[v], p);
  std::uint32_t n = 0;
  for (std::uint32_t i = 0; i < p.count; ++i)
    if (b.targets()[i] == target && (ends == nullptr || load_end(ends[i]) == newest_commit)) ++n;
  return n;
}

bool table::changed_since(vertex v, vertex target, commit_number since) const {
  const vertex_entry& e = entries_[v];
  if (e.changed.load(std::memory_order_relaxed) <= since) return false;
  placed p = placed::of(e.where.load(std::memory_order_relaxed));
  if (p.block == 0) return false;
  const block_header& b = *block(p);
  for (std::uint32_t i = prefix_at(b, p.count, since); i < p.count; ++i)
    if (b.targets()[i] == target) return true;
  if (const commit_number* ends = ends_of_entry(e, p); ends != nullptr) {
    for (std::uint32_t i = 0; i < p.count; ++i) {
      commit_number end = load_end(ends[i]);
      if (b.targets()[i] == target && end != newest_commit && end > since) return true;
    }
  }
  for (ref r = b.history.load(std::memory_order_relaxed); r != 0;) {
    const history_batch& batch = *arena_.at<history_batch>(r);
    if (batch.latest_end <= since) break;
    for (std::uint32_t i = 0; i < batch.count; ++i)
      if (batch.versions()[i].target == target && batch.versions()[i].end > since) return true;
    r = batch.previous.load(std::memory_order_relaxed);
  }
  return false;
}

interval table::valid_at(vertex v, std::uint32_t position) const {
  const block_header& b = *block(placed::of(entries_[v].where.load(std::memory_order_relaxed)));
  ref r = b.valid.load(std::memory_order_relaxed);
  return r == 0 ? interval{} : arena_.at<valid_column>(r)->at()[position];
}

commit_number table::begin_at(vertex v, std::uint32_t position) const {
  return block(placed::of(entries_[v].where.load(std::memory_order_relaxed)))->begins()[position];
}

std::uint32_t table::live(vertex v) const {
  placed p = placed::of(entries_[v].where.load(std::memory_order_relaxed));
  return p.dirty ? p.count - marked(entries_[v]).seen.dead.load(std::memory_order_relaxed) : p.count;
}

bool table::wants_packing(vertex v) const {
  placed p = placed::of(entries_[v].where.load(std::memory_order_relaxed));
  return p.block != 0 && (p.dirty || v >= packed_.size() || !packed_[v]);
}

void table::prefetch_tail(vertex v, vertex target) const noexcept {
  const vertex_entry& e = entries_[v];
  placed p = placed::of(e.where.load(std::memory_order_relaxed));
  if (p.block == 0) return;
  const vertex* tail = block(p)->targets() + p.count;
  __builtin_prefetch(tail, 1);
  __builtin_prefetch(tail + begins_offset(shape_of(e, p)), 1);
  if (const hub_index* hub = hub_of(v, p); hub != nullptr) hub->prefetch(arena_, target);
}

void table::prefetch_find(vertex v, vertex target) const noexcept {
  placed p = placed::of(entries_[v].where.load(std::memory_order_relaxed));
  if (p.block == 0) return;
  if (p.count >= hub_degree) {
    if (const hub_index* hub = hub_of(v, p); hub != nullptr) hub->prefetch(arena_, target);
    return;
  }
  const block_header* b = block(p);
  __builtin_prefetch(b);
  // The scan begins at the end; what lies further on the processor sees coming.
  const std::uint32_t stop = p.count < 16 * 8 ? 0 : p.count - 16 * 8;
  for (std::uint32_t i = p.count; i > stop; i -= std::min<std::uint32_t>(i, 16))
    __builtin_prefetch(b->targets() + i - 1);
}

void table::prefetch_close(vertex v, vertex target, const arc_place& place) const noexcept {
  const vertex_entry& e = entries_[v];
  placed p = placed::of(e.where.load(std::memory_order_relaxed));
  if (p.count <= rewritten_max) {  // all of it is copied
    const vertex* targets = block(p)->targets();
    __builtin_prefetch(block(p));
    for (std::uint32_t i = 0; i < p.count; i += 16) {
      __builtin_prefetch(targets + i);
      __builtin_prefetch(targets + begins_offset(e.shape) + i);
    }
    return;
  }
  if (const hub_index* hub = hub_of(v, p); hub != nullptr) hub->prefetch_run(arena_, target);
  if (p.dirty) {
    __builtin_prefetch(ends_of_entry(e, p) + place.at, 1);
  } else {
    __builtin_prefetch(block(p), 1);
  }
}

// --- table: changing ---------------------------------------------------------------------------------------------------------

hub_index table::take_index(vertex v) {
  std::uint32_t number = hub_numbers_.find_only(arena_, v);
  if (number == none) return {};
  free_hubs_.reserve(hubs_.size());
  hub_numbers_.erase(arena_, v, number);
  free_hubs_.push_back(number);
  return std::exchange(hubs_[number], {});
}

ref table::make_valid(std::uint32_t capacity, std::uint32_t filled) {
  ref r = arena_.allocate(valid_column::bytes(capacity), memory_use::valid);
  if (r == 0) return 0;
  auto* column = new (arena_.at<void>(r)) valid_column;
  bool always = filled > 0;
  column->from_min.store(always ? beginning_of_time : end_of_time, std::memory_order_relaxed);
  column->from_max.store(beginning_of_time, std::memory_order_relaxed);
  column->to_min.store(end_of_time, std::memory_order_relaxed);
  column->to_max.store(always ? end_of_time : beginning_of_time, std::memory_order_relaxed);
  std::fill_n(column->at(), filled, interval{});
  return r;
}

bool table::append_valid(block_header& b, std::uint32_t position, const interval& valid) {
  ref r = b.valid.load(std::memory_order_relaxed);
  if (r == 0) {
    if (valid.always()) return true;
    r = make_valid(b.capacity(), position);
    if (r == 0) return false;
    has_valid_ = true;
    b.valid.store(r, std::memory_order_release);  // partner: the readers' acquire load of `valid`
  }
  valid_column& column = *arena_.at<valid_column>(r);
  widen(column, valid);
  column.at()[position] = valid;
  return true;
}

void table::widen(valid_column& column, const interval& valid) noexcept {
  auto at_most = [](std::atomic<time_us>& bound, time_us t) {
    if (t < bound.load(std::memory_order_relaxed)) bound.store(t, std::memory_order_relaxed);
  };
  auto at_least = [](std::atomic<time_us>& bound, time_us t) {
    if (t > bound.load(std::memory_order_relaxed)) bound.store(t, std::memory_order_relaxed);
  };
  at_most(column.from_min, valid.from);
  at_least(column.from_max, valid.from);
  at_most(column.to_min, valid.to);
  at_least(column.to_max, valid.to);
}

bool table::append(vertex v, vertex target, commit_number n, const interval& valid) {
  vertex_entry& e = entries_[v];
  placed p = placed::of(e.where.load(std::memory_order_relaxed));
  std::uint32_t shape = shape_of(e, p);
  if (p.count == capacity_of(shape)) {
    if (!grow(v)) return false;
    p = placed::of(e.where.load(std::memory_order_relaxed));
    shape = e.shape;  // no position of a new block is dead
  }
  block_header& b = *block(p);
  b.targets()[p.count] = target;
  b.targets()[begins_offset(shape) + p.count] = n;  // begins(), without a look at the header
  if ((has_valid_ || !valid.always()) && !append_valid(b, p.count, valid)) return false;
  if (hub_index* hub = hub_of(v, p); hub != nullptr) hub->insert(arena_, target, p.count);
  ++p.count;
  e.changed.store(n, std::memory_order_relaxed);
  e.where.store(p.word(), std::memory_order_release);  // partner: the readers' acquire load of `where`
  return true;
}

bool table::grow(vertex v) { return relocate(v, roomy(live(v)), false, none, 0); }

bool table::close(vertex v, vertex target, std::uint32_t position, commit_number n) {
  vertex_entry& e = entries_[v];
  placed p = placed::of(e.where.load(std::memory_order_relaxed));
  if (p.count <= rewritten_max) return relocate(v, roomy(p.count), false, position, n);
  return mark(v, target, position, n);
}

bool table::make_marked(vertex v, placed& p) {
  vertex_entry& e = entries_[v];
  const std::uint32_t capacity = capacity_of(e.shape);
  ref r = arena_.allocate_mark();
  if (r == 0) return false;
  ref ends = arena_.allocate(ends_head::ends_bytes(capacity), memory_use::history);
  if (ends == 0) {
    arena_.free(r, arena::mark_bytes, memory_use::mark);
    return false;
  }
  auto* fresh = new (arena_.at<void>(r)) marked_block;
  fresh->seen.dead.store(0, std::memory_order_relaxed);
  fresh->seen.ends = ends;
  fresh->shape = e.shape;
  if (p.count >= hub_degree) fresh->index = take_index(v);
  std::fill_n(arena_.at<commit_number>(ends), capacity, newest_commit);
  block(p)->ends.store(r, std::memory_order_relaxed);  // told by `where`
  e.shape = r;
  p.dirty = true;
  return true;
}

bool table::mark(vertex v, vertex target, std::uint32_t position, commit_number n) {
  vertex_entry& e = entries_[v];
  placed p = placed::of(e.where.load(std::memory_order_relaxed));
  if (!p.dirty && !make_marked(v, p)) return false;
  marked_block& m = marked(e);
  if (p.count >= hub_degree && m.index.there()) m.index.erase(arena_, target, position);
  e.changed.store(n, std::memory_order_relaxed);
  store_end(arena_.at<commit_number>(m.seen.ends)[position], n);
  std::uint32_t dead = m.seen.dead.load(std::memory_order_relaxed) + 1;
  m.seen.dead.store(dead, std::memory_order_release);  // partner: the acquire load in view::degree
  e.where.store(p.word(), std::memory_order_release);  // partner: the readers' acquire load of `where`
  if (dead * 4 < p.count) return true;
  return relocate(v, roomy(p.count - dead), false, none, 0);
}

}  // namespace rhizome::detail
