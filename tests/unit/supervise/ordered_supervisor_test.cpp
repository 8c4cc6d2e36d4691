// SPDX-License-Identifier: Apache-2.0
#include <functional>
#include <thread>

#include <karyon/supervise/ordered_supervisor.hpp>

#include "unit/supervise/supervised.hpp"

using namespace karyon;
using namespace karyon::tests;

namespace {

/// Writes its birth and its end.
class chronicler : public cell {
public:
  using accepts = signals<die, get, fail_hard>;
  chronicler(diary& d, std::string name) : diary_(&d), name_(std::move(name)) { diary_->write("+" + name_); }
  void on(const die& d) { exit(d.why); }
  int on(get) { return 7; }
  void on(fail_hard) { throw std::runtime_error("hard"); }
  void on_exit(const exit_reason& why) { diary_->write("-" + name_ + " " + to_string(why)); }

private:
  diary* diary_;
  std::string name_;
};

/// Waits at a door in its constructor.
class latecomer : public cell {
public:
  using accepts = signals<ping>;
  latecomer(registry& r, const door& d) : alive_(r.living) {
    r.born.fetch_add(1);
    d.pass();
  }
  bool on(ping) { return true; }

private:
  counted alive_;
};

/// Dies of the first signal, which it has sent itself.
class stillborn : public cell {
public:
  using accepts = signals<fail_hard>;
  explicit stillborn(registry& r) : alive_(r.living) {
    r.born.fetch_add(1);
    self(this).send(fail_hard{});
  }
  void on(fail_hard) { throw std::runtime_error("hard"); }

private:
  counted alive_;
};

/// Traps exits, and heeds none.
class stubborn : public cell {
public:
  using accepts = signals<ping>;
  explicit stubborn(registry& r) : alive_(r.living) { trap_exit(true); }
  void on(const exit_signal&) {}
  bool on(ping) { return true; }

private:
  counted alive_;
};

child_options within(std::chrono::milliseconds t) {
  child_options o;
  o.shutdown = child_shutdown::within(t);
  return o;
}
child_options of_type(restart_type t) {
  child_options o;
  o.restart = t;
  return o;
}
constexpr restart_intensity endless{4'000'000'000U, std::chrono::hours(24)};

child_spec wards(registry& r, const std::string& id, int number = 0) {
  return child_spec::of<ward>(id, std::ref(r), number);
}
child_spec writes(diary& d, const std::string& id) { return child_spec::of<chronicler>(id, std::ref(d), id); }

}  // namespace

TEST_CASE("a tree starts its children in order and ends them in reverse") {
  diary d;
  runtime rt(quiet());
  supervisor_spec spec;
  spec.children = {writes(d, "a"), writes(d, "b"), writes(d, "c")};
  auto tree = rt.start(spec);
  REQUIRE(tree);
  CHECK(d.lines() == lines{"+a", "+b", "+c"});
  CHECK(tree->children().size() == 3);
  const auto b = tree->find<chronicler>("b");
  CHECK(rt.ask(b, get{}, long_time) == 7);
  tree->stop();
  CHECK(d.lines() == lines{"+a", "+b", "+c", "-c shutdown", "-b shutdown", "-a shutdown"});
  CHECK(to_string(*tree->ended()) == "shutdown");
  CHECK_FALSE(b.alive());
}

TEST_CASE("a child that fails is started again, and its handle finds the new incarnation") {
  diary d;
  runtime rt(quiet());
  supervisor_spec spec;
  spec.children = {writes(d, "a"), writes(d, "b")};
  auto tree = rt.start(spec);
  REQUIRE(tree);
  const auto b = tree->find<chronicler>("b");
  b.send(fail_hard{});
  REQUIRE(d.has(4));
  CHECK(eventually([&] { return rt.ask(b, get{}, long_time).has_value(); }));
  CHECK(d.lines() == lines{"+a", "+b", "-b error: std::runtime_error: hard", "+b"});
  CHECK(tree->restarts() == 1);
  rt.shutdown(long_time);
  CHECK(d.lines().back() == "-a shutdown");
}

// ---- bad input ------------------------------------------------------------------------------------------------------------

TEST_CASE("a factory that throws fails the start with its words, and ends what was started") {
  registry r;
  runtime rt(quiet());
  supervisor_spec spec;
  spec.children = {wards(r, "a"), child_spec::made_by<ward>("b", []() -> std::tuple<std::reference_wrapper<registry>, int> {
                     throw std::runtime_error("no arguments today");
                   })};
  const auto tree = rt.start(spec);
  REQUIRE_FALSE(tree);
  CHECK(tree.error().code() == errc::start_failed);
  CHECK(tree.error().message() == "start_failed: std::runtime_error: child \"b\": no arguments today");
  CHECK(r.born.load() == 1);
  CHECK(r.living.load() == 0);
  CHECK(rt.metrics().cells == 0);
}

TEST_CASE("a factory that throws does not keep start_child's spec, and harms nobody") {
  registry r;
  runtime rt(quiet());
  supervisor_spec spec;
  spec.children = {wards(r, "a")};
  auto tree = rt.start(spec).value();
  r.refuse_births = 1;
  const auto added = tree.start_child(wards(r, "b"));
  REQUIRE_FALSE(added);
  CHECK(added.error().code() == errc::start_failed);
  CHECK(added.error().message() == "start_failed: std::runtime_error: no room");
  CHECK(tree.count().specs == 1);
  CHECK(tree.start_child(wards(r, "b")).has_value());
  CHECK(r.living.load() == 2);
}

TEST_CASE("a factory that returns nothing leaves a child without a cell, to be started when there is something") {
  registry r;
  runtime rt(quiet());
  bool something = false;
  supervisor_spec spec;
  using arguments = std::optional<std::tuple<std::reference_wrapper<registry>, int>>;
  spec.children = {child_spec::made_by<ward>("a", [&]() -> arguments {
    if (!something) return std::nullopt;
    return std::tuple(std::ref(r), 5);
  })};
  auto tree = rt.start(spec).value();
  CHECK(tree.children().at(0).state == child_state::stopped);
  CHECK_FALSE(tree.find_any("a"));
  CHECK(r.born.load() == 0);
  CHECK(rt.metrics().failures == 0);
  something = true;
  const auto started = tree.restart_child("a");
  REQUIRE(started);
  CHECK(rt.ask(started->child.as<ward>(), get{}, long_time) == 5);
}

TEST_CASE("a factory that never returns holds up its own supervisor alone; the runtime's shutdown says so, and completes later") {
  registry r;
  door d;
  runtime rt(quiet(2));
  supervisor_spec stuck;
  stuck.where = placement::on_worker(0);
  stuck.children = {wards(r, "a"), child_spec::of<latecomer>("b", std::ref(r), std::cref(d)), wards(r, "c")};
  supervisor_spec free;
  free.where = placement::on_worker(1);
  child_options there;
  there.where = placement::on_worker(1);
  free.children = {wards(r, "x").with(there)};
  result<ordered_supervisor> outcome;
  std::thread starter([&] { outcome = rt.start(stuck); });
  REQUIRE(eventually([&] { return r.born.load() == 2; }));

  auto other = rt.start(free).value();
  const auto x = other.find<ward>("x");
  const auto before = x.get();
  x.send(fail_hard{});
  CHECK(eventually([&] { return x.get() && !(x.get() == before); }));
  CHECK(rt.ask(x, ping{}, long_time) == true);

  CHECK_FALSE(rt.shutdown(std::chrono::milliseconds(50)).complete);
  CHECK(other.ended());
  d.open();
  starter.join();
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().code() == errc::closed);
  CHECK(rt.shutdown(long_time).complete);
  CHECK(r.living.load() == 0);
  CHECK(r.born.load() == 4);  // a, b, x twice; never c
}

TEST_CASE("a supervisor answers questions while a factory does not return") {
  registry r;
  door d;
  runtime rt(quiet(2));
  supervisor_spec spec;
  spec.children = {wards(r, "a")};
  auto tree = rt.start(spec).value();
  std::thread adder([&] {
    const auto added = tree.start_child(child_spec::of<latecomer>("late", std::ref(r), std::cref(d)));
    CHECK(added.has_value());
  });
  REQUIRE(eventually([&] { return r.born.load() == 2; }));
  CHECK(tree.children().size() == 1);
  CHECK(tree.count().active == 1);
  CHECK(tree.find<ward>("a"));
  CHECK(tree.spec_of("late").error().code() == errc::not_found);
  d.open();
  adder.join();
  CHECK(tree.children().size() == 2);
}

TEST_CASE("a factory that kills its supervisor is the last to be called: all children end, with killed for a reason") {
  registry r;
  runtime rt(quiet());
  supervisor_spec spec;
  spec.children = {wards(r, "a"), wards(r, "b")};
  auto tree = rt.start(spec).value();
  const auto added = tree.start_child(child_spec::made_by<ward>("c", [&] {
    tree.exit(exit_reason::killed());
    return std::tuple(std::ref(r), 1);
  }));
  REQUIRE_FALSE(added);
  CHECK(added.error().code() == errc::closed);
  REQUIRE(tree.wait_ended(long_time));
  CHECK(tree.ended() == exit_reason::killed());
  CHECK(r.living.load() == 0);
  CHECK(rt.metrics().cells == 0);
  CHECK(tree.start_child(wards(r, "d")).error().code() == errc::closed);
}

TEST_CASE("a constructor that stops its supervisor does not wait for itself") {
  registry r;
  runtime rt(quiet());
  supervisor_spec spec;
  auto tree = rt.start(spec).value();
  static_cast<void>(tree.start_child(child_spec::made_by<ward>("c", [&] {
    CHECK(tree.start_child(wards(r, "x")).error().code() == errc::would_block);
    CHECK_FALSE(tree.wait_ended(long_time));
    tree.stop();
    return std::tuple(std::ref(r), 1);
  })));
  REQUIRE(tree.wait_ended(long_time));
  CHECK(tree.ended() == exit_reason::shutdown());
  CHECK(r.living.load() == 0);
}

TEST_CASE("a child that dies in its first handler is restarted as often as the intensity allows, then its supervisor ends") {
  registry r;
  runtime rt(quiet());
  supervisor_spec spec;
  spec.intensity = {7, std::chrono::hours(1)};
  spec.children = {child_spec::of<stillborn>("a", std::ref(r))};
  auto tree = rt.start(spec).value();
  REQUIRE(tree.wait_ended(long_time));
  CHECK(tree.ended() == exit_reason::shutdown());
  CHECK(r.born.load() == 8);
  CHECK(r.living.load() == 0);
  CHECK(tree.restarts() == 7);
}

TEST_CASE("a supervisor that is stopped while it restarts a child in vain ends at once, and tries no more") {
  for (const auto strategy : {one_for_one, one_for_all, rest_for_one}) {
    registry r;
    runtime rt(quiet());
    supervisor_spec spec;
    spec.strategy = strategy;
    spec.intensity = endless;
    spec.children = {wards(r, "a"), wards(r, "b"), wards(r, "c")};
    auto tree = rt.start(spec).value();
    r.refuse_births = 1'000'000'000;
    tree.find<ward>("b").send(fail_hard{});
    REQUIRE(eventually([&] { return tree.restarts() > 10; }));
    tree.stop();
    CHECK(tree.ended() == exit_reason::shutdown());
    CHECK(r.living.load() == 0);
    const int left = r.refuse_births.load();
    CHECK(rt.shutdown(long_time).complete);
    CHECK(r.refuse_births.load() == left);
  }
}

TEST_CASE("a spec with a duplicate id is refused before anything starts") {
  registry r;
  runtime rt(quiet());
  supervisor_spec spec;
  spec.children = {wards(r, "a"), wards(r, "a")};
  const auto tree = rt.start(spec);
  REQUIRE_FALSE(tree);
  CHECK(tree.error().code() == errc::invalid_argument);
  CHECK(r.born.load() == 0);
}

TEST_CASE("a placement that does not exist is an error of the start") {
  registry r;
  runtime rt(quiet(1));
  supervisor_spec spec;
  spec.where = placement::on_worker(7);
  CHECK(rt.start(spec).error().code() == errc::not_found);
  spec.where = {};
  child_options nowhere;
  nowhere.where = placement::on_worker(7);
  spec.children = {wards(r, "a").with(nowhere)};
  CHECK(rt.start(spec).error().code() == errc::start_failed);
}

TEST_CASE("a child that heeds nothing can not hang its supervisor") {
  registry r;
  runtime rt(quiet());
  supervisor_spec spec;
  spec.children = {child_spec::of<stubborn>("a", std::ref(r)).with(within(std::chrono::milliseconds(5))), wards(r, "b")};
  auto tree = rt.start(spec).value();
  CHECK(tree.terminate_child("a").has_value());
  CHECK(r.living.load() == 1);
  CHECK(tree.restart_child("a").has_value());
  tree.stop();
  CHECK(r.living.load() == 0);
}

// ---- handles --------------------------------------------------------------------------------------------------------------

TEST_CASE("handles of cells and supervisors survive the restart of the tree around them") {
  registry r;
  runtime rt(quiet());
  supervisor_spec inner;
  inner.intensity = {0, std::chrono::seconds(5)};
  inner.children = {wards(r, "leaf", 3), wards(r, "other", 4)};
  supervisor_spec outer;
  outer.intensity = endless;
  outer.children = {child_spec::tree("inner", inner)};
  auto top = rt.start(outer).value();
  const ordered_supervisor middle = top.find_any("inner").as_tree();
  const auto leaf = middle.find<ward>("leaf");
  for (int i = 0; i < 50; ++i) {
    const auto now = leaf.get();
    now.send(fail_hard{});  // one too many for `inner`, which is restarted by `outer`
    REQUIRE(eventually([&] { return leaf.get() && !(leaf.get() == now); }));
    CHECK(leaf.alive());
  }
  CHECK(top.find_any("inner").as_tree() == middle);
  CHECK(rt.ask(leaf, get{}, long_time) == 3);
  REQUIRE(eventually([&] { return r.living.load() == 2; }));
  top.stop();
  CHECK_FALSE(leaf.alive());
  CHECK(leaf.send(ping{}) == send_result::dead);
  CHECK(r.living.load() == 0);
}

TEST_CASE("between two incarnations a send says restarting, after the spec is deleted dead") {
  registry r;
  runtime rt(quiet());
  supervisor_spec spec;
  spec.children = {wards(r, "a")};
  auto tree = rt.start(spec).value();
  const auto a = tree.find<ward>("a");
  REQUIRE(tree.terminate_child("a"));
  CHECK(a.send(ping{}) == send_result::restarting);
  CHECK(a.alive());
  REQUIRE(tree.restart_child("a"));
  CHECK(rt.ask(a, ping{}, long_time) == true);
  REQUIRE(tree.terminate_child("a"));
  REQUIRE(tree.delete_child("a"));
  CHECK(a.send(ping{}) == send_result::dead);
}

TEST_CASE("a supervisor below another is killed with all its children, and none is left when it is restarted") {
  registry r;
  runtime rt(quiet());
  supervisor_spec inner;
  for (int i = 0; i < 20; ++i) inner.children.push_back(wards(r, "w" + std::to_string(i), i));
  supervisor_spec outer;
  outer.intensity = endless;
  outer.children = {child_spec::tree("inner", inner)};
  auto top = rt.start(outer).value();
  auto middle = top.find_any("inner").as_tree();
  for (int i = 1; i <= 20; ++i) {
    middle.exit(exit_reason::killed());
    REQUIRE(eventually([&] { return r.born.load() == 20 * (i + 1); }));
    CHECK(r.living.load() == 20);
  }
}

// ---- calls from cells -----------------------------------------------------------------------------------------------------

namespace {

struct work_through {};

/// Adds, ends, restarts and deletes a child, one after the other, and writes the outcomes.
class manager : public cell {
public:
  using accepts = signals<work_through>;
  manager(diary& d, registry& r, ordered_supervisor s) : diary_(&d), registry_(&r), tree_(std::move(s)) {}
  void on(work_through) {
    tree_.start_child(*this, wards(*registry_, "new", 9), [this](result<started_child> s) {
      note("start", s.has_value() && s->child.as<ward>());
      tree_.delete_child(*this, "new", [this](result<void> d) {
        diary_->write(to_string(d.error().code()));
        tree_.terminate_child(*this, "new", [this](result<void> t) {
          note("terminate", t.has_value());
          tree_.restart_child(*this, "new", [this](result<started_child> again) { note("restart", again.has_value()); });
        });
      });
    });
  }

private:
  void note(const char* what, bool good) { diary_->write(std::string(what) + (good ? " ok" : " failed")); }
  diary* diary_;
  registry* registry_;
  ordered_supervisor tree_;
};

}  // namespace

TEST_CASE("cells change a supervisor with continuations, also their own") {
  registry r;
  diary d;
  runtime rt(quiet());
  supervisor_spec spec;
  auto tree = rt.start(spec).value();
  REQUIRE(tree.start_child(child_spec::of<manager>("boss", std::ref(d), std::ref(r), tree)));
  tree.find<manager>("boss").send(work_through{});
  REQUIRE(d.has(4));
  CHECK(d.lines() == lines{"start ok", "running", "terminate ok", "restart ok"});
  CHECK(tree.count().active == 2);
}

// ---- mailboxes ------------------------------------------------------------------------------------------------------------

namespace {

/// Notes numbers; fails at 13, the first time.
class noter : public cell {
public:
  using accepts = signals<number, caught_up>;
  noter(diary& d, std::atomic<bool>& failed, const door& start) : diary_(&d), failed_(&failed), start_(&start) {}
  void on(const number& n) {
    start_->pass();
    if (n.value == 13 && !failed_->exchange(true)) throw std::runtime_error("13");
    diary_->write(std::to_string(n.value));
  }
  bool on(caught_up) { return true; }

private:
  diary* diary_;
  std::atomic<bool>* failed_;
  const door* start_;
};

}  // namespace

TEST_CASE("what waits in the mailbox at a restart is dropped or kept, as the spec says") {
  const std::vector<std::pair<mailbox_policy, lines>> rows{
      {mailbox_policy::dropped, {"1"}},
      {mailbox_policy::kept, {"1", "13", "2", "3"}},
      {mailbox_policy::kept_without_last, {"1", "2", "3"}},
  };
  for (const auto& [policy, expected] : rows) {
    diary d;
    std::atomic<bool> failed{false};
    door start;
    runtime rt(quiet());
    child_options o;
    o.mailbox = policy;
    supervisor_spec spec;
    spec.children = {child_spec::of<noter>("a", std::ref(d), std::ref(failed), std::cref(start)).with(o)};
    auto tree = rt.start(spec).value();
    const auto a = tree.find<noter>("a");
    for (const int n : {1, 13, 2, 3}) CHECK(a.send(number{n}) == send_result::accepted);
    start.open();
    REQUIRE(eventually([&] { return failed.load() && tree.restarts() == 1; }));
    REQUIRE(eventually([&] { return rt.ask(a, caught_up{}, long_time).has_value(); }));
    CHECK(d.lines() == expected);
    if (policy == mailbox_policy::dropped) CHECK(rt.metrics().dropped_dead == 2);
  }
}

// ---- all at once ----------------------------------------------------------------------------------------------------------

TEST_CASE("trees that are hit everywhere at once leave no cell behind, and never two of one child") {
  for (int round = 0; round < 60; ++round) {
    registry r;
    runtime rt(quiet(2));
    supervisor_spec inner;
    inner.strategy = round % 2 == 0 ? one_for_all : rest_for_one;
    inner.intensity = {static_cast<std::uint32_t>(round % 5), std::chrono::hours(1)};
    for (int i = 0; i < 5; ++i) inner.children.push_back(wards(r, "w" + std::to_string(i), i));
    supervisor_spec outer;
    outer.intensity = endless;
    for (int i = 0; i < 3; ++i) outer.children.push_back(child_spec::tree("t" + std::to_string(i), inner));
    auto top = rt.start(outer).value();
    std::vector<child<ward>> all;
    std::vector<ordered_supervisor> trees;
    for (int i = 0; i < 3; ++i) {
      trees.push_back(top.find_any("t" + std::to_string(i)).as_tree());
      for (int k = 0; k < 5; ++k) all.push_back(trees.back().find<ward>("w" + std::to_string(k)));
    }
    const auto hit = [&](unsigned seed) {
      for (unsigned i = 0; i < 40; ++i) {
        const auto n = (seed + i * 7) % all.size();
        if (i % 13 == 0) trees[n % 3].exit(i % 2 == 0 ? exit_reason::killed() : exit_reason::shutdown());
        all[n].send(fail_hard{});
        if (i % 9 == 0) static_cast<void>(trees[n % 3].start_child(wards(r, "extra", 1).with(of_type(restart_type::temporary))));
        CHECK(r.living.load() <= 18);
      }
    };
    std::thread one(hit, static_cast<unsigned>(round));
    std::thread two(hit, static_cast<unsigned>(round * 3 + 1));
    one.join();
    two.join();
    if (round % 3 == 0) top.stop();
    if (round % 3 == 1) top.exit(exit_reason::killed());
    CHECK(rt.shutdown(long_time).complete);
    CHECK(r.living.load() == 0);
  }
}
