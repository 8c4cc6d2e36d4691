#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <memory_resource>
#include <unordered_map>
#include <utility>
#include <vector>

#include <karyon/cell/cell.hpp>

#include "cell/backlog.hpp"
#include "cell/links.hpp"
#include "cell/slot.hpp"
#include "sched/huge_page_allocator.hpp"
#include "sched/timer_wheel.hpp"

namespace karyon::detail {

struct address_hash {
  std::size_t operator()(const address& a) const noexcept {
    return std::hash<std::uint64_t>()(reinterpret_cast<std::uint64_t>(a.slot) ^ (std::uint64_t{a.number} << 40));
  }
};

/// Numbers things and finds them again in O(1); a number is never given twice (up to 2^32 re-uses of a place).
template <class T>
class handle_table {
public:
  std::uint64_t add(T value) {
    std::uint32_t index = free_;
    if (index != none) {
      free_ = entries_[index].next_free;
    } else {
      index = static_cast<std::uint32_t>(entries_.size());
      entries_.emplace_back();
    }
    entry& e = entries_[index];
    e.next_free = used;
    e.value = std::move(value);
    ++used_;
    return (std::uint64_t{e.sequence} << 32) | (index + 1);
  }
  /// Null if it is not there (any more).
  [[nodiscard]] T* find(std::uint64_t number) noexcept {
    const auto index = static_cast<std::uint32_t>(number) - 1;
    if (index >= entries_.size()) return nullptr;
    entry& e = entries_[index];
    return e.next_free == used && e.sequence == static_cast<std::uint32_t>(number >> 32) ? &e.value : nullptr;
  }
  /// Takes it out; it is there.
  T take(std::uint64_t number) noexcept {
    const auto index = static_cast<std::uint32_t>(number) - 1;
    entry& e = entries_[index];
    ++e.sequence;
    e.next_free = free_;
    free_ = index;
    --used_;
    return std::exchange(e.value, T());
  }
  template <class F>
  void for_each(F&& f) {
    for (entry& e : entries_) {
      if (e.next_free == used) f(e.value);
    }
  }
  [[nodiscard]] std::size_t size() const noexcept { return used_; }

private:
  static constexpr std::uint32_t none = ~std::uint32_t{0};
  static constexpr std::uint32_t used = none - 1;
  // Small: where a cell has a million timers, each cancel finds its entry in a line of its own.
  struct entry {
    T value{};
    std::uint32_t sequence = 1;
    std::uint32_t next_free = none;
  };
  std::vector<entry, huge_page_allocator<entry>> entries_;
  std::uint32_t free_ = none;
  std::size_t used_ = 0;
};

/// A cell's own memory: every allocation is linked, so that all of it is given back whatever the cell forgot.
/// One thread at a time (the cell's). 32 bytes more an allocation.
class cell_memory final : public std::pmr::memory_resource {
public:
  cell_memory() = default;
  cell_memory(const cell_memory&) = delete;
  cell_memory& operator=(const cell_memory&) = delete;
  ~cell_memory() override;

  std::size_t quota = 0;  // 0: none
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::size_t peak() const noexcept { return peak_; }
  [[nodiscard]] bool over_quota() const noexcept { return over_quota_; }
  /// Calls `visit(first byte, bytes)` for each allocation, header included.
  template <class F>
  void for_each_block(F&& visit) const {
    for (block* b = first_; b != nullptr; b = b->next) visit(reinterpret_cast<std::byte*>(b) - b->padding, b->bytes);
  }

  /// How many allocations it holds, frames included. Walks them: for tests.
  [[nodiscard]] std::size_t held() const noexcept {
    std::size_t n = 0;
    for (const block* b = first_; b != nullptr; b = b->next) ++n;
    for (const frame_block* f = first_frame_; f != nullptr; f = f->next) ++n;
    return n;
  }

  /// For a coroutine's frame, aligned to 16: from the heap of signals, which costs less. Throws as allocate.
  [[nodiscard]] void* allocate_frame(std::size_t bytes);
  static void free_frame(void* frame) noexcept;

private:
  struct block {
    block* prev;
    block* next;
    std::size_t bytes;
    std::size_t padding;  // keeps what follows aligned to 16; larger alignments shift the block within its memory
  };
  struct frame_block {
    frame_block* prev;
    frame_block* next;
    std::size_t bytes;
    cell_memory* owner;
  };
  void check_quota(std::size_t more);
  void count(std::size_t more) noexcept {
    bytes_ += more;
    if (bytes_ > peak_) peak_ = bytes_;
  }
  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  void do_deallocate(void* p, std::size_t bytes, std::size_t alignment) override;
  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }

  block* first_ = nullptr;
  frame_block* first_frame_ = nullptr;
  std::size_t bytes_ = 0;
  std::size_t peak_ = 0;
  bool over_quota_ = false;
};

/// A timer of a cell: fires as a signal to the cell that owns it, which alone acts on it. So nothing but the one claim
/// (timer::claim) is ever contended, and a cancel is exact until the cell has seen the signal. The payload lies behind it.
struct cell_timer : signal, timer {  // a signal begins where memory is aligned to 16 (inbox.hpp)
  explicit cell_timer(const signal_ops* o, const timer_kind* k) noexcept : signal(o), kind(k) {}
  cell_slot* owner = nullptr;
  cell_slot* whom = nullptr;
  std::uint32_t owner_number = 0;
  std::uint32_t whom_number = 0;
  std::uint64_t number = 0;     // in the owner's extras: of timers, or of requests where this is a request's timeout
  std::uint64_t period_ns = 0;  // 0: once
  const timer_kind* kind;       // null: a request's timeout, which has no payload

  // record_bits, the owner's
  static constexpr std::uint32_t suppressed = 1;  // cancelled after it fired
  static constexpr std::uint32_t going_on = 2;    // periodic: to be started again once its signal is done with
  static constexpr std::uint32_t skipping = 4;    // missed_periods::skipped
  static constexpr std::uint32_t emptied = 8;     // its payload has ended
  static constexpr unsigned bytes_shift = 16;     // from there on: the record's size, or 0 if that is too large
  [[nodiscard]] bool is(std::uint32_t bit) const noexcept { return (record_bits & bit) != 0; }
};
// A record with 8 bytes of payload fills two cache lines.
static_assert(sizeof(cell_timer) == 120);

/// A cell's timer in its table. That there is no payload to end is noted here, so that a cancel need not wait for the record.
class timer_entry {
public:
  timer_entry() noexcept = default;
  explicit timer_entry(cell_timer* t) noexcept
      : bits_(reinterpret_cast<std::uintptr_t>(t) | (t->is(cell_timer::emptied) ? plain_bit : 0)) {}
  [[nodiscard]] cell_timer* record() const noexcept { return reinterpret_cast<cell_timer*>(bits_ & ~plain_bit); }
  [[nodiscard]] bool is_plain() const noexcept { return (bits_ & plain_bit) != 0; }

private:
  static constexpr std::uintptr_t plain_bit = 1;
  std::uintptr_t bits_ = 0;
};

/// Timers that the handler which runs has cancelled, and that are still in their wheels: nobody has looked at their records yet.
struct cancel_batch {
  std::array<cell_timer*, 64> timers;
  std::size_t count = 0;
};

struct pending_request {
  request_ptr handler;
  cell_timer* timeout = nullptr;
};

class coroutine_base;
class receiver;

/// Those that wait for one type of signal, the longest waiting first.
struct receiver_queue {
  receiver* first = nullptr;
  receiver* last = nullptr;
};

/// What few cells use, allocated when a cell first does. The cell's owner only.
struct cell_extras {
  std::unordered_map<address, link_end, address_hash> links;
  std::uint64_t links_made = 0;
  // By id, and so in the order in which they were made: whoever is told of the cell's end is told in that order.
  std::map<std::uint64_t, monitor_end> monitors;  // made by this cell
  std::map<std::uint64_t, bond_ptr> watchers;     // of this cell: the request, which will be the `down`
  handle_table<pending_request> requests;
  handle_table<timer_entry> timers;
  std::unique_ptr<cancel_batch> cancelled;  // of a cell with many timers; empty between its handlers
  std::vector<signal*> stash;
  std::unique_ptr<backlog> waiting;
  const behavior_table* behavior = nullptr;
  std::unique_ptr<cell_memory> memory;
  coroutine_base* suspended = nullptr;  // handlers that wait, the newest first
  std::size_t suspended_count = 0;
  std::vector<receiver_queue> receivers;  // by position in the class's `accepts`
};

inline cell_extras& extras_of(cell_slot& s) {
  if (s.extras == nullptr) s.extras = new cell_extras();
  return *s.extras;
}

inline cell_memory& memory_of(cell_slot& s) {
  auto& memory = extras_of(s).memory;
  if (memory == nullptr) memory = std::make_unique<cell_memory>();
  return *memory;
}

/// The cell ends: destroys its handlers that wait, the newest first; who asked them is told why.
void destroy_suspended(cell_extras& e, const exit_reason& why) noexcept;

/// Frees a timer's record.
void destroy_timer(cell_timer* t) noexcept;
/// Cancels whatever state it is in; the record is not the caller's afterwards. Owner of the cell only.
void cancel_timer(cell_timer* t) noexcept;
/// The same for a plain one, in a handler of a cell that has a batch: at the latest when finish_cancels is called, which is before the
/// cell handles anything else.
void cancel_soon(cell_extras& e, cell_timer* t) noexcept;
void finish_cancels(cell_extras& e) noexcept;
/// Before the mailbox is closed: no timer of the cell fires after the close, or it is discarded by whoever fires it.
void cancel_all_timers(cell_extras& e) noexcept;

}  // namespace karyon::detail
