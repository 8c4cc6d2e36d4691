#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include <karyon/core/export.hpp>

namespace karyon::detail {

/// What waits until nobody can see it any more: the head of everything that is handed to retire().
struct retired {
  retired* next = nullptr;
  void (*destroy)(retired*) noexcept = nullptr;
};

/// One thread's part in the reclamation of memory (Fraser, "Practical lock-freedom", 2004): readers of tables take no lock, so
/// what they may be looking at is not freed until all that were inside have left.
///
/// A thread is inside between pin and unpin, which lie within one call of a table: a cell that moves to another worker never takes
/// a pin along. The epoch goes on only when all threads that are inside have seen the present one; what was retired in epoch e
/// is freed from e + 3 on. Not from e + 2: who retires looks at the epoch while its unlinking may still wait in the core's store
/// buffer, so that a reader who has pinned e + 1 already may come to what is marked with e. The barrier before e + 2 brings the
/// unlinking out: who pins e + 2 does not.
///
///   pinned   0 -> e    pin: store, then a light fence, then the tree is read
///            e -> 0    unpin: store, release; partner: the acquire load of try_advance
///
/// The light fence is only the compiler's; whoever advances the epoch pays for both sides with a barrier on all cores of the
/// process (sched/seat.hpp has the same trade). Where the system has no such barrier pins are full fences.
template <class Fences>
struct basic_epoch_member {
  std::atomic<std::uint64_t> pinned{0};

  void pin(const std::atomic<std::uint64_t>& epoch) noexcept {
    // Release pairs with the acquire of try_advance_epoch's look: what this thread read before is read before memory is freed by
    // one who sees this epoch.
    pinned.store(epoch.load(std::memory_order_relaxed), std::memory_order_release);
    Fences::light();
  }
  /// Release pairs with the acquire of try_advance_epoch's look: its reads are over before anything is freed, and what it unlinked
  /// is unlinked for all who see the epoch that comes then.
  void unpin() noexcept { pinned.store(0, std::memory_order_release); }

  /// In which epoch something was retired that this thread has unlinked just now. While pinned.
  [[nodiscard]] static std::uint64_t retire_epoch(const std::atomic<std::uint64_t>& epoch) noexcept {
    Fences::
        light();  // with the heavy one before e + 2: this look is at e + 1 or more, or who pins e + 2 sees the unlinking
    // Acquire pairs with try_advance_epoch's release. retire() frees by it: the readers of old epochs are done.
    return epoch.load(std::memory_order_acquire);
  }
};

/// From `now` to the next epoch, if all members that are inside have seen `now`. Returns the present epoch.
/// `for_each(f)` calls f for every member.
template <class Fences, class ForEach>
std::uint64_t try_advance_epoch(std::atomic<std::uint64_t>& epoch, const ForEach& for_each) noexcept {
  // Acquire pairs with the release of whoever brought the epoch here, below: the caller frees by it, as if it had seen the members.
  std::uint64_t now = epoch.load(std::memory_order_acquire);
  bool all_seen = true;
  const auto look = [&](const basic_epoch_member<Fences>& m) {
    // Acquire pairs with the releases of unpin and pin: its reads are over.
    const std::uint64_t pinned = m.pinned.load(std::memory_order_acquire);
    all_seen = all_seen && (pinned == 0 || pinned == now);
  };
  for_each(look);
  if (!all_seen) return now;  // not worth a barrier
  Fences::heavy();
  for_each(look);
  if (!all_seen) return now;
  // Release pairs with the acquires of retire_epoch, of pin_fully and of this function: who sees the new epoch has what the members
  // did before, as seen by this thread. Acquire: so does who finds that another thread was first, or adds its own to that one's.
  if (epoch.compare_exchange_strong(now, now + 1, std::memory_order_acq_rel, std::memory_order_acquire)) return now + 1;
  return now;
}

struct matrix_fences {
  static void light() noexcept { asm volatile("" ::: "memory"); }
  KARYON_API static void heavy() noexcept;
};

/// Of one thread at a time; kept, and taken over with what is retired in it, when its thread has ended.
struct alignas(64) epoch_record : basic_epoch_member<matrix_fences> {
  struct limbo {
    std::uint64_t epoch = 0;
    retired* first = nullptr;
  };
  /// User code of this thread that is running, and which tree has called it: an update function, or, where the tree `holds` nodes for
  /// a range, comparisons.
  struct user_frame {
    const void* tree;
    user_frame* outer;
    bool holds;
  };

  std::uint32_t depth = 0;    // calls within calls
  std::uint32_t waiting = 0;  // retired and not freed yet
  std::uint32_t collect_at = 0;
  std::uint32_t number = 0;  // of the record, from 0
  user_frame* user_code = nullptr;
  std::array<limbo, 3> limbos;
  bool collecting = false;
  bool for_one_call = false;  // its thread has given its record back already, and is ending
  std::atomic<bool> taken{false};
  epoch_record* next = nullptr;  // of all; constant once it is seen there
};

struct epoch_globals {
  std::atomic<std::uint64_t> epoch{1};
  bool full_fences = false;  // set before the first record is made
};
KARYON_API extern constinit epoch_globals the_epochs;
KARYON_API extern constinit thread_local epoch_record* this_thread_epochs;

KARYON_API epoch_record* join_epochs();
KARYON_API void pin_fully(epoch_record& r) noexcept;
/// Frees what may be freed, and helps the epoch on.
KARYON_API void collect_retired(epoch_record& r) noexcept;
/// Until nothing is left that could be freed while no other thread is inside; for tests, and for a table's end. Not within a call.
KARYON_API void collect_all_retired() noexcept;
/// Hands something over that no reader can find any more. Within a pin.
KARYON_API void retire(epoch_record& r, retired* what) noexcept;

/// From when on what was retired in `epoch` may be freed.
[[nodiscard]] constexpr std::uint64_t free_from(std::uint64_t epoch) noexcept { return epoch + 3; }

/// Keeps what this thread can see from being freed, as long as the call lasts.
class epoch_pin {
public:
  epoch_pin() : record_(this_thread_epochs != nullptr ? this_thread_epochs : join_epochs()) {
    if (record_->depth++ == 0) {
      if (the_epochs.full_fences) [[unlikely]] {
        pin_fully(*record_);
      } else {
        record_->pin(the_epochs.epoch);
      }
    }
  }
  epoch_pin(const epoch_pin&) = delete;
  epoch_pin& operator=(const epoch_pin&) = delete;
  ~epoch_pin() {
    if (--record_->depth == 0) {
      record_->unpin();
      if (record_->waiting >= record_->collect_at) [[unlikely]]
        collect_retired(*record_);
    }
  }
  [[nodiscard]] epoch_record& record() const noexcept { return *record_; }
  /// Whether this thread is in user code that this tree has called; or, if it `holds`, in a comparison for a range that holds nodes.
  [[nodiscard]] bool is_within(const void* tree, bool holds) const noexcept {
    for (const auto* f = record_->user_code; f != nullptr; f = f->outer) {
      if (f->tree == tree && (f->holds || !holds)) return true;
    }
    return false;
  }

private:
  epoch_record* record_;
};

/// From here to its end user code may run that must not change this tree.
class user_code_mark {
public:
  user_code_mark(epoch_record& r, const void* tree, bool holds) noexcept
      : record_(&r), frame_{tree, r.user_code, holds} {
    r.user_code = &frame_;
  }
  user_code_mark(const user_code_mark&) = delete;
  user_code_mark& operator=(const user_code_mark&) = delete;
  ~user_code_mark() { record_->user_code = frame_.outer; }

private:
  epoch_record* record_;
  epoch_record::user_frame frame_;
};

}  // namespace karyon::detail
