// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"
#include "unit/supervise/ordered_driver.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;
using lines = std::vector<std::string>;

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
  CHECK(d.log() ==
        lines{"child_terminated a: error: type: words", "ask i", "ask t", "forget t", "start a", "start s", "start i"});
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
  CHECK(d.log() == lines{"child_terminated a: error: type: words",
                         "shutdown a: shutdown: reached_max_restart_intensity", "ask c", "ask b",
                         "has ended: shutdown"});
}
