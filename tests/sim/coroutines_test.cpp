// SPDX-License-Identifier: Apache-2.0
// What must hold for handlers that wait, whoever dies meanwhile: each over many seeds of random work and random ends.
#include <karyon/cell/task.hpp>
#include <karyon/core/log.hpp>
#include <karyon/sim/testing.hpp>
#include <karyon/supervise/supervisor.hpp>

#include <stdexcept>
#include <string>
#include <vector>

#include "support/catch.hpp"

using namespace std::chrono_literals;
using namespace karyon;
using testing::for_each_seed;
using testing::world;

namespace {

constexpr testing::seeds quick{.first = 1, .count = 300};

void require(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

struct job {
  std::uint32_t dice = 0;  // what is to be done, a few bits a step
};
struct nudge {};
struct crash {};

class clerk;

struct office {
  int locals = 0;            // of coroutines, alive
  int outlived = 0;          // locals that saw their cell's object gone
  std::vector<int> answers;  // how often each question was answered
  std::vector<child<clerk>> clerks;
};

/// In each coroutine's frame.
class local {
public:
  local(office& o, const bool& cell_alive) : office_(&o), cell_alive_(&cell_alive) { ++office_->locals; }
  local(const local&) = delete;
  local& operator=(const local&) = delete;
  ~local() {
    --office_->locals;
    if (!*cell_alive_) ++office_->outlived;
  }

private:
  office* office_;
  const bool* cell_alive_;
};

/// Works in coroutines, alone and with others, in parts, and fails at times.
class clerk : public cell {
public:
  using accepts = signals<job, nudge, crash>;
  explicit clerk(office* o) : office_(o) {}
  clerk(const clerk&) = delete;
  clerk& operator=(const clerk&) = delete;
  ~clerk() { alive_ = false; }

  task<int> on(job j) {
    const local here(*office_, alive_);
    co_return co_await work(j.dice);
  }
  void on(nudge) { ++nudges_; }
  void on(crash) { throw std::runtime_error("a crash"); }

private:
  task<int> work(std::uint32_t dice) {
    const local here(*office_, alive_);
    int steps = 0;
    for (; dice != 0; dice >>= 3u, ++steps) {
      switch (dice & 7u) {
        case 0: break;
        case 1: co_await sleep_for(std::chrono::milliseconds(dice & 31u)); break;
        case 2: static_cast<void>(co_await receive<nudge>(this, 10ms)); break;
        case 3: steps += co_await work(dice >> 6u); break;
        case 4:
          if ((dice & 0x30u) == 0) throw std::runtime_error("a bad job");
          break;
        case 5: steps += (co_await offload([n = static_cast<int>(dice >> 22u)] { return n; })).value(); break;
        default: {
          auto& other = office_->clerks[dice % office_->clerks.size()];
          const auto r = co_await ask(other, job{dice >> 5u}, 50ms);
          if (r) steps += *r;
        }
      }
    }
    co_return steps;
  }

  office* office_;
  bool alive_ = true;
  int nudges_ = 0;
};

struct commission {
  std::uint32_t dice = 0;
  std::size_t whom = 0;
};

class customer : public cell {
public:
  using accepts = signals<commission>;
  explicit customer(office* o) : office_(o) {}
  void on(commission c) {
    const std::size_t id = office_->answers.size();
    office_->answers.push_back(0);
    ask(office_->clerks[c.whom], job{c.dice}, 1h, [this, id](const result<int>&) { ++office_->answers[id]; });
  }

private:
  office* office_;
};

void open_office(world& w, office& o, supervisor& tissue) {
  set_log_level(log_level::off);
  for (int i = 0; i < 4; ++i) {
    // Not kept with the last one: a job that fails at once would fail again and again.
    const auto policy = w.random().one_in(2) ? mailbox_policy::dropped : mailbox_policy::kept_without_last;
    o.clerks.push_back(tissue.start_with<clerk>(child_options{.mailbox = policy}, &o));
  }
}

void busy_hours(world& w, office& o, std::uint64_t events) {
  auto c = w.runtime().spawn<customer>(&o);
  for (std::uint64_t i = 0; i < events; ++i) {
    auto& dice = w.random();
    const std::size_t whom = dice.below(o.clerks.size());
    c.send(commission{static_cast<std::uint32_t>(dice.below(1u << 24u)), whom});
    if (dice.one_in(3)) o.clerks[whom].send(nudge{});
    if (dice.one_in(6)) w.kill(dice.pick(o.clerks));
    if (dice.one_in(12)) o.clerks[whom].send(crash{});
    for (std::uint64_t n = dice.below(12); n > 0; --n) w.step();
    if (dice.one_in(4)) w.advance(std::chrono::milliseconds(dice.below(40)));
  }
}

}  // namespace

TEST_CASE("whoever dies while handlers wait, each question is answered or fails once, and no coroutine is left") {
  for_each_seed(quick, [](world& w) {
    auto& o = w.keep<office>();
    auto tissue = w.runtime().supervise({.intensity = {1'000'000, 1s}});
    open_office(w, o, tissue);
    busy_hours(w, o, 40);
    w.advance(10min);  // every wait of a clerk has an end by then
    require(o.locals == 0, std::to_string(o.locals) + " locals are left of coroutines that have ended");
    require(o.outlived == 0, "a coroutine outlived its cell's object");
    for (std::size_t i = 0; i < o.answers.size(); ++i) {
      require(o.answers[i] == 1,
              "question " + std::to_string(i) + " was answered " + std::to_string(o.answers[i]) + " times");
    }
  });
}

TEST_CASE("a colony stopped in the middle of its conversations leaves no coroutine behind") {
  for_each_seed(quick, [](world& w) {
    auto& o = w.keep<office>();
    auto tissue = w.runtime().supervise({.intensity = {1'000'000, 1s}});
    open_office(w, o, tissue);
    busy_hours(w, o, w.random().below(20));
    if (w.random().one_in(2)) {
      tissue.stop();
    } else {
      require(w.runtime().shutdown(1h).complete, "the runtime did not come to its end");
    }
    require(o.locals == 0, std::to_string(o.locals) + " locals are left");
    require(o.outlived == 0, "a coroutine outlived its cell's object");
  });
}

namespace {

struct twice_at_most {
  int failures = 0;
};
struct waits_then_fails {
  int failures = 0;
};

/// Fails of its first signals, as often as they say.
class unlucky : public cell {
public:
  using accepts = signals<twice_at_most, waits_then_fails>;
  explicit unlucky(int* calls) : calls_(calls) {}
  task<int> on(twice_at_most t) {
    if (++*calls_ <= t.failures) throw std::runtime_error("not yet");
    co_await sleep_for(1ms);
    co_return *calls_;
  }
  task<int> on(waits_then_fails t) {
    co_await sleep_for(1ms);
    if (++*calls_ <= t.failures) throw std::runtime_error("not yet");
    co_return *calls_;
  }

private:
  int* calls_;
};

}  // namespace

TEST_CASE(
    "with a kept mailbox a coroutine that fails before its first wait is handled again, and one after it is not") {
  set_log_level(log_level::off);
  world w(1);
  auto& calls = w.keep<int>(0);
  auto tissue = w.runtime().supervise({.intensity = {1000, 1s}});
  const auto c = tissue.start_with<unlucky>(child_options{.mailbox = mailbox_policy::kept}, &calls);
  CHECK(w.runtime().ask(c, twice_at_most{2}, 1s).value() == 3);
  calls = 0;
  const auto r = w.runtime().ask(c, waits_then_fails{1}, 1s);
  REQUIRE_FALSE(r.has_value());
  CHECK(r.error().code() == errc::cell_failed);
  CHECK(calls == 1);
  w.advance(10ms);  // it is told before the next incarnation has begun
  CHECK(w.runtime().ask(c, waits_then_fails{1}, 1s).value() == 2);
}

namespace {

struct begin {};

/// Writes when it wakes.
class napper : public cell {
public:
  using accepts = signals<begin>;
  napper(world* w, std::vector<std::chrono::nanoseconds>* woke) : world_(w), woke_(woke) {}
  task<> on(begin) {
    for (int i = 0; i < 3; ++i) {
      co_await sleep_for(8h);
      woke_->push_back(world_->now());
    }
  }

private:
  world* world_;
  std::vector<std::chrono::nanoseconds>* woke_;
};

}  // namespace

TEST_CASE("a coroutine sleeps as long as it says, never less, and less than a millisecond more") {
  world w(1);
  auto& woke = w.keep<std::vector<std::chrono::nanoseconds>>();
  w.runtime().spawn<napper>(&w, &woke).send(begin{});
  w.advance(25h);
  REQUIRE(woke.size() == 3);
  std::chrono::nanoseconds before{0};
  for (const auto at : woke) {
    CHECK(at - before >= 8h);
    CHECK(at - before < 8h + 1ms);
    before = at;
  }
}
