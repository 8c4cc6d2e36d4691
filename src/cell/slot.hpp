#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>

#include <karyon/cell/exit_reason.hpp>
#include <karyon/cell/ref.hpp>

#include "cell/inbox.hpp"
#include "sched/task.hpp"

namespace karyon::detail {

struct cell_extras;
struct cell_slot;

/// A field that one thread at a time writes and any may read, as a hint. No operation orders anything.
template <class T>
class hint_field {
public:
  operator T() const noexcept { return value_.load(std::memory_order_relaxed); }  // NOLINT: reads as the field it is
  hint_field& operator=(T value) noexcept {
    value_.store(value, std::memory_order_relaxed);
    return *this;
  }

private:
  std::atomic<T> value_;
};

/// Whoever looks after a supervised cell: told of each end of an incarnation, on the thread where it ended, after all
/// of its cleanup. From that call on the slot is the guardian's, with the reason in `why()`.
struct guardian {
  using callback = void (*)(guardian& self, cell_slot& slot) noexcept;
  /// Appends the path of a child for a report ("/app/sessions/#1234"), or, without a child, the words for all of its
  /// children in a sum ("/app/sessions shard 1"). Called only when a report is made: on the thread where the child ended, before
  /// child_ended for that end. May throw std::bad_alloc; must not report anything itself.
  using path_writer = void (*)(const guardian& self, const cell_slot* child, std::string& path);
  explicit guardian(callback f, path_writer p = &write_default_path) noexcept : child_ended(f), append_path(p) {}
  const callback child_ended;
  const path_writer append_path;

  /// "/supervised/#1234", by keeper_index.
  static void write_default_path(const guardian& self, const cell_slot* child, std::string& path);
};

/// Where a cell lives, with everything the runtime knows of it. Type-stable: once carved from a slab a slot stays a slot
/// until the process ends, so a stale handle may always read `inbox` and `role` (docs/internals/slabs.md).
///
/// "Owner" is one thread at a time: the worker that runs the cell, or whoever constructs, restarts or frees it. Ownership
/// passes through the inbox word, the run queues and the guardian's list, each with release and acquire. Fields without
/// a word beside them are the owner's. The hot ones share the line at 128, cold senders touch the lines at 0 and 128.
struct alignas(64) cell_slot {
  std::byte backend_block[56];  // the actor backend's control block
  inbox_word inbox;             // anyone

  std::byte backend_object[56];       // the actor backend's object
  std::atomic<std::uint32_t> role;    // anyone reads; the incarnation that the role began with, 0 for no role
  std::atomic<std::uint32_t> queued;  // bounded mailboxes: senders add, the owner subtracts; never reset (tests/model)

  task run_link;                        // whichever run queue holds the cell
  std::atomic<const class_info*> info;  // anyone reads, around two looks at the inbox word
  union {
    signal* pending_tail;   // taken signals, a circular list by its tail: tail->next is the oldest
    exit_reason ended_why;  // after the end, for the guardian
  };
  std::atomic<std::uint32_t> incarnation;  // anyone reads
  hint_field<std::uint16_t> home;          // worker; anyone reads, for their neighbours' votes (migration.cpp)
  std::uint8_t flags;
  std::atomic<std::uint8_t> keeper_bits;  // the guardian's
  union {
    std::uint64_t handled;  // signals, by this incarnation
    signal* kept_tail;      // after the end, with holds_kept: those for the next incarnation, as pending_tail
  };
  cell_extras* extras;  // what few cells use: links, timers, memory, ...
  std::uint32_t busy_ticks;
  std::uint32_t keeper_index;  // with keeper..keeper_position: the guardian's

  std::atomic<guardian*> keeper;  // the owner's; anyone reads, as a hint: see role_keeper
  cell_slot* keeper_next;
  void* keeper_data;
  std::uint32_t keeper_position;
  std::uint16_t object_offset;
  std::atomic<std::uint8_t> noted;  // a bit for each service that is told of ends here (runtime_service.hpp); anyone
  std::uint8_t cut_turns;           // turns ended early since it last rested (run.cpp)

  enum flag : std::uint8_t {
    pinned = 1,          // never leaves its home worker
    starting = 2,        // on_start is due
    trapping = 4,        // trap_exit
    in_role = 8,         // set while the role exists, ended or not
    keeps_mailbox = 16,  // the end leaves the user's signals to the next incarnation (mailbox_policy)
    keeps_last = 32,     // and the one that it died of, too
    holds_kept = 64,     // there are such signals
    particular = 128,    // its class has turn_needs, or a priority
  };

  cell_slot() = delete;
  ~cell_slot() = delete;

  [[nodiscard]] bool has(flag f) const noexcept { return (flags & f) != 0; }
  void set(flag f, bool on) noexcept { flags = static_cast<std::uint8_t>(on ? flags | f : flags & ~f); }
  [[nodiscard]] void* object() noexcept { return reinterpret_cast<std::byte*>(this) + object_offset; }
  [[nodiscard]] std::uint32_t number() const noexcept { return incarnation.load(std::memory_order_relaxed); }
  [[nodiscard]] address at() noexcept;

  static cell_slot& of(task* t) noexcept;
};

inline constexpr std::size_t slot_header_bytes = 224;
static_assert(sizeof(cell_slot) == 256);
static_assert(offsetof(cell_slot, inbox) == 56);
static_assert(offsetof(cell_slot, run_link) == 128);
static_assert(offsetof(cell_slot, cut_turns) + 1 == slot_header_bytes);

inline cell_slot& cell_slot::of(task* t) noexcept {
  return *reinterpret_cast<cell_slot*>(reinterpret_cast<std::byte*>(t) - offsetof(cell_slot, run_link));
}
inline address cell_slot::at() noexcept { return {this, number()}; }

/// Who looks after a role that has just been found alive (role_alive): whoever it was, or a later role's of the same slot.
/// Relaxed: begin_role stores it before it releases the role's number, whose acquire comes before this; and since it may be
/// another's by now, it is only compared, never followed.
[[nodiscard]] inline const guardian* role_keeper(const cell_slot& s) noexcept {
  return s.keeper.load(std::memory_order_relaxed);
}

/// Where an object of this class lies in its slot, and how large the slot is.
[[nodiscard]] constexpr std::size_t object_offset_of(const class_info& info) noexcept {
  return (slot_header_bytes + info.object_align - 1) / info.object_align * info.object_align;
}
[[nodiscard]] constexpr std::size_t slot_bytes_of(const class_info& info) noexcept {
  return (object_offset_of(info) + info.object_bytes + 63) / 64 * 64;
}

// ---- the taken signals of a cell (owner only) -----------------------------------------------------------------------

/// A circular list by its tail: tail->next is the oldest.
[[nodiscard]] inline signal* ring_pop(signal*& tail_of) noexcept {
  signal* tail = tail_of;
  if (tail == nullptr) return nullptr;
  signal* oldest = tail->next;
  if (oldest == tail) {
    tail_of = nullptr;
  } else {
    tail->next = oldest->next;
  }
  return oldest;
}

inline void ring_push_back(signal*& tail_of, signal* n) noexcept {
  if (tail_of == nullptr) {
    n->next = n;
  } else {
    n->next = tail_of->next;
    tail_of->next = n;
  }
  tail_of = n;
}

[[nodiscard]] inline signal* pending_pop(cell_slot& s) noexcept { return ring_pop(s.pending_tail); }

inline void pending_push_back(cell_slot& s, signal* n) noexcept { ring_push_back(s.pending_tail, n); }

inline void pending_push_front(cell_slot& s, signal* n) noexcept {
  signal* tail = s.pending_tail;
  pending_push_back(s, n);
  if (tail != nullptr) s.pending_tail = tail;
}

/// Puts a list (newest first) before what is pending, but behind urgent signals at its front.
void pending_push_behind_urgent(cell_slot& s, signal* newest) noexcept;

/// Moves a list as taken from the inbox (newest first) behind what is pending, oldest first; urgent ones go to the front, in
/// their order, behind urgent ones that are there.
void pending_append(cell_slot& s, signal* newest) noexcept;

}  // namespace karyon::detail
