// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <random>

#include "support/catch.hpp"
#include "unit/supervise/ordered_driver.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;
using birth = ordered_driver::birth;
using lines = std::vector<std::string>;

namespace {

constexpr auto permanent = restart_type::permanent;
constexpr auto transient = restart_type::transient;
constexpr auto temporary = restart_type::temporary;
constexpr auto never = auto_shutdown::never;
constexpr auto any = auto_shutdown::any_significant;
constexpr auto all = auto_shutdown::all_significant;

ordered_driver::logic_type::settings rules(restart_strategy strategy = one_for_one, std::uint32_t restarts = 1000,
                                           auto_shutdown automatic = never) {
  ordered_driver::logic_type::settings s;
  s.strategy = strategy;
  s.intensity = {restarts, 5s};
  s.automatic = automatic;
  return s;
}

const exit_reason failure = exit_reason::error("type", "words");
const exit_reason with_words = exit_reason::shutdown("words");

/// a, b, c, running, nothing written yet.
ordered_driver three(const ordered_driver::logic_type::settings& s) {
  ordered_driver d(s);
  d.with("a").with("b").with("c").begin();
  d.log();
  return d;
}

}  // namespace

// ---- start ---------------------------------------------------------------------------------------------------------------

TEST_CASE("children are started in order, then the supervisor has started") {
  ordered_driver d(rules());
  d.with("a").with("b").begin();
  CHECK(d.log() == lines{"start a", "start b", "has started"});
}

TEST_CASE("a child that takes its time holds up those behind it") {
  ordered_driver d(rules());
  d.births["a"] = {birth::hangs};
  d.with("a").with("b").begin();
  CHECK(d.log() == lines{"start a"});
  d.has_started("a");
  CHECK(d.log() == lines{"start b", "has started"});
}

TEST_CASE("a failed start ends those that have started in reverse, and names the child") {
  ordered_driver d(rules());
  d.births["c"] = {birth::fails};
  d.with("a").with("b").with("c").with("d").begin();
  CHECK(d.log() == lines{"start a", "start b", "start c", "start_error c: start_failed: type: words", "ask b", "ask a",
                         "start has failed: start_failed: type: child \"c\": words"});
}

TEST_CASE("what has ended while a start failed is only confirmed") {
  ordered_driver d(rules());
  d.births["b"] = {birth::hangs};
  d.with("a").with("b").begin();
  d.dies("a", exit_reason::normal());
  d.has_failed("b");
  CHECK(d.log() == lines{"start a", "start b", "start_error b: start_failed: type: words", "shutdown_error a: normal",
                         "start has failed: start_failed: type: child \"b\": words"});
}

TEST_CASE("an ignored child is kept, but not a temporary one") {
  ordered_driver d(rules());
  d.births["a"] = d.births["b"] = {birth::ignored};
  d.with("a").with("b", temporary).with("c").begin();
  CHECK(d.log() == lines{"start a", "start b", "forget b", "start c", "has started"});
  CHECK(d.state("a") == child_state::stopped);
}

TEST_CASE("a child that ends during the start is looked after when that is done") {
  ordered_driver d(rules());
  d.births["b"] = {birth::hangs};
  d.with("a").with("b").begin();
  d.ends("a", failure);
  CHECK(d.log() == lines{"start a", "start b"});
  d.has_started("b");
  CHECK(d.log() == lines{"has started", "child_terminated a: error: type: words", "start a"});
}

// ---- restart types --------------------------------------------------------------------------------------------------------

TEST_CASE("a child is restarted, kept or dropped as its restart type and its reason say") {
  struct row {
    restart_type type;
    exit_reason why;
    lines expected;
  };
  const std::vector<row> rows{
      {permanent, exit_reason::normal(), {"child_terminated a: normal", "start a"}},
      {permanent, exit_reason::shutdown(), {"child_terminated a: shutdown", "start a"}},
      {permanent, with_words, {"child_terminated a: shutdown: words", "start a"}},
      {permanent, exit_reason::killed(), {"child_terminated a: killed", "start a"}},
      {permanent, failure, {"child_terminated a: error: type: words", "start a"}},
      {transient, exit_reason::normal(), {}},
      {transient, exit_reason::shutdown(), {}},
      {transient, with_words, {}},
      {transient, exit_reason::killed(), {"child_terminated a: killed", "start a"}},
      {transient, failure, {"child_terminated a: error: type: words", "start a"}},
      {temporary, exit_reason::normal(), {"forget a"}},
      {temporary, exit_reason::shutdown(), {"forget a"}},
      {temporary, with_words, {"forget a"}},
      {temporary, exit_reason::killed(), {"child_terminated a: killed", "forget a"}},
      {temporary, failure, {"child_terminated a: error: type: words", "forget a"}},
  };
  for (const auto strategy : {one_for_one, one_for_all, rest_for_one}) {
    for (const row& r : rows) {
      ordered_driver d(rules(strategy));
      d.with("a", r.type).begin();
      d.log();
      d.ends("a", r.why);
      INFO(static_cast<int>(r.type) << " " << to_string(r.why));
      CHECK(d.log() == r.expected);
      if (r.type == transient && r.expected.empty()) CHECK(d.state("a") == child_state::stopped);
    }
  }
}

// ---- strategies -----------------------------------------------------------------------------------------------------------

TEST_CASE("each strategy restarts its group, for each child that fails") {
  struct row {
    restart_strategy strategy;
    const char* failing;
    lines expected;
  };
  const std::vector<row> rows{
      {one_for_one, "a", {"start a"}},
      {one_for_one, "b", {"start b"}},
      {one_for_one, "c", {"start c"}},
      {one_for_all, "a", {"ask c", "ask b", "start a", "start b", "start c"}},
      {one_for_all, "b", {"ask c", "ask a", "start a", "start b", "start c"}},
      {one_for_all, "c", {"ask b", "ask a", "start a", "start b", "start c"}},
      {rest_for_one, "a", {"ask c", "ask b", "start a", "start b", "start c"}},
      {rest_for_one, "b", {"ask c", "start b", "start c"}},
      {rest_for_one, "c", {"start c"}},
  };
  for (const row& r : rows) {
    auto d = three(rules(r.strategy));
    d.quiet = true;
    d.ends(r.failing, failure);
    INFO(static_cast<int>(r.strategy) << " " << r.failing);
    CHECK(d.log() == r.expected);
    CHECK(d.living() == 3);
    CHECK(d.logic.restarts() == 1);
  }
}

TEST_CASE("a group restart drops temporary children, and starts those that were kept without a cell") {
  ordered_driver d(rules(one_for_all));
  d.with("a").with("t", temporary).with("s").with("i").begin();
  d.terminate("s");
  d.log();
  d.ends("a", failure);
  CHECK(d.log() == lines{"child_terminated a: error: type: words", "ask i", "ask t", "forget t", "start a", "start s",
                         "start i"});
}

TEST_CASE("siblings that end during a group restart are confirmed once, outsiders are looked after behind it") {
  auto d = three(rules(rest_for_one));
  d.deaf = true;
  d.ends("b", failure);  // c is asked, and takes its time
  d.ends("a", failure);
  CHECK(d.log() == lines{"child_terminated b: error: type: words", "ask c"});
  d.deaf = false;
  d.ends("c", exit_reason::shutdown());
  CHECK(d.log() == lines{"start b", "start c", "child_terminated a: error: type: words", "ask c", "ask b", "start a",
                         "start b", "start c"});
  CHECK(d.logic.restarts() == 2);
  CHECK(d.errors == 0);
}

TEST_CASE("two siblings that end together are one restart of their group, and two under one_for_one") {
  for (const auto strategy : {one_for_one, one_for_all, rest_for_one}) {
    auto d = three(rules(strategy));
    d.quiet = true;
    d.dies("a", failure);
    d.dies("b", failure);
    d.run();
    CHECK(d.logic.restarts() == (strategy == one_for_one ? 2 : 1));
    CHECK(d.living() == 3);
  }
}

TEST_CASE("a sibling that fails while its group starts is looked after when the group runs") {
  auto d = three(rules(one_for_all));
  d.quiet = true;
  d.births["c"] = {birth::hangs};
  d.ends("a", failure);
  d.ends("b", failure);
  CHECK(d.log() == lines{"ask c", "ask b", "start a", "start b", "start c"});
  d.has_started("c");
  CHECK(d.log() == lines{"ask c", "ask a", "start a", "start b", "start c"});
}

// ---- failed restarts ------------------------------------------------------------------------------------------------------

TEST_CASE("a failed restart is tried again as its strategy says, each try counted") {
  struct row {
    restart_strategy strategy;
    lines expected;
  };
  const std::vector<row> rows{
      {one_for_one, {"start b", "start b"}},
      {one_for_all, {"ask c", "ask a", "start a", "start b", "ask a", "start a", "start b", "start c"}},
      {rest_for_one, {"ask c", "start b", "start b", "start c"}},
  };
  for (const row& r : rows) {
    auto d = three(rules(r.strategy));
    d.quiet = true;
    d.births["b"] = {birth::fails};
    d.ends("b", failure);
    CHECK(d.log() == r.expected);
    CHECK(d.logic.restarts() == 2);
    CHECK(d.living() == 3);
  }
}

TEST_CASE("a sibling whose start fails in a group restart is the one that is tried again") {
  auto d = three(rules(rest_for_one));
  d.quiet = true;
  d.births["c"] = {birth::fails};
  d.ends("b", failure);
  CHECK(d.log() == lines{"ask c", "start b", "start c", "start c"});
}

TEST_CASE("those behind one that can not start are stopped, and it is restarting") {
  for (const auto strategy : {one_for_all, rest_for_one}) {
    auto d = three(rules(strategy));
    d.always["b"] = birth::fails;
    d.dies("b", failure);
    d.run(50);
    CHECK(d.state("c") == child_state::stopped);
    CHECK(d.state("b") == child_state::restarting);
    CHECK(d.lives("a") == (strategy == rest_for_one || d.state("a") == child_state::running));
  }
}

TEST_CASE("commands come in between two tries: a child that loops is terminated, asked for, or refused") {
  auto d = three(rules(one_for_one, 1'000'000));
  d.quiet = true;
  d.always["b"] = birth::fails;
  d.dies("b", failure);
  d.run(20);
  d.log();
  d.logic.restart_child(101, "b");
  d.logic.delete_child(102, "b");
  d.add("b");
  d.logic.terminate_child(104, "b");
  d.logic.delete_child(105, "b");
  d.run(40);
  lines answers;
  for (const auto& l : d.log()) {
    if (l.rfind("answer", 0) == 0) answers.push_back(l);
  }
  CHECK(answers == lines{"answer 101: restarting", "answer 102: restarting", "answer 1: already_present",
                         "answer 104: ok", "answer 105: ok"});
  d.run();
  CHECK(d.log().empty());  // no try follows
  CHECK(d.living() == 2);
}

TEST_CASE("a child that is ignored at its restart is kept without a cell") {
  auto d = three(rules());
  d.births["b"] = {birth::ignored};
  d.ends("b", failure);
  CHECK(d.state("b") == child_state::stopped);
  CHECK(d.overs == 0);
}

// ---- intensity ------------------------------------------------------------------------------------------------------------

TEST_CASE("one restart more than the intensity within the period ends the supervisor, under every strategy") {
  for (const auto strategy : {one_for_one, one_for_all, rest_for_one}) {
    for (std::uint32_t limit = 0; limit < 4; ++limit) {
      auto d = three(rules(strategy, limit));
      d.quiet = true;
      for (std::uint32_t i = 0; i < limit; ++i) d.ends("c", failure);
      CHECK(d.overs == 0);
      d.log();
      d.ends("c", failure);
      CHECK(d.log() == lines{"ask b", "ask a", "has ended: shutdown"});
      CHECK(d.logic.restarts() == limit);
      CHECK(d.errors == 0);
    }
  }
}

TEST_CASE("restarts count as long as they lie within the period, its last nanosecond included") {
  const std::uint64_t period = 5'000'000'000;
  for (const std::uint64_t gap : {period, period + 1}) {
    auto d = three(rules(one_for_one, 1));
    d.ends("a", failure);
    d.now += gap;
    d.ends("a", failure);
    CHECK(d.overs == (gap > period ? 0 : 1));
  }
}

TEST_CASE("failed restarts use up the intensity") {
  auto d = three(rules(one_for_one, 3));
  d.quiet = true;
  d.always["b"] = birth::fails;
  d.ends("b", failure);
  CHECK(d.log() == lines{"start b", "start b", "start b", "ask c", "ask a", "has ended: shutdown"});
}

TEST_CASE("giving up is reported, of the child that was one too many") {
  auto d = three(rules(one_for_one, 0));
  d.ends("a", failure);
  CHECK(d.log() == lines{"child_terminated a: error: type: words", "shutdown a: shutdown: reached_max_restart_intensity",
                         "ask c", "ask b", "has ended: shutdown"});
}

// ---- ending children ------------------------------------------------------------------------------------------------------

TEST_CASE("a child is ended as its shutdown policy says") {
  ordered_driver d(rules());
  d.with("forever")
      .with("brutal", permanent, false, child_shutdown::brutal_kill())
      .with("soon", permanent, false, child_shutdown::within(20ms))
      .with("now", permanent, false, child_shutdown::within(0ms))
      .begin();
  d.log();
  d.deaf = true;
  d.terminate("brutal");
  CHECK(d.log() == lines{"kill brutal", "answer 1: ok"});
  d.terminate("soon");
  CHECK(d.log() == lines{"ask soon", "deadline in 20 ms"});
  d.deadline_passes();
  CHECK(d.log() == lines{"kill soon", "shutdown_error soon: killed", "answer 2: ok"});
  d.terminate("now");
  CHECK(d.log() == lines{"ask now", "deadline in 0 ms"});
  d.ends("now", exit_reason::shutdown());
  CHECK(d.log() == lines{"no deadline", "answer 3: ok"});
  d.deadline_passes();  // too late
  CHECK(d.log().empty());
  d.terminate("forever");
  d.deadline_passes();
  CHECK(d.log() == lines{"ask forever"});
  d.ends("forever", exit_reason::shutdown());
  CHECK(d.log() == lines{"answer 4: ok"});
}

TEST_CASE("an end that was asked for is reported where its reason is not the one") {
  struct row {
    restart_type type;
    bool brutal;
    exit_reason why;
    bool reported;
  };
  std::vector<row> rows;
  for (const auto type : {permanent, transient, temporary}) {
    for (const bool brutal : {false, true}) {
      const bool tolerant = type != permanent;
      rows.push_back({type, brutal, exit_reason::shutdown(), brutal && !tolerant});
      rows.push_back({type, brutal, with_words, !tolerant});
      rows.push_back({type, brutal, exit_reason::normal(), !tolerant});
      rows.push_back({type, brutal, exit_reason::killed(), !brutal});
      rows.push_back({type, brutal, failure, true});
    }
  }
  for (const row& r : rows) {
    ordered_driver d(rules());
    d.with("a", r.type, false, r.brutal ? child_shutdown::brutal_kill() : child_shutdown::infinity()).begin();
    d.log();
    d.deaf = d.hard_to_kill = true;
    d.terminate("a");
    d.ends("a", r.why);
    const lines log = d.log();
    const bool reported =
        std::find(log.begin(), log.end(), "shutdown_error a: " + to_string(r.why)) != log.end();
    INFO(static_cast<int>(r.type) << (r.brutal ? " brutal " : " asked ") << to_string(r.why));
    CHECK(reported == r.reported);
  }
}

// ---- commands -------------------------------------------------------------------------------------------------------------

TEST_CASE("commands are answered as OTP answers them, in each state of a child") {
  ordered_driver d(rules());
  d.births["i"] = {birth::ignored};
  d.with("r").with("i").with("t", temporary).begin();
  d.log();
  d.start_child("r");
  CHECK(d.log() == lines{"forget r", "answer 1: already_started"});
  d.start_child("i");
  CHECK(d.log() == lines{"forget i", "answer 2: already_present"});
  d.restart("r");
  d.remove("r");
  d.restart("x");
  d.remove("x");
  d.terminate("x");
  CHECK(d.log() == lines{"answer 3: running", "answer 4: running", "answer 5: not_found", "answer 6: not_found",
                         "answer 7: not_found"});
  d.restart("i");
  CHECK(d.log() == lines{"start i", "answer 8: ok i"});
  d.terminate("i");
  d.terminate("i");
  CHECK(d.log() == lines{"ask i", "answer 9: ok", "answer 10: ok"});
  d.terminate("t");
  CHECK(d.log() == lines{"ask t", "forget t", "answer 11: ok"});
  d.restart("t");
  CHECK(d.log() == lines{"answer 12: not_found"});
}

TEST_CASE("a child that is added and fails leaves nothing behind, one that is restarted and fails stays kept") {
  auto d = three(rules());
  d.births["x"] = {birth::fails, birth::ignored, birth::lives};
  d.start_child("x");
  CHECK(d.log() == lines{"start x", "forget x", "answer 1: start_failed"});
  CHECK_FALSE(d.knows("x"));
  d.start_child("x");
  CHECK(d.log() == lines{"start x", "answer 2: ok x"});
  CHECK(d.state("x") == child_state::stopped);
  d.births["x"] = {birth::fails};
  d.restart("x");
  CHECK(d.log() == lines{"start x", "answer 3: start_failed"});
  CHECK(d.knows("x"));
  d.remove("x");
  CHECK(d.log() == lines{"forget x", "answer 4: ok"});
}

TEST_CASE("a temporary child that is added and ignored is not kept") {
  auto d = three(rules());
  d.births["x"] = {birth::ignored};
  d.start_child("x", temporary);
  CHECK(d.log() == lines{"start x", "forget x", "answer 1: ok x"});
}

TEST_CASE("an added child is the last: rest_for_one restarts it with those before, and it ends first") {
  auto d = three(rules(rest_for_one));
  d.quiet = true;
  d.start_child("x");
  d.log();
  d.ends("c", failure);
  CHECK(d.log() == lines{"ask x", "start c", "start x"});
  d.exit(exit_reason::shutdown());
  CHECK(d.log() == lines{"ask x", "ask c", "ask b", "ask a", "has ended: shutdown"});
}

TEST_CASE("commands queue behind the job in progress, in their order") {
  auto d = three(rules());
  d.deaf = true;
  d.terminate("b");
  d.restart("b");
  d.remove("b");
  CHECK(d.log() == lines{"ask b"});
  d.ends("b", exit_reason::shutdown());
  CHECK(d.log() == lines{"answer 1: ok", "start b", "answer 2: ok b", "answer 3: running"});
}

// ---- the supervisor's end -------------------------------------------------------------------------------------------------

TEST_CASE("an exit ends all in reverse, with the reason asked for; normal is ignored") {
  for (const auto& why : {exit_reason::shutdown(), with_words, failure}) {
    auto d = three(rules());
    d.exit(exit_reason::normal());
    CHECK(d.log().empty());
    d.exit(why);
    CHECK(d.log() == lines{"ask c", "ask b", "ask a", "has ended: " + to_string(why)});
  }
}

TEST_CASE("a kill kills all at once, and the supervisor has ended when the last death is confirmed") {
  auto d = three(rules());
  d.hard_to_kill = true;
  d.exit(exit_reason::killed());
  CHECK(d.log() == lines{"kill a", "kill b", "kill c"});
  d.ends("c", exit_reason::killed());
  d.ends("a", exit_reason::killed());
  CHECK(d.log().empty());
  d.ends("b", exit_reason::killed());
  CHECK(d.log() == lines{"has ended: killed"});
}

TEST_CASE("a kill overtakes an orderly end, and an orderly end does not change the first one's reason") {
  auto d = three(rules());
  d.deaf = true;
  d.exit(exit_reason::shutdown());
  d.exit(failure);
  CHECK(d.log() == lines{"ask c"});
  d.exit(exit_reason::killed());
  CHECK(d.log() == lines{"kill a", "kill b", "kill c", "has ended: killed"});
  CHECK(d.errors == 0);
}

TEST_CASE("an exit replaces the job: the child being ended is waited for, the asker told") {
  auto d = three(rules());
  d.deaf = true;
  d.terminate("a");
  d.restart("b");
  d.exit(exit_reason::shutdown());
  CHECK(d.log() == lines{"ask a", "answer 1: closed", "answer 2: closed"});
  d.deaf = false;
  d.ends("a", exit_reason::shutdown());
  CHECK(d.log() == lines{"ask c", "ask b", "has ended: shutdown"});
  CHECK(d.errors == 0);
}

TEST_CASE("an exit during a start asks the child that is starting, and waits for it") {
  for (const bool starts_all_the_same : {false, true}) {
    ordered_driver d(rules());
    d.births["b"] = {birth::hangs};
    d.deaf = true;
    d.with("a").with("b").with("c").begin();
    d.log();
    d.exit(exit_reason::shutdown());
    CHECK(d.log() == lines{"ask b"});
    d.deaf = false;
    if (starts_all_the_same) {
      d.has_started("b");
      d.ends("b", exit_reason::shutdown());
    } else {
      d.has_failed("b");
    }
    CHECK(d.log() == lines{"ask a", "has ended: shutdown"});
    CHECK(d.errors == 0);
  }
}

TEST_CASE("a supervisor below that is made to end while it starts counts as one that could not start") {
  ordered_driver d(rules());
  d.births["b"] = {birth::hangs};
  d.with("a").with("b").begin();
  d.log();
  d.ends("b", exit_reason::shutdown());
  CHECK(d.log() == lines{"start_error b: start_failed: ended: shutdown", "ask a",
                         "start has failed: start_failed: child \"b\": ended: shutdown"});
}

TEST_CASE("a supervisor that restarts a child in a loop can be stopped at each step") {
  for (int steps = 0; steps < 60; ++steps) {
    auto d = three(rules(steps % 2 == 0 ? one_for_all : rest_for_one, 1'000'000));
    d.quiet = true;
    d.always["b"] = birth::fails;
    d.dies("b", failure);
    d.run(steps);
    d.exit(exit_reason::shutdown());
    CHECK(d.overs == 1);
    CHECK(d.errors == 0);
    CHECK(d.log().back() == "has ended: shutdown");
  }
}

// ---- significant children -------------------------------------------------------------------------------------------------

TEST_CASE("the end of significant children ends the supervisor as its auto_shutdown says") {
  struct row {
    auto_shutdown automatic;
    restart_type type;
    exit_reason first;
    int overs_after_first;
    int overs_after_second;
  };
  const std::vector<row> rows{
      {any, transient, exit_reason::normal(), 1, 1},     {any, transient, exit_reason::shutdown(), 1, 1},
      {any, transient, with_words, 1, 1},                {any, transient, failure, 0, 0},
      {any, transient, exit_reason::killed(), 0, 0},     {any, temporary, exit_reason::normal(), 1, 1},
      {any, temporary, failure, 1, 1},                   {any, temporary, exit_reason::killed(), 1, 1},
      {all, transient, exit_reason::normal(), 0, 1},     {all, transient, with_words, 0, 1},
      {all, transient, failure, 0, 0},                   {all, temporary, exit_reason::normal(), 0, 1},
      {all, temporary, failure, 0, 1},
  };
  for (const row& r : rows) {
    ordered_driver d(rules(one_for_one, 1000, r.automatic));
    d.with("p").with("x", r.type, true).with("y", r.type, true).begin();
    INFO(static_cast<int>(r.automatic) << " " << static_cast<int>(r.type) << " " << to_string(r.first));
    d.ends("x", r.first);
    CHECK(d.overs == r.overs_after_first);
    if (d.overs == 0) d.ends("y", r.first);
    CHECK(d.overs == r.overs_after_second);
    if (d.overs != 0) CHECK(d.log().back() == "has ended: shutdown");
    CHECK(d.errors == 0);
  }
}

TEST_CASE("a significant child that its supervisor ends does not end the supervisor") {
  for (const auto automatic : {any, all}) {
    for (const auto type : {transient, temporary}) {
      ordered_driver d(rules(one_for_all, 1000, automatic));
      d.with("p").with("x", type, true).begin();
      d.terminate("x");
      CHECK(d.overs == 0);
      ordered_driver e(rules(one_for_all, 1000, automatic));
      e.with("p").with("x", type, true).begin();
      e.ends("p", failure);
      CHECK(e.overs == 0);
    }
  }
}

TEST_CASE("children that are not significant, or restarting ones, count as OTP counts them") {
  ordered_driver d(rules(one_for_one, 1'000'000, all));
  d.with("x", transient, true).with("y", transient, true).with("n", temporary).begin();
  d.ends("n", exit_reason::normal());
  CHECK(d.overs == 0);
  d.always["y"] = birth::fails;
  d.dies("y", failure);
  d.run(10);
  d.dies("x", exit_reason::normal());
  d.run(10);
  CHECK(d.overs == 0);  // y is restarting: not gone
  d.logic.terminate_child(1, "y");
  d.run(10);
  CHECK(d.overs == 0);  // ended by its supervisor
}

// ---- back-off -------------------------------------------------------------------------------------------------------------

TEST_CASE("with a back-off each restart waits longer, up to the maximum, and from the minimum after a long run") {
  auto s = rules();
  s.backoff = {100ms, 350ms, 10s, 0};
  auto d = three(s);
  d.quiet = true;
  const auto wait_ms = [&] {
    d.ends("b", failure);
    CHECK(d.log() == lines{"wait b"});
    CHECK(d.state("b") == child_state::restarting);
    const auto ms = d.last_wait_ns / 1'000'000;
    d.wait_is_over("b");
    CHECK(d.log() == lines{"start b"});
    d.now += 1'000'000'000;
    return ms;
  };
  CHECK(wait_ms() == 100);
  CHECK(wait_ms() == 200);
  CHECK(wait_ms() == 350);
  CHECK(wait_ms() == 350);
  d.now += 10'000'000'000;
  CHECK(wait_ms() == 100);
  CHECK(d.logic.restarts() == 5);  // each counted once
}

TEST_CASE("a restart that fails after a back-off waits longer, and counts") {
  auto s = rules(one_for_one, 2);
  s.backoff = {100ms, 1000ms, 10s, 0};
  auto d = three(s);
  d.quiet = true;
  d.always["b"] = birth::fails;
  d.ends("b", failure);
  CHECK(d.log() == lines{"wait b"});
  d.wait_is_over("b");
  CHECK(d.log() == lines{"start b", "wait b"});
  CHECK(d.last_wait_ns == 200'000'000);
  d.wait_is_over("b");
  d.wait_is_over("b");
  CHECK(d.log() == lines{"start b", "wait b", "ask c", "ask a", "has ended: shutdown"});
}

TEST_CASE("one failure too many does not wait for the back-off") {
  auto s = rules(one_for_one, 0);
  s.backoff = {100ms, 1000ms, 10s, 0};
  auto d = three(s);
  d.ends("b", failure);
  CHECK(d.overs == 1);
}

TEST_CASE("a wait is taken back when the child is terminated, restarted with its group, or the supervisor ends") {
  auto s = rules(one_for_all);
  s.backoff = {100ms, 1000ms, 10s, 0};
  auto d = three(s);
  d.quiet = true;
  d.ends("b", failure);
  d.log();
  d.terminate("b");
  CHECK(d.log() == lines{"no wait b", "answer 1: ok"});
  d.wait_is_over("b");  // it had fired already
  CHECK(d.log().empty());

  auto e = three(s);
  e.quiet = true;
  e.ends("b", failure);
  e.ends("a", failure);
  CHECK(e.log() == lines{"wait b", "wait a"});
  e.wait_is_over("a");
  CHECK(e.log() == lines{"ask c", "no wait b", "start a", "start b", "start c"});

  auto f = three(s);
  f.ends("b", failure);
  f.log();
  f.exit(exit_reason::shutdown());
  CHECK(f.log() == lines{"ask c", "no wait b", "ask a", "has ended: shutdown"});
}

TEST_CASE("the random part of a wait stays in its share, differs, and follows from the seed") {
  auto s = rules();
  s.backoff = {1000ms, 1000ms, 1h, 0.2};
  std::vector<std::uint64_t> waits[2];
  for (auto& w : waits) {
    auto d = three(s);
    for (int i = 0; i < 200; ++i) {
      d.ends("b", failure);
      w.push_back(d.last_wait_ns);
      d.wait_is_over("b");
      d.now += 6'000'000'000;
    }
  }
  CHECK(waits[0] == waits[1]);
  const auto [low, high] = std::minmax_element(waits[0].begin(), waits[0].end());
  CHECK(*low >= 800'000'000);
  CHECK(*low < 850'000'000);
  CHECK(*high <= 1'000'000'000);
  CHECK(*high > 950'000'000);
}

// ---- everything at random -------------------------------------------------------------------------------------------------

namespace {

/// One supervisor through random events, until an exit at event number `exit_at`.
struct wanderer {
  explicit wanderer(std::uint64_t seed) : random(seed), d(settings(seed)) {
    d.quiet = true;
    d.deaf = below(3) == 0;
    for (const auto& n : names) {
      for (int i = 0; i < 20; ++i) {
        const auto what = below(10);
        d.births[n].push_back(what < 6   ? birth::lives
                              : what < 8 ? birth::fails
                              : what < 9 ? birth::ignored
                                         : birth::hangs);
      }
    }
    const auto initial = below(5);
    for (std::uint64_t i = 0; i < initial; ++i) {
      const auto type = static_cast<restart_type>(below(3));
      const auto how = below(3) == 0   ? child_shutdown::brutal_kill()
                       : below(2) == 0 ? child_shutdown::within(10ms)
                                       : child_shutdown::infinity();
      d.with(names[i], type, type != permanent && below(2) == 0, how);
    }
    d.begin();
  }
  std::uint64_t below(std::uint64_t n) { return random() % n; }
  ordered_driver::logic_type::settings settings(std::uint64_t seed) {
    auto s = rules(static_cast<restart_strategy>(below(3)), static_cast<std::uint32_t>(below(8)),
                   static_cast<auto_shutdown>(below(3)));
    s.seed = seed;
    if (below(3) == 0) s.backoff = {10ms, 100ms, 1s, 0.5};
    return s;
  }
  exit_reason some_reason() {
    const exit_reason reasons[] = {exit_reason::normal(), exit_reason::shutdown(), with_words, exit_reason::killed(),
                                   failure};
    return reasons[below(5)];
  }
  void something_happens() {
    d.now += below(3) * 1'000'000'000;
    const std::string& name = names[below(names.size())];
    const auto hanging = d.hanging_ids();
    const auto living = d.living_ids();
    switch (below(9)) {
      case 0:
      case 1:
        if (!living.empty()) d.dies(living[below(living.size())], some_reason());
        break;
      case 2:
        if (!hanging.empty()) d.has_started(hanging.front());
        break;
      case 3:
        if (!hanging.empty()) d.has_failed(hanging.front());
        break;
      case 4: d.add(name, static_cast<restart_type>(below(3))); break;
      case 5: d.terminate(name); break;
      case 6: d.restart(name); break;
      case 7: d.remove(name); break;
      default: d.deadline_passes();
    }
    if (d.overs == 0) d.run(static_cast<int>(below(6)));
    if (d.overs == 0 && d.knows(name)) d.wait_is_over(name);
  }
  /// Whatever still lives ends at some time, asked or not.
  void all_comes_to_its_end() {
    d.deaf = false;
    for (int i = 0; i < 1000 && d.overs == 0; ++i) {
      d.run();
      const auto living = d.living_ids();
      if (d.overs == 0 && !living.empty()) d.ends(living[below(living.size())], some_reason());
    }
  }

  const std::vector<std::string> names{"a", "b", "c", "d", "e", "f"};
  std::mt19937_64 random;
  ordered_driver d;
};

}  // namespace

TEST_CASE("whatever happens and whenever it is asked to, a supervisor ends once, leaves nobody and answers everybody") {
  int by_exit = 0;
  int by_itself = 0;
  for (std::uint64_t seed = 1; seed <= 4000; ++seed) {
    wanderer w(seed);
    const auto exit_at = static_cast<int>(seed % 40);
    for (int i = 0; i < exit_at && w.d.overs == 0; ++i) w.something_happens();
    const bool early = w.d.overs != 0;
    const bool ending = w.d.logic.ending();
    const exit_reason why = seed % 3 == 0 ? exit_reason::killed() : exit_reason::shutdown();
    if (!early) {
      w.d.exit(why);
      // Nothing that comes afterwards changes that.
      for (int i = 0; i < 5 && w.d.overs == 0; ++i) w.something_happens();
      w.all_comes_to_its_end();
    }
    const lines log = w.d.log();
    std::string all;
    for (const auto& l : log) all += l + "\n";
    INFO("seed " << seed << "\n" << all);
    REQUIRE(w.d.overs == 1);
    REQUIRE(w.d.errors == 0);
    REQUIRE(w.d.living() == 0);
    REQUIRE(w.d.answers() == w.d.asked());
    if (!early && !ending) REQUIRE(log.back() == "has ended: " + to_string(why));
    (early || ending ? by_itself : by_exit) += 1;
  }
  CHECK(by_exit > 1000);
  CHECK(by_itself > 500);
}
