#include "cell/extras.hpp"
#include "cell/lifecycle.hpp"
#include "cell/runtime_core.hpp"

namespace karyon::detail {

namespace {

/// A timer can only be started on a worker's wheel. One that is started on a thread that is none, by a constructor or by a
/// handler whose worker was taken over, starts as a signal to the cell, which is then first thing on a worker.
void arm(cell_timer* t) noexcept;
void arm_later(cell_timer* t) noexcept;

void run_timer(void*, signal& s);
void discard_timer(signal* s, errc, const exit_reason&) noexcept;
void run_arming(void*, signal& s) { arm(&static_cast<cell_timer&>(s)); }

constexpr signal_ops timer_ops{&run_timer, &discard_timer, "karyon::timer", false, false, true};
constexpr signal_ops arming_ops{&run_arming, &discard_timer, "karyon::timer", true, false, true};

void fire(timer* t, worker&) {
  auto* record = static_cast<cell_timer*>(t);
  record->rearmed = false;
  deliver(record->owner.slot, record->owner.number, record);
}

void release(timer* t, worker&) { destroy_timer(static_cast<cell_timer*>(t)); }

void arm(cell_timer* t) noexcept {
  t->ops = &timer_ops;
  t->timer::prev = nullptr;
  t->timer::next = nullptr;
  t->rearmed = true;
  t->fire = &fire;
  t->release = &release;
  if (t->suppressed) {
    t->rearmed = false;
    return;
  }
  const covered here;
  worker* w = worker::current();
  if (w == nullptr || &w->owner() != &core_of(t->owner.slot).workers()) return arm_later(t);
  // Relaxed: the wheel is this worker's own, and a canceller reaches the record through this cell only.
  t->state_word.store(timer::armed, std::memory_order_relaxed);
  w->start_timer(*t, t->due_ns);
}

void arm_later(cell_timer* t) noexcept {
  t->state_word.store(timer::fired, std::memory_order_relaxed);
  t->ops = &arming_ops;
  deliver(t->owner.slot, t->owner.number, t);
}

/// The cell sees its timer's signal: acts, and starts a periodic one again.
void run_timer(void*, signal& s) {
  auto& t = static_cast<cell_timer&>(s);
  t.rearmed = false;
  if (t.suppressed) return;
  cell_slot& slot = *running->slot;
  cell_extras& e = *slot.extras;
  if (t.request != 0) {
    pending_request request = e.requests.take(t.request);
    request.handler->fail(error(errc::timeout, "no answer within the time given"));
    return;
  }
  // Settle the record before make(), which may throw what the signal's copy constructor throws.
  if (t.period_ns != 0) {
    t.due_ns += t.period_ns;
    arm(&t);
  } else {
    e.timers.take(t.number);
  }
  deliver(t.whom.slot, t.whom.number, t.payload->make());
}

/// After its signal was handled, or could not be.
void discard_timer(signal* s, errc, const exit_reason&) noexcept {
  auto* t = static_cast<cell_timer*>(s);
  if (!t->rearmed) destroy_timer(t);
}

/// Starts a new record's timer.
void begin(cell_slot& self, cell_timer* t, std::chrono::nanoseconds delay) {
  t->owner = self.at();
  t->due_ns = monotonic_ns() + static_cast<std::uint64_t>(delay.count() > 0 ? delay.count() : 0);
  arm(t);
}

signal_ptr<cell_timer> new_timer() { return signal_ptr<cell_timer>(make_signal<cell_timer>(&timer_ops)); }

}  // namespace

void destroy_timer(cell_timer* t) noexcept { destroy_signal(t); }

void cancel_timer(cell_timer* t) noexcept {
  // The payload here and now: it may hold a promise, whose asker is told by its end. The record may have to wait for its
  // worker, which may sleep.
  if (t->claim(timer::cancelled)) {
    t->payload.reset();
    const covered here;
    t->home->retire_timer(*t);
  } else {
    t->suppressed = true;  // its signal is in this cell's mailbox, and will do nothing
  }
}

void cancel_all_timers(cell_extras& e) noexcept {
  e.timers.for_each([](cell_timer* t) { cancel_timer(t); });
  e.requests.for_each([](pending_request& r) {
    if (r.timeout != nullptr) cancel_timer(r.timeout);
  });
  e.timers = {};
}

std::uint64_t add_timer(cell_slot* self, const address& whom, std::unique_ptr<timer_payload> payload,
                        std::chrono::nanoseconds delay, bool periodic) {
  if (running != nullptr && running->slot == self && running->closing) return 0;
  signal_ptr<cell_timer> t = new_timer();
  t->whom = whom;
  t->payload = std::move(payload);
  // A period of nothing would keep the worker busy with this timer alone.
  if (periodic) t->period_ns = delay.count() > 1000 ? static_cast<std::uint64_t>(delay.count()) : 1000;
  const std::uint64_t number = t->number = extras_of(*self).timers.add(t.get());
  begin(*self, t.release(), delay);  // may fire at once: not ours any more
  return number;
}

std::uint64_t add_request(cell_slot* self, std::unique_ptr<request_handler> handler, std::chrono::nanoseconds timeout) {
  cell_extras& e = extras_of(*self);
  signal_ptr<cell_timer> t;
  if (timeout != std::chrono::nanoseconds::max()) t = new_timer();
  const std::uint64_t token = e.requests.add({std::move(handler), t.get()});
  if (t != nullptr) {
    t->request = token;
    begin(*self, t.release(), timeout);
  }
  return token;
}

reply_address request_address(cell_slot* self, std::uint64_t token) noexcept {
  return {self, token, self->number(), reply_address::kind::request};
}

std::unique_ptr<request_handler> take_request(std::uint64_t token) noexcept {
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
  if (slot_->extras == nullptr || slot_->extras->timers.find(timer.value) == nullptr) return false;
  detail::cancel_timer(slot_->extras->timers.take(timer.value));
  return true;
}

}  // namespace karyon
