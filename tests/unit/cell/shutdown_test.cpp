// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "unit/cell/cell_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

class sink : public cell {
public:
  using accepts = signals<ping, get>;
  explicit sink(std::atomic<int>& living) : alive_(living) {}
  void on(ping) {}
  bool on(get) { return true; }

private:
  counted alive_;
};

class hydra : public cell {
public:
  using accepts = signals<ping>;
  explicit hydra(std::atomic<int>& living) : living_(&living), alive_(living) {}
  void on_start() { self(this).send(ping{}); }
  void on(ping) {
    spawn<hydra>(*living_);
    if (living_->load() > 100) return exit();
    self(this).send(ping{});
  }

private:
  std::atomic<int>* living_;
  counted alive_;
};

class stubborn : public cell {
public:
  using accepts = signals<ping>;
  explicit stubborn(std::atomic<int>& asked) : asked_(&asked) {}
  void on_start() { trap_exit(true); }
  bool on(ping) { return true; }
  void on(const exit_signal&) { asked_->fetch_add(1); }

private:
  std::atomic<int>* asked_;
};

class self_sender : public cell {
public:
  using accepts = signals<ping>;
  explicit self_sender(std::atomic<std::uint64_t>& turns) : turns_(&turns) {}
  void on(ping) {
    turns_->fetch_add(1, std::memory_order_relaxed);
    self(this).send(ping{});
  }

private:
  std::atomic<std::uint64_t>* turns_;
};

class stuck : public cell {
public:
  using accepts = signals<ping>;
  stuck(const door& d, door& arrived, std::atomic<int>& living) : door_(&d), arrived_(&arrived), alive_(living) {}
  void on(ping) {
    arrived_->open();
    door_->pass();
  }

private:
  const door* door_;
  door* arrived_;
  counted alive_;
};

}  // namespace

TEST_CASE("every signal accepted before or during a shutdown is handled or counted as dropped") {
  for (int round = 0; round < 10; ++round) {
    std::atomic<int> living{0};
    std::atomic<std::uint64_t> accepted{0};
    runtime rt(quiet());
    const std::uint64_t dropped_before = rt.metrics().dropped_dead;  // by threads outside, in other tests
    std::vector<ref<sink>> sinks;
    for (int i = 0; i < 50; ++i) sinks.push_back(rt.spawn<sink>(living));
    std::vector<std::thread> producers;
    std::atomic<int> started{0};
    for (int t = 0; t < 3; ++t) {
      producers.emplace_back([&] {
        started.fetch_add(1);
        bool any = true;
        while (any) {
          // Not more than the cells can take, or the test measures how fast memory fills.
          // What dying cells drop makes room as well, so this ends by itself.
          for (auto m = rt.metrics(); accepted > m.handled + m.dropped_dead + 20'000; m = rt.metrics()) {
            std::this_thread::yield();
          }
          any = false;
          for (const auto& s : sinks) {
            const bool got = ok(s.send(ping{}));
            if (got) accepted.fetch_add(1, std::memory_order_relaxed);
            any = any || got;
          }
        }
      });
    }
    REQUIRE(eventually([&] { return started == 3 && accepted > 10'000; }));
    const shutdown_report report = rt.shutdown(long_time);
    for (auto& t : producers) t.join();
    CHECK(report.complete);
    CHECK(report.killed == 0);
    CHECK(report.stopped == 50);
    const auto m = rt.metrics();
    CHECK(m.handled + m.dropped_dead - dropped_before == accepted);
    CHECK(m.cells == 0);
    CHECK(living == 0);
  }
}

TEST_CASE("after a shutdown nothing starts, sends say dead, and another shutdown says the same") {
  std::atomic<int> living{0};
  runtime rt(quiet());
  const auto c = rt.spawn<sink>(living);
  const auto first = rt.shutdown(long_time);
  CHECK(first.stopped == 1);
  CHECK(first.complete);
  const auto second = rt.shutdown(long_time);
  CHECK(second.stopped == first.stopped);
  CHECK(second.complete);
  CHECK(c.send(ping{}) == send_result::dead);
  try {
    rt.spawn<sink>(living);
    FAIL("spawned after the shutdown");
  } catch (const runtime_error& e) {
    CHECK(e.why().code() == errc::closed);
  }
}

TEST_CASE("cells that trap exits and go on are killed at the deadline") {
  std::atomic<int> asked{0};
  runtime rt(quiet());
  std::vector<ref<stubborn>> cells;
  for (int i = 0; i < 20; ++i) cells.push_back(rt.spawn<stubborn>(asked));
  for (const auto& c : cells) REQUIRE(rt.ask(c, ping{}, long_time).has_value());
  const auto report = rt.shutdown(50ms);
  CHECK(report.complete);
  CHECK(report.killed == 20);
  CHECK(asked == 20);
  CHECK(rt.metrics().cells == 0);
}

TEST_CASE("cells that spawn others while the runtime stops do not outlive it") {
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> living{0};
    {
      runtime rt(quiet());
      for (int i = 0; i < 4; ++i) rt.spawn<hydra>(living);
      REQUIRE(eventually([&] { return rt.metrics().spawned > 500; }));
      const auto report = rt.shutdown(long_time);
      CHECK(report.complete);
      CHECK(report.killed == 0);
    }
    CHECK(living == 0);
  }
}

TEST_CASE("threads that spawn while the runtime stops are refused or their cells are ended") {
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> living{0};
    {
      runtime rt(quiet());
      std::atomic<int> spawned{0};
      std::vector<std::thread> threads;
      for (int t = 0; t < 3; ++t) {
        threads.emplace_back([&] {
          try {
            while (true) {
              rt.spawn<sink>(living);
              spawned.fetch_add(1);
            }
          } catch (const runtime_error&) {
          }
        });
      }
      REQUIRE(eventually([&] { return spawned > 10; }));
      const auto report = rt.shutdown(long_time);
      CHECK(report.complete);
      CHECK(report.killed == 0);
      for (auto& t : threads) t.join();
    }
    CHECK(living == 0);
  }
}

TEST_CASE("a handler that does not return is said to be left behind; once it has returned, all is freed") {
  std::atomic<int> living{0};
  door shut_door;
  door arrived;
  {
    runtime rt(quiet());
    const auto c = rt.spawn<stuck>(shut_door, arrived, living);
    c.send(ping{});
    arrived.pass();
    const auto report = rt.shutdown(10ms);
    CHECK_FALSE(report.complete);
    CHECK(living == 1);
    shut_door.open();
    CHECK(rt.shutdown(long_time).complete);
  }
  CHECK(living == 0);
}

TEST_CASE("several runtimes live side by side, and their cells signal each other") {
  std::atomic<int> living{0};
  {
    std::vector<std::unique_ptr<runtime>> runtimes;
    std::vector<ref<sink>> sinks;
    for (int i = 0; i < 5; ++i) {
      runtimes.push_back(std::make_unique<runtime>(quiet()));
      sinks.push_back(runtimes.back()->spawn<sink>(living));
    }
    for (const auto& rt : runtimes) {
      for (const auto& s : sinks) CHECK(rt->ask(s, get{}, long_time).value());
    }
    runtimes.erase(runtimes.begin());
    CHECK(sinks[0].send(ping{}) == send_result::dead);
    CHECK(runtimes[0]->ask(sinks[1], get{}, long_time).value());
  }
  CHECK(living == 0);
}

TEST_CASE("cells that always have something to do do not keep another from answering") {
  std::atomic<std::uint64_t> turns{0};
  std::atomic<int> living{0};
  runtime rt(quiet(2));
  std::vector<ref<self_sender>> busy;
  for (int i = 0; i < 100; ++i) busy.push_back(rt.spawn<self_sender>(turns));
  for (const auto& b : busy) b.send(ping{});
  REQUIRE(eventually([&] { return turns > 10'000; }));
  for (std::uint32_t w = 0; w < 2; ++w) {
    const auto c = rt.spawn_at<sink>(placement::on_worker(w), living);
    for (int i = 0; i < 20; ++i) CHECK(rt.ask(c, get{}, long_time).has_value());
  }
  const auto c = rt.spawn<sink>(living);
  for (int i = 0; i < 20; ++i) CHECK(rt.ask(c, get{}, long_time).has_value());
}

TEST_CASE("options that can not work are refused with a sentence") {
  for (int i = 0; i < 3; ++i) {
    runtime_options o = quiet();
    if (i == 0) o.scheduler.signals_per_turn = 0;
    if (i == 1) o.scheduler.signals_per_turn = 1'000'001;
    if (i == 2) o.scheduler.spin = -1us;
    try {
      runtime rt(o);
      FAIL("a runtime with option set " << i);
    } catch (const runtime_error& e) {
      CHECK(e.why().code() == errc::invalid_argument);
      CHECK(std::string(e.what()).size() > 20);
    }
  }
}
