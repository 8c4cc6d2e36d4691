// SPDX-License-Identifier: Apache-2.0
#include <karyon/matrix/gradient.hpp>
#include <karyon/sim/testing.hpp>

#include <chrono>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "matrix/gradient_math.hpp"
#include "support/catch.hpp"

namespace {

using namespace karyon;
using namespace std::chrono_literals;

class owner : public cell {
public:
  using accepts = signals<>;
};

struct crossing_log {
  testing::world* world;
  std::vector<std::string> lines;
  std::vector<std::chrono::nanoseconds> times;
};
class watcher : public cell {
public:
  using accepts = signals<gradient_crossed>;
  explicit watcher(crossing_log& l) : log_(&l) {}
  void on(const gradient_crossed& c) {
    log_->lines.push_back((c.rising ? "rises at " : "falls at ") + std::to_string(c.key));
    log_->times.push_back(log_->world->now());
  }

private:
  crossing_log* log_;
};

struct scene {
  explicit scene(const gradient_options& how) : field(*make_gradient(world.runtime(), keeper, how)) {}
  testing::world world{1};
  ref<owner> keeper = world.runtime().spawn<owner>();
  crossing_log& log = world.keep<crossing_log>(crossing_log{&world, {}, {}});
  ref<watcher> eye = world.runtime().spawn<watcher>(log);
  gradient field;
};

bool near(double a, double b) { return std::abs(a - b) < 1e-6 * std::max(1.0, std::abs(b)); }

TEST_CASE("an amount halves with each half-life") {
  scene s({.half_life = 10s});
  REQUIRE(s.field.leave(5, 8).has_value());
  REQUIRE(near(s.field.sense(5).value(), 8));
  s.world.advance(10s);
  REQUIRE(near(s.field.sense(5).value(), 4));
  REQUIRE(s.field.leave(5, 1).has_value());
  s.world.advance(20s);
  REQUIRE(near(s.field.sense(5).value(), 1.25));
  REQUIRE(s.field.sense(6).value() == 0);
}

TEST_CASE("an amount spreads to both sides alike, and none of it is lost") {
  scene s({.spread_per_second = 0.5, .reach = 200});
  REQUIRE(s.field.leave(0, 10).has_value());
  s.world.advance(100ms);
  // Of a short time nearly all that has moved is at the neighbours: 5 % at each, but for what has gone on.
  REQUIRE(std::abs(s.field.sense(1).value() - 0.4528) < 0.001);
  s.world.advance(60s);
  double sum = 0;
  for (int k = -100; k <= 100; ++k) sum += s.field.sense(k).value();
  REQUIRE(near(sum, 10));
  REQUIRE(near(s.field.sense(-7).value(), s.field.sense(7).value()));
  REQUIRE(s.field.sense(7).value() < s.field.sense(3).value());
}

TEST_CASE("what spreads for a while and then for another has spread for both") {
  // The semigroup law: where it was after one time, taken for the beginning, gives where it is after the sum of both.
  for (const double s : {0.3, 4.0, 50.0}) {
    for (const int n : {0, 1, 5}) {
      double twice = 0;
      for (int k = -150; k <= 150; ++k) {
        twice += detail::spread_to(static_cast<std::uint64_t>(std::abs(k)), s) *
                 detail::spread_to(static_cast<std::uint64_t>(std::abs(n - k)), s / 2);
      }
      REQUIRE(near(twice, detail::spread_to(static_cast<std::uint64_t>(n), s * 1.5)));
    }
  }
}

TEST_CASE("the strongest place near a key is found") {
  scene s({.half_life = 10s, .spread_per_second = 0.1});
  REQUIRE_FALSE(s.field.strongest(0, 50)->has_value());
  REQUIRE(s.field.leave(10, 3).has_value());
  REQUIRE(s.field.leave(-20, 5).has_value());
  REQUIRE(s.field.strongest(0, 50).value()->key == -20);
  REQUIRE(s.field.strongest(0, 15).value()->key == 10);
  REQUIRE_FALSE(s.field.strongest(1000, 10)->has_value());
  s.world.advance(1s);
  REQUIRE(s.field.strongest(1, 8).value()->key == 9);  // only what has come this far
}

TEST_CASE("many amounts at one key add up though they are kept as a few") {
  scene s({.half_life = 1000s});
  for (int i = 0; i < 50; ++i) REQUIRE(s.field.leave(1, 1).has_value());
  REQUIRE(near(s.field.sense(1).value(), 50));
  s.world.advance(1000s);
  REQUIRE(near(s.field.sense(1).value(), 25));
}

TEST_CASE("a watch is told when the amount rises to its threshold and when it has faded below it") {
  scene s({.half_life = 10s});
  REQUIRE(s.field.watch(s.eye, 5, 2).has_value());
  s.world.run();
  REQUIRE(s.field.leave(5, 1).has_value());
  s.world.run();
  REQUIRE(s.log.lines.empty());
  REQUIRE(s.field.leave(5, 3).has_value());
  s.world.run();
  REQUIRE(s.log.lines == std::vector<std::string>{"rises at 5"});
  s.world.advance(9900ms);
  REQUIRE(s.log.lines.size() == 1);
  s.world.advance(200ms);  // 4 is 2 after one half-life
  REQUIRE(s.log.lines == std::vector<std::string>{"rises at 5", "falls at 5"});
  REQUIRE(s.log.times.back() - s.log.times.front() >= 10s);
  REQUIRE(s.log.times.back() - s.log.times.front() < 10s + 5ms);
}

TEST_CASE(
    "what arrives from neighbouring keys crosses a threshold without anything being left there, and without polling") {
  scene s({.spread_per_second = 1, .reach = 100});
  REQUIRE(s.field.watch(s.eye, 3, 5).has_value());
  s.world.run();
  const auto before = s.world.events();
  REQUIRE(s.field.leave(0, 100).has_value());
  s.world.advance(3600s);
  REQUIRE(s.log.lines == std::vector<std::string>{"rises at 3", "falls at 3"});
  // A handful of timers and signals in an hour.
  REQUIRE(s.world.events() - before < 60);
}

TEST_CASE("a gradient ends with its owner, and a watch with its watcher") {
  scene s({.half_life = 10s});
  REQUIRE(s.field.watch(s.eye, 5, 2).has_value());
  s.world.run();
  s.world.kill(s.eye);
  s.world.run();
  REQUIRE(s.field.leave(5, 3).has_value());
  s.world.run();
  s.world.kill(s.keeper);
  s.world.run();
  REQUIRE(s.field.leave(5, 3).error().code() == errc::dead);
  REQUIRE(s.field.sense(5).error().code() == errc::dead);
  REQUIRE(s.field.watch(s.keeper, 5, 2).error().code() == errc::dead);
}

TEST_CASE("what can not be left, watched or made is refused") {
  scene s({.half_life = 10s});
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double bad : {0.0, -1.0, nan, std::numeric_limits<double>::infinity()}) {
    REQUIRE(s.field.leave(1, bad).error().code() == errc::invalid_argument);
    REQUIRE(s.field.watch(s.eye, 1, bad).error().code() == errc::invalid_argument);
  }
  REQUIRE(make_gradient(s.world.runtime(), s.keeper, {.half_life = -1s}).error().code() == errc::invalid_argument);
  REQUIRE(make_gradient(s.world.runtime(), s.keeper, {.reach = 0}).error().code() == errc::invalid_argument);
  REQUIRE(gradient().sense(1).error().code() == errc::dead);
  const auto end = std::numeric_limits<std::int64_t>::max();
  REQUIRE(s.field.leave(end, 2).has_value());
  REQUIRE(near(s.field.sense(end).value(), 2));
  REQUIRE(s.field.watch(s.eye, end, 3).has_value());
  s.world.run();
  REQUIRE(s.field.leave(end, 2).has_value());
  s.world.run();
  REQUIRE(s.log.lines == std::vector<std::string>{"rises at " + std::to_string(end)});
}

TEST_CASE("amounts near the end of what a double holds stay numbers") {
  scene s({.half_life = 1000s});
  for (int i = 0; i < 15; ++i) {
    REQUIRE(s.field.leave(1, 1e307).has_value());
    s.world.advance(10s);
  }
  REQUIRE(s.field.sense(1).value() > 1e308);
  REQUIRE(std::isfinite(s.field.sense(1).value()));
}

TEST_CASE("rates near the end of what a double holds leave numbers behind") {
  for (const double rate : {1e200, std::numeric_limits<double>::max()}) {
    scene fast({.spread_per_second = rate});
    REQUIRE(fast.field.leave(0, 1).has_value());
    REQUIRE(fast.field.sense(0).value() == 1);
    fast.world.advance(1s);
    REQUIRE(fast.field.sense(0).value() == 0);
    REQUIRE(fast.field.sense(3).value() == 0);
  }
}

}  // namespace
