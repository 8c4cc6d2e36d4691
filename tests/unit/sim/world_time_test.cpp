// SPDX-License-Identifier: Apache-2.0
// How time passes in a simulated world.
#include <algorithm>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "unit/sim/world_cells.hpp"

using namespace std::chrono_literals;
using namespace karyon;
using namespace karyon::tests;
using testing::world;

namespace {

/// Asks somebody who never answers, and writes down when it was told so.
class asker : public cell {
public:
  using accepts = signals<go>;
  asker(world* w, ref<mute> whom, std::chrono::nanoseconds* told, errc* code)
      : world_(w), whom_(whom), told_(told), code_(code) {}
  void on(go) {
    ask(whom_, question{}, 2h, [this](result<int> r) {
      *told_ = world_->now();
      *code_ = r.error().code();
    });
  }

private:
  world* world_;
  ref<mute> whom_;
  std::chrono::nanoseconds* told_;
  errc* code_;
};

}  // namespace

TEST_CASE("an hour passes at once, and a timer fires at its time and not before") {
  world w(3);
  std::vector<std::chrono::nanoseconds> fired;
  w.runtime().spawn<clockwork>(&w, 1h, &fired, false);
  w.run();
  CHECK(fired.empty());
  w.advance(1h - 1s);
  CHECK(fired.empty());
  CHECK(w.now() == 1h - 1s);
  w.advance(1h);
  REQUIRE(fired.size() == 1);
  CHECK(fired[0] >= 1h);
  CHECK(fired[0] <= 1h + timer_tick);
  CHECK(w.now() == 2h - 1s);
}

TEST_CASE("timers fire in the order of their deadlines on whatever worker they are") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    world w(seed);
    std::vector<std::chrono::nanoseconds> fired;
    for (int i = 20; i > 0; --i) w.runtime().spawn<clockwork>(&w, i * 10ms, &fired, false);
    w.advance(1s);
    REQUIRE(fired.size() == 20);
    CHECK(std::is_sorted(fired.begin(), fired.end()));
  }
}

TEST_CASE("a periodic timer fires once in each period that passes") {
  world w(4);
  std::vector<std::chrono::nanoseconds> fired;
  w.runtime().spawn<clockwork>(&w, 100ms, &fired, true);
  w.advance(10s + timer_tick);
  CHECK(fired.size() == 100);
}

TEST_CASE("a question that is never answered times out after its time, which passes at once") {
  world w(5);
  auto m = w.runtime().spawn<mute>();
  std::chrono::nanoseconds told{0};
  errc code{};
  auto a = w.runtime().spawn<asker>(&w, m, &told, &code);
  a.send(go{});
  CHECK(w.run_until([&] { return told != 0ns; }, 3h));
  CHECK(told >= 2h);
  CHECK(told <= 2h + timer_tick);
  CHECK(code == errc::timeout);
}

TEST_CASE("a thread's question that is never answered times out in simulated time") {
  world w(6);
  auto m = w.runtime().spawn<mute>();
  const auto r = w.runtime().ask(m, question{}, 30min);
  REQUIRE_FALSE(r.has_value());
  CHECK(r.error().code() == errc::timeout);
  CHECK(w.now() == 30min);
}

TEST_CASE("run_until says whether what it waits for came, and how long it may wait") {
  world w(8);
  std::vector<std::chrono::nanoseconds> fired;
  w.runtime().spawn<clockwork>(&w, 10s, &fired, false);
  CHECK_FALSE(w.run_until([&] { return !fired.empty(); }, 9s));
  CHECK(w.now() == 9s);
  CHECK(w.run_until([&] { return !fired.empty(); }, 9s));
  CHECK(w.now() <= 10s + timer_tick);
}

TEST_CASE("time passes in turns where a test wants it, so that busy cells meet their timers") {
  testing::world_options options;
  options.turn_time = 10us;
  world w(options);
  auto r = w.runtime().spawn<restless>();
  r.send(spin{});
  std::vector<std::chrono::nanoseconds> fired;
  w.runtime().spawn<clockwork>(&w, 10ms, &fired, false);
  CHECK(w.run_until([&] { return !fired.empty(); }, 1s));
  CHECK(w.now() >= 10ms);
}

TEST_CASE("time that turns take does not carry a busy world past the end of an advance") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    testing::world_options options;
    options.seed = seed;
    options.turn_time = 10us;
    options.turns_max = 10'000;  // 100 ms of turns
    world w(options);
    w.runtime().spawn<restless>().send(spin{});
    std::vector<std::chrono::nanoseconds> fired;
    w.runtime().spawn<clockwork>(&w, 2ms, &fired, true);
    for (int i = 1; i <= 4; ++i) {
      const auto before = w.now();
      w.advance(5ms);
      REQUIRE(w.now() >= before + 5ms);
      REQUIRE(w.now() < before + 5ms + options.turn_time);
    }
    CHECK(fired.size() >= 8);
    CHECK(fired.size() <= 10);
  }
}

TEST_CASE("restart intensity is a matter of simulated time") {
  const auto survives = [](std::chrono::seconds pause) {
    world w(11);
    int starts = 0;
    auto tissue = w.runtime().supervise({.intensity = {2, 10s}});
    auto c = tissue.start<fragile>(&starts);
    for (int i = 0; i < 6; ++i) {
      w.kill(c);
      w.advance(pause);
    }
    return c.alive();
  };
  CHECK(survives(6s));
  CHECK_FALSE(survives(4s));
}
