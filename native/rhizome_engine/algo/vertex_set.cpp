// SPDX-License-Identifier: Apache-2.0
#include "algo/vertex_set.hpp"

namespace rhizome {

/// Where `v` is, or the free slot where it would go.
std::size_t vertex_set::slot_of(vertex v) const noexcept {
  auto const mask = slots_.size() - 1;
  auto at = static_cast<std::size_t>((v * 0x9E3779B97F4A7C15ULL) >> 32) & mask;
  while (slots_[at] != 0 && slots_[at] != v + 1) {
    at = (at + 1) & mask;
  }
  return at;
}

bool vertex_set::contains(vertex v) const noexcept {
  if (bits_.size() != 0) {
    return v < vertices_ && (bits_[v / 64] >> (v % 64) & 1) != 0;
  }
  return slots_.size() != 0 && slots_[slot_of(v)] != 0;
}

bool vertex_set::insert_hashed(vertex v) {
  if (2 * (size_ + 1) > slots_.size()) {
    grow();
    if (bits_.size() != 0) {
      return insert(v);
    }
  }
  auto& slot = slots_[slot_of(v)];
  if (slot != 0) {
    return false;
  }
  slot = v + 1;  // no_vertex is never inserted, so this is never 0
  ++size_;
  return true;
}

void vertex_set::grow() {
  auto const old = std::move(slots_);
  auto const wanted = old.size() == 0 ? std::size_t{64} : 2 * old.size();
  if (wanted * 32 > vertices_) {  // four bytes a slot against a bit a vertex
    bits_ = huge_array<std::uint64_t>((std::size_t{vertices_} + 63) / 64);
    for (auto const stored : old) {
      if (stored != 0) {
        bits_[(stored - 1) / 64] |= std::uint64_t{1} << ((stored - 1) % 64);
      }
    }
    return;
  }
  slots_ = huge_array<vertex>(wanted);
  for (auto const stored : old) {
    if (stored != 0) {
      slots_[slot_of(stored - 1)] = stored;
    }
  }
}

}  // namespace rhizome
