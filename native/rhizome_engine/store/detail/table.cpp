// SPDX-License-Identifier: Apache-2.0
#include "store/detail/table.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <new>

namespace rhizome::detail {

// --- table: reading by the writer ------------------------------------------------------------------------------------------

bool table::reserve(vertex vertices_max, paging pages) { return entries_.reserve(vertices_max, pages); }

std::uint32_t table::scan(const vertex* targets, std::uint32_t count, vertex target, const ends_stripe* ends) noexcept {
  auto lives = [&](std::uint32_t i) { return ends == nullptr || load_end(ends->at()[i]) == newest_commit; };
  std::uint32_t i = count;
  while (i % 16 != 0) {
    --i;
    if (targets[i] == target && lives(i)) return i;
  }
  while (i > 0) {
    i -= 16;
    std::uint32_t hit = 0;
    for (std::uint32_t k = 0; k < 16; ++k) hit |= targets[i + k] == target ? 1U : 0U;  // vectorised
    if (hit == 0) continue;
    for (std::uint32_t k = 16; k-- > 0;)
      if (targets[i + k] == target && lives(i + k)) return i + k;
  }
  return none;
}

std::uint32_t table::find(vertex v, vertex target) {
  placed p = placed::of(entries_[v].where.load(std::memory_order_relaxed));
  if (p.count == 0) return none;
  const block_header& b = *block(p);
  const ends_stripe* ends = p.dirty ? arena_.at<ends_stripe>(b.ends.load(std::memory_order_relaxed)) : nullptr;
  if (p.count < hub_degree) return scan(b.targets(), p.count, target, ends);
  hub_index* hub = hub_of(v, p);
  if (hub == nullptr) {
    hub = &make_index(v, p.count);
    for (std::uint32_t i = 0; i < p.count; ++i)
      if (ends == nullptr || load_end(ends->at()[i]) == newest_commit) hub->insert(b.targets()[i], i);
    index_bytes_ += hub->bytes();
  }
  return hub->find(target);
}

hub_index* table::hub_of(vertex v, const placed& p) noexcept {
  if (p.count < hub_degree) return nullptr;  // dropped whenever a block becomes shorter
  std::uint32_t number = hub_numbers_.find(v);
  return number == none ? nullptr : &hubs_[number];
}

hub_index& table::make_index(vertex v, std::size_t count) {
  if (free_hubs_.empty()) {
    hubs_.emplace_back(0);
    free_hubs_.push_back(static_cast<std::uint32_t>(hubs_.size() - 1));
  }
  std::uint32_t number = free_hubs_.back();
  hubs_[number] = hub_index(count);
  hub_numbers_.insert(v, number);
  free_hubs_.pop_back();
  return hubs_[number];
}

std::uint32_t table::count_of(vertex v, vertex target) const {
  placed p = placed::of(entries_[v].where.load(std::memory_order_relaxed));
  const block_header& b = *block(p);
  const ends_stripe* ends = p.dirty ? arena_.at<ends_stripe>(b.ends.load(std::memory_order_relaxed)) : nullptr;
  std::uint32_t n = 0;
  for (std::uint32_t i = 0; i < p.count; ++i)
    if (b.targets()[i] == target && (ends == nullptr || load_end(ends->at()[i]) == newest_commit)) ++n;
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
  if (p.dirty) {
    const ends_stripe& ends = *arena_.at<ends_stripe>(b.ends.load(std::memory_order_relaxed));
    for (std::uint32_t i = 0; i < p.count; ++i) {
      commit_number end = load_end(ends.at()[i]);
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
  if (!p.dirty) return p.count;
  const ends_stripe& ends = *arena_.at<ends_stripe>(block(p)->ends.load(std::memory_order_relaxed));
  return p.count - ends.dead.load(std::memory_order_relaxed);
}

bool table::wants_packing(vertex v) const {
  placed p = placed::of(entries_[v].where.load(std::memory_order_relaxed));
  return p.block != 0 && (p.dirty || v >= packed_.size() || !packed_[v]);
}

void table::prefetch_tail(vertex v) const noexcept {
  const vertex_entry& e = entries_[v];
  placed p = placed::of(e.where.load(std::memory_order_relaxed));
  if (p.block == 0) return;
  const vertex* tail = block(p)->targets() + p.count;
  __builtin_prefetch(tail, 1);
  __builtin_prefetch(tail + begins_offset(e.shape), 1);
}

void table::prefetch_find(vertex v, vertex target) const noexcept {
  placed p = placed::of(entries_[v].where.load(std::memory_order_relaxed));
  if (p.block == 0) return;
  const block_header* b = block(p);
  __builtin_prefetch(b);
  if (p.count < hub_degree) {
    // The scan begins at the end; what lies further on the processor sees coming.
    const std::uint32_t stop = p.count < 16 * 8 ? 0 : p.count - 16 * 8;
    for (std::uint32_t i = p.count; i > stop; i -= std::min<std::uint32_t>(i, 16))
      __builtin_prefetch(b->targets() + i - 1);
    return;
  }
  std::uint32_t number = hub_numbers_.find(v);
  if (number != none) hubs_[number].prefetch(target);
}

// --- table: changing ---------------------------------------------------------------------------------------------------------

void table::drop_index(vertex v) {
  std::uint32_t number = hub_numbers_.find(v);
  if (number == none) return;
  free_hubs_.reserve(hubs_.size());
  index_bytes_ -= hubs_[number].bytes();
  hubs_[number] = hub_index(0);
  hub_numbers_.erase(v, number);
  free_hubs_.push_back(number);
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

bool table::append_valid(vertex_entry& e, block_header& b, std::uint32_t position, const interval& valid) {
  ref r = b.valid.load(std::memory_order_relaxed);
  if (r == 0) {
    if (valid.always()) return true;
    r = make_valid(capacity_of(e.shape), position);
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
  if (p.count == capacity_of(e.shape)) {
    if (!grow(v)) return false;
    p = placed::of(e.where.load(std::memory_order_relaxed));
  }
  block_header& b = *block(p);
  b.targets()[p.count] = target;
  b.targets()[begins_offset(e.shape) + p.count] = n;  // begins(), without a look at the header
  if ((has_valid_ || !valid.always()) && !append_valid(e, b, p.count, valid)) return false;
  if (hub_index* hub = hub_of(v, p); hub != nullptr) {
    index_bytes_ -= hub->bytes();
    hub->insert(target, p.count);
    index_bytes_ += hub->bytes();
  }
  ++p.count;
  e.changed.store(n, std::memory_order_relaxed);
  e.where.store(p.word(), std::memory_order_release);  // partner: the readers' acquire load of `where`
  return true;
}

bool table::grow(vertex v) { return relocate(v, roomy(live(v)), false, none, 0); }

bool table::close(vertex v, std::uint32_t position, commit_number n) {
  vertex_entry& e = entries_[v];
  placed p = placed::of(e.where.load(std::memory_order_relaxed));
  if (p.count <= rewritten_max) return relocate(v, roomy(p.count), false, position, n);
  return mark(v, position, n);
}

bool table::mark(vertex v, std::uint32_t position, commit_number n) {
  vertex_entry& e = entries_[v];
  placed p = placed::of(e.where.load(std::memory_order_relaxed));
  block_header& b = *block(p);
  if (!p.dirty) {
    ref r = arena_.allocate(ends_stripe::bytes(b.capacity()), memory_use::history);
    if (r == 0) return false;
    auto* fresh = new (arena_.at<void>(r)) ends_stripe;
    fresh->dead.store(0, std::memory_order_relaxed);
    std::fill_n(fresh->at(), b.capacity(), newest_commit);
    b.ends.store(r, std::memory_order_relaxed);  // told by `where`
    p.dirty = true;
  }
  ends_stripe& ends = *arena_.at<ends_stripe>(b.ends.load(std::memory_order_relaxed));
  if (hub_index* hub = hub_of(v, p); hub != nullptr) hub->erase(b.targets()[position], position);
  e.changed.store(n, std::memory_order_relaxed);
  store_end(ends.at()[position], n);
  std::uint32_t dead = ends.dead.load(std::memory_order_relaxed) + 1;
  ends.dead.store(dead, std::memory_order_release);    // partner: the acquire load in view::degree
  e.where.store(p.word(), std::memory_order_release);  // partner: the readers' acquire load of `where`
  if (dead * 4 < p.count) return true;
  return relocate(v, roomy(p.count - dead), false, none, 0);
}

bool table::relocate(vertex v, std::uint32_t capacity, bool packed, std::uint32_t closing, commit_number n) {
  vertex_entry& e = entries_[v];
  placed old = placed::of(e.where.load(std::memory_order_relaxed));
  // A long block is read at full speed wherever its begins lie, and in a short one they are in the lines that are read anyway.
  bool apart = packed && capacity >= apart_min && apart_piece_bytes(capacity) <= arena::pair_piece_max;
  std::size_t bytes = block_bytes(capacity);
  ref r = apart    ? arena_.allocate_pair(apart_piece_bytes(capacity), memory_use::newest)
          : packed ? arena_.allocate_packed(bytes, memory_use::newest)
                   : arena_.allocate(bytes, memory_use::newest);
  if (r == 0) return false;
  auto* to = new (arena_.at<void>(r)) block_header;
  to->shape = capacity | (apart ? apart_bit : 0);
  to->ends.store(0, std::memory_order_relaxed);
  to->history.store(0, std::memory_order_relaxed);
  to->valid.store(0, std::memory_order_relaxed);
  placed now{r, 0, false};
  if (old.block != 0) {
    block_header& from = *block(old);
    ref history = from.history.load(std::memory_order_relaxed);
    ref valid = from.valid.load(std::memory_order_relaxed);
    dead_.versions.clear();
    dead_.valid.clear();
    bool plain = !old.dirty && closing == none;
    if (plain) {
      std::memcpy(to->targets(), from.targets(), old.count * sizeof(vertex));
      std::memcpy(to->begins(), from.begins(), old.count * sizeof(commit_number));
      now.count = old.count;
    } else {
      now.count = copy_living(from, old, *to, closing, n);
    }
    if (valid != 0 && !copy_valid(from, old, *to, now.count, closing)) return false;
    if (!dead_.versions.empty()) {  // the last that can fail, since it retires batches
      if (history == 0) with_history_.push_back(v);
      history = make_history(history, dead_);
      if (history == 0) return false;
    }
    if (!plain && old.count >= hub_degree) drop_index(v);
    to->history.store(history, std::memory_order_relaxed);
  }
  if (closing != none) e.changed.store(n, std::memory_order_relaxed);
  e.shape = to->shape;
  e.where.store(now.word(), std::memory_order_release);  // partner: the readers' acquire load of `where`
  if (old.block != 0) retire_block(old);
  if (packed && v >= packed_.size()) packed_.resize(std::size_t{v} + 1 + v / 2, false);
  if (v < packed_.size()) packed_[v] = packed;
  return true;
}

std::uint32_t table::copy_living(const block_header& from, const placed& old, block_header& to, std::uint32_t closing,
                                 commit_number n) {
  const ends_stripe* ends = old.dirty ? arena_.at<ends_stripe>(from.ends.load(std::memory_order_relaxed)) : nullptr;
  ref valid = from.valid.load(std::memory_order_relaxed);
  const interval* intervals = valid == 0 ? nullptr : arena_.at<valid_column>(valid)->at();
  std::uint32_t count = 0;
  if (ends == nullptr) {
    std::uint32_t behind = old.count - closing - 1;
    std::memcpy(to.targets(), from.targets(), closing * sizeof(vertex));
    std::memcpy(to.targets() + closing, from.targets() + closing + 1, behind * sizeof(vertex));
    std::memcpy(to.begins(), from.begins(), closing * sizeof(commit_number));
    std::memcpy(to.begins() + closing, from.begins() + closing + 1, behind * sizeof(commit_number));
    dead_.versions.push_back({from.targets()[closing], from.begins()[closing], n});
    if (intervals != nullptr) dead_.valid.push_back(intervals[closing]);
    return old.count - 1;
  }
  for (std::uint32_t i = 0; i < old.count; ++i) {
    commit_number end = i == closing ? n : load_end(ends->at()[i]);
    if (end == newest_commit) {
      to.targets()[count] = from.targets()[i];
      to.begins()[count] = from.begins()[i];
      ++count;
    } else if (end > horizon_) {
      dead_.versions.push_back({from.targets()[i], from.begins()[i], end});
      if (intervals != nullptr) dead_.valid.push_back(intervals[i]);
    }
  }
  return count;
}

bool table::copy_valid(const block_header& from, const placed& old, block_header& to, std::uint32_t count,
                       std::uint32_t closing) {
  const interval* intervals = arena_.at<valid_column>(from.valid.load(std::memory_order_relaxed))->at();
  ref r = make_valid(to.capacity(), 0);
  if (r == 0) return false;
  valid_column& column = *arena_.at<valid_column>(r);
  const ends_stripe* ends = old.dirty ? arena_.at<ends_stripe>(from.ends.load(std::memory_order_relaxed)) : nullptr;
  std::uint32_t at = 0;
  for (std::uint32_t i = 0; i < old.count; ++i) {
    if (i == closing || (ends != nullptr && load_end(ends->at()[i]) != newest_commit)) continue;
    column.at()[at++] = intervals[i];
    widen(column, intervals[i]);
  }
  assert(at == count);
  static_cast<void>(count);
  to.valid.store(r, std::memory_order_relaxed);  // told by `where`
  return true;
}

ref table::make_history(ref previous, dead_list& dead) {
  // Positions are in the order of their begins; batches are in the order of ends. Both columns are sorted together by way of an order.
  std::size_t fresh = dead.versions.size();
  std::vector<std::uint32_t>& order = order_;
  order.resize(fresh);
  for (std::uint32_t i = 0; i < fresh; ++i) order[i] = i;
  if (fresh > 1) {
    std::stable_sort(order.begin(), order.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return dead.versions[a].end < dead.versions[b].end; });
  }
  // Batches that are no larger than what comes after them are merged into it: their number stays logarithmic.
  std::vector<ref>& merged = merged_;
  merged.clear();
  std::size_t total = fresh;
  bool has_valid = !dead.valid.empty();
  for (ref r = previous; r != 0;) {
    const history_batch& batch = *arena_.at<history_batch>(r);
    if (batch.count > total) break;
    merged.push_back(r);
    total += batch.count;
    has_valid = has_valid || batch.has_valid != 0;
    r = previous = batch.previous.load(std::memory_order_relaxed);
  }
  ref made = arena_.allocate(history_batch::bytes(total, has_valid), memory_use::history);
  if (made == 0) return 0;
  auto* batch = new (arena_.at<void>(made)) history_batch;
  batch->previous.store(previous, std::memory_order_relaxed);
  batch->count = static_cast<std::uint32_t>(total);
  batch->latest_end = dead.versions[order.back()].end;
  batch->has_valid = has_valid ? 1 : 0;
  std::size_t at = 0;
  for (std::size_t m = merged.size(); m-- > 0;) {  // the oldest first
    const history_batch& old = *arena_.at<history_batch>(merged[m]);
    std::copy_n(old.versions(), old.count, batch->versions() + at);
    if (has_valid) {
      if (old.has_valid != 0) {
        std::copy_n(old.valid(), old.count, batch->valid() + at);
      } else {
        std::fill_n(batch->valid() + at, old.count, interval{});
      }
    }
    at += old.count;
  }
  for (std::uint32_t i : order) {
    batch->versions()[at] = dead.versions[i];
    if (has_valid) batch->valid()[at] = dead.valid.empty() ? interval{} : dead.valid[i];
    ++at;
  }
  for (ref r : merged) retire_batch(r);
  return made;
}

bool table::pack(vertex v, std::size_t& moved) {
  std::uint32_t capacity = slack(live(v));
  if (!relocate(v, capacity, true, none, 0)) return false;
  moved += block_bytes(capacity);
  return true;
}

bool table::trim(vertex v, commit_number horizon) {
  placed p = placed::of(entries_[v].where.load(std::memory_order_relaxed));
  if (p.block == 0) return true;
  block_header& b = *block(p);
  ref head = b.history.load(std::memory_order_relaxed);
  if (head == 0) return true;
  std::vector<ref> chain;
  for (ref r = head; r != 0; r = arena_.at<history_batch>(r)->previous.load(std::memory_order_relaxed))
    chain.push_back(r);
  dead_.versions.clear();
  dead_.valid.clear();
  bool has_valid = false;
  for (ref r : chain) has_valid = has_valid || arena_.at<history_batch>(r)->has_valid != 0;
  std::size_t dropped = 0;
  for (std::size_t k = chain.size(); k-- > 0;) {
    const history_batch& batch = *arena_.at<history_batch>(chain[k]);
    for (std::uint32_t i = 0; i < batch.count; ++i) {
      if (batch.versions()[i].end <= horizon) {
        ++dropped;
        continue;
      }
      dead_.versions.push_back(batch.versions()[i]);
      if (has_valid) dead_.valid.push_back(batch.has_valid != 0 ? batch.valid()[i] : interval{});
    }
  }
  if (dropped == 0) return true;
  ref made = 0;
  if (!dead_.versions.empty()) {
    made = make_history(0, dead_);
    if (made == 0) return false;
  }
  b.history.store(made, std::memory_order_release);  // partner: the readers' acquire load of `history`
  for (ref r : chain) retire_batch(r);
  return true;
}

void table::retire_block(const placed& p) {
  const block_header& b = *block(p);
  std::uint64_t epoch = pins_.epoch();
  ref ends = b.ends.load(std::memory_order_relaxed);
  if (p.dirty) arena_.retire(ends, arena::size_class(ends_stripe::bytes(b.capacity())), memory_use::history, epoch);
  ref valid = b.valid.load(std::memory_order_relaxed);
  if (valid != 0) arena_.retire(valid, arena::size_class(valid_column::bytes(b.capacity())), memory_use::valid, epoch);
  if ((b.shape & apart_bit) == 0) {
    arena_.retire(p.block, block_bytes(b.capacity()), memory_use::newest, epoch);
    return;
  }
  std::size_t piece = apart_piece_bytes(b.capacity());
  arena_.retire(p.block, piece, memory_use::newest, epoch);
  arena_.retire(p.block + static_cast<ref>(apart_bytes / unit_bytes), piece, memory_use::newest, epoch);
}

void table::retire_batch(ref batch) {
  const history_batch& b = *arena_.at<history_batch>(batch);
  std::size_t bytes = history_batch::bytes(b.count, b.has_valid != 0);
  arena_.retire(batch, arena::size_class(bytes), memory_use::history, pins_.epoch());
}

}  // namespace rhizome::detail
