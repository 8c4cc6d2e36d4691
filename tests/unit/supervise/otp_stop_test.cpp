// SPDX-License-Identifier: Apache-2.0
#include <thread>

#include "unit/supervise/otp_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

TEST_CASE("children with infinity are asked and waited for, however long they take") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one, {child_spec::tree("t", tree_of(one_for_one, {plays(st, "a")})),
                                          traps(st, "b", deaf, kept(permanent, child_shutdown::infinity()))}))
               .value();
  const cell_ref b = now(s, "b");
  s.exit(exit_reason::shutdown());
  REQUIRE(st.comes("?b"));
  CHECK_FALSE(s.ended().has_value());
  CHECK(st.living("a") == 1);
  b.send(die{exit_reason::shutdown("at last")});
  CHECK(end_of(s) == "shutdown");
  CHECK(st.log() == lines{"+a", "+b", "?b", "-b shutdown: at last", "-a shutdown"});
}

TEST_CASE("a child that is still there at its deadline is killed, and the others end as asked") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one, {plays(st, "a", kept(permanent, child_shutdown::within(10s))),
                                          traps(st, "b", deaf, kept(permanent, child_shutdown::within(1ms))),
                                          plays(st, "c", kept(permanent, child_shutdown::within(10s)))}))
               .value();
  s.stop();
  CHECK(*s.ended() == exit_reason::shutdown());
  CHECK(st.log() == lines{"+a", "+b", "+c", "-c shutdown", "?b", "-b killed", "-a shutdown"});
}

TEST_CASE("a deadline of zero still asks before it kills") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one, {traps(st, "a", deaf, kept(permanent, child_shutdown::within(0ms)))})).value();
  s.stop();
  CHECK(st.log().back() == "-a killed");
  CHECK(st.living() == 0);
}

TEST_CASE("a child with brutal_kill is killed without being asked") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one,
                            {plays(st, "a", kept(permanent, child_shutdown::within(10s))),
                             traps(st, "b", exit_reason::shutdown(), kept(permanent, child_shutdown::brutal_kill()))}))
               .value();
  s.stop();
  CHECK(st.log() == lines{"+a", "+b", "-b killed", "-a shutdown"});
}

TEST_CASE("children are ended in reverse start order, each only after the death of the one before") {
  stage st;
  runtime rt(quiet());
  const auto patient = kept(permanent, child_shutdown::infinity());
  auto s = rt.start(tree_of(one_for_one, {traps(st, "a", deaf, patient), traps(st, "b", deaf, patient),
                                          traps(st, "c", deaf, patient)}))
               .value();
  const std::vector<cell_ref> cells{now(s, "c"), now(s, "b"), now(s, "a")};
  s.exit(exit_reason::shutdown());
  for (const auto& [cell, name] : {std::pair(cells[0], "?c"), std::pair(cells[1], "?b"), std::pair(cells[2], "?a")}) {
    REQUIRE(st.comes(name));
    cell.send(die{exit_reason::shutdown()});
  }
  CHECK(end_of(s) == "shutdown");
  CHECK(st.log() == lines{"+a", "+b", "+c", "?c", "-c shutdown", "?b", "-b shutdown", "?a", "-a shutdown"});
}

TEST_CASE("a restart of several ends them in reverse and starts them in order") {
  stage st;
  runtime rt(quiet());
  auto s =
      rt.start(tree_of(rest_for_one, {plays(st, "1"), plays(st, "2"), plays(st, "3"), plays(st, "4"), plays(st, "5")}))
          .value();
  st.forget_log();
  const cell_ref last = now(s, "5");
  end_child(rt, s, "3", way::by_kill);
  REQUIRE(replaced(s, "5", last));
  CHECK(st.log() == lines{"-3 killed", "-5 shutdown", "-4 shutdown", "+3", "+4", "+5"});
  st.forget_log();
  s.stop();
  CHECK(st.log() == lines{"-5 shutdown", "-4 shutdown", "-3 shutdown", "-2 shutdown", "-1 shutdown"});
}

TEST_CASE("a stop is completed while children end by themselves in every way, and none is restarted") {
  stage st;
  runtime rt(quiet());
  const auto patient = child_shutdown::within(20s);
  auto s = rt.start(tree_of(one_for_one, {plays(st, "first", kept(temporary, patient))})).value();
  const std::vector<exit_reason> reasons{exit_reason::normal(), exit_reason::shutdown(), exit_reason::shutdown("test"),
                                         exit_reason::error("", "other")};
  std::vector<std::pair<cell_ref, exit_reason>> middle;
  for (const auto type : {temporary, transient, permanent}) {
    for (const auto& why : reasons) {
      const std::string id = "m" + std::to_string(middle.size());
      middle.emplace_back(s.start_child(traps(st, id, deaf, kept(type, patient))).value().child.get(), why);
    }
  }
  const cell_ref last =
      s.start_child(traps(st, "last", deaf, kept(temporary, child_shutdown::infinity()))).value().child.get();
  s.exit(exit_reason::shutdown());
  REQUIRE(st.comes("?last"));
  for (const auto& [cell, why] : middle) cell.send(die{why});
  for (std::size_t i = 0; i < middle.size(); ++i) {
    REQUIRE(st.comes("-m" + std::to_string(i) + " " + to_string(middle[i].second)));
  }
  CHECK_FALSE(s.ended().has_value());
  last.send(die{exit_reason::shutdown()});
  CHECK(end_of(s) == "shutdown");
  CHECK(st.logged("-first shutdown"));
  CHECK(s.restarts() == 0);
  for (std::size_t i = 0; i < middle.size(); ++i) CHECK(st.born("m" + std::to_string(i)) == 1);
  CHECK(st.living() == 0);
}

TEST_CASE("a child that answers the request to end with another reason has ended all the same") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one,
                            {traps(st, "a", exit_reason::error("", "oops")), traps(st, "b", exit_reason::normal()),
                             traps(st, "c", exit_reason::shutdown("done"))}))
               .value();
  s.stop();
  CHECK(st.log() == lines{"+a", "+b", "+c", "?c", "-c shutdown: done", "?b", "-b normal", "?a", "-a error: oops"});
  CHECK(*s.ended() == exit_reason::shutdown());
  CHECK(s.restarts() == 0);
}

TEST_CASE("stop is done when it returns, can be called again, and from several threads") {
  stage st;
  runtime rt(quiet());
  auto s =
      rt.start(tree_of(one_for_all, {plays(st, "a"), child_spec::tree("t", tree_of(one_for_one, {plays(st, "b")}))}))
          .value();
  std::vector<std::thread> threads;
  std::atomic<int> left{0};
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&, copy = s]() mutable {
      copy.stop();
      left += st.living();
    });
  }
  for (auto& t : threads) t.join();
  CHECK(left == 0);
  s.stop();
  CHECK(st.log() == lines{"+a", "+b", "-b shutdown", "-a shutdown"});
  CHECK(code_of(s.start_child(plays(st, "c"))) == errc::closed);
}

TEST_CASE("an exit signal with another reason ends a supervisor in order, with that reason") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one, {plays(st, "a"), plays(st, "b")})).value();
  s.exit(exit_reason::error("", "not wanted"));
  CHECK(end_of(s) == "error: not wanted");
  CHECK(st.log() == lines{"+a", "+b", "-b shutdown", "-a shutdown"});
}

TEST_CASE("an exit signal normal does nothing to a supervisor") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one, {plays(st, "a")})).value();
  s.exit(exit_reason::normal());
  REQUIRE(settled(s));
  CHECK_FALSE(s.ended().has_value());
  CHECK(st.living("a") == 1);
}

TEST_CASE("a supervisor that is killed leaves no child behind, whatever they trap") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one, {traps(st, "a", deaf, kept(permanent, child_shutdown::infinity())),
                                          child_spec::tree("t", tree_of(one_for_one, {traps(st, "b", deaf)}))}))
               .value();
  s.exit(exit_reason::killed());
  CHECK(end_of(s) == "killed");
  CHECK(st.living() == 0);
  CHECK(st.logged("-a killed"));
  CHECK(st.logged("-b killed"));
  CHECK_FALSE(st.logged("?a"));
  CHECK_FALSE(st.logged("?b"));
}

TEST_CASE("a kill overtakes a stop that waits for a child") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one,
                            {plays(st, "a"), traps(st, "b", deaf, kept(permanent, child_shutdown::infinity()))}))
               .value();
  s.exit(exit_reason::shutdown());
  REQUIRE(st.comes("?b"));
  s.exit(exit_reason::killed());
  REQUIRE(s.wait_ended(long_time));
  CHECK(st.living() == 0);
  CHECK(st.logged("-b killed"));
}

TEST_CASE("a child that is gone before its supervisor asks it does not hold up the end") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one, {plays(st, "a", kept(temporary, child_shutdown::infinity())),
                                          traps(st, "b", deaf, kept(temporary, child_shutdown::infinity()))}))
               .value();
  const cell_ref b = now(s, "b");
  const cell_ref a = now(s, "a");
  s.exit(exit_reason::shutdown());
  REQUIRE(st.comes("?b"));
  end_cell(rt, a, way::by_kill);
  REQUIRE(st.comes("-a killed"));
  b.send(die{exit_reason::normal()});
  CHECK(end_of(s) == "shutdown");
}
