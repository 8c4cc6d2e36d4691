#include "sched/thread_usage.hpp"

#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <future>
#include <thread>

#include "support/catch.hpp"

using karyon::detail::thread_usage;

namespace {

/// Computes until told to stop, on one core if asked to, and only where nobody else wants it if asked to.
class busy_thread {
public:
  busy_thread(int core, bool idle_only) : thread_([this, core, idle_only] { run(core, idle_only); }) { tid_.wait(0); }
  ~busy_thread() {
    stop_ = true;
    thread_.join();
  }
  int tid() const { return tid_; }
  std::uint64_t cpu_ns() { return thread_usage::cpu_ns(tid_); }

private:
  void run(int core, bool idle_only) {
    cpu_set_t where;
    CPU_ZERO(&where);
    CPU_SET(static_cast<unsigned>(core), &where);
    sched_setaffinity(0, sizeof where, &where);
    const sched_param none{};
    if (idle_only) sched_setscheduler(0, SCHED_IDLE, &none);
    tid_ = gettid();
    tid_.notify_one();
    while (!stop_.load(std::memory_order_relaxed)) {
    }
  }

  std::atomic<int> tid_{0};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace

TEST_CASE("a thread that computes beside one that may have the core first wants a core and hardly gets it") {
  const int core = sched_getcpu();
  busy_thread starved(core, true);
  busy_thread fed(core, false);
  const std::uint64_t before_starved = starved.cpu_ns();
  const std::uint64_t before_fed = fed.cpu_ns();
  while (fed.cpu_ns() - before_fed < 100'000'000) std::this_thread::yield();
  CHECK(starved.cpu_ns() - before_starved < 50'000'000);
  CHECK(thread_usage::is_runnable(starved.tid()));
  CHECK(thread_usage::is_runnable(fed.tid()));
}

TEST_CASE("a thread that waits for another wants no core") {
  std::promise<void> go;
  std::promise<int> started;
  std::thread waiting([&] {
    started.set_value(gettid());
    go.get_future().wait();
  });
  const int tid = started.get_future().get();
  while (thread_usage::is_runnable(tid)) std::this_thread::yield();
  const std::uint64_t used = thread_usage::cpu_ns(tid);
  CHECK(used > 0);
  CHECK(thread_usage::cpu_ns(tid) == used);
  go.set_value();
  waiting.join();
}

TEST_CASE("a thread that has ended wants no core, and has used none that anybody knows") {
  int tid = 0;
  std::thread([&tid] { tid = gettid(); }).join();
  CHECK_FALSE(thread_usage::is_runnable(tid));
  CHECK(thread_usage::cpu_ns(tid) == 0);
}
