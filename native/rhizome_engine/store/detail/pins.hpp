// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <limits>

#include "base/types.hpp"

namespace rhizome::detail {

struct core;

/// Which epochs and commits readers still look at. A pin belongs to a handle, not to a thread: it is taken on one thread, copied and
/// dropped on others, and held for as long as anybody likes.
///
///   taken   epoch      refs    state
///   false   idle       0       free
///   true    idle       0       being taken: its owner is about to write commit and epoch
///   true    e          >= 1    pinned: nothing that was retired in epoch e or later is freed, no history of `commit` or later trimmed
///   true    idle       0       being dropped
///
///   transition        operation                            partner
///   free -> taken     taken: exchange(true, acquire)       drop's taken.store(false, release)
///   taken -> pinned   epoch.store(e, seq_cst), then        the writer: epoch.fetch_add(seq_cst), then its look at all slots
///                     the epoch is read again (seq_cst)    (seq_cst): one of the two sees the other
///   another handle    refs: fetch_add(1, relaxed)          (the copier holds one)
///   handle dropped    refs: fetch_sub(1, acq_rel)          the other droppers
///   pinned -> free    epoch.store(idle, release),          oldest_epoch's load: what the reader read came before the reuse
///                     taken.store(false, release)          the next taker's exchange
///
/// The argument: the writer unlinks a block (release), retires it with epoch e, and later moves the epoch to e + 1 and looks at the
/// slots. A reader whose pin the look missed stored it after the look in the one order of seq_cst operations, so its second read
/// of the epoch gives e + 1 or more, it pins that and it reads the new link: it never sees the block.
class pins {
public:
  static constexpr std::uint64_t idle = std::numeric_limits<std::uint64_t>::max();

  struct alignas(64) slot {
    std::atomic<std::uint64_t> epoch{idle};
    std::atomic<std::uint32_t> refs{0};
    std::atomic<commit_number> commit{0};
    std::atomic<bool> taken{false};
    core* owner = nullptr;
  };

  explicit pins(core* owner) : owner_(owner) { adopt(first_); }
  ~pins();
  pins(const pins&) = delete;
  pins& operator=(const pins&) = delete;

  /// Pins the present: any thread, lock-free; allocates when all slots are taken (nullptr: no memory). `at` becomes the commit that may be
  /// read, at least the one that was visible when the call began.
  [[nodiscard]] slot* take(const std::atomic<commit_number>& visible, commit_number& at) noexcept;
  static void drop(slot& pinned) noexcept;

  /// The epoch that is retired into now. The writer.
  [[nodiscard]] std::uint64_t epoch() const noexcept { return epoch_.load(std::memory_order_relaxed); }
  /// Begins a new epoch. The writer, after it unlinked something.
  void advance() noexcept { epoch_.fetch_add(1, std::memory_order_seq_cst); }
  /// What was retired in an epoch before this one is seen by nobody any more. The writer.
  [[nodiscard]] std::uint64_t oldest_epoch() const noexcept;
  /// The smallest commit of a pin; newest_commit where there is none.
  [[nodiscard]] commit_number oldest_commit() const noexcept;
  [[nodiscard]] std::size_t count() const noexcept;

private:
  struct page {
    std::array<slot, 64> slots;
    std::atomic<page*> next{nullptr};
  };
  void adopt(page& p) noexcept {
    for (slot& s : p.slots) s.owner = owner_;
  }

  core* owner_;
  std::atomic<std::uint64_t> epoch_{1};
  std::atomic<std::uint32_t> hint_{0};
  page first_;
};

}  // namespace rhizome::detail
