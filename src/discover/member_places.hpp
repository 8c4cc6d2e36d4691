#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "discover/cell_block.hpp"

namespace karyon::detail {

/// Where a local member sits in its group: which cell it is, in 16 bytes.
struct member_place {
  cell_block* block;     // null: nobody sits here
  std::uint32_t number;  // of the incarnation or role; of a free place: the next free one
  std::uint32_t
      bits;  // class (23 bits), line (2), role (1), index in the block (6); of a free place: the free one before it

  static constexpr std::uint32_t classes_max = 1u << 23u;
  [[nodiscard]] static std::uint32_t pack(std::uint32_t kind, bool role, const cell_slot* slot) noexcept {
    return kind << 9u | cell_block::line_of(slot) << 7u | (role ? 64u : 0u) | cell_block::index_of(slot);
  }
  [[nodiscard]] std::uint32_t kind() const noexcept { return bits >> 9u; }
  [[nodiscard]] unsigned line() const noexcept { return (bits >> 7u) & 3u; }
  [[nodiscard]] bool role() const noexcept { return (bits & 64u) != 0; }
  [[nodiscard]] unsigned index() const noexcept { return bits & 63u; }
  [[nodiscard]] cell_slot* slot() const noexcept { return block->slot_at(index(), line()); }
  [[nodiscard]] address at() const noexcept { return {slot(), number}; }
  [[nodiscard]] cell_entry& entry() const noexcept { return block->entries[index()]; }
  [[nodiscard]] std::uint64_t id() const noexcept { return block->id_of(index(), role(), number); }
};

/// The local members of a group. A member keeps its place, whose number its cell's entry has, until it leaves or is moved; who comes
/// takes a free place before a new one. The last place that there is, is taken. Its shard's lock.
class member_places {
public:
  [[nodiscard]] bool empty() const noexcept { return live_ == 0; }
  [[nodiscard]] std::size_t size() const noexcept { return live_; }
  /// One behind the last place.
  [[nodiscard]] std::uint32_t end() const noexcept { return end_; }
  /// More than half of the places are free.
  [[nodiscard]] bool sparse() const noexcept { return end_ > 2 * live_ + 8; }
  [[nodiscard]] const member_place& at(std::uint32_t i) const noexcept {
    return chunks_[i / chunk_places][i % chunk_places];
  }
  [[nodiscard]] bool taken(std::uint32_t i) const noexcept { return at(i).block != nullptr; }
  /// The first that is taken from `i` on, around the end; there is one.
  [[nodiscard]] std::uint32_t next_taken(std::uint32_t i) const noexcept {
    if (i >= end_) i = 0;
    while (!taken(i)) i = i + 1 == end_ ? 0 : i + 1;
    return i;
  }
  template <class F>
  void for_each(F&& f) const {
    for (std::uint32_t i = 0; i < end_;) {
      const member_place* const chunk = chunks_[i / chunk_places].get();
      for (const std::uint32_t stop = std::min(end_, i + chunk_places); i < stop; ++i) {
        if (chunk[i % chunk_places].block != nullptr) f(chunk[i % chunk_places]);
      }
    }
  }

  /// So that the next `n` calls of take need no memory. Throws std::bad_alloc; nothing has changed then.
  void make_room(std::size_t n) {
    const std::size_t wanted = live_ + n;
    if (wanted <= room_) return;
    if (wanted > none) throw std::bad_alloc();
    if (room_ < chunk_places) {  // the first one grows by copies
      const std::size_t first =
          std::min<std::size_t>(std::max<std::size_t>({4, wanted, 2 * std::size_t{room_}}), chunk_places);
      auto fresh = std::make_unique_for_overwrite<member_place[]>(first);
      if (chunks_.empty()) chunks_.reserve(1);
      if (end_ != 0) std::copy_n(chunks_[0].get(), end_, fresh.get());
      if (chunks_.empty()) {
        chunks_.push_back(std::move(fresh));
      } else {
        chunks_[0] = std::move(fresh);
      }
      room_ = static_cast<std::uint32_t>(first);
    }
    while (room_ < wanted) {
      chunks_.push_back(std::make_unique_for_overwrite<member_place[]>(chunk_places));
      room_ += chunk_places;
    }
  }
  /// After make_room.
  std::uint32_t take(const member_place& who) noexcept {
    std::uint32_t i = free_;
    if (i != none) {
      unlink(i);
    } else {
      i = end_++;
    }
    assert(i < room_);
    place(i) = who;
    ++live_;
    return i;
  }
  void release(std::uint32_t i) noexcept {
    --live_;
    place(i) = {nullptr, free_, none};
    if (free_ != none) place(free_).bits = i;
    free_ = i;
    while (end_ != 0 && !taken(end_ - 1)) unlink(--end_);
    // One chunk more than are needed stays, for who comes and goes around a border.
    while (room_ > chunk_places && room_ - end_ >= 2 * chunk_places) {
      chunks_.pop_back();
      room_ -= chunk_places;
    }
  }
  /// Who sits last sits elsewhere from now on: in the place that is returned. There is a free one.
  std::uint32_t move_last() noexcept {
    const member_place last = at(end_ - 1);
    const std::uint32_t to = free_;
    unlink(to);
    place(to) = last;
    ++live_;
    release(end_ - 1);
    return to;
  }

private:
  static constexpr std::uint32_t none = ~std::uint32_t{0};
  static constexpr std::uint32_t chunk_places = 512;

  [[nodiscard]] member_place& place(std::uint32_t i) noexcept { return chunks_[i / chunk_places][i % chunk_places]; }
  void unlink(std::uint32_t i) noexcept {
    const member_place gone = at(i);
    (gone.bits != none ? place(gone.bits).number : free_) = gone.number;
    if (gone.number != none) place(gone.number).bits = gone.bits;
  }

  std::vector<std::unique_ptr<member_place[]>> chunks_;
  std::uint32_t room_ = 0;  // places that there is memory for
  std::uint32_t end_ = 0;
  std::uint32_t live_ = 0;
  std::uint32_t free_ = none;  // the first of a doubly linked list
};

}  // namespace karyon::detail
