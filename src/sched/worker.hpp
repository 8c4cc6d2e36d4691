#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <karyon/core/export.hpp>
#include <karyon/sched/binding.hpp>

#include "sched/parker.hpp"
#include "sched/placement.hpp"
#include "sched/pulse.hpp"
#include "sched/remote_queue.hpp"
#include "sched/run_queue.hpp"
#include "sched/seat.hpp"
#include "sched/timer_wheel.hpp"

namespace karyon::detail {

class scheduler;

/// Workers that give each other work (those of one NUMA node; all of them where work may cross nodes), and how many of them
/// look for some. The counts are hints: they order nothing, and may be off by one for a moment while a worker and a donor
/// both act on `hungry_` (never in the end: tests/model/sleep_model.cpp).
struct alignas(64) worker_domain {
  std::atomic<std::uint32_t> hungry{0};
  std::atomic<std::uint32_t> spinning{0};
  std::vector<class worker*> workers;
};

/// One scheduler thread: runs tasks one after the other, keeps their timers, sleeps when there are none. Which thread that is
/// can change, when a handler does not return (sched/seat.hpp); "this worker's thread" is the one that holds it.
///
/// Where tasks wait: `queue_` (made runnable by this worker's own tasks), `inbox_` (by other threads), `again_` (those whose turn
/// is over before their work is), and the first two once more for pinned tasks and for those of high priority, which are never
/// given away. Who may touch what is said at each member.
///
/// Balance is receiver-initiated: a worker without work raises `hungry_`; a busy worker of the same domain that sees the
/// domain's count of hungry workers gives one of them half of its queue (donate). Nobody ever reaches into another
/// worker's queue, so running a task costs no atomic operation.
///
/// A worker can be switched off at run time (scheduler::set_active): it hands over what is not pinned (shed), and neither asks
/// for work nor gets any.
class KARYON_API worker {
public:
  worker(scheduler& owner, unsigned index, const worker_binding& binding, worker_domain& domain);
  worker(const worker&) = delete;
  worker& operator=(const worker&) = delete;

  /// The worker that the calling thread is, or null.
  [[nodiscard]] static worker* current() noexcept;

  [[nodiscard]] scheduler& owner() const noexcept { return owner_; }
  [[nodiscard]] unsigned index() const noexcept { return index_; }
  [[nodiscard]] unsigned node() const noexcept { return binding_.node; }
  [[nodiscard]] const worker_binding& binding() const noexcept { return binding_; }

  /// This worker's thread only. A task is in no queue when pushed.
  void push_local(task* t) noexcept { queue_.push(t); }
  /// One that has used up its turn.
  void push_local_again(task* t) noexcept { again_.push(t); }
  void push_local_pinned(task* t) noexcept { pinned_.push(t); }
  void push_local_high(task* t) noexcept { high_.push(t); }
  /// Any thread; wakes the worker if it sleeps. Lock-free.
  void push_remote(task* first, task* last) noexcept {
    inbox_.push(first, last);
    parker_.wake();
  }
  void push_remote_pinned(task* t) noexcept {
    pinned_inbox_.push(t);
    parker_.wake();
  }
  void push_remote_high(task* t) noexcept {
    high_inbox_.push(t);
    parker_.wake();
  }

  /// This worker's thread only: a task that it has pushed had a turn before, and was not woken.
  void count_requeued() noexcept { ++requeued_; }
  /// This worker's thread only: it has made a task runnable that is pushed to worker `to`.
  void count_wake(unsigned to) noexcept { add(counters_.woken[distance_to_[to]], 1); }

  /// The coarse clock; compare two reads to learn that a tick has passed.
  [[nodiscard]] std::uint64_t ticks() const noexcept { return pulse_.ticks(); }

  /// This worker's thread only: starts a timer on this worker's wheel.
  void start_timer(timer& t, std::uint64_t deadline_ns) noexcept;
  /// The same for a caller that has just read the clock.
  void start_timer(timer& t, std::uint64_t deadline_ns, std::uint64_t now_ns) noexcept {
    t.home = this;
    if (wheel_.empty())
      wheel_.advance(now_ns, *this);  // an empty wheel's time stands still: nothing but its catching up
    wheel_.start(t, deadline_ns);
  }
  /// Within a timer's `fire`: the time that it fires at.
  [[nodiscard]] std::uint64_t firing_ns() const noexcept { return wheel_.advanced_to_ns(); }
  /// Any thread, after winning `claim(timer::cancelled)`: takes the timer out, then calls its `release` (at once on
  /// this worker's own thread, else at the worker's next turn).
  void retire_timer(timer& t) noexcept;
  /// This worker's thread only, otherwise the same: takes the timer out and calls its `release` some cancels later, or at the next
  /// tick. In between the lines of its neighbours in the wheel arrive. Its `release` must not come here.
  void retire_timer_soon(timer& t) noexcept {
    timer_wheel::fetch_for_unlink(t);
    timer*& place = retired_[retired_count_++ % retired_.size()];
    if (timer* const earlier = std::exchange(place, &t)) release_timer(*earlier);
  }

  /// This worker's thread only, after `claim_at_home`: takes the timer out; the record is the caller's then.
  void take_out_timer(timer& t) noexcept { wheel_.unlink(t); }

  /// Counters for metrics; written by the worker alone, read by anyone (relaxed).
  struct counters {
    std::atomic<std::uint64_t> turns{0};           ///< tasks run
    std::atomic<std::uint64_t> donated{0};         ///< tasks given to hungry workers of the same last-level cache
    std::atomic<std::uint64_t> donated_node{0};    ///< the same, to others of the node
    std::atomic<std::uint64_t> donated_remote{0};  ///< the same, to other nodes
    std::atomic<std::uint64_t> sleeps{0};
    /// Tasks that this worker's thread has made runnable, by how far away they were put (wake_distance).
    std::array<std::atomic<std::uint64_t>, 4> woken{};
    std::atomic<std::uint64_t> taken{0};      ///< tasks that came through its inboxes, from whomever
    std::atomic<std::uint64_t> forwarded{0};  ///< tasks handed to others while switched off
    std::atomic<std::uint64_t> rehomed{0};    ///< tasks whose home became the worker that they were given to
    std::atomic<std::uint64_t> rebound{0};    ///< times that its thread was bound anew, its unit having been taken away
  };
  [[nodiscard]] const counters& stats() const noexcept { return counters_; }

  /// A place for the CAF backend's execution unit; set before the thread starts.
  void* backend = nullptr;
  /// The part of whoever owns the scheduler; set before the thread starts.
  void* user = nullptr;

  /// Runs this worker on the calling thread, which nobody else does at the time. `place` shows the watch what it does; null:
  /// nobody watches. True when the scheduler stops; false if another thread has taken the worker over.
  [[nodiscard]] bool serve(seat* place) noexcept;

private:
  friend class scheduler;
  friend class stepper;

  [[nodiscard]] bool run_until_stopped();
  [[nodiscard]] task* pick() noexcept;
  [[nodiscard]] task* pick_high() noexcept;
  [[nodiscard]] task* pick_elsewhere() noexcept;
  [[nodiscard]] task* pick_in_rounds() noexcept;
  /// Asks for what the tasks behind `now` in `taken_`, of which there is one, will touch.
  void look_ahead(const task& now) noexcept;
  /// What others could have of it, but for what is in `taken_` and the inboxes.
  [[nodiscard]] std::size_t unpinned() const noexcept { return queue_.size() + again_.size(); }
  [[nodiscard]] task* pop_unpinned() noexcept {
    task* const t = queue_.pop();
    return t != nullptr ? t : again_.pop();
  }
  void after_tick();
  void measure_distances();
  void bind_thread() noexcept;
  void look_at_binding() noexcept;
  void publish() noexcept;
  void shed() noexcept;
  void forward(task* t) noexcept;
  void rehome(task* t, unsigned to) noexcept;
  void donate(bool also_sleepers) noexcept;
  bool donate_to(worker& receiver, std::atomic<std::uint64_t>& counter) noexcept;
  void idle();
  void sleep(std::uint64_t due_ns) noexcept;
  [[nodiscard]] bool spin_for_work(std::uint64_t for_ns, bool yielding) noexcept;
  [[nodiscard]] bool spin_in_turn() noexcept;
  [[nodiscard]] bool has_remote_work() const noexcept;
  void look_no_more() noexcept;
  void release_cancelled() noexcept;
  void release_retired() noexcept;
  void release_timer(timer& t) noexcept {
    wheel_.unlink(t);
    t.release(&t, *this);
  }
  void add(std::atomic<std::uint64_t>& counter, std::uint64_t n) noexcept {
    counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }

  // Only the thread that holds this worker.
  scheduler& owner_;
  worker_domain& domain_;
  pulse& pulse_;
  const unsigned index_;
  worker_binding binding_;  // the scheduler's, until the threads are let go
  bool off_ = false;        // what it knows of being switched off; looked up at each tick and before it sleeps
  run_queue queue_;
  run_queue again_;
  run_queue high_;  // tasks of high priority, of both sources
  run_queue pinned_;
  task* taken_ = nullptr;  // from inbox_, newest first, being run
  sequence_guess taken_sequence_;
  task* taken_pinned_ = nullptr;  // from pinned_inbox_
  unsigned rotation_ = 0;         // counts picks
  enum class stage : std::uint8_t { woken, elsewhere, again };
  stage stage_ = stage::again;  // of the round; while `again_` has tasks
  std::size_t left_ = 0;        // turns of the stage
  unsigned source_ = 0;         // of pick_elsewhere: where it looked last
  std::uint64_t turns_ = 0;
  std::uint64_t seen_tick_ = 0;
  timer_wheel wheel_;
  std::array<timer*, 16> retired_{};  // cancelled here, and not taken out yet
  std::size_t retired_count_ = 0;     // since all were
  counters counters_;
  std::uint64_t taken_count_ = 0;
  std::uint64_t requeued_ = 0;             // of what was pushed to queue_ and pinned_: not woken
  std::uint64_t next_look_tick_ = 0;       // at the binding
  std::uint64_t next_look_ns_ = 0;         // the same, after sleeps, in which there may be no ticks
  std::optional<std::uint32_t> unit_;      // where its threads are to be bound: the plan's, or what was left
  bool bound_ = false;                     // the thread that holds it is
  std::vector<std::uint8_t> distance_to_;  // by worker; constant
  donation_balance balance_;               // its part for others is atomic

  // Shared.
  remote_queue inbox_;
  remote_queue pinned_inbox_;
  remote_queue high_inbox_;
  alignas(64) std::atomic<timer*> cancelled_{nullptr};  // others push, the owner takes all
  parker parker_;
  std::atomic<bool> hungry_{false};  // owner: false -> true; true -> false: one of owner and donors (exchange)
};

#if defined(__GNUC__)
extern KARYON_API thread_local constinit worker* current_worker __attribute__((tls_model("initial-exec")));
#endif

inline worker* worker::current() noexcept { return current_worker; }

}  // namespace karyon::detail
