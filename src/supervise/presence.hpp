#pragma once

#include <atomic>
#include <cstdint>

namespace karyon::detail {

/// Who is still in a shard, in one word, so that its end is noticed exactly once, and nothing touches the shard after it.
///
///   63       62      32 31        0
///   +--------+----------+----------+
///   | closed |  others  | children |
///   +--------+----------+----------+
///
///   children  being started, alive, or between two incarnations
///   others    callers inside the shard, its turns that are queued or run, its timers in a wheel
///
///   from                  to                     by                operation                 order (partner)
///   closed, 0 0           open, 0 0              start             reopen: store             release (enter: acquire)
///   open, c o             open, c+1 o / c o+1    anyone            enter_child, enter: CAS   acquire (reopen: release)
///   open, 0 0             closed, 0 0            whoever stops it  close: CAS                acq_rel (leaves)
///   open, c o             closed, c o+1          the same          close: CAS                acq_rel (leaves, enter_closed)
///   closed, c o (not 0 0) closed, c o+1          anyone            enter_closed: CAS         acquire (reopen, close)
///   any, c o              any, c o+1             one inside        add: fetch_add            relaxed
///   any, c o              any, c-1 o / c o-1     one inside        leave_...: fetch_sub      acq_rel (the other leaves)
///
/// Orders: as the table has them. Every change after a reopen is a read-modify-write, so whoever enters (enter_open, enter_closed)
/// sees the shard as it was opened, however many came between; the acquire of enter_closed also pairs with the release of close: what
/// whoever stops it did before. The last to leave, or who may close it at once, sees all that the others did inside; so does children
/// of a child that is gone.
///
/// Whoever brings the word to closed, 0 0 is told so, and is the one who says that the shard has ended. From then until the
/// shard is opened again nobody can enter (tests/model/presence_model.cpp).
class presence {
public:
  /// Any thread: false if it is closed.
  [[nodiscard]] bool enter_child() noexcept { return enter_open(child); }
  [[nodiscard]] bool enter() noexcept { return enter_open(other); }
  /// Any thread: false if it has ended, or is open.
  [[nodiscard]] bool enter_closed() noexcept {
    std::uint64_t seen = word_.load(std::memory_order_relaxed);
    while (seen > closed) {
      if (word_.compare_exchange_weak(seen, seen + other, std::memory_order_acquire, std::memory_order_relaxed)) {
        return true;
      }
    }
    return false;
  }
  /// One inside brings in another.
  void add() noexcept { word_.fetch_add(other, std::memory_order_relaxed); }

  /// True: the caller was the last one of a closed shard, and says that it has ended.
  [[nodiscard]] bool leave_child() noexcept { return leave(child); }
  [[nodiscard]] bool leave() noexcept { return leave(other); }

  /// It is open. True: nobody was inside, and the caller says that it has ended. False: the caller is inside now.
  [[nodiscard]] bool close() noexcept {
    std::uint64_t seen = word_.load(std::memory_order_relaxed);
    while (true) {
      const std::uint64_t to = seen == 0 ? closed : (seen + other) | closed;
      if (word_.compare_exchange_weak(seen, to, std::memory_order_acq_rel, std::memory_order_relaxed)) return seen == 0;
    }
  }
  /// It has ended, or was never open.
  void reopen() noexcept { word_.store(0, std::memory_order_release); }

  [[nodiscard]] std::uint32_t children() const noexcept {
    return static_cast<std::uint32_t>(word_.load(std::memory_order_acquire));  // partner: leave_child
  }

private:
  static constexpr std::uint64_t child = 1;
  static constexpr std::uint64_t other = std::uint64_t{1} << 32U;
  static constexpr std::uint64_t closed = std::uint64_t{1} << 63U;

  [[nodiscard]] bool enter_open(std::uint64_t who) noexcept {
    std::uint64_t seen = word_.load(std::memory_order_relaxed);
    while (seen < closed) {
      if (word_.compare_exchange_weak(seen, seen + who, std::memory_order_acquire, std::memory_order_relaxed))
        return true;
    }
    return false;
  }
  [[nodiscard]] bool leave(std::uint64_t who) noexcept {
    return word_.fetch_sub(who, std::memory_order_acq_rel) == (closed | who);
  }

  std::atomic<std::uint64_t> word_{closed};
};

}  // namespace karyon::detail
