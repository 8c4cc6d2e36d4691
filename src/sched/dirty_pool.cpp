#include "sched/dirty_pool.hpp"

#include <pthread.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <new>
#include <system_error>
#include <utility>

#include "sched/parker.hpp"
#include "sched/scheduler.hpp"

namespace karyon::detail {

namespace {

constexpr std::uint64_t retry_ns = 1'000'000'000;  // a second after a thread could not be created the next one is tried
constexpr std::size_t probes = 9;
/// The pool that the calling thread is of, or null.
thread_local constinit const dirty_pool* current_pool = nullptr;

constexpr std::uint64_t probing_ns_max = 2'000'000;  // what the first work of a pool may be put off for

}  // namespace

void pool_job::run_on_worker(task* t, worker& w) {
  pool_job& job = of(t);
  if (!w.owner().simulated()) return job.execute();
  // A pool's thread is no worker; nor is it one in a simulation, which has no other thread to run this on.
  worker* const me = std::exchange(current_worker, nullptr);
  job.execute();
  current_worker = me;
}

// ---- the queue -----------------------------------------------------------------------------------------------------

dirty_pool::dirty_pool(scheduler& owner, settings s) : owner_(owner), settings_(std::move(s)) {
  threads_.reserve(settings_.threads_max);
}

void dirty_pool::append(task* t) noexcept {
  t->next = nullptr;
  if (first_ == nullptr) {
    first_ = t;
  } else {
    last_->next = t;
  }
  last_ = t;
  ++figures_.queued;
  if (pool_job::is(t)) ++jobs_queued_;
}

task* dirty_pool::pop() noexcept {
  task* t = first_;
  if (t == nullptr) return nullptr;
  first_ = t->next;
  --figures_.queued;
  if (pool_job::is(t)) --jobs_queued_;
  return t;
}

bool dirty_pool::push(task* t) noexcept {
  bool taken = false;
  {
    const std::lock_guard lock(mutex_);
    taken = ensure_thread();
    if (taken) {
      append(t);
      work_.notify_one();
    } else {
      ++figures_.in_place;
    }
  }
  tell_refusal();
  return taken;
}

dirty_pool::answer dirty_pool::push(pool_job& job) noexcept {
  bool taken = false;
  {
    const std::lock_guard lock(mutex_);
    if (jobs_queued_ >= settings_.jobs_max) {
      ++figures_.refused;
      return answer::full;
    }
    taken = ensure_thread();
    if (taken) {
      append(&job);
      work_.notify_one();
    } else {
      ++figures_.in_place;
    }
  }
  tell_refusal();
  return taken ? answer::taken : answer::no_thread;
}

void dirty_pool::count_simulated() noexcept {
  const std::lock_guard lock(mutex_);
  ++figures_.run;
}

task* dirty_pool::recall() noexcept {
  const std::lock_guard lock(mutex_);
  task* turns = nullptr;
  task* newest = nullptr;
  task* left = std::exchange(first_, nullptr);
  figures_.queued = 0;
  jobs_queued_ = 0;
  while (left != nullptr) {
    task* t = std::exchange(left, left->next);
    if (pool_job::is(t)) {
      append(t);
      continue;
    }
    t->next = nullptr;
    (turns == nullptr ? turns : newest->next) = t;
    newest = t;
  }
  return turns;
}

task* dirty_pool::take_all() noexcept {
  const std::lock_guard lock(mutex_);
  figures_.queued = 0;
  jobs_queued_ = 0;
  return std::exchange(first_, nullptr);
}

dirty_pool::figures dirty_pool::look() const noexcept {
  const std::lock_guard lock(mutex_);
  figures f = figures_;
  f.threads = static_cast<std::uint32_t>(threads_.size());
  return f;
}

bool dirty_pool::is_own_thread() const noexcept { return current_pool == this; }

bool dirty_pool::is_busy() const noexcept {
  const std::lock_guard lock(mutex_);
  return figures_.running != 0 || jobs_queued_ != 0;
}

// ---- the threads ---------------------------------------------------------------------------------------------------

bool dirty_pool::ensure_thread() noexcept {
  if (stopping_) return false;
  const bool wanted = figures_.queued >= idle_ && threads_.size() < settings_.threads_max;
  return (wanted && start_thread()) || !threads_.empty();
}

bool dirty_pool::start_thread() noexcept {
  if (refusal_ns_ != 0 && monotonic_ns() < refusal_ns_ + retry_ns) return false;
  try {
    threads_.emplace_back([this, index = threads_.size()] { main(index); });
    return true;
  } catch (const std::system_error& e) {
    untold_refusal_ = e.code().value();
  } catch (const std::bad_alloc&) {
    untold_refusal_ = ENOMEM;
  }
  refusal_ns_ = monotonic_ns();
  return false;
}

// Without the lock: whoever is told may ask for figures.
void dirty_pool::tell_refusal() noexcept {
  int code = 0;
  {
    const std::lock_guard lock(mutex_);
    code = std::exchange(untold_refusal_, 0);
  }
  if (code != 0) owner_.dirty_thread_refused(code);
}

void dirty_pool::main(std::size_t index) noexcept {
  current_pool = this;
  char name[16];
  if (settings_.kind == dirty_kind::io) {
    std::snprintf(name, sizeof name, "karyon.io%u", static_cast<unsigned>(index % 10'000));
  } else {
    std::snprintf(name, sizeof name, "karyon.c%u.%u", settings_.number % 1'000, static_cast<unsigned>(index % 1'000));
  }
  pthread_setname_np(pthread_self(), name);
  // The thread that started this one is mostly a worker, bound to one unit, which is inherited. Where binding is refused the
  // workers have said so.
  if (!settings_.units.empty()) static_cast<void>(bind_current_thread_to(settings_.units));
  if (index == 0) measure_switch();
  std::unique_lock lock(mutex_);
  while (true) {
    while (first_ == nullptr && !stopping_) {
      ++idle_;
      work_.wait(lock);
      --idle_;
    }
    if (stopping_) return;
    task* t = pop();
    ++figures_.running;
    lock.unlock();
    if (pool_job::is(t)) {
      pool_job::of(t).execute();
    } else {
      owner_.run_away(t);
    }
    lock.lock();
    --figures_.running;
    ++figures_.run;
  }
}

void dirty_pool::stop() noexcept {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    work_.notify_all();
    probe_back_.notify_all();
  }
  // Nobody starts a thread any more.
  for (std::thread& t : threads_) {
    if (t.joinable()) t.join();
  }
}

// ---- what a switch costs -------------------------------------------------------------------------------------------

void dirty_pool::probe::run_on_worker(task* t, worker&) {
  auto& self = *static_cast<probe*>(t);
  dirty_pool& pool = *self.pool;
  const std::lock_guard lock(pool.mutex_);
  self.is_back = true;
  if (self.is_late) pool.figures_.switch_ns = monotonic_ns() - self.sent_ns;
  pool.probe_back_.notify_all();
}

void dirty_pool::measure_switch() noexcept {
  std::array<std::uint64_t, probes> times{};
  std::size_t n = 0;
  const std::uint64_t began = monotonic_ns();
  std::unique_lock lock(mutex_);
  while (n < probes && !stopping_) {
    const std::uint64_t start = monotonic_ns();
    const std::uint64_t spent = start - began;
    if (n != 0 && spent >= probing_ns_max)
      break;  // the first is sent however late: who is late says so when it is back
    probe_.is_back = false;
    probe_.sent_ns = start;
    lock.unlock();
    owner_.schedule(&probe_, settings_.probed_worker, true);
    lock.lock();
    const auto left = std::chrono::nanoseconds(probing_ns_max - std::min(spent, probing_ns_max));
    // A busy worker gets to it later; nobody waits for it then, and it is not sent again, since it is in a queue.
    if (!probe_back_.wait_for(lock, left, [this] { return probe_.is_back || stopping_; }) || !probe_.is_back) break;
    times[n++] = monotonic_ns() - start;
  }
  probe_.is_late = n == 0;
  if (n == 0) return;
  std::sort(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(n));
  figures_.switch_ns = times[n / 2];
}

// ---- a scheduler's pools -------------------------------------------------------------------------------------------

namespace {

void add_units(const binding_plan& plan, const node_binding& node, std::vector<std::uint32_t>& to) {
  for (const std::uint32_t w : node.workers) {
    if (const auto unit = plan.workers[w].unit_os_index) to.push_back(*unit);
  }
}

}  // namespace

dirty_pools::dirty_pools(scheduler& owner, const dirty_options& options) {
  const binding_plan& plan = owner.plan();
  dirty_pool::settings io;
  io.kind = dirty_kind::io;
  io.threads_max = options.io_threads;
  io.jobs_max = options.offload_queue_limit;
  for (unsigned i = 0; i < plan.nodes.size(); ++i) {
    const node_binding& node = plan.nodes[i];
    dirty_pool::settings cpu;
    cpu.number = i;
    cpu.threads_max = options.cpu_threads.value_or(static_cast<std::uint32_t>(node.workers.size()));
    cpu.jobs_max = options.offload_queue_limit;
    cpu.probed_worker = node.workers.front();
    add_units(plan, node, cpu.units);
    add_units(plan, node, io.units);
    cpu_.push_back(std::make_unique<dirty_pool>(owner, std::move(cpu)));
  }
  io.probed_worker = 0;  // is there, however few threads the system has
  io_ = std::make_unique<dirty_pool>(owner, std::move(io));
}

bool dirty_pools::is_own_thread() const noexcept {
  bool any = false;
  for_each([&](const dirty_pool& pool) { any = any || pool.is_own_thread(); });
  return any;
}

dirty_pool::figures dirty_pools::look(dirty_kind kind) const noexcept {
  if (kind == dirty_kind::io) return io_->look();
  dirty_pool::figures sum;
  for (const auto& pool : cpu_) {
    const dirty_pool::figures f = pool->look();
    sum.threads += f.threads;
    sum.queued += f.queued;
    sum.running += f.running;
    sum.run += f.run;
    sum.refused += f.refused;
    sum.in_place += f.in_place;
    sum.switch_ns = std::max(sum.switch_ns, f.switch_ns);
  }
  return sum;
}

bool dirty_pools::is_busy() const noexcept {
  bool any = false;
  for_each([&](const dirty_pool& pool) { any = any || pool.is_busy(); });
  return any;
}

}  // namespace karyon::detail
