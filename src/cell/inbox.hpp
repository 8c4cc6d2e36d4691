#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include <karyon/cell/detail/signal.hpp>

namespace karyon::detail {

/// A cell's mailbox and life in one atomic word.
///
///   63            46 45                                    3  2   1 0
///   +---------------+--------------------------------------+---+-----+
///   | incarnation   | newest signal's address >> 4, or 0    | b | st  |
///   +---------------+--------------------------------------+---+-----+
///
///   st  state    meaning
///   0   vacant   no tenant accepts signals: refuse
///   1   idle     the cell waits; nobody owns it
///   2   active   somebody owns the cell: it is being constructed, waits in one run queue, or runs
///   3   trimmed  active, and a sender has the list, to shorten it (bounded mailboxes that drop what waits)
///   b            the mailbox is bounded: senders count first (cell_slot::queued)
///
/// Orders: each operation below names the partner of its own. look and the failures of push acquire as well, with open and vacate;
/// take_all_untrimmed is a take_all. All changes between an open and a close are read-modify-writes, so what one of them has released
/// is acquired from those after it too.
///   from                to                          by              operation            order (partner)
///   vacant(g-1)         active(g, empty)            constructor     open: store          release (push: acquire load)
///   vacant(g-1)         vacant(g)                   a stub's maker  vacate: store        release (look: acquire load)
///   idle(g)             active(g, empty)            one sender      push: CAS            acq_rel (go_idle: release)
///   idle(g)             active(g, empty)            the guardian    claim: CAS           acquire (go_idle: release)
///   active(g, list)     active(g, signal -> list)   any sender      push: CAS            release (take_all: acquire)
///   active(g, list)     active(g, empty)            owner           take_all: exchange   acquire (push: release)
///   active(g, empty)    idle(g)                     owner           go_idle: CAS         release (push: acquire)
///   active(g, list)     vacant(g)                   owner           close: exchange      seq_cst (look_in_order)
///   active(g, list)     trimmed(g, empty)           any sender      begin_trim: CAS      acquire (push: release)
///   trimmed(g, list)    trimmed(g, signal -> list)  any sender      push: CAS            release (end_trim: acquire)
///   trimmed(g, list)    trimmed(g, empty)           its trimmer     end_trim: CAS        acquire (push: release)
///   trimmed(g, empty)   active(g, shorter list)     its trimmer     end_trim: CAS        release (take_all: acquire)
///   trimmed(g, list)    vacant(g)                   owner           close: exchange      the same
///
/// While a sender trims, the owner takes nothing, or it would see newer signals before older ones, and does not go idle; it
/// lets other cells run meanwhile.
///
/// Whoever makes idle -> active owns the cell from then on and must get it run; the signal it brought is handed over
/// beside the word (cell_slot::pending_tail), so a lone signal costs its receiver no exchange. Because the incarnation is
/// part of the word, a sender's CAS fails if the tenant has changed since it looked, however long ago that was: no
/// signal reaches a successor. The 18 bits are enough: a slot is given to another class or role only while its
/// incarnations fit in them (cell_slot, release_slot).
class inbox_word {
public:
  enum class push_result { queued, owner, refused };

  static constexpr unsigned tag_shift = 46;
  static constexpr std::uint64_t tag_max = (std::uint64_t{1} << (64 - tag_shift)) - 1;
  static constexpr std::uint64_t bounded_bit = 4;

  inbox_word() noexcept = default;

  [[nodiscard]] static std::uint64_t tag_of(std::uint64_t word) noexcept { return word >> tag_shift; }
  [[nodiscard]] static std::uint64_t tag_of_incarnation(std::uint32_t n) noexcept { return n & tag_max; }
  [[nodiscard]] static bool accepts(std::uint64_t word) noexcept { return (word & state_mask) != vacant; }
  [[nodiscard]] static bool is_idle(std::uint64_t word) noexcept { return (word & state_mask) == idle; }
  [[nodiscard]] static bool is_bounded(std::uint64_t word) noexcept { return (word & bounded_bit) != 0; }

  /// A look at the word for push. Acquire pairs with open's release: a sender that sees an incarnation accept signals
  /// also sees the slot's role and class as they are for it.
  [[nodiscard]] std::uint64_t look() const noexcept { return word_.load(std::memory_order_acquire); }

  /// The same, in one order with what the looker has written before and what close is followed by (runtime_service::note_end).
  [[nodiscard]] std::uint64_t look_in_order() const noexcept { return word_.load(std::memory_order_seq_cst); }

  /// Any thread: links `s` in, starting from `seen`, a word just looked at that accepts.
  /// owner: the caller owns the cell now and still holds `s`. refused: the tenant of `seen` is gone; `s` is still the caller's.
  push_result push(signal* s, std::uint64_t seen) noexcept {
    const std::uint64_t tag = tag_of(seen);
    while (tag_of(seen) == tag) {
      switch (seen & state_mask) {
        case idle:
          if (word_.compare_exchange_weak(seen, (seen & ~state_mask) | active, std::memory_order_acq_rel,
                                          std::memory_order_acquire)) {
            return push_result::owner;
          }
          break;
        case active:
        case trimmed:
          s->next = list_of(seen);
          if (word_.compare_exchange_weak(seen, (seen & ~list_mask) | pack(s), std::memory_order_release,
                                          std::memory_order_acquire)) {
            return push_result::queued;
          }
          break;
        default: return push_result::refused;
      }
    }
    return push_result::refused;
  }

  /// Any thread: the idle incarnation `n` becomes the caller's, who brings no signal. False if it is not idle.
  [[nodiscard]] bool claim(std::uint32_t n) noexcept {
    std::uint64_t seen = word_.load(std::memory_order_relaxed);
    if (tag_of(seen) != tag_of_incarnation(n) || !is_idle(seen)) return false;
    return word_.compare_exchange_strong(seen, (seen & ~state_mask) | active, std::memory_order_acquire,
                                         std::memory_order_relaxed);
  }

  /// Owner: everything queued so far, newest first. The plain look first spares an exchange when nothing is there.
  [[nodiscard]] signal* take_all() noexcept {
    std::uint64_t seen = word_.load(std::memory_order_relaxed);
    if ((seen & list_mask) == 0) return nullptr;
    // Only the list can change under an owner, so the word without it is known.
    return list_of(word_.exchange(seen & ~list_mask, std::memory_order_acquire));
  }
  /// Owner of a mailbox that senders may trim: the same; null while one does.
  [[nodiscard]] signal* take_all_untrimmed() noexcept {
    std::uint64_t seen = word_.load(std::memory_order_relaxed);
    while ((seen & list_mask) != 0 && (seen & state_mask) == active) {
      if (word_.compare_exchange_weak(seen, seen & ~list_mask, std::memory_order_acquire, std::memory_order_relaxed)) {
        return list_of(seen);
      }
    }
    return nullptr;
  }
  [[nodiscard]] bool is_trimmed() const noexcept {
    return (word_.load(std::memory_order_relaxed) & state_mask) == trimmed;
  }
  [[nodiscard]] bool has_signals() const noexcept { return (word_.load(std::memory_order_relaxed) & list_mask) != 0; }

  /// Owner: gives the cell up. False if a signal has come in the meantime; the caller still owns the cell then.
  [[nodiscard]] bool go_idle() noexcept {
    std::uint64_t seen = word_.load(std::memory_order_relaxed);
    if ((seen & (list_mask | trimmed_bit)) != 0) return false;
    return word_.compare_exchange_strong(seen, (seen & ~state_mask) | idle, std::memory_order_release,
                                         std::memory_order_relaxed);
  }

  /// Constructor: incarnation `n` begins, owned by the caller; it accepts signals from now on.
  void open(std::uint32_t n, bool bounded) noexcept {
    word_.store((tag_of_incarnation(n) << tag_shift) | (bounded ? bounded_bit : 0) | active, std::memory_order_release);
  }

  /// Owner of a slot that never accepts (stub.hpp): incarnation `n` begins, vacant.
  void vacate(std::uint32_t n) noexcept { word_.store(tag_of_incarnation(n) << tag_shift, std::memory_order_release); }

  /// Owner: refuses signals from now on; returns those that were queued, newest first.
  [[nodiscard]] signal* close() noexcept {
    const std::uint64_t seen = word_.load(std::memory_order_relaxed);
    return list_of(word_.exchange(tag_of(seen) << tag_shift, std::memory_order_seq_cst));
  }

  /// Any sender that has seen the tenant with tag `tag` accept: takes the list, newest first, so as to give a part of it back
  /// with end_trim. Null if there is nothing to shorten, another does it, or the tenant has changed.
  [[nodiscard]] signal* begin_trim(std::uint64_t tag) noexcept {
    std::uint64_t seen = word_.load(std::memory_order_relaxed);
    while (tag_of(seen) == tag && (seen & state_mask) == active && (seen & list_mask) != 0) {
      if (word_.compare_exchange_weak(seen, (seen & ~(list_mask | state_mask)) | trimmed, std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
        return list_of(seen);
      }
    }
    return nullptr;
  }
  /// Whoever began: gives back a list, newest first, not empty, beneath what has come in meanwhile. False if the tenant has gone:
  /// then `newest` is set to the list with what was joined to it, and all of it is still the caller's.
  [[nodiscard]] bool end_trim(std::uint64_t tag, signal*& newest) noexcept {
    std::uint64_t seen = word_.load(std::memory_order_relaxed);
    while (tag_of(seen) == tag && (seen & state_mask) == trimmed) {
      if ((seen & list_mask) == 0) {
        if (word_.compare_exchange_weak(seen, (seen & ~state_mask) | active | pack(newest), std::memory_order_release,
                                        std::memory_order_relaxed)) {
          return true;
        }
      } else if (word_.compare_exchange_weak(seen, seen & ~list_mask, std::memory_order_acquire,
                                             std::memory_order_relaxed)) {
        // Taken out first and joined in private: the owner may close, and walk what the word holds, at any moment.
        signal* const later = list_of(seen);
        signal* last = later;
        while (last->next != nullptr) last = last->next;
        last->next = newest;
        newest = later;
        seen &= ~list_mask;
      }
    }
    return false;
  }

private:
  static constexpr std::uint64_t state_mask = 3;
  static constexpr std::uint64_t vacant = 0;
  static constexpr std::uint64_t idle = 1;
  static constexpr std::uint64_t active = 2;
  static constexpr std::uint64_t trimmed = 3;
  static constexpr std::uint64_t trimmed_bit = 1;  // of the two states that an owner meets, active and trimmed
  static constexpr std::uint64_t list_mask = ((std::uint64_t{1} << tag_shift) - 1) & ~std::uint64_t{7};

  // User-space addresses have 47 bits and signals are aligned to 16 bytes: 43 bits remain.
  [[nodiscard]] static std::uint64_t pack(const signal* s) noexcept {
    return (reinterpret_cast<std::uint64_t>(s) >> 4) << 3;
  }
  [[nodiscard]] static signal* list_of(std::uint64_t word) noexcept {
    return reinterpret_cast<signal*>(((word & list_mask) >> 3) << 4);
  }

  std::atomic<std::uint64_t> word_{0};
};

static_assert(sizeof(inbox_word) == 8);

}  // namespace karyon::detail
