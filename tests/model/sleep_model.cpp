// SPDX-License-Identifier: Apache-2.0
#include "model.hpp"

#include "sched/parker.cpp"
#include "sched/remote_queue.hpp"
#include "sched/run_queue.hpp"

// How a worker falls asleep and is woken, and how tasks go from worker to worker: the real queues and parker; around them
// worker::idle, worker::donate_to and worker::pick_elsewhere.
//
// mirrors src/sched/worker.hpp
//| inbox_.push(first, last);
//| parker_.wake();
//
// mirrors src/sched/worker.cpp
//| parker_.prepare();
//| if (has_remote_work()) {
//| parker_.cancel();
//
// mirrors src/sched/worker.cpp
//| if (!receiver.hungry_.exchange(false, std::memory_order_relaxed)) return false;
//| receiver.domain_.hungry.fetch_sub(1, std::memory_order_relaxed);
//
// mirrors src/sched/worker.hpp
//| task* const t = queue_.pop();
//| return t != nullptr ? t : again_.pop();
//
// mirrors src/sched/worker.cpp
//| last->next = t;
//| last = t;
//
// mirrors src/sched/worker.cpp
//| receiver.push_remote(first, last);
//| return true;
//
// mirrors src/sched/worker.cpp
//| if (task* t = taken_) {
//| taken_ = t->next;
//
// mirrors src/sched/worker.cpp
//| if (hungry_.exchange(false, std::memory_order_relaxed)) domain_.hungry.fetch_sub(1, std::memory_order_relaxed);
//
// mirrors src/sched/worker.cpp
//| hungry_.store(true, std::memory_order_relaxed);
//| domain_.hungry.fetch_add(1, std::memory_order_relaxed);

namespace {

using karyon::detail::parker;
using karyon::detail::remote_queue;
using karyon::detail::run_queue;
using karyon::detail::task;

struct job : task {
  rl::var<int> content{0};
};

struct sleeper {
  remote_queue inbox;
  parker bed;
  model::futex kernel;

  void push(task& t) {
    inbox.push(&t);
    bed.wake();
  }
};

enum class second_look { kept, left_out };

/// Two threads bring work to a worker that sleeps whenever it finds none.
template <second_look Look>
struct waking : rl::test_suite<waking<Look>, 3> {
  sleeper worker;
  job jobs[4];

  void thread(unsigned index) {
    if (index != 0) {
      for (unsigned i = 0; i < 2; ++i) {
        job& j = jobs[(index - 1) * 2 + i];
        j.content($) = 7;
        worker.push(j);
      }
      return;
    }
    int done = 0;
    while (true) {
      for (task* t = worker.inbox.take_all(); t != nullptr; t = t->next) {
        RL_ASSERT(static_cast<job*>(t)->content($) == 7);
        static_cast<job*>(t)->content($) = 8;
        ++done;
      }
      if (done == 4) return;
      worker.bed.prepare();
      if (Look == second_look::kept && worker.inbox.has_tasks()) {
        worker.bed.cancel();
      } else {
        worker.bed.sleep(0);  // Relacy tells of a deadlock if nobody wakes it
      }
    }
  }
};

/// A worker's own: what was woken, and what has used up a turn.
struct own_queues {
  run_queue woken;
  run_queue again;
  [[nodiscard]] std::size_t size() const { return woken.size() + again.size(); }
  [[nodiscard]] task* pop() {
    task* t = woken.pop();
    return t != nullptr ? t : again.pop();
  }
};

/// Two busy workers share with a hungry one: half of what is in their queues, in one chain. The last thing that each sends it is a
/// farewell. Each task has two turns, the second on the worker that it has had the first on.
struct sharing : rl::test_suite<sharing, 3> {
  static constexpr int tasks_each = 4;
  sleeper worker;
  std::atomic<bool> hungry;
  std::atomic<std::uint32_t> all_hungry;
  job tasks[2][tasks_each];
  job farewells[2];
  rl::var<int> given[2] = {0, 0};
  rl::var<int> run_by_donors[2] = {0, 0};
  rl::var<int> run_by_worker{0};

  void before() {
    hungry.store(false, std::memory_order_relaxed);
    all_hungry.store(0, std::memory_order_relaxed);
  }
  /// A turn of a task that is in no queue; it goes back into the worker's own after its first one.
  static void turn(task* t, own_queues& own) {
    auto& j = *static_cast<job*>(t);
    const int turns = j.content($) + 1;
    j.content($) = turns;
    RL_ASSERT(turns <= 2);
    if (turns == 1) own.again.push(t);
  }
  static int run_all(own_queues& own) {
    int n = 0;
    for (; task* t = own.pop(); ++n) turn(t, own);
    return n;
  }
  void donate(own_queues& own, unsigned me) {
    if (all_hungry.load(std::memory_order_relaxed) == 0 || !hungry.load(std::memory_order_relaxed)) return;
    if (!hungry.exchange(false, std::memory_order_relaxed)) return;
    all_hungry.fetch_sub(1, std::memory_order_relaxed);
    const std::size_t n = own.size() / 2;
    task* const first = own.pop();
    task* last = first;
    for (std::size_t i = 1; i < n; ++i) {
      task* t = own.pop();
      last->next = t;
      last = t;
    }
    given[me]($) = static_cast<int>(n);
    worker.inbox.push(first, last);
    worker.bed.wake();
  }
  void thread(unsigned index) {
    own_queues own;
    if (index != 0) {
      const unsigned me = index - 1;
      for (job& j : tasks[me]) {
        j.content($) = 0;
        (&j == &tasks[me][0] ? own.woken : own.again).push(&j);
      }
      donate(own, me);
      run_by_donors[me]($) = run_all(own);
      farewells[me].content($) = -1;
      worker.push(farewells[me]);
      return;
    }
    int farewells_seen = 0;
    int ran = 0;
    while (true) {
      if (task* taken = worker.inbox.take_all()) {
        while (task* t = taken) {
          taken = t->next;
          if (static_cast<job*>(t)->content($) == -1) {
            ++farewells_seen;
          } else {
            turn(t, own);
            ++ran;
          }
        }
        ran += run_all(own);
        continue;
      }
      if (farewells_seen == 2) break;
      hungry.store(true, std::memory_order_relaxed);
      all_hungry.fetch_add(1, std::memory_order_relaxed);
      worker.bed.prepare();
      if (worker.inbox.has_tasks()) {
        worker.bed.cancel();
      } else {
        worker.bed.sleep(0);
      }
      if (hungry.exchange(false, std::memory_order_relaxed)) all_hungry.fetch_sub(1, std::memory_order_relaxed);
    }
    run_by_worker($) = ran;
  }
  void after() {
    for (auto& by_donor : tasks) {
      for (job& j : by_donor) RL_ASSERT(j.content($) == 2);
    }
    RL_ASSERT(run_by_worker($) == 2 * (given[0]($) + given[1]($)));
    RL_ASSERT(run_by_worker($) + run_by_donors[0]($) + run_by_donors[1]($) == 2 * 2 * tasks_each);
    RL_ASSERT(!hungry.load(std::memory_order_relaxed));
    RL_ASSERT(all_hungry.load(std::memory_order_relaxed) == 0);
  }
};

}  // namespace

int main() {
  constexpr const char* slow = "off the fast path; one rule for all operations on the word but cancel";
  return model::suite("Sleeping and waking", {"parker.hpp", "parker.cpp", "remote_queue.hpp", "sleep_model.cpp"})
      .holds<waking<second_look::kept>>("whatever is pushed is run, and a worker with work does not sleep", 40'000)
      .holds<sharing>("each task has its turns, wherever it is given, and the count of hungry workers stays true",
                      20'000)
      .fails<waking<second_look::left_out>>("no second look before sleeping", 40'000)
      .unshown("parker.cpp wake_slow cas seq_cst -> acq_rel", slow)
      .unshown("parker.cpp sleep load seq_cst -> acquire", slow)
      .unshown("parker.cpp sleep store seq_cst -> release", slow)
      .check();
}
