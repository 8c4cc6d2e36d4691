// SPDX-License-Identifier: Apache-2.0
#include <functional>
#include <thread>

#include "unit/supervise/ordered_testing.hpp"

using namespace karyon;
using namespace karyon::tests;

TEST_CASE("a factory that throws fails the start with its words, and ends what was started") {
  registry r;
  runtime rt(quiet());
  supervisor_spec spec;
  spec.children = {wards(r, "a"),
                   child_spec::made_by<ward>("b", []() -> std::tuple<std::reference_wrapper<registry>, int> {
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

TEST_CASE(
    "a factory that never returns holds up its own supervisor alone; the runtime's shutdown says so, and completes "
    "later") {
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
  CHECK(eventually([&] { return born_again(x, before); }));
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

TEST_CASE(
    "a child that dies in its first handler is restarted as often as the intensity allows, then its supervisor ends") {
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
  spec.children = {child_spec::of<stubborn>("a", std::ref(r)).with(within(std::chrono::milliseconds(5))),
                   wards(r, "b")};
  auto tree = rt.start(spec).value();
  CHECK(tree.terminate_child("a").has_value());
  CHECK(r.living.load() == 1);
  CHECK(tree.restart_child("a").has_value());
  tree.stop();
  CHECK(r.living.load() == 0);
}
