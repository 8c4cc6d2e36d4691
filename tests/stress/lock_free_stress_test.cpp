// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "sched/parker.hpp"
#include "sched/remote_queue.hpp"
#include "sched/timer_wheel.hpp"
#include "supervise/restart_budget.hpp"
#include "support/catch.hpp"

namespace karyon::detail {
class worker {};  // the wheel hands it through, and looks at nothing of it
}  // namespace karyon::detail

namespace {

using karyon::detail::parker;
using karyon::detail::remote_queue;
using karyon::detail::restart_budget;
using karyon::detail::task;
using karyon::detail::timer;
using karyon::detail::timer_wheel;
using karyon::detail::worker;

}  // namespace

TEST_CASE("a sleeper that two threads keep waking gets everything, and then sleeps until told to stop") {
  constexpr unsigned each = 20'000;
  struct job : task {
    unsigned content = 0;
  };
  remote_queue inbox;
  parker bed;
  std::atomic<bool> stop{false};
  std::uint64_t sum = 0;  // the sleeper's
  std::thread sleeper([&] {
    while (true) {
      for (task* t = inbox.take_all(); t != nullptr; t = t->next) sum += static_cast<job*>(t)->content;
      bed.prepare();
      if (inbox.has_tasks()) {
        bed.cancel();
      } else if (stop.load(std::memory_order_seq_cst)) {
        bed.cancel();
        return;
      } else {
        bed.sleep(0);
      }
    }
  });
  const auto jobs = std::make_unique<std::array<std::array<job, each>, 2>>();
  std::vector<std::thread> wakers;
  for (auto& mine : *jobs) {
    wakers.emplace_back([&inbox, &bed, &mine] {
      for (unsigned i = 0; i < each; ++i) {
        mine[i].content = i;
        inbox.push(&mine[i]);
        bed.wake();
      }
    });
  }
  for (std::thread& t : wakers) t.join();
  stop.store(true, std::memory_order_seq_cst);
  bed.wake();
  sleeper.join();
  CHECK(sum == std::uint64_t{each} * (each - 1));
}

TEST_CASE("of a cancel and a deadline at the same time one wins, and the loser leaves the record alone") {
  constexpr unsigned rounds = 2'000;
  struct record : timer {
    unsigned winner = 0;  // written by the winner, without an atomic
  };
  unsigned doubtful = 0;
  for (unsigned round = 0; round < rounds; ++round) {
    timer_wheel wheel(0);
    worker w;
    record r;
    r.fire = [](timer* t, worker&) { static_cast<record*>(t)->winner += 1; };
    wheel.start(r, 1);
    std::thread canceller([&r] {
      if (r.claim(timer::cancelled)) r.winner += 2;
    });
    wheel.advance(std::uint64_t{2} << timer_wheel::tick_shift, w);
    canceller.join();
    const unsigned state = r.state_word.load(std::memory_order_relaxed);
    if (r.winner != (state == timer::fired ? 1U : 2U)) ++doubtful;
    if (!wheel.empty()) ++doubtful;
  }
  CHECK(doubtful == 0);
}

TEST_CASE("threads that restart at one moment get exactly the restarts that the budget has") {
  constexpr std::uint32_t restarts = 10'000;  // more than one chunk, so that its allocation races too
  constexpr unsigned threads_count = 3;
  restart_budget budget(restarts, 1'000);
  auto burst = [&budget](std::uint64_t now) {
    std::atomic<std::uint32_t> allowed{0};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < threads_count; ++t) {
      threads.emplace_back([&] {
        std::uint32_t mine = 0;
        for (unsigned i = 0; i < restarts / 2; ++i) mine += budget.add(now) ? 1U : 0U;
        allowed.fetch_add(mine, std::memory_order_relaxed);
      });
    }
    for (std::thread& t : threads) t.join();
    return allowed.load();
  };
  CHECK(burst(5'000) == restarts);
  CHECK(burst(6'000) == 0);  // the period is not over
  CHECK(burst(60'000) == restarts);
}
