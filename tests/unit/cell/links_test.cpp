// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <stdexcept>

#include "unit/cell/cell_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

struct link_to {
  cell_ref whom;
};
struct unlink_from {
  cell_ref whom;
};
struct watch_it {
  cell_ref whom;
};
struct unwatch {
  int nth = 0;
};
struct trap {
  bool on = true;
};
struct end {
  exit_reason why;
};
struct end_other {
  cell_ref whom;
  exit_reason why;
};
struct fail_now {};
struct wait_here {};

/// A cell that does what it is told with links and monitors, and writes what it is told of them.
class social : public cell {
public:
  using accepts =
      signals<link_to, unlink_from, watch_it, unwatch, trap, end, end_other, fail_now, caught_up, word, wait_here>;
  explicit social(diary& d, const door* wait = nullptr, door* arrived = nullptr)
      : diary_(&d), door_(wait), arrived_(arrived) {}

  void on(const link_to& l) { link(l.whom); }
  void on(const unlink_from& l) { unlink(l.whom); }
  void on(const watch_it& w) { monitors_.push_back(monitor(w.whom)); }
  void on(unwatch u) { demonitor(monitors_.at(static_cast<std::size_t>(u.nth))); }
  void on(trap t) { trap_exit(t.on); }
  void on(const end& e) { exit(e.why); }
  void on(const end_other& e) { exit(e.whom, e.why); }
  void on(fail_now) { throw std::runtime_error("broken"); }
  bool on(caught_up) { return true; }
  void on(const word& w) { diary_->write(w.text); }
  void on(wait_here) {
    if (arrived_ != nullptr) arrived_->open();
    door_->pass();
  }
  void on(const exit_signal& s) { diary_->write("exit: " + to_string(s.why)); }
  void on(const down& d) {
    for (std::size_t i = 0; i < monitors_.size(); ++i) {
      if (monitors_[i] == d.id) diary_->write("down " + std::to_string(i) + ": " + to_string(d.why));
    }
  }

private:
  diary* diary_;
  const door* door_;
  door* arrived_;
  std::vector<monitor_id> monitors_;
};

bool caught(runtime& rt, const ref<social>& c) { return rt.ask(c, caught_up{}, long_time).has_value(); }

/// Two cells, a linked to b.
struct couple {
  explicit couple(runtime& rt) : host(rt), a(rt.spawn<social>(of_a)), b(rt.spawn<social>(of_b)) {
    a.send(link_to{b});
    // The request overtakes what b is sent afterwards.
    settled = caught(rt, a) && caught(rt, b);
  }
  couple(const couple&) = delete;
  couple& operator=(const couple&) = delete;
  ~couple() {
    for (const auto& c : {a, b}) host.exit(c, exit_reason::killed());
    static_cast<void>(eventually([&] { return !a.alive() && !b.alive() && host.metrics().cells == 0; }));
  }
  runtime& host;
  diary of_a;
  diary of_b;
  ref<social> a;
  ref<social> b;
  bool settled = false;
};

}  // namespace

TEST_CASE("a failure ends the linked cell, whichever side made the link") {
  for (const bool linker_fails : {true, false}) {
    runtime rt(quiet());
    couple two(rt);
    REQUIRE(two.settled);
    const witness w(rt, linker_fails ? two.b : two.a);
    (linker_fails ? two.a : two.b).send(fail_now{});
    CHECK(w.end() == "down: error: std::runtime_error: broken");
  }
}

TEST_CASE("an exit spreads along a chain of links, and no further than unlinked cells") {
  diary d;
  runtime rt(quiet());
  std::vector<ref<social>> chain;
  for (int i = 0; i < 100; ++i) chain.push_back(rt.spawn<social>(d));
  const auto loner = rt.spawn<social>(d);
  for (std::size_t i = 1; i < chain.size(); ++i) chain[i].send(link_to{chain[i - 1]});
  for (const auto& c : chain) REQUIRE(caught(rt, c));
  for (const auto& c : chain) REQUIRE(caught(rt, c));
  chain[50].send(end{exit_reason::shutdown()});
  CHECK(eventually([&] { return rt.metrics().cells == 1; }));
  CHECK(loner.alive());
}

TEST_CASE("a normal end does not end linked cells") {
  runtime rt(quiet());
  couple two(rt);
  REQUIRE(two.settled);
  two.b.send(end{exit_reason::normal()});
  REQUIRE(eventually([&] { return rt.metrics().cells == 1; }));
  CHECK(caught(rt, two.a));
}

TEST_CASE("a cell that traps exits gets a signal in place of its end, also of a normal one, once a link") {
  runtime rt(quiet());
  couple two(rt);
  REQUIRE(two.settled);
  two.a.send(trap{});
  two.a.send(link_to{two.b});  // twice is one link
  two.b.send(link_to{two.a});  // also from the other side
  REQUIRE((caught(rt, two.a) && caught(rt, two.b) && caught(rt, two.a)));
  two.b.send(fail_now{});
  REQUIRE(two.of_a.has(1));
  diary d;
  const auto third = rt.spawn<social>(d);
  two.a.send(link_to{third});
  REQUIRE((caught(rt, two.a) && caught(rt, third)));
  third.send(end{});
  REQUIRE(two.of_a.has(2));
  REQUIRE(caught(rt, two.a));
  CHECK(two.of_a.lines() == lines{"exit: error: std::runtime_error: broken", "exit: normal"});
}

TEST_CASE("an unlinked cell is not ended, whichever side undid the link") {
  for (const bool by_linker : {true, false}) {
    runtime rt(quiet());
    couple two(rt);
    REQUIRE(two.settled);
    if (by_linker) {
      two.a.send(unlink_from{two.b});
    } else {
      two.b.send(unlink_from{two.a});
    }
    REQUIRE((caught(rt, two.a) && caught(rt, two.b) && caught(rt, two.a)));
    two.b.send(fail_now{});
    REQUIRE(eventually([&] { return rt.metrics().cells == 1; }));
    CHECK(caught(rt, two.a));
  }
}

TEST_CASE("after unlink has returned no exit signal comes, even if the other has ended already") {
  door closed;
  diary d;
  runtime rt(quiet());
  const auto a = rt.spawn_at<social>(placement::on_worker(0), d, &closed);
  const auto b = rt.spawn_at<social>(placement::on_worker(1), d);
  a.send(link_to{b});
  REQUIRE((caught(rt, a) && caught(rt, b)));
  a.send(wait_here{});
  a.send(unlink_from{b});  // waits in the mailbox while b fails
  b.send(fail_now{});
  REQUIRE(eventually([&] { return rt.metrics().cells == 1; }));
  closed.open();
  CHECK(caught(rt, a));
  CHECK(a.alive());
}

TEST_CASE("linking to a cell that has ended gives no_cell: an end, or a signal to one that traps") {
  diary d;
  runtime rt(quiet());
  const auto gone = rt.spawn<social>(d);
  gone.send(end{});
  REQUIRE(eventually([&] { return rt.metrics().cells == 0; }));
  const auto plain = rt.spawn<social>(d);
  {
    const witness w(rt, plain);
    plain.send(link_to{gone});
    CHECK(w.end() == "down: no_cell");
  }
  const auto trapping = rt.spawn<social>(d);
  trapping.send(trap{});
  trapping.send(link_to{gone});
  REQUIRE(d.has(1));
  trapping.send(link_to{cell_ref()});
  REQUIRE(d.has(2));
  CHECK(d.lines() == lines{"exit: no_cell", "exit: no_cell"});
  rt.exit(trapping, exit_reason::killed());
}

TEST_CASE("kill can not be trapped, and linked cells see that it was killed") {
  runtime rt(quiet());
  couple two(rt);
  REQUIRE(two.settled);
  two.a.send(trap{});
  two.b.send(trap{});
  REQUIRE((caught(rt, two.a) && caught(rt, two.b)));
  rt.exit(two.b, exit_reason::shutdown());  // trapped
  REQUIRE(two.of_b.has(1));
  CHECK(two.of_b.lines() == lines{"exit: shutdown"});
  CHECK(caught(rt, two.b));
  rt.exit(two.b, exit_reason::killed());
  REQUIRE(two.of_a.has(1));
  CHECK(two.of_a.lines() == lines{"exit: killed"});
  CHECK(two.of_b.size() == 1);
}

TEST_CASE("an exit signal killed through a link can be trapped, and ends a cell that does not trap") {
  runtime rt(quiet());
  couple two(rt);
  REQUIRE(two.settled);
  const witness w(rt, two.a);
  rt.exit(two.b, exit_reason::killed());
  CHECK(w.end() == "down: killed");
}

TEST_CASE("asking another to end normally is ignored, as in Erlang, unless it traps") {
  runtime rt(quiet());
  couple two(rt);
  REQUIRE(two.settled);
  two.a.send(end_other{two.b, exit_reason::normal()});
  rt.exit(two.b, exit_reason::normal());
  REQUIRE((caught(rt, two.a) && caught(rt, two.b)));
  CHECK(two.b.alive());
  two.b.send(trap{});
  REQUIRE(caught(rt, two.b));
  rt.exit(two.b, exit_reason::normal());
  REQUIRE(two.of_b.has(1));
  CHECK(two.of_b.lines() == lines{"exit: normal"});
}

TEST_CASE("a request to end overtakes ordinary signals, which are counted as lost") {
  door closed;
  door arrived;
  diary d;
  runtime rt(quiet());
  const auto c = rt.spawn_at<social>(placement::on_worker(0), d, &closed, &arrived);
  REQUIRE(caught(rt, c));
  const auto before = rt.metrics().dropped_dead;
  const witness w(rt, c);
  c.send(wait_here{});
  arrived.pass();
  for (int i = 0; i < 100; ++i) c.send(word{"too late"});
  rt.exit(c, exit_reason::shutdown());
  closed.open();
  CHECK(w.end() == "down: shutdown");
  CHECK(d.size() == 0);
  CHECK(eventually([&] { return rt.metrics().dropped_dead == before + 100; }));
}

TEST_CASE("each monitor reports one down, and a demonitored one none") {
  diary d;
  diary of_c;
  runtime rt(quiet());
  const auto w = rt.spawn<social>(d);
  const auto c = rt.spawn<social>(of_c);
  for (int i = 0; i < 3; ++i) w.send(watch_it{c});
  w.send(unwatch{1});
  w.send(unwatch{1});
  REQUIRE((caught(rt, w) && caught(rt, c)));
  c.send(fail_now{});
  REQUIRE(d.has(2));
  REQUIRE(caught(rt, w));
  auto seen = d.lines();
  std::sort(seen.begin(), seen.end());
  CHECK(seen == lines{"down 0: error: std::runtime_error: broken", "down 2: error: std::runtime_error: broken"});
}

TEST_CASE("a monitor tells of a normal end too, and at once of a cell that is gone") {
  diary d;
  diary of_c;
  runtime rt(quiet());
  const auto w = rt.spawn<social>(d);
  const auto c = rt.spawn<social>(of_c);
  w.send(watch_it{c});
  REQUIRE((caught(rt, w) && caught(rt, c)));
  c.send(end{});
  REQUIRE(d.has(1));
  w.send(watch_it{c});
  REQUIRE(d.has(2));
  w.send(watch_it{cell_ref()});
  REQUIRE(d.has(3));
  CHECK(d.lines() == lines{"down 0: normal", "down 1: no_cell", "down 2: no_cell"});
}

TEST_CASE("after demonitor has returned no down comes, even if the other has ended already") {
  door closed;
  diary d;
  runtime rt(quiet());
  const auto w = rt.spawn_at<social>(placement::on_worker(0), d, &closed);
  const auto c = rt.spawn_at<social>(placement::on_worker(1), d);
  w.send(watch_it{c});
  REQUIRE((caught(rt, w) && caught(rt, c)));
  w.send(wait_here{});
  w.send(unwatch{0});
  c.send(fail_now{});
  REQUIRE(eventually([&] { return rt.metrics().cells == 1; }));
  closed.open();
  CHECK(caught(rt, w));
  CHECK(d.size() == 0);
}

TEST_CASE("a cell that watched another ends without a trace on the other") {
  diary d;
  runtime rt(quiet());
  const auto c = rt.spawn<social>(d);
  for (int i = 0; i < 1'000; ++i) {
    const auto w = rt.spawn<social>(d);
    w.send(watch_it{c});
    w.send(end{});
  }
  REQUIRE(eventually([&] { return rt.metrics().cells == 1; }));
  CHECK(caught(rt, c));
  c.send(end{});
  CHECK(eventually([&] { return rt.metrics().cells == 0; }));
  CHECK(d.size() == 0);
}

namespace {

/// Both sides of a pair start at once, and neither sees what the other has asked for before it is done itself.
struct crossing {
  std::array<door, 2> arrived;
  door go;
};
struct toggle {
  cell_ref whom;
  int times = 0;
};

/// Links itself to another and unlinks itself, in turn.
class fickle : public cell {
public:
  using accepts = signals<toggle, caught_up>;
  fickle(crossing& c, std::size_t side) : crossing_(&c), side_(side) {}
  void on(const toggle& t) {
    crossing_->arrived[side_].open();
    crossing_->go.pass();
    for (int i = 0; i < t.times; ++i) {
      linked_ = !linked_;
      linked_ ? link(t.whom) : unlink(t.whom);
    }
  }
  bool on(caught_up) { return true; }

private:
  crossing* crossing_;
  std::size_t side_;
  bool linked_ = false;
};

}  // namespace

TEST_CASE("however links and unlinks from both sides cross, in the end both are linked or neither is") {
  runtime rt(quiet());
  std::array<int, 2> ends{};
  for (int round = 0; round < 1'000; ++round) {
    crossing x;
    const std::array pair{rt.spawn_at<fickle>(placement::on_worker(0), x, std::size_t{0}),
                          rt.spawn_at<fickle>(placement::on_worker(1), x, std::size_t{1})};
    pair[0].send(toggle{pair[1], round % 5});
    pair[1].send(toggle{pair[0], round / 5 % 5});
    for (const door& d : x.arrived) d.pass();
    x.go.open();
    // Once each has answered it has sent all its requests, which overtake the next question; then the acknowledgements.
    for (int i = 0; i < 3; ++i) {
      for (const auto& c : pair) REQUIRE(rt.ask(c, caught_up{}, long_time).has_value());
    }
    const std::uint64_t first = rt.inspect(pair[0], long_time).value().links;
    const std::uint64_t second = rt.inspect(pair[1], long_time).value().links;
    CAPTURE(round % 5, round / 5 % 5);
    REQUIRE(first == second);
    ++ends[first];
    for (const auto& c : pair) rt.exit(c, exit_reason::killed());
  }
  CHECK(ends[0] > 0);
  CHECK(ends[1] > 0);
}

TEST_CASE("a cell that is unlinked and linked again while the first news is on its way gets one exit signal") {
  door closed;
  diary d;
  diary of_b;
  runtime rt(quiet());
  const auto a = rt.spawn_at<social>(placement::on_worker(0), d);
  const auto b = rt.spawn_at<social>(placement::on_worker(1), of_b, &closed);
  a.send(trap{});
  a.send(link_to{b});
  REQUIRE((caught(rt, a) && caught(rt, b)));
  b.send(wait_here{});
  a.send(unlink_from{b});
  CHECK((caught(rt, a) && rt.inspect(a, long_time).value().links == 0));
  a.send(link_to{b});
  a.send(unlink_from{b});
  a.send(link_to{b});
  CHECK((caught(rt, a) && rt.inspect(a, long_time).value().links == 1));
  closed.open();
  REQUIRE((caught(rt, b) && caught(rt, a)));
  CHECK(rt.inspect(a, long_time).value().links == 1);
  CHECK(rt.inspect(b, long_time).value().links == 1);
  b.send(fail_now{});
  REQUIRE(d.has(1));
  REQUIRE(caught(rt, a));
  CHECK(d.lines() == lines{"exit: error: std::runtime_error: broken"});
  CHECK(rt.inspect(a, long_time).value().links == 0);
  rt.exit(a, exit_reason::killed());
}

TEST_CASE("a link that was asked for while an unlink was on its way to a dead cell ends with no_cell") {
  diary d;
  diary of_b;
  runtime rt(quiet());
  const auto a = rt.spawn<social>(d);
  const auto b = rt.spawn<social>(of_b);
  a.send(trap{});
  a.send(link_to{b});
  REQUIRE((caught(rt, a) && caught(rt, b)));
  a.send(unlink_from{b});
  b.send(end{});
  REQUIRE(eventually([&] { return rt.metrics().cells == 1; }));  // and its exit signal is behind the unlink
  a.send(unlink_from{b});
  a.send(link_to{b});
  REQUIRE(d.has(1));
  CHECK(d.lines() == lines{"exit: no_cell"});
  CHECK(rt.inspect(a, long_time).value().links == 0);
  rt.exit(a, exit_reason::killed());
}

namespace {

class talker : public cell {
public:
  using accepts = signals<number>;
  explicit talker(ref<social> to) : to_(to) { link(to_); }
  void on(number n) {
    for (int i = 0; i < n.value; ++i) to_.send(word{"w"});
    throw std::runtime_error("that was all");
  }

private:
  ref<social> to_;
};

}  // namespace

TEST_CASE("signals that were sent before a link broke are seen before the exit signal") {
  std::vector<diary> diaries(50);
  runtime rt(quiet());
  for (diary& d : diaries) {
    const auto listener = rt.spawn_at<social>(placement::on_worker(0), d);
    listener.send(trap{});
    REQUIRE(caught(rt, listener));
    const auto t = rt.spawn_at<talker>(placement::on_worker(1), listener);
    t.send(number{20});
    REQUIRE(d.has(21));
    const auto seen = d.lines();
    REQUIRE(seen.size() == 21);
    CHECK(seen.back() == "exit: error: std::runtime_error: that was all");
    for (std::size_t i = 0; i < 20; ++i) CHECK(seen[i] == "w");
    rt.exit(listener, exit_reason::killed());
  }
}

TEST_CASE("two linked cells that end each other at the same time both end, and nothing hangs") {
  runtime rt(quiet());
  for (int round = 0; round < 500; ++round) {
    couple two(rt);
    REQUIRE(two.settled);
    two.a.send(fail_now{});
    two.b.send(fail_now{});
    REQUIRE(eventually([&] { return rt.metrics().cells == 0; }));
  }
}
