// SPDX-License-Identifier: Apache-2.0
#include "unit/supervise/otp_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

bool names(const error& e, const std::string& what) { return e.message().find(what) != std::string::npos; }

/// A spec is refused by check(), by start() and, if its child is the faulty part, by start_child(); the error names the words.
void refused(const supervisor_spec& spec, const std::vector<std::string>& words) {
  const auto checked = check(spec);
  REQUIRE_FALSE(checked);
  CHECK(checked.error().code() == errc::invalid_argument);
  for (const std::string& w : words) {
    INFO(checked.error().message() << " does not name " << w);
    CHECK(names(checked.error(), w));
  }
  runtime rt(quiet(1));
  const auto started = rt.start(spec);
  REQUIRE_FALSE(started);
  CHECK(started.error() == checked.error());
  CHECK(rt.metrics().spawned == 0);
}
void refused_child(const child_spec& child, const std::vector<std::string>& words) {
  refused(tree_of(one_for_one, {child}, at_most(2), auto_shutdown::any_significant), words);
  stage st;
  runtime rt(quiet(1));
  auto s = rt.start(tree_of(one_for_one, {plays(st, "first")}, at_most(2), auto_shutdown::any_significant)).value();
  const auto added = s.start_child(child);
  REQUIRE_FALSE(added);
  CHECK(added.error().code() == errc::invalid_argument);
  for (const std::string& w : words) {
    INFO(added.error().message() << " does not name " << w);
    CHECK(names(added.error(), w));
  }
  CHECK(counts(s) == tally{1, 1, 0, 1});
}

child_spec plain(const std::string& id) { return child_spec::of<idler>(id); }
child_options options_with(child_shutdown s) { return kept(permanent, s); }

supervisor_spec with(const std::function<void(supervisor_spec&)>& change) {
  supervisor_spec s = tree_of(one_for_one, {});
  change(s);
  return s;
}
supervisor_options options_of(const std::function<void(supervisor_options&)>& change) {
  supervisor_options o;
  change(o);
  return o;
}

}  // namespace

TEST_CASE("a child without an id is refused") { refused_child(plain(""), {"id"}); }

TEST_CASE("a shutdown deadline below zero is refused") {
  for (const auto below : {-10ms, -1ms, std::chrono::milliseconds::min()}) {
    refused_child(plain("a").with(options_with(child_shutdown::within(below))), {"a", "shutdown"});
    CHECK_FALSE(child_shutdown::within(below).is_brutal_kill());
  }
}

TEST_CASE("a restart type that does not exist is refused") {
  refused_child(plain("a").with(kept(static_cast<restart_type>(9))), {"a", "restart"});
}

TEST_CASE("a mailbox policy that does not exist is refused") {
  child_options o;
  o.mailbox = static_cast<mailbox_policy>(9);
  refused_child(plain("a").with(o), {"a", "mailbox"});
}

TEST_CASE("a factory without a function is refused") {
  refused_child(child_spec::made_by<idler>("a", std::function<std::tuple<>()>()), {"a"});
}

TEST_CASE("a significant child that is permanent is refused") {
  refused_child(plain("a").with(kept(permanent, {}, true)), {"a", "significant"});
}

TEST_CASE("two children with one id are refused") {
  refused(tree_of(one_for_one, {plain("a"), plain("b"), plain("a")}), {"id", "a"});
}

TEST_CASE("children of different supervisors may have one id") {
  runtime rt(quiet(1));
  const auto s =
      rt.start(tree_of(one_for_one, {plain("a"), child_spec::tree("t", tree_of(one_for_one, {plain("a")}))}));
  REQUIRE(s);
  CHECK(s->find_any("t").as_tree().find<idler>("a"));
}

TEST_CASE("a fault deep in a tree is refused before anything starts, with the path of the child") {
  stage st;
  const auto spec = tree_of(
      one_for_one,
      {plays(st, "a"),
       child_spec::tree(
           "outer", tree_of(one_for_one,
                            {child_spec::tree(
                                "inner", tree_of(one_for_one, {plain("leaf").with(kept(permanent, {}, true))}))}))});
  refused(spec, {"outer", "inner", "leaf", "significant"});
  CHECK(st.attempts("a") == 0);
}

TEST_CASE("a faulty supervisor below another is refused with its path") {
  refused(tree_of(one_for_one, {child_spec::tree("t", tree_of(one_for_one, {}, {1, 0ns}))}), {"t", "period"});
  refused(tree_of(one_for_one, {child_spec::dynamic("d", options_of([](auto& o) { o.intensity.period = 0ns; }))}),
          {"d", "period"});
}

TEST_CASE("each combination of a child's options that OTP allows is allowed, and each other one refused") {
  int allowed = 0;
  for (const auto ends : {auto_shutdown::never, auto_shutdown::any_significant, auto_shutdown::all_significant}) {
    for (const auto type : {permanent, transient, temporary}) {
      for (const auto end : {std::optional<child_shutdown>(), std::optional(child_shutdown::within(0ms)),
                             std::optional(child_shutdown::within(1000ms)), std::optional(child_shutdown::infinity()),
                             std::optional(child_shutdown::brutal_kill())}) {
        for (const bool significant : {false, true}) {
          const auto options = kept(type, end, significant);
          for (const auto& child :
               {plain("a").with(options), child_spec::tree("a", tree_of(one_for_one, {})).with(options),
                child_spec::dynamic("a", generous()).with(options)}) {
            const bool legal = !significant || (ends != auto_shutdown::never && type != permanent);
            const auto checked = check(tree_of(one_for_one, {child}, at_most(1), ends));
            INFO(name_of(ends) << ", " << name_of(type) << ", significant " << significant);
            CHECK(checked.has_value() == legal);
            if (!legal) CHECK(names(checked.error(), "significant"));
            allowed += legal ? 1 : 0;
          }
        }
      }
    }
  }
  CHECK(allowed == 195);
}

TEST_CASE("a significant child is refused under a supervisor that never ends by itself") {
  runtime rt(quiet(1));
  auto s = rt.start(tree_of(one_for_one, {})).value();
  const auto added = s.start_child(plain("a").with(kept(transient, {}, true)));
  CHECK(code_of(added) == errc::invalid_argument);
  CHECK(names(added.error(), "significant"));
  refused(tree_of(one_for_one, {plain("a").with(kept(temporary, {}, true))}), {"significant"});
}

TEST_CASE("a supervisor's faulty fields are refused by name") {
  refused(with([](auto& s) { s.strategy = static_cast<restart_strategy>(9); }), {"strategy"});
  refused(with([](auto& s) { s.auto_shutdown = static_cast<auto_shutdown>(9); }), {"auto_shutdown"});
  refused(with([](auto& s) { s.intensity.period = 0ns; }), {"period"});
  refused(with([](auto& s) { s.intensity.period = -1s; }), {"period"});
  refused(with([](auto& s) { s.backoff.minimum = -1ms; }), {"backoff", "minimum"});
  refused(with([](auto& s) {
            s.backoff.minimum = 10ms;
            s.backoff.maximum = 5ms;
          }),
          {"backoff", "maximum"});
  refused(with([](auto& s) {
            s.backoff.minimum = 1ms;
            s.backoff.jitter = 1.5;
          }),
          {"backoff", "jitter"});
  refused(with([](auto& s) {
            s.backoff.minimum = 1ms;
            s.backoff.jitter = std::numeric_limits<double>::quiet_NaN();
          }),
          {"backoff", "jitter"});
}

TEST_CASE("the faulty fields of a supervisor of many are refused by name") {
  using change = std::function<void(supervisor_options&)>;
  const std::vector<std::pair<change, std::string>> faults{
      {[](auto& o) { o.strategy = one_for_all; }, "strategy"},
      {[](auto& o) { o.intensity.period = 0ns; }, "period"},
      {[](auto& o) { o.intensity.period = -5s; }, "period"},
      {[](auto& o) { o.intensity_share = -0.1; }, "intensity_share"},
      {[](auto& o) { o.intensity_share = 1.1; }, "intensity_share"},
      {[](auto& o) { o.one_cause_window = -1ms; }, "one_cause_window"},
      {[](auto& o) { o.shutdown_deadline = -1ms; }, "shutdown_deadline"},
      {[](auto& o) { o.auto_shutdown = static_cast<auto_shutdown>(9); }, "auto_shutdown"},
      {[](auto& o) { o.backoff.minimum = -1ms; }, "minimum"},
  };
  for (const auto& [fault, field] : faults) {
    INFO(field);
    const auto options = options_of(fault);
    const auto checked = check(options);
    REQUIRE_FALSE(checked);
    CHECK(checked.error().code() == errc::invalid_argument);
    CHECK(names(checked.error(), field));
    runtime rt(quiet(1));
    try {
      static_cast<void>(rt.supervise(options));
      FAIL_CHECK("it has started");
    } catch (const runtime_error& e) {
      CHECK(e.why() == checked.error());
    }
    const auto in_tree = check(tree_of(one_for_one, {child_spec::dynamic("d", options)}));
    REQUIRE_FALSE(in_tree);
    CHECK(names(in_tree.error(), "d"));
    CHECK(names(in_tree.error(), field));
  }
}

TEST_CASE("a budget of no restarts is legal: the first failure that calls for one ends the supervisor") {
  stage st;
  runtime rt(quiet());
  auto s = rt.start(tree_of(one_for_one, {plays(st, "a")}, at_most(0))).value();
  end_child(rt, s, "a", way::by_failure);
  CHECK(end_of(s) == "shutdown");
  CHECK(st.born("a") == 1);
}
