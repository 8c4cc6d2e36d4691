// SPDX-License-Identifier: Apache-2.0
// Placement in motion where it meets the rest: workers that are taken over, dirty pools, coroutines, timers.
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <memory>
#include <random>

#include <karyon/cell/task.hpp>

#include "unit/cell/placement_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

/// With a limit that handlers do not exceed because the machine is busy.
runtime_options on(const topology& machine, std::chrono::microseconds limit = 20ms) {
  runtime_options o = quiet(0);
  o.machine = &machine;
  o.scheduler.watch.limit = limit;
  o.scheduler.watch.stacks = false;
  return o;
}
topology one_node() { return topology::from_synthetic("pack:1 numa:1 l3:1 core:2 pu:1").value(); }

std::uint32_t node_of(const runtime& rt, std::uint32_t worker) {
  return worker == no_worker ? no_worker : rt.plan().workers[worker].node;
}

bool all_back(const runtime& rt) {
  return eventually([&] { return rt.metrics().workers_away == 0; });
}

struct hold {
  std::uint32_t then_to = no_worker;  // migrates to that node before it returns, if there is one
};
struct where {};
struct thread_id {};
struct units {};
struct told {};

/// Holds its worker until the door opens.
class holder : public cell {
public:
  using accepts = signals<hold, where, thread_id, units, number, told>;
  holder(const door& d, std::atomic<int>& holding) : door_(&d), holding_(&holding) {}
  void on(hold h) {
    holding_->fetch_add(1);
    while (!door_->is_open()) {
    }
    if (h.then_to != no_worker) moved_ = migrate_to(h.then_to).has_value();
    holding_->fetch_sub(1);
  }
  std::uint32_t on(where) { return here(); }
  int on(thread_id) { return gettid(); }
  std::vector<int> on(units) {
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof set, &set);
    std::vector<int> all;
    for (int u = 0; u < CPU_SETSIZE; ++u) {
      if (CPU_ISSET(u, &set)) all.push_back(u);
    }
    return all;
  }
  void on(number n) { numbers_.append(std::to_string(n.value)).append(moved_ ? "+ " : " "); }
  std::string on(told) { return numbers_; }

private:
  const door* door_;
  std::atomic<int>* holding_;
  std::string numbers_;
  bool moved_ = false;
};

struct spawn_here {};
/// Spawns a holder whose home is this worker, but which is not pinned.
class parent : public cell {
public:
  using accepts = signals<spawn_here>;
  parent(const door& d, std::atomic<int>& holding) : door_(&d), holding_(&holding) {}
  ref<holder> on(spawn_here) { return spawn<holder>(*door_, *holding_); }

private:
  const door* door_;
  std::atomic<int>* holding_;
};

}  // namespace

TEST_CASE("a worker is switched off while a handler holds its thread: its cells go elsewhere, and so does that one") {
  door open;
  std::atomic<int> holding{0};
  const topology machine = one_node();
  runtime rt(on(machine));
  const auto family = rt.spawn_at<parent>(placement::on_worker(1), open, holding);
  const auto held = rt.ask(family, spawn_here{}, long_time).value();
  const auto beside = rt.ask(family, spawn_here{}, long_time).value();
  const auto pinned = rt.spawn_at<holder>(placement::on_worker(1), open, holding);
  held.send(number{1});
  held.send(hold{});
  held.send(number{2});
  REQUIRE(eventually([&] { return holding == 1 && rt.metrics().workers_away >= 1; }));
  REQUIRE(rt.set_workers(1).has_value());
  CHECK(eventually([&] { return rt.ask(beside, where{}, long_time).value() == 0; }));
  CHECK(rt.ask(pinned, where{}, long_time).value() == 1);  // by a spare, if that worker is the one that was taken over
  held.send(number{3});
  open.open();
  CHECK(rt.ask(held, told{}, long_time).value() == "1 2 3 ");
  CHECK(eventually([&] { return rt.ask(held, where{}, long_time).value() == 0; }));
  REQUIRE(all_back(rt));
  REQUIRE(rt.set_workers(2).has_value());
  CHECK(rt.ask(pinned, where{}, long_time).value() == 1);
  CHECK(rt.shutdown(long_time).complete);
}

TEST_CASE("a cell whose handler lost its worker migrates when the handler is through, whoever has asked for it") {
  const topology machine = two_nodes();
  door open;
  std::atomic<int> holding{0};
  runtime rt(on(machine));
  const auto held = rt.spawn_at<holder>(placement::on_node(0), open, holding);
  SECTION("another thread") {
    held.send(hold{});
    REQUIRE(eventually([&] { return holding == 1 && rt.metrics().workers_away >= 1; }));
    auto report = rt.migrate(held, 1);
    for (int i = 1; i <= 3; ++i) held.send(number{i});
    CHECK_FALSE(report.ready());
    CHECK(rt.metrics().migrations == 0);
    open.open();
    const auto done = report.get(long_time);
    REQUIRE(done.has_value());
    CHECK(node_of(rt, done->worker) == 1);
    CHECK(rt.ask(held, told{}, long_time).value() == "1 2 3 ");
  }
  SECTION("itself, by that handler") {
    held.send(hold{1});
    REQUIRE(eventually([&] { return holding == 1 && rt.metrics().workers_away >= 1; }));
    for (int i = 1; i <= 3; ++i) held.send(number{i});
    open.open();
    CHECK(rt.ask(held, told{}, long_time).value() == "1+ 2+ 3+ ");
  }
  CHECK(eventually([&] { return node_of(rt, rt.ask(held, where{}, long_time).value()) == 1; }));
  CHECK(rt.metrics().migrations == 1);
  REQUIRE(all_back(rt));
}

TEST_CASE("a spare thread that has run a worker of the node is taken before others, and runs on that worker's unit") {
  // One worker a node. Both are held, and let go one after the other: then there is a spare that has run each.
  const topology machine = topology::from_synthetic("pack:1 numa:2 core:1 pu:1").value();
  for (const std::uint32_t first : {0u, 1u}) {
    std::atomic<int> holding{0};
    runtime rt(on(machine, 200ms));
    REQUIRE(rt.workers() == 2);
    door doors[2];
    door last;
    int threads[2];
    std::vector<int> bound_to[2];
    ref<holder> cells[2];
    for (std::uint32_t w = 0; w < 2; ++w) {
      cells[w] = rt.spawn_at<holder>(placement::on_worker(w), doors[w], holding);
      threads[w] = rt.ask(cells[w], thread_id{}, long_time).value();
      bound_to[w] = rt.ask(cells[w], units{}, long_time).value();
      cells[w].send(hold{});
    }
    REQUIRE(eventually([&] { return rt.metrics().take_overs == 2; }));
    doors[first].open();
    REQUIRE(eventually([&] { return rt.metrics().workers_away == 1; }));
    doors[1 - first].open();
    REQUIRE(all_back(rt));
    // The spare of worker `first` came back before the other, and is taken all the same.
    const auto again = rt.spawn_at<holder>(placement::on_worker(first), last, holding);
    const auto beside = rt.spawn_at<holder>(placement::on_worker(first), last, holding);
    CHECK(rt.ask(beside, thread_id{}, long_time).value() != threads[first]);
    CHECK(rt.ask(beside, units{}, long_time).value() == bound_to[first]);
    again.send(hold{});
    REQUIRE(eventually([&] { return rt.metrics().take_overs == 3; }));
    CHECK(rt.ask(beside, thread_id{}, long_time).value() == threads[first]);
    CHECK(rt.ask(beside, units{}, long_time).value() == bound_to[first]);
    last.open();
    REQUIRE(all_back(rt));
    CHECK(rt.metrics().threads == 4);
  }
}

// ---- dirty pools ---------------------------------------------------------------------------------------------------

namespace {

struct compute {};
struct wait_heavily {};

class digger : public cell {
public:
  using accepts = signals<compute, wait_heavily, where>;
  using dirty_cpu = signals<compute, wait_heavily>;
  digger(const door& d, std::atomic<int>& waiting) : door_(&d), waiting_(&waiting) {}
  std::string on(compute) {
    char name[16] = {};
    pthread_getname_np(pthread_self(), name, sizeof name);
    return name;
  }
  void on(wait_heavily) {
    waiting_->fetch_add(1);
    door_->pass();
  }
  std::uint32_t on(where) { return here(); }

private:
  const door* door_;
  std::atomic<int>* waiting_;
};

}  // namespace

TEST_CASE(
    "a cell that is on a dirty pool migrates before its next heavy handler, which runs on the other node's pool") {
  const topology machine = two_nodes();
  door open;
  std::atomic<int> waiting{0};
  runtime rt(on(machine));
  const auto c = rt.spawn_at<digger>(placement::on_node(0), open, waiting);
  CHECK(rt.ask(c, compute{}, long_time).value().starts_with("karyon.c0."));
  c.send(wait_heavily{});
  auto next = rt.ask_async(c, compute{});
  REQUIRE(eventually([&] { return waiting == 1; }));
  auto report = rt.migrate(c, 1);
  CHECK_FALSE(report.ready());
  open.open();
  CHECK(report.get(long_time).value().node == 1);
  CHECK(next.get(long_time).value().starts_with("karyon.c1."));
  CHECK(eventually([&] { return node_of(rt, rt.ask(c, where{}, long_time).value()) == 1; }));
}

TEST_CASE(
    "a cell that waits for a thread of a dirty pool when its worker is switched off comes back to one that is on") {
  door open;
  std::atomic<int> waiting{0};
  const topology machine = one_node();
  runtime_options o = on(machine);
  o.scheduler.dirty.cpu_threads = 1;
  runtime rt(o);
  std::vector<ref<digger>> all;
  for (int i = 0; i < 8; ++i) {
    all.push_back(rt.spawn_at<digger>(placement::spread(), open, waiting));
    all.back().send(wait_heavily{});
  }
  REQUIRE(eventually([&] { return waiting == 1 && rt.metrics().dirty_cpu.queued == 7; }));
  REQUIRE(rt.set_workers(1).has_value());
  open.open();
  CHECK(eventually([&] {
    bool all_on_0 = true;
    for (const auto& w : ask_each(rt, all, where{})) all_on_0 = all_on_0 && w.value() == 0;
    return all_on_0;
  }));
  CHECK(waiting == 8);
}

// ---- coroutines and timers -----------------------------------------------------------------------------------------

namespace {

struct answer_all {};
struct asked {};
class oracle : public cell {
public:
  using accepts = signals<get, asked, answer_all>;
  deferred<int> on(get) {
    asked_.push_back(defer<int>());
    return {};
  }
  std::size_t on(asked) { return asked_.size(); }
  void on(answer_all) {
    for (auto& p : asked_) p.answer(7);
    asked_.clear();
  }

private:
  std::vector<promise<int>> asked_;
};

struct wait_for_it {};
struct ring_soon {};
struct ring {};
struct rung {};
struct cancel_it {};

class traveller : public cell {
public:
  using accepts = signals<wait_for_it, ring_soon, ring, rung, cancel_it, where>;
  explicit traveller(ref<oracle> o) : oracle_(o) {}
  task<std::uint32_t> on(wait_for_it) {
    const auto own = std::make_unique<int>(35);
    const auto answer = co_await ask(oracle_, get{}, long_time);
    co_return *answer + *own == 42 ? here() : no_worker;
  }
  void on(ring_soon) {
    send_every(self(this), ring{}, 1ms);
    never_ = send_after(self(this), ring{}, 1h);
  }
  void on(ring) { ++rung_; }
  int on(rung) { return rung_; }
  bool on(cancel_it) { return cancel(never_); }
  std::uint32_t on(where) { return here(); }

private:
  ref<oracle> oracle_;
  timer_id never_;
  int rung_ = 0;
};

}  // namespace

TEST_CASE("a handler that is suspended when its cell migrates goes on at the new home, with its frame") {
  const topology machine = two_nodes();
  runtime rt(on(machine));
  const auto o = rt.spawn_at<oracle>(placement::on_node(0));
  const auto c = rt.spawn_at<traveller>(placement::on_node(0), o);
  auto first = rt.ask_async(c, wait_for_it{});
  auto second = rt.ask_async(c, wait_for_it{});
  REQUIRE(eventually([&] { return rt.ask(o, asked{}, long_time).value() == 2; }));
  REQUIRE(rt.migrate(c, 1).get(long_time).has_value());
  REQUIRE(eventually([&] { return node_of(rt, rt.ask(c, where{}, long_time).value()) == 1; }));
  o.send(answer_all{});
  CHECK(node_of(rt, first.get(long_time).value()) == 1);
  CHECK(node_of(rt, second.get(long_time).value()) == 1);
}

TEST_CASE(
    "timers that a cell has started before it migrated, or its worker was switched off, fire, and are cancelled") {
  const topology machine = two_nodes();
  runtime rt(on(machine));
  const auto c = rt.spawn_at<traveller>(placement::on_node(1), ref<oracle>());
  c.send(ring_soon{});
  const auto goes_on = [&] {
    const int before = rt.ask(c, rung{}, long_time).value();
    return eventually([&] { return rt.ask(c, rung{}, long_time).value() > before + 3; });
  };
  REQUIRE(goes_on());
  REQUIRE(rt.migrate(c, 0).get(long_time).has_value());
  CHECK(goes_on());
  REQUIRE(rt.set_workers(1).has_value());
  CHECK(goes_on());
  CHECK(rt.ask(c, cancel_it{}, long_time).value());
  CHECK_FALSE(rt.ask(c, cancel_it{}, long_time).value());
}

// ---- all at once ---------------------------------------------------------------------------------------------------

namespace {

struct hop {
  std::uint64_t number = 0;  // of those from its sender
  std::uint32_t left = 0;
};
struct next_is {
  cell_ref next;
};
struct begin {
  std::uint32_t hops = 0;
};
struct think {
  hop after;
};
struct tally {
  std::uint64_t hops = 0;
  std::uint64_t finished = 0;
  std::uint64_t disordered = 0;
};

/// Passes tokens on: one in 67 by a handler that overruns, in the middle of which it sends; one in 41 by a heavy one; one in
/// 31 by a timer, which may let others overtake it, so that one counts alone.
class member : public cell {
public:
  using accepts = signals<next_is, begin, hop, think, get>;
  using dirty_cpu = signals<think>;
  void on(const next_is& n) { next_ = n.next; }
  void on(begin b) { pass(b.hops); }
  void on(hop h) {
    ++tally_.hops;
    if (h.number != expected_++) ++tally_.disordered;
    if (h.left == 0) {
      ++tally_.finished;
    } else if (h.left % 41 == 0) {
      self(this).send(think{h});
    } else {
      const bool slow = h.left % 67 == 0;
      if (slow) work();
      pass(h.left);
      if (slow) work();
    }
  }
  void on(think t) { pass(t.after.left); }
  tally on(get) { return tally_; }

private:
  void pass(std::uint32_t left) {
    if (left % 31 == 0) return static_cast<void>(send_after(self(this), think{{0, left - 1}}, 1ms));
    next_.send(hop{sent_++, left - 1});
  }
  static void work() {
    const auto end = std::chrono::steady_clock::now() + 2ms;
    while (std::chrono::steady_clock::now() < end) {
    }
  }
  cell_ref next_;
  std::uint64_t sent_ = 0;
  std::uint64_t expected_ = 0;
  tally tally_;
};

}  // namespace

TEST_CASE(
    "migrations, switched workers, take-over, heavy handlers and timers at once lose, double and overtake nothing") {
  const topology machine = two_nodes();
  runtime_options o = on(machine, 1ms);
  o.scheduler.watch.spare_threads = 8;
  runtime rt(o);
  constexpr std::uint64_t cells = 12;
  constexpr std::uint32_t hops = 400;
  std::vector<ref<member>> all;
  for (std::uint32_t i = 0; i < cells; ++i) {
    all.push_back(rt.spawn_at<member>(i == 5 ? placement::on_worker(3) : placement::spread()));
  }
  for (std::size_t i = 0; i < cells; ++i) all[i].send(next_is{all[(i + 1) % cells]});
  for (const auto& c : all) c.send(begin{hops});
  std::mt19937 chance(815);
  tally sum;
  const auto finished = [&] {
    sum = {};
    for (const auto& t : ask_each(rt, all, get{})) {
      sum.hops += t.value().hops;
      sum.finished += t.value().finished;
      sum.disordered += t.value().disordered;
    }
    return sum.finished == cells;
  };
  REQUIRE(eventually([&] {
    for (int i = 0; i < 10; ++i) {
      REQUIRE(rt.set_workers(1 + static_cast<unsigned>(chance() % 4)).has_value());
      static_cast<void>(rt.migrate(all[chance() % cells], static_cast<std::uint32_t>(chance() % 2)));
      std::this_thread::yield();
    }
    return finished();
  }));
  REQUIRE(finished());  // again: the first answers may be older than the last token's end
  // A hop that a timer stands for is not counted as one: of each token those after a multiple of 31.
  CHECK(sum.hops == cells * (hops - hops / 31));
  CHECK(sum.disordered == 0);
  const auto m = rt.metrics();
  CHECK(m.take_overs > 0);
  CHECK(m.migrations > 0);
  CHECK(m.dirty_cpu.run > 0);
  REQUIRE(all_back(rt));
  CHECK(rt.shutdown(long_time).complete);
}
