// SPDX-License-Identifier: Apache-2.0
#include "store/detail/arena.hpp"

#include <cassert>

namespace rhizome::detail {
namespace {

constexpr std::size_t most_bytes = std::size_t{0xffff'ffff} * unit_bytes;  // what a reference can reach

}  // namespace

bool arena::reserve(std::size_t bytes, paging pages) {
  live_.resize(1, 0);
  return region_.reserve(std::min(round_up(bytes, chunk_bytes) + chunk_bytes, most_bytes / chunk_bytes * chunk_bytes),
                         pages) &&
         region_.grow(chunk_bytes);  // reference 0 reads as an empty block
}

std::size_t arena::take_chunks(std::size_t count) {
  for (auto run = runs_.begin(); run != runs_.end(); ++run) {
    if (run->second < count) continue;
    std::size_t first = run->first;
    std::size_t rest = run->second - count;
    runs_.erase(run);
    if (rest > 0) runs_.emplace(first + count, rest);
    free_bytes_ -= count * chunk_bytes;
    return first;
  }
  std::size_t first = chunks_;
  if (!region_.grow((first + count) * chunk_bytes)) return 0;
  chunks_ += count;
  live_.resize(chunks_, 0);
  return first;
}

void arena::give_chunks(std::size_t first, std::size_t count) {
  free_bytes_ += count * chunk_bytes;
  region_.discard(first * chunk_bytes, count * chunk_bytes);
  auto next = runs_.lower_bound(first);
  if (next != runs_.end() && next->first == first + count) {
    count += next->second;
    next = runs_.erase(next);
  }
  if (next != runs_.begin()) {
    auto before = std::prev(next);
    if (before->first + before->second == first) {
      before->second += count;
      return;
    }
  }
  runs_.emplace(first, count);
}

void arena::account(std::size_t offset, std::size_t bytes, bool in) {
  while (bytes > 0) {
    std::size_t chunk = offset / chunk_bytes;
    std::size_t part = std::min(bytes, (chunk + 1) * chunk_bytes - offset);
    if (in) {
      live_[chunk] += static_cast<std::uint32_t>(part);
    } else {
      assert(live_[chunk] >= part);
      live_[chunk] -= static_cast<std::uint32_t>(part);
    }
    offset += part;
    bytes -= part;
  }
}

void arena::give_pieces(std::size_t offset, std::size_t bytes) {
  free_bytes_ += bytes;
  while (bytes >= smallest) {
    std::size_t room = std::min(bytes, chunk_bytes - offset % chunk_bytes);
    std::size_t piece = std::min(std::bit_floor(room), chunk_bytes / 2);
    if (piece >= smallest) free_[class_of(piece)].push_back(static_cast<ref>(offset / unit_bytes));
    piece = std::max(piece, unit_bytes);  // 16 bytes at a chunk's end are lost until the chunk is whole again
    offset += piece;
    bytes -= piece;
  }
}

ref arena::allocate(std::size_t bytes, memory_use use) {
  bytes = size_class(bytes);
  std::size_t offset = 0;
  if (bytes > chunk_bytes / 2) {
    offset = take_chunks(bytes / chunk_bytes) * chunk_bytes;
    if (offset == 0) return 0;
  } else {
    std::size_t wanted = class_of(bytes);
    std::size_t found = wanted;
    while (found < classes && free_[found].empty()) ++found;
    if (found < classes) {
      offset = std::size_t{free_[found].back()} * unit_bytes;
      free_[found].pop_back();
      free_bytes_ -= smallest << found;
      while (found > wanted) {  // the upper halves go back
        --found;
        give_pieces(offset + (smallest << found), smallest << found);
      }
    } else {
      if (cursor_end_ - cursor_ < bytes) {
        std::size_t chunk = take_chunks(1);
        if (chunk == 0) return 0;
        give_pieces(cursor_, cursor_end_ - cursor_);
        cursor_ = chunk * chunk_bytes;
        cursor_end_ = cursor_ + chunk_bytes;
      }
      offset = cursor_;
      cursor_ += bytes;
    }
  }
  account(offset, bytes, true);
  add(use, bytes);
  return static_cast<ref>(offset / unit_bytes);
}

ref arena::allocate_packed(std::size_t bytes, memory_use use) {
  bytes = round_up(bytes, unit_bytes);
  if (packed_end_ - packed_ < bytes) {
    std::size_t count = round_up(bytes, chunk_bytes) / chunk_bytes;
    std::size_t chunk = take_chunks(count);
    if (chunk == 0) return 0;
    if (chunk * chunk_bytes == packed_end_) {  // goes on where the last run ended
      packed_end_ += count * chunk_bytes;
    } else {
      end_packed();
      packed_ = chunk * chunk_bytes;
      packed_end_ = packed_ + count * chunk_bytes;
    }
  }
  std::size_t offset = packed_;
  packed_ += bytes;
  account(offset, bytes, true);
  add(use, bytes);
  return static_cast<ref>(offset / unit_bytes);
}

ref arena::allocate_pair(std::size_t bytes, memory_use use) {
  static_assert(apart_bytes == chunk_bytes);
  assert(bytes <= pair_piece_max);
  if (pair_end_ - pair_ < bytes) {
    std::size_t chunk = take_chunks(2);
    if (chunk == 0) return 0;
    give_pieces(pair_, pair_end_ - pair_);
    give_pieces(pair_ + apart_bytes, pair_end_ - pair_);
    pair_ = chunk * chunk_bytes;
    pair_end_ = pair_ + chunk_bytes;
  }
  std::size_t offset = pair_;
  pair_ += bytes;
  account(offset, bytes, true);
  account(offset + apart_bytes, bytes, true);
  add(use, 2 * bytes);
  return static_cast<ref>(offset / unit_bytes);
}

ref arena::allocate_mark() {
  if (free_marks_.empty()) {
    free_marks_.reserve(marks_bytes / mark_bytes);
    ref first = allocate(marks_bytes, memory_use::mark);
    if (first == 0) return 0;
    for (std::size_t at = marks_bytes; at > 0; at -= mark_bytes)  // so that they are given out in ascending order
      free(first + static_cast<ref>((at - mark_bytes) / unit_bytes), mark_bytes, memory_use::mark);
  }
  ref r = free_marks_.back();
  free_marks_.pop_back();
  free_bytes_ -= mark_bytes;
  account(std::size_t{r} * unit_bytes, mark_bytes, true);
  add(memory_use::mark, mark_bytes);
  return r;
}

void arena::end_packed() {
  give_pieces(packed_, packed_end_ - packed_);
  packed_ = packed_end_ = 0;
}

void arena::free(ref r, std::size_t bytes, memory_use use) {
  std::size_t offset = std::size_t{r} * unit_bytes;
  used_[static_cast<std::size_t>(use)] -= bytes;
  in_use_ -= bytes;
  account(offset, bytes, false);
  if (use == memory_use::mark) {
    free_marks_.push_back(r);
    free_bytes_ += bytes;
  } else if (bytes >= chunk_bytes && offset % chunk_bytes == 0 && bytes % chunk_bytes == 0) {
    give_chunks(offset / chunk_bytes, bytes / chunk_bytes);
  } else {
    give_pieces(offset, bytes);
  }
}

void arena::retire(ref r, std::size_t bytes, memory_use use, std::uint64_t epoch) {
  retired_.push_back({epoch, r, use, bytes});
  retired_bytes_ += bytes;
}

void arena::collect(std::uint64_t oldest) {
  while (!retired_.empty() && retired_.front().epoch < oldest) {
    retired gone = retired_.front();
    retired_.pop_front();
    retired_bytes_ -= gone.bytes;
    free(gone.at, gone.bytes, gone.use);
  }
}

void arena::sweep() {
  auto whole = [this](std::size_t chunk) {
    std::size_t first = chunk * chunk_bytes;
    bool open = (cursor_ < cursor_end_ && cursor_ >= first && cursor_ < first + chunk_bytes) ||
                (packed_ < packed_end_ && packed_end_ > first && packed_ < first + chunk_bytes) ||
                (pair_ < pair_end_ && (pair_end_ == first + chunk_bytes || pair_end_ == first));
    return live_[chunk] == 0 && !open;
  };
  std::vector<bool> empty(chunks_, false);
  for (std::size_t chunk = 1; chunk < chunks_; ++chunk) empty[chunk] = whole(chunk);
  for (const auto& [first, count] : runs_)
    for (std::size_t i = 0; i < count; ++i) empty[first + i] = false;
  for (std::size_t c = 0; c < classes; ++c) {
    std::erase_if(free_[c], [&](ref r) { return empty[std::size_t{r} * unit_bytes / chunk_bytes]; });
  }
  std::erase_if(free_marks_, [&](ref r) { return empty[std::size_t{r} * unit_bytes / chunk_bytes]; });
  for (std::size_t chunk = 1; chunk < chunks_; ++chunk)
    if (empty[chunk]) give_chunks(chunk, 1);
  free_bytes_ = 0;
  for (const auto& run : runs_) free_bytes_ += run.second * chunk_bytes;
  for (std::size_t c = 0; c < classes; ++c) free_bytes_ += free_[c].size() * (smallest << c);
  free_bytes_ += free_marks_.size() * mark_bytes;
}

ref arena::adopt(std::size_t bytes, const std::array<std::size_t, memory_uses>& used) {
  assert(chunks_ == 1);
  std::size_t count = round_up(std::max<std::size_t>(bytes, 1), chunk_bytes) / chunk_bytes;
  std::size_t chunk = take_chunks(count);
  if (chunk == 0) return 0;
  account(chunk * chunk_bytes, bytes, true);
  for (std::size_t use = 0; use < memory_uses; ++use) add(static_cast<memory_use>(use), used[use]);
  return static_cast<ref>(chunk * chunk_bytes / unit_bytes);
}

}  // namespace rhizome::detail
