// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>
#include <cassert>
#include <new>

#include "store/detail/table.hpp"

namespace rhizome::detail {

void hub_index::reserve(std::size_t count) {
  std::size_t wanted = std::bit_ceil(count * 2 + 16);
  if (wanted <= size_) return;
  ref fresh = arena_->allocate(wanted * sizeof(std::uint64_t), memory_use::index);
  if (fresh == 0) throw std::bad_alloc();
  ref old = at_;
  std::size_t old_size = size_;
  at_ = fresh;
  size_ = wanted;
  std::fill_n(slots(), size_, 0);
  if (old_size == 0) return;
  const auto* from = arena_->at<std::uint64_t>(old);
  for (std::size_t i = 0; i < old_size; ++i)
    if (from[i] != 0) place(from[i]);
  arena_->free(old, arena::size_class(old_size * sizeof(std::uint64_t)), memory_use::index);
}

void hub_index::place(std::uint64_t slot) noexcept {
  std::size_t i = home(static_cast<vertex>(slot >> 32));
  while (slots()[i] != 0) i = (i + 1) & (size_ - 1);
  slots()[i] = slot;
}

void hub_index::insert(vertex target, std::uint32_t position) {
  if ((used_ + 1) * 4 > size_ * 3) reserve(std::max<std::size_t>(used_ + 1, size_ * 3 / 4));
  place(slot_of(target, position));
  ++used_;
}

std::uint32_t hub_index::find(vertex target) const noexcept {
  std::uint32_t found = none;
  if (size_ == 0) return found;
  const std::uint64_t* all = slots();
  for (std::size_t i = home(target); all[i] != 0; i = (i + 1) & (size_ - 1)) {
    if (static_cast<vertex>(all[i] >> 32) != target) continue;
    std::uint32_t position = static_cast<std::uint32_t>(all[i]) - 1;
    if (found == none || position > found) found = position;
  }
  return found;
}

void hub_index::erase(vertex target, std::uint32_t position) noexcept {
  std::size_t mask = size_ - 1;
  std::uint64_t* all = slots();
  std::size_t hole = home(target);
  while (all[hole] != slot_of(target, position)) {
    assert(all[hole] != 0);
    hole = (hole + 1) & mask;
  }
  for (std::size_t i = (hole + 1) & mask; all[i] != 0; i = (i + 1) & mask) {
    std::size_t want = home(static_cast<vertex>(all[i] >> 32));
    if (((i - want) & mask) < ((i - hole) & mask)) continue;  // it would come to lie before its home
    all[hole] = all[i];
    hole = i;
  }
  all[hole] = 0;
  --used_;
}

void hub_index::release() {
  if (size_ != 0) arena_->free(at_, arena::size_class(size_ * sizeof(std::uint64_t)), memory_use::index);
  at_ = 0;
  size_ = used_ = 0;
}

}  // namespace rhizome::detail
