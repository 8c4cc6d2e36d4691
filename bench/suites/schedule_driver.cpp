// SPDX-License-Identifier: Apache-2.0
//
// The suite `schedule` in Karyon, written against the public headers as a user would. The shapes that the harness tries are
// in bench/suites/schedule.json, the scenarios' definitions in bench/README.md.

#include "harness/karyon_driver.hpp"
#include "suites/fan_in.hpp"

#include <karyon/core/log.hpp>

namespace {

using namespace karyon::bench;
using namespace std::chrono_literals;

struct tick {};
struct question {};

class answerer : public karyon::cell {
public:
  using accepts = karyon::signals<question>;
  std::int64_t on(question) { return 42; }
};

// --- timers ----------------------------------------------------------------------------------------------------------

struct fill {};
struct replace_some {
  std::uint64_t rounds;
};
struct bell {
  std::uint64_t number;
};

/// Keeps its timers outstanding, and replaces a thousand of them at a time: which, and by what delays, is drawn before the
/// clock is read.
class timekeeper : public karyon::cell {
public:
  using accepts = karyon::signals<fill, replace_some, bell>;
  timekeeper(std::uint64_t timers, std::uint64_t seed) : random_{seed}, timers_(timers), order_(timers) {
    for (std::uint64_t i = 0; i < timers; ++i) {
      order_[i] = i;
    }
    for (auto i = timers; i > 1; --i) {
      std::swap(order_[i - 1], order_[random_.below(i)]);
    }
  }

  void on(fill) {
    for (auto const end = std::min(filled_ + batch, timers_.size()); filled_ < end; ++filled_) {
      timers_[filled_] = start_one(filled_, random_.delay_ms());
    }
    if (filled_ < timers_.size()) {
      self(this).send(fill{});
    } else {
      all_arrived.arrive();
    }
  }

  void on(replace_some rounds) {
    for (std::uint64_t k = 0; k < batch; ++k) {
      place_[k] = order_[next_++ % order_.size()];
      victim_[k] = timers_[place_[k]];
      delay_[k] = random_.delay_ms();
    }
    std::uint64_t cancelled = 0;
    auto const begin = now_ns();
    for (auto const& one : victim_) {
      cancelled += cancel(one) ? 1 : 0;
    }
    auto const between = now_ns();
    for (std::uint64_t k = 0; k < batch; ++k) {
      victim_[k] = start_one(place_[k], delay_[k]);
    }
    auto const end = now_ns();
    verify(cancelled == batch, "a timer was not there to be cancelled");
    for (std::uint64_t k = 0; k < batch; ++k) {
      timers_[place_[k]] = victim_[k];
    }
    if (rounds.rounds <= rounds_that_count) {
      cancel_ns += between - begin;
      start_ns += end - between;
    }
    if (rounds.rounds == 1) {
      all_arrived.arrive();
    } else {
      self(this).send(replace_some{rounds.rounds - 1});
    }
  }

  void on(bell) { verify(false, "a timer has fired that is due in a minute"); }

  static constexpr std::uint64_t batch = 1000;
  static inline std::int64_t start_ns = 0;
  static inline std::int64_t cancel_ns = 0;
  static inline std::uint64_t rounds_that_count = 0;

private:
  karyon::timer_id start_one(std::uint64_t number, std::uint64_t delay_ms) {
    return send_after(self(this), bell{number}, std::chrono::milliseconds{delay_ms});
  }

  timer_choice random_;
  std::vector<karyon::timer_id> timers_;
  std::vector<std::uint64_t> order_;
  std::uint64_t filled_ = 0;
  std::uint64_t next_ = 0;
  std::vector<std::uint64_t> place_ = std::vector<std::uint64_t>(batch);
  std::vector<std::uint64_t> delay_ = std::vector<std::uint64_t>(batch);
  std::vector<karyon::timer_id> victim_ = std::vector<karyon::timer_id>(batch);
};

/// With `owners` the timers belong to so many cells, which take turns.
void replace_timers(work const& asked) {
  karyon::runtime_options options;
  options.scheduler.watch.move = false;  // a batch takes long on a slow machine, and is to stay where the timers are
  auto& rt = start_runtime(asked, options);
  auto const owners = asked.option("owners", 1);
  auto const rounds = std::max<std::uint64_t>(1, asked.operations / timekeeper::batch / owners);
  std::vector<karyon::ref<timekeeper>> cells;
  for (std::uint64_t i = 0; i < owners; ++i) {
    cells.push_back(rt.spawn_at<timekeeper>(karyon::placement::on_worker(0),
                                            std::max(timekeeper::batch, asked.cells / owners), i + 1));
  }
  all_arrived.arm(owners);
  for (auto const& one : cells) {
    one.send(fill{});
  }
  all_arrived.await();
  timekeeper::rounds_that_count = rounds;
  all_arrived.arm(owners);
  for (auto const& one : cells) {
    one.send(replace_some{rounds + rounds / 10 + 1});
  }
  all_arrived.await();
}

std::uint64_t timers_replaced(work const& asked) {
  auto const owners = asked.option("owners", 1);
  return std::max<std::uint64_t>(1, asked.operations / timekeeper::batch / owners) * timekeeper::batch;
}

figure timer_start(work const& asked) {
  replace_timers(asked);
  return {"ns", per(timekeeper::start_ns, timers_replaced(asked))};
}

figure timer_cancel(work const& asked) {
  replace_timers(asked);
  return {"ns", per(timekeeper::cancel_ns, timers_replaced(asked))};
}

// --- cells that never rest -------------------------------------------------------------------------------------------

class restless : public karyon::cell {
public:
  using accepts = karyon::signals<tick>;
  explicit restless(std::uint64_t index) : index_(index) {}
  void on(tick) {
    heard[index_].store(++count_, std::memory_order_relaxed);
    self(this).send(tick{});
  }

private:
  std::uint64_t index_;
  std::uint64_t count_ = 0;
};

void start_restless(karyon::runtime& rt, std::uint64_t count) {
  heard = std::vector<std::atomic<std::uint64_t>>(count);
  std::vector<karyon::ref<restless>> cells;
  cells.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    cells.push_back(rt.spawn<restless>(i));
  }
  for (auto const& one : cells) {
    one.send(tick{});
  }
}

figure fair_p99(work const& asked) {
  auto& rt = start_runtime(asked);
  auto const whom = rt.spawn<answerer>();
  start_restless(rt, asked.cells);
  await_first_turns();
  auto const end = now_ns() + static_cast<std::int64_t>(asked.operations) * 1'000'000;
  // Whoever does not answer in time counts with that time.
  auto latencies = sample_latencies(
      [&] {
        auto const answer = rt.ask(whom, question{}, 20s);
        verify(answer == 42 || answer.error().code() == karyon::errc::timeout, "a wrong answer");
      },
      [&] { return now_ns() >= end; });
  return {"us", percentile(latencies, 99) / 1000};
}

figure starved(work const& asked) {
  auto& rt = start_runtime(asked);
  start_restless(rt, asked.cells);
  settle();
  return {"cells", static_cast<double>(starved_meanwhile(asked.operations))};
}

// --- handlers that do not return -------------------------------------------------------------------------------------

std::atomic<bool> spinning{true};
std::atomic<std::uint64_t> spinners{0};

class spinner : public karyon::cell {
public:
  using accepts = karyon::signals<tick>;
  void on(tick) {
    spinners.fetch_add(1, std::memory_order_relaxed);
    while (spinning.load(std::memory_order_relaxed)) {
    }
  }
};

figure spinner_throughput(work const& asked) {
  karyon::set_log_level(karyon::log_level::off);  // what does not return is reported, and does not by intent
  auto& rt = start_runtime(asked);
  auto const window_ns = static_cast<std::int64_t>(asked.operations) * 1'000'000;
  start_restless(rt, asked.cells);
  settle();
  auto const undisturbed = rate(window_ns);
  for (std::uint32_t w = 0; w < rt.workers(); ++w) {
    rt.spawn_at<spinner>(karyon::placement::on_worker(w)).send(tick{});
  }
  settle();
  auto const beside_spinners = rate(window_ns);
  auto const begun = spinners.load(std::memory_order_relaxed);
  spinning.store(false, std::memory_order_relaxed);
  verify(begun == rt.workers(), "not every worker had a spinner");
  return {"percent", 100 * beside_spinners / undisturbed};
}

/// Runs when its worker has been taken over from the hog.
std::atomic<std::int64_t> hogged_since_ns{0};
std::vector<std::int64_t> takeover_times;

class neighbour : public karyon::cell {
public:
  using accepts = karyon::signals<tick>;
  void on(tick) {
    takeover_times.push_back(now_ns() - hogged_since_ns.load(std::memory_order_relaxed));
    spinning.store(false, std::memory_order_release);
  }
};

/// Puts its neighbour into the queue of the worker that both live on, and does not return until the neighbour has run; at the
/// longest for a second.
class hog : public karyon::cell {
public:
  using accepts = karyon::signals<tick>;
  explicit hog(karyon::ref<neighbour> beside) : beside_(beside) {}
  void on(tick) {
    auto const begin = now_ns();
    hogged_since_ns.store(begin, std::memory_order_relaxed);
    spinning.store(true, std::memory_order_relaxed);
    beside_.send(tick{});
    while (spinning.load(std::memory_order_relaxed) && now_ns() - begin < 1'000'000'000) {
    }
    all_arrived.arrive();
  }

private:
  karyon::ref<neighbour> beside_;
};

figure takeover(work const& asked) {
  karyon::set_log_level(karyon::log_level::off);
  karyon::runtime_options options;
  options.scheduler.watch.move = false;  // the same handler is to overrun all the time
  auto& rt = start_runtime(asked, options);
  auto const here = karyon::placement::on_worker(0);
  auto const beside = rt.spawn_at<neighbour>(here);
  auto const first = rt.spawn_at<hog>(here, beside);
  takeover_times.reserve(asked.operations);
  for (std::uint64_t i = 0; i < asked.operations; ++i) {
    all_arrived.arm(1);
    first.send(tick{});
    all_arrived.await();
    // Until the neighbour has run, and what was taken over is back.
    while (takeover_times.size() == i || spinning.load(std::memory_order_acquire)) {
      std::this_thread::sleep_for(100us);
    }
    std::this_thread::sleep_for(2ms);
  }
  return {"ms", percentile(takeover_times, 99) / 1e6};
}

// --- what watching costs ---------------------------------------------------------------------------------------------

/// What watching handlers adds to a signal: the same work, in short slices, in turns in two runtimes that differ in nothing else.
figure watch_overhead(work const& asked) {
  constexpr std::uint64_t slices = 500;
  auto const options_with = [](bool watched) {
    karyon::runtime_options options;
    options.scheduler.watch.enabled = watched;
    return options;
  };
  work one_worker = asked;
  one_worker.shape = {{"workers", 1}};
  auto& with = start_runtime(one_worker, options_with(true));
  auto const kept = std::move(host);
  auto& without = start_runtime(one_worker, options_with(false));
  auto const items = std::max<std::uint64_t>(1000, asked.operations / slices);
  std::vector<std::int64_t> ratios_ppm;
  for (std::uint64_t i = 0; i < slices + slices / 10; ++i) {
    auto const first = i % 2 == 0;
    std::int64_t elapsed[2] = {0, 0};
    for (auto const turn : {first, !first}) {
      elapsed[turn ? 1 : 0] = feed_items(turn ? with : without, items, asked.option("window", 128), false);
    }
    if (i >= slices / 10) {
      ratios_ppm.push_back(elapsed[1] * 1'000'000 / elapsed[0]);
    }
  }
  return {"percent", percentile(ratios_ppm, 50) / 10'000 - 100};
}

// --- balance ---------------------------------------------------------------------------------------------------------

/// Tells threads apart.
thread_local char here = 0;

/// A donation is half of a queue, and this many tasks at most.
constexpr std::uint64_t donated = 256;
constexpr std::uint64_t made_runnable = 2 * donated;
char const* donor = nullptr;
std::atomic<std::int64_t> all_run_ns{0};

/// What one worker has run of a round; it alone writes it, but between two rounds.
struct alignas(64) tally {
  std::atomic<std::uint64_t> count{0};
  std::uint64_t add_one() {
    auto const n = count.load(std::memory_order_relaxed) + 1;
    count.store(n, std::memory_order_release);
    return n;
  }
};
tally at_home;
tally elsewhere;

/// Counts itself where it is run; the last of a donation reads the clock.
class loot : public karyon::cell {
public:
  using accepts = karyon::signals<tick>;
  void on(tick) {
    if (&here == donor) {
      at_home.add_one();
    } else if (elsewhere.add_one() == donated) {
      all_run_ns.store(now_ns(), std::memory_order_release);
    }
  }
};

std::vector<std::int64_t> steal_times;

/// Makes twice as many tasks runnable as a donation has, then waits, without holding its worker, until all of them have been run:
/// what is left of a round would be counted in the next. A round in which less than a whole donation was run elsewhere does not
/// count.
class source : public karyon::cell {
public:
  using accepts = karyon::signals<replace_some, question>;
  explicit source(std::uint64_t rounds) : left_(rounds) {
    for (std::uint64_t i = 0; i < made_runnable; ++i) {
      loot_.push_back(spawn<loot>());
    }
  }
  void on(replace_some) { begin(); }
  void on(question) {
    auto const stolen = elsewhere.count.load(std::memory_order_acquire);
    bool const all = stolen + at_home.count.load(std::memory_order_relaxed) >= made_runnable;
    // Where a spare thread took a worker's tasks over, two have written one count: it may stay short for good.
    if (!all && now_ns() - sent_ns_ < 1'000'000'000) {
      self(this).send(question{});
      return;
    }
    if (all && stolen >= donated) {
      steal_times.push_back(all_run_ns.load(std::memory_order_acquire) - sent_ns_);
    }
    if (--left_ == 0) {
      all_arrived.arrive();
    } else {
      begin();
    }
  }

private:
  void begin() {
    donor = &here;
    at_home.count.store(0, std::memory_order_relaxed);
    elsewhere.count.store(0, std::memory_order_relaxed);
    for (auto const& one : loot_) {
      one.send(tick{});
    }
    sent_ns_ = now_ns();
    self(this).send(question{});
  }

  std::vector<karyon::ref<loot>> loot_;
  std::uint64_t left_;
  std::int64_t sent_ns_ = 0;
};

figure steal(work const& asked) {
  karyon::runtime_options options;
  options.scheduler.spin =
      10ms;  // the idle worker looks for work all the time: what it takes to wake it is not measured here
  work two_workers = asked;
  two_workers.shape = {{"workers", 2}};
  auto& rt = start_runtime(two_workers, options);
  steal_times.reserve(asked.operations);
  all_arrived.arm(1);
  rt.spawn_at<source>(karyon::placement::on_worker(0), asked.operations).send(replace_some{1});
  all_arrived.await();
  verify(steal_times.size() * 4 >= asked.operations, "too few donations");
  return {"ns", percentile(steal_times, 50) / static_cast<double>(donated)};
}

// --- other threads ---------------------------------------------------------------------------------------------------

struct heavy {};
struct commute {
  std::uint64_t times;
};

/// Handles every other signal on the pool for long work.
class commuter : public karyon::cell {
public:
  using accepts = karyon::signals<commute, heavy, tick>;
  using dirty_cpu = karyon::signals<heavy>;
  void on(commute there_and_back) {
    left_ = there_and_back.times;
    self(this).send(heavy{});
  }
  void on(heavy) {
    at_work_ = &here;
    self(this).send(tick{});
  }
  void on(tick) {
    elsewhere = at_work_ != &here;
    if (--left_ == 0 || !elsewhere) {
      all_arrived.arrive();
    } else {
      self(this).send(heavy{});
    }
  }

  static inline std::atomic<bool> elsewhere{false};

private:
  char const* at_work_ = nullptr;
  std::uint64_t left_ = 0;
};

/// There and back.
figure dirty_switch(work const& asked) {
  auto& rt = start_runtime(asked);
  auto const one = rt.spawn_at<commuter>(karyon::placement::on_worker(0));
  std::int64_t begin = 0;
  for (auto const times : {asked.operations / 10 + 1, asked.operations}) {
    all_arrived.arm(1);
    begin = now_ns();
    one.send(commute{times});
    all_arrived.await();
    verify(commuter::elsewhere, "the handler that is declared heavy ran on its worker");
  }
  return {"us", per(now_ns() - begin, asked.operations) / 1000};
}

// --- coroutines ------------------------------------------------------------------------------------------------------

struct ask_times {
  std::uint64_t count;
};

/// Asks the next question when the answer to the last is there, in one coroutine; each ask arms its timeout.
class asker : public karyon::cell {
public:
  using accepts = karyon::signals<ask_times>;
  explicit asker(karyon::ref<answerer> server) : server_(server) {}
  karyon::task<> on(ask_times times) {
    for (auto left = times.count; left > 0; --left) {
      auto const answer = co_await ask(server_, question{}, 1s);
      verify(answer == 42, "coroutine_ask: a wrong answer");
    }
    all_arrived.arrive();
  }

private:
  karyon::ref<answerer> server_;
};

figure coroutine_ask(work const& asked) {
  auto& rt = start_runtime(asked);
  auto const home = karyon::placement::on_worker(0);
  auto const client = rt.spawn_at<asker>(home, rt.spawn_at<answerer>(home));
  std::int64_t begin = 0;
  for (auto const count : {asked.operations / 10 + 1, asked.operations}) {
    all_arrived.arm(1);
    begin = now_ns();
    client.send(ask_times{count});
    all_arrived.await();
  }
  return {"ns", per(now_ns() - begin, asked.operations)};
}

constexpr scenario scenarios[] = {
    {"timer_start", timer_start},
    {"timer_cancel", timer_cancel},
    {"fair_p99", fair_p99},
    {"starved", starved},
    {"spinner_throughput", spinner_throughput},
    {"takeover", takeover},
    {"watch_overhead", watch_overhead},
    {"steal", steal},
    {"dirty_switch", dirty_switch},
    {"coroutine_ask", coroutine_ask},
};

}  // namespace

int main(int argc, char** argv) { drive(argc, argv, scenarios); }
