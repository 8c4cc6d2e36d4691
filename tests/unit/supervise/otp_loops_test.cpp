// SPDX-License-Identifier: Apache-2.0
#include "unit/supervise/otp_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

/// Ends a child that can not be started again from now on; returns when its restart has failed a few times.
void begin_loop(runtime& rt, const ordered_supervisor& s, stage& st, const std::string& id) {
  st.all_births(id, birth::throws);
  const int tries = st.attempts(id);
  end_child(rt, s, id, way::by_failure);
  REQUIRE(eventually([&] { return st.attempts(id) >= tries + 3; }));
  REQUIRE(becomes(s, id, child_state::restarting));
}
/// After this a plan of births shows: no attempt is under way.
void end_loop(ordered_supervisor s, stage& st, const std::string& id) {
  REQUIRE(s.terminate_child(id));
  REQUIRE(state_of(s, id) == child_state::stopped);
  const int tries = st.attempts(id);
  REQUIRE(settled(s));
  CHECK(st.attempts(id) == tries);
  st.all_births(id, birth::lives);
}
supervisor_spec with_backoff(supervisor_spec s) {
  s.backoff.minimum = std::chrono::milliseconds(1h);
  s.backoff.maximum = std::chrono::milliseconds(2h);
  return s;
}

/// Takes away what links it has.
class naughty : public cell {
public:
  using accepts = signals<die, watch>;
  naughty() { trap_exit(true); }
  void on(const watch& w) { unlink(w.whom); }
  void on(const die& d) { exit(d.why); }
  void on(const exit_signal&) { exit(exit_reason::error("", "naughty")); }
};

}  // namespace

TEST_CASE("a child in an endless restart loop is restarting to all calls, and can be terminated") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one, {plays(st, "a", kept(permanent, child_shutdown::brutal_kill()))}, endless()))
               .value();
  begin_loop(rt, s, st, "a");
  CHECK(code_of(s.start_child(plays(st, "a"))) == errc::already_present);
  CHECK(code_of(s.restart_child("a")) == errc::restarting);
  CHECK(code_of(s.delete_child("a")) == errc::restarting);
  CHECK(state_of(s, "a") == child_state::restarting);
  CHECK_FALSE(rt.ask(s.find<player>("a"), get{}, long_time));  // at once, whatever the attempt is at
  CHECK(counts(s) == tally{1, 0, 0, 1});
  end_loop(s, st, "a");
  REQUIRE(s.restart_child("a"));
  CHECK(counts(s) == tally{1, 1, 0, 1});
}

TEST_CASE("a supervisor in an endless restart loop takes other changes") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one, {plays(st, "a"), plays(st, "b")}, endless())).value();
  begin_loop(rt, s, st, "a");
  REQUIRE(s.start_child(plays(st, "c")));
  REQUIRE(s.terminate_child("b"));
  REQUIRE(s.restart_child("b"));
  CHECK(ids(s) == lines{"a", "b", "c"});
  CHECK(counts(s) == tally{3, 2, 0, 3});
  const cell_ref b = now(s, "b");
  end_child(rt, s, "b", way::by_kill);
  CHECK(replaced(s, "b", b));
  st.all_births("a", birth::lives);
  CHECK(becomes(s, "a", child_state::running));
}

TEST_CASE("a supervisor in an endless restart loop ends when it is told to, in every strategy") {
  for (const auto strategy : all_strategies) {
    for (const auto& how : {exit_reason::shutdown(), exit_reason::killed(), exit_reason::error("", "enough")}) {
      INFO(name_of(strategy) << ", " << to_string(how));
      stage st;
      runtime rt(quiet());
      auto s = rt.start(tree_of(strategy, {plays(st, "a"), plays(st, "b"), plays(st, "c")}, endless())).value();
      begin_loop(rt, s, st, "b");
      s.exit(how);
      CHECK(end_of(s) == to_string(how));
      CHECK(st.living() == 0);
      const int tries = st.attempts("b");
      s.stop();
      CHECK(st.attempts("b") == tries);
    }
  }
}

TEST_CASE("stop returns for a supervisor in an endless restart loop") {
  stage st;
  runtime rt(quiet(1));
  auto s = rt.start(tree_of(one_for_one, {plays(st, "a")}, endless())).value();
  begin_loop(rt, s, st, "a");
  s.stop();
  CHECK(*s.ended() == exit_reason::shutdown());
}

TEST_CASE("under rest_for_one a loop leaves those before it running and those after it without a cell") {
  stage st;
  runtime rt(quiet());
  const auto brutal = kept(permanent, child_shutdown::brutal_kill());
  auto s = rt.start(tree_of(rest_for_one, {plays(st, "a", brutal), plays(st, "b", brutal), plays(st, "c", brutal)},
                            endless()))
               .value();
  const cell_ref a = now(s, "a");
  begin_loop(rt, s, st, "b");
  CHECK(code_of(s.start_child(plays(st, "b"))) == errc::already_present);
  CHECK(code_of(s.restart_child("b")) == errc::restarting);
  CHECK(code_of(s.delete_child("b")) == errc::restarting);
  CHECK(state_of(s, "a") == child_state::running);
  CHECK(state_of(s, "b") == child_state::restarting);
  CHECK(becomes(s, "c", child_state::stopped));  // but for moments: each attempt is about to start it, too
  CHECK(st.born("c") == 1);
  CHECK(counts(s) == tally{3, 1, 0, 3});
  CHECK(now(s, "a") == a);
  end_loop(s, st, "b");
  CHECK(state_of(s, "c") == child_state::stopped);
  CHECK(now(s, "a") == a);
  REQUIRE(s.restart_child("b"));
  REQUIRE(s.restart_child("c"));
  CHECK(counts(s) == tally{3, 3, 0, 3});
  begin_loop(rt, s, st, "b");
  s.stop();
  CHECK(st.living() == 0);
}

TEST_CASE("under one_for_all a loop of the first child leaves all others without a cell, and goes on when it can") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_all, {plays(st, "a"), plays(st, "b"), plays(st, "c", kept(temporary))}, endless()))
               .value();
  begin_loop(rt, s, st, "a");
  CHECK(becomes(s, "b", child_state::stopped));
  CHECK(st.born("b") == 1);
  CHECK(ids(s) == lines{"a", "b"});
  CHECK(counts(s) == tally{2, 0, 0, 2});
  st.all_births("a", birth::lives);
  CHECK(becomes(s, "b", child_state::running));
  CHECK(counts(s) == tally{2, 2, 0, 2});
  CHECK(st.born("c") == 1);
}

TEST_CASE("a supervisor above one in an endless restart loop can end it") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one,
                            {child_spec::tree("t", tree_of(one_for_one, {plays(st, "a")}, endless())), plays(st, "b")}))
               .value();
  const auto t = s.find_any("t").as_tree();
  begin_loop(rt, t, st, "a");
  REQUIRE(s.terminate_child("t"));
  CHECK(state_of(s, "t") == child_state::stopped);
  CHECK(t.ended().has_value());
  st.all_births("a", birth::lives);
  REQUIRE(s.restart_child("t"));
  CHECK(state_of(t, "a") == child_state::running);
  begin_loop(rt, t, st, "a");
  s.stop();
  CHECK(st.living() == 0);
}

TEST_CASE("a child that waits for its back-off is restarting, and can be terminated") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(with_backoff(tree_of(one_for_one, {plays(st, "a"), plays(st, "b")}, endless()))).value();
  end_child(rt, s, "a", way::by_failure);
  REQUIRE(becomes(s, "a", child_state::restarting));
  CHECK(st.attempts("a") == 1);
  CHECK(code_of(s.restart_child("a")) == errc::restarting);
  CHECK(code_of(s.delete_child("a")) == errc::restarting);
  CHECK(counts(s) == tally{2, 1, 0, 2});
  REQUIRE(s.terminate_child("a"));
  CHECK(state_of(s, "a") == child_state::stopped);
  REQUIRE(s.restart_child("a"));
  CHECK(st.born("a") == 2);
}

TEST_CASE("a supervisor whose child waits for its back-off stops at once") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(with_backoff(tree_of(rest_for_one, {plays(st, "a"), plays(st, "b"), plays(st, "c")}, endless())))
               .value();
  end_child(rt, s, "b", way::by_failure);
  REQUIRE(becomes(s, "b", child_state::restarting));
  s.stop();
  CHECK(st.living() == 0);
  CHECK(st.attempts("b") == 1);
}

TEST_CASE("a runtime shuts down around a supervisor in an endless restart loop") {
  stage st;
  ordered_supervisor s;
  {
    runtime rt(quiet());
    s = rt.start(tree_of(one_for_one, {plays(st, "a"), plays(st, "b")}, endless())).value();
    begin_loop(rt, s, st, "a");
    CHECK(rt.shutdown(20s).complete);
  }
  CHECK(st.living() == 0);
}

TEST_CASE("a child that has taken away all its links is seen to end all the same") {
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one, {child_spec::of<naughty>("a"), child_spec::of<idler>("b")})).value();
  const auto a = s.find<naughty>("a");
  a.send(watch{a.get()});
  a.send(watch{now(s, "b")});
  const cell_ref first = now(s, "a");
  a.send(die{exit_reason::normal()});
  REQUIRE(replaced(s, "a", first));
  REQUIRE(s.terminate_child("a"));
  CHECK(state_of(s, "a") == child_state::stopped);
  s.stop();
}
