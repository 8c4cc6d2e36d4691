#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <utility>

#include "cell/extras.hpp"
#include "cell/lifecycle.hpp"
#include "cell/runtime_core.hpp"
#include "cell/signal_pool.hpp"

namespace karyon::detail {

namespace {

void run_timer(void*, signal& s);
void run_arming(void*, signal& s);
void discard_timer(signal* s, errc, const exit_reason&) noexcept;

constexpr signal_ops timer_ops{&run_timer, &discard_timer, "karyon::timer", false, false, true};
/// A timer can only be started on a worker's wheel. One that is started on a thread that is none, by a constructor or by a
/// handler whose worker was taken over, starts as a signal to the cell, which comes behind what waits there, as the timer's own
/// signal would.
constexpr signal_ops arming_ops{&run_arming, &discard_timer, "karyon::timer", false, false, true};

/// From so many on a cell's cancels are gathered: of fewer the records are in a cache.
constexpr std::size_t timers_for_a_batch = 1024;

// ---- the record ------------------------------------------------------------------------------------------------------

std::size_t payload_offset(const timer_kind& kind) noexcept {
  return (sizeof(cell_timer) + kind.align - 1) / kind.align * kind.align;
}

std::size_t bytes_of(const timer_kind* kind) noexcept {
  return kind == nullptr ? sizeof(cell_timer) : payload_offset(*kind) + kind->bytes;
}

void* payload_of(cell_timer& t) noexcept { return reinterpret_cast<std::byte*>(&t) + payload_offset(*t.kind); }

cell_timer& timer_with(const timer_kind& kind, void* payload) noexcept {
  return *reinterpret_cast<cell_timer*>(static_cast<std::byte*>(payload) - payload_offset(kind));
}

void end_payload(cell_timer& t) noexcept {
  if (t.is(cell_timer::emptied)) return;
  t.record_bits |= cell_timer::emptied;
  t.kind->destroy(payload_of(t));
}

void free_record(cell_timer* t) noexcept {
  // From the record's first line, so that a cancel does without the second.
  const std::size_t noted = t->record_bits >> cell_timer::bytes_shift;
  const std::size_t bytes = noted != 0 ? noted : bytes_of(t->kind);
  t->~cell_timer();
  free_signal(t, bytes);
}

struct record_deleter {
  void operator()(cell_timer* t) const noexcept { destroy_timer(t); }
};
using record_ptr = std::unique_ptr<cell_timer, record_deleter>;

// ---- firing ----------------------------------------------------------------------------------------------------------

void fire(timer* t, worker& w) {
  auto* record = static_cast<cell_timer*>(t);
  static_cast<runtime_core*>(w.owner().user)->timer_fired(w.firing_ns() - record->due_ns);
  deliver(record->owner, record->owner_number, record);
}

void release(timer* t, worker&) { destroy_timer(static_cast<cell_timer*>(t)); }

record_ptr new_record(const timer_kind* kind) {
  const std::size_t bytes = bytes_of(kind);
  auto* t = ::new (allocate_lasting(bytes)) cell_timer(&timer_ops, kind);
  t->fire = &fire;
  t->release = &release;
  if (kind == nullptr || kind->destroy == nullptr) t->record_bits = cell_timer::emptied;  // there is nothing to end
  if (bytes >> (32 - cell_timer::bytes_shift) == 0) {
    t->record_bits |= static_cast<std::uint32_t>(bytes) << cell_timer::bytes_shift;
  }
  // Out of all wheels, where nobody but its cell can reach it.
  t->state_word.store(timer::fired, std::memory_order_relaxed);
  return record_ptr(t);
}

/// Into this worker's wheel. Relaxed: the wheel is its own, and a canceller reaches the record through this cell only.
void arm(cell_timer& t, worker& w, std::uint64_t now_ns) noexcept {
  t.state_word.store(timer::armed, std::memory_order_relaxed);
  w.start_timer(t, t.due_ns, now_ns);
}

/// Starts a new record's timer. What a cell starts in its own turn, as nearly all, starts on the worker that runs it.
void begin(cell_slot& self, cell_timer* t, std::chrono::nanoseconds delay) noexcept {
  t->owner = &self;
  t->owner_number = self.number();
  const std::uint64_t now_ns = monotonic_ns();
  t->due_ns = now_ns + static_cast<std::uint64_t>(delay.count() > 0 ? delay.count() : 0);
  const covered here;
  worker* const w = worker::current();
  if (w != nullptr && ((running != nullptr && running->slot == &self) || &w->owner() == &core_of(&self).workers())) {
    arm(*t, *w, now_ns);
  } else {
    t->ops = &arming_ops;
    deliver(&self, self.number(), t);
  }
}

void run_arming(void*, signal& s) {
  auto& t = static_cast<cell_timer&>(s);
  t.ops = &timer_ops;
  if (!t.is(cell_timer::suppressed)) t.record_bits |= cell_timer::going_on;
}

/// missed_periods::skipped: what is sent now stands for the last period that has passed.
void skip_missed(cell_timer& t) noexcept {
  const std::uint64_t late_ns = monotonic_ns() - t.due_ns;
  const std::uint64_t missed = late_ns / t.period_ns;
  if (missed == 0) return;
  t.due_ns += missed * t.period_ns;
  running->core->count(&cell_counters::periods_skipped, missed);
}

/// The cell sees its timer's signal: acts on it.
void run_timer(void*, signal& s) {
  auto& t = static_cast<cell_timer&>(s);
  cell_extras& e = *running->slot->extras;
  if (e.cancelled != nullptr) finish_cancels(e);  // by the end of a signal that was dropped before this one
  if (t.is(cell_timer::suppressed)) return;
  if (t.kind == nullptr) {
    pending_request request = e.requests.take(t.number);
    request.handler->fail(error(errc::timeout, "no answer within the time given"));
    return;
  }
  if (t.period_ns == 0) {
    e.timers.take(t.number);  // settled before make(), which may throw what the signal's constructor throws
    deliver(t.whom, t.whom_number, t.kind->make(payload_of(t), t.due_ns, false));
    return;
  }
  if (t.is(cell_timer::skipping)) skip_missed(t);
  signal* made = nullptr;
  try {
    made = t.kind->make(payload_of(t), t.due_ns, true);
  } catch (...) {
    e.timers.take(t.number);
    throw;
  }
  deliver(t.whom, t.whom_number, made);
  t.due_ns += std::min(t.period_ns, never_ns - t.due_ns);
  t.record_bits |= cell_timer::going_on;
}

/// Its signal is done with, and nothing else refers to the record: into a wheel again. One that is due already, because it is
/// late by a period or more, goes to the end of its cell's mailbox at once; so does one whose thread has no worker (any more), to
/// be armed by one that has.
void go_on(cell_timer& t) noexcept {
  t.record_bits &= ~cell_timer::going_on;
  const std::uint64_t now_ns = monotonic_ns();
  const covered here;
  worker* const w = worker::current();
  if (t.due_ns <= now_ns) {
    running->core->timer_fired(now_ns - t.due_ns);
  } else if (w != nullptr) {
    return arm(t, *w, now_ns);
  } else {
    t.ops = &arming_ops;
  }
  deliver(t.owner, t.owner_number, &t);
}

/// After its signal was handled, or could not be.
void discard_timer(signal* s, errc, const exit_reason&) noexcept {
  auto* t = static_cast<cell_timer*>(s);
  if (t->is(cell_timer::going_on)) {
    go_on(*t);
  } else {
    destroy_timer(t);
  }
}

}  // namespace

void destroy_timer(cell_timer* t) noexcept {
  end_payload(*t);
  free_record(t);
}

namespace {

enum class at_home : std::uint8_t { no, claimed, retired, fired };

/// Where the timer is in the wheel of this thread's worker: it does not fire any more, and is gone (`retired`) unless it has a
/// payload to end.
at_home claim_at_home(cell_timer& t) noexcept {
  const covered here;
  worker* const w = worker::current();
  if (w == nullptr || t.home != w) return at_home::no;
  if (!t.claim_at_home()) return at_home::fired;
  if (!t.is(cell_timer::emptied)) return at_home::claimed;
  w->retire_timer_soon(t);
  return at_home::retired;
}

}  // namespace

void cancel_timer(cell_timer* t) noexcept {
  const at_home found = claim_at_home(*t);
  if (found == at_home::retired) return;
  if (found == at_home::claimed || (found == at_home::no && t->claim(timer::cancelled))) {
    // The payload here and now: it may hold a promise, whose asker is told by its end. The record may have to wait for its
    // worker, which may sleep.
    end_payload(*t);
    const covered here;
    return t->home->retire_timer(*t);
  }
  t->record_bits |= cell_timer::suppressed;  // its signal is in this cell's mailbox, and will do nothing
}

void cancel_soon(cell_extras& e, cell_timer* t) noexcept {
  // Of a million timers hardly any is in a cache: while this one's record comes, the next cancels go on. Should it fire before it is
  // looked at, its signal waits behind the handler that runs.
  prefetch_of_own(t);
  cancel_batch& b = *e.cancelled;
  b.timers[b.count++] = t;
  if (b.count == b.timers.size()) finish_cancels(e);
}

void finish_cancels(cell_extras& e) noexcept {
  cancel_batch& b = *e.cancelled;
  const std::size_t cancelled = std::exchange(b.count, 0);
  if (cancelled == 0) return;
  // In two rounds: the first asks for what the second touches.
  std::size_t out = 0;
  const covered here;
  worker* const w = worker::current();
  for (std::size_t i = 0; i < cancelled; ++i) {
    cell_timer* const t = b.timers[i];
    if (w != nullptr && t->home == w && t->claim_at_home()) {
      timer_wheel::fetch_for_unlink(*t);
      prefetch_of_own(&t->fire);  // the record's second line, for whoever gets its memory next
      b.timers[out++] = t;
    } else {
      cancel_timer(t);
    }
  }
  for (std::size_t i = 0; i < out; ++i) {
    w->take_out_timer(*b.timers[i]);
    free_record(b.timers[i]);
  }
}

void cancel_all_timers(cell_extras& e) noexcept {
  if (e.cancelled != nullptr) finish_cancels(e);
  e.timers.for_each([](const timer_entry& t) { cancel_timer(t.record()); });
  e.requests.for_each([](pending_request& r) {
    if (r.timeout != nullptr) cancel_timer(r.timeout);
  });
  e.timers = {};
}

void* allocate_timer(const timer_kind& kind) { return payload_of(*new_record(&kind).release()); }

void free_timer(const timer_kind& kind, void* payload) noexcept { free_record(&timer_with(kind, payload)); }

std::uint64_t start_timer(cell_slot* self, const timer_kind& kind, void* payload, const address& whom,
                          std::chrono::nanoseconds delay, timer_mode mode) {
  record_ptr t(&timer_with(kind, payload));
  if (running != nullptr && running->slot == self && running->closing) return 0;
  t->whom = whom.slot;
  t->whom_number = whom.number;
  if (mode != timer_mode::once) {
    // A period of nothing would keep the worker busy with this timer alone.
    t->period_ns = delay.count() > 1000 ? static_cast<std::uint64_t>(delay.count()) : 1000;
    if (mode == timer_mode::every_skipping) t->record_bits |= cell_timer::skipping;
  }
  cell_extras& e = extras_of(*self);
  const std::uint64_t number = t->number = e.timers.add(timer_entry(t.get()));
  if (e.timers.size() == timers_for_a_batch && e.cancelled == nullptr)
    e.cancelled.reset(new (std::nothrow) cancel_batch);
  begin(*self, t.release(), delay);  // may fire at once: not ours any more
  return number;
}

std::uint64_t add_request(cell_slot* self, request_ptr handler, std::chrono::nanoseconds timeout) {
  cell_extras& e = extras_of(*self);
  record_ptr t;
  if (timeout != std::chrono::nanoseconds::max()) t = new_record(nullptr);
  const std::uint64_t token = e.requests.add({std::move(handler), t.get()});
  if (t != nullptr) {
    t->number = token;
    begin(*self, t.release(), timeout);
  }
  return token;
}

std::uint64_t& current_due_ns() noexcept { return running->due_ns; }

reply_address request_address(cell_slot* self, std::uint64_t token) noexcept {
  return {self, token, self->number(), reply_address::kind::request};
}

request_ptr take_request(std::uint64_t token) noexcept {
  cell_extras* e = running->slot->extras;
  if (e == nullptr || e->requests.find(token) == nullptr) {
    running->core->count(&cell_counters::late_answers);
    return nullptr;
  }
  pending_request request = e->requests.take(token);
  if (request.timeout != nullptr) cancel_timer(request.timeout);
  return std::move(request.handler);
}

}  // namespace karyon::detail

namespace karyon {

bool cell::cancel(timer_id timer) noexcept {
  detail::cell_extras* const e = slot_->extras;
  if (e == nullptr || e->timers.find(timer.value) == nullptr) return false;
  const detail::timer_entry found = e->timers.take(timer.value);
  // A payload that has an end is ended at once: it may hold a promise, whose asker is told by that.
  if (found.is_plain() && e->cancelled != nullptr && detail::running != nullptr && detail::running->slot == slot_) {
    detail::cancel_soon(*e, found.record());
  } else {
    detail::cancel_timer(found.record());
  }
  return true;
}

std::chrono::nanoseconds cell::lateness() const noexcept {
  const detail::run_context* context = detail::running;
  if (context == nullptr || context->slot != slot_ || context->due_ns == 0) return {};
  return std::chrono::nanoseconds(detail::monotonic_ns() - context->due_ns);
}

}  // namespace karyon
