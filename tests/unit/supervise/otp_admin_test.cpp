// SPDX-License-Identifier: Apache-2.0
#include "unit/supervise/otp_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

/// A supervisor with one child "a".
struct one_child {
  stage st;
  runtime rt{quiet()};
  ordered_supervisor s = rt.start(tree_of(one_for_one, {plays(st, "a")})).value();
};

struct go {};

/// Uses a supervisor from within a cell.
class manager : public cell {
public:
  using accepts = signals<go>;
  manager(diary& d, stage& st, ordered_supervisor s) : diary_(&d), stage_(&st), s_(std::move(s)) {}
  void on(go) {
    diary_->write(code_of(s_.start_child(plays(*stage_, "x"))) == errc::would_block ? "blocks" : "does not");
    diary_->write(code_of(s_.terminate_child("a")) == errc::would_block ? "blocks" : "does not");
    s_.terminate_child(*this, "a", [this](result<void> r) {
      diary_->write(r ? "terminated" : to_string(r.error()));
      s_.restart_child(*this, "a", [this](result<started_child> again) {
        diary_->write(again ? "restarted" : to_string(again.error()));
        s_.delete_child(*this, "a", [this](result<void> gone) {
          diary_->write(gone ? "deleted" : to_string(gone.error().code()));
          s_.start_child(*this, plays(*stage_, "b"),
                         [this](result<started_child> b) { diary_->write(b ? "started" : to_string(b.error())); });
        });
      });
    });
  }

private:
  diary* diary_;
  stage* stage_;
  ordered_supervisor s_;
};

}  // namespace

TEST_CASE("a child whose id runs already is not started") {
  one_child t;
  const cell_ref a = now(t.s, "a");
  CHECK(code_of(t.s.start_child(plays(t.st, "a"))) == errc::already_started);
  CHECK(now(t.s, "a") == a);
  CHECK(t.st.attempts("a") == 1);
  CHECK(counts(t.s) == tally{1, 1, 0, 1});
}

TEST_CASE("a terminated child has ended with shutdown when the call returns, and its spec is kept") {
  one_child t;
  const cell_ref a = now(t.s, "a");
  const witness w(t.rt, a);
  REQUIRE(t.s.terminate_child("a"));
  CHECK_FALSE(a.alive());
  CHECK(t.st.living("a") == 0);
  CHECK(w.end() == "down: shutdown");
  CHECK(state_of(t.s, "a") == child_state::stopped);
  CHECK_FALSE(t.s.find_any("a").get());
  CHECK(counts(t.s) == tally{1, 0, 0, 1});
}

TEST_CASE("to terminate a child that does not run is fine, one that is not there is not") {
  one_child t;
  REQUIRE(t.s.terminate_child("a"));
  CHECK(t.s.terminate_child("a"));
  CHECK(code_of(t.s.terminate_child("nobody")) == errc::not_found);
}

TEST_CASE("a child whose spec is kept is not started again by start_child") {
  one_child t;
  REQUIRE(t.s.terminate_child("a"));
  CHECK(code_of(t.s.start_child(plays(t.st, "a"))) == errc::already_present);
  CHECK(t.st.attempts("a") == 1);
  CHECK(counts(t.s) == tally{1, 0, 0, 1});
}

TEST_CASE("restart_child starts a child that does not run, and no other") {
  one_child t;
  CHECK(code_of(t.s.restart_child("a")) == errc::running);
  CHECK(code_of(t.s.restart_child("nobody")) == errc::not_found);
  REQUIRE(t.s.terminate_child("a"));
  const auto again = t.s.restart_child("a");
  REQUIRE(again);
  CHECK(again->child.get() == now(t.s, "a"));
  CHECK(again->child.get().alive());
  CHECK(t.st.born("a") == 2);
  CHECK(counts(t.s) == tally{1, 1, 0, 1});
  CHECK(t.s.restarts() == 0);
}

TEST_CASE("a handle taken before terminate_child names the child again after restart_child") {
  one_child t;
  const auto a = t.s.find<player>("a");
  REQUIRE(t.s.terminate_child("a"));
  CHECK(a.send(get{}) != send_result::accepted);
  REQUIRE(t.s.restart_child("a"));
  CHECK(t.rt.ask(t.s.find<player>("a"), get{}, long_time).value() == 2);
}

TEST_CASE("delete_child forgets a child that does not run, and no other") {
  one_child t;
  CHECK(code_of(t.s.delete_child("a")) == errc::running);
  CHECK(code_of(t.s.delete_child("nobody")) == errc::not_found);
  REQUIRE(t.s.terminate_child("a"));
  REQUIRE(t.s.delete_child("a"));
  CHECK(ids(t.s).empty());
  CHECK(counts(t.s) == tally{0, 0, 0, 0});
  CHECK(code_of(t.s.restart_child("a")) == errc::not_found);
  CHECK(code_of(t.s.terminate_child("a")) == errc::not_found);
  CHECK(code_of(t.s.delete_child("a")) == errc::not_found);
  CHECK(code_of(t.s.spec_of("a")) == errc::not_found);
  CHECK_FALSE(t.s.find_any("a"));
}

TEST_CASE("an id can be used again after delete_child, and stands behind the others then") {
  one_child t;
  REQUIRE(t.s.start_child(plays(t.st, "b")));
  REQUIRE(t.s.terminate_child("a"));
  REQUIRE(t.s.delete_child("a"));
  REQUIRE(t.s.start_child(plays(t.st, "a")));
  CHECK(ids(t.s) == lines{"b", "a"});
  t.s.stop();
  CHECK(t.st.log() == lines{"+a", "+b", "-a shutdown", "+a", "-a shutdown", "-b shutdown"});
}

TEST_CASE("a restarted child keeps its place in the order") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one, {plays(st, "a"), plays(st, "b"), plays(st, "c")})).value();
  REQUIRE(s.terminate_child("b"));
  REQUIRE(s.restart_child("b"));
  const cell_ref a = now(s, "a");
  end_child(rt, s, "a", way::by_failure);
  REQUIRE(replaced(s, "a", a));
  CHECK(ids(s) == lines{"a", "b", "c"});
  st.forget_log();
  s.stop();
  CHECK(st.log() == lines{"-c shutdown", "-b shutdown", "-a shutdown"});
}

TEST_CASE("all calls on a supervisor that has ended say closed") {
  one_child t;
  t.s.stop();
  CHECK(code_of(t.s.start_child(plays(t.st, "b"))) == errc::closed);
  CHECK(code_of(t.s.terminate_child("a")) == errc::closed);
  CHECK(code_of(t.s.restart_child("a")) == errc::closed);
  CHECK(code_of(t.s.delete_child("a")) == errc::closed);
  CHECK(t.s.count().active == 0);
  CHECK(t.st.attempts("b") == 0);
}

TEST_CASE("children are listed with id, state, kind, restart type and handle, in start order") {
  one_child t;
  REQUIRE(t.s.start_child(child_spec::tree("t", tree_of(one_for_one, {})).with(kept(transient))));
  REQUIRE(t.s.start_child(child_spec::dynamic("d", generous())));
  REQUIRE(t.s.start_child(plays(t.st, "b", kept(temporary))));
  REQUIRE(t.s.terminate_child("t"));
  const auto all = t.s.children();
  REQUIRE(all.size() == 4);
  CHECK(ids(t.s) == lines{"a", "t", "d", "b"});
  CHECK(all[0].state == child_state::running);
  CHECK(all[0].kind == child_kind::worker);
  CHECK(all[0].restart == restart_type::permanent);
  CHECK(all[0].child.get().alive());
  CHECK(t.rt.ask(all[0].child.as<player>(), get{}, long_time).value() == 1);
  CHECK_FALSE(all[0].child.as<idler>());
  CHECK_FALSE(all[0].child.as_tree());
  CHECK(all[1].state == child_state::stopped);
  CHECK(all[1].kind == child_kind::supervisor);
  CHECK(all[1].restart == restart_type::transient);
  CHECK(all[2].state == child_state::running);
  CHECK(all[2].child.as_dynamic());
  CHECK_FALSE(all[2].child.as_tree());
  CHECK(all[3].restart == restart_type::temporary);
  CHECK(counts(t.s) == tally{4, 3, 2, 2});
}

TEST_CASE("a child is found by its id, whatever has happened to the others") {
  one_child t;
  REQUIRE(t.s.start_child(plays(t.st, "b")));
  const cell_ref a = now(t.s, "a");
  const cell_ref b = now(t.s, "b");
  CHECK(a.alive());
  CHECK(b.alive());
  CHECK_FALSE(t.s.find_any("x"));
  CHECK_FALSE(t.s.find<idler>("a"));
  REQUIRE(t.s.terminate_child("a"));
  CHECK_FALSE(now(t.s, "a"));
  CHECK(now(t.s, "b") == b);
  REQUIRE(t.s.delete_child("a"));
  CHECK_FALSE(t.s.find_any("a"));
  CHECK(now(t.s, "b") == b);
}

TEST_CASE("calls that wait are refused on a worker, and work there with a continuation") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one, {plays(st, "a")})).value();
  diary d;
  rt.spawn<manager>(d, st, s).send(go{});
  REQUIRE(d.has(6));
  CHECK(d.lines() == lines{"blocks", "blocks", "terminated", "restarted", "running", "started"});
  CHECK(ids(s) == lines{"a", "b"});
}
