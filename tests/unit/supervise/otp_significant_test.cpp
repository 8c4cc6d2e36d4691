// SPDX-License-Identifier: Apache-2.0
#include "unit/supervise/otp_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

constexpr std::array<auto_shutdown, 2> both{auto_shutdown::any_significant, auto_shutdown::all_significant};

/// A supervisor of "a", "b" (significant) and "c" (not), all of one restart type.
struct three {
  three(runtime& host, restart_type type, auto_shutdown ends, restart_strategy strategy = one_for_one)
      : rt(host),
        s(rt.start(tree_of(strategy,
                           {plays(st, "a", kept(type, {}, true)), plays(st, "b", kept(type, {}, true)),
                            plays(st, "c", kept(type))},
                           at_most(5), ends))
              .value()) {}
  [[nodiscard]] bool goes_on() { return settled(s) && !s.ended().has_value(); }

  stage st;
  runtime& rt;
  ordered_supervisor s;
  stops_at_end end{s};
};

/// Ends the child and waits until its supervisor has drawn its conclusions.
void end_and_see(three& t, std::string_view id, restart_type type, way w) {
  const cell_ref before = now(t.s, id);
  const bool restarts = w != way::by_supervisor && type == transient && !is_expected(w);
  end_child(t.rt, t.s, id, w);
  if (restarts) {
    REQUIRE(replaced(t.s, id, before));
  } else {
    REQUIRE(becomes(t.s, id, type == temporary ? std::nullopt : std::optional(child_state::stopped)));
  }
}

}  // namespace

TEST_CASE("the end of a child that is not significant never ends its supervisor, however it ends") {
  runtime rt(quiet());
  for (const auto ends : {auto_shutdown::never, auto_shutdown::any_significant, auto_shutdown::all_significant}) {
    for (const auto type : {temporary, transient}) {
      for (const way w : all_ways) {
        INFO(name_of(ends) << ", " << name_of(type) << ", " << name_of(w));
        stage st;
        auto s = rt.start(tree_of(one_for_one, {plays(st, "a", kept(type))}, at_most(5), ends)).value();
        const stops_at_end end(s);
        const cell_ref first = now(s, "a");
        end_child(rt, s, "a", w);
        if (type == temporary) {
          REQUIRE(becomes(s, "a", std::nullopt));
        } else if (w == way::by_supervisor || is_expected(w)) {
          REQUIRE(becomes(s, "a", child_state::stopped));
        } else {
          REQUIRE(replaced(s, "a", first));
        }
        CHECK(settled(s));
        CHECK_FALSE(s.ended().has_value());
      }
    }
  }
}

TEST_CASE("under any_significant the first significant child that ends by itself ends its supervisor") {
  runtime rt(quiet());
  for (const auto type : {temporary, transient}) {
    for (const way w : all_ways) {
      INFO(name_of(type) << ", " << name_of(w));
      three t(rt, type, auto_shutdown::any_significant);
      const bool counts_as_end = w != way::by_supervisor && (type == temporary || is_expected(w));
      if (counts_as_end) {
        end_child(t.rt, t.s, "a", w);
        CHECK(end_of(t.s) == "shutdown");
        CHECK(t.st.living() == 0);
        CHECK(t.st.logged("-b shutdown"));
        CHECK(t.st.logged("-c shutdown"));
        CHECK(t.st.born("a") == 1);
        CHECK(t.s.restarts() == 0);
      } else {
        const cell_ref b = now(t.s, "b");
        end_and_see(t, "a", type, w);
        CHECK(t.goes_on());
        CHECK(now(t.s, "b") == b);
      }
    }
  }
}

TEST_CASE("under all_significant the last significant child that ends by itself ends its supervisor") {
  runtime rt(quiet());
  for (const auto type : {temporary, transient}) {
    for (const way w : all_ways) {
      if (w == way::by_supervisor || (type == transient && !is_expected(w))) continue;
      INFO(name_of(type) << ", " << name_of(w));
      three t(rt, type, auto_shutdown::all_significant);
      const cell_ref b = now(t.s, "b");
      end_and_see(t, "a", type, w);
      CHECK(t.goes_on());
      CHECK(now(t.s, "b") == b);
      end_child(t.rt, t.s, "b", w);
      CHECK(end_of(t.s) == "shutdown");
      CHECK(t.st.living() == 0);
      CHECK(t.st.logged("-c shutdown"));
    }
  }
}

TEST_CASE("a transient significant child that is restarted does not end its supervisor, and counts as running") {
  runtime rt(quiet());
  for (const auto ends : both) {
    INFO(name_of(ends));
    three t(rt, transient, ends);
    end_and_see(t, "a", transient, way::by_failure);
    CHECK(t.goes_on());
    end_and_see(t, "a", transient, way::by_kill);
    CHECK(t.goes_on());
    CHECK(t.st.born("a") == 3);
    end_child(t.rt, t.s, "b", way::normally);
    if (ends == auto_shutdown::any_significant) {
      CHECK(end_of(t.s) == "shutdown");
    } else {
      REQUIRE(becomes(t.s, "b", child_state::stopped));
      CHECK(t.goes_on());
      end_child(t.rt, t.s, "a", way::normally);
      CHECK(end_of(t.s) == "shutdown");
    }
  }
}

TEST_CASE("significant children that their supervisor ended do not count, also when they were the last") {
  runtime rt(quiet());
  for (const auto ends : both) {
    for (const auto type : {temporary, transient}) {
      INFO(name_of(ends) << ", " << name_of(type));
      three t(rt, type, ends);
      REQUIRE(t.s.terminate_child("a"));
      REQUIRE(t.s.terminate_child("b"));
      CHECK(t.goes_on());
      CHECK(t.st.living("c") == 1);
    }
  }
}

TEST_CASE("under all_significant a child that its supervisor ended is not waited for") {
  runtime rt(quiet());
  for (const auto type : {temporary, transient}) {
    INFO(name_of(type));
    three t(rt, type, auto_shutdown::all_significant);
    REQUIRE(t.s.terminate_child("a"));
    end_child(t.rt, t.s, "b", way::normally);
    CHECK(end_of(t.s) == "shutdown");
  }
}

TEST_CASE("under all_significant a child whose restart is still tried is waited for") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one,
                            {plays(st, "a", kept(transient, {}, true)), plays(st, "b", kept(transient, {}, true))},
                            endless(), auto_shutdown::all_significant))
               .value();
  st.all_births("a", birth::throws);
  end_child(rt, s, "a", way::by_failure);
  REQUIRE(becomes(s, "a", child_state::restarting));
  end_child(rt, s, "b", way::normally);
  REQUIRE(becomes(s, "b", child_state::stopped));
  CHECK(settled(s));
  CHECK_FALSE(s.ended().has_value());
  st.all_births("a", birth::lives);
  REQUIRE(becomes(s, "a", child_state::running));
  end_child(rt, s, "a", way::normally);
  CHECK(end_of(s) == "shutdown");
}

TEST_CASE("a significant child that was restarted by hand counts again") {
  runtime rt(quiet());
  three t(rt, transient, auto_shutdown::any_significant);
  REQUIRE(t.s.terminate_child("a"));
  REQUIRE(t.s.restart_child("a"));
  CHECK(t.goes_on());
  end_child(t.rt, t.s, "a", way::by_shutdown);
  CHECK(end_of(t.s) == "shutdown");
}

TEST_CASE("significant children that a sibling's restart takes with it do not count, in every strategy") {
  for (const auto strategy : all_strategies) {
    for (const auto ends : both) {
      INFO(name_of(strategy) << ", " << name_of(ends));
      stage st;
      runtime rt(quiet());
      auto s = rt.start(tree_of(strategy,
                                {plays(st, "a", kept(transient, {}, true)), plays(st, "b", kept(transient)),
                                 plays(st, "c", kept(transient, {}, true))},
                                at_most(5), ends))
                   .value();
      const cell_ref a = now(s, "a");
      const cell_ref b = now(s, "b");
      const cell_ref c = now(s, "c");
      end_child(rt, s, "b", way::by_kill);
      REQUIRE(replaced(s, "b", b));
      if (strategy != one_for_one) REQUIRE(replaced(s, "c", c));
      REQUIRE(settled(s));
      CHECK_FALSE(s.ended().has_value());
      CHECK((now(s, "a") == a) == (strategy != one_for_all));
      CHECK((now(s, "c") == c) == (strategy == one_for_one));
      s.stop();
    }
  }
}

TEST_CASE("temporary significant children that a sibling's restart ended do not count") {
  for (const auto strategy : {one_for_all, rest_for_one}) {
    for (const auto ends : both) {
      INFO(name_of(strategy) << ", " << name_of(ends));
      stage st;
      runtime rt(quiet());
      auto s =
          rt.start(tree_of(strategy, {plays(st, "a"), plays(st, "b", kept(temporary, {}, true))}, at_most(5), ends))
              .value();
      const cell_ref a = now(s, "a");
      end_child(rt, s, "a", way::by_kill);
      REQUIRE(replaced(s, "a", a));
      REQUIRE(settled(s));
      CHECK_FALSE(s.ended().has_value());
      CHECK(ids(s) == lines{"a"});
    }
  }
}

TEST_CASE("a supervisor that ended by itself is a significant child that has ended, if it is one") {
  for (const bool significant : {true, false}) {
    INFO("significant: " << significant);
    stage st;
    runtime rt(quiet());
    auto top = rt.start(tree_of(one_for_one, {}, at_most(1), auto_shutdown::any_significant)).value();
    auto spec = child_spec::tree("t", tree_of(one_for_one, {}, at_most(1), auto_shutdown::any_significant))
                    .with(kept(transient, {}, significant));
    auto t = top.start_child(std::move(spec)).value().child.as_tree();
    REQUIRE(t.start_child(plays(st, "a", kept(transient, {}, true))));
    end_child(rt, t, "a", way::normally);
    if (significant) {
      CHECK(end_of(top) == "shutdown");
    } else {
      REQUIRE(becomes(top, "t", child_state::stopped));
      CHECK(settled(top));
      CHECK_FALSE(top.ended().has_value());
    }
    CHECK(t.ended().has_value());
    CHECK(st.living() == 0);
  }
}

TEST_CASE("a permanent supervisor that ended by itself is started again by the one above") {
  stage st;
  runtime rt(quiet());
  auto top = rt.start(tree_of(one_for_one,
                              {child_spec::tree("t", tree_of(one_for_one, {plays(st, "a", kept(temporary, {}, true))},
                                                             at_most(1), auto_shutdown::any_significant))}))
                 .value();
  const auto t = top.find_any("t").as_tree();
  const cell_ref first = now(t, "a");
  end_child(rt, t, "a", way::by_failure);
  REQUIRE(replaced(t, "a", first));
  CHECK(top.restarts() == 1);
}
