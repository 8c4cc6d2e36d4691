#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include <karyon/core/export.hpp>

#include "sched/cpu.hpp"

namespace karyon::detail {

class worker;

/// A timer: a node that its user embeds in a record of its own.
///
///   state      who moves it on
///   armed      in a wheel. wheel's worker: -> fired; anyone with the right to cancel: -> cancelled (one CAS wins)
///   fired      the wheel's worker has called, or is calling, `fire`; the record is out of the wheel
///   cancelled  the winner of the cancel owns the record's content; the node leaves the wheel at once when the winner is
///              the wheel's worker, else at the worker's next look at its cancelled list, which then calls `release`
struct timer {
  enum state : std::uint8_t { armed, fired, cancelled };
  using callback = void (*)(timer*, worker&);

  // What a cancel looks at comes first, so that it lies in one cache line with what the record begins with.
  timer* prev = nullptr;  // prev, next, linked, level_slot: wheel's worker only
  timer* next = nullptr;
  std::atomic<std::uint8_t> state_word{armed};
  bool linked = false;
  std::uint16_t level_slot = 0;
  std::uint32_t record_bits = 0;  // the record's own
  union {
    worker* home = nullptr;  // whose wheel; until a cancel by another thread
    timer* cancel_next;      // then: the cancelled list's link
  };
  std::uint64_t due_ns = 0;    // set by start
  callback release = nullptr;  // on the wheel's worker, after a cancel: frees the record
  callback fire = nullptr;     // on the wheel's worker, once

  /// The one decision between firing and cancelling. Acquire-release pairs with the other side's claim, as does the acquire of a
  /// failure: the loser sees all that the winner did before.
  [[nodiscard]] bool claim(state to) noexcept {
    std::uint8_t expected = armed;
    return state_word.compare_exchange_strong(expected, to, std::memory_order_acq_rel, std::memory_order_acquire);
  }
  /// The same for whoever cancels on the wheel's worker. The two sides are one thread then, and nothing is contended.
  [[nodiscard]] bool claim_at_home() noexcept {
    if (state_word.load(std::memory_order_relaxed) != armed) return false;
    state_word.store(cancelled, std::memory_order_relaxed);
    return true;
  }
};

/// A hierarchical timing wheel (Varghese and Lauck, SOSP 1987, scheme 7): four levels of 256 slots. Start and cancel
/// are O(1); one tick costs its due timers and, every 256th, one cascade. One thread. docs/internals/timers.md.
class KARYON_API timer_wheel {
public:
  /// A tick is 2^19 ns, about half a millisecond.
  static constexpr unsigned tick_shift = 19;
  static constexpr std::uint64_t no_deadline = ~std::uint64_t{0};

  explicit timer_wheel(std::uint64_t now_ns) noexcept : now_(now_ns >> tick_shift), advanced_to_ns_(now_ns) {}

  /// Links `t` to fire at the first tick that begins at or after `deadline_ns`; never early.
  void start(timer& t, std::uint64_t deadline_ns) noexcept;
  /// Takes an armed or cancelled timer out; no effect if it is not linked.
  void unlink(timer& t) noexcept;
  /// Has the lines fetched that unlink() will touch: of a million timers hardly any is in a cache.
  static void fetch_for_unlink(const timer& t) noexcept {
    // Not null, which no page table has: the processor would look for it each time.
    prefetch_of_own(t.prev != nullptr ? t.prev : &t);
    prefetch_of_own(t.next != nullptr ? t.next : &t);
  }
  /// Moves time to `now_ns`, calling `fire` of each due timer whose claim succeeds, in order of ticks; those of one tick in
  /// the order of their start (but for one that was started more than 25 days ahead).
  void advance(std::uint64_t now_ns, worker& w);
  /// The earliest time, in monotonic nanoseconds, at which advance() may have something to do; no_deadline if empty.
  [[nodiscard]] std::uint64_t next_ns() const noexcept;
  /// What the last advance() was told, within one: what the lateness of a timer that fires is measured by.
  [[nodiscard]] std::uint64_t advanced_to_ns() const noexcept { return advanced_to_ns_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  /// Unlinks and hands every timer to `f`; for shutdown.
  template <class F>
  void drain(F&& f) {
    for (auto& level : slots_) {
      for (auto& head : level) {
        while (head != nullptr) {
          timer* t = head;
          unlink(*t);
          f(*t);
        }
      }
    }
  }

private:
  static constexpr unsigned levels = 4;
  static constexpr unsigned slot_bits = 8;
  static constexpr unsigned slot_count = 1u << slot_bits;

  /// The first tick that begins at or after a time.
  [[nodiscard]] static constexpr std::uint64_t tick_of(std::uint64_t due_ns) noexcept {
    constexpr std::uint64_t round_up = (std::uint64_t{1} << tick_shift) - 1;
    return due_ns > ~round_up ? ~std::uint64_t{0} >> tick_shift : (due_ns + round_up) >> tick_shift;
  }
  void put_first(timer& t, unsigned level, unsigned slot) noexcept;
  void link(timer& t) noexcept;
  void cascade(unsigned level) noexcept;
  void expire(worker& w);

  std::array<std::array<timer*, slot_count>, levels> slots_{};
  std::array<std::array<std::uint64_t, slot_count / 64>, levels> used_{};  // a bit a slot that has timers
  std::uint64_t now_;
  std::uint64_t advanced_to_ns_;
  std::size_t size_ = 0;
};

}  // namespace karyon::detail
