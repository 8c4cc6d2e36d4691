// SPDX-License-Identifier: Apache-2.0
#include <functional>
#include <thread>

#include "unit/supervise/ordered_testing.hpp"

using namespace karyon;
using namespace karyon::tests;

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
    REQUIRE(eventually([&] { return born_again(leaf, now); }));
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
      tree_.delete_child(*this, "new", [this](const result<void>& d) {
        diary_->write(to_string(d.error().code()));
        tree_.terminate_child(*this, "new", [this](const result<void>& t) {
          note("terminate", t.has_value());
          tree_.restart_child(*this, "new",
                              [this](result<started_child> again) { note("restart", again.has_value()); });
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
    std::atomic<int> most{0};  // checked by one thread: Catch2 takes no checks of several
    const auto hit = [&](unsigned seed) {
      for (unsigned i = 0; i < 40; ++i) {
        const auto n = (seed + i * 7) % all.size();
        if (i % 13 == 0) trees[n % 3].exit(i % 2 == 0 ? exit_reason::killed() : exit_reason::shutdown());
        all[n].send(fail_hard{});
        if (i % 9 == 0)
          static_cast<void>(trees[n % 3].start_child(wards(r, "extra", 1).with(of_type(restart_type::temporary))));
        const int living = static_cast<int>(r.living.load());
        for (int seen = most.load(); seen < living && !most.compare_exchange_weak(seen, living);) {
        }
      }
    };
    std::thread one(hit, static_cast<unsigned>(round));
    std::thread two(hit, static_cast<unsigned>(round * 3 + 1));
    one.join();
    two.join();
    CHECK(most.load() <= 18);
    if (round % 3 == 0) top.stop();
    if (round % 3 == 1) top.exit(exit_reason::killed());
    CHECK(rt.shutdown(long_time).complete);
    CHECK(r.living.load() == 0);
  }
}
