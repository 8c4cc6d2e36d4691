// SPDX-License-Identifier: Apache-2.0
#include "unit/supervise/otp_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

supervisor_options limited(std::uint32_t restarts, std::size_t max_children = 0) {
  supervisor_options o;
  o.intensity = at_most(restarts);
  o.max_children = max_children;
  return o;
}
supervisor_options unlimited(std::size_t max_children = 0) { return limited(4'000'000'000U, max_children); }

child<player> start(supervisor& s, stage& st, const std::string& name, const child_options& options = {}) {
  return s.start_with<player>(options, std::ref(st), name);
}
void end_one(runtime& rt, const child<player>& c, way w) {
  const auto r = c.get();
  REQUIRE(r.alive());
  end_cell(rt, r, w);
  REQUIRE(eventually([&] { return !r.alive(); }));
}

/// Ends children of all shutdown policies at once, each with what it does when asked; their log lines.
lines ended_by_stop(const std::vector<std::pair<child_shutdown, std::optional<exit_reason>>>& children) {
  stage st;
  runtime rt(quiet());
  auto s = rt.supervise(limited(3));
  for (std::size_t i = 0; i < children.size(); ++i) {
    static_cast<void>(
        s.start_with<trapper>(kept(permanent, children[i].first), std::ref(st), std::to_string(i), children[i].second));
  }
  st.forget_log();
  s.stop();
  CHECK(*s.ended() == exit_reason::shutdown());
  CHECK(s.restarts() == 0);
  CHECK(st.living() == 0);
  lines log = st.log();
  std::sort(log.begin(), log.end());
  return log;
}

class thrower : public cell {
public:
  using accepts = signals<ping>;
  explicit thrower(int what) {
    if (what == 0) throw 42;
    if (what == 1) throw std::string("oops");
    throw std::logic_error("bad day");
  }
  bool on(ping) { return true; }
};

}  // namespace

TEST_CASE("several supervisors of many are children of one ordered supervisor, by id") {
  runtime rt(quiet());
  auto top =
      rt.start(tree_of(one_for_one, {child_spec::dynamic("a", generous()), child_spec::dynamic("b", generous())}))
          .value();
  const auto c = top.start_child(child_spec::dynamic("c", generous()));
  REQUIRE(c);
  CHECK(c->child.as_dynamic() == top.find_any("c").as_dynamic());
  for (const char* id : {"a", "b", "c"}) CHECK(top.find_any(id).as_dynamic().children() == 0);
  CHECK(code_of(top.start_child(child_spec::dynamic("c", generous()))) == errc::already_started);
  static_cast<void>(top.find_any("a").as_dynamic().start<idler>());
  CHECK(top.find_any("a").as_dynamic().children() == 1);
  CHECK(top.find_any("b").as_dynamic().children() == 0);
}

TEST_CASE("no more than max_children are started, and a place is free again when one has ended") {
  stage st;
  runtime rt(quiet());
  auto s = rt.supervise(limited(3, 2));
  const auto a = start(s, st, "a", kept(temporary));
  static_cast<void>(start(s, st, "b"));
  const auto refused = s.try_start<player>({}, std::ref(st), std::string("c"));
  CHECK(code_of(refused) == errc::refused);
  CHECK(st.attempts("c") == 0);
  CHECK(s.children() == 2);
  try {
    static_cast<void>(start(s, st, "c"));
    FAIL_CHECK("it has started");
  } catch (const runtime_error& e) {
    CHECK(e.why().code() == errc::refused);
  }
  end_one(rt, a, way::normally);
  REQUIRE(eventually([&] { return s.children() == 1; }));
  CHECK(start(s, st, "c").get().alive());
}

TEST_CASE("max_children holds for starts of many: all or none") {
  runtime rt(quiet());
  auto s = rt.supervise(limited(3, 10));
  CHECK(s.start_many<idler>(8).size() == 8);
  CHECK_THROWS_AS(s.start_many<idler>(3), runtime_error);
  CHECK(eventually([&] { return s.children() == 8; }));
  CHECK(s.start_many<idler>(2).size() == 2);
  CHECK(s.children() == 10);
}

TEST_CASE("a child that is ignored or can not start takes no place of max_children") {
  stage st;
  runtime rt(quiet());
  auto s = rt.supervise(limited(3, 1));
  st.births("a", {birth::ignored, birth::throws});
  CHECK_FALSE(start(s, st, "a"));
  CHECK_THROWS_AS(start(s, st, "a"), std::runtime_error);
  CHECK(start(s, st, "a").get().alive());
  CHECK(s.children() == 1);
}

TEST_CASE("a child whose restart fails keeps its place of max_children") {
  stage st;
  runtime rt(quiet());
  auto s = rt.supervise(unlimited(1));
  st.births("a", {birth::lives}, birth::throws);
  const auto a = start(s, st, "a");
  end_one(rt, a, way::by_shutdown);
  REQUIRE(eventually([&] { return st.attempts("a") > 3; }));
  CHECK(code_of(s.try_start<player>({}, std::ref(st), std::string("b"))) == errc::refused);
  CHECK(s.children() == 1);
}

TEST_CASE("a child that was restarted keeps its place of max_children") {
  stage st;
  runtime rt(quiet());
  auto s = rt.supervise(unlimited(1));
  const auto a = start(s, st, "a");
  const auto first = a.get();
  end_one(rt, a, way::by_shutdown);
  REQUIRE(eventually([&] { return born_again(a, first); }));
  CHECK(code_of(s.try_start<player>({}, std::ref(st), std::string("b"))) == errc::refused);
  CHECK(s.children() == 1);
}

TEST_CASE("whatever a constructor throws is an error of try_start") {
  runtime rt(quiet());
  auto s = rt.supervise(limited(3));
  for (int what = 0; what < 3; ++what) {
    const auto r = s.try_start<thrower>({}, what);
    CHECK(code_of(r) == errc::start_failed);
    CHECK_FALSE(r.error().message().empty());
  }
  CHECK(s.try_start<thrower>({}, 2).error().message().find("bad day") != std::string::npos);
  CHECK(s.children() == 0);
}

TEST_CASE("a faulty child option is an error of try_start, with the field's name") {
  runtime rt(quiet());
  auto s = rt.supervise(limited(3));
  const auto bad_deadline = s.try_start<idler>(kept(permanent, child_shutdown::within(-10ms)));
  CHECK(code_of(bad_deadline) == errc::invalid_argument);
  CHECK(bad_deadline.error().message().find("shutdown") != std::string::npos);
  const auto significant = s.try_start<idler>(kept(transient, {}, true));
  CHECK(code_of(significant) == errc::invalid_argument);
  CHECK(significant.error().message().find("significant") != std::string::npos);
  CHECK(s.children() == 0);
}

TEST_CASE("many: each restart type holds for each way to end") {
  for (const auto type : {permanent, transient, temporary}) {
    for (const way w : all_ways) {
      if (w == way::by_supervisor) continue;
      INFO(name_of(type) << ", " << name_of(w));
      stage st;
      runtime rt(quiet());
      auto s = rt.supervise(unlimited());
      const auto a = start(s, st, "a", kept(type));
      const auto first = a.get();
      end_one(rt, a, w);
      const bool back = type == permanent || (type == transient && !is_expected(w));
      if (back) {
        REQUIRE(eventually([&] { return born_again(a, first); }));
        CHECK(rt.ask(a, get{}, long_time).value() == 2);
        CHECK(s.children() == 1);
        CHECK(s.restarts() == 1);
      } else {
        REQUIRE(eventually([&] { return s.children() == 0 && !a.alive(); }));
        CHECK(st.attempts("a") == 1);
        CHECK(s.restarts() == 0);
      }
    }
  }
}

TEST_CASE("many: children whose restarts go differently do so each for itself") {
  stage st;
  runtime rt(quiet());
  auto s = rt.supervise(unlimited());
  st.births("ignored", {birth::lives, birth::ignored});
  st.births("failing", {birth::lives}, birth::throws);
  const auto lives = start(s, st, "lives");
  const auto ignored = start(s, st, "ignored");
  const auto failing = start(s, st, "failing");
  for (const auto& c : {lives, ignored, failing}) end_one(rt, c, way::by_shutdown);
  REQUIRE(eventually([&] { return s.children() == 2 && st.born("lives") == 2 && st.attempts("failing") > 3; }));
  CHECK(rt.ask(lives, get{}, long_time).value() == 2);
  CHECK_FALSE(ignored.alive());
  CHECK(failing.alive());
  CHECK_FALSE(rt.ask(failing, get{}, long_time));
}

TEST_CASE("many: a child that fails to restart is tried again, and each attempt counts") {
  stage st;
  runtime rt(quiet());
  auto s = rt.supervise(limited(2));
  st.births("a", {birth::lives, birth::throws});
  const auto a = start(s, st, "a");
  end_one(rt, a, way::by_shutdown);
  REQUIRE(eventually([&] { return st.born("a") == 2; }));
  CHECK(st.log() == lines{"+a", "-a shutdown", "!a", "+a"});
  CHECK(s.restarts() == 2);
  CHECK(s.children() == 1);
  CHECK_FALSE(s.ended().has_value());
}

TEST_CASE("many: attempts at one restart use up limits of any size, and no attempt follows") {
  for (const std::uint32_t limit : {0U, 1U, 10U}) {
    INFO(limit);
    stage st;
    runtime rt(quiet());
    auto s = rt.supervise(limited(limit));
    st.births("a", {birth::lives}, birth::throws);
    const auto a = start(s, st, "a");
    end_one(rt, a, way::by_shutdown);
    CHECK(end_of(s) == "shutdown");
    CHECK(st.attempts("a") == static_cast<int>(limit) + 1);
    CHECK(s.children() == 0);
  }
}

TEST_CASE("many: stop kills those with brutal_kill unasked") {
  const auto brutal = child_shutdown::brutal_kill();
  const auto obeys = std::optional(exit_reason::shutdown());
  CHECK(ended_by_stop({{brutal, obeys}, {brutal, obeys}, {brutal, deaf}}) ==
        lines{"-0 killed", "-1 killed", "-2 killed"});
}

TEST_CASE("many: stop waits for those with infinity, and takes any reason") {
  const auto forever = child_shutdown::infinity();
  CHECK(ended_by_stop({{forever, exit_reason::shutdown()},
                       {forever, exit_reason::shutdown("oops")},
                       {forever, exit_reason::normal()}}) ==
        lines{"-0 shutdown", "-1 shutdown: oops", "-2 normal", "?0", "?1", "?2"});
}

TEST_CASE("many: stop gives those with a deadline that time, and takes any reason") {
  const auto soon = child_shutdown::within(20s);
  CHECK(ended_by_stop({{soon, exit_reason::shutdown()},
                       {soon, exit_reason::shutdown("oops")},
                       {soon, exit_reason::error("", "other")}}) ==
        lines{"-0 shutdown", "-1 shutdown: oops", "-2 error: other", "?0", "?1", "?2"});
}

TEST_CASE("many: stop kills those whose deadline has passed, and only those") {
  const auto now_or_never = child_shutdown::within(1ms);
  const auto soon = child_shutdown::within(20s);
  CHECK(ended_by_stop({{soon, exit_reason::shutdown()}, {now_or_never, deaf}, {soon, exit_reason::shutdown()}}) ==
        lines{"-0 shutdown", "-1 killed", "-2 shutdown", "?0", "?1", "?2"});
}

TEST_CASE("many: stop treats each child by its own policy") {
  CHECK(ended_by_stop({{child_shutdown::infinity(), exit_reason::shutdown()},
                       {child_shutdown::brutal_kill(), deaf},
                       {child_shutdown::within(1ms), deaf}}) ==
        lines{"-0 shutdown", "-1 killed", "-2 killed", "?0", "?2"});
}

TEST_CASE("many: terminate ends a child by its own policy, once") {
  stage st;
  runtime rt(quiet());
  auto s = rt.supervise(limited(3));
  const auto trap = [&](const char* name, child_shutdown how, std::optional<exit_reason> answer) {
    return s.start_with<trapper>(kept(permanent, how), std::ref(st), name, std::move(answer));
  };
  const std::vector<child<trapper>> all{trap("brutal", child_shutdown::brutal_kill(), deaf),
                                        trap("soon", child_shutdown::within(20s), exit_reason::shutdown("ok")),
                                        trap("late", child_shutdown::within(1ms), deaf),
                                        trap("infinity", child_shutdown::infinity(), exit_reason::normal())};
  for (const auto& c : all) CHECK(s.terminate(c));
  for (const char* line : {"-brutal killed", "-soon shutdown: ok", "-late killed", "-infinity normal"})
    CHECK(st.comes(line));
  CHECK_FALSE(st.logged("?brutal"));
  CHECK(eventually([&] { return s.children() == 0; }));
  for (const auto& c : all) CHECK_FALSE(s.terminate(c));
  CHECK(s.restarts() == 0);
  CHECK(st.living() == 0);
}

TEST_CASE("many: a child that restarts is terminated between two attempts") {
  stage st;
  runtime rt(quiet());
  auto s = rt.supervise(unlimited());
  st.births("a", {birth::lives}, birth::throws);
  const auto a = start(s, st, "a");
  end_one(rt, a, way::by_shutdown);
  REQUIRE(eventually([&] { return st.attempts("a") > 3; }));
  CHECK(s.terminate(a));
  CHECK(eventually([&] { return s.children() == 0 && !a.alive(); }));
  CHECK_FALSE(s.terminate(a));
}
