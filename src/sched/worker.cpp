#include "sched/worker.hpp"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <cstdio>

#include "sched/cpu.hpp"
#include "sched/scheduler.hpp"
#include "sched/thread_slice.hpp"

namespace karyon::detail {

thread_local constinit worker* current_worker = nullptr;
thread_local constinit seat* current_seat = nullptr;

void worker_is_lost() noexcept {
  current_worker = nullptr;
  current_seat = nullptr;
}

namespace {
// A hungry worker that sleeps is woken only for a backlog that outlasts the waking, which takes tens of microseconds.
constexpr std::size_t backlog_worth_waking = 32;
constexpr std::size_t donation_max = 256;
// Turns of a round, while there are tasks that have used up a turn: for what other threads sent, and for these themselves.
constexpr std::size_t elsewhere_a_round = 64;
constexpr std::size_t again_a_round = 16;
// So far ahead, in a list of tasks that lie in a row, lines are asked for; the next one's come too late, being in another core.
constexpr std::ptrdiff_t tasks_ahead = 3;
}  // namespace

worker::worker(scheduler& owner, unsigned index, const worker_binding& binding, worker_domain& domain)
    : owner_(owner),
      domain_(domain),
      pulse_(owner.clock()),
      index_(index),
      binding_(binding),
      wheel_(monotonic_ns()),
      unit_(binding.unit_os_index) {}

bool worker::serve(seat* place) noexcept {
  char name[16];
  std::snprintf(name, sizeof name, "karyon.w%u", index_);
  pthread_setname_np(pthread_self(), name);
  current_worker = this;
  current_seat = place;
  bind_thread();
  thread_slice::make_usual();
  owner_.started_.wait();
  if (!run_until_stopped()) return false;
  pulse_.worker_sleeps();
  current_worker = nullptr;
  current_seat = nullptr;
  return true;
}

bool worker::run_until_stopped() {
  while (true) {
    if (off_) [[unlikely]]
      shed();
    task* t = pick();
    if (t == nullptr) {
      if (owner_.stopping()) return true;
      idle();
      continue;
    }
    t->run(t, *this);
    if (current_worker != this) [[unlikely]]
      return false;  // nothing of it is touched any more
    ++turns_;
    const bool ticked = pulse_.ticks() != seen_tick_;
    if (ticked) after_tick();
    if (domain_.hungry.load(std::memory_order_relaxed) != 0 && (unpinned() >= 2 || taken_ != nullptr)) {
      donate(ticked);
    }
  }
}

task* worker::pick() noexcept {
  // Three of four turns go to tasks of high priority, if there are any. Of the others one of sixteen looks at the other sources
  // first, so that they do not starve whatever this worker's own tasks have woken.
  ++rotation_;
  if ((rotation_ & 3u) != 0) {
    if (task* t = pick_high()) return t;
  }
  if ((rotation_ & 15u) == 0) {
    if (task* t = pick_elsewhere()) return t;
  }
  if (!again_.empty()) return pick_in_rounds();
  if (task* t = queue_.pop()) return t;
  if (task* t = pick_elsewhere()) return t;
  return pick_high();
}

task* worker::pick_in_rounds() noexcept {
  // All that were woken before the round's beginning, some of what others sent, then some of those that have used up a turn
  // before, the longest waiting first. So a woken task does not wait for all of them, however many there are; they do not
  // starve; and while they are few everything runs in the order of its coming, in which signals gather at their receivers.
  while (true) {
    if (left_ != 0) {
      --left_;
      task* const t = stage_ == stage::woken       ? queue_.pop()
                      : stage_ == stage::elsewhere ? pick_elsewhere()
                                                   : again_.pop();
      if (t != nullptr) return t;
    }
    switch (stage_) {
      case stage::woken:
        stage_ = stage::elsewhere;
        left_ = elsewhere_a_round;
        break;
      case stage::elsewhere:
        stage_ = stage::again;
        left_ = std::min(again_.size(), again_a_round);
        break;
      case stage::again:
        stage_ = stage::woken;
        left_ = queue_.size();
        break;
    }
  }
}

task* worker::pick_high() noexcept {
  // One queue for both sources, so that the tasks of neither wait for those of the other. Both looks are at lines that
  // nobody else touches where nothing is of high priority.
  if (task* newest = high_inbox_.take_all()) {
    task* oldest = nullptr;
    while (newest != nullptr) {
      task* following = newest->next;
      newest->next = oldest;
      oldest = newest;
      newest = following;
    }
    while (oldest != nullptr) {
      task* following = oldest->next;
      ++taken_count_;
      ++requeued_;
      high_.push(oldest);
      oldest = following;
    }
  }
  return high_.pop();
}

task* worker::pick_elsewhere() noexcept {
  // In turn, so that none starves: not even what others send to a pinned task's worker, under a pinned task that is always
  // runnable (a supervisor in a restart loop).
  for (unsigned i = 0; i < 3; ++i) {
    source_ = source_ == 2 ? 0 : source_ + 1;
    if (source_ == 0) {
      if (taken_ == nullptr && !off_) taken_ = inbox_.take_all();
      if (task* t = taken_) {
        taken_ = t->next;
        ++taken_count_;
        if (taken_ != nullptr) look_ahead(*t);
        return t;
      }
    } else if (source_ == 1) {
      if (task* t = pinned_.pop()) return t;
    } else {
      if (taken_pinned_ == nullptr) taken_pinned_ = pinned_inbox_.take_all();
      if (task* t = taken_pinned_) {
        taken_pinned_ = t->next;
        ++taken_count_;
        return t;
      }
    }
  }
  return nullptr;
}

void worker::look_ahead(const task& now) noexcept {
  taken_->prefetch();
  // Only along the list: behind its end there is what its pusher, who comes from there, is writing at this moment.
  const std::ptrdiff_t step = taken_sequence_.next(taken_);
  if (step == 0) return;
  now.prefetch_at(tasks_ahead * step);
  if (owner_.look_into != nullptr) owner_.look_into(*taken_);
}

void worker::after_tick() {
  seen_tick_ = pulse_.ticks();
  publish();
  off_ = !owner_.is_active(index_);
  if (bound_ && seen_tick_ >= next_look_tick_) look_at_binding();
  release_cancelled();
  if (!wheel_.empty()) wheel_.advance(monotonic_ns(), *this);
}

// ---- balance -------------------------------------------------------------------------------------------------------

void worker::donate(bool also_sleepers) noexcept {
  // What others have sent here waits in another list; a worker that does nothing could have that too.
  while (task* t = taken_) {
    taken_ = t->next;
    ++taken_count_;
    ++requeued_;
    queue_.push(t);
  }
  if (unpinned() < 2) return;
  const bool wake = also_sleepers || unpinned() >= backlog_worth_waking;
  std::uint32_t position = 0;
  for (const std::uint32_t candidate : binding_.steal_order) {
    worker& receiver = owner_.at(candidate);
    const bool near = position++ < binding_.steal_same_cache;
    if (receiver.hungry_.load(std::memory_order_relaxed) && (wake || !receiver.parker_.is_parked()) &&
        donate_to(receiver, near ? counters_.donated : counters_.donated_node)) {
      return;
    }
  }
  if (!wake) return;
  for (const std::uint32_t candidate : binding_.steal_remote) {
    worker& receiver = owner_.at(candidate);
    if (receiver.hungry_.load(std::memory_order_relaxed) && donate_to(receiver, counters_.donated_remote)) return;
  }
}

bool worker::donate_to(worker& receiver, std::atomic<std::uint64_t>& counter) noexcept {
  // One exchange decides between donors and the receiver itself; it orders nothing, for the tasks travel through the
  // receiver's queue (push and take_all).
  if (!receiver.hungry_.exchange(false, std::memory_order_relaxed)) return false;
  receiver.domain_.hungry.fetch_sub(1, std::memory_order_relaxed);
  std::size_t n = unpinned() / 2;
  if (n > donation_max) n = donation_max;
  std::size_t moving = 0;  // this many get a new home
  if (receiver.node() == node()) {
    moving = balance_.gave(n, pulse_.ticks(), turns_);
    receiver.balance_.received(n);
  }
  task* const first = pop_unpinned();
  task* last = first;
  if (moving != 0) rehome(first, receiver.index_);
  for (std::size_t i = 1; i < n; ++i) {
    task* t = pop_unpinned();
    if (i < moving) rehome(t, receiver.index_);
    last->next = t;
    last = t;
  }
  add(counter, n);
  receiver.push_remote(first, last);
  return true;
}

// ---- idleness ------------------------------------------------------------------------------------------------------

bool worker::has_remote_work() const noexcept {
  return inbox_.has_tasks() || pinned_inbox_.has_tasks() || high_inbox_.has_tasks() ||
         cancelled_.load(std::memory_order_relaxed) != nullptr || owner_.is_active(index_) == off_ || owner_.stopping();
}

bool worker::spin_for_work(std::uint64_t for_ns, bool yielding) noexcept {
  const std::uint64_t end = monotonic_ns() + for_ns;
  do {
    // A look takes the line away from whoever is pushing, so not too often.
    for (unsigned i = 0; i < 16; ++i) cpu_relax();
    if (has_remote_work()) return true;
    if (yielding) sched_yield();  // the work may come from a thread that waits for this very core
  } while (monotonic_ns() < end);
  return false;
}

bool worker::spin_in_turn() noexcept {
  // At most half of a node's workers spin, so that spinning never takes the cores that the work needs.
  const auto limit = static_cast<std::uint32_t>((domain_.workers.size() + 1) / 2);
  const bool mine = domain_.spinning.fetch_add(1, std::memory_order_relaxed) < limit;
  const bool found = mine && spin_for_work(owner_.spin_ns(), true);
  domain_.spinning.fetch_sub(1, std::memory_order_relaxed);
  return found;
}

void worker::look_no_more() noexcept {
  if (hungry_.exchange(false, std::memory_order_relaxed)) domain_.hungry.fetch_sub(1, std::memory_order_relaxed);
}

void worker::idle() {
  publish();
  off_ = !owner_.is_active(index_);
  release_cancelled();
  if (unpinned() != 0 || !pinned_.empty() || !high_.empty())
    return;  // a released timer's payload may have woken somebody
  if (off_) {
    sleep(wheel_.next_ns());
    if (!wheel_.empty()) wheel_.advance(monotonic_ns(), *this);
    return;
  }
  // Most gaps are short: a first look on the quiet, which touches nothing that others use.
  constexpr std::uint64_t quiet_ns = 2000;
  if (owner_.spin_ns() >= quiet_ns && spin_for_work(quiet_ns, false)) return;
  // A hint to donors: nothing is ordered by it, and a donor that misses it looks again after its next task.
  hungry_.store(true, std::memory_order_relaxed);
  domain_.hungry.fetch_add(1, std::memory_order_relaxed);
  const std::uint64_t due = wheel_.next_ns();
  if (!spin_in_turn()) sleep(due);
  look_no_more();
  if (!wheel_.empty()) wheel_.advance(monotonic_ns(), *this);
}

void worker::sleep(std::uint64_t due_ns) noexcept {
  if (due_ns != timer_wheel::no_deadline && due_ns <= monotonic_ns()) return;
  parker_.prepare();
  if (has_remote_work()) {
    parker_.cancel();
    return;
  }
  add(counters_.sleeps, 1);
  pulse_.worker_sleeps();
  parker_.sleep(due_ns == timer_wheel::no_deadline ? 0 : due_ns);
  pulse_.worker_wakes();
  if (bound_ && monotonic_ns() >= next_look_ns_) look_at_binding();
}

// ---- timers --------------------------------------------------------------------------------------------------------

void worker::start_timer(timer& t, std::uint64_t deadline_ns) noexcept {
  start_timer(t, deadline_ns, wheel_.empty() ? monotonic_ns() : 0);
}

void worker::retire_timer(timer& t) noexcept {
  if (current_worker == this) return release_timer(t);
  // Release pairs with the acquire in release_cancelled: the record's content is complete when the owner frees it.
  timer* head = cancelled_.load(std::memory_order_relaxed);
  do {
    t.cancel_next = head;
  } while (!cancelled_.compare_exchange_weak(head, &t, std::memory_order_release, std::memory_order_relaxed));
}

void worker::release_retired() noexcept {
  if (retired_count_ == 0) return;
  for (timer*& place : retired_) {
    if (timer* const t = std::exchange(place, nullptr)) release_timer(*t);
  }
  retired_count_ = 0;
}

void worker::release_cancelled() noexcept {
  release_retired();
  // A look that comes too early is made up for at the next tick; the exchange is retire_timer's partner.
  if (cancelled_.load(std::memory_order_relaxed) == nullptr) return;
  timer* t = cancelled_.exchange(nullptr, std::memory_order_acquire);
  while (t != nullptr) {
    timer* following = t->cancel_next;
    wheel_.unlink(*t);
    t->release(t, *this);
    t = following;
  }
}

}  // namespace karyon::detail
