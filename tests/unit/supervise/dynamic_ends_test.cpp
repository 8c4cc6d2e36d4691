// SPDX-License-Identifier: Apache-2.0
// What a supervisor of many children reports of the ends that it has asked for, and of its own.
#include <optional>
#include <stdexcept>
#include <thread>

#include "support/log_capture.hpp"
#include "unit/supervise/ordered_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

/// Traps exits, and answers a request to end with a reason of its own, or not at all.
class answerer : public cell {
public:
  using accepts = signals<ping>;
  explicit answerer(std::optional<exit_reason> answer) : answer_(std::move(answer)) { trap_exit(true); }
  void on(const exit_signal&) {
    if (answer_) exit(*answer_);
  }
  bool on(ping) { return true; }

private:
  std::optional<exit_reason> answer_;
};

struct row {
  restart_type type;
  child_shutdown how;
  std::optional<exit_reason> answer;
  bool reported;
};

std::vector<row> rows() {
  std::vector<row> all;
  for (const auto type : {restart_type::permanent, restart_type::transient, restart_type::temporary}) {
    const bool strict = type == restart_type::permanent;
    all.push_back({type, child_shutdown::infinity(), exit_reason::shutdown(), false});
    all.push_back({type, child_shutdown::infinity(), exit_reason::shutdown("words"), strict});
    all.push_back({type, child_shutdown::infinity(), exit_reason::normal(), strict});
    all.push_back({type, child_shutdown::infinity(), exit_reason::killed(), true});
    all.push_back({type, child_shutdown::within(1ms), std::nullopt, true});
    all.push_back({type, child_shutdown::brutal_kill(), std::nullopt, false});
  }
  return all;
}

runtime_options loud() {
  runtime_options options = quiet(2);
  options.crash_reports_per_second = 1'000'000;
  return options;
}

}  // namespace

TEST_CASE("many: an end that was asked for is reported where its reason is not the one") {
  const auto options = loud();
  for (const bool alone : {true, false}) {
    for (const row& r : rows()) {
      const log_capture log;
      runtime rt(options);
      auto s = rt.supervise();
      const auto c = s.start_with<answerer>({.restart = r.type, .shutdown = r.how}, r.answer);
      REQUIRE(rt.ask(c, ping{}, long_time).has_value());
      if (alone) {
        CHECK(s.terminate(c));
        CHECK(eventually([&] { return s.children() == 0; }));
      }
      s.stop();
      INFO((alone ? "terminated" : "stopped")
           << ", type " << static_cast<int>(r.type) << ", policy " << r.how.deadline().count() << " ms, answer "
           << (r.answer ? to_string(*r.answer) : "none"));
      CHECK(log.with(": shutdown_error, ").size() == (r.reported ? 1 : 0));
    }
  }
}

TEST_CASE("many: a supervisor that is killed reports no child of it") {
  const auto options = loud();
  const log_capture log;
  runtime rt(options);
  auto s = rt.supervise();
  const auto c = s.start_with<answerer>({.shutdown = child_shutdown::infinity()}, std::nullopt);
  REQUIRE(rt.ask(c, ping{}, long_time).has_value());
  REQUIRE(s.start_tree({.children = {child_spec::of<answerer>("a", std::nullopt)}}).has_value());
  s.exit(exit_reason::killed());
  REQUIRE(s.wait_ended(long_time));
  CHECK(log.with(": shutdown_error, ").empty());
}

TEST_CASE("many: a tree that has to be killed at its deadline is reported") {
  const auto options = loud();
  const log_capture log;
  runtime rt(options);
  auto s = rt.supervise();
  child_options forever;
  forever.shutdown = child_shutdown::infinity();
  const auto tree =
      s.start_tree({.children = {child_spec::of<answerer>("a", std::nullopt).with(forever)}}, within(20ms));
  REQUIRE(tree.has_value());
  s.stop();
  CHECK(tree->ended() == exit_reason::killed());
  CHECK(log.with("shutdown_error, reason killed").size() == 1);
}

TEST_CASE("many: a supervisor that gives up says so in OTP's words") {
  const auto options = loud();
  for (const bool of_a_tree : {false, true}) {
    registry r;
    const log_capture log;
    runtime rt(options);
    auto s = rt.supervise({.intensity = {0, 24h}});
    if (of_a_tree) {
      const auto tree = s.start_tree({.intensity = {0, 24h}, .children = {wards(r, "w")}});
      REQUIRE(tree.has_value());
      tree->find<ward>("w").send(fail_hard{});
    } else {
      s.start<ward>(std::ref(r), 1).send(fail_hard{});
    }
    REQUIRE(s.wait_ended(long_time));
    const std::string child = of_a_tree ? "child tree-" : "child #";
    CHECK(log.with(": shutdown, reason shutdown: reached_max_restart_intensity, " + child).size() == 1);
  }
}

// ---- significant children that are still to start ---------------------------------------------------------------------

namespace {

/// Its constructor says that it runs, waits at a door, and then fails or not.
class slow_starter : public cell {
public:
  using accepts = signals<die>;
  slow_starter(std::atomic<bool>& there, const door& d, bool fails) {
    there = true;
    d.pass();
    if (fails) throw std::runtime_error("no room");
  }
  void on(const die& d) { exit(d.why); }
};

/// A supervisor with one significant child, which ends while a further one, a cell or a tree, is in its constructor.
struct late_start {
  late_start(bool tree, bool fails) {
    // Not on one worker: a constructor that waits holds it up.
    const child_options important{
        .restart = restart_type::transient, .significant = true, .where = placement::on_worker(0)};
    const auto first = s.start_with<ward>(important, std::ref(r), 1);
    std::thread starter([&] {
      if (tree) {
        const auto slow = child_spec::of<slow_starter>("c", std::ref(there), std::ref(late), fails);
        started = s.start_tree({.children = {slow}, .where = placement::on_worker(1)}, important).has_value();
      } else {
        started = s.try_start<slow_starter>(important, std::ref(there), std::ref(late), fails).has_value();
      }
    });
    const bool inside = eventually([&] { return there.load(); });
    first.send(die{exit_reason::normal()});
    const bool gone = eventually([&] { return !first.alive(); });
    late.open();
    starter.join();
    REQUIRE(inside);
    REQUIRE(gone);
  }
  registry r;
  door late;
  std::atomic<bool> there{false};
  bool started = false;
  runtime rt{quiet()};
  supervisor s = rt.supervise({.intensity = {100, 5s}, .auto_shutdown = auto_shutdown::all_significant});
};

}  // namespace

TEST_CASE("a significant child that fails to start does not keep the supervisor from ending with the last that had") {
  for (const bool tree : {false, true}) {
    INFO("a tree: " << tree);
    late_start stage(tree, true);
    CHECK_FALSE(stage.started);
    REQUIRE(stage.s.wait_ended(long_time));
    CHECK(stage.s.ended() == exit_reason::shutdown());
    CHECK(stage.s.children() == 0);
  }
}

TEST_CASE("a supervisor whose last significant child ends during another's start ends with that one, too") {
  for (const bool tree : {false, true}) {
    INFO("a tree: " << tree);
    const late_start stage(tree, false);
    REQUIRE(stage.s.wait_ended(long_time));
    CHECK(stage.rt.metrics().cells == 0);
  }
}

TEST_CASE("a significant child that fails to start is not the last one that has ended") {
  registry r;
  runtime rt(quiet());
  for (const auto automatic : {auto_shutdown::any_significant, auto_shutdown::all_significant}) {
    const child_options important{.restart = restart_type::transient, .significant = true};
    auto s = rt.supervise({.intensity = {100, 5s}, .auto_shutdown = automatic});
    r.refuse_births = 2;
    CHECK_FALSE(s.try_start<ward>(important, std::ref(r), 1).has_value());
    CHECK_FALSE(s.start_tree({.children = {wards(r, "w")}}, important).has_value());
    const auto c = s.start_with<ward>(important, std::ref(r), 2);
    CHECK(rt.ask(c, get{}, long_time).value() == 2);
    CHECK_FALSE(s.ended().has_value());
    c.send(die{exit_reason::normal()});
    CHECK(s.wait_ended(long_time));
  }
}
