#include <karyon/cell/runtime.hpp>
#include <karyon/sim/testing.hpp>

#include <chrono>
#include <cstdint>
#include <vector>

#include "support/catch.hpp"
#include "support/mute.hpp"

using namespace std::chrono_literals;
using namespace karyon;
using std::chrono::nanoseconds;
using testing::world;
using tests::mute;
using tests::question;

namespace {

constexpr auto wheel_tick = nanoseconds(1 << 19);

struct beat {};
struct set_off {
  nanoseconds period{0};
  missed_periods missed = missed_periods::sent;
};
struct nap {
  nanoseconds time{0};
};
struct enough {};

/// When a beat was heard, and how late its cell was told that it was.
struct heard {
  nanoseconds at{0};
  nanoseconds late{0};
};
struct score {
  nanoseconds began{0};
  std::vector<heard> beats;
};

/// Has a periodic timer, and can block its worker.
class metronome : public cell {
public:
  using accepts = signals<set_off, beat, nap, enough>;
  metronome(world* w, score* s, ref<mute> other) : world_(w), score_(s), other_(other) {}
  void on(set_off s) {
    score_->began = world_->now();
    timer_ = send_every(self(this), beat{}, s.period, s.missed);
  }
  void on(beat) { score_->beats.push_back({world_->now(), lateness()}); }
  void on(nap n) { static_cast<void>(host().ask_async(other_, question{}).get(n.time)); }
  bool on(enough) { return cancel(timer_); }

private:
  world* world_;
  score* score_;
  ref<mute> other_;
  timer_id timer_;
};

ref<metronome> start_metronome(world& w, score& s, set_off how) {
  const auto m = w.runtime().spawn<metronome>(&w, &s, w.runtime().spawn<mute>());
  m.send(how);
  w.run();
  return m;
}

testing::world_options one_worker(std::uint64_t seed) {
  testing::world_options options;
  options.seed = seed;
  options.workers = 1;
  return options;
}

}  // namespace

TEST_CASE("a periodic timer has not drifted by a nanosecond after ten thousand periods, and tells how late each is") {
  for (const nanoseconds period : {nanoseconds(1ms), 1234567ns, nanoseconds(10ms)}) {
    world w(5);
    score s;
    start_metronome(w, s, {period});
    w.advance(10'000 * period + wheel_tick);
    REQUIRE(s.beats.size() >= 10'000);
    std::size_t wrong = 0;
    for (std::size_t k = 0; k < s.beats.size(); ++k) {
      const heard& b = s.beats[k];
      const nanoseconds due = s.began + static_cast<std::int64_t>(k + 1) * period;
      if (b.at - b.late != due || b.late < 0ns || b.late >= wheel_tick) ++wrong;
    }
    CHECK(wrong == 0);
    const runtime_metrics m = w.runtime().metrics();
    CHECK(m.timers_fired == s.beats.size());
    CHECK(m.timer_lateness[0] == s.beats.size());
    CHECK(m.timer_lateness_max < wheel_tick);
    CHECK(m.timer_periods_skipped == 0);
  }
}

TEST_CASE("periods shorter than a tick are all there, in time") {
  world w(1);
  score s;
  start_metronome(w, s, {100us});
  w.advance(1s);
  // All that were due at the last tick before the end.
  CHECK(s.beats.size() >= 9'990);
  CHECK(s.beats.size() <= 10'000);
  for (std::size_t k = 0; k < s.beats.size(); ++k) {
    REQUIRE(s.beats[k].at - s.beats[k].late == s.began + static_cast<std::int64_t>(k + 1) * 100us);
    REQUIRE(s.beats[k].late < wheel_tick);
  }
}

TEST_CASE(
    "a periodic timer that was held up sends what it owes, one signal for each period, each with its own lateness") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    world w(one_worker(seed));
    score s;
    const auto m = start_metronome(w, s, {10ms});
    w.advance(100ms + wheel_tick);
    m.send(nap{1s});
    w.advance(2s);
    for (std::size_t k = 0; k < s.beats.size(); ++k) {
      REQUIRE(s.beats[k].at - s.beats[k].late == s.began + static_cast<std::int64_t>(k + 1) * 10ms);
    }
    REQUIRE(s.beats.size() >= 209);
    const runtime_metrics all = w.runtime().metrics();
    CHECK(all.timers_fired == s.beats.size());
    CHECK(all.timer_lateness_max > 900ms);
    CHECK(all.timer_lateness[0] < s.beats.size());
    CHECK(all.timer_periods_skipped == 0);
  }
}

TEST_CASE("a periodic timer that skips sends one signal for the periods that it missed, and counts the others") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    world w(one_worker(seed));
    score s;
    const auto m = start_metronome(w, s, {10ms, missed_periods::skipped});
    w.advance(100ms + wheel_tick);
    m.send(nap{1s});
    w.advance(2s);
    std::int64_t last = 0;
    for (const heard& b : s.beats) {
      // Always that of some period, and never late by another.
      REQUIRE((b.at - b.late - s.began) % 10ms == 0ns);
      REQUIRE(b.late < 10ms);
      const std::int64_t number = (b.at - b.late - s.began) / 10ms;
      REQUIRE(number > last);
      last = number;
    }
    const runtime_metrics all = w.runtime().metrics();
    CHECK(all.timer_periods_skipped >= 98);
    CHECK(s.beats.size() + all.timer_periods_skipped == static_cast<std::size_t>(last));
  }
}

TEST_CASE("a periodic timer that owes many periods can be cancelled while it catches up") {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    world w(one_worker(seed));
    score s;
    const auto m = start_metronome(w, s, {10ms});
    m.send(nap{1s});
    w.advance(1s);
    CHECK(w.runtime().ask(m, enough{}, 1s).value());
    w.run();
    const std::size_t then = s.beats.size();
    w.advance(1s);
    CHECK(s.beats.size() == then);
    CHECK_FALSE(w.runtime().ask(m, enough{}, 1s).value());
  }
}

TEST_CASE("lateness counts the wait in the mailbox too") {
  world w(3);
  score s;
  const auto held_back = w.delay<beat>(70ms);
  start_metronome(w, s, {1s});
  w.advance(1s + 100ms);
  REQUIRE(s.beats.size() == 1);
  CHECK(s.beats[0].at - s.beats[0].late == s.began + 1s);
  CHECK(s.beats[0].late >= 70ms);
  CHECK(w.runtime().metrics().timer_lateness_max < wheel_tick);
  held_back.end();
}

namespace {

struct juggle {};
struct thrown {
  std::uint32_t index = 0;
};

/// Starts and cancels timers at random, and knows what must become of each.
struct ball {
  nanoseconds due{0};
  timer_id id;
  bool cancelled = false;
  bool caught = false;
};
struct act {
  std::vector<ball> balls;
  std::uint64_t wrong = 0;
};

class juggler : public cell {
public:
  using accepts = signals<juggle, thrown>;
  juggler(world* w, act* a) : world_(w), act_(a) {}

  void on(juggle) {
    for (int i = 0; i < 200; ++i) {
      if (act_->balls.empty() || world_->random().below(3) != 0) {
        start_one();
      } else {
        cancel_one();
      }
    }
  }
  void on(thrown t) {
    ball& b = act_->balls[t.index];
    const nanoseconds late = world_->now() - b.due;
    if (b.cancelled || b.caught || late < 0ns || late != lateness() || late >= wheel_tick) ++act_->wrong;
    b.caught = true;
  }

private:
  void start_one() {
    const auto delay = nanoseconds(static_cast<std::int64_t>(world_->random().below(2'000'000'000)));
    const auto index = static_cast<std::uint32_t>(act_->balls.size());
    act_->balls.push_back({world_->now() + delay, send_after(self(this), thrown{index}, delay)});
  }
  void cancel_one() {
    ball& b = act_->balls[world_->random().below(act_->balls.size())];
    if (cancel(b.id)) {
      if (b.cancelled || b.caught) ++act_->wrong;
      b.cancelled = true;
    } else if (!b.cancelled && !b.caught && world_->now() < b.due) {
      ++act_->wrong;
    }
  }
  world* world_;
  act* act_;
};

}  // namespace

TEST_CASE("whatever a cell starts and cancels, each timer is cancelled or fires, once, and never before its time") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    world w(seed);
    act a;
    const auto j = w.runtime().spawn<juggler>(&w, &a);
    for (int round = 0; round < 100; ++round) {
      j.send(juggle{});
      w.advance(nanoseconds(static_cast<std::int64_t>(w.random().below(40'000'000))));
    }
    w.advance(2s + wheel_tick);
    REQUIRE(a.balls.size() > 10'000);
    REQUIRE(a.wrong == 0);
    std::size_t settled = 0;
    for (const ball& b : a.balls) settled += b.cancelled != b.caught ? 1 : 0;
    REQUIRE(settled == a.balls.size());
  }
}
