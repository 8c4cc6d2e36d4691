// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>
#include <cassert>
#include <new>

#include "store/detail/table.hpp"

namespace rhizome::detail {

void hub_index::reserve(arena& blocks, std::size_t count) {
  const std::size_t wanted = std::bit_ceil(count * 2 + 16);
  if (wanted <= size()) return;
  if (wanted > std::size_t{1} << 32) throw std::bad_alloc();  // half of what an arena can have
  ref fresh = blocks.allocate(wanted * sizeof(std::uint64_t), memory_use::index);
  if (fresh == 0) throw std::bad_alloc();
  const hub_index old = *this;
  at_ = fresh;
  mask_ = static_cast<std::uint32_t>(wanted - 1);
  auto* all = slots(blocks);
  std::fill_n(all, wanted, 0);
  if (!old.there()) return;
  const auto* from = old.slots(blocks);
  for (std::size_t i = 0; i < old.size(); ++i)
    if (from[i] != 0) place(all, from[i]);
  blocks.free(old.at_, arena::size_class(old.size() * sizeof(std::uint64_t)), memory_use::index);
}

void hub_index::place(std::uint64_t* all, std::uint64_t slot) const noexcept {
  std::size_t i = home(static_cast<vertex>(slot >> 32));
  while (all[i] != 0) i = (i + 1) & mask_;
  all[i] = slot;
}

void hub_index::insert(arena& blocks, vertex target, std::uint32_t position) {
  if ((std::size_t{used_} + 1) * 4 > size() * 3)
    reserve(blocks, std::max<std::size_t>(std::size_t{used_} + 1, size() * 3 / 4));
  place(slots(blocks), slot_of(target, position));
  ++used_;
}

std::uint32_t hub_index::find(const arena& blocks, vertex target) const noexcept {
  std::uint32_t found = none;
  if (!there()) return found;
  const std::uint64_t* all = slots(blocks);
  for (std::size_t i = home(target); all[i] != 0; i = (i + 1) & mask_) {
    if (static_cast<vertex>(all[i] >> 32) != target) continue;
    std::uint32_t position = static_cast<std::uint32_t>(all[i]) - 1;
    if (found == none || position > found) found = position;
  }
  return found;
}

void hub_index::erase(arena& blocks, vertex target, std::uint32_t position) noexcept {
  const std::size_t mask = mask_;
  std::uint64_t* all = slots(blocks);
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

void hub_index::release(arena& blocks) {
  if (there()) blocks.free(at_, arena::size_class(size() * sizeof(std::uint64_t)), memory_use::index);
  *this = {};
}

}  // namespace rhizome::detail
