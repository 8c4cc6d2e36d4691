#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include <karyon/cell/signals.hpp>

#include "cell/slot.hpp"

namespace karyon::detail {

class runtime_core;

/// Finds, among the signals that wait, the one that a newer one with the same key replaces. One thread at a time.
class conflation_index {
public:
  /// True if a signal with the key of `s` waits: it has the value of `s` now, and `s` is to be discarded. Else `s` waits itself.
  [[nodiscard]] bool absorb(signal& s) noexcept;
  /// `s` waits no more.
  void forget(const signal& s) noexcept;

private:
  struct key {
    const conflation_rule* rule;
    std::uint64_t hash;
    friend bool operator==(const key&, const key&) = default;
  };
  struct key_hash {
    std::size_t operator()(const key& k) const noexcept {
      return (k.hash ^ (reinterpret_cast<std::uintptr_t>(k.rule) >> 4)) * 0x9e3779b97f4a7c15u;
    }
  };
  std::unordered_map<key, signal*, key_hash> waiting_;
};

/// What a cell needs beside its pending list if its class declares high-priority signals, slow_when_full, or a mailbox that drops
/// what waits (turn_needs). Made at its first turn. The cell's owner only.
struct backlog {
  signal* high_tail =
      nullptr;  // signals of high priority, a circular list by its tail; the pending list has the others
  std::uint32_t high_in_row = 0;
  std::uint32_t users = 0;  // of the user's signals, how many both lists have
  bool sorted = false;      // what is pending went through sort_in
  conflation_index keys;
  address overran;                // the receiver that this cell has overrun, if it has
  std::uint32_t turns_given = 0;  // to it
  std::uint64_t since_ticks = 0;  // if any
};

/// So many signals of high priority are handled in a row while others wait.
inline constexpr std::uint32_t high_in_row_most = 8;

/// While a cell of a class that drops what waits is in a handler, senders let so many times mailbox_limit come in.
inline constexpr std::uint32_t limits_in_memory = 3;

/// From so many signals on, a bounded mailbox counts as overrun: three quarters.
[[nodiscard]] constexpr std::uint32_t crowded_from(std::uint32_t limit) noexcept { return limit - limit / 4; }

/// The cell's backlog; null if its class needs none, or where there is no memory for it: then the cell does without.
[[nodiscard]] backlog* backlog_of(cell_slot& s) noexcept;

/// Takes in what has arrived, of any class.
void take_in(cell_slot& s) noexcept;

/// For a turn of a class with turn_needs::any: takes in what has arrived, drops what is too much, and returns the signal to
/// handle, or null.
[[nodiscard]] signal* next_signal(cell_slot& s, backlog* b) noexcept;

/// The signal that next_signal has just returned goes back to the front of the pending list, where one with its key replaces it.
void put_back(cell_slot& s, backlog* b, signal* n) noexcept;
/// Takes it again: it is the first of the pending list, but for urgent ones that were taken in since.
[[nodiscard]] signal* take_put_back(cell_slot& s, backlog* b) noexcept;
/// Drops what is too much, if the class's mailboxes drop what waits.
void drop_excess(cell_slot& s, backlog* b) noexcept;

/// Back to a plain pending list: when the mailbox is closed.
void gather(cell_slot& s, backlog& b) noexcept;

/// In a turn of such a class, at its start: whether the cell gives way once more to a receiver that it has overrun.
[[nodiscard]] bool gives_way(cell_slot& s, backlog& b, std::uint64_t now_ticks) noexcept;

/// What a sender does with a list that it has taken to shorten it (inbox_word::begin_trim).
struct shortened {
  signal* kept = nullptr;  // newest first, not empty
  signal* lost = nullptr;  // to be discarded
  std::uint32_t conflated = 0;
  std::uint32_t dropped = 0;
};
[[nodiscard]] shortened shorten(signal* newest, std::uint32_t limit) noexcept;

/// For a mailbox that overflows: an ask is answered.
inline void discard_overflow(signal* s) noexcept {
  s->ops->discard(s, errc::mailbox_full, exit_reason(exit_reason::kind::no_cell));
}

/// While it is there, what this thread's sends push out of mailboxes is kept; at its end it is discarded. For who sends under a lock:
/// a payload's destructor may ask for that lock. Of several the outermost counts; it is made before the lock is taken.
class deferred_discards {
public:
  KARYON_API deferred_discards() noexcept;
  KARYON_API ~deferred_discards();
  deferred_discards(const deferred_discards&) = delete;
  deferred_discards& operator=(const deferred_discards&) = delete;

  /// Discards the signal, now or later. `why`: mailbox_full, or dead.
  KARYON_API static void discard(signal* lost, errc why) noexcept;

private:
  signal* full_ = nullptr;
  signal* dead_ = nullptr;
};

}  // namespace karyon::detail
