// SPDX-License-Identifier: Apache-2.0
#include "sched/timer_wheel.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <random>
#include <vector>

#include "support/catch.hpp"

namespace karyon::detail {

// The wheel only passes its worker on to what it fires. Here that is the wheel itself and a list of what has fired.
class worker {
public:
  explicit worker(std::uint64_t now_tick) : wheel(now_tick << timer_wheel::tick_shift) {}
  timer_wheel wheel;
  std::vector<int> fired;
};

}  // namespace karyon::detail

namespace {

using karyon::detail::timer;
using karyon::detail::timer_wheel;
using karyon::detail::worker;

constexpr std::uint64_t tick_ns = std::uint64_t{1} << timer_wheel::tick_shift;
constexpr std::uint64_t wheel_span = std::uint64_t{255} << 24;  // ticks; what is due later waits in the outermost slot

struct numbered : timer {
  int number = 0;
  std::uint64_t deadline_ns = 0;
  std::uint64_t period_ns = 0;
};

void note(timer* t, worker& w) {
  auto& n = *static_cast<numbered*>(t);
  w.fired.push_back(n.number);
  if (n.period_ns == 0) return;
  n.state_word.store(timer::armed);
  n.deadline_ns += n.period_ns;
  w.wheel.start(n, n.deadline_ns);
}

void start(worker& w, numbered& t, int number, std::uint64_t deadline_ns) {
  t.number = number;
  t.deadline_ns = deadline_ns;
  t.fire = &note;
  w.wheel.start(t, deadline_ns);
}

// Moves time to the beginning of a tick; what fires on the way.
std::vector<int> advance(worker& w, std::uint64_t tick) {
  w.fired.clear();
  w.wheel.advance(tick * tick_ns, w);
  return w.fired;
}

// Near the borders of all four levels.
constexpr std::array<std::uint64_t, 20> delays = {
    1,   2,      63,     64,     65,        254,       255,       256,       257,       511,
    512, 65'535, 65'536, 65'537, 1U << 17U, 16777215U, 16777216U, 16777217U, 1U << 26U, 1U << 27U};

using numbers = std::vector<int>;

}  // namespace

TEST_CASE("a timer of any level fires at its tick and not one earlier, whatever time it was started at") {
  for (const std::uint64_t begin : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{200}, std::uint64_t{255},
                                    std::uint64_t{256}, std::uint64_t{65'535}, std::uint64_t{16'777'215}}) {
    for (const std::uint64_t delay : delays) {
      worker w(begin);
      numbered t;
      start(w, t, 1, (begin + delay) * tick_ns);
      REQUIRE(advance(w, begin + delay - 1).empty());
      REQUIRE(advance(w, begin + delay) == numbers{1});
      REQUIRE(w.wheel.empty());
    }
  }
}

TEST_CASE("a deadline within a tick waits for the next, one that has passed fires at the next tick") {
  worker w(1'000);
  numbered inside;
  numbered past;
  start(w, inside, 1, 1'010 * tick_ns + 1);
  start(w, past, 2, 3 * tick_ns);
  CHECK(advance(w, 1'001) == numbers{2});
  CHECK(advance(w, 1'010).empty());
  CHECK(advance(w, 1'011) == numbers{1});
}

TEST_CASE("a deadline beyond the wheel's span fires at its time, and one at the end of time does no harm") {
  worker w(77);
  numbered far;
  numbered never;
  const std::uint64_t due = 77 + wheel_span + 12'345;
  start(w, far, 1, due * tick_ns);
  start(w, never, 2, ~std::uint64_t{0});
  CHECK(advance(w, due - 1).empty());
  CHECK(advance(w, due) == numbers{1});
  CHECK(w.wheel.size() == 1);
}

TEST_CASE("a timer taken out at any level does not fire, and leaves the wheel empty") {
  for (const std::uint64_t delay : delays) {
    worker w(300);
    std::array<numbered, 3> t;
    for (int i = 0; i < 3; ++i) start(w, t[static_cast<std::size_t>(i)], i, (300 + delay) * tick_ns);
    for (const std::size_t i : {1U, 0U, 2U}) {
      REQUIRE(w.wheel.next_ns() <= (300 + delay) * tick_ns);
      REQUIRE(t[i].claim(timer::cancelled));
      w.wheel.unlink(t[i]);
      w.wheel.unlink(t[i]);  // no effect
    }
    REQUIRE(w.wheel.empty());
    REQUIRE(w.wheel.next_ns() == timer_wheel::no_deadline);
    REQUIRE(advance(w, 300 + delay).empty());
  }
}

TEST_CASE("a timer that was cancelled but is still in the wheel does not fire") {
  worker w(0);
  numbered t;
  start(w, t, 1, 5 * tick_ns);
  REQUIRE(t.claim(timer::cancelled));
  CHECK(advance(w, 10).empty());
  CHECK_FALSE(t.claim(timer::fired));
}

TEST_CASE(
    "timers of one tick fire in the order in which they were started, also after they have moved between levels") {
  for (const std::uint64_t delay : delays) {
    worker w(200);
    std::deque<numbered> t(6);
    const std::uint64_t due = 200 + delay;
    for (int i = 0; i < 4; ++i) start(w, t[static_cast<std::size_t>(i)], i, due * tick_ns);
    // The last two when the others may have moved inward already.
    static_cast<void>(advance(w, due - 1));
    for (int i = 4; i < 6; ++i) start(w, t[static_cast<std::size_t>(i)], i, due * tick_ns);
    CAPTURE(delay);
    CHECK(advance(w, due) == numbers{0, 1, 2, 3, 4, 5});
  }
}

TEST_CASE("a timer that starts itself again when it fires is neither lost nor fired twice in a tick") {
  for (const std::uint64_t period : {1U, 3U, 255U, 256U, 1000U, 70'000U}) {
    worker w(50);
    numbered t;
    t.period_ns = period * tick_ns;
    start(w, t, 7, (50 + period) * tick_ns);
    CHECK(advance(w, 50 + 100 * period) == numbers(100, 7));
    CHECK(advance(w, 50 + 101 * period - 1).empty());
    CHECK(w.wheel.size() == 1);
  }
}

TEST_CASE("draining hands out every timer once") {
  worker w(1);
  std::deque<numbered> t(delays.size());
  for (std::size_t i = 0; i < delays.size(); ++i) start(w, t[i], static_cast<int>(i), (1 + delays[i]) * tick_ns);
  std::vector<bool> seen(delays.size());
  w.wheel.drain([&](timer& one) { seen.at(static_cast<std::size_t>(static_cast<numbered&>(one).number)) = true; });
  CHECK(seen == std::vector<bool>(delays.size(), true));
  CHECK(w.wheel.empty());
}

namespace {

// A wheel and the simplest thing that does the same, driven side by side.
class comparison {
public:
  explicit comparison(std::uint32_t seed) : random_(seed), now_(random_() % 100'000), w_(now_) {}

  // Small and large ones are equally likely.
  std::uint64_t up_to_bits(unsigned bits) {
    const auto chosen = static_cast<unsigned>(random_() % bits);
    return (std::uint64_t{random_()} << 32U | random_()) & ((std::uint64_t{2} << chosen) - 1);
  }

  void start_one() {
    numbered& t = timers_.emplace_back();
    const std::uint64_t due = now_ + up_to_bits(28);
    const auto number = static_cast<int>(timers_.size()) - 1;
    // Somewhere in the tick before, so that it is due at the beginning of this one.
    start(w_, t, number, due == 0 ? 0 : due * tick_ns - random_() % tick_ns);
    entries_.push_back(expected_.emplace(due > now_ ? due : now_ + 1, number));
    waiting_.push_back(true);
  }
  void cancel_one() {
    const std::size_t i = random_() % timers_.size();
    const bool cancelled = timers_[i].claim(timer::cancelled);
    REQUIRE(cancelled == waiting_[i]);
    if (!cancelled) return;
    w_.wheel.unlink(timers_[i]);
    expected_.erase(entries_[i]);
    waiting_[i] = false;
  }
  void move_on() {
    // As a worker sleeps: now and then exactly until the wheel wants to be looked at.
    const std::uint64_t next = w_.wheel.next_ns();
    const bool sleeps = random_() % 4 == 0 && next != timer_wheel::no_deadline;
    now_ = sleeps ? next / tick_ns : now_ + up_to_bits(22);
    numbers due;
    while (!expected_.empty() && expected_.begin()->first <= now_) {
      due.push_back(expected_.begin()->second);
      waiting_[static_cast<std::size_t>(expected_.begin()->second)] = false;
      expected_.erase(expected_.begin());
    }
    REQUIRE(advance(w_, now_) == due);
    REQUIRE(w_.wheel.size() == expected_.size());
    if (expected_.empty()) {
      REQUIRE(w_.wheel.next_ns() == timer_wheel::no_deadline);
    } else {
      REQUIRE(w_.wheel.next_ns() > now_ * tick_ns);
      REQUIRE(w_.wheel.next_ns() <= expected_.begin()->first * tick_ns);
    }
  }
  void run(int steps) {
    start_one();
    for (int i = 0; i < steps; ++i) {
      switch (random_() % 8) {
        case 0: move_on(); break;
        case 1: cancel_one(); break;
        default: start_one();
      }
    }
    while (!expected_.empty()) move_on();
  }

private:
  std::mt19937 random_;
  std::uint64_t now_;
  worker w_;
  std::deque<numbered> timers_;
  std::multimap<std::uint64_t, int> expected_;  // by tick; equal ones in the order of their start
  std::vector<std::multimap<std::uint64_t, int>::iterator> entries_;
  std::vector<bool> waiting_;
};

}  // namespace

TEST_CASE("whatever is started, cancelled and waited for, a wheel fires what an ordered list would, in its order") {
  for (std::uint32_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    comparison(seed).run(500);
  }
}

TEST_CASE("of a million timers those that are not cancelled fire once, in the order of their times, and none early") {
  constexpr std::size_t count = 1'000'000;
  std::mt19937 random(1);
  worker w(12'345);
  std::vector<numbered> timers(count);
  std::vector<std::uint64_t> due(count);  // 0: cancelled
  for (std::size_t i = 0; i < count; ++i) {
    due[i] = 12'346 + random() % (std::uint32_t{1} << (8 + i % 18));
    start(w, timers[i], static_cast<int>(i), due[i] * tick_ns);
  }
  std::size_t left = count;
  for (std::size_t i = 0; i < count / 2; ++i) {
    const std::size_t k = random() % count;
    if (!timers[k].claim_at_home()) continue;
    w.wheel.unlink(timers[k]);
    due[k] = 0;
    --left;
  }
  REQUIRE(w.wheel.size() == left);
  std::size_t fired = 0;
  std::uint64_t last = 0;
  for (std::uint64_t now = 12'345; !w.wheel.empty();) {
    const std::uint64_t before = now;
    now = w.wheel.next_ns() / tick_ns + random() % 5'000;
    for (const int number : advance(w, now)) {
      const std::uint64_t tick = due[static_cast<std::size_t>(number)];
      if (tick <= before || tick > now || tick < last) FAIL("timer " << number << " fired at a wrong time");
      last = tick;
      ++fired;
    }
  }
  CHECK(fired == left);
}

TEST_CASE("what fires is told the time that the wheel was moved to, and when it was due") {
  struct late : timer {
    std::uint64_t lateness_ns = 0;
  } t;
  worker w(100);
  t.fire = [](timer* fired, worker& on) {
    static_cast<late*>(fired)->lateness_ns = on.wheel.advanced_to_ns() - fired->due_ns;
  };
  w.wheel.start(t, 103 * tick_ns - 5);
  w.wheel.advance(150 * tick_ns + 7, w);
  CHECK(t.lateness_ns == 47 * tick_ns + 12);
}
