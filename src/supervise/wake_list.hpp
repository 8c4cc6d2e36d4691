#pragma once

#include <atomic>
#include <cstdint>

namespace karyon::detail {

struct cell_slot;

/// How a supervisor's task learns that something has happened: the ended slots that wait for it, and whether it is to run, in
/// one word, so that nobody touches the supervisor after it may have ended.
///
///   word         meaning                                        from, by
///   0 rest       the task is in no queue and does not run       awake, by the task (rest)
///   1 awake      the task runs or is queued, nothing new        rest never; news, by the task (take)
///   2 poked      as 1, and something has changed beside it      rest or awake, by anyone (poke)
///   address      as 1, and these slots wait, newest first       any, by whoever ended a child (push)
///
/// Who takes it from rest must schedule the task. All others change the word once and touch nothing afterwards: when rest()
/// has succeeded and nobody is left who may push or poke, the supervisor may be freed.
///
/// Orders: the releases of push and poke pair with the acquire of take_newest_first: a turn sees the slots, and what was changed before
/// a poke. The release of rest pairs with the acquires of push and poke: who schedules the task again, and links it, does so after its
/// last turn. The other half of take_newest_first and of rest serves nobody (tests/model/shard_model.cpp says why).
template <class Slot>
class basic_wake_list {
public:
  /// Any thread: the slot is on no list. True: the caller must schedule the task.
  [[nodiscard]] bool push(Slot& s) noexcept {
    std::uintptr_t seen = word_.load(std::memory_order_relaxed);
    do {
      s.keeper_next = seen > poked ? reinterpret_cast<Slot*>(seen) : nullptr;
    } while (!word_.compare_exchange_weak(seen, reinterpret_cast<std::uintptr_t>(&s), std::memory_order_acq_rel,
                                          std::memory_order_relaxed));
    return seen == at_rest;
  }
  /// Any thread: the task is to look at everything (once more). True: the caller must schedule it. The turn that follows sees
  /// what was changed before.
  [[nodiscard]] bool poke() noexcept {
    std::uintptr_t seen = word_.load(std::memory_order_relaxed);
    do {
      if (seen > poked) {
        // A turn that sees these slots is still to come, but it must also see what the caller has written.
        if (word_.compare_exchange_weak(seen, seen, std::memory_order_acq_rel, std::memory_order_relaxed)) return false;
        continue;
      }
      if (word_.compare_exchange_weak(seen, poked, std::memory_order_acq_rel, std::memory_order_relaxed)) break;
    } while (true);
    return seen == at_rest;
  }
  /// The task, in its turn: everything that waits, newest first, linked by keeper_next.
  [[nodiscard]] Slot* take_newest_first() noexcept {
    const std::uintptr_t seen = word_.exchange(awake, std::memory_order_acq_rel);
    return seen > poked ? reinterpret_cast<Slot*>(seen) : nullptr;
  }
  /// The same, oldest first.
  [[nodiscard]] Slot* take() noexcept {
    Slot* newest = take_newest_first();
    Slot* oldest = nullptr;
    while (newest != nullptr) {
      Slot* following = newest->keeper_next;
      newest->keeper_next = oldest;
      oldest = newest;
      newest = following;
    }
    return oldest;
  }
  /// The task, last thing in its turn. False: something has come since take; another turn is due.
  [[nodiscard]] bool rest() noexcept {
    std::uintptr_t expected = awake;
    return word_.compare_exchange_strong(expected, at_rest, std::memory_order_acq_rel, std::memory_order_relaxed);
  }

private:
  static constexpr std::uintptr_t at_rest = 0;
  static constexpr std::uintptr_t awake = 1;
  static constexpr std::uintptr_t poked = 2;
  std::atomic<std::uintptr_t> word_{at_rest};
};

using wake_list = basic_wake_list<cell_slot>;

}  // namespace karyon::detail
