// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <any>
#include <set>

#include <karyon/supervise/ordered_supervisor.hpp>

#include "unit/supervise/supervised.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

/// Traps exits and writes down what it is asked; ends only if told by `die`, or killed.
class stubborn : public cell {
public:
  using accepts = signals<ping, die>;
  stubborn(diary& d, std::string name) : diary_(&d), name_(std::move(name)) {}
  void on_start() { trap_exit(true); }
  bool on(ping) { return true; }
  void on(const die& d) { exit(d.why); }
  void on(const exit_signal& s) { diary_->write(name_ + ": " + to_string(s.why)); }
  void on_exit(const exit_reason& why) { diary_->write(name_ + " ended: " + to_string(why)); }

private:
  diary* diary_;
  std::string name_;
};

/// Waits at a door in its handler: a busy cell.
class busy : public cell {
public:
  using accepts = signals<ping>;
  busy(door& d, std::atomic<int>& inside) : door_(&d), inside_(&inside) {}
  void on(ping) {
    inside_->fetch_add(1);
    door_->pass();
  }

private:
  door* door_;
  std::atomic<int>* inside_;
};

class ignorant : public cell {
public:
  using accepts = signals<get, fail_hard>;
  explicit ignorant(std::atomic<int>& starts_left) {
    if (starts_left.fetch_sub(1) <= 0) throw ignore_start{};
  }
  int on(get) { return 1; }
  void on(fail_hard) { throw 7; }
};

class holder : public cell {
public:
  using accepts = signals<get>;
  explicit holder(const counted&) {}
  int on(get) { return 1; }
};

class informative : public cell {
public:
  using accepts = signals<get>;
  explicit informative(int n) : n_(n) {
    start_info(std::string("first"));
    start_info(n);
  }
  int on(get) { return n_; }

private:
  int n_;
};

errc code_of_start(supervisor& s, registry& r) {
  const auto got = s.try_start<ward>({}, std::ref(r), 1);
  return got ? errc{} : got.error().code();
}

}  // namespace

TEST_CASE("a child's own shutdown policy holds when the supervisor stops: asked, asked and killed, or killed unasked") {
  diary d;
  runtime rt(quiet());
  auto s = rt.supervise({.intensity = {1, 5s}, .shutdown_deadline = 24h});
  const auto brutal = s.start_with<stubborn>({.shutdown = child_shutdown::brutal_kill()}, std::ref(d), "brutal");
  const auto within = s.start_with<stubborn>({.shutdown = child_shutdown::within(20ms)}, std::ref(d), "within");
  const auto now = s.start_with<stubborn>({.shutdown = child_shutdown::within(0ms)}, std::ref(d), "now");
  for (const auto& c : {brutal, within, now}) REQUIRE(rt.ask(c, ping{}, long_time).has_value());
  s.stop();
  const auto told = d.lines();
  const std::multiset<std::string> all(told.begin(), told.end());
  CHECK(all.count("brutal: shutdown") == 0);
  CHECK(all.count("brutal ended: killed") == 1);
  CHECK(all.count("within: shutdown") == 1);
  CHECK(all.count("within ended: killed") == 1);
  CHECK(all.count("now ended: killed") == 1);
  CHECK(s.ended() == exit_reason::shutdown());
}

TEST_CASE("a child with infinity is waited for, however long it takes") {
  diary d;
  runtime rt(quiet());
  auto s = rt.supervise({.shutdown_deadline = 0ms});
  const auto c = s.start_with<stubborn>({.shutdown = child_shutdown::infinity()}, std::ref(d), "c");
  REQUIRE(rt.ask(c, ping{}, long_time).has_value());
  std::thread stopper([&] { s.stop(); });
  REQUIRE(d.has(1));
  CHECK(d.lines().front() == "c: shutdown");
  CHECK_FALSE(s.wait_ended(20ms));
  c.send(die{exit_reason::normal()});
  stopper.join();
  CHECK(d.lines().back() == "c ended: normal");
}

TEST_CASE(
    "a child that traps exits is asked and may take its time, also when its supervisor ends idle children at once") {
  diary d;
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise({.intensity = {1'000'000, 5s}, .shutdown_deadline = 0ms});
  const auto c = s.start<stubborn>(std::ref(d), "c");
  const auto others = s.start_many<ward>(100, std::ref(r), 1);
  REQUIRE(rt.ask(c, ping{}, long_time).has_value());
  s.exit_children(exit_reason::shutdown("go"));
  REQUIRE(d.has(1));
  CHECK(d.lines() == lines{"c: shutdown: go"});
  CHECK(rt.ask(c, ping{}, long_time).has_value());
}

TEST_CASE("a busy child is asked to end, and its supervisor waits for the end of its handler") {
  door open;
  std::atomic<int> inside{0};
  runtime rt(quiet());
  auto s = rt.supervise();
  const auto c = s.start<busy>(std::ref(open), std::ref(inside));
  c.send(ping{});
  REQUIRE(eventually([&] { return inside == 1; }));
  s.exit(exit_reason::shutdown());
  CHECK_FALSE(s.wait_ended(10ms));
  open.open();
  CHECK(s.wait_ended(long_time));
  CHECK(s.children() == 0);
}

TEST_CASE("exit with killed kills all children at once, and the supervisor has ended with killed only after them") {
  diary d;
  runtime rt(quiet());
  auto s = rt.supervise({.shutdown_deadline = 24h});
  std::vector<child<stubborn>> children;
  for (int i = 0; i < 20; ++i) children.push_back(s.start<stubborn>(std::ref(d), "c"));
  for (const auto& c : children) REQUIRE(rt.ask(c, ping{}, long_time).has_value());
  s.exit(exit_reason::killed());
  REQUIRE(s.wait_ended(long_time));
  CHECK(s.ended() == exit_reason::killed());
  CHECK(d.lines() == lines(20, "c ended: killed"));
  CHECK(s.children() == 0);
}

TEST_CASE("exit with killed overtakes a stop that waits") {
  diary d;
  runtime rt(quiet());
  auto s = rt.supervise({.shutdown_deadline = 24h});
  const auto c = s.start<stubborn>(std::ref(d), "c");
  REQUIRE(rt.ask(c, ping{}, long_time).has_value());
  std::thread stopper([&] { s.stop(); });
  REQUIRE(d.has(1));
  s.exit(exit_reason::killed());
  stopper.join();
  CHECK(s.ended() == exit_reason::killed());
}

TEST_CASE("exit with a reason ends the supervisor in order with that reason, and with normal does nothing") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise();
  const auto c = s.start<ward>(std::ref(r), 1);
  s.exit(exit_reason::normal());
  CHECK(rt.ask(c, get{}, long_time).value() == 1);
  CHECK_FALSE(s.ended().has_value());
  s.exit(exit_reason::error("a", "b"));
  REQUIRE(s.wait_ended(long_time));
  CHECK(s.ended() == exit_reason::error("a", "b"));
  CHECK(r.living == 0);
}

TEST_CASE("an exit signal to all children restarts permanent ones and lets temporary ones go") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise(generous());
  const auto permanent = s.start_many<ward>(1'000, std::ref(r), 1);
  const auto args = [&r](std::uint32_t) { return std::tuple<registry&, int>(r, 2); };
  const auto temporary = s.start_each<ward>(1'000, args, {.restart = restart_type::temporary});
  const auto transient = s.start_each<ward>(1'000, args, {.restart = restart_type::transient});
  s.exit_children(exit_reason::shutdown("enough"));
  REQUIRE(eventually([&] { return s.children() == 1'000 && s.restarts() == 1'000; }));
  for (const auto& c : temporary) REQUIRE_FALSE(c.alive());
  for (const auto& c : transient) REQUIRE_FALSE(c.alive());
  for (const auto& c : permanent) REQUIRE(eventually([&] { return rt.ask(c, get{}, long_time) == 1; }));
  s.exit_children(exit_reason::normal());
  CHECK(rt.ask(permanent.front(), get{}, long_time).value() == 1);
  CHECK(r.living == 1'000);
}

TEST_CASE("a transient child that ends with shutdown and words has ended as expected") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise(generous());
  const auto c = s.start_with<ward>({.restart = restart_type::transient}, std::ref(r), 1);
  c.send(die{exit_reason::shutdown("done with it")});
  CHECK(eventually([&] { return s.children() == 0; }));
  CHECK(s.restarts() == 0);
}

TEST_CASE("a temporary child's arguments are freed as soon as it is constructed, a permanent one's are kept") {
  std::atomic<int> copies{0};
  runtime rt(quiet());
  auto s = rt.supervise();
  s.start_with<holder>({.restart = restart_type::temporary}, counted(copies));
  CHECK(copies == 0);
  const auto kept = s.start<holder>(counted(copies));
  CHECK(copies == 1);
  CHECK(s.terminate(kept));
  CHECK(eventually([&] { return copies == 0; }));
}

TEST_CASE("any_significant ends the supervisor when a significant child has ended by itself") {
  registry r;
  runtime rt(quiet());
  const child_options important{.restart = restart_type::transient, .significant = true};
  auto s = rt.supervise({.intensity = {100, 5s}, .auto_shutdown = auto_shutdown::any_significant});
  const auto plain = s.start_with<ward>({.restart = restart_type::transient}, std::ref(r), 0);
  const auto a = s.start_with<ward>(important, std::ref(r), 1);
  const auto b = s.start_with<ward>(important, std::ref(r), 2);
  plain.send(die{exit_reason::normal()});
  REQUIRE(eventually([&] { return !plain.alive(); }));
  b.send(fail_hard{});
  REQUIRE(eventually([&] { return s.restarts() == 1 && b.get(); }));
  CHECK(s.terminate(b));
  REQUIRE(eventually([&] { return !b.alive(); }));
  CHECK_FALSE(s.ended().has_value());
  a.send(die{exit_reason::normal()});
  REQUIRE(s.wait_ended(long_time));
  CHECK(s.ended() == exit_reason::shutdown());
}

TEST_CASE(
    "all_significant ends the supervisor when the last significant child has ended by itself, on whichever worker") {
  registry r;
  runtime rt(quiet());
  for (const restart_type type : {restart_type::transient, restart_type::temporary}) {
    const child_options important{.restart = type, .significant = true};
    auto s = rt.supervise({.intensity = {100, 5s}, .auto_shutdown = auto_shutdown::all_significant});
    const auto plain = s.start<ward>(std::ref(r), 0);
    std::vector<child<ward>> significant;
    for (int i = 0; i < 4; ++i) significant.push_back(s.start_with<ward>(important, std::ref(r), i));
    for (int i = 0; i < 3; ++i) significant[static_cast<std::size_t>(i)].send(die{exit_reason::normal()});
    REQUIRE(eventually([&] { return s.children() == 2; }));
    CHECK_FALSE(s.ended().has_value());
    significant[3].send(die{exit_reason::normal()});
    REQUIRE(s.wait_ended(long_time));
    CHECK_FALSE(plain.alive());
  }
}

TEST_CASE("options of a child that contradict its supervisor are refused with the field's name") {
  registry r;
  runtime rt(quiet());
  auto never = rt.supervise();
  auto any = rt.supervise({.auto_shutdown = auto_shutdown::any_significant});
  const auto refused = [&](supervisor& s, const child_options& o, const char* field) {
    const auto got = s.try_start<ward>(o, std::ref(r), 1);
    REQUIRE_FALSE(got.has_value());
    CHECK(got.error().code() == errc::invalid_argument);
    CHECK(got.error().message().find(field) != std::string::npos);
  };
  refused(never, {.restart = restart_type::transient, .significant = true}, "significant");
  refused(any, {.restart = restart_type::permanent, .significant = true}, "significant");
  refused(any, {.shutdown = child_shutdown::within(-7ms)}, "shutdown");
  CHECK(never.children() == 0);
  CHECK(r.born == 0);
}

TEST_CASE("a supervisor is not made for a worker or a node that its runtime does not have") {
  runtime rt(quiet(2));
  for (const placement where : {placement::on_worker(99), placement::on_node(99)}) {
    try {
      rt.supervise({.where = where});
      FAIL("made");
    } catch (const runtime_error& e) {
      CHECK(e.why().code() == errc::not_found);
    }
    const auto tree = rt.start({.children = {child_spec::dynamic("many", {.where = where})}});
    REQUIRE_FALSE(tree);
    CHECK(tree.error().code() == errc::start_failed);
  }
}

TEST_CASE("at most max_children live at a time, exactly, whoever starts them") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise({.intensity = {1'000'000, 5s}, .max_children = 100});
  std::atomic<int> started{0};
  std::atomic<int> refused{0};
  std::vector<std::thread> starters;
  for (int t = 0; t < 4; ++t) {
    starters.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        const auto got = s.try_start<ward>({}, std::ref(r), i);
        (got ? started : refused).fetch_add(1);
        if (!got && got.error().code() != errc::refused) std::terminate();
      }
    });
  }
  for (auto& t : starters) t.join();
  CHECK(started == 100);
  CHECK(refused == 300);
  CHECK(s.children() == 100);
  s.exit_children(exit_reason::killed());  // restarted: still the same hundred
  CHECK(code_of_start(s, r) == errc::refused);
  const auto many = [&] { return s.start_many<ward>(2, std::ref(r), 1); };
  CHECK_THROWS_AS(many(), runtime_error);
}

TEST_CASE("a place under max_children is free again when its child has ended, was ignored, or did not start") {
  registry r;
  std::atomic<int> none{0};
  runtime rt(quiet());
  auto s = rt.supervise({.max_children = 1});
  CHECK_FALSE(s.start<ignorant>(std::ref(none)));
  r.refuse_births = 1;
  CHECK(code_of_start(s, r) == errc::start_failed);
  const auto c = s.start<ward>(std::ref(r), 1);
  CHECK(code_of_start(s, r) == errc::refused);
  CHECK(s.terminate(c));
  CHECK(eventually([&] { return s.children() == 0; }));
  CHECK(code_of_start(s, r) == errc{});
}

TEST_CASE("a start that is ignored gives no child, and is no failure") {
  std::atomic<int> starts{0};
  runtime rt(quiet());
  auto s = rt.supervise();
  const auto c = s.start<ignorant>(std::ref(starts));
  CHECK_FALSE(c);
  const auto got = s.try_start<ignorant>({}, std::ref(starts));
  REQUIRE(got.has_value());
  CHECK_FALSE(got->child);
  CHECK(s.children() == 0);
  CHECK(rt.metrics().cells == 0);
  CHECK(rt.metrics().failures == 0);
}

TEST_CASE("a child whose restart is ignored is forgotten") {
  std::atomic<int> starts{1};
  runtime rt(quiet());
  auto s = rt.supervise(generous());
  const auto c = s.start<ignorant>(std::ref(starts));
  REQUIRE(c);
  c.send(fail_hard{});
  CHECK(eventually([&] { return !c.alive() && s.children() == 0; }));
  CHECK_FALSE(s.ended().has_value());
}

TEST_CASE("a constructor's start_info reaches whoever started the child, the last call of it") {
  runtime rt(quiet());
  auto s = rt.supervise();
  const auto got = s.try_start<informative>({}, 5);
  REQUIRE(got.has_value());
  CHECK(rt.ask(got->child, get{}, long_time).value() == 5);
  CHECK(std::any_cast<int>(got->info) == 5);
  CHECK(rt.ask(s.start<informative>(6), get{}, long_time).value() == 6);
}

namespace {

/// Starts others while it is constructed.
class parent_of_informative : public cell {
public:
  using accepts = signals<get>;
  parent_of_informative(runtime& rt, supervisor s) {
    start_info(std::string("mine"));
    rt.spawn<informative>(6);
    s.start<informative>(7);
    s.start_many<informative>(2, 8);
    s.start_each<informative>(2, [](std::size_t i) { return std::tuple(static_cast<int>(i)); });
  }
  int on(get) { return 1; }
};

}  // namespace

TEST_CASE("start_info of a cell that is started or spawned within another's constructor is not taken for the other's") {
  runtime rt(quiet());
  auto s = rt.supervise();
  const auto got = s.try_start<parent_of_informative>({}, std::ref(rt), s);
  REQUIRE(got.has_value());
  CHECK(std::any_cast<std::string>(got->info) == "mine");
  CHECK(s.children() == 6);
  auto app = rt.start({}).value();
  const auto ordered = app.start_child(child_spec::of<parent_of_informative>("p", std::ref(rt), s));
  REQUIRE(ordered.has_value());
  CHECK(std::any_cast<std::string>(ordered->info) == "mine");
}

TEST_CASE("try_start gives what the constructor threw as an error") {
  registry r;
  r.refuse_births = 1;
  runtime rt(quiet());
  auto s = rt.supervise();
  const auto got = s.try_start<ward>({}, std::ref(r), 1);
  REQUIRE_FALSE(got.has_value());
  CHECK(got.error().code() == errc::start_failed);
  CHECK(got.error().message().find("no room") != std::string::npos);
  s.stop();
  CHECK(code_of_start(s, r) == errc::closed);
}

TEST_CASE("the number of children is exact as soon as a start has returned") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise();
  for (std::size_t i = 1; i <= 100; ++i) {
    s.start<ward>(std::ref(r), 1);
    REQUIRE(s.children() == i);
  }
}

TEST_CASE("with a back-off a child waits before each restart, longer each time, and can be ended while it waits") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise({.intensity = {1'000, 24h}, .backoff = {.minimum = 1h, .maximum = 2h}});
  const auto waiting = s.start<ward>(std::ref(r), 1);
  const auto other = s.start<ward>(std::ref(r), 2);
  waiting.send(fail_hard{});
  REQUIRE(eventually([&] { return !waiting.get(); }));
  CHECK(waiting.send(ping{}) == send_result::restarting);
  CHECK(rt.ask(other, get{}, long_time).value() == 2);
  CHECK(s.restarts() == 0);
  CHECK(s.terminate(waiting));
  REQUIRE(eventually([&] { return !waiting.alive(); }));
  other.send(fail_hard{});
  REQUIRE(eventually([&] { return !other.get(); }));
  s.stop();
  CHECK(r.born == 2);
}

TEST_CASE("a child comes back after its back-off") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise({.intensity = {1'000, 24h}, .backoff = {.minimum = 1ms, .maximum = 4ms}});
  const auto children = s.start_many<ward>(50, std::ref(r), 1);
  r.refuse_births = 100;
  for (const auto& c : children) c.send(fail_hard{});
  REQUIRE(eventually([&] { return r.born == 100; }));
  for (const auto& c : children) REQUIRE(eventually([&] { return rt.ask(c, get{}, long_time) == 1; }));
  CHECK(s.restarts() == 150);
  CHECK(s.children() == 50);
}

TEST_CASE("children never shows more than max_children, whoever starts, is refused or ends meanwhile") {
  constexpr std::size_t most = 3;
  registry r;
  runtime rt(quiet(3));
  auto s = rt.supervise({.intensity = {1'000'000, 5s}, .max_children = most});
  std::atomic<bool> over{false};
  std::atomic<std::size_t> highest{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      while (!over) {
        const auto got = s.try_start<ward>({}, std::ref(r), 1);
        if (got) static_cast<void>(s.terminate(got->child));
      }
    });
  }
  threads.emplace_back([&] {
    while (!over) highest = std::max(highest.load(), s.children());
  });
  const bool enough = eventually([&] { return r.born > 500; });
  over = true;
  for (auto& t : threads) t.join();
  CHECK(enough);
  CHECK(highest <= most);
  s.stop();
  CHECK(s.children() == 0);
}
