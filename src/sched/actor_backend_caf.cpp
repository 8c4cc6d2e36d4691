#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <exception>
#include <memory>
#include <new>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/detail/thread_safe_actor_clock.hpp>
#include <caf/execution_unit.hpp>
#include <caf/resumable.hpp>
#include <caf/scheduler/abstract_coordinator.hpp>

#include "sched/actor_backend.hpp"
#include "sched/scheduler.hpp"
#include "sched/simulation.hpp"

namespace karyon::detail {

namespace {

/// A stock CAF actor (or any resumable) as a task of ours. Holds the reference that CAF passes with each enqueue.
struct foreign_task : task {
  caf::resumable* what;
  explicit foreign_task(caf::resumable* r) noexcept : task(&run_it), what(r) {}
  static void run_it(task* t, worker& w);
};

void submit(scheduler& s, caf::resumable* what) {
  foreign_task* t = nullptr;
  try {
    t = new foreign_task(what);
  } catch (...) {
    intrusive_ptr_release(what);
    throw;
  }
  s.schedule(t, s.next_worker(), false);
}

/// What CAF actors see of a worker.
class worker_unit final : public caf::execution_unit {
public:
  worker_unit(caf::actor_system* system, scheduler& s) : caf::execution_unit(system), scheduler_(s) {}
  void exec_later(caf::resumable* what) override { submit(scheduler_, what); }

private:
  scheduler& scheduler_;
};

void foreign_task::run_it(task* t, worker& w) {
  auto* self = static_cast<foreign_task*>(t);
  auto* unit = static_cast<worker_unit*>(w.backend);
  caf::resumable* what = self->what;
  switch (what->resume(unit, w.owner().signals_per_turn())) {
    case caf::resumable::resume_later:
      // Behind the others of this worker.
      w.push_local_again(t);
      return;
    case caf::resumable::awaiting_message:
    case caf::resumable::done:
      delete self;
      intrusive_ptr_release(what);
      return;
    case caf::resumable::shutdown_execution_unit: delete self; return;
  }
}

/// Whether the system has room for one more thread, found out by making one. When this returns its place is free again: the
/// kernel counts a thread that was joined until it is gone altogether.
bool has_room_for_thread() {
  std::atomic<pid_t> id{0};
  try {
    std::thread([&id] { id = gettid(); }).join();
  } catch (const std::system_error&) {
    return false;
  }
  while (::tgkill(getpid(), id, 0) == 0) std::this_thread::yield();
  return true;
}

/// CAF's scheduler module: hands everything to our workers. Stock actors get fairness from signals_per_turn.
class coordinator final : public caf::scheduler::abstract_coordinator {
public:
  using super = caf::scheduler::abstract_coordinator;
  coordinator(caf::actor_system& sys, detail::scheduler& s, std::exception_ptr& failure)
      : super(sys), scheduler_(s), failure_(failure) {}
  coordinator(const coordinator&) = delete;
  coordinator& operator=(const coordinator&) = delete;
  ~coordinator() override = default;

  void enqueue(caf::resumable* what) override { submit(scheduler_, what); }
  caf::actor_clock& clock() noexcept override { return clock_; }

  /// Fails silently: an exception in its constructor is more than actor_system can unwind. The backend asks afterwards.
  void start() override {
    try {
      if (current_simulation == nullptr) {  // CAF's clock and its printing actor have threads of their own
        clock_thread_ = std::thread([this] { clock_.run_dispatch_loop(); });
        // Nor can it unwind an actor whose thread can not be had. Without the printer only caf::aout is missing.
        if (has_room_for_thread()) {
          super::start();
          started_actors_ = true;
        }
      }
      // Ours last: the workers make do with the threads that are left.
      scheduler_.start();
    } catch (...) {
      failure_ = std::current_exception();
    }
  }

  void stop() override { halt(); }

private:
  /// Ends all threads and releases what they had still to run. A second time it finds nothing to do.
  void halt() {
    if (std::exchange(started_actors_, false)) stop_actors();
    if (clock_thread_.joinable()) {
      clock_.cancel_dispatch_loop();
      clock_thread_.join();
    }
    scheduler_.stop();
    scheduler_.drain([](task* t) { actor_backend::release_task(t); });
  }

  detail::scheduler& scheduler_;  // qualified: CAF's modules have an enumerator of that name
  std::exception_ptr& failure_;
  caf::detail::thread_safe_actor_clock clock_;
  std::thread clock_thread_;
  bool started_actors_ = false;
};

struct config : caf::actor_system_config {
  config(scheduler& s, std::exception_ptr& failure) {
    set("scheduler.max-threads", static_cast<std::size_t>(s.size()));
    set("scheduler.max-throughput", static_cast<std::size_t>(s.signals_per_turn()));
    set("logger.verbosity", caf::atom("quiet"));
    module_factories.push_back(
        [&](caf::actor_system& sys) -> caf::actor_system::module* { return new coordinator(sys, s, failure); });
  }
};

}  // namespace

struct actor_backend::state {
  explicit state(scheduler& s) : settings(s, failure) {}
  void destroy_system() noexcept {
    // Workers ask for the system until its destructor has stopped them.
    caf::actor_system* const last = system.get();
    last->~actor_system();
    static_cast<void>(system.release());
    ::operator delete (last, std::align_val_t{alignof(caf::actor_system)});
  }
  std::exception_ptr failure;  // of the coordinator's start
  config settings;
  std::vector<std::unique_ptr<worker_unit>> units;
  std::unique_ptr<caf::actor_system> system;
};

actor_backend::actor_backend(scheduler& s) : state_(std::make_unique<state>(s)) {
  // Units must exist before start() lets threads run, and need the system, which starts them in its constructor. They
  // only keep its address until then.
  auto* memory = ::operator new (sizeof(caf::actor_system), std::align_val_t{alignof(caf::actor_system)});
  auto* system = static_cast<caf::actor_system*>(memory);
  try {
    for (unsigned i = 0; i < s.size(); ++i) {
      state_->units.push_back(std::make_unique<worker_unit>(system, s));
      s.at(i).backend = state_->units.back().get();
    }
    ::new (memory) caf::actor_system(state_->settings);
  } catch (...) {
    ::operator delete (memory, std::align_val_t{alignof(caf::actor_system)});
    throw;
  }
  state_->system.reset(system);
  // Karyon's runtime counts its own cells; stock actors that a host forgot must not hold up the shutdown for ever.
  system->await_actors_before_shutdown(false);
  if (state_->failure != nullptr) {
    state_->destroy_system();
    std::rethrow_exception(state_->failure);
  }
}

actor_backend::~actor_backend() { state_->destroy_system(); }

void* actor_backend::system() noexcept { return state_->system.get(); }

void* actor_backend::current_unit() noexcept {
  worker* w = worker::current();
  return w != nullptr ? w->backend : nullptr;
}

void actor_backend::release_task(task* t) noexcept {
  if (pool_job::is(t)) return pool_job::of(t).discard();
  if (t->run != &foreign_task::run_it) return;
  auto* foreign = static_cast<foreign_task*>(t);
  caf::resumable* what = foreign->what;
  delete foreign;
  // Actors that will never run again answer their requesters; other resumables are just let go.
  caf::scheduler::abstract_coordinator::cleanup_and_release(what);
}

}  // namespace karyon::detail
