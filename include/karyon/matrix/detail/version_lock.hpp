#pragma once

#include <atomic>
#include <cstdint>

namespace karyon::detail {

/// Lets readers of a node go without a lock: they remember the word, read, and look whether the word is still the same
/// (optimistic lock coupling: Leis, Scheibner, Kemper and Neumann, "The ART of Practical Synchronization", 2016).
///
///   bit 0   locked     a writer changes the node: readers wait
///   bit 1   held       nobody may change it, but all may read it: a long range is being read
///   bit 2   obsolete   the node is no longer part of the tree
///   3..63   how often it was changed
///
///   free     -> locked     try_lock: CAS, sequentially consistent
///   locked   -> free       unlock: one change more; unlock_unchanged: as before
///   locked   -> obsolete   unlock_obsolete, for good
///   free     -> held       try_hold: CAS
///   held     -> free       release_hold
///
/// What the word guards is read with acquire loads and written with release stores: a reader that saw something of a writer
/// then sees the writer's lock as well, so its check fails. No fence is needed, and the check itself may be relaxed.
///
/// Orders: the releases of unlock, unlock_unchanged and unlock_obsolete pair with look, which is an acquire as well, and with the next
/// try_lock or try_hold: who sees the new word sees what was written before. Those of release_hold pair with the next try_lock, so that
/// what the holder read was read before it is changed; try_hold is an acquire so that it reads after what the last unlock wrote.
///
/// Of two threads that each change one node and then look at the other's, one sees the other's lock at least, and waits: the
/// operations on different keys have one order for all. So try_lock and look are sequentially consistent, which costs nothing
/// where a CAS is a barrier, as on x86.
/// Model: tests/model/matrix_model.cpp.
class version_lock {
public:
  static constexpr std::uint64_t locked = 1;
  static constexpr std::uint64_t held = 2;
  static constexpr std::uint64_t obsolete = 4;
  static constexpr std::uint64_t change = 8;

  /// The version, without `held`; may be locked or obsolete.
  [[nodiscard]] std::uint64_t look() const noexcept {
    // One order with try_lock's; and pairs with unlock's release: what was written.
    return word_.load(std::memory_order_seq_cst) & ~held;
  }
  /// Whether nothing has changed since `version` was looked at. After the acquire loads of what was read.
  [[nodiscard]] bool unchanged(std::uint64_t version) const noexcept {
    return (word_.load(std::memory_order_relaxed) & ~held) == version;
  }
  /// Only from exactly this version: what was read under it still holds.
  [[nodiscard]] bool try_lock(std::uint64_t version) noexcept {
    return word_.compare_exchange_strong(version, version | locked, std::memory_order_seq_cst,
                                         std::memory_order_relaxed);
  }
  void unlock() noexcept {
    word_.store((word_.load(std::memory_order_relaxed) & ~locked) + change, std::memory_order_release);
  }
  void unlock_unchanged() noexcept {
    word_.store(word_.load(std::memory_order_relaxed) & ~locked, std::memory_order_release);
  }
  void unlock_obsolete() noexcept {
    word_.store(((word_.load(std::memory_order_relaxed) & ~locked) + change) | obsolete, std::memory_order_release);
  }
  [[nodiscard]] bool try_hold(std::uint64_t version) noexcept {
    return word_.compare_exchange_strong(version, version | held, std::memory_order_acquire, std::memory_order_relaxed);
  }
  void release_hold() noexcept {
    word_.store(word_.load(std::memory_order_relaxed) & ~held, std::memory_order_release);
  }

  [[nodiscard]] static constexpr bool is_locked(std::uint64_t version) noexcept { return (version & locked) != 0; }
  [[nodiscard]] static constexpr bool is_obsolete(std::uint64_t version) noexcept { return (version & obsolete) != 0; }

private:
  std::atomic<std::uint64_t> word_{0};
};

}  // namespace karyon::detail
