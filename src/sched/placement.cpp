// SPDX-License-Identifier: Apache-2.0
#include "sched/placement.hpp"

#include <algorithm>
#include <exception>
#include <mutex>
#include <string>
#include <system_error>
#include <utility>

#include "sched/scheduler.hpp"
#include "sched/worker.hpp"

namespace karyon::detail {

// ---- homes that follow the load ------------------------------------------------------------------------------------

std::size_t donation_balance::gave(std::size_t n, std::uint64_t now, std::uint64_t turns) noexcept {
  const std::uint64_t windows = (now - window_start_) / window_ticks;
  if (windows != 0) {
    const std::uint64_t received = received_.exchange(0, std::memory_order_relaxed);
    const std::uint64_t ran = turns - turns_before_;
    const bool overload = windows <= stale_windows && given_ > received && (given_ - received) * 8 > ran;
    overloads_ = overload ? overloads_ + 1 : 0;
    move_next_ = overloads_ >= 2;
    window_start_ = now;
    turns_before_ = turns;
    given_ = 0;
  }
  given_ += n;
  return std::exchange(move_next_, false) ? (n + 1) / 2 : 0;
}

void worker::rehome(task* t, unsigned to) noexcept {
  if (owner_.hooks_.rehome != nullptr && owner_.hooks_.rehome(t, to)) add(counters_.rehomed, 1);
}

// ---- workers that are switched off ---------------------------------------------------------------------------------

void worker::shed() noexcept {
  if (owner_.is_active(index_)) {
    off_ = false;
    return;
  }
  while (task* t = pop_unpinned()) forward(t);
  // What was taken, and then what has come since. What comes meanwhile waits for the next time (pick_elsewhere leaves it
  // there), for the pinned tasks want to go on.
  for (task* t : {std::exchange(taken_, nullptr), inbox_.take_all()}) {
    while (t != nullptr) {
      task* const following = t->next;
      ++taken_count_;
      forward(t);
      t = following;
    }
  }
}

void worker::forward(task* t) noexcept {
  const unsigned to =
      owner_.stand_in(index_, static_cast<std::uint32_t>(counters_.forwarded.load(std::memory_order_relaxed)));
  worker& receiver = owner_.at(to);
  // Of another node it is only a guest: its memory is here, and so is its home, until this worker is switched on again.
  if (receiver.node() == node()) rehome(t, to);
  add(counters_.forwarded, 1);
  receiver.push_remote(t, t);
}

unsigned scheduler::active_on(unsigned node, unsigned active) const noexcept {
  const auto& workers = plan_.nodes[node].workers;  // in rising order
  return static_cast<unsigned>(std::lower_bound(workers.begin(), workers.end(), active) - workers.begin());
}

unsigned scheduler::stand_in(unsigned home, std::uint32_t turn) const noexcept {
  const unsigned all = active();
  if (home < all) return home;
  const unsigned node = workers_[home]->node();
  if (const unsigned on = active_on(node, all)) return plan_.nodes[node].workers[turn % on];
  return turn % all;
}

void scheduler::set_active(unsigned n) {
  const std::lock_guard lock(placement_mutex_);
  const unsigned before = active_.exchange(n, std::memory_order_seq_cst);
  // Those that sleep look at it now: what has been switched off has no hunger any more, what is on again gets some.
  for (unsigned i = std::min(n, before); i < std::max(n, before); ++i) workers_[i]->parker_.wake();
}

// ---- threads that can not be had -----------------------------------------------------------------------------------

namespace {

void keep_below(std::vector<std::uint32_t>& workers, unsigned first) {
  std::erase_if(workers, [first](std::uint32_t w) { return w >= first; });
}

void keep_below(worker_binding& w, unsigned first) {
  const auto near = w.steal_order.begin() + w.steal_same_cache;
  w.steal_same_cache = static_cast<std::uint32_t>(
      std::count_if(w.steal_order.begin(), near, [first](std::uint32_t other) { return other < first; }));
  keep_below(w.steal_order, first);
  keep_below(w.steal_remote, first);
}

}  // namespace

void scheduler::start_workers() {
  unsigned started = 0;
  try {
    for (; started < workers_.size(); ++started) crew_.start(*workers_[started], watch_options_.enabled);
  } catch (const std::exception& e) {
    if (started == 0) throw;
    lose_workers(started, e);
  }
  started_.set();
}

void scheduler::lose_workers(unsigned first, const std::exception& why) {
  const auto planned = workers_.size();
  plan_.workers.resize(first);
  for (worker_binding& w : plan_.workers) keep_below(w, first);
  for (node_binding& n : plan_.nodes) keep_below(n.workers, first);
  for (auto& d : domains_) std::erase_if(d->workers, [first](const worker* w) { return w->index() >= first; });
  workers_.resize(first);
  for (auto& w : workers_) keep_below(w->binding_, first);
  active_.store(first, std::memory_order_seq_cst);
  if (!hooks_.workers_lost) return;
  hooks_.workers_lost(error(errc::refused, "the system gives this process no more threads (" + std::string(why.what()) +
                                               "): the runtime makes do with " + std::to_string(first) + " of " +
                                               std::to_string(planned) +
                                               " workers; a limit of processes (ulimit -u, a container's pids limit) "
                                               "may be too low"));
}

void worker::measure_distances() {
  distance_to_.assign(owner_.size(), static_cast<std::uint8_t>(wake_distance::other_node));
  const auto at = [this](unsigned w, wake_distance d) { distance_to_[w] = static_cast<std::uint8_t>(d); };
  for (std::size_t i = 0; i < binding_.steal_order.size(); ++i) {
    at(binding_.steal_order[i], i < binding_.steal_same_cache ? wake_distance::same_cache : wake_distance::same_node);
  }
  at(index_, wake_distance::same_worker);
}

void worker::publish() noexcept {
  counters_.turns.store(turns_, std::memory_order_relaxed);
  counters_.taken.store(taken_count_, std::memory_order_relaxed);
  auto& own = counters_.woken[static_cast<std::size_t>(wake_distance::same_worker)];
  own.store(queue_.pushed() + pinned_.pushed() + high_.pushed() - requeued_, std::memory_order_relaxed);
}

// ---- units that are taken away -------------------------------------------------------------------------------------

void worker::bind_thread() noexcept {
  const bool was_bound = bound_;
  worker_binding to;
  to.unit_os_index = unit_;
  const auto bound = bind_current_thread(to);
  bound_ = bound ? unit_.has_value() : was_bound;
  if (bound) return;
  // A thread that has taken over finds the worker's unit gone, before the worker has looked for itself.
  if (was_bound) return look_at_binding();
  owner_.binding_refused(bound.error());
}

void worker::look_at_binding() noexcept {
  constexpr std::uint64_t look_every_ns = 1'000'000'000;
  next_look_tick_ = pulse_.ticks() + look_every_ns / pulse::tick_ns;
  next_look_ns_ = monotonic_ns() + look_every_ns;
  try {
    const auto left = units_of_current_thread();
    if (!left || left->empty() || *left == std::vector{*unit_}) return;
    // Somebody, or the system after a unit was taken away, has chosen what this thread may run on. Within that it goes back
    // to its own unit if that is there, else to one of those that are left, by its number.
    const std::uint32_t planned = *binding_.unit_os_index;
    const bool has_own = std::find(left->begin(), left->end(), planned) != left->end();
    worker_binding to;
    to.unit_os_index = has_own ? planned : (*left)[index_ % left->size()];
    if (left->size() > 1) {
      if (const auto bound = bind_current_thread(to); !bound) {
        bound_ = false;  // it runs on where it may
        return owner_.binding_refused(bound.error());
      }
    }
    if (to.unit_os_index == unit_) return;
    unit_ = to.unit_os_index;
    add(counters_.rebound, 1);
    if (!has_own) owner_.binding_lost(*this, *left, *unit_);
  } catch (...) {  // no memory for the sets: the next look is in a second
  }
}

void scheduler::binding_lost(const worker& w, const std::vector<std::uint32_t>& left, std::uint32_t now_on) {
  {
    const std::lock_guard lock(placement_mutex_);
    if (left == told_left_) return;
    told_left_ = left;
  }
  if (!hooks_.binding_lost) return;
  hooks_.binding_lost(error(
      errc::refused, "worker " + std::to_string(w.index()) + " may no longer run on processing unit " +
                         std::to_string(*w.binding().unit_os_index) + ": it is on unit " + std::to_string(now_on) +
                         " now, one of " + std::to_string(left.size()) + " that are left; others may follow it"));
}

}  // namespace karyon::detail
