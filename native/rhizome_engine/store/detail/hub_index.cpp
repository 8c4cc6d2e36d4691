// SPDX-License-Identifier: Apache-2.0
#include <cassert>

#include "store/detail/table.hpp"

namespace rhizome::detail {

void hub_index::insert(vertex target, std::uint32_t position) {
  if ((used_ + 1) * 4 > slots_.size() * 3) {
    std::vector<std::uint64_t> old(slots_.size() * 2);
    old.swap(slots_);
    used_ = 0;
    for (std::uint64_t s : old)
      if (s != 0) insert(static_cast<vertex>(s >> 32), static_cast<std::uint32_t>(s) - 1);
  }
  std::size_t i = home(target);
  while (slots_[i] != 0) i = (i + 1) & (slots_.size() - 1);
  slots_[i] = slot_of(target, position);
  ++used_;
}

std::uint32_t hub_index::find(vertex target) const noexcept {
  std::uint32_t found = none;
  for (std::size_t i = home(target); slots_[i] != 0; i = (i + 1) & (slots_.size() - 1)) {
    if (static_cast<vertex>(slots_[i] >> 32) != target) continue;
    std::uint32_t position = static_cast<std::uint32_t>(slots_[i]) - 1;
    if (found == none || position > found) found = position;
  }
  return found;
}

void hub_index::erase(vertex target, std::uint32_t position) noexcept {
  std::size_t mask = slots_.size() - 1;
  std::size_t hole = home(target);
  while (slots_[hole] != slot_of(target, position)) {
    assert(slots_[hole] != 0);
    hole = (hole + 1) & mask;
  }
  for (std::size_t i = (hole + 1) & mask; slots_[i] != 0; i = (i + 1) & mask) {
    std::size_t want = home(static_cast<vertex>(slots_[i] >> 32));
    if (((i - want) & mask) < ((i - hole) & mask)) continue;  // it would come to lie before its home
    slots_[hole] = slots_[i];
    hole = i;
  }
  slots_[hole] = 0;
  --used_;
}

}  // namespace rhizome::detail
