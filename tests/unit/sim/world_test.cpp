// SPDX-License-Identifier: Apache-2.0
#include <karyon/core/log.hpp>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "unit/sim/world_cells.hpp"

using namespace std::chrono_literals;
using namespace karyon;
using namespace karyon::tests;
using testing::world;

namespace {

struct note {
  int from;
  int number;
};

class listener : public cell {
public:
  using accepts = signals<note>;
  explicit listener(std::vector<note>* heard) : heard_(heard) {}
  void on(note n) { heard_->push_back(n); }

private:
  std::vector<note>* heard_;
};

class talker : public cell {
public:
  using accepts = signals<go>;
  talker(ref<listener> to, int me) : to_(to), me_(me) {}
  void on(go) {
    for (int i = 0; i < 3; ++i) to_.send(note{me_, i});
  }

private:
  ref<listener> to_;
  int me_;
};

/// What a listener hears from three talkers.
std::vector<note> overheard(world& w) {
  std::vector<note> heard;
  auto l = w.runtime().spawn<listener>(&heard);
  std::vector<ref<talker>> talkers;
  for (int i = 0; i < 3; ++i) talkers.push_back(w.runtime().spawn<talker>(l, i));
  for (auto& t : talkers) t.send(go{});
  w.run();
  return heard;
}

std::size_t threads_of_this_process() {
  const std::filesystem::directory_iterator all("/proc/self/task");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

}  // namespace

TEST_CASE("a cell answers in a simulated world, in no time") {
  world w(7);
  auto c = w.runtime().spawn<counter>();
  c.send(add{41});
  c.send(add{1});
  CHECK(w.runtime().ask(c, total{}, 1s).value() == 42);
  CHECK(w.now() == 0s);
}

TEST_CASE("a simulated world creates no thread") {
  const std::size_t before = threads_of_this_process();
  world w(1);
  auto c = w.runtime().spawn<counter>();
  CHECK(w.runtime().ask(c, total{}, 1s).has_value());
  CHECK(threads_of_this_process() == before);
}

TEST_CASE("seeds differ in the order of what is not ordered, and keep the order of what is") {
  std::set<std::vector<int>> orders;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    world w(seed);
    const std::vector<note> heard = overheard(w);
    REQUIRE(heard.size() == 9);
    int next[3] = {0, 0, 0};
    std::vector<int> order;
    for (const note& n : heard) {
      REQUIRE(n.number == next[n.from]++);
      order.push_back(n.from);
    }
    orders.insert(order);
  }
  CHECK(orders.size() > 5);
}

TEST_CASE("cells of an unpinned kind run on every worker of their node, pinned ones on theirs") {
  testing::world_options options;
  options.workers = 4;
  options.nodes = 2;
  options.record = true;
  world w(options);
  CHECK(w.runtime().workers() == 4);
  CHECK(w.runtime().nodes() == 2);
  auto free = w.runtime().spawn_at<counter>(placement::on_node(0));
  auto pinned = w.runtime().spawn_at<counter>(placement::on_worker(3));
  for (int i = 0; i < 50; ++i) {
    free.send(add{1});
    w.run();
  }
  for (int i = 0; i < 50; ++i) {
    pinned.send(add{1});
    w.run();
  }
  std::set<std::string> ran_first;
  std::set<std::string> ran_second;
  for (const std::string& line : w.trace()) {
    const std::size_t at = line.find("  w") + 2;
    const std::string where = line.substr(at, line.find("  ", at) - at);
    (line.find(" #1 ") != std::string::npos ? ran_first : ran_second).insert(where);
  }
  CHECK(ran_first.size() == 2);
  CHECK(ran_second.size() == 1);
}

TEST_CASE("a world can be stepped, one turn at a time") {
  world w(9);
  CHECK_FALSE(w.step());
  auto a = w.runtime().spawn<counter>();
  auto b = w.runtime().spawn<counter>();
  a.send(add{1});
  b.send(add{1});
  REQUIRE(w.step());
  CHECK(w.events() == 1);
  CHECK(w.accounts().handled == 1);
  int steps = 1;
  while (w.step()) ++steps;
  CHECK(steps >= 2);
  CHECK(steps <= 4);  // a turn that was cut short is followed by one that finds nothing more
  CHECK(w.accounts().handled == 2);
  CHECK_FALSE(w.step());
}

TEST_CASE("cells that never come to rest are noticed") {
  testing::world_options options;
  options.turns_max = 1000;
  world w(options);
  auto r = w.runtime().spawn<restless>();
  r.send(spin{});
  std::string text;
  try {
    w.run();
  } catch (const testing::failure& e) {
    text = e.what();
  }
  CHECK(text.find("never come to rest") != std::string::npos);
  CHECK(text.find("restless #1 handles") != std::string::npos);
}

TEST_CASE("a small budget of turns is no obstacle to the end of a world with many cells") {
  testing::world_options options;
  options.turns_max = 100;
  std::vector<ref<counter>> cells;
  {
    world w(options);
    for (int i = 0; i < 500; ++i) cells.push_back(w.runtime().spawn<counter>());
    for (auto& c : cells) c.send(add{1});
  }
  CHECK(std::none_of(cells.begin(), cells.end(), [](const auto& c) { return c.alive(); }));
}

TEST_CASE("a supervisor restarts its children in a simulated world") {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    world w(seed);
    int starts = 0;
    auto tissue = w.runtime().supervise({.intensity = {100, 5s}});
    auto c = tissue.start<fragile>(&starts);
    for (int i = 0; i < 5; ++i) {
      c.send(boom{});
      w.run();
    }
    CHECK(w.kill(c));
    w.run();
    REQUIRE(w.runtime().ask(c, total{}, 1s).value() == 7);
    REQUIRE(tissue.restarts() == 6);
  }
}

namespace {

class unborn : public cell {
public:
  using accepts = signals<go>;
  unborn() { throw std::runtime_error("not me"); }
  void on(go) {}
};

std::size_t lines_with(const world& w, const std::string& what) {
  const std::vector<std::string> lines = w.trace();
  const auto has = [&](const std::string& line) { return line.find(what) != std::string::npos; };
  return static_cast<std::size_t>(std::count_if(lines.begin(), lines.end(), has));
}

}  // namespace

TEST_CASE("a cell that ends without a turn of its own is in the trace: stopped while idle, or never constructed") {
  world w(15);
  auto tissue = w.runtime().supervise();
  for (int i = 0; i < 3; ++i) tissue.start<counter>();
  w.run();
  tissue.stop();
  CHECK(lines_with(w, "counter #") == 3);
  CHECK(lines_with(w, " ends: shutdown") == 3);

  const std::uint64_t before = w.trace_hash();
  CHECK_THROWS_AS(w.runtime().spawn<unborn>(), std::runtime_error);
  CHECK(lines_with(w, "unborn #4 ends: ") == 1);
  CHECK(lines_with(w, " s  -  ") == 1);  // on no worker
  CHECK(w.trace_hash() != before);
}

TEST_CASE("killing what has ended says so") {
  world w(12);
  auto c = w.runtime().spawn<counter>();
  CHECK(w.kill(c));
  w.run();
  CHECK_FALSE(w.kill(c));
  CHECK_FALSE(c.alive());
}

TEST_CASE("a world with cells, timers and supervisors in the middle of everything ends") {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    world w(seed);
    int starts = 0;
    std::vector<std::chrono::nanoseconds> fired;
    auto tissue = w.runtime().supervise();
    auto c = tissue.start<fragile>(&starts);
    w.runtime().spawn<clockwork>(&w, 1s, &fired, true);
    w.runtime().spawn<restless>().send(spin{});
    c.send(boom{});
    for (std::uint64_t i = 0; i < seed; ++i) w.step();
    const shutdown_report report = w.runtime().shutdown(1s);
    REQUIRE(report.complete);
    REQUIRE(w.runtime().metrics().cells == 0);
  }
}

TEST_CASE("a runtime that a tested library makes for itself is part of the world") {
  world w(13);
  std::int64_t sum = 0;
  {
    runtime own;
    auto c = own.spawn<counter>();
    c.send(add{5});
    auto other = w.runtime().spawn<counter>();
    other.send(add{2});
    sum = own.ask(c, total{}, 1s).value() + w.runtime().ask(other, total{}, 1s).value();
  }
  CHECK(sum == 7);
  CHECK(w.now() == 0s);
}

TEST_CASE("threads have worlds of their own") {
  std::uint64_t alone = 0;
  {
    world w(21);
    overheard(w);
    alone = w.trace_hash();
  }
  std::vector<std::uint64_t> hashes(2);
  std::vector<std::thread> threads;
  for (auto& h : hashes) {
    threads.emplace_back([&h] {
      for (int i = 0; i < 50; ++i) {
        world w(21);
        overheard(w);
        h = w.trace_hash();
      }
    });
  }
  for (auto& t : threads) t.join();
  CHECK(hashes[0] == alone);
  CHECK(hashes[1] == alone);
}

TEST_CASE("a world that can not be is refused with a sentence") {
  const auto refused = [](std::uint32_t workers, std::uint32_t nodes) {
    testing::world_options options;
    options.workers = workers;
    options.nodes = nodes;
    try {
      world w(options);
    } catch (const runtime_error& e) {
      return e.why().code() == errc::invalid_argument;
    }
    return false;
  };
  CHECK(refused(0, 1));
  CHECK(refused(1025, 1));
  CHECK(refused(2, 0));
  CHECK(refused(2, 3));
  world w(1);  // a refused one leaves nothing behind
}

TEST_CASE("a world keeps what the runtime logs, and nothing of it goes elsewhere") {
  std::vector<std::string> elsewhere;
  set_log_sink([&](log_level, std::string_view text) { elsewhere.emplace_back(text); });
  {
    world w(14);
    int starts = 0;
    w.runtime().spawn<fragile>(&starts).send(boom{});
    w.run();
    const auto lines = w.log();
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].find("boom") != std::string::npos);
  }
  set_log_sink({});
  CHECK(elsewhere.empty());
}
