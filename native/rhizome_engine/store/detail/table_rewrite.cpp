// SPDX-License-Identifier: Apache-2.0
//
// Blocks that are written anew: when one is full, when arcs of it have ended, and when it is packed. What ended goes into the history.
#include <algorithm>
#include <cassert>
#include <cstring>
#include <new>

#include "store/detail/table.hpp"

namespace rhizome::detail {

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
    if (old.dirty) marked(e).index.release(arena_);  // positions change; a block that is not dirty keeps them
    if (!dead_.versions.empty()) {                   // the last that can fail, since it retires batches
      if (history == 0) with_history_.push_back(v);
      history = make_history(history, dead_);
      if (history == 0) return false;
    }
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
  const commit_number* ends = old.dirty ? ends_of(arena_.base(), from) : nullptr;
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
    commit_number end = i == closing ? n : load_end(ends[i]);
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
  const commit_number* ends = old.dirty ? ends_of(arena_.base(), from) : nullptr;
  std::uint32_t at = 0;
  for (std::uint32_t i = 0; i < old.count; ++i) {
    if (i == closing || (ends != nullptr && load_end(ends[i]) != newest_commit)) continue;
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
  if (p.dirty) {
    ref head = b.ends.load(std::memory_order_relaxed);
    ref ends = arena_.at<ends_head>(head)->ends;
    arena_.retire(ends, arena::size_class(ends_head::ends_bytes(b.capacity())), memory_use::history, epoch);
    arena_.retire(head, arena::mark_bytes, memory_use::mark, epoch);
  }
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
