// SPDX-License-Identifier: Apache-2.0
#include <karyon/supervise/supervisor.hpp>

#include "support/log_capture.hpp"
#include "unit/cell/cell_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

/// Reports included: the watch's are about what is tested here.
runtime_options watched(std::uint32_t workers) {
  runtime_options o = quiet(workers);
  o.scheduler.watch.take_over = true;
  o.scheduler.watch.stacks = false;
  o.scheduler.watch.move = false;  // or nothing would be left to be taken over
  return o;
}

struct hog {};
struct hog_and_fail {};
struct hog_and_exit {};
struct seen {};

/// Holds its worker until the door opens, then goes on as told.
class holder : public cell {
public:
  using accepts = signals<hog, hog_and_fail, hog_and_exit, number, get, seen>;
  holder(const door& d, std::atomic<int>& holding) : door_(&d), holding_(&holding) {}
  void on(hog) { hold(); }
  void on(hog_and_fail) {
    hold();
    throw std::runtime_error("after a long time");
  }
  void on(hog_and_exit) {
    hold();
    exit(exit_reason::error("holder", "had enough"));
  }
  void on(number n) { got_.push_back(n.value); }
  std::string on(seen) {
    std::string all;
    for (const int n : got_) all.append(std::to_string(n)).append(" ");
    return all;
  }
  bool on(get) { return true; }

private:
  void hold() {
    holding_->fetch_add(1);
    while (!door_->is_open()) {
    }
    holding_->fetch_sub(1);
  }
  const door* door_;
  std::atomic<int>* holding_;
  std::vector<int> got_;
};

class sink : public cell {
public:
  using accepts = signals<ping, get, number>;
  void on(ping) { ++pings_; }
  void on(number) { ++pings_; }
  int on(get) { return pings_; }

private:
  int pings_ = 0;
};

struct go {
  ref<sink> to;
};
struct outcome {};

/// Does a bit of everything after its worker was taken over.
class busybody : public cell {
public:
  using accepts = signals<go, outcome, ping>;
  busybody(std::atomic<int>& taken, const runtime& rt) : taken_(&taken), rt_(&rt) {}
  void on(go g) {
    taken_->store(1);
    while (rt_->metrics().take_overs == 0) {
    }
    // This thread is nobody's worker now.
    g.to.send(ping{});
    ref<sink> mine = spawn<sink>();
    mine.send(ping{});
    monitor(mine);
    link(g.to);
    unlink(g.to);
    send_after(self(this), ping{}, 1ms);
    const timer_id never = send_after(self(this), ping{}, 1h);
    cancelled_ = cancel(never);
    ask(mine, get{}, 10s, [this](result<int> n) { answered_ = n.value_or(-1); });
    cell::exit(mine, exit_reason::killed());
    memory()->deallocate(memory()->allocate(100), 100);
    self(this).send(ping{});
  }
  void on(ping) { ++pings_; }
  void on(const down&) { ++downs_; }
  std::string on(outcome) {
    return std::to_string(pings_) + " pings, " + std::to_string(downs_) + " downs" + (cancelled_ ? ", cancelled" : "") +
           (answered_ != 0 ? ", answered" : "");
  }

private:
  std::atomic<int>* taken_;
  const runtime* rt_;
  int pings_ = 0;
  int downs_ = 0;
  int answered_ = 0;
  bool cancelled_ = false;
};

class slow_to_start : public cell {
public:
  using accepts = signals<get>;
  slow_to_start(const door& d, std::atomic<int>& holding) : door_(&d), holding_(&holding) {}
  void on_start() {
    holding_->fetch_add(1);
    while (!door_->is_open()) {
    }
  }
  bool on(get) { return true; }

private:
  const door* door_;
  std::atomic<int>* holding_;
};

class slow_to_leave : public cell {
public:
  using accepts = signals<quit>;
  slow_to_leave(const door& d, std::atomic<int>& holding) : door_(&d), holding_(&holding) {}
  ~slow_to_leave() {
    holding_->fetch_add(1);
    while (!door_->is_open()) {
    }
  }
  void on(quit) { exit(); }

private:
  const door* door_;
  std::atomic<int>* holding_;
};

bool all_back(const runtime& rt) {
  return eventually([&] { return rt.metrics().workers_away == 0; });
}

}  // namespace

TEST_CASE("while handlers hold all workers the other cells go on") {
  door open;
  std::atomic<int> holding{0};
  runtime rt(watched(2));
  std::vector<ref<sink>> sinks;
  for (std::uint32_t w = 0; w < 2; ++w) {
    sinks.push_back(rt.spawn_at<sink>(placement::on_worker(w)));  // pinned
    sinks.push_back(rt.spawn<sink>());
    rt.spawn_at<holder>(placement::on_worker(w), open, holding).send(hog{});
  }
  REQUIRE(eventually([&] { return holding == 2; }));
  for (int i = 0; i < 100; ++i) {
    for (const auto& s : sinks) {
      s.send(ping{});
      CHECK(rt.ask(s, get{}, long_time).value_or(-1) == i + 1);
    }
  }
  CHECK(rt.metrics().take_overs >= 2);  // more where the system puts a thread aside in the middle of a sink's handler
  CHECK(eventually([&] { return rt.metrics().workers_away == 2; }));
  CHECK(eventually([&] { return rt.overrunning().size() == 2; }));
  open.open();
  CHECK(all_back(rt));
  CHECK(eventually([&] { return rt.overrunning().empty(); }));
}

TEST_CASE("a cell whose handler came back late goes on with its signals in their order") {
  door open;
  std::atomic<int> holding{0};
  runtime rt(watched(1));
  const auto h = rt.spawn<holder>(open, holding);
  h.send(number{1});
  h.send(hog{});
  for (int i = 2; i < 50; ++i) h.send(number{i});
  REQUIRE(eventually([&] { return rt.metrics().take_overs == 1; }));
  h.send(number{50});
  open.open();
  const auto all = rt.ask(h, seen{}, long_time);
  std::string expected;
  for (int i = 1; i <= 50; ++i) expected.append(std::to_string(i)).append(" ");
  CHECK(all.value_or("") == expected);
  CHECK(eventually([&] { return rt.metrics().handled == 52; }));  // counted once the turn is over
  CHECK(all_back(rt));
}

TEST_CASE("what a handler does after its worker was taken over is done") {
  std::atomic<int> taken{0};
  runtime rt(watched(1));
  const auto s = rt.spawn<sink>();
  const auto b = rt.spawn<busybody>(taken, rt);
  b.send(go{s});
  REQUIRE(eventually([&] { return rt.ask(s, get{}, long_time).value_or(0) == 1; }));
  CHECK(eventually(
      [&] { return rt.ask(b, outcome{}, long_time).value_or("") == "2 pings, 1 downs, cancelled, answered"; }));
  CHECK(s.alive());
  CHECK(all_back(rt));
}

TEST_CASE(
    "a handler that throws or exits after its worker was taken over ends its cell, and its supervisor restarts it") {
  door open;
  std::atomic<int> holding{0};
  runtime rt(watched(1));
  auto top = rt.supervise();
  const auto c = top.start<holder>(std::cref(open), std::ref(holding));
  SECTION("it throws") { c.send(hog_and_fail{}); }
  SECTION("it exits") { c.send(hog_and_exit{}); }
  SECTION("it is killed") {
    c.send(hog{});
    REQUIRE(eventually([&] { return holding == 1; }));
    top.exit_children(exit_reason::killed());
  }
  c.send(number{1});  // lost with the cell
  REQUIRE(eventually([&] { return rt.metrics().take_overs == 1; }));
  open.open();
  CHECK(eventually([&] { return rt.metrics().restarts == 1; }));
  CHECK(eventually([&] { return rt.ask(c, seen{}, long_time).value_or("none") == ""; }));
  CHECK(all_back(rt));
}

TEST_CASE("workers are taken over from hooks and destructors as well") {
  door open;
  std::atomic<int> holding{0};
  runtime rt(watched(1));
  const auto s = rt.spawn<sink>();
  SECTION("on_start") {
    const auto c = rt.spawn<slow_to_start>(open, holding);
    REQUIRE(eventually([&] { return holding == 1; }));
    CHECK(rt.ask(s, get{}, long_time).has_value());
    CHECK(rt.overrunning().at(0).signal == "on_start");
    open.open();
    CHECK(rt.ask(c, get{}, long_time).has_value());
  }
  SECTION("a destructor") {
    const auto c = rt.spawn<slow_to_leave>(open, holding);
    c.send(quit{});
    REQUIRE(eventually([&] { return holding == 1; }));
    CHECK(rt.ask(s, get{}, long_time).has_value());
    open.open();
    CHECK(eventually([&] { return rt.metrics().cells == 1; }));
  }
  CHECK(rt.metrics().take_overs == 1);
  CHECK(all_back(rt));
}

TEST_CASE("as many handlers are survived as there are spare threads, and one more is waited for") {
  door first;
  door second;
  std::atomic<int> holding{0};
  runtime_options o = watched(1);
  o.scheduler.watch.spare_threads = 1;
  runtime rt(o);
  const auto s = rt.spawn<sink>();
  rt.spawn<holder>(first, holding).send(hog{});
  REQUIRE(eventually([&] { return rt.metrics().take_overs == 1; }));
  CHECK(rt.ask(s, get{}, long_time).has_value());
  rt.spawn<holder>(second, holding).send(hog{});
  REQUIRE(eventually([&] { return rt.metrics().overruns >= 2; }));
  CHECK(rt.metrics().take_overs == 1);
  CHECK(rt.metrics().threads == 2);
  first.open();  // its thread comes back, and is the spare for the other
  CHECK(eventually([&] { return rt.metrics().take_overs == 2; }));
  CHECK(rt.ask(s, get{}, long_time).has_value());
  second.open();
  CHECK(all_back(rt));
  CHECK(rt.metrics().threads == 2);
}

TEST_CASE("without take-over a handler that does not return is counted, and its worker waits") {
  door open;
  std::atomic<int> holding{0};
  runtime_options o = watched(1);
  o.scheduler.watch.take_over = false;
  runtime rt(o);
  const auto s = rt.spawn<sink>();
  const auto h = rt.spawn<holder>(open, holding);
  h.send(hog{});
  REQUIRE(eventually([&] { return rt.metrics().overruns >= 1; }));
  auto answer = rt.ask_async(s, get{});
  CHECK(rt.metrics().take_overs == 0);
  CHECK_FALSE(answer.ready());
  open.open();
  CHECK(answer.get(long_time).has_value());
  CHECK(rt.metrics().threads == 1);
}

TEST_CASE("the book of handlers names those that took too long, and times a sample of all") {
  door open;
  std::atomic<int> holding{0};
  runtime rt(watched(1));
  const auto h = rt.spawn<holder>(open, holding);
  // One of 256 turns is timed; how many turns some questions take depends on how fast they come.
  const auto sampled = [&] {
    std::uint64_t n = 0;
    for (const handler_report& r : rt.handlers()) {
      for (const std::uint64_t each : r.sampled) n += each;
    }
    return n;
  };
  REQUIRE(eventually([&] { return rt.ask(h, get{}, long_time).has_value() && sampled() != 0; }));
  h.send(hog{});
  std::vector<running_handler> now;
  REQUIRE(eventually([&] { return !(now = rt.overrunning()).empty(); }));
  REQUIRE(now.size() == 1);
  CHECK(now[0].cell_class.find("holder") != std::string::npos);
  CHECK(now[0].signal.find("hog") != std::string::npos);
  CHECK(now[0].cell == h.id());
  open.open();
  REQUIRE(rt.ask(h, get{}, long_time).has_value());
  CHECK(eventually([&] { return rt.overrunning().empty(); }));
  std::uint64_t samples = 0;
  std::uint64_t overruns = 0;
  for (const handler_report& r : rt.handlers()) {
    if (r.cell_class.find("holder") == std::string::npos) continue;
    for (const std::uint64_t n : r.sampled) samples += n;
    if (r.signal.find("hog") != std::string::npos) overruns += r.overruns;
    if (r.overruns != 0) CHECK(r.longest_overrun >= 1ms);
  }
  CHECK(overruns == 1);
  CHECK(samples > 0);
}

TEST_CASE("a report names the handler once a type, with its stack, and again if it does not return at all") {
  // The thread has 5 ms to tell its stack, and may not get a core for so long: then another runtime asks another thread.
  CHECK(eventually([] {
    runtime_options o = watched(1);
    o.scheduler.watch.stacks = true;
    log_capture log;
    door open;
    std::atomic<int> holding{0};
    runtime rt(o);
    const auto h = rt.spawn<holder>(open, holding);
    h.send(hog{});
    CHECK(eventually([&] { return !log.with("and is still running").empty(); }));
    const lines first = log.with("handlers should return within");
    REQUIRE(first.size() == 1);
    CHECK(first.front().find("has not returned for") != std::string::npos);
    CHECK(first.front().find("hog") != std::string::npos);
    open.open();
    CHECK(rt.ask(h, get{}, long_time).has_value());
    return first.front().find("[0x") != std::string::npos;  // names as far as the program exports them
  }));
}

namespace {

template <int N>
struct long_job {};

/// Has twelve handler types, each of which lasts until it is counted as an overrun.
class jack_of_all_trades : public cell {
public:
  using accepts = signals<long_job<0>, long_job<1>, long_job<2>, long_job<3>, long_job<4>, long_job<5>, long_job<6>,
                          long_job<7>, long_job<8>, long_job<9>, long_job<10>, long_job<11>, get>;
  explicit jack_of_all_trades(const runtime& rt) : rt_(&rt) {}
  template <int N>
  void on(long_job<N>) {
    const std::uint64_t before = rt_->metrics().overruns;
    while (rt_->metrics().overruns == before) {
    }
  }
  bool on(get) { return true; }

private:
  const runtime* rt_;
};

template <int... N>
void send_all(const ref<jack_of_all_trades>& whom, std::integer_sequence<int, N...>) {
  (whom.send(long_job<N>{}), ...);
}

}  // namespace

TEST_CASE("of many types that overrun within a second each is reported, sooner or later, and once") {
  constexpr int types = 12;  // more than are reported a second
  runtime_options o = watched(1);
  o.scheduler.watch.take_over = false;
  log_capture log;
  runtime rt(o);
  const auto c = rt.spawn<jack_of_all_trades>(rt);
  const auto all_overrun = [&] {
    send_all(c, std::make_integer_sequence<int, types>());
    return rt.ask(c, get{}, long_time).has_value();
  };
  const auto reports = [&] {
    int n = 0;
    for (const std::string& line : log.with("handlers should return within")) {
      if (line.find("long_job<") != std::string::npos) ++n;
    }
    return n;
  };
  CHECK(eventually([&] { return all_overrun() && reports() >= types; }));
  REQUIRE(all_overrun());
  CHECK(reports() == types);
}

TEST_CASE("a shutdown names the handlers that it has left behind") {
  door open;
  std::atomic<int> holding{0};
  runtime rt(watched(1));
  const auto h = rt.spawn<holder>(open, holding);
  h.send(hog{});
  REQUIRE(eventually([&] { return rt.metrics().overruns >= 1; }));
  const auto report = rt.shutdown(10ms);
  CHECK_FALSE(report.complete);
  REQUIRE(report.stuck.size() == 1);
  CHECK(report.stuck[0].signal.find("hog") != std::string::npos);
  open.open();
  CHECK(rt.shutdown(long_time).complete);
}

namespace {

struct lap {
  int left = 0;
};

/// Passes tokens around; now and then a handler takes a few milliseconds, in the middle of which it sends.
class runner : public cell {
public:
  using accepts = signals<lap, word>;
  runner(std::atomic<std::uint64_t>& laps, std::atomic<int>& finished) : laps_(&laps), finished_(&finished) {}
  void meet(ref<runner> next) { next_ = next; }
  void on(lap l) {
    laps_->fetch_add(1, std::memory_order_relaxed);
    if (l.left == 0) {
      finished_->fetch_add(1);
      return;
    }
    const bool slow = l.left % 97 == 0;
    if (slow) work();
    next().send(lap{l.left - 1});
    if (slow) work();
  }
  void on(word) {}

private:
  static void work() {
    const auto end = std::chrono::steady_clock::now() + 2ms;
    while (std::chrono::steady_clock::now() < end) {
    }
  }
  ref<runner> next() {
    // A ring that grows as it is run through, so that spawning is part of it.
    if (!next_.alive()) next_ = spawn<runner>(*laps_, *finished_);
    return next_;
  }
  std::atomic<std::uint64_t>* laps_;
  std::atomic<int>* finished_;
  ref<runner> next_;
};

}  // namespace

TEST_CASE("workers that change hands over and over lose and double nothing") {
  constexpr int tokens = 20;
  constexpr int laps_each = 400;
  std::atomic<std::uint64_t> laps{0};
  std::atomic<int> finished{0};
  runtime rt(watched(2));
  std::vector<ref<runner>> starts;
  for (int i = 0; i < tokens; ++i) starts.push_back(rt.spawn<runner>(laps, finished));
  for (const auto& r : starts) r.send(lap{laps_each - 1});
  REQUIRE(eventually([&] { return finished == tokens; }));
  CHECK(laps == tokens * laps_each);
  CHECK(all_back(rt));
  CHECK(rt.metrics().handled == tokens * laps_each);
  CHECK(rt.metrics().take_overs > 0);
}

TEST_CASE("a watch that can not work is refused with a sentence") {
  for (int i = 0; i < 3; ++i) {
    runtime_options o = quiet(1);
    if (i == 0) o.scheduler.watch.limit = 99us;
    if (i == 1) o.scheduler.watch.limit = 11s;
    if (i == 2) o.scheduler.watch.spare_threads = 4097;
    try {
      runtime rt(o);
      FAIL("a runtime with option set " << i);
    } catch (const runtime_error& e) {
      CHECK(e.why().code() == errc::invalid_argument);
    }
  }
}
