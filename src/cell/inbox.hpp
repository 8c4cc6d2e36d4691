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
///   b            the mailbox is bounded: senders count first (cell_slot::queued)
///
///   from                to                          by              operation            order (partner)
///   vacant(g-1)         active(g, empty)            constructor     open: store          release (push: acquire load)
///   idle(g)             active(g, empty)            one sender      push: CAS            acq_rel (go_idle: release)
///   idle(g)             active(g, empty)            the guardian    claim: CAS           acquire (go_idle: release)
///   active(g, list)     active(g, signal -> list)   any sender      push: CAS            release (take_all: acquire)
///   active(g, list)     active(g, empty)            owner           take_all: exchange   acquire (push: release)
///   active(g, empty)    idle(g)                     owner           go_idle: CAS         release (push: acquire)
///   active(g, list)     vacant(g)                   owner           close: exchange      acq_rel
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
  [[nodiscard]] bool has_signals() const noexcept { return (word_.load(std::memory_order_relaxed) & list_mask) != 0; }

  /// Owner: gives the cell up. False if a signal has come in the meantime; the caller still owns the cell then.
  [[nodiscard]] bool go_idle() noexcept {
    std::uint64_t seen = word_.load(std::memory_order_relaxed);
    if ((seen & list_mask) != 0) return false;
    return word_.compare_exchange_strong(seen, (seen & ~state_mask) | idle, std::memory_order_release,
                                         std::memory_order_relaxed);
  }

  /// Constructor: incarnation `n` begins, owned by the caller; it accepts signals from now on.
  void open(std::uint32_t n, bool bounded) noexcept {
    word_.store((tag_of_incarnation(n) << tag_shift) | (bounded ? bounded_bit : 0) | active, std::memory_order_release);
  }

  /// Owner: refuses signals from now on; returns those that were queued, newest first.
  [[nodiscard]] signal* close() noexcept {
    const std::uint64_t seen = word_.load(std::memory_order_relaxed);
    return list_of(word_.exchange(tag_of(seen) << tag_shift, std::memory_order_acq_rel));
  }

private:
  static constexpr std::uint64_t state_mask = 3;
  static constexpr std::uint64_t vacant = 0;
  static constexpr std::uint64_t idle = 1;
  static constexpr std::uint64_t active = 2;
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
