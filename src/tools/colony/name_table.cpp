// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/name_table.hpp"

#include "tools/colony/name_hash.hpp"

namespace karyon::tools {

name_table::name_table() : slots_(256) {}

std::uint32_t name_table::number_of(std::string_view name, bool& is_new) {
  const std::uint64_t hash = name_hash(name);
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = hash & mask;
  for (; slots_[slot] != 0; slot = (slot + 1) & mask) {
    const entry& e = entries_[slots_[slot] - 1];
    if (e.hash == hash && e.name == name) {
      is_new = false;
      return slots_[slot] - 1;
    }
  }
  is_new = true;
  entries_.push_back({name, hash});
  slots_[slot] = static_cast<std::uint32_t>(entries_.size());
  if (entries_.size() * 2 > slots_.size()) {
    grow();
  }
  return static_cast<std::uint32_t>(entries_.size() - 1);
}

void name_table::grow() {
  std::vector<std::uint32_t> slots(slots_.size() * 2);
  const std::size_t mask = slots.size() - 1;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    std::size_t slot = entries_[i].hash & mask;
    while (slots[slot] != 0) {
      slot = (slot + 1) & mask;
    }
    slots[slot] = static_cast<std::uint32_t>(i + 1);
  }
  slots_ = std::move(slots);
}

}  // namespace karyon::tools
