// SPDX-License-Identifier: Apache-2.0
#include "unit/supervise/otp_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

lines in_log(const stage& s) { return s.log(); }

std::string info_of(const started_child& s) {
  const auto* text = std::any_cast<std::string>(&s.info);
  return text != nullptr ? *text : "none";
}

}  // namespace

TEST_CASE("a supervisor without children starts, and ends when it is stopped") {
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one, {})).value();
  CHECK(counts(s) == tally{0, 0, 0, 0});
  CHECK_FALSE(s.ended().has_value());
  s.stop();
  REQUIRE(s.ended().has_value());
  CHECK(*s.ended() == exit_reason::shutdown());
}

TEST_CASE("a tree starts its children in order, and returns when all have started") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one, {plays(st, "a"),
                                          child_spec::tree("t", tree_of(one_for_all, {plays(st, "b"), plays(st, "c")})),
                                          plays(st, "d")}))
               .value();
  CHECK(in_log(st) == lines{"+a", "+b", "+c", "+d"});
  CHECK(ids(s) == lines{"a", "t", "d"});
  CHECK(counts(s) == tally{3, 3, 1, 2});
  CHECK(rt.ask(s.find<player>("d"), get{}, long_time).value() == 1);
}

TEST_CASE("a child that is ignored at start_child keeps its spec without a cell") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one, {})).value();
  st.births("a", {birth::ignored});
  const auto a = s.start_child(plays(st, "a"));
  REQUIRE(a);
  CHECK_FALSE(a->child);
  const auto b = s.start_child(plays(st, "b"));
  REQUIRE(b);
  CHECK(b->child.get().alive());
  CHECK(ids(s) == lines{"a", "b"});
  CHECK(state_of(s, "a") == child_state::stopped);
  CHECK_FALSE(s.find_any("a").get());
  CHECK(counts(s) == tally{2, 1, 0, 2});
  REQUIRE(s.restart_child("a"));
  CHECK(state_of(s, "a") == child_state::running);
  CHECK(counts(s) == tally{2, 2, 0, 2});
}

TEST_CASE("a permanent child that is ignored at the start of its tree keeps its spec, and the tree starts") {
  stage st;
  runtime rt(quiet());
  st.births("a", {birth::ignored});
  auto s = rt.start(tree_of(one_for_one, {plays(st, "a"), plays(st, "b")})).value();
  CHECK(in_log(st) == lines{"~a", "+b"});
  CHECK(state_of(s, "a") == child_state::stopped);
  CHECK(counts(s) == tally{2, 1, 0, 2});
}

TEST_CASE("a temporary child that is ignored at the start of its tree is forgotten") {
  stage st;
  runtime rt(quiet());
  st.births("a", {birth::ignored});
  auto s = rt.start(tree_of(one_for_one, {plays(st, "a", kept(temporary)), plays(st, "b", kept(temporary))})).value();
  CHECK(ids(s) == lines{"b"});
  CHECK(counts(s) == tally{1, 1, 0, 1});
}

TEST_CASE("a temporary child that is ignored at start_child is forgotten") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one, {})).value();
  st.births("a", {birth::ignored});
  const auto a = s.start_child(plays(st, "a", kept(temporary)));
  REQUIRE(a);
  CHECK_FALSE(a->child);
  REQUIRE(s.start_child(plays(st, "b", kept(temporary))));
  CHECK(ids(s) == lines{"b"});
  CHECK(counts(s) == tally{1, 1, 0, 1});
  REQUIRE(s.start_child(plays(st, "a", kept(temporary))));
  CHECK(ids(s) == lines{"b", "a"});
}

TEST_CASE("a factory that returns no arguments ignores the start") {
  stage st;
  runtime rt(quiet());
  std::atomic<bool> ready{false};
  using arguments = std::tuple<std::reference_wrapper<stage>, std::string>;
  auto s = rt.start(tree_of(one_for_one, {child_spec::made_by<player>("a",
                                                                      [&]() -> std::optional<arguments> {
                                                                        if (!ready) return std::nullopt;
                                                                        return arguments(st, "a");
                                                                      })}))
               .value();
  CHECK(state_of(s, "a") == child_state::stopped);
  ready = true;
  REQUIRE(s.restart_child("a"));
  CHECK(in_log(st) == lines{"+a"});
}

TEST_CASE("a child that can not start ends those before it in reverse, and the start gives its error") {
  stage st;
  runtime rt(quiet());
  st.all_births("c", birth::throws);
  const auto s = rt.start(tree_of(one_for_one, {plays(st, "a"), plays(st, "b"), plays(st, "c"), plays(st, "d")}));
  REQUIRE_FALSE(s);
  CHECK(s.error().code() == errc::start_failed);
  CHECK(s.error().message().find("c can not start") != std::string::npos);
  CHECK(in_log(st) == lines{"+a", "+b", "!c", "-b shutdown", "-a shutdown"});
  CHECK(st.living() == 0);
  CHECK(st.attempts("c") == 1);
}

TEST_CASE("a failed start deep in a tree ends all that had started, in reverse, and gives the first error") {
  stage st;
  runtime rt(quiet());
  st.all_births("e", birth::throws);
  const auto s = rt.start(tree_of(
      one_for_all,
      {plays(st, "a"), child_spec::tree("t", tree_of(rest_for_one, {plays(st, "b")})),
       child_spec::tree("u", tree_of(one_for_one, {plays(st, "c"), plays(st, "d"), plays(st, "e")})), plays(st, "f")}));
  REQUIRE_FALSE(s);
  CHECK(s.error().code() == errc::start_failed);
  CHECK(s.error().message().find("e can not start") != std::string::npos);
  CHECK(in_log(st) == lines{"+a", "+b", "+c", "+d", "!e", "-d shutdown", "-c shutdown", "-b shutdown", "-a shutdown"});
  CHECK(st.living() == 0);
}

TEST_CASE("a failed start sends no exit signal to anybody") {
  stage st;
  runtime rt(quiet());
  const auto bystander = rt.spawn<player>(std::ref(st), "bystander");
  st.all_births("b", birth::throws);
  REQUIRE_FALSE(rt.start(tree_of(one_for_one, {plays(st, "a"), plays(st, "b")})));
  CHECK(rt.ask(bystander, get{}, long_time).value() == 1);
  CHECK(rt.start(tree_of(one_for_one, {plays(st, "a")})).has_value());
}

TEST_CASE("a child that can not start at start_child leaves nothing behind") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_all, {plays(st, "a")})).value();
  const cell_ref a = now(s, "a");
  st.births("b", {birth::throws});
  const auto b = s.start_child(plays(st, "b"));
  CHECK(code_of(b) == errc::start_failed);
  CHECK(b.error().message().find("b can not start") != std::string::npos);
  CHECK(ids(s) == lines{"a"});
  CHECK(now(s, "a") == a);
  CHECK(s.restarts() == 0);
  REQUIRE(s.start_child(plays(st, "b")));
  CHECK(ids(s) == lines{"a", "b"});
}

TEST_CASE("a child that can not start at restart_child keeps its spec, and is not tried again") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one, {plays(st, "a")})).value();
  REQUIRE(s.terminate_child("a"));
  st.births("a", {birth::throws});
  const auto a = s.restart_child("a");
  CHECK(code_of(a) == errc::start_failed);
  CHECK(a.error().message().find("a can not start") != std::string::npos);
  REQUIRE(settled(s));
  CHECK(state_of(s, "a") == child_state::stopped);
  CHECK(st.attempts("a") == 2);
  CHECK(s.restarts() == 0);
  REQUIRE(s.restart_child("a"));
  CHECK(st.born("a") == 2);
}

TEST_CASE("a subtree that can not start at start_child has ended its own children when the error comes") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one, {})).value();
  st.all_births("b", birth::throws);
  const auto t = s.start_child(child_spec::tree("t", tree_of(one_for_one, {plays(st, "a"), plays(st, "b")})));
  CHECK(code_of(t) == errc::start_failed);
  CHECK(in_log(st) == lines{"+a", "!b", "-a shutdown"});
  CHECK(st.living() == 0);
  CHECK(counts(s) == tally{0, 0, 0, 0});
}

TEST_CASE("what a spec does not say is as in OTP") {
  stage st;
  runtime rt(quiet());
  const supervisor_spec plain;
  CHECK(plain.strategy == one_for_one);
  CHECK(plain.intensity == restart_intensity{1, 5s});
  CHECK(plain.auto_shutdown == auto_shutdown::never);
  auto s = rt.start(tree_of(one_for_one,
                            {plays(st, "a"), plays(st, "b", kept(permanent, child_shutdown::brutal_kill())),
                             child_spec::tree("c", tree_of(one_for_one, {})), child_spec::dynamic("d", generous())}))
               .value();
  const auto a = s.spec_of("a").value();
  CHECK(a.id() == "a");
  CHECK(a.options().restart == restart_type::permanent);
  CHECK_FALSE(a.options().significant);
  CHECK(a.options().mailbox == mailbox_policy::dropped);
  CHECK(a.shutdown() == child_shutdown::within(5s));
  CHECK(a.kind() == child_kind::worker);
  CHECK(s.spec_of("b").value().shutdown().is_brutal_kill());
  for (const char* id : {"c", "d"}) {
    const auto c = s.spec_of(id).value();
    CHECK(c.options().restart == restart_type::permanent);
    CHECK(c.shutdown().is_infinity());
    CHECK(c.kind() == child_kind::supervisor);
  }
  CHECK(code_of(s.spec_of("e")) == errc::not_found);
}

TEST_CASE("what a constructor gives to start_info comes with start_child and restart_child, and changes nothing else") {
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one, {child_spec::of<informant>("a", std::string("extra"))})).value();
  const cell_ref first = now(s, "a");
  REQUIRE(s.terminate_child("a"));
  const auto again = s.restart_child("a");
  REQUIRE(again);
  CHECK(info_of(*again) == "extra");
  CHECK(again->child.get() == now(s, "a"));
  CHECK_FALSE(now(s, "a") == first);
  const auto other = s.start_child(child_spec::of<informant>("b", std::string("more")));
  REQUIRE(other);
  CHECK(info_of(*other) == "more");
  const cell_ref b = now(s, "b");
  end_child(rt, s, "b", way::by_kill);
  CHECK(replaced(s, "b", b));
  CHECK(counts(s) == tally{2, 2, 0, 2});
}

TEST_CASE("a child that gives no start_info has none, also after one that gave some") {
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one, {})).value();
  CHECK(info_of(s.start_child(child_spec::of<informant>("a", std::string("some"))).value()) == "some");
  CHECK_FALSE(s.start_child(child_spec::of<idler>("b")).value().info.has_value());
}
