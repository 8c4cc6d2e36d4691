// SPDX-License-Identifier: Apache-2.0
#include "unit/supervise/otp_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

/// The incarnation of the child `id` of the subtree `tree` of s.
cell_ref in(const ordered_supervisor& s, std::string_view tree, std::string_view id) {
  return now(s.find_any(tree).as_tree(), id);
}

}  // namespace

TEST_CASE("a tree is restarted from the supervisor that can no longer help itself, without its later children") {
  stage st;
  runtime rt(quiet());
  auto top = rt.start(tree_of(one_for_all, {}, at_most(4))).value();
  REQUIRE(top.start_child(
      child_spec::tree("sup1", tree_of(one_for_one, {plays(st, "child1"), plays(st, "child2")}, at_most(4)))));
  REQUIRE(top.start_child(child_spec::tree("sup2", tree_of(one_for_one, {}, at_most(4)))));
  REQUIRE(top.start_child(child_spec::tree("sup3", tree_of(one_for_one, {}, at_most(4))).with(kept(transient))));
  REQUIRE(top.terminate_child("sup3"));
  CHECK(counts(top) == tally{3, 2, 3, 0});
  const auto sup1 = top.find_any("sup1").as_tree();
  auto sup2 = top.find_any("sup2").as_tree();
  CHECK(counts(sup1) == tally{2, 2, 0, 2});
  CHECK(counts(sup2) == tally{0, 0, 0, 0});

  // Children that were added later; the first of them can not be restarted.
  st.births("child3", {birth::lives}, birth::throws);
  REQUIRE(sup2.start_child(plays(st, "child3")));
  REQUIRE(sup2.start_child(plays(st, "child4")));
  const cell_ref child1 = now(sup1, "child1");
  const cell_ref child3 = now(sup2, "child3");
  const cell_ref child4 = now(sup2, "child4");

  end_child(rt, sup2, "child4", way::by_failure);
  REQUIRE(replaced(sup2, "child4", child4));
  CHECK(now(sup1, "child1") == child1);
  CHECK(now(sup2, "child3") == child3);
  CHECK(counts(sup2) == tally{2, 2, 0, 2});

  end_child(rt, sup2, "child3", way::by_failure);
  REQUIRE(becomes(top, "sup3", child_state::running));
  CHECK(counts(top) == tally{3, 3, 3, 0});
  CHECK_FALSE(child1.alive());
  CHECK(st.born("child1") == 2);
  CHECK(st.born("child4") == 2);
  CHECK(now(sup1, "child1").alive());
  CHECK(counts(sup1) == tally{2, 2, 0, 2});
  CHECK(counts(sup2) == tally{0, 0, 0, 0});
  CHECK(counts(top.find_any("sup3").as_tree()) == tally{0, 0, 0, 0});
  CHECK(st.living() == 2);
}

TEST_CASE("handles of a supervisor and of its cells name them also after its restart") {
  stage st;
  runtime rt(quiet());
  auto top = rt.start(tree_of(one_for_one, {child_spec::tree("t", tree_of(one_for_one, {plays(st, "a")}, at_most(0)))}))
                 .value();
  const auto t = top.find_any("t").as_tree();
  const cell_ref first = now(t, "a");
  end_child(rt, t, "a", way::by_failure);
  REQUIRE(replaced(t, "a", first));
  CHECK(t == top.find_any("t").as_tree());
  CHECK_FALSE(t.ended().has_value());
  CHECK(rt.ask(t.find<player>("a"), get{}, long_time).value() == 2);
  CHECK(top.restarts() == 1);
}

TEST_CASE("a supervisor that is killed is restarted with its children, by the one above") {
  stage st;
  runtime rt(quiet());
  auto top =
      rt.start(tree_of(one_for_all, {child_spec::tree("middle", tree_of(one_for_all, {plays(st, "a")}, at_most(3)))},
                       at_most(3)))
          .value();
  const cell_ref first = in(top, "middle", "a");
  top.find_any("middle").as_tree().exit(exit_reason::killed());
  REQUIRE(eventually([&] {
    const cell_ref a = in(top, "middle", "a");
    return a && a.alive() && !(a == first);
  }));
  REQUIRE(becomes(top, "middle", child_state::running));  // a cell can be seen before it has said that it is there
  CHECK(st.log() == lines{"+a", "-a killed", "+a"});
  CHECK(counts(top) == tally{1, 1, 1, 0});
}

TEST_CASE("the end of a worker deep in a tree is mended where it happened") {
  for (const way w : {way::by_kill, way::normally, way::by_failure}) {
    INFO(name_of(w));
    stage st;
    runtime rt(quiet());
    auto top = rt.start(tree_of(one_for_all,
                                {child_spec::tree("middle", tree_of(one_for_all, {plays(st, "a")}, at_most(3))),
                                 plays(st, "b")},
                                at_most(3)))
                   .value();
    auto middle = top.find_any("middle").as_tree();
    const cell_ref a = now(middle, "a");
    const cell_ref b = now(top, "b");
    end_child(rt, middle, "a", w);
    REQUIRE(replaced(middle, "a", a));
    CHECK(now(top, "b") == b);
    CHECK(top.restarts() == 0);
    CHECK(middle.restarts() == 1);
  }
}

TEST_CASE("a worker deep in a tree is terminated and restarted by hand") {
  stage st;
  runtime rt(quiet());
  auto top =
      rt.start(tree_of(one_for_all, {child_spec::tree("middle", tree_of(one_for_all, {plays(st, "a")}))})).value();
  auto middle = top.find_any("middle").as_tree();
  REQUIRE(middle.terminate_child("a"));
  REQUIRE(middle.restart_child("a"));
  CHECK(st.born("a") == 2);
  CHECK(top.restarts() + middle.restarts() == 0);
}

TEST_CASE("a failing worker takes down level after level, each at its own limit") {
  stage st;
  runtime rt(quiet());
  auto top =
      rt.start(tree_of(one_for_one,
                       {child_spec::tree(
                           "t", tree_of(one_for_one,
                                        {child_spec::tree("u", tree_of(one_for_one, {plays(st, "a")}, at_most(1)))},
                                        at_most(1)))},
                       at_most(1)))
          .value();
  // The first life and one restart at each of three levels: 2 * 2 * 2 incarnations, then the end.
  for (int i = 1; i <= 8; ++i) {
    REQUIRE(eventually([&] { return st.living("a") == 1 && st.born("a") == i; }));
    cell_ref a;
    REQUIRE(eventually([&] {
      const auto t = top.find_any("t").as_tree();
      const auto u = t ? t.find_any("u").as_tree() : ordered_supervisor();
      if (!u) return false;
      a = now(u, "a");
      return a && a.alive();
    }));
    end_cell(rt, a, way::by_failure);
  }
  CHECK(end_of(top) == "shutdown");
  CHECK(st.born("a") == 8);
  CHECK(st.living() == 0);
}

TEST_CASE("a transient supervisor that gave up is left ended, for it ended with shutdown") {
  stage st;
  runtime rt(quiet());
  auto top =
      rt.start(tree_of(one_for_one,
                       {child_spec::tree("t", tree_of(one_for_one, {plays(st, "a")}, at_most(0))).with(kept(transient)),
                        plays(st, "b")}))
          .value();
  const cell_ref b = now(top, "b");
  end_cell(rt, in(top, "t", "a"), way::by_failure);
  REQUIRE(becomes(top, "t", child_state::stopped));
  REQUIRE(settled(top));
  CHECK(now(top, "b") == b);
  CHECK(top.restarts() == 0);
  REQUIRE(top.restart_child("t"));
  CHECK(st.born("a") == 2);
}

TEST_CASE("a temporary supervisor that gave up is forgotten") {
  stage st;
  runtime rt(quiet());
  auto top =
      rt.start(
            tree_of(one_for_one,
                    {child_spec::tree("t", tree_of(one_for_one, {plays(st, "a")}, at_most(0))).with(kept(temporary))}))
          .value();
  end_cell(rt, in(top, "t", "a"), way::by_failure);
  REQUIRE(becomes(top, "t", std::nullopt));
  CHECK(counts(top) == tally{0, 0, 0, 0});
  CHECK(st.living() == 0);
}

TEST_CASE("a permanent supervisor that is stopped by hand is started again by the one above") {
  stage st;
  runtime rt(quiet());
  auto top = rt.start(tree_of(one_for_one, {child_spec::tree("t", tree_of(one_for_one, {plays(st, "a")}))})).value();
  top.find_any("t").as_tree().stop();
  CHECK(eventually([&] { return st.living("a") == 1 && st.born("a") == 2; }));
  REQUIRE(settled(top));
  CHECK(top.restarts() == 1);
}

TEST_CASE("a subtree whose start fails at its restart ends what it started, and is tried again") {
  stage st;
  runtime rt(quiet());
  st.births("b", {birth::lives, birth::throws});
  auto top =
      rt.start(tree_of(one_for_one,
                       {child_spec::tree("t", tree_of(one_for_one, {plays(st, "a"), plays(st, "b")}, at_most(0)))},
                       at_most(3)))
          .value();
  const auto t = top.find_any("t").as_tree();
  const cell_ref b = now(t, "b");
  end_child(rt, t, "a", way::by_failure);
  REQUIRE(replaced(t, "b", b));
  CHECK(st.log() ==
        lines{"+a", "+b", "-a error: std::runtime_error: hard", "-b shutdown", "+a", "!b", "-a shutdown", "+a", "+b"});
  CHECK(top.restarts() == 2);
}

TEST_CASE("a tree of both kinds of supervisors is ended in reverse, with all below") {
  stage st;
  runtime rt(quiet());
  auto top =
      rt.start(tree_of(rest_for_one, {plays(st, "a"), child_spec::dynamic("many", generous()),
                                      child_spec::tree("t", tree_of(one_for_one, {plays(st, "b")})), plays(st, "c")}))
          .value();
  auto many = top.find_any("many").as_dynamic();
  static_cast<void>(many.start<player>(std::ref(st), "x"));
  auto below = many.start_tree(tree_of(one_for_one, {plays(st, "y")}));
  REQUIRE(below);
  CHECK(many.children() == 2);
  st.forget_log();
  top.stop();
  const lines log = st.log();
  REQUIRE(log.size() == 5);
  CHECK(log[0] == "-c shutdown");
  CHECK(log[1] == "-b shutdown");
  CHECK(lines{std::min(log[2], log[3]), std::max(log[2], log[3])} == lines{"-x shutdown", "-y shutdown"});
  CHECK(log[4] == "-a shutdown");
  CHECK(below->ended().has_value());
}

TEST_CASE("a supervisor of many below an ordered one is restarted empty, and its handle stays good") {
  stage st;
  runtime rt(quiet());
  auto top = rt.start(tree_of(rest_for_one, {plays(st, "a"), child_spec::dynamic("many", generous())})).value();
  auto many = top.find_any("many").as_dynamic();
  const auto x = many.start<player>(std::ref(st), "x");
  end_child(rt, top, "a", way::by_failure);
  REQUIRE(eventually([&] { return st.born("a") == 2; }));
  REQUIRE(becomes(top, "many", child_state::running));
  CHECK_FALSE(x.alive());
  CHECK(many.children() == 0);
  const auto again = many.start<player>(std::ref(st), "x");
  CHECK(rt.ask(again, get{}, long_time).value() == 2);
}

TEST_CASE("a hundred supervisors among many are counted, and forgotten when they have ended") {
  runtime rt(quiet());
  auto many = rt.supervise(generous());
  constexpr std::size_t n = 100;
  std::vector<ordered_supervisor> trees;
  for (std::size_t i = 0; i < n; ++i) {
    trees.push_back(many.start_tree(tree_of(one_for_one, {child_spec::of<idler>("a")}), kept(temporary)).value());
  }
  CHECK(many.children() == n);
  for (auto& t : trees) t.exit(exit_reason::killed());
  CHECK(eventually([&] { return many.children() == 0; }));
  for (auto& t : trees) CHECK(t.ended().has_value());
  CHECK(many.restarts() == 0);
}
