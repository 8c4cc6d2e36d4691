// SPDX-License-Identifier: Apache-2.0
#include "unit/supervise/otp_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

class stillborn : public cell {
public:
  using accepts = signals<ping>;
  explicit stillborn(std::atomic<int>& tries) : tries_(&tries) { tries_->fetch_add(1); }
  void on_start() { throw std::runtime_error("at once"); }
  bool on(ping) { return true; }

private:
  std::atomic<int>* tries_;
};

}  // namespace

TEST_CASE("one_for_one restarts the child that ended and no other") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one, {plays(st, "a"), plays(st, "b")})).value();
  const cell_ref a = now(s, "a");
  const cell_ref b = now(s, "b");
  end_child(rt, s, "a", way::by_failure);
  REQUIRE(replaced(s, "a", a));
  CHECK(now(s, "b") == b);
  CHECK(counts(s) == tally{2, 2, 0, 2});
  CHECK(st.log() == lines{"+a", "+b", "-a error: std::runtime_error: hard", "+a"});
}

TEST_CASE("one_for_all restarts all: the others end in reverse, then all start in order") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_all, {plays(st, "a"), plays(st, "b"), plays(st, "c")})).value();
  const cell_ref c = now(s, "c");
  const cell_ref a = now(s, "a");
  st.forget_log();
  end_child(rt, s, "b", way::by_kill);
  REQUIRE(replaced(s, "c", c));
  CHECK_FALSE(a.alive());
  CHECK(counts(s) == tally{3, 3, 0, 3});
  CHECK(st.log() == lines{"-b killed", "-c shutdown", "-a shutdown", "+a", "+b", "+c"});
  CHECK(s.restarts() == 1);
}

TEST_CASE("rest_for_one restarts the child that ended and those after it") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(rest_for_one, {plays(st, "a"), plays(st, "b"), plays(st, "c")})).value();
  const cell_ref a = now(s, "a");
  const cell_ref c = now(s, "c");
  st.forget_log();
  end_child(rt, s, "b", way::by_kill);
  REQUIRE(replaced(s, "c", c));
  CHECK(now(s, "a") == a);
  CHECK(counts(s) == tally{3, 3, 0, 3});
  CHECK(st.log() == lines{"-b killed", "-c shutdown", "+b", "+c"});
}

TEST_CASE("siblings are ended by their own shutdown policies at a restart") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_all, {plays(st, "a"), traps(st, "b", exit_reason::normal()),
                                          traps(st, "c", deaf, kept(permanent, child_shutdown::within(1ms))),
                                          traps(st, "d", deaf, kept(permanent, child_shutdown::brutal_kill()))}))
               .value();
  const cell_ref d = now(s, "d");
  st.forget_log();
  end_child(rt, s, "a", way::by_kill);
  REQUIRE(replaced(s, "d", d));
  CHECK(st.log() == lines{"-a killed", "-d killed", "?c", "-c killed", "?b", "-b normal", "+a", "+b", "+c", "+d"});
}

TEST_CASE("a supervisor gives up at one restart more than its intensity, under every strategy") {
  for (const auto strategy : all_strategies) {
    INFO(name_of(strategy));
    stage st;
    runtime rt(quiet());
    auto s = rt.start(tree_of(strategy, {plays(st, "a"), plays(st, "b")}, at_most(2))).value();
    for (const char* id : {"a", "b"}) {  // whichever child it is: the count is the supervisor's
      const cell_ref before = now(s, id);
      const cell_ref other = now(s, "b");
      end_child(rt, s, id, way::by_failure);
      REQUIRE(replaced(s, id, before));
      if (strategy != one_for_one) REQUIRE(replaced(s, "b", other));
      CHECK_FALSE(s.ended().has_value());
    }
    CHECK(s.restarts() == 2);
    end_cell(rt, now(s, "a"), way::by_failure);
    CHECK(end_of(s) == "shutdown");
    CHECK(st.living() == 0);
    CHECK(st.log().back() == "-b shutdown");
    CHECK(s.restarts() == 2);
    CHECK(counts(s)[1] == 0);
  }
}

TEST_CASE("a child whose restarts fail uses up the intensity, and its supervisor ends, under every strategy") {
  for (const auto strategy : all_strategies) {
    for (const bool first : {true, false}) {
      const std::string failing = first ? "a" : "b";
      const std::string other = first ? "b" : "a";
      INFO(name_of(strategy) << ", failing " << failing);
      stage st;
      runtime rt(quiet());
      st.births(failing, {birth::lives}, birth::throws);
      auto s = rt.start(tree_of(strategy, {plays(st, "a"), plays(st, "b")}, at_most(4))).value();
      end_cell(rt, now(s, failing), way::by_failure);
      CHECK(end_of(s) == "shutdown");
      CHECK(st.living() == 0);
      CHECK(st.logged("-" + other + " shutdown"));
      // The first start, and each of the four restarts that the intensity allows.
      CHECK(st.attempts(failing) == 5);
    }
  }
}

TEST_CASE("the end of one child escalates when another can not be restarted, under one_for_all and rest_for_one") {
  for (const auto strategy : {one_for_all, rest_for_one}) {
    INFO(name_of(strategy));
    stage st;
    runtime rt(quiet());
    st.births("b", {birth::lives}, birth::throws);
    auto s = rt.start(tree_of(strategy, {plays(st, "a"), plays(st, "b")}, at_most(4))).value();
    end_cell(rt, now(s, "a"), way::by_failure);
    CHECK(end_of(s) == "shutdown");
    CHECK(st.attempts("b") == 5);
    // one_for_all starts all anew for each attempt, rest_for_one leaves the siblings before the failing one alone.
    CHECK(st.born("a") == (strategy == one_for_all ? 5 : 2));
    CHECK(st.living() == 0);
  }
}

TEST_CASE("one_for_all ends a sibling that was restarted already when another fails to, and starts anew") {
  stage st;
  runtime rt(quiet());
  st.births("b", {birth::lives, birth::throws});
  auto s = rt.start(tree_of(one_for_all, {plays(st, "a"), plays(st, "b"), plays(st, "c")}, at_most(3))).value();
  const cell_ref c = now(s, "c");
  st.forget_log();
  end_child(rt, s, "a", way::by_kill);
  REQUIRE(replaced(s, "c", c));
  CHECK(st.log() == lines{"-a killed", "-c shutdown", "-b shutdown", "+a", "!b", "-a shutdown", "+a", "+b", "+c"});
  CHECK(s.restarts() == 2);
  CHECK(counts(s) == tally{3, 3, 0, 3});
}

TEST_CASE("rest_for_one keeps a sibling that was restarted already when a later one fails to, and goes on with that") {
  stage st;
  runtime rt(quiet());
  st.births("b", {birth::lives, birth::throws});
  auto s = rt.start(tree_of(rest_for_one, {plays(st, "a"), plays(st, "b"), plays(st, "c")}, at_most(3))).value();
  const cell_ref c = now(s, "c");
  st.forget_log();
  end_child(rt, s, "a", way::by_kill);
  REQUIRE(replaced(s, "c", c));
  CHECK(st.log() == lines{"-a killed", "-c shutdown", "-b shutdown", "+a", "!b", "+b", "+c"});
  CHECK(s.restarts() == 2);
}

TEST_CASE("one_for_one tries a child that fails to restart again, and leaves its siblings alone") {
  stage st;
  runtime rt(quiet());
  st.births("a", {birth::lives, birth::throws, birth::throws});
  auto s = rt.start(tree_of(one_for_one, {plays(st, "a"), plays(st, "b")}, at_most(3))).value();
  const cell_ref a = now(s, "a");
  const cell_ref b = now(s, "b");
  end_child(rt, s, "a", way::by_kill);
  REQUIRE(replaced(s, "a", a));
  CHECK(st.log() == lines{"+a", "+b", "-a killed", "!a", "!a", "+a"});
  CHECK(now(s, "b") == b);
  CHECK(s.restarts() == 3);
}

TEST_CASE("a child that is ignored at its restart is left without a cell, and is not tried again") {
  for (const auto strategy : all_strategies) {
    INFO(name_of(strategy));
    stage st;
    runtime rt(quiet());
    st.births("a", {birth::lives, birth::ignored});
    auto s = rt.start(tree_of(strategy, {plays(st, "a"), plays(st, "b")})).value();
    end_child(rt, s, "a", way::by_failure);
    REQUIRE(becomes(s, "a", child_state::stopped));
    REQUIRE(settled(s));
    CHECK(counts(s) == tally{2, 1, 0, 2});
    CHECK(st.attempts("a") == 2);
    CHECK(s.restarts() == 1);
    REQUIRE(s.restart_child("a"));
    CHECK(counts(s) == tally{2, 2, 0, 2});
  }
}

TEST_CASE("two children that end at the same time are two restarts under one_for_one") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one, {plays(st, "a"), plays(st, "b"), plays(st, "c")}, at_most(2))).value();
  const cell_ref a = now(s, "a");
  const cell_ref b = now(s, "b");
  const cell_ref c = now(s, "c");
  rt.exit(a, exit_reason::killed());
  rt.exit(b, exit_reason::killed());
  REQUIRE(replaced(s, "a", a));
  REQUIRE(replaced(s, "b", b));
  CHECK(s.restarts() == 2);
  CHECK(now(s, "c") == c);
}

TEST_CASE("restarts that are further apart than the period never add up, for an ordered supervisor") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one, {plays(st, "a", kept(permanent, child_shutdown::brutal_kill()))}, {1, 1ns}))
               .value();
  for (int i = 0; i < 50; ++i) {
    const cell_ref a = now(s, "a");
    end_child(rt, s, "a", way::by_failure);
    REQUIRE(replaced(s, "a", a));
  }
  CHECK(s.restarts() == 50);
  REQUIRE(s.terminate_child("a"));
  REQUIRE(s.delete_child("a"));
}

TEST_CASE("a child that dies in its on_start hook is restarted, and counts") {
  std::atomic<int> tries{0};
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one, {child_spec::of<stillborn>("a", std::ref(tries))}, at_most(3)));
  REQUIRE(s);
  CHECK(end_of(*s) == "shutdown");
  CHECK(tries == 4);
  CHECK(s->restarts() == 3);
}
