#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include <karyon/core/export.hpp>
#include <karyon/sched/options.hpp>

#include "sched/crew.hpp"
#include "sched/dirty_pool.hpp"
#include "sched/wait.hpp"
#include "sched/watch.hpp"
#include "sched/worker.hpp"

namespace karyon::detail {

/// What the scheduler tells its user. Called on the threads named.
struct scheduler_hooks {
  std::function<void(const error&)> binding_refused;  ///< once, on the first worker that could not be bound
  watch::hooks handlers;                              ///< of handlers that do not return, on the pulse's thread
  std::function<void()> watch_unsupported;            ///< at the start: this system can not have workers taken over
  /// Units were taken from the process, or from a worker's thread: once for each set of units that is left, on a worker.
  std::function<void(const error&)> binding_lost;
  /// The system has fewer threads for us than there are workers in the plan; on the thread that starts.
  std::function<void(const error&)> workers_lost;
  /// A runnable task, which is the caller's, had better be put to worker `to` from now on. False for those that have no
  /// home, or will not leave it.
  bool (*rehome)(task* t, unsigned to) noexcept = nullptr;
  /// Once, on a thread that has work for a dirty pool.
  std::function<void(const error&)> dirty_thread_refused{};
};

/// The workers of one runtime, and the way in for tasks from anywhere.
class KARYON_API scheduler {
public:
  scheduler(binding_plan plan, const scheduler_options& options, scheduler_hooks hooks);
  ~scheduler();
  scheduler(const scheduler&) = delete;
  scheduler& operator=(const scheduler&) = delete;

  /// Starts all threads; none in a simulation, which runs the tasks from now on. Throws std::system_error if one can not be
  /// created; those already started are ended first.
  void start();
  /// Ends all threads once they have nothing to run, and joins them; tasks left in queues stay there (drain).
  void stop() noexcept;
  /// After stop(): hands every task left in any queue to `f`, and releases every timer.
  void drain(const std::function<void(task*)>& f);

  /// Makes `t` runnable, from any thread. A worker's thread keeps the task if that is on the task's node and the task
  /// is not pinned (what it was just working on is in its caches); otherwise it goes to worker `home`.
  void schedule(task* t, unsigned home, bool pinned) noexcept {
    // The way of nearly all, without a call: a worker's thread makes a task of its node runnable.
    worker* const self = worker::current();
    if (self != nullptr && &self->owner() == this && !pinned &&
        (single_node_ || self->node() == workers_[home]->node())) [[likely]] {
      seat* const here = current_seat;
      if (here == nullptr || !here->is_exposed()) return self->push_local(t);
      const bool certain = here->cover_at_once();
      if (certain) [[likely]]
        self->push_local(t);
      here->expose();
      if (certain) [[likely]]
        return;
    }
    return schedule_anyway(t, home, pinned);
  }
  /// The same for a task that has had its turn and wants another: it is not counted as woken, and on its worker it is served with
  /// others of its kind. Not while the thread is exposed.
  void schedule_again(task* t, unsigned home, bool pinned) noexcept {
    if (worker* const self = keeper(home, pinned)) {
      if (!pinned) return self->push_local_again(t);
      self->count_requeued();
    }
    schedule(t, home, pinned);
  }
  /// The same, but it is served with those that were woken.
  void schedule_cut_short(task* t, unsigned home, bool pinned) noexcept {
    if (worker* const self = keeper(home, pinned)) self->count_requeued();
    schedule(t, home, pinned);
  }
  /// The same, into the lane of high priority there. `again`: as schedule_again.
  void schedule_high(task* t, unsigned home, bool pinned, bool again) noexcept;

  [[nodiscard]] unsigned size() const noexcept { return static_cast<unsigned>(workers_.size()); }
  [[nodiscard]] worker& at(unsigned i) const noexcept { return *workers_[i]; }
  [[nodiscard]] const binding_plan& plan() const noexcept { return plan_; }
  [[nodiscard]] unsigned nodes() const noexcept { return static_cast<unsigned>(plan_.nodes.size()); }
  /// The next worker of a node, in turn; any thread.
  [[nodiscard]] unsigned next_worker(unsigned node) noexcept;
  /// The next worker of all, in turn over the nodes; any thread.
  [[nodiscard]] unsigned next_worker() noexcept;

  // ---- switching workers off and on: placement.cpp, docs/internals/placement.md ----

  /// Workers 0 to n - 1 are switched on, the others off; 1 <= n <= size(). Any thread; returns at once. One that is switched
  /// off goes on with its timers and its pinned tasks, and hands everything else to others.
  void set_active(unsigned n);
  [[nodiscard]] unsigned active() const noexcept { return active_.load(std::memory_order_relaxed); }
  /// Sequentially consistent: one half of the sleep protocol (worker::has_remote_work).
  [[nodiscard]] bool is_active(unsigned index) const noexcept {
    return index < active_.load(std::memory_order_seq_cst);
  }
  /// Where a task goes that is to be put to worker `home`: there if it is switched on, else to one of its node, else to any.
  [[nodiscard]] unsigned route(unsigned home) const noexcept {
    return home < active_.load(std::memory_order_relaxed) ? home : stand_in(home, home);
  }
  /// The same for a worker that is off; by `turn`, if several can stand in.
  [[nodiscard]] unsigned stand_in(unsigned home, std::uint32_t turn) const noexcept;

  /// For whoever owns the scheduler; set before start().
  void* user = nullptr;
  /// Runs a turn that was pushed to a dirty pool, on the pool's thread; set before start().
  void (*run_away)(task* t) noexcept = nullptr;
  /// Asks for what running a task will read first, beside its own lines, which are here or on their way; set before start().
  void (*look_into)(task& t) noexcept = nullptr;

  [[nodiscard]] dirty_pools& dirty() const noexcept { return *dirty_; }
  /// A pool could not start a thread, for the reason `code` (errno). Any thread; the first call is passed on.
  void dirty_thread_refused(int code) noexcept;

  [[nodiscard]] pulse& clock() noexcept { return pulse_; }
  /// Null where handlers are not watched.
  [[nodiscard]] const watch* watched() const noexcept { return watch_.get(); }
  [[nodiscard]] const crew& threads() const noexcept { return crew_; }
  /// Whether it was started in a simulation: it has no threads.
  [[nodiscard]] bool simulated() const noexcept { return simulated_; }
  [[nodiscard]] bool stopping() const noexcept { return stopping_.load(std::memory_order_seq_cst); }
  [[nodiscard]] std::uint64_t spin_ns() const noexcept { return spin_ns_; }
  [[nodiscard]] std::uint32_t signals_per_turn() const noexcept { return signals_per_turn_; }

private:
  friend class worker;
  friend class stepper;
  /// The calling thread's worker if a task that is put to `home` stays with it; else null.
  [[nodiscard]] worker* keeper(unsigned home, bool pinned) const noexcept {
    worker* const self = worker::current();
    if (self == nullptr || &self->owner() != this) return nullptr;
    const bool stays =
        pinned ? self->index() == home : self->node() == workers_[home]->node() || self->index() == route(home);
    return stays ? self : nullptr;
  }
  void binding_refused(const error& e);
  void schedule_anyway(task* t, unsigned home, bool pinned) noexcept;
  void binding_lost(const worker& w, const std::vector<std::uint32_t>& left, std::uint32_t now_on);
  void start_workers();
  /// Those from `first` on have no thread, and are taken out of the plan before anything is scheduled.
  void lose_workers(unsigned first, const std::exception& why);
  [[nodiscard]] unsigned active_on(unsigned node, unsigned active) const noexcept;

  pulse pulse_;
  binding_plan plan_;
  scheduler_hooks hooks_;
  std::uint64_t spin_ns_;
  std::uint32_t signals_per_turn_;
  bool single_node_;
  bool simulated_ = false;
  class simulation* simulation_ = nullptr;  // until stop()
  watch_options watch_options_;
  std::unique_ptr<watch> watch_;
  std::vector<std::unique_ptr<worker_domain>> domains_;
  std::vector<std::unique_ptr<worker>> workers_;
  std::atomic<unsigned> active_;  // workers below this number are switched on
  crew crew_;
  std::atomic<bool> stopping_{false};
  std::unique_ptr<dirty_pools> dirty_;
  std::atomic<bool> refusal_told_{false};
  std::atomic<bool> dirty_refusal_told_{false};
  std::mutex placement_mutex_;
  std::vector<std::uint32_t> told_left_;  // placement_mutex_: of the last report that units were taken away
  blocking_event started_;                // workers wait for it before they look at anything
  alignas(64) std::atomic<std::uint32_t> turn_{0};
};

}  // namespace karyon::detail
