// SPDX-License-Identifier: Apache-2.0

// The conductor alone: the test speaks in the names of eyes and symbols. The eyes that it commands exist, but have no
// conductor to speak to, so that nothing is said that the test does not say.

#include "tools/colony/conductor.hpp"

#include <chrono>
#include <string>
#include <tuple>
#include <vector>

#include <karyon/cell/runtime.hpp>
#include <karyon/supervise/supervisor.hpp>

#include "support/catch.hpp"
#include "tools/colony/eye.hpp"

namespace {

using namespace karyon::tools;
using namespace std::chrono_literals;

class stage {
public:
  explicit stage(std::uint32_t eyes, std::uint32_t eyes_at_once = 100) {
    ground_.files.assign(eyes, "/no/such/file.h");
    colony_ground* const ground = &ground_;
    ground_.groups = karyon::process_groups::open(host_, "colony", karyon::scope_reach::this_node).value();
    ground_.eyes = host_.supervise().start_each<eye>(
        eyes, [ground](std::size_t i) { return std::tuple(ground, static_cast<file_id>(i)); });
    lead_ = host_.spawn<conductor>(&ground_, eyes_at_once);
  }
  ~stage() { static_cast<void>(host_.shutdown(1s)); }
  stage(const stage&) = delete;
  stage& operator=(const stage&) = delete;

  template <class T>
  void say(T&& signal) {
    REQUIRE(karyon::ok(lead_.send(std::forward<T>(signal))));
  }
  void done(file_id file, std::uint32_t turn, outcome what = outcome::scanned) {
    say(eye_done{file, turn, what, "said so"});
  }
  /// All that was said before has been handled when this returns.
  void barrier() { REQUIRE(host_.ask(lead_, expect_rebirths{}, 10s)); }
  [[nodiscard]] bool settled() {
    auto answer = host_.ask_async(lead_, when_settled{});
    barrier();
    return answer.ready();
  }
  settlement settlement_now() {
    auto answer = host_.ask(lead_, when_settled{}, 10s);
    REQUIRE(answer);
    return *answer;
  }
  void expect(std::vector<file_id> eyes, std::vector<symbol_id> symbols) {
    REQUIRE(host_.ask(lead_, expect_rebirths{std::move(eyes), std::move(symbols)}, 10s));
  }
  /// Makes n symbols known to the index.
  void name_symbols(int n) {
    for (int i = 0; i < n; ++i) {
      const std::string name = "s" + std::to_string(i);
      ground_.symbols.find_or_create(name, name_hash(name), [](symbol_id) { return karyon::child<symbol>(); });
    }
  }
  void all_looked(std::uint32_t eyes) {
    say(begin{});
    for (file_id file = 0; file < eyes; ++file) say(eye_ready{file});
    for (file_id file = 0; file < eyes; ++file) done(file, 1);
  }

private:
  colony_ground ground_;
  karyon::runtime host_;
  karyon::ref<conductor> lead_;
};

}  // namespace

TEST_CASE("a colony is settled when every eye has finished its turn, and not before it has begun") {
  stage s(2);
  s.say(eye_ready{0});
  s.say(eye_ready{1});
  CHECK_FALSE(s.settled());
  s.say(begin{});
  s.done(1, 1);
  CHECK_FALSE(s.settled());
  s.done(0, 1);
  CHECK(s.settled());
}

TEST_CASE("only so many eyes have their turn at a time") {
  stage s(3, 1);
  s.say(begin{});
  for (file_id file : {2U, 0U, 1U}) s.say(eye_ready{file});
  s.done(0, 1);  // was not given its turn: eye 2 was first
  s.done(2, 1);
  s.done(1, 1);
  CHECK_FALSE(s.settled());
  s.done(0, 1);
  s.done(1, 1);
  CHECK(s.settled());
}

TEST_CASE("what an ended incarnation still says of its turn is void") {
  stage s(1);
  s.say(begin{});
  s.say(eye_ready{0});
  s.say(eye_ready{0});
  s.done(0, 1);
  CHECK_FALSE(s.settled());
  s.done(0, 2);
  CHECK(s.settled());
}

TEST_CASE("an eye that fails three times in its turn is given up, one that ends between turns is not") {
  stage s(2);
  s.all_looked(2);
  for (int i = 0; i < 10; ++i) {
    s.say(eye_ready{1});
    s.done(1, 2 + static_cast<std::uint32_t>(i));
  }
  for (int i = 0; i < 3; ++i) s.say(eye_ready{0});
  CHECK_FALSE(s.settled());  // two failures so far: the first time it was not in its turn
  s.say(eye_ready{0});
  REQUIRE(s.settled());
  const settlement now = s.settlement_now();
  CHECK(now.outcomes.of(outcome::unreadable) == 1);
  CHECK(now.outcomes.of(outcome::scanned) == 1);
  REQUIRE(now.problems.size() == 1);
  CHECK(now.problems[0].reason == "its eye failed 3 times");
}

TEST_CASE("a killing in an eye's turn is no failure of the eye") {
  stage s(1);
  s.say(begin{});
  s.say(eye_ready{0});
  for (int i = 0; i < 5; ++i) {
    s.expect({0}, {});
    s.say(eye_ready{0});
  }
  s.done(0, 6);
  CHECK(s.settlement_now().outcomes.of(outcome::scanned) == 1);
}

TEST_CASE("a colony is not settled before every cell that was to be killed is back") {
  stage s(2);
  s.name_symbols(3);
  s.all_looked(2);
  s.expect({0, 1}, {2, 0});
  s.say(eye_ready{0});
  s.done(0, 2);  // void: it has no turn while symbols are missing
  s.say(symbol_reborn{0});
  s.say(recall_answered{1, 1});  // void: nothing is asked while symbols are missing
  CHECK_FALSE(s.settled());
  s.say(symbol_reborn{2});
  s.done(0, 2);
  s.say(recall_answered{1, 1});
  CHECK_FALSE(s.settled());  // eye 1 is not back
  s.say(eye_ready{1});
  CHECK_FALSE(s.settled());
  s.done(1, 2);
  CHECK(s.settled());
}

TEST_CASE("a forgetful symbol is asked for in one wave that all eyes answer") {
  stage s(2);
  s.name_symbols(2);
  s.all_looked(2);
  s.say(symbol_reborn{1});
  CHECK_FALSE(s.settled());
  s.say(recall_answered{0, 1});
  s.say(recall_answered{0, 1});  // twice from one eye is not once from both
  CHECK_FALSE(s.settled());
  s.say(recall_answered{1, 1});
  CHECK(s.settled());
}

TEST_CASE("a symbol that is reborn during a wave is asked for in the next") {
  stage s(1);
  s.name_symbols(2);
  s.all_looked(1);
  s.say(symbol_reborn{0});
  s.say(symbol_reborn{1});
  s.say(symbol_reborn{0});
  s.say(recall_answered{0, 1});
  CHECK_FALSE(s.settled());
  s.say(recall_answered{0, 1});  // late, and of the wave before
  CHECK_FALSE(s.settled());
  s.say(recall_answered{0, 2});
  CHECK(s.settled());
}

TEST_CASE("an eye that ends while it owes an answer owes it no more, but reads its file again") {
  stage s(1);
  s.name_symbols(1);
  s.all_looked(1);
  s.say(symbol_reborn{0});
  s.say(eye_ready{0});
  CHECK_FALSE(s.settled());
  s.done(0, 2);
  CHECK(s.settled());
}

TEST_CASE("the outcome and reason that an eye reports reach the settlement") {
  stage s(2);
  s.say(begin{});
  s.say(eye_ready{0});
  s.say(eye_ready{1});
  s.done(0, 1, outcome::binary);
  s.done(1, 1);
  const settlement now = s.settlement_now();
  CHECK(now.outcomes.of(outcome::binary) == 1);
  CHECK(now.outcomes.of(outcome::scanned) == 1);
  REQUIRE(now.problems.size() == 1);
  CHECK(now.problems[0].path == "/no/such/file.h");
  CHECK(now.problems[0].what == outcome::binary);
  CHECK(now.problems[0].reason == "said so");
}
