#include <karyon/core/log.hpp>
#include <karyon/sim/testing.hpp>
#include <karyon/supervise/supervisor.hpp>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"

using namespace std::chrono_literals;
using namespace karyon;
using testing::world;

namespace {

struct add {
  std::int64_t amount;
};
struct total {};

class counter : public cell {
public:
  using accepts = signals<add, total>;
  void on(add m) { sum_ += m.amount; }
  std::int64_t on(total) { return sum_; }

private:
  std::int64_t sum_ = 0;
};

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

struct go {};

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

struct tick {};

/// Has a timer, and writes down when it fired.
class clockwork : public cell {
public:
  using accepts = signals<tick>;
  clockwork(world* w, std::chrono::nanoseconds delay, std::vector<std::chrono::nanoseconds>* fired, bool periodic)
      : world_(w), delay_(delay), fired_(fired), periodic_(periodic) {}
  void on_start() {
    if (periodic_) {
      send_every(self(this), tick{}, delay_);
    } else {
      send_after(self(this), tick{}, delay_);
    }
  }
  void on(tick) { fired_->push_back(world_->now()); }

private:
  world* world_;
  std::chrono::nanoseconds delay_;
  std::vector<std::chrono::nanoseconds>* fired_;
  bool periodic_;
};

struct question {};
struct answer_never {};

/// Asks somebody who never answers, and writes down when it was told so.
class mute : public cell {
public:
  using accepts = signals<question>;
  deferred<int> on(question) {
    kept_.push_back(defer<int>());
    return {};
  }

private:
  std::vector<promise<int>> kept_;
};

class asker : public cell {
public:
  using accepts = signals<go>;
  asker(world* w, ref<mute> whom, std::chrono::nanoseconds* told, errc* code)
      : world_(w), whom_(whom), told_(told), code_(code) {}
  void on(go) {
    ask(whom_, question{}, 2h, [this](result<int> r) {
      *told_ = world_->now();
      *code_ = r.error().code();
    });
  }

private:
  world* world_;
  ref<mute> whom_;
  std::chrono::nanoseconds* told_;
  errc* code_;
};

struct boom {};

class fragile : public cell {
public:
  using accepts = signals<boom, total>;
  explicit fragile(int* starts) : starts_(starts) { ++*starts_; }
  void on(boom) { throw std::runtime_error("boom"); }
  int on(total) { return *starts_; }

private:
  int* starts_;
};

struct spin {};

class restless : public cell {
public:
  using accepts = signals<spin>;
  void on(spin) { self(this).send(spin{}); }
};

std::size_t threads_of_this_process() {
  const std::filesystem::directory_iterator all("/proc/self/task");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

constexpr auto timer_tick = std::chrono::nanoseconds(1 << 19);

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

TEST_CASE("an hour passes at once, and a timer fires at its time and not before") {
  world w(3);
  std::vector<std::chrono::nanoseconds> fired;
  w.runtime().spawn<clockwork>(&w, 1h, &fired, false);
  w.run();
  CHECK(fired.empty());
  w.advance(1h - 1s);
  CHECK(fired.empty());
  CHECK(w.now() == 1h - 1s);
  w.advance(1h);
  REQUIRE(fired.size() == 1);
  CHECK(fired[0] >= 1h);
  CHECK(fired[0] <= 1h + timer_tick);
  CHECK(w.now() == 2h - 1s);
}

TEST_CASE("timers fire in the order of their deadlines on whatever worker they are") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    world w(seed);
    std::vector<std::chrono::nanoseconds> fired;
    for (int i = 20; i > 0; --i) w.runtime().spawn<clockwork>(&w, i * 10ms, &fired, false);
    w.advance(1s);
    REQUIRE(fired.size() == 20);
    CHECK(std::is_sorted(fired.begin(), fired.end()));
  }
}

TEST_CASE("a periodic timer fires once in each period that passes") {
  world w(4);
  std::vector<std::chrono::nanoseconds> fired;
  w.runtime().spawn<clockwork>(&w, 100ms, &fired, true);
  w.advance(10s + timer_tick);
  CHECK(fired.size() == 100);
}

TEST_CASE("a question that is never answered times out after its time, which passes at once") {
  world w(5);
  auto m = w.runtime().spawn<mute>();
  std::chrono::nanoseconds told{0};
  errc code{};
  auto a = w.runtime().spawn<asker>(&w, m, &told, &code);
  a.send(go{});
  CHECK(w.run_until([&] { return told != 0ns; }, 3h));
  CHECK(told >= 2h);
  CHECK(told <= 2h + timer_tick);
  CHECK(code == errc::timeout);
}

TEST_CASE("a thread's question that is never answered times out in simulated time") {
  world w(6);
  auto m = w.runtime().spawn<mute>();
  const auto r = w.runtime().ask(m, question{}, 30min);
  REQUIRE_FALSE(r.has_value());
  CHECK(r.error().code() == errc::timeout);
  CHECK(w.now() == 30min);
}

TEST_CASE("run_until says whether what it waits for came, and how long it may wait") {
  world w(8);
  std::vector<std::chrono::nanoseconds> fired;
  w.runtime().spawn<clockwork>(&w, 10s, &fired, false);
  CHECK_FALSE(w.run_until([&] { return !fired.empty(); }, 9s));
  CHECK(w.now() == 9s);
  CHECK(w.run_until([&] { return !fired.empty(); }, 9s));
  CHECK(w.now() <= 10s + timer_tick);
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

TEST_CASE("time passes in turns where a test wants it, so that busy cells meet their timers") {
  testing::world_options options;
  options.turn_time = 10us;
  world w(options);
  auto r = w.runtime().spawn<restless>();
  r.send(spin{});
  std::vector<std::chrono::nanoseconds> fired;
  w.runtime().spawn<clockwork>(&w, 10ms, &fired, false);
  CHECK(w.run_until([&] { return !fired.empty(); }, 1s));
  CHECK(w.now() >= 10ms);
}

TEST_CASE("time that turns take does not carry a busy world past the end of an advance") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    testing::world_options options;
    options.seed = seed;
    options.turn_time = 10us;
    options.turns_max = 10'000;  // 100 ms of turns
    world w(options);
    w.runtime().spawn<restless>().send(spin{});
    std::vector<std::chrono::nanoseconds> fired;
    w.runtime().spawn<clockwork>(&w, 2ms, &fired, true);
    for (int i = 1; i <= 4; ++i) {
      const auto before = w.now();
      w.advance(5ms);
      REQUIRE(w.now() >= before + 5ms);
      REQUIRE(w.now() < before + 5ms + options.turn_time);
    }
    CHECK(fired.size() >= 8);
    CHECK(fired.size() <= 10);
  }
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

TEST_CASE("restart intensity is a matter of simulated time") {
  const auto survives = [](std::chrono::seconds pause) {
    world w(11);
    int starts = 0;
    auto tissue = w.runtime().supervise({.intensity = {2, 10s}});
    auto c = tissue.start<fragile>(&starts);
    for (int i = 0; i < 6; ++i) {
      w.kill(c);
      w.advance(pause);
    }
    return c.alive();
  };
  CHECK(survives(6s));
  CHECK_FALSE(survives(4s));
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
