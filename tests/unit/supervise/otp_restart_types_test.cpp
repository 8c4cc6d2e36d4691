// SPDX-License-Identifier: Apache-2.0
#include "unit/supervise/otp_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

enum class fate { restarted, kept_stopped, forgotten };

/// What becomes of a child of this type that ends so; checks all that can be seen of it.
void becomes_after(runtime& rt, restart_strategy strategy, restart_type type, way w, fate expected) {
  INFO(name_of(strategy) << ", " << name_of(type) << ", " << name_of(w));
  stage st;
  auto s = rt.start(tree_of(strategy, {})).value();
  const stops_at_end end(s);
  const cell_ref first = s.start_child(plays(st, "a", kept(type))).value().child.get();
  end_child(rt, s, "a", w);
  switch (expected) {
    case fate::restarted:
      REQUIRE(replaced(s, "a", first));
      CHECK(counts(s) == tally{1, 1, 0, 1});
      CHECK(st.born("a") == 2);
      CHECK(s.restarts() == 1);
      CHECK(code_of(s.start_child(plays(st, "a", kept(type)))) == errc::already_started);
      break;
    case fate::kept_stopped:
      REQUIRE(becomes(s, "a", child_state::stopped));
      CHECK(counts(s) == tally{1, 0, 0, 1});
      CHECK(s.restarts() == 0);
      CHECK(code_of(s.start_child(plays(st, "a", kept(type)))) == errc::already_present);
      CHECK(st.born("a") == 1);
      CHECK(s.restart_child("a").has_value());
      CHECK(st.born("a") == 2);
      break;
    case fate::forgotten:
      REQUIRE(becomes(s, "a", std::nullopt));
      CHECK(counts(s) == tally{0, 0, 0, 0});
      CHECK(s.restarts() == 0);
      CHECK(code_of(s.restart_child("a")) == errc::not_found);
      CHECK(st.born("a") == 1);
      CHECK(s.start_child(plays(st, "a", kept(type))).has_value());
      break;
  }
  CHECK_FALSE(s.ended().has_value());
}

}  // namespace

TEST_CASE("a permanent child of an ordered supervisor is restarted whatever it ended with") {
  runtime rt(quiet());
  for (const auto strategy : all_strategies) {
    for (const way w : all_ways) {
      becomes_after(rt, strategy, permanent, w, w == way::by_supervisor ? fate::kept_stopped : fate::restarted);
    }
  }
}

TEST_CASE("a transient child of an ordered supervisor is restarted unless it ended as expected, and its spec is kept") {
  runtime rt(quiet());
  for (const auto strategy : all_strategies) {
    for (const way w : all_ways) {
      const bool stays = w == way::by_supervisor || is_expected(w);
      becomes_after(rt, strategy, transient, w, stays ? fate::kept_stopped : fate::restarted);
    }
  }
}

TEST_CASE("a temporary child of an ordered supervisor is never restarted, and forgotten however it ends") {
  runtime rt(quiet());
  for (const auto strategy : all_strategies) {
    for (const way w : all_ways) becomes_after(rt, strategy, temporary, w, fate::forgotten);
  }
}

TEST_CASE("a permanent child is restarted again and again within the limit, with its first arguments each time") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one, {plays(st, "a")}, at_most(6))).value();
  int born = 1;
  for (const way w : all_ways) {
    if (w == way::by_supervisor) continue;
    const cell_ref before = now(s, "a");
    end_child(rt, s, "a", w);
    REQUIRE(replaced(s, "a", before));
    CHECK(rt.ask(s.find<player>("a"), get{}, long_time).value() == ++born);
  }
  CHECK(s.restarts() == 5);
}

TEST_CASE("a transient child that was restarted by hand is watched again") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one, {plays(st, "a", kept(transient))})).value();
  end_child(rt, s, "a", way::by_shutdown);
  REQUIRE(becomes(s, "a", child_state::stopped));
  REQUIRE(s.restart_child("a"));
  end_child(rt, s, "a", way::by_shutdown_with_words);
  REQUIRE(becomes(s, "a", child_state::stopped));
  REQUIRE(s.restart_child("a"));
  const cell_ref third = now(s, "a");
  end_child(rt, s, "a", way::by_failure);
  CHECK(replaced(s, "a", third));
  CHECK(s.restarts() == 1);
}

TEST_CASE("a temporary child that a sibling's restart takes with it is forgotten, and costs no restart") {
  for (const auto strategy : {one_for_all, rest_for_one}) {
    INFO(name_of(strategy));
    stage st;
    runtime rt(quiet());
    auto s = rt.start(tree_of(strategy, {plays(st, "a"), plays(st, "b", kept(temporary)), plays(st, "c")})).value();
    const cell_ref c = now(s, "c");
    end_child(rt, s, "a", way::normally);
    REQUIRE(replaced(s, "c", c));
    CHECK(ids(s) == lines{"a", "c"});
    CHECK(st.born("b") == 1);
    CHECK(st.living("b") == 0);
    CHECK(s.restarts() == 1);
    CHECK(st.log() == lines{"+a", "+b", "+c", "-a normal", "-c shutdown", "-b shutdown", "+a", "+c"});
  }
}

TEST_CASE("a temporary child before the one that ended is a bystander under rest_for_one") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(rest_for_one, {plays(st, "a", kept(temporary)), plays(st, "b"), plays(st, "c")})).value();
  const cell_ref a = now(s, "a");
  const cell_ref c = now(s, "c");
  end_child(rt, s, "b", way::by_failure);
  REQUIRE(replaced(s, "c", c));
  CHECK(now(s, "a") == a);
  CHECK(a.alive());
}

namespace {

/// Under each strategy "b" of three, of this type, ends in this way: that is what becomes of it, and its siblings stay.
void require_no_sibling_goes(restart_type type, way w, std::optional<child_state> becomes_of_it) {
  for (const auto strategy : all_strategies) {
    INFO(name_of(strategy));
    stage st;
    runtime rt(quiet());
    auto s = rt.start(tree_of(strategy, {plays(st, "a"), plays(st, "b", kept(type)), plays(st, "c")})).value();
    const cell_ref a = now(s, "a");
    const cell_ref c = now(s, "c");
    end_child(rt, s, "b", w);
    REQUIRE(becomes(s, "b", becomes_of_it));
    REQUIRE(settled(s));
    CHECK(now(s, "a") == a);
    CHECK(now(s, "c") == c);
    CHECK(s.restarts() == 0);
  }
}

}  // namespace

TEST_CASE("the end of a temporary child takes no sibling with it, under any strategy") {
  require_no_sibling_goes(temporary, way::by_failure, std::nullopt);
}

TEST_CASE("the expected end of a transient child takes no sibling with it, under any strategy") {
  require_no_sibling_goes(transient, way::by_shutdown_with_words, child_state::stopped);
}

TEST_CASE("a child that had ended as expected is started again with its siblings") {
  for (const auto strategy : {one_for_all, rest_for_one}) {
    INFO(name_of(strategy));
    stage st;
    runtime rt(quiet());
    auto s = rt.start(tree_of(strategy, {plays(st, "a"), plays(st, "b", kept(transient)), plays(st, "c")})).value();
    end_child(rt, s, "b", way::normally);
    REQUIRE(becomes(s, "b", child_state::stopped));
    REQUIRE(s.terminate_child("c"));
    end_child(rt, s, "a", way::by_failure);
    CHECK(becomes(s, "c", child_state::running));
    CHECK(state_of(s, "b") == child_state::running);
    CHECK(counts(s) == tally{3, 3, 0, 3});
    CHECK(s.restarts() == 1);
  }
}

// -- what is kept of a start -----------------------------------------------------------------------------------------------

namespace {

/// A large argument, of which somebody may keep a copy.
class keeps_nothing : public cell {
public:
  using accepts = signals<die, fail_hard>;
  explicit keeps_nothing(const counted&) {}
  void on(const die& d) { exit(d.why); }
  void on(fail_hard) { throw std::runtime_error("hard"); }
};

}  // namespace

TEST_CASE("the arguments of a temporary child are not kept, those of the others are") {
  for (const auto strategy : all_strategies) {
    INFO(name_of(strategy));
    std::atomic<int> copies{0};
    runtime rt(quiet());
    auto s = rt.start(tree_of(strategy, {})).value();
    const auto start = [&](restart_type type, const std::string& id) {
      REQUIRE(s.start_child(child_spec::of<keeps_nothing>(id, counted(copies)).with(kept(type))));
    };
    for (int i = 0; i < 100; ++i) start(temporary, "t" + std::to_string(i));
    CHECK(eventually([&] { return copies == 0; }));
    start(permanent, "p");
    CHECK(copies > 0);
    REQUIRE(s.terminate_child("p"));
    CHECK(copies > 0);
    REQUIRE(s.delete_child("p"));
    CHECK(eventually([&] { return copies == 0; }));
    start(transient, "q");
    end_child(rt, s, "q", way::normally);
    REQUIRE(becomes(s, "q", child_state::stopped));
    CHECK(copies > 0);
    s.stop();
  }
}

TEST_CASE("the arguments of temporary children among many are not kept, also after some have ended") {
  std::atomic<int> copies{0};
  runtime rt(quiet());
  auto s = rt.supervise(generous());
  const auto first = s.start_with<keeps_nothing>(kept(temporary), counted(copies));
  CHECK(eventually([&] { return copies == 0; }));
  first.send(fail_hard{});
  REQUIRE(eventually([&] { return s.children() == 0; }));
  std::vector<child<keeps_nothing>> more;
  for (int i = 0; i < 100; ++i) more.push_back(s.start_with<keeps_nothing>(kept(temporary), counted(copies)));
  CHECK(eventually([&] { return copies == 0; }));
  const auto stays = s.start_with<keeps_nothing>(kept(transient), counted(copies));
  CHECK(copies > 0);
  CHECK(s.terminate(stays));
  CHECK(eventually([&] { return copies == 0; }));
}

TEST_CASE("a child that ended as expected among many is forgotten with its arguments") {
  std::atomic<int> copies{0};
  runtime rt(quiet());
  auto s = rt.supervise(generous());
  const auto c = s.start_with<keeps_nothing>(kept(transient), counted(copies));
  c.send(die{exit_reason::normal()});
  CHECK(eventually([&] { return s.children() == 0 && copies == 0; }));
}
