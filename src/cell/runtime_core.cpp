#include "cell/runtime_core.hpp"

#include <algorithm>
#include <string>
#include <system_error>
#include <utility>

#include "cell/away.hpp"
#include "cell/backend.hpp"
#include "cell/extras.hpp"
#include "cell/lifecycle.hpp"
#include "cell/migration.hpp"
#include "core/programmer_error.hpp"
#include "sched/wait.hpp"

namespace karyon::detail {

namespace {

/// The plan for these bindings; where they ask for what can not be, for as much of it as can, and one line in the log.
result<binding_plan> possible_plan(const topology& machine, binding_options wanted) {
  result<binding_plan> plan = make_binding_plan(machine, wanted);
  if (plan) return plan;
  std::string instead;
  if (wanted.workers > workers_max) {
    wanted.workers = 0;
    instead = "one worker a core";
  }
  if (!wanted.nodes.empty() && !make_binding_plan(machine, wanted)) {
    wanted.nodes.clear();
    instead += (instead.empty() ? "" : ", ") + std::string("all nodes");
  }
  if (instead.empty()) return plan;
  log(log_level::warn, "scheduler options: " + plan.error().message() + "; the runtime takes " + instead + " instead");
  return make_binding_plan(machine, wanted);
}

void check_watch(const watch_options& watch) {
  using namespace std::chrono_literals;
  if (watch.limit < 100us || watch.limit > 10s) {
    throw runtime_error(error(errc::invalid_argument, "watch.limit must be between 100 us and 10 s"));
  }
  if (watch.spare_threads > 4096) {
    throw runtime_error(error(errc::invalid_argument, "watch.spare_threads must be at most 4,096"));
  }
  if (watch.move_after == 0 || watch.move_after > 1'000'000) {
    throw runtime_error(error(errc::invalid_argument, "watch.move_after must be between 1 and 1,000,000"));
  }
  if (watch.move_within < 1ms || watch.move_within > 1h) {
    throw runtime_error(error(errc::invalid_argument, "watch.move_within must be between 1 ms and one hour"));
  }
}

binding_plan plan_for(const runtime_options& options) {
  const scheduler_options& s = options.scheduler;
  if (s.signals_per_turn == 0 || s.signals_per_turn > 1'000'000) {
    throw runtime_error(error(errc::invalid_argument, "signals_per_turn must be between 1 and 1,000,000"));
  }
  if (s.spin.count() < 0 || s.spin.count() > 10'000) {
    throw runtime_error(error(errc::invalid_argument, "spin must be between 0 and 10,000 microseconds"));
  }
  check_watch(s.watch);
  constexpr std::uint32_t threads_max = 1024;
  const std::uint32_t cpu_threads = s.dirty.cpu_threads.value_or(1);
  if (cpu_threads == 0 || cpu_threads > threads_max) {
    throw runtime_error(error(errc::invalid_argument, "dirty.cpu_threads must be between 1 and 1,024"));
  }
  if (s.dirty.io_threads == 0 || s.dirty.io_threads > threads_max) {
    throw runtime_error(error(errc::invalid_argument, "dirty.io_threads must be between 1 and 1,024"));
  }
  if (s.dirty.offload_queue_limit == 0 || s.dirty.offload_queue_limit > 10'000'000) {
    throw runtime_error(error(errc::invalid_argument, "dirty.offload_queue_limit must be between 1 and 10,000,000"));
  }
  result<binding_plan> plan = [&]() -> result<binding_plan> {
    if (options.machine != nullptr) return possible_plan(*options.machine, s.binding);
    return topology::detect().and_then([&](const topology& machine) { return possible_plan(machine, s.binding); });
  }();
  if (!plan) throw runtime_error(plan.error());
  return *std::move(plan);
}

std::vector<slab_store::node> slab_nodes(const binding_plan& plan) {
  std::vector<slab_store::node> nodes;
  // A plan of one node binds memory too, where the machine has others.
  for (const node_binding& n : plan.nodes) {
    nodes.push_back(slab_store::node{n.memory_os_index, n.memory_os_index.has_value()});
  }
  return nodes;
}

}  // namespace

runtime_core::runtime_core(runtime& owner, const runtime_options& options)
    : owner_(owner),
      options_(options),
      overruns_(options.scheduler.watch, [this](handler_site& site) { return move_to_dirty(site); }) {
  scheduler_hooks hooks;
  hooks.binding_refused = [](const error& e) {
    log(log_level::warn, "workers run unbound, since the system refuses to bind them: " + to_string(e));
  };
  hooks.dirty_thread_refused = [](const error& e) {
    log(log_level::warn, "the dirty pools have fewer threads than they may, since the system refuses to start one (" +
                             e.message() +
                             "): long work waits for those that there are, and without any it holds up workers");
  };
  hooks.handlers.begins = [this](const overrun& o) { overruns_.begins(o); };
  hooks.handlers.goes_on = [this](const overrun& o) { overruns_.goes_on(o); };
  hooks.handlers.ended = [this](const overrun& o) { overruns_.ended(o); };
  hooks.handlers.no_spare = [] {
    log(log_level::warn,
        "handlers that do not return hold their workers: no thread is left to take one over; the other cells there "
        "wait "
        "(watch.spare_threads, or the system's limit on threads)");
  };
  hooks.watch_unsupported = [] {
    log(log_level::warn,
        "workers can not be taken over from handlers that do not return: this system refuses membarrier(2)");
  };
  hooks.binding_lost = [](const error& e) { log(log_level::warn, e.message()); };
  hooks.workers_lost = [](const error& e) { log(log_level::warn, e.message()); };
  hooks.rehome = &rehome_cell;
  scheduler_ = std::make_unique<scheduler>(plan_for(options), options.scheduler, std::move(hooks));
  scheduler_->user = this;
  scheduler_->run_away = &run_away_cell;
  scheduler_->look_into = &look_into_cell;
  reports_ = std::make_unique<report_desk>(options_, *scheduler_);
  states_ = std::make_unique<worker_state[]>(scheduler_->size());
  slabs_ = std::make_unique<slab_store>(slab_nodes(scheduler_->plan()), &initialise_slot, this);
  for (unsigned i = 0; i < scheduler_->size(); ++i) slabs_->attach(states_[i].cache, scheduler_->at(i).node());
  for (unsigned i = 0; i < scheduler_->size(); ++i) scheduler_->at(i).user = &states_[i];
  try {
    backend_ = std::make_unique<actor_backend>(*scheduler_);
  } catch (const std::system_error& e) {
    throw runtime_error(
        error(errc::refused, "the runtime can not start, since the system gives this process no threads (" +
                                 std::string(e.what()) +
                                 "): raise its limit of processes (ulimit -u, a container's pids limit)"));
  }
}

void guardian::write_default_path(const guardian&, const cell_slot* child, std::string& path) {
  path.append("/supervised");
  if (child != nullptr) path.append("/#").append(std::to_string(child->keeper_index));
}

runtime_core::~runtime_core() {
  // Stops the workers, which use backend() to the last: the pointer stays until the destructor has returned. The slots are
  // nobody's from here on.
  delete backend_.get();
  static_cast<void>(backend_.release());
  slabs_->for_each_slot([](void* slot) { backend_destroy(*static_cast<cell_slot*>(slot)); });
  for (unsigned i = 0; i < scheduler_->size(); ++i) slabs_->flush(states_[i].cache);
  slabs_.reset();
}

runtime_service* runtime_core::find_service(const void* key) const noexcept {
  for (std::size_t i = 0; i < services_count_; ++i) {
    if (service_keys_[i] == key) return services_[i].get();
  }
  return nullptr;
}

runtime_service& runtime_core::add_service(const void* key, std::unique_ptr<runtime_service> s) {
  if (services_count_ == services_max) {
    throw runtime_error(error(errc::unsupported, "a runtime has at most 8 kinds of services"));
  }
  const std::size_t i = services_count_++;
  s->bit_ = static_cast<std::uint8_t>(1u << i);
  service_keys_[i] = key;
  services_[i] = std::move(s);
  if (network_ != nullptr) services_[i]->network_installed(*network_);
  return *services_[i];
}

void runtime_core::tell_end(std::uint8_t noted, const address& which) noexcept {
  for (std::size_t i = 0; i < services_max; ++i) {
    if ((noted >> i & 1u) != 0) services_[i]->incarnation_ended(which);
  }
}

void runtime_core::tell_role_end(std::uint8_t noted, const address& which) noexcept {
  for (std::size_t i = 0; i < services_max; ++i) {
    if ((noted >> i & 1u) != 0) services_[i]->role_ended(which);
  }
}

bool runtime_core::install_network(std::shared_ptr<peer_network> network) {
  const std::lock_guard lock(services_mutex_);
  if (network_ != nullptr) return false;
  network_ = std::move(network);
  for (std::size_t i = 0; i < services_count_; ++i) services_[i]->network_installed(*network_);
  return true;
}

std::shared_ptr<peer_network> runtime_core::network() const {
  const std::lock_guard lock(services_mutex_);
  return network_;
}

std::uint64_t runtime_core::next_serial() noexcept {
  static std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

std::uint64_t runtime_core::sum(std::atomic<std::uint64_t> cell_counters::*which) const noexcept {
  // Acquire pairs with count's release: live_cells says what for.
  std::uint64_t n = (outside_.*which).load(std::memory_order_acquire);
  for (unsigned i = 0; i < scheduler_->size(); ++i) n += (states_[i].counters.*which).load(std::memory_order_acquire);
  return n;
}

std::uint64_t runtime_core::live_cells() const noexcept {
  // Ended first: a cell that starts and ends between the two reads must not make the difference negative. Acquire pairs with
  // count's release: whoever has counted an end has seen that cell's start counted, so what is read second has it; and at
  // zero all that the cells did is done, which lets the runtime go.
  const std::uint64_t ended = sum(&cell_counters::ended);
  return sum(&cell_counters::spawned) - ended;
}

namespace {

dirty_pool_metrics metrics_of(const dirty_pool::figures& f) noexcept {
  dirty_pool_metrics m;
  m.threads = f.threads;
  m.queued = f.queued;
  m.running = f.running;
  m.run = f.run;
  m.refused = f.refused;
  m.run_by_workers = f.in_place;
  m.switch_ns = f.switch_ns;
  return m;
}

}  // namespace

runtime_metrics runtime_core::metrics() const {
  runtime_metrics m;
  m.cells = live_cells();
  m.spawned = sum(&cell_counters::spawned);
  m.handled = sum(&cell_counters::handled);
  m.restarts = sum(&cell_counters::restarts);
  m.failures = sum(&cell_counters::failures);
  m.dropped_dead = sum(&cell_counters::dropped_dead) + lost_outside(loss::dropped_dead);
  m.refused_dead = sum(&cell_counters::refused_dead) + lost_outside(loss::dead);
  m.refused_full = sum(&cell_counters::refused_full) + lost_outside(loss::full);
  m.dropped_newest = sum(&cell_counters::dropped_newest) + lost_outside(loss::newest);
  m.dropped_oldest = sum(&cell_counters::dropped_oldest) + lost_outside(loss::oldest);
  m.conflated = sum(&cell_counters::conflated) + lost_outside(loss::conflated);
  m.slowed = sum(&cell_counters::slowed);
  m.refused_no_handler = sum(&cell_counters::refused_no_handler);
  m.late_answers = sum(&cell_counters::late_answers);
  m.crash_reports_suppressed = reports_->suppressed();
  m.crash_callback_failures = crash_callback_failures_.load(std::memory_order_relaxed);
  m.offloads_skipped = offloads_skipped_.load(std::memory_order_relaxed);
  m.offloads_late = offloads_late_.load(std::memory_order_relaxed);
  m.dirty_cpu = metrics_of(scheduler_->dirty().look(dirty_kind::cpu));
  m.dirty_io = metrics_of(scheduler_->dirty().look(dirty_kind::io));
  m.slab_bytes = slabs_->bytes_mapped();
  for (unsigned i = 0; i < scheduler_->size(); ++i) {
    const worker::counters& w = scheduler_->at(i).stats();
    m.turns += w.turns.load(std::memory_order_relaxed);
    m.given_same_cache += w.donated.load(std::memory_order_relaxed);
    m.given_same_node += w.donated_node.load(std::memory_order_relaxed);
    m.given_other_node += w.donated_remote.load(std::memory_order_relaxed);
  }
  add_timers(m);
  if (const watch* w = scheduler_->watched()) {
    m.overruns = w->overruns();
    m.take_overs = w->take_overs();
    m.handlers_moved = overruns_.moved();
  }
  m.workers_away = scheduler_->threads().away();
  m.threads = scheduler_->threads().size();
  add_placement(m);
  return m;
}

void runtime_core::add_timers(runtime_metrics& to) const noexcept {
  const auto add = [&to](const timer_counters& t) {
    for (std::size_t k = 0; k < timer_lateness_classes; ++k) {
      const std::uint64_t n = t.late[k].load(std::memory_order_relaxed);
      to.timer_lateness[k] += n;
      to.timers_fired += n;
    }
    const std::chrono::nanoseconds latest(t.lateness_max_ns.load(std::memory_order_relaxed));
    to.timer_lateness_max = std::max(to.timer_lateness_max, latest);
  };
  add(outside_timers_);
  for (unsigned i = 0; i < scheduler_->size(); ++i) add(states_[i].timers);
  to.timer_periods_skipped = sum(&cell_counters::periods_skipped);
}

runtime_core::place runtime_core::choose(placement where) {
  unsigned home = 0;
  bool pinned = false;
  switch (where.how) {
    case placement::kind::parent: {
      const covered here;
      worker* self = worker::current();
      if (self != nullptr && &self->owner() == scheduler_.get()) {
        home = self->index();
      } else {
        // A cell on a thread that is no worker (any more) has a home all the same.
        home = running != nullptr && running->core == this ? running->slot->home : scheduler_->next_worker();
      }
      break;
    }
    case placement::kind::spread: home = scheduler_->next_worker(); break;
    case placement::kind::node:
      if (where.index >= scheduler_->nodes()) {
        throw runtime_error(error(errc::not_found, "placement on node " + std::to_string(where.index) +
                                                       ": this runtime has " + std::to_string(scheduler_->nodes()) +
                                                       " nodes, counted from 0"));
      }
      return {where.index, static_cast<std::uint16_t>(scheduler_->next_worker(where.index)), false};
    case placement::kind::worker:
      if (where.index >= scheduler_->size()) {
        throw runtime_error(error(errc::not_found, "placement on worker " + std::to_string(where.index) +
                                                       ": this runtime has " + std::to_string(scheduler_->size()) +
                                                       " workers, counted from 0"));
      }
      home = where.index;
      pinned = true;
      break;
  }
  return {scheduler_->at(home).node(), static_cast<std::uint16_t>(home), pinned};
}

namespace {

void append_path(cell_slot& s, std::string& path) {
  // The caller is the slot's owner, who knows the keeper.
  if (guardian* keeper = s.keeper.load(std::memory_order_relaxed)) return keeper->append_path(*keeper, &s, path);
  path.append("/spawned/").append(std::to_string(identity(s.at())));
}

report_group group_of(cell_slot& s, const exit_reason& why) {
  report_group g{"crash", {}, why};
  if (guardian* keeper = s.keeper.load(std::memory_order_relaxed)) {
    keeper->append_path(*keeper, nullptr, g.source);
  } else {
    g.source.append("/spawned ").append(s.info.load(std::memory_order_relaxed)->name);
  }
  return g;
}

/// The oldest links: an order that does not depend on addresses, as that of the table does.
void append_neighbours(const cell_extras& extras, crash_report& r) {
  std::vector<std::pair<std::uint64_t, address>> linked;
  for (const auto& [other, end] : extras.links) {
    if (end.unlinking == 0) linked.emplace_back(end.order, other);
  }
  r.neighbours_total = linked.size();
  const auto shown = static_cast<std::ptrdiff_t>(std::min(linked.size(), crash_report::neighbours_max));
  std::partial_sort(linked.begin(), linked.begin() + shown, linked.end(),
                    [](const auto& a, const auto& b) { return a.first < b.first; });
  linked.resize(static_cast<std::size_t>(shown));
  for (const auto& [order, a] : linked) {
    // Looked at before and after, as in find_tell: the class was the neighbour's if it is still there. Acquire pairs with
    // begin_incarnation's release.
    const bool there = incarnation_alive(a);
    const class_info* info = a.slot->info.load(std::memory_order_acquire);
    r.neighbours.push_back({identity(a), there && incarnation_alive(a) ? std::string(info->name) : std::string()});
  }
}

}  // namespace

crash_report runtime_core::describe_crash(cell_slot& s, const exit_reason& why, std::string_view handling,
                                          std::uint64_t mailbox) const {
  crash_report r;
  append_path(s, r.path);
  r.class_name = s.info.load(std::memory_order_relaxed)->name;
  r.id = identity(s.at());
  if (s.has(cell_slot::in_role)) r.restarts = s.number() - s.role.load(std::memory_order_relaxed);
  r.incarnation = r.restarts + 1;
  r.reason = why;
  r.handling = handling;
  r.mailbox = mailbox;
  r.handled = s.handled;
  if (s.extras != nullptr) append_neighbours(*s.extras, r);
  const covered here;
  const worker* w = worker::current();
  r.worker = w != nullptr ? w->index() : s.home;
  r.node = scheduler_->at(r.worker).node();
  return r;
}

void runtime_core::report_crash(cell_slot& s, const exit_reason& why, std::string_view handling,
                                std::uint64_t mailbox) noexcept {
  report_key key;
  const guardian* keeper = s.keeper.load(std::memory_order_relaxed);
  key.add_address(keeper != nullptr ? static_cast<const void*>(keeper) : s.info.load(std::memory_order_relaxed));
  add_to_key(key, why);
  const std::uint64_t now_ns = reports_->admit(report_desk::sort::crash, key, [&] { return group_of(s, why); });
  if (now_ns == 0) return;
  try {
    crash_report r = describe_crash(s, why, handling, mailbox);
    r.monotonic_ns = now_ns;
    reports_->file(now_ns, r);
    if (options_.on_crash) {
      try {
        options_.on_crash(r);
      } catch (...) {
        callback_failed();
      }
    }
  } catch (...) {
    reports_->lost();
  }
}

// ---- shutdown ------------------------------------------------------------------------------------------------------

void runtime_core::add_participant(std::shared_ptr<shutdown_participant> p) {
  const std::lock_guard lock(participants_mutex_);
  if (closing())
    throw runtime_error(error(errc::closed, "the runtime is shutting down: no supervisor is started any more"));
  participants_.push_back(std::move(p));
}

void runtime_core::remove_participant(const shutdown_participant& p) noexcept {
  std::shared_ptr<shutdown_participant> removed;  // freed after the lock is
  const std::lock_guard lock(participants_mutex_);
  const auto found =
      std::find_if(participants_.begin(), participants_.end(), [&p](const auto& other) { return other.get() == &p; });
  if (found == participants_.end()) return;
  removed = std::move(*found);
  *found = std::move(participants_.back());
  participants_.pop_back();
}

std::uint64_t runtime_core::running_on_pools() const noexcept {
  const dirty_pools& pools = scheduler_->dirty();
  return pools.look(dirty_kind::cpu).running + pools.look(dirty_kind::io).running;
}

void runtime_core::schedule_particular(cell_slot& s, bool again) noexcept {
  const bool pinned = s.has(cell_slot::pinned);
  if (s.info.load(std::memory_order_relaxed)->needs.run == priority::high) {
    return scheduler_->schedule_high(&s.run_link, s.home, pinned, again);
  }
  if (again) return scheduler_->schedule_again(&s.run_link, s.home, pinned);
  scheduler_->schedule(&s.run_link, s.home, pinned);
}

void runtime_core::recall_from_pools() noexcept {
  scheduler_->dirty().for_each([this](dirty_pool& pool) {
    for (task* t = pool.recall(); t != nullptr;) {
      task* following = t->next;
      schedule(cell_slot::of(t));
      t = following;
    }
  });
}

bool runtime_core::wait_until_empty(std::chrono::milliseconds at_most) {
  // Rare and short: a look every now and then is simpler than a count that every cell's end would have to maintain.
  const auto empty = [this] {
    recall_from_pools();
    const std::lock_guard lock(participants_mutex_);
    return live_cells() == 0 && !scheduler_->dirty().is_busy() &&
           std::all_of(participants_.begin(), participants_.end(), [](const auto& p) { return p->has_ended(); });
  };
  constexpr std::uint64_t ms_ns = 1'000'000;
  const auto ms = static_cast<std::uint64_t>(std::max<std::int64_t>(0, at_most.count()));
  return poll_until(empty, ms < never_ns / ms_ns ? deadline_in(ms * ms_ns) : never_ns);
}

void runtime_core::exit_all(const exit_reason& why) {
  slabs_->for_each_slot([&](void* memory) {
    auto& s = *static_cast<cell_slot*>(memory);
    const std::uint64_t seen = s.inbox.look();
    if (!inbox_word::accepts(seen)) return;
    // A guardian ends its children itself. Relaxed: the look has acquired the role of its tenant; a 0 of later is of one that has ended.
    if (s.role.load(std::memory_order_relaxed) != 0) return;
    // The slot may be another's by now: a child's perhaps, or that of a cell spawned meanwhile, which launch() tells.
    const std::uint32_t n = s.number();
    if (inbox_word::tag_of_incarnation(n) != inbox_word::tag_of(seen)) return;
    send_exit({&s, n}, {}, why);
  });
}

shutdown_report runtime_core::shutdown(std::chrono::milliseconds deadline) {
  if (running != nullptr || local() != nullptr || scheduler_->dirty().is_own_thread())
    programmer_error(
        "runtime::shutdown (or ~runtime) was called by one of its own cells, or by what one has offloaded, which it "
        "would wait for");
  const std::lock_guard lock(shutdown_mutex_);
  if (shut_down_) {
    // A spawn that was under way, or a handler that did not return, may have outlasted the first call.
    report_.complete = wait_until_empty(deadline);
    return report_;
  }
  std::vector<std::shared_ptr<shutdown_participant>> to_end;
  {
    const std::lock_guard participants_lock(participants_mutex_);
    closing_.store(true, std::memory_order_seq_cst);
    to_end = participants_;  // nobody adds to it any more
  }
  // Whoever has not seen that has its cell in sight for exit_all by now, others tell their own (launch). Where the system has no such
  // fence, one that both have missed is killed at the deadline.
  if (process_fences::prepare()) process_fences::heavy();
  for (const auto& p : to_end) p->begin_shutdown();
  const std::uint64_t dropped_before = sum(&cell_counters::dropped_dead);
  const std::uint64_t alive = live_cells();
  exit_all(exit_reason::shutdown());
  report_.complete = wait_until_empty(deadline);
  if (!report_.complete) {
    report_.killed = live_cells();
    for (const auto& p : to_end) p->begin_kill();
    exit_all(exit_reason::killed());
    report_.complete = wait_until_empty(std::max(deadline, std::chrono::milliseconds(100)));
    if (!report_.complete) {
      report_.stuck = overruns_.running(monotonic_ns());
      std::string text = "shutdown: " + std::to_string(live_cells()) +
                         " cells have handlers that did not return before the deadline; their threads are left behind";
      for (const running_handler& h : report_.stuck)
        text.append("; ").append(h.cell_class).append(" in ").append(h.signal);
      if (const std::uint64_t busy = running_on_pools(); busy != 0)
        text.append("; ").append(std::to_string(busy)).append(" threads of the dirty pools are busy");
      log(log_level::err, text);
    }
  }
  report_.stopped = alive > report_.killed ? alive - report_.killed : 0;
  report_.dropped = sum(&cell_counters::dropped_dead) - dropped_before;
  reports_->sum_up(monotonic_ns());
  shut_down_ = true;
  return report_;
}

}  // namespace karyon::detail
