// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "support/catch.hpp"
#include "unit/supervise/ordered_driver.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;
using lines = std::vector<std::string>;

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

TEST_CASE("a deadline too long for 64 bits of nanoseconds is centuries, and not soon") {
  ordered_driver d(rules());
  constexpr std::chrono::milliseconds wraps((std::int64_t{1} << 58U) + 1);  // modulo 2^64 nanoseconds: 1 ms
  d.with("late", permanent, false, child_shutdown::within(wraps)).begin();
  d.log();
  d.deaf = true;
  d.terminate("late");
  CHECK(d.log() == lines{"ask late", "deadline in 8796093022208 ms"});
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
    const bool reported = std::find(log.begin(), log.end(), "shutdown_error a: " + to_string(r.why)) != log.end();
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
      {any, transient, exit_reason::normal(), 1, 1},
      {any, transient, exit_reason::shutdown(), 1, 1},
      {any, transient, with_words, 1, 1},
      {any, transient, failure, 0, 0},
      {any, transient, exit_reason::killed(), 0, 0},
      {any, temporary, exit_reason::normal(), 1, 1},
      {any, temporary, failure, 1, 1},
      {any, temporary, exit_reason::killed(), 1, 1},
      {all, transient, exit_reason::normal(), 0, 1},
      {all, transient, with_words, 0, 1},
      {all, transient, failure, 0, 0},
      {all, temporary, exit_reason::normal(), 0, 1},
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

TEST_CASE("a significant child that is started meanwhile counts once it has started, and not if it fails to") {
  for (const bool starts : {true, false}) {
    ordered_driver d(rules(one_for_one, 1000, all));
    d.with("x", transient, true).begin();
    d.births["y"] = {birth::hangs};
    d.start_child("y", transient, true);
    d.ends("x", exit_reason::normal());
    CHECK(d.overs == 0);  // as OTP's, which learns of the end when the start is done
    if (starts) {
      d.has_started("y");
      CHECK(d.overs == 0);
      d.ends("y", exit_reason::normal());
    } else {
      d.has_failed("y");
    }
    CHECK(d.overs == 1);
    CHECK(d.errors == 0);
  }
}

TEST_CASE("a significant child that fails to start, or is ignored, is not the last one that has ended") {
  for (const auto automatic : {any, all}) {
    for (const auto how : {birth::fails, birth::ignored}) {
      for (const auto type : {transient, temporary}) {
        ordered_driver d(rules(one_for_one, 1000, automatic));
        d.with("p").begin();
        d.births["y"] = {how};
        d.start_child("y", type, true);
        CHECK(d.overs == 0);
      }
    }
  }
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

TEST_CASE("a wait that was over before its child was restarted with its group does not end the next wait") {
  auto s = rules(one_for_all);
  s.backoff = {100ms, 1000ms, 10s, 0};
  auto d = three(s);
  d.quiet = true;
  d.ends("b", failure);
  d.ends("a", failure);
  d.log();
  d.births["b"] = {ordered_driver::birth::fails};
  d.wait_fires("a");
  d.wait_is_over("b");  // behind that of a, with which b is started, fails, and waits again
  CHECK(d.log() == lines{"ask c", "start a", "start b", "wait b"});
  CHECK(d.logic.restarts() == 2);
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
