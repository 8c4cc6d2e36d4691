// SPDX-License-Identifier: Apache-2.0
//
// The suite `supervise` in Karyon, written against the public headers as a user would. The shapes that the harness tries are
// in bench/suites/supervise.json, the scenarios' definitions in bench/README.md.

#include "harness/karyon_driver.hpp"

#include <cmath>
#include <future>
#include <tuple>

namespace {

using namespace karyon::bench;
using namespace std::chrono_literals;

/// A supervisor that never gives up: what these scenarios kill is not to be taken for a failure that calls for that.
karyon::supervisor supervise(karyon::runtime& rt) {
  karyon::supervisor_options options;
  options.intensity = {1'000'000'000, 5s};
  return rt.supervise(options);
}

struct tick {};
struct question {};

/// Tells the gate each time that it comes to life: in its first signal, which it sends itself while it is constructed.
class phoenix : public karyon::cell {
public:
  using accepts = karyon::signals<tick, question>;
  phoenix() { self(this).send(tick{}); }
  void on(tick) { all_arrived.arrive(); }
  std::int64_t on(question) { return 42; }
};

/// What one mass death needs: the roles, and before each the incarnations that are going to die.
struct flock {
  std::vector<karyon::child<phoenix>> roles;
  std::vector<karyon::ref<phoenix>> victims;

  void aim() {
    victims.resize(roles.size());
    for (std::size_t i = 0; i < roles.size(); ++i) {
      victims[i] = roles[i].get();
      verify(static_cast<bool>(victims[i]), "a child is not there");
    }
  }
};

flock start_flock(karyon::supervisor over, std::uint64_t count) {
  flock started;
  all_arrived.arm(count);
  started.roles = over.start_many<phoenix>(count);
  all_arrived.await();
  return started;
}

/// Kills its share of a flock from within, one after the other.
struct kill_share {
  std::uint64_t from;
  std::uint64_t to;
};

std::vector<karyon::ref<phoenix>> const* doomed = nullptr;

class killer : public karyon::cell {
public:
  using accepts = karyon::signals<kill_share>;
  void on(kill_share part) {
    for (auto i = part.from; i < part.to; ++i) {
      exit((*doomed)[i], karyon::exit_reason::killed());
    }
  }
};

/// From one thread that is not a worker, or from one cell on each worker.
void kill_all(karyon::runtime& rt, flock const& all, bool inside) {
  if (!inside) {
    for (auto const& one : all.victims) {
      rt.exit(one, karyon::exit_reason::killed());
    }
    return;
  }
  doomed = &all.victims;
  std::uint64_t from = 0;
  for (std::uint32_t w = 0; w < rt.workers(); ++w) {
    auto const to = from + share(all.victims.size(), rt.workers(), w);
    rt.spawn_at<killer>(karyon::placement::on_worker(w)).send(kill_share{from, to});
    from = to;
  }
}

/// Kills all and waits until all are back; the time it took.
std::int64_t mass_restart_once(karyon::runtime& rt, flock& all, bool inside) {
  all.aim();
  all_arrived.arm(all.roles.size());
  auto const begin = now_ns();
  kill_all(rt, all, inside);
  all_arrived.await();
  return now_ns() - begin;
}

/// Every role is filled by another incarnation than the one that was killed, and it answers.
void verify_reborn(karyon::runtime& rt, flock const& all) {
  for (std::size_t i = 0; i < all.roles.size(); ++i) {
    auto const now = all.roles[i].get();
    verify(now && !(now == all.victims[i]), "a child was not restarted");
  }
  for (auto const& one : all.roles) {
    verify(one.send(tick{}) == karyon::send_result::accepted, "a restarted child takes no signal");
  }
  verify(rt.ask(all.roles.back(), question{}, 10s) == 42, "a restarted child does not answer");
}

// --- the scenarios ---------------------------------------------------------------------------------------------------

class bare : public karyon::cell {
public:
  using accepts = karyon::signals<tick>;
  void on(tick) { all_arrived.arrive(); }
};

figure start(work const& asked) {
  auto& rt = start_runtime(asked);
  auto const begin = now_ns();
  auto over = rt.supervise();
  auto const children = over.start_many<bare>(asked.cells);
  auto const elapsed = now_ns() - begin;
  all_arrived.arm(children.size());
  for (auto const& one : children) {
    one.send(tick{});
  }
  all_arrived.await();
  return {"ns", per(elapsed, asked.cells)};
}

figure mass_restart(work const& asked) {
  auto& rt = start_runtime(asked);
  auto const over = supervise(rt);
  auto all = start_flock(over, asked.cells);
  auto const elapsed = mass_restart_once(rt, all, asked.option("inside", 0) != 0);
  all_arrived.arm(all.roles.size());
  verify_reborn(rt, all);
  all_arrived.await();
  verify(over.children() == asked.cells && over.restarts() == asked.cells, "the supervisor has counted other restarts");
  return {"ns", per(elapsed, asked.cells)};
}

figure mass_stop(work const& asked) {
  auto& rt = start_runtime(asked);
  auto over = supervise(rt);
  auto const all = start_flock(over, asked.cells);
  auto const begin = now_ns();
  over.stop();
  auto const elapsed = now_ns() - begin;
  for (auto const& one : all.roles) {
    verify(!one.alive(), "a child has outlived its supervisor");
  }
  return {"ns", per(elapsed, asked.cells)};
}

/// The slope from a fifth of the cells to all of them, in log-log: 1 is linear.
figure scaling_exponent(work const& asked) {
  constexpr std::uint64_t times = 5;
  auto& rt = start_runtime(asked);
  auto const inside = asked.option("inside", 0) != 0;
  double median_ns[2] = {0, 0};
  for (auto const large : {false, true}) {
    auto over = supervise(rt);
    auto all = start_flock(over, large ? asked.cells : asked.cells / times);
    std::vector<std::int64_t> elapsed;
    for (std::uint64_t i = 0; i < asked.operations; ++i) {
      elapsed.push_back(mass_restart_once(rt, all, inside));
    }
    median_ns[large ? 1 : 0] = percentile(elapsed, 50);
    over.stop();
  }
  return {"exponent", std::log(median_ns[1] / median_ns[0]) / std::log(static_cast<double>(times))};
}

// --- one child -------------------------------------------------------------------------------------------------------

class prober;

/// Announces each of its incarnations to the prober.
class victim : public karyon::cell {
public:
  using accepts = karyon::signals<question>;
  victim(karyon::ref<prober> told, std::uint64_t index);
  std::int64_t on(question) { return 42; }
};

struct risen {
  karyon::ref<victim> who;
  std::uint64_t index;
};
struct probe_times {
  std::uint64_t count;
};

std::vector<std::int64_t> restart_times;

/// Kills one child after the other, and asks the new incarnation as soon as it hears of it.
class prober : public karyon::cell {
public:
  using accepts = karyon::signals<risen, probe_times>;
  explicit prober(std::uint64_t victims) : victims_(victims) {}

  void on(risen up) {
    victims_[up.index] = up.who;
    if (left_ == 0) {
      all_arrived.arrive();
      return;
    }
    ask(up.who, question{}, 10s, [this](karyon::result<std::int64_t> answer) {
      verify(answer.value() == 42, "a wrong answer");
      restart_times.push_back(now_ns() - begin_);
      if (--left_ == 0) {
        all_arrived.arrive();
      } else {
        kill_next();
      }
    });
  }

  void on(probe_times times) {
    left_ = times.count;
    kill_next();
  }

private:
  void kill_next() {
    next_ = (next_ + 1) % victims_.size();
    begin_ = now_ns();
    exit(victims_[next_], karyon::exit_reason::killed());
  }

  std::vector<karyon::ref<victim>> victims_;
  std::uint64_t left_ = 0;
  std::size_t next_ = 0;
  std::int64_t begin_ = 0;
};

victim::victim(karyon::ref<prober> told, std::uint64_t index) { told.send(risen{self(this), index}); }

figure restart_one(work const& asked) {
  auto& rt = start_runtime(asked);
  auto const probing = rt.spawn_at<prober>(karyon::placement::on_worker(0), asked.cells);
  auto over = supervise(rt);
  all_arrived.arm(asked.cells);
  auto const children =
      over.start_each<victim>(asked.cells, [probing](std::uint32_t index) { return std::tuple(probing, index); });
  all_arrived.await();
  restart_times.reserve(asked.operations);
  for (auto const count : {asked.operations / 10 + 1, asked.operations}) {
    restart_times.clear();
    all_arrived.arm(1);
    probing.send(probe_times{count});
    all_arrived.await();
  }
  return {"us", percentile(restart_times, 50) / 1000};
}

// --- a bystander -----------------------------------------------------------------------------------------------------

/// Asks the bystander once a millisecond until told to stop.
std::vector<std::int64_t> ask_bystander(karyon::runtime& rt, karyon::ref<phoenix> whom, std::atomic<bool> const& stop) {
  return sample_latencies([&] { verify(rt.ask(whom, question{}, 60s) == 42, "the bystander does not answer"); },
                          [&] { return stop.load(std::memory_order_acquire); });
}

figure bystander(work const& asked) {
  auto& rt = start_runtime(asked);
  auto all = start_flock(supervise(rt), asked.cells);
  all_arrived.arm(1);
  auto const whom = rt.spawn<phoenix>();
  all_arrived.await();
  std::vector<std::int64_t> latencies;
  for (std::uint64_t i = 0; i < asked.operations; ++i) {
    all.aim();
    all_arrived.arm(all.roles.size());
    std::atomic<bool> stop{false};
    auto asking = std::async(std::launch::async, [&] { return ask_bystander(rt, whom, stop); });
    kill_all(rt, all, asked.option("inside", 0) != 0);
    all_arrived.await();
    stop.store(true, std::memory_order_release);
    for (auto const latency : asking.get()) {
      latencies.push_back(latency);
    }
  }
  return {"us", percentile(latencies, 99) / 1000};
}

// --- none lost, none doubled -----------------------------------------------------------------------------------------

struct roll_call {
  std::uint64_t round;
};

/// How often a role has come to life, and what it has answered to the roll call of the round.
struct record {
  std::atomic<std::uint32_t> born{0};
  std::atomic<std::uint32_t> answered{0};
  std::atomic<std::uint32_t> answered_by{0};
};
std::vector<record> records;
std::atomic<std::uint64_t> arrivals{0};

class counted : public karyon::cell {
public:
  using accepts = karyon::signals<tick, roll_call>;
  explicit counted(std::uint32_t index) : index_(index), life_(records[index].born.fetch_add(1) + 1) {
    self(this).send(tick{});
  }
  void on(tick) { arrivals.fetch_add(1); }
  void on(roll_call) {
    records[index_].answered.fetch_add(1);
    records[index_].answered_by.store(life_);
    arrivals.fetch_add(1);
  }

private:
  std::uint32_t index_;
  std::uint32_t life_;
};

/// Waits for that many arrivals, but not for ever: what is lost does not arrive.
void await_arrivals(std::uint64_t count) {
  auto const patience_end = now_ns() + 20'000'000'000;
  while (arrivals.load() < count && now_ns() < patience_end) {
    std::this_thread::sleep_for(1ms);
  }
}

/// Roles that are not exactly in their `life`-th incarnation, or have not answered with it exactly once.
std::uint64_t count_wrong(std::vector<karyon::child<counted>> const& roles, std::uint32_t life) {
  for (auto& one : records) {
    one.answered = 0;
    one.answered_by = 0;
  }
  arrivals = 0;
  for (auto const& one : roles) {
    one.send(roll_call{life});
  }
  await_arrivals(roles.size());
  std::uint64_t wrong = 0;
  for (auto const& one : records) {
    wrong += one.born == life && one.answered == 1 && one.answered_by == life ? 0 : 1;
  }
  return wrong;
}

figure lost_or_doubled(work const& asked) {
  auto& rt = start_runtime(asked);
  auto over = supervise(rt);
  records = std::vector<record>(asked.cells);
  auto const roles = over.start_each<counted>(asked.cells, [](std::uint32_t index) { return std::tuple(index); });
  await_arrivals(asked.cells);
  std::uint64_t wrong = count_wrong(roles, 1);
  for (std::uint32_t round = 0; round < asked.operations && wrong == 0; ++round) {
    arrivals = 0;
    for (auto const& one : roles) {
      rt.exit(one.get(), karyon::exit_reason::killed());
    }
    await_arrivals(asked.cells);
    wrong = count_wrong(roles, round + 2);
  }
  settle();  // a double that comes late
  for (auto const& one : records) {
    wrong += wrong == 0 && one.born != asked.operations + 1 ? 1 : 0;
  }
  verify(wrong != 0 || over.restarts() == asked.cells * asked.operations, "the supervisor has counted other restarts");
  return {"children", static_cast<double>(wrong)};
}

constexpr scenario scenarios[] = {
    {"start", start},
    {"restart_one", restart_one},
    {"mass_restart", mass_restart},
    {"mass_stop", mass_stop},
    {"bystander", bystander},
    {"scaling_exponent", scaling_exponent},
    {"lost_or_doubled", lost_or_doubled},
};

}  // namespace

int main(int argc, char** argv) { drive(argc, argv, scenarios); }
