#include <karyon/matrix/detail/epoch.hpp>

#include <pthread.h>

#include <array>
#include <mutex>
#include <new>

#include "sched/seat.hpp"

namespace karyon::detail {

constinit epoch_globals the_epochs;
constinit thread_local epoch_record* this_thread_epochs = nullptr;

namespace {

constexpr std::uint32_t collect_every = 256;  // a barrier on all cores is shared by so many

// All records there are; they stay.
constinit std::atomic<epoch_record*> all_records{nullptr};
constinit std::mutex join_lock;
std::uint32_t records_made = 0;  // join_lock
bool prepared = false;           // join_lock
pthread_key_t leave_key;         // join_lock; then constant
constinit std::atomic<bool> has_key{false};

/// For calls of threads that have no record where there is no memory for one; given back when the call ends.
constinit std::array<epoch_record, 16> spare_records;

// Destructors of other objects of the thread may still use tables: then each call takes a record and gives it back.
constinit thread_local bool this_thread_has_left = false;

/// Hands the record to whoever comes next when its thread ends. What is retired in it stays there.
void leave(void* record) noexcept {
  this_thread_epochs = nullptr;
  this_thread_has_left = true;
  // Release pairs with take's acquire: who takes the record sees what this thread did with it.
  static_cast<epoch_record*>(record)->taken.store(false, std::memory_order_release);
}

/// Whether `leave` is called when this thread ends. Not by a thread-local object, whose first use ends the process where there is no
/// memory for its destructor's registration.
[[nodiscard]] bool leaves_at_end(epoch_record& r) noexcept {
  // Acquire pairs with take_or_make's release: who sees that there is a key sees leave_key.
  return has_key.load(std::memory_order_acquire) && ::pthread_setspecific(leave_key, &r) == 0;
}

/// Where this library is unloaded before the process ends, threads that end later must not call into it. Nor is the key used again, which
/// may be somebody else's by then.
const struct unloading {
  ~unloading() {
    // Acquire pairs with take_or_make's release: who sees that there is a key sees leave_key.
    if (has_key.exchange(false, std::memory_order_acquire)) ::pthread_key_delete(leave_key);
  }
} at_unloading;

[[nodiscard]] bool take(epoch_record& r) noexcept {
  bool taken = false;
  // Acquire pairs with the releases of those who give a record back (leave, collect_retired, free_old_of_ended_threads): what they
  // did to its lists.
  return !r.taken.load(std::memory_order_relaxed) &&
         r.taken.compare_exchange_strong(taken, true, std::memory_order_acquire, std::memory_order_relaxed);
}

/// Under join_lock.
void add_record(epoch_record& r) noexcept {
  r.number = records_made++;
  r.next = all_records.load(std::memory_order_relaxed);
  // Release pairs with for_each_record's acquire: who finds the record sees all of it, and those behind it.
  all_records.store(&r, std::memory_order_release);
}

[[nodiscard]] bool is_spare(const epoch_record& r) noexcept {
  return &r >= spare_records.data() && &r < spare_records.data() + spare_records.size();
}

/// Throws std::bad_alloc where there is no memory, and so many other threads are in a call that have got none either.
[[nodiscard]] epoch_record* take_or_make() {
  const std::lock_guard lock(join_lock);
  if (!prepared) {
    the_epochs.full_fences = !process_fences::prepare();
    // Release pairs with the acquires of leaves_at_end and ~unloading: who sees that there is a key sees leave_key.
    has_key.store(::pthread_key_create(&leave_key, [](void* record) { leave(record); }) == 0,
                  std::memory_order_release);
    for (epoch_record& r : spare_records) add_record(r);
    prepared = true;
  }
  for (epoch_record* r = all_records.load(std::memory_order_relaxed); r != nullptr; r = r->next) {
    if (!is_spare(*r) && take(*r)) return r;
  }
  if (auto* const r = new (std::nothrow) epoch_record()) {
    r->taken.store(true, std::memory_order_relaxed);
    r->collect_at = collect_every;
    add_record(*r);
    return r;
  }
  for (epoch_record& r : spare_records) {
    if (take(r)) return &r;
  }
  throw std::bad_alloc();
}

template <class Visit>
void for_each_record(const Visit& visit) noexcept {
  // Acquire pairs with add_record's release: who finds a record sees all of it, and those behind it.
  for (epoch_record* r = all_records.load(std::memory_order_acquire); r != nullptr; r = r->next) visit(*r);
}

void destroy_list(epoch_record& r, epoch_record::limbo& l) noexcept {
  retired* next = l.first;
  l.first = nullptr;
  while (next != nullptr) {
    retired* const item = next;
    next = item->next;
    --r.waiting;
    item->destroy(item);  // the user's destructors: may use tables, and retire more
  }
}

/// Of a record that is this thread's, or that it has taken.
void free_old(epoch_record& r, std::uint64_t epoch) noexcept {
  if (r.collecting) return;
  r.collecting = true;
  for (epoch_record::limbo& l : r.limbos) {
    if (l.first != nullptr && free_from(l.epoch) <= epoch) destroy_list(r, l);
  }
  r.collecting = false;
}

void free_old_of_ended_threads(std::uint64_t epoch) noexcept {
  for_each_record([&](epoch_record& r) {
    if (!take(r)) return;
    if (r.waiting != 0) free_old(r, epoch);
    r.taken.store(false, std::memory_order_release);  // pairs with take's acquire: what was freed is off the lists
  });
}

/// After a read-modify-write, which on x86 is a full fence by itself, whatever word it changes. Elsewhere two of different words order
/// nothing for each other, and it takes the fence, which ThreadSanitizer does not know.
void complete_fence() noexcept {
#if !defined(__x86_64__) && !defined(__i386__)
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

std::uint64_t advance() noexcept {
  return try_advance_epoch<matrix_fences>(
      the_epochs.epoch, [](const auto& look) { for_each_record([&](const epoch_record& r) { look(r); }); });
}

}  // namespace

void matrix_fences::heavy() noexcept {
  if (!the_epochs.full_fences) return process_fences::heavy();
  static constinit std::atomic<std::uint32_t> all_see{0};
  all_see.exchange(0);
  complete_fence();  // the other half of pin_fully
}

epoch_record* join_epochs() {
  epoch_record* const r = take_or_make();
  if (this_thread_has_left || is_spare(*r) || !leaves_at_end(*r)) {
    r->for_one_call = true;
    r->collect_at = 0;  // the call ends in collect_retired
  }
  this_thread_epochs = r;
  return r;
}

void pin_fully(epoch_record& r) noexcept {
  // Acquire pairs with try_advance_epoch's release: who pins e + 2 sees what was unlinked in e. For pin the heavy fence does that.
  r.pinned.exchange(the_epochs.epoch.load(std::memory_order_acquire));
  complete_fence();  // the other half of heavy
}

void collect_retired(epoch_record& r) noexcept {
  if (r.for_one_call) {
    r.for_one_call = false;
    r.collect_at = r.waiting + collect_every;
    this_thread_epochs = nullptr;
    r.taken.store(false, std::memory_order_release);  // as leave: pairs with take's acquire
    return;
  }
  const std::uint64_t epoch = advance();
  free_old(r, epoch);
  free_old_of_ended_threads(epoch);
  r.collect_at = r.waiting + collect_every;
}

void collect_all_retired() noexcept {
  epoch_record* const r = this_thread_epochs;
  if (r != nullptr && r->depth != 0) return;
  for (int i = 0; i < 4; ++i) {
    const std::uint64_t epoch = advance();
    if (r != nullptr) free_old(*r, epoch);
    free_old_of_ended_threads(epoch);
  }
}

void retire(epoch_record& r, retired* what) noexcept {
  const std::uint64_t epoch = epoch_record::retire_epoch(the_epochs.epoch);
  epoch_record::limbo& l = r.limbos[epoch % r.limbos.size()];
  if (l.epoch != epoch && !r.collecting) {
    // Of an epoch three or more ago, as free_from has it. What its destructors retire goes to this list or another one: it is empty by then.
    r.collecting = true;
    destroy_list(r, l);
    r.collecting = false;
  }
  l.epoch = epoch;
  what->next = l.first;
  l.first = what;
  ++r.waiting;
}

}  // namespace karyon::detail
