#include "sched/scheduler.hpp"

#include <algorithm>
#include <system_error>
#include <utility>

#include "sched/simulation.hpp"

namespace karyon::detail {

namespace {

std::size_t spares_max(const watch_options& options, std::size_t workers) noexcept {
  if (!options.enabled || !options.take_over) return 0;
  return options.spare_threads != 0 ? options.spare_threads : std::max<std::size_t>(workers, 4);
}

}  // namespace

scheduler::scheduler(binding_plan plan, const scheduler_options& options, scheduler_hooks hooks)
    : plan_(std::move(plan)),
      hooks_(std::move(hooks)),
      spin_ns_(static_cast<std::uint64_t>(std::max<std::int64_t>(0, options.spin.count())) * 1000),
      signals_per_turn_(options.signals_per_turn),
      single_node_(plan_.nodes.size() == 1),
      watch_options_(options.watch),
      active_(static_cast<unsigned>(plan_.workers.size())),
      crew_(pulse_, spares_max(options.watch, plan_.workers.size())) {
  for (std::size_t i = 0; i < plan_.nodes.size(); ++i) domains_.push_back(std::make_unique<worker_domain>());
  for (unsigned i = 0; i < plan_.workers.size(); ++i) {
    const worker_binding& binding = plan_.workers[i];
    // A worker gives to those whose hunger it sees: where nodes may rob each other, all count as one domain.
    worker_domain& domain = *domains_[binding.steal_remote.empty() ? binding.node : 0];
    workers_.push_back(std::make_unique<worker>(*this, i, binding, domain));
    domain.workers.push_back(workers_.back().get());
  }
  for (auto& w : workers_) w->measure_distances();
  dirty_ = std::make_unique<dirty_pools>(*this, options.dirty);
}

scheduler::~scheduler() { stop(); }

void scheduler::start() {
  if (current_simulation != nullptr) {
    current_simulation->adopt(*this);
    simulation_ = current_simulation;
    simulated_ = true;
    return;
  }
  try {
    if (watch_options_.enabled) {
      if (watch_options_.take_over && !process_fences::prepare()) {
        watch_options_.take_over = false;
        if (hooks_.watch_unsupported) hooks_.watch_unsupported();
      }
      watch_ = std::make_unique<watch>(crew_, watch_options_, hooks_.handlers);
      pulse_.start([](void* w, std::uint64_t now_ns) { return static_cast<watch*>(w)->look(now_ns); }, watch_.get());
    } else {
      pulse_.start();
    }
    start_workers();
  } catch (...) {
    stop();
    throw;
  }
}

void scheduler::stop() noexcept {
  stopping_.store(true, std::memory_order_seq_cst);
  started_.set();
  if (simulated_) {
    if (simulation_ != nullptr) std::exchange(simulation_, nullptr)->release(*this);
    return;
  }
  for (auto& w : workers_) w->parker_.wake();
  crew_.stop();
  dirty_->for_each([](dirty_pool& pool) { pool.stop(); });
  pulse_.stop();
}

void scheduler::schedule_anyway(task* t, unsigned home, bool pinned) noexcept {
  const covered here;
  worker* self = worker::current();
  if (self != nullptr && &self->owner() != this) self = nullptr;
  worker* to = workers_[home].get();
  if (pinned) {
    if (self == to) return to->push_local_pinned(t);
    if (self != nullptr) self->count_wake(home);
    return to->push_remote_pinned(t);
  }
  if (self != nullptr && self->node() == to->node()) return self->push_local(t);
  to = workers_[route(home)].get();
  if (to == self) return self->push_local(t);
  if (self != nullptr) self->count_wake(to->index());
  to->push_remote(t, t);
}

void scheduler::schedule_high(task* t, unsigned home, bool pinned, bool again) noexcept {
  const covered here;
  worker* self = worker::current();
  if (self != nullptr && &self->owner() != this) self = nullptr;
  worker* to = workers_[pinned ? home : route(home)].get();
  // A worker that is switched off runs what its lane has, but nothing comes back to it.
  const bool mine = self != nullptr &&
                    (self == to || (!pinned && self->node() == workers_[home]->node() && is_active(self->index())));
  if (mine) {
    if (again) self->count_requeued();
    return self->push_local_high(t);
  }
  if (self != nullptr) self->count_wake(to->index());
  to->push_remote_high(t);
}

void scheduler::drain(const std::function<void(task*)>& f) {
  bool found = false;
  auto one = [&](task* t) {
    found = true;
    f(t);
  };
  auto all = [&](task* t) {
    while (t != nullptr) {
      task* following = t->next;
      one(t);
      t = following;
    }
  };
  // What is let go of may make other tasks runnable, on workers that were looked at already.
  do {
    found = false;
    dirty_->for_each([&](dirty_pool& pool) { all(pool.take_all()); });
    for (auto& w : workers_) {
      while (task* t = w->pop_unpinned()) one(t);
      while (task* t = w->pinned_.pop()) one(t);
      while (task* t = w->high_.pop()) one(t);
      all(std::exchange(w->taken_, nullptr));
      all(std::exchange(w->taken_pinned_, nullptr));
      all(w->inbox_.take_all());
      all(w->pinned_inbox_.take_all());
      all(w->high_inbox_.take_all());
      w->release_cancelled();
      w->wheel_.drain([&](timer& t) {
        found = true;
        if (t.claim(timer::cancelled)) t.release(&t, *w);
      });
    }
  } while (found);
}

unsigned scheduler::next_worker(unsigned node) noexcept {
  const std::uint32_t turn = turn_.fetch_add(1, std::memory_order_relaxed);
  const auto& workers = plan_.nodes[node].workers;
  if (const unsigned on = active_on(node, active())) return workers[turn % on];
  // All of them are off, or could not be had: the node's memory is still asked for, and route() finds who runs the task.
  return workers.empty() ? turn % active() : workers[turn % workers.size()];
}

unsigned scheduler::next_worker() noexcept {
  const std::uint32_t turn = turn_.fetch_add(1, std::memory_order_relaxed);
  const auto& nodes = plan_.nodes;
  const auto count = static_cast<std::uint32_t>(nodes.size());
  const unsigned all = active();
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t node = (turn + i) % count;
    if (const unsigned on = active_on(node, all)) return nodes[node].workers[turn / count % on];
  }
  return 0;
}

void scheduler::binding_refused(const error& e) {
  if (!refusal_told_.exchange(true) && hooks_.binding_refused) hooks_.binding_refused(e);
}

void scheduler::dirty_thread_refused(int code) noexcept {
  if (dirty_refusal_told_.exchange(true) || !hooks_.dirty_thread_refused) return;
  try {
    hooks_.dirty_thread_refused(error(errc::system_error, std::generic_category().message(code)));
  } catch (...) {  // no memory for the words; the metrics show it all the same
  }
}

}  // namespace karyon::detail
