// SPDX-License-Identifier: Apache-2.0
#include "unit/cell/cell_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t backlog = 50'000;

struct step {};
struct pause {};

/// Works for as long as it is told to, without a pause.
void work_for(std::chrono::microseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < end) {
  }
}

struct long_queue {
  door begin;
  door held;
  door served;
  std::uint64_t done = 0;  // steps; one worker
  std::uint64_t done_when_served = 0;
};

/// Has a long backlog; each step takes a while until the other cell has been served.
class busy : public cell {
public:
  using accepts = signals<pause, step, get>;
  busy(long_queue& s, std::chrono::microseconds a_step) : scene_(&s), a_step_(a_step) {}
  void on(pause) {
    scene_->held.open();
    scene_->begin.pass();
  }
  void on(step) {
    ++scene_->done;
    if (!scene_->served.is_open()) work_for(a_step_);
  }
  bool on(get) { return true; }

private:
  long_queue* scene_;
  std::chrono::microseconds a_step_;
};

class guest : public cell {
public:
  using accepts = signals<ping>;
  explicit guest(long_queue& s) : scene_(&s) {}
  void on(ping) {
    scene_->done_when_served = scene_->done;
    scene_->served.open();
  }

private:
  long_queue* scene_;
};

std::uint64_t steps_before_the_guest(std::uint32_t signals_per_turn, std::chrono::microseconds a_step) {
  long_queue s;
  runtime_options options = quiet(1);
  options.scheduler.signals_per_turn = signals_per_turn;
  runtime rt(options);
  const auto b = rt.spawn<busy>(s, a_step);
  const auto g = rt.spawn<guest>(s);
  b.send(pause{});
  s.held.pass();
  for (std::uint64_t i = 0; i < backlog; ++i) b.send(step{});
  g.send(ping{});
  s.begin.open();
  REQUIRE(rt.ask(b, get{}, long_time).value());  // behind all steps
  REQUIRE(s.served.is_open());
  CHECK(s.done == backlog);
  return s.done_when_served;
}

struct crowd {
  door finished;
  std::atomic<std::uint64_t> steps{0};  // of all that never rest
  std::atomic<std::uint64_t> steps_when_woken{0};
  std::atomic<std::uint64_t> steps_when_served{0};
  std::atomic<bool> has_dozed{false};
};

enum class doze : std::uint8_t { none, with_nothing_left, with_more_waiting };
constexpr std::chrono::microseconds some_ticks = 2ms;

class sleeper : public cell {
public:
  using accepts = signals<ping>;
  sleeper(crowd& c, doze how, int times) : crowd_(&c), doze_(how), times_(how == doze::none ? 0 : times) {}
  void on(ping) {
    if (std::exchange(rests_, false)) {
      work_for(some_ticks);
      crowd_->has_dozed = true;
      return;
    }
    if (times_ != 0) {
      --times_;
      if (doze_ == doze::with_more_waiting) self(this).send(ping{});
      work_for(some_ticks);
      if (doze_ == doze::with_more_waiting) {
        crowd_->steps_when_woken = crowd_->steps.load();
        rests_ = times_ != 0;
      } else {
        crowd_->has_dozed = true;
      }
      return;
    }
    crowd_->steps_when_served = crowd_->steps.load();
    crowd_->finished.open();
  }

private:
  crowd* crowd_;
  doze doze_;
  int times_;
  bool rests_ = false;  // after the next signal, which takes as long
};

constexpr std::uint64_t steps_until_woken = 20'000;

// The rest of the round in which it is woken: 64 turns of what other threads sent, and 16 of those that never rest, each of which
// may have been cut short by a tick up to four times, on a machine that is busy with other things.
constexpr std::uint64_t turns_before_a_woken_cell = 64 + 16 + 4 * 16 + 1;

/// Never rests; one of them wakes the sleeper.
class restless : public cell {
public:
  using accepts = signals<step>;
  restless(crowd& c, ref<sleeper> whom) : crowd_(&c), whom_(whom) {}
  void on(step) {
    if (crowd_->finished.is_open()) return;
    if (++crowd_->steps == steps_until_woken) {
      crowd_->steps_when_woken = steps_until_woken;
      whom_.send(ping{});
    }
    if (crowd_->has_dozed.exchange(false)) {
      crowd_->steps_when_woken = crowd_->steps.load();
      whom_.send(ping{});
    }
    self(this).send(step{});
  }

private:
  crowd* crowd_;
  ref<sleeper> whom_;
};

runtime_options never_taken_over() {
  runtime_options options = quiet(1);
  options.scheduler.watch.take_over = false;
  return options;
}

/// A sleeper that dozes `times` times as `how` says, among many that never rest: woken, it is served within the bound.
void check_the_woken_one_is_served(runtime_options options, doze how = doze::none, int times = 1) {
  constexpr std::uint32_t signals_per_turn = 4;
  options.scheduler.signals_per_turn = signals_per_turn;
  crowd c;
  runtime rt(options);
  const auto whom = rt.spawn<sleeper>(c, how, times);
  std::vector<ref<restless>> all;
  for (int i = 0; i < 500; ++i) all.push_back(rt.spawn<restless>(c, whom));
  for (const auto& one : all) one.send(step{});
  REQUIRE(eventually([&] { return c.finished.is_open(); }));
  CHECK(c.steps_when_served - c.steps_when_woken <= turns_before_a_woken_cell * signals_per_turn);
}

/// Never rests, and each of its handlers lasts until its worker has been taken over.
class hog : public cell {
public:
  using accepts = signals<step>;
  hog(crowd& c, const runtime& rt, std::vector<std::uint64_t>& between) : crowd_(&c), rt_(&rt), between_(&between) {}
  void on(step) {
    if (crowd_->finished.is_open()) return;
    if (turns_++ != 0) between_->push_back(crowd_->steps - steps_at_end_);
    if (turns_ == 10) return crowd_->finished.open();
    const std::uint64_t before = rt_->metrics().take_overs;
    self(this).send(step{});
    while (rt_->metrics().take_overs == before) {
    }
    steps_at_end_ = crowd_->steps;
  }

private:
  crowd* crowd_;
  const runtime* rt_;
  std::vector<std::uint64_t>* between_;
  std::uint64_t steps_at_end_ = 0;
  int turns_ = 0;
};

class player;
struct partner {
  ref<player> whom;
};

/// One of two that wake each other in turn.
class player : public cell {
public:
  using accepts = signals<partner, ping>;
  player(crowd& c, std::uint64_t rounds) : crowd_(&c), left_(rounds) {}
  void on(partner p) { partner_ = p.whom; }
  void on(ping) {
    if (crowd_->steps_when_woken == 0) crowd_->steps_when_woken = crowd_->steps.load();
    if (left_-- == 0) {
      crowd_->steps_when_served = crowd_->steps.load();
      crowd_->finished.open();
    } else {
      partner_.send(ping{});
    }
  }

private:
  crowd* crowd_;
  std::uint64_t left_;
  ref<player> partner_;
};

}  // namespace

TEST_CASE("a cell with a long backlog lets others run after a number of signals, however quick they are") {
  CHECK(steps_before_the_guest(100, 0us) < backlog);
}

TEST_CASE("a cell with a long backlog lets others run after a time, however many signals a turn has") {
  CHECK(steps_before_the_guest(1'000'000, 50us) < backlog);
}

TEST_CASE("a cell that is woken does not wait for all those that never rest") {
  check_the_woken_one_is_served(quiet(1));
}

TEST_CASE("a cell whose turn ends with nothing left does not wait with those that never rest") {
  check_the_woken_one_is_served(never_taken_over(), doze::with_nothing_left);
}

TEST_CASE("a cell whose turn a tick cuts short does not wait with those that never rest") {
  check_the_woken_one_is_served(never_taken_over(), doze::with_more_waiting);
}

TEST_CASE("what a tick has cut short is forgotten when the cell rests, however long its handlers take") {
  constexpr int more_than_is_forgiven_at_once = 6;
  runtime_options options = never_taken_over();
  options.scheduler.watch.move = false;
  check_the_woken_one_is_served(options, doze::with_more_waiting, more_than_is_forgiven_at_once);
}

TEST_CASE("a cell that never rests gains no turn by having its worker taken over") {
  constexpr std::uint64_t others = 500;
  crowd c;
  std::vector<std::uint64_t> between;  // turns of the others, from one of the hog's to the next
  runtime_options options = quiet(1);
  options.scheduler.signals_per_turn = 1;  // so that each turn is used up
  options.scheduler.watch.move = false;
  runtime rt(options);
  for (std::uint64_t i = 0; i < others; ++i) rt.spawn<restless>(c, ref<sleeper>()).send(step{});
  REQUIRE(eventually([&] { return c.steps > 10 * others; }));  // all have had a turn
  rt.spawn<hog>(c, rt, between).send(step{});
  REQUIRE(eventually([&] { return c.finished.is_open(); }));
  // All but a few that were taken over themselves, on a machine that is busy with other things.
  for (const std::uint64_t turns : between) CHECK(turns > others / 2);
}

TEST_CASE("cells that wake each other all the time do not starve one that never rests") {
  constexpr std::uint64_t rounds = 5'000;
  crowd c;
  runtime_options options = quiet(1);
  options.scheduler.signals_per_turn = 1;
  runtime rt(options);
  rt.spawn<restless>(c, ref<sleeper>()).send(step{});
  const auto one = rt.spawn<player>(c, rounds);
  const auto other = rt.spawn<player>(c, rounds);
  one.send(partner{other});
  other.send(partner{one});
  REQUIRE(eventually([&] { return c.steps > 0; }));
  one.send(ping{});
  REQUIRE(eventually([&] { return c.finished.is_open(); }));
  CHECK(c.steps_when_served - c.steps_when_woken >= 2 * rounds / 10);
}

TEST_CASE("the time in handlers of a busy cell grows, and that of an idle one does not") {
  long_queue s;
  runtime rt(quiet());
  const auto b = rt.spawn<busy>(s, 2ms);
  const auto idle = rt.spawn<busy>(s, 2ms);
  auto grows_beyond = [&](std::chrono::nanoseconds before) {
    return eventually([&] {
      b.send(step{});
      return rt.inspect(b, long_time).value().in_handlers > before;
    });
  };
  CHECK(grows_beyond(0ns));
  CHECK(grows_beyond(rt.inspect(b, long_time).value().in_handlers));
  CHECK(rt.inspect(idle, long_time).value().in_handlers == 0ns);
  s.served.open();
}
