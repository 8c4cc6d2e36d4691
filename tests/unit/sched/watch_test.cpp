// SPDX-License-Identifier: Apache-2.0
// The watch by itself: the test tells it the time, so it is the same on any machine.
#include "sched/watch.hpp"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "sched/scheduler.hpp"
#include "sched/thread_usage.hpp"
#include "support/catch.hpp"
#include "unit/sched/sched_testing.hpp"

using namespace karyon;
using namespace karyon::detail;
using namespace karyon::tests;

namespace {

/// A turn whose handler waits, blocked, until it is let go.
struct held_turn : task {
  held_turn() : task(&run_it) {}
  static void run_it(task* t, worker&) {
    auto& self = *static_cast<held_turn*>(t);
    current_seat->begin_turn(&self);
    current_seat->now(&self.what);
    self.tid = gettid();
    self.gate.wait(false);
    static_cast<void>(current_seat->cover());
    current_seat->end_turn();
    self.over = true;
  }
  void let_go() {
    gate = true;
    gate.notify_all();
  }
  int what = 0;
  std::atomic<int> tid{0};
  std::atomic<bool> gate{false};
  std::atomic<bool> over{false};
};

/// A worker that is watched, beside the one of a scheduler that is not.
struct watched_worker {
  watched_worker() {
    scheduler_options unwatched;
    unwatched.watch.enabled = false;
    owner = std::make_unique<scheduler>(one_worker(), unwatched, scheduler_hooks{});
    owner->start();
    watched = std::make_unique<worker>(*owner, 0, owner->plan().workers[0], domain);
    threads = std::make_unique<crew>(owner->clock(), 0);
    threads->start(*watched, true);
  }
  ~watched_worker() {
    turn.let_go();  // if a check has failed before
    owner->stop();
    watched->push_remote(&last, &last);  // wakes it
    threads->stop();
  }
  held_turn turn;
  std::unique_ptr<scheduler> owner;
  worker_domain domain;
  task last{[](task*, worker&) {}};
  std::unique_ptr<worker> watched;
  std::unique_ptr<crew> threads;
};

struct told {
  std::uint64_t at_ns;
  overrun of;
};

}  // namespace

TEST_CASE("a handler that does not return is told of at its limit, named again within 10 ms, and once each") {
  constexpr std::uint64_t limit_ns = 1'000'000;
  watched_worker f;
  held_turn& turn = f.turn;
  std::uint64_t now_ns = 1'000'000'000;
  std::vector<told> begins;
  std::vector<told> goes_on;
  std::vector<told> ended;
  const auto write_to = [&now_ns](std::vector<told>& to) {
    return [&now_ns, &to](const overrun& o) { to.push_back({now_ns, o}); };
  };
  watch_options options;
  options.take_over = false;
  watch looks(*f.threads, options, {write_to(begins), write_to(goes_on), write_to(ended), {}});

  CHECK(looks.look(now_ns) > pulse::tick_ns);  // nothing runs: no look is wanted before the next tick's
  f.watched->push_remote(&turn, &turn);
  // Blocked, and so known to be what keeps the worker.
  REQUIRE(eventually([&] { return turn.tid != 0 && !thread_usage::is_runnable(turn.tid); }));
  const std::uint64_t seen_ns = now_ns;
  for (int tick = 0; tick < 100; ++tick) {  // as the pulse does
    const std::uint64_t wanted_ns = looks.look(now_ns);
    if (wanted_ns < pulse::tick_ns) {
      now_ns += wanted_ns;
      static_cast<void>(looks.look(now_ns));
      now_ns += pulse::tick_ns - wanted_ns;
    } else {
      now_ns += pulse::tick_ns;
    }
  }
  REQUIRE(begins.size() == 1);
  CHECK(begins[0].at_ns - seen_ns == limit_ns);
  CHECK(begins[0].of.whom == &turn);
  CHECK(begins[0].of.what == &turn.what);
  CHECK(begins[0].of.running_ns == limit_ns);
  REQUIRE(goes_on.size() == 1);
  // It may have begun right after the tick before the one that first saw it.
  CHECK(goes_on[0].at_ns - seen_ns + pulse::tick_ns <= 10'000'000);
  CHECK(goes_on[0].of.whom == &turn);
  CHECK(ended.empty());
  CHECK(looks.overruns() == 1);

  turn.let_go();
  REQUIRE(eventually([&] { return turn.over.load(); }));
  static_cast<void>(looks.look(now_ns));
  static_cast<void>(looks.look(now_ns + pulse::tick_ns));
  REQUIRE(ended.size() == 1);
  CHECK(ended[0].of.whom == &turn);
  CHECK(begins.size() == 1);
}
