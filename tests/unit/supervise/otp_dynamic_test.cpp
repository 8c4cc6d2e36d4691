// SPDX-License-Identifier: Apache-2.0
#include "unit/supervise/otp_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

supervisor_options limited(std::uint32_t restarts) {
  supervisor_options o;
  o.intensity = at_most(restarts);
  return o;
}
supervisor_options unlimited() { return limited(4'000'000'000U); }

child<player> start(supervisor& s, stage& st, const std::string& name, const child_options& options = {}) {
  return s.start_with<player>(options, std::ref(st), name);
}
/// Waits until the role has another incarnation than that one.
bool replaced(const child<player>& c, const ref<player>& before) {
  return eventually([&] {
    const auto r = c.get();
    return r && r.alive() && !(r == before);
  });
}
/// Ends the incarnation there is and waits until it is gone.
void end_one(runtime& rt, const child<player>& c, way w) {
  const auto r = c.get();
  REQUIRE(r.alive());
  end_cell(rt, r, w);
  REQUIRE(eventually([&] { return !r.alive(); }));
}
void begin_loop(runtime& rt, stage& st, const child<player>& c, const std::string& name) {
  st.all_births(name, birth::throws);
  const int tries = st.attempts(name);
  end_one(rt, c, way::by_failure);
  REQUIRE(eventually([&] { return st.attempts(name) >= tries + 3; }));
}

}  // namespace

TEST_CASE("many: children are started, counted and terminated one by one") {
  stage st;
  runtime rt(quiet());
  auto s = rt.supervise(limited(2));
  CHECK(s.children() == 0);
  const auto a = start(s, st, "a");
  CHECK(s.children() == 1);
  const auto b = start(s, st, "b");
  CHECK(s.children() == 2);
  const auto first = a.get();
  CHECK(s.terminate(a));
  CHECK(eventually([&] { return s.children() == 1 && !first.alive() && !a.alive(); }));
  CHECK_FALSE(s.terminate(a));
  CHECK(s.children() == 1);
  CHECK(b.alive());
  CHECK(st.comes("-a shutdown"));
}

TEST_CASE("many: a child of another supervisor, or of none, is not terminated") {
  stage st;
  runtime rt(quiet());
  auto s = rt.supervise(limited(2));
  auto other = rt.supervise(limited(2));
  const auto mine = start(s, st, "a");
  const auto theirs = start(other, st, "b");
  CHECK_FALSE(s.terminate(theirs));
  CHECK_FALSE(s.terminate(child<player>()));
  CHECK(theirs.get().alive());
  CHECK(mine.get().alive());
  CHECK(s.children() == 1);
  CHECK(other.children() == 1);
}

TEST_CASE("many: a child that is ignored has an empty handle and is not kept, whatever its restart type") {
  for (const auto type : {permanent, transient, temporary}) {
    INFO(name_of(type));
    stage st;
    runtime rt(quiet());
    auto s = rt.supervise(limited(2));
    st.births("a", {birth::ignored});
    const auto ignored = s.try_start<player>(kept(type), std::ref(st), std::string("a"));
    REQUIRE(ignored);
    CHECK_FALSE(ignored->child);
    st.births("a", {birth::ignored});
    CHECK_FALSE(start(s, st, "a", kept(type)));
    CHECK(s.children() == 0);
    const auto lives = start(s, st, "a", kept(type));
    CHECK(lives);
    CHECK(s.children() == 1);
    s.stop();
    CHECK(*s.ended() == exit_reason::shutdown());
  }
}

TEST_CASE("many: a child that can not start gives its error, and is not kept") {
  stage st;
  runtime rt(quiet());
  auto s = rt.supervise(limited(2));
  st.births("a", {birth::throws, birth::throws});
  const auto failed = s.try_start<player>({}, std::ref(st), std::string("a"));
  CHECK(code_of(failed) == errc::start_failed);
  CHECK(failed.error().message().find("a can not start") != std::string::npos);
  CHECK_THROWS_AS(start(s, st, "a"), std::runtime_error);
  CHECK(s.children() == 0);
  CHECK(s.restarts() == 0);
  CHECK(start(s, st, "a").get().alive());
}

TEST_CASE("many: the child that ended is restarted and no other, and the limit is one for all") {
  stage st;
  runtime rt(quiet());
  auto s = rt.supervise(limited(2));
  const auto a = start(s, st, "a");
  const auto b = start(s, st, "b");
  const auto first_a = a.get();
  const auto first_b = b.get();
  end_one(rt, a, way::by_failure);
  REQUIRE(replaced(a, first_a));
  CHECK(b.get() == first_b);
  CHECK(s.children() == 2);
  end_one(rt, b, way::by_failure);
  REQUIRE(replaced(b, first_b));
  CHECK_FALSE(s.ended().has_value());
  end_one(rt, a, way::by_failure);
  CHECK(end_of(s) == "shutdown");
  CHECK(st.living() == 0);
  CHECK(s.children() == 0);
}

TEST_CASE("many: a child whose restarts fail uses up the limit, and the others end with their supervisor") {
  stage st;
  runtime rt(quiet());
  auto s = rt.supervise(limited(4));
  st.births("a", {birth::lives}, birth::throws);
  const auto a = start(s, st, "a");
  static_cast<void>(start(s, st, "b"));
  end_one(rt, a, way::by_failure);
  CHECK(end_of(s) == "shutdown");
  CHECK(st.attempts("a") == 5);
  CHECK(st.comes("-b shutdown"));
  CHECK(st.living() == 0);
}

TEST_CASE(
    "many: what the constructor gives to start_info comes with try_start, and the child is restarted as others are") {
  runtime rt(quiet());
  auto s = rt.supervise(limited(2));
  const auto a = s.try_start<informant>({}, std::string("extra"));
  REQUIRE(a);
  CHECK(std::any_cast<std::string>(a->info) == "extra");
  const auto first = a->child.get();
  rt.exit(first, exit_reason::killed());
  CHECK(eventually([&] {
    const auto r = a->child.get();
    return r && !(r == first);
  }));
  CHECK_FALSE(s.try_start<idler>({}).value().info.has_value());
}

TEST_CASE("many: a child that is ignored at its restart is forgotten") {
  for (const auto type : {permanent, transient}) {
    INFO(name_of(type));
    stage st;
    runtime rt(quiet());
    auto s = rt.supervise(limited(10));
    st.births("a", {birth::lives, birth::lives, birth::ignored});
    const auto a = start(s, st, "a", kept(type));
    const auto first = a.get();
    end_one(rt, a, way::by_kill);
    REQUIRE(replaced(a, first));
    CHECK(s.children() == 1);
    end_one(rt, a, way::by_kill);
    CHECK(eventually([&] { return s.children() == 0 && !a.alive(); }));
    CHECK(st.attempts("a") == 3);
    s.stop();
    CHECK(*s.ended() == exit_reason::shutdown());
  }
}

TEST_CASE("many: all are asked to end at once, and only those that do not are killed at the deadline") {
  stage st;
  runtime rt(quiet());
  auto s = rt.supervise(limited(2));
  const auto patient = kept(permanent, child_shutdown::infinity());
  const auto slow = s.start_with<trapper>(patient, std::ref(st), "slow", std::optional<exit_reason>());
  static_cast<void>(s.start_with<trapper>(kept(permanent, child_shutdown::within(1ms)), std::ref(st), "deaf",
                                          std::optional<exit_reason>()));
  static_cast<void>(s.start_with<trapper>(kept(permanent, child_shutdown::within(20s)), std::ref(st), "good",
                                          std::optional(exit_reason::shutdown("done"))));
  const auto r = slow.get();
  s.exit(exit_reason::shutdown());
  REQUIRE(st.comes("?slow"));
  REQUIRE(st.comes("-deaf killed"));
  REQUIRE(st.comes("-good shutdown: done"));
  CHECK_FALSE(s.ended().has_value());
  r.send(die{exit_reason::normal()});
  CHECK(end_of(s) == "shutdown");
}

TEST_CASE("many: children that answer the request to end with any reason have ended, whatever their restart type") {
  for (const auto type : {permanent, transient, temporary}) {
    INFO(name_of(type));
    stage st;
    runtime rt(quiet());
    auto s = rt.supervise(limited(2));
    const std::vector<exit_reason> reasons{exit_reason::normal(), exit_reason::shutdown(),
                                           exit_reason::shutdown("test"), exit_reason::error("", "other")};
    for (std::size_t i = 0; i < reasons.size(); ++i) {
      static_cast<void>(
          s.start_with<trapper>(kept(type), std::ref(st), std::to_string(i), std::optional<exit_reason>(reasons[i])));
    }
    s.stop();
    CHECK(*s.ended() == exit_reason::shutdown());
    for (std::size_t i = 0; i < reasons.size(); ++i) {
      CHECK(st.logged("-" + std::to_string(i) + " " + to_string(reasons[i])));
      CHECK(st.born(std::to_string(i)) == 1);
    }
    CHECK(s.restarts() == 0);
  }
}

TEST_CASE("many: a child in an endless restart loop is counted, takes no signal, and can be terminated") {
  stage st;
  runtime rt(quiet());
  auto s = rt.supervise(unlimited());
  const auto a = start(s, st, "a", kept(permanent, child_shutdown::brutal_kill()));
  begin_loop(rt, st, a, "a");
  CHECK(s.children() == 1);
  CHECK_FALSE(rt.ask(a, get{}, long_time));  // at once, whatever the attempt is at
  CHECK(a.alive());
  CHECK(s.terminate(a));
  CHECK(eventually([&] { return s.children() == 0 && !a.alive(); }));
  const int tries = st.attempts("a");
  st.all_births("a", birth::lives);
  const auto b = start(s, st, "a");
  CHECK(st.attempts("a") == tries + 1);
  begin_loop(rt, st, b, "a");
  s.stop();
  CHECK(*s.ended() == exit_reason::shutdown());
}

TEST_CASE("many: children in restart loops do not keep the others from being started, restarted and stopped") {
  stage st;
  runtime rt(quiet());
  auto s = rt.supervise(unlimited());
  std::vector<child<player>> looping;
  for (int i = 0; i < 4; ++i) {
    const std::string name = "x" + std::to_string(i);
    looping.push_back(start(s, st, name));
    begin_loop(rt, st, looping.back(), name);
  }
  const auto a = start(s, st, "a");
  const auto first = a.get();
  end_one(rt, a, way::by_kill);
  CHECK(replaced(a, first));
  CHECK(rt.ask(a, get{}, long_time).value() == 2);
  CHECK(s.children() == 5);
  st.all_births("x2", birth::lives);
  CHECK(eventually([&] { return looping[2].get().alive(); }));
  CHECK(s.terminate(looping[1]));
  CHECK(eventually([&] { return s.children() == 4; }));
  s.exit(exit_reason::killed());
  CHECK(end_of(s) == "killed");
  CHECK(st.living() == 0);
}

TEST_CASE("many: children that are restarting are counted, those that run and those that do not") {
  stage st;
  runtime rt(quiet());
  auto s = rt.supervise(unlimited());
  std::vector<child<player>> c;
  for (const char* name : {"a", "b", "c"}) {
    c.push_back(start(s, st, name));
    CHECK(s.children() == c.size());
  }
  begin_loop(rt, st, c[0], "a");
  begin_loop(rt, st, c[1], "b");
  CHECK(s.children() == 3);
  CHECK_FALSE(rt.ask(c[0], get{}, long_time));
  CHECK(c[2].get().alive());
  st.all_births("a", birth::lives);
  st.all_births("b", birth::lives);
  CHECK(eventually([&] { return c[0].get().alive() && c[1].get().alive(); }));
  CHECK(s.children() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(s.terminate(c[i]));
    CHECK(eventually([&] { return s.children() == 2 - i; }));
  }
}

TEST_CASE("many: temporary children that are killed by the thousand leave nothing, and cost no restart") {
  stage st;
  runtime rt(quiet());
  auto s = rt.supervise(limited(2));
  std::vector<child<idler>> all;
  for (int round = 1; round <= 2; ++round) {
    for (int i = 0; i < 1000; ++i) all.push_back(s.start_with<idler>(kept(temporary)));
    CHECK(s.children() == static_cast<std::size_t>(1000 * round));
  }
  for (const auto& c : all) rt.exit(c.get(), exit_reason::killed());
  CHECK(eventually([&] { return s.children() == 0; }));
  CHECK(s.restarts() == 0);
  CHECK_FALSE(s.ended().has_value());
}
