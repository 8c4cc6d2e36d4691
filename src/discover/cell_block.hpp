#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "cell/slab.hpp"
#include "cell/slot.hpp"

namespace karyon::detail {

struct cell_record;
struct group_entry;
struct membership;

/// Where a scope keeps what a cell has in it.
class membership_owner {
public:
  /// The cell has ended: the membership is out of its cell's list already, and is freed here. Any thread.
  virtual void cell_left(membership& m) noexcept = 0;

protected:
  ~membership_owner() = default;
};

/// One thing that a cell has somewhere: a membership of a group, a watch, a name. It lies in its cell's list (the lock of the cell's
/// shard, or whoever has taken the list off) and in its scope's table (the lock of the scope's shard).
struct membership {
  enum class kind : std::uint8_t { group, group_watch, scope_watch, name };
  membership* next = nullptr;  // the cell's shard
  membership* previous = nullptr;
  membership_owner* const owner;
  void* const entry;           // of the scope: group_entry, name_entry, or null
  const std::uint64_t number;  // of the cell, or of the watch
  std::uint32_t place = 0;     // in the group; written under the locks of both shards
  const kind what;
};

/// What is known of a slot's cell, in a word and two numbers: nothing, its one membership of a group, or where the list of all that it
/// has begins. The lock of its shard.
///
///     word  63..4           3..2          1       0
///           group_entry     line of slot  role    1     one membership: at `place`, of the incarnation or role `number`
///           cell_record                           0     the first record of the slot
///           0                                     0     nothing
class cell_entry {
public:
  [[nodiscard]] bool empty() const noexcept { return word_ == 0; }
  [[nodiscard]] bool sole() const noexcept { return (word_ & sole_bit) != 0; }
  [[nodiscard]] bool sole_of(std::uint32_t number, bool role) const noexcept {
    return sole() && number_ == number && this->role() == role;
  }
  // Of one membership:
  [[nodiscard]] bool role() const noexcept { return (word_ & role_bit) != 0; }
  [[nodiscard]] unsigned line() const noexcept { return static_cast<unsigned>(word_ >> line_shift) & 3u; }
  [[nodiscard]] std::uint32_t number() const noexcept { return number_; }
  [[nodiscard]] group_entry& group() const noexcept { return *reinterpret_cast<group_entry*>(word_ & ~flag_bits); }
  [[nodiscard]] std::uint32_t& place() noexcept { return place_; }
  // Of a list; null if there is none:
  [[nodiscard]] cell_record* first() const noexcept { return sole() ? nullptr : reinterpret_cast<cell_record*>(word_); }

  void hold(group_entry& g, unsigned line, bool role, std::uint32_t number, std::uint32_t place) noexcept {
    word_ =
        reinterpret_cast<std::uintptr_t>(&g) | (std::uintptr_t{line} << line_shift) | (role ? role_bit : 0) | sole_bit;
    number_ = number;
    place_ = place;
  }
  void hold(cell_record* first) noexcept { word_ = reinterpret_cast<std::uintptr_t>(first); }
  void clear() noexcept { word_ = 0; }

private:
  static constexpr std::uintptr_t sole_bit = 1;
  static constexpr std::uintptr_t role_bit = 2;
  static constexpr unsigned line_shift = 2;
  static constexpr std::uintptr_t flag_bits = 15;  // a group_entry lies at a multiple of 16
  std::uintptr_t word_ = 0;
  std::uint32_t place_ = 0;
  std::uint32_t number_ = 0;
};

/// The entries of the slots that begin in 16 KiB of memory, found by address alone: slots stay where they are for ever, and no two
/// begin in the same 256 bytes (docs/internals/slabs.md). Made when the first of its cells has something, and kept, as slots are.
struct cell_block {
  static constexpr std::size_t bytes = 16'384;
  static constexpr std::size_t entries_max = bytes / slot_bytes_min;
  static constexpr unsigned index_bits = 6;
  static constexpr unsigned number_bits = 25;
  static_assert(entries_max == std::size_t{1} << index_bits);

  [[nodiscard]] static std::uintptr_t base_of(const cell_slot* slot) noexcept {
    return reinterpret_cast<std::uintptr_t>(slot) & ~std::uintptr_t{bytes - 1};
  }
  [[nodiscard]] static unsigned index_of(const cell_slot* slot) noexcept {
    return static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(slot) / slot_bytes_min % entries_max);
  }
  /// Where in its 256 bytes the slot begins, in lines of 64.
  [[nodiscard]] static unsigned line_of(const cell_slot* slot) noexcept {
    return static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(slot) / slot_bytes_step %
                                 (slot_bytes_min / slot_bytes_step));
  }
  [[nodiscard]] cell_slot* slot_at(unsigned index, unsigned line) const noexcept {
    return reinterpret_cast<cell_slot*>(base + index * slot_bytes_min + line * slot_bytes_step);
  }
  /// What other nodes know an incarnation or role by: ordinal (32 bits), index (6), role (1), number (25). In one order in each run of
  /// a seed, whatever the addresses; the number, which is not, tells only lives of one slot apart, 2^25 of them.
  [[nodiscard]] std::uint64_t id_of(unsigned index, bool role, std::uint32_t number) const noexcept {
    return std::uint64_t{ordinal} << 32u | std::uint64_t{index} << (number_bits + 1) |
           std::uint64_t{role ? 1u : 0u} << number_bits | (number & ((1u << number_bits) - 1));
  }
  [[nodiscard]] static unsigned index_in(std::uint64_t id) noexcept {
    return static_cast<unsigned>(id >> (number_bits + 1)) % entries_max;
  }

  const std::uintptr_t base;
  const std::uint32_t ordinal;  // by the time at which it was made, with its shard in the low 6 bits
  std::array<cell_entry, entries_max> entries{};
};

/// What is known of an incarnation or role that has more than one membership of a group. The lock of its shard.
struct cell_record {
  cell_slot* slot;
  cell_entry* entry;
  std::uint32_t number;
  bool role;
  std::uint64_t id;  // cell_block::id_of
  cell_record* next_of_slot = nullptr;
  membership* first = nullptr;

  void add(membership& m) noexcept {
    m.previous = nullptr;
    m.next = first;
    if (first != nullptr) first->previous = &m;
    first = &m;
  }
  void remove(membership& m) noexcept {
    (m.previous != nullptr ? m.previous->next : first) = m.next;
    if (m.next != nullptr) m.next->previous = m.previous;
  }
};

}  // namespace karyon::detail
