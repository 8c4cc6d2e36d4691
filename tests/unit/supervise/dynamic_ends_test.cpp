// SPDX-License-Identifier: Apache-2.0
// What a supervisor of many children reports of the ends that it has asked for, and of its own.
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
    CHECK(log.with(": shutdown, reason shutdown: reached_max_restart_intensity, child #").size() == 1);
  }
}
