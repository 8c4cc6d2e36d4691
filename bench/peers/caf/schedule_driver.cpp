// SPDX-License-Identifier: Apache-2.0
//
// The suite `schedule` in plain CAF 0.17. The shapes that the harness tries are in bench/suites/schedule.json, the
// scenarios' definitions in bench/README.md.

#include "harness/driver.hpp"
#include "peers/caf/system.hpp"

namespace {

using namespace karyon::bench;

using bell_atom = caf::atom_constant<caf::atom("bell")>;
using fill_atom = caf::atom_constant<caf::atom("fill")>;
using tick_atom = caf::atom_constant<caf::atom("tick")>;

// --- timers ----------------------------------------------------------------------------------------------------------

/// Has its timers outstanding, and starts a thousand more at a time. CAF can not cancel a delayed message, so none goes.
class timekeeper : public caf::event_based_actor {
public:
  timekeeper(caf::actor_config& config, std::uint64_t timers, std::uint64_t more)
      : caf::event_based_actor(config), timers_(timers), more_(more) {}

  caf::behavior make_behavior() override {
    return {[this](fill_atom) {
              for (std::uint64_t i = 0; i < timers_; ++i) {
                start_one(i, random_.delay_ms());
              }
              all_arrived.arrive();
            },
            [this](tick_atom) {
              std::uint64_t delays[batch];
              for (auto& one : delays) {
                one = random_.delay_ms();
              }
              auto const begin = now_ns();
              for (auto const delay : delays) {
                start_one(timers_++, delay);
              }
              start_ns += now_ns() - begin;
              if (more_ <= batch) {
                all_arrived.arrive();
              } else {
                more_ -= batch;
                send(this, tick_atom::value);
              }
            },
            [](bell_atom, std::uint64_t) {}};
  }

  static constexpr std::uint64_t batch = 1000;
  static inline std::int64_t start_ns = 0;

private:
  void start_one(std::uint64_t number, std::uint64_t delay_ms) {
    delayed_send(this, std::chrono::milliseconds{delay_ms}, bell_atom::value, number);
  }

  timer_choice random_{1};
  std::uint64_t timers_;
  std::uint64_t more_;
};

figure timer_start(work const& asked) {
  auto& system = system_of(asked);
  auto const operations = std::max<std::uint64_t>(1, asked.operations / timekeeper::batch) * timekeeper::batch;
  auto const keeper = system.spawn<timekeeper>(asked.cells, operations);
  all_arrived.arm(1);
  caf::anon_send(keeper, fill_atom::value);
  all_arrived.await();
  all_arrived.arm(1);
  caf::anon_send(keeper, tick_atom::value);
  all_arrived.await();
  return {"ns", per(timekeeper::start_ns, operations)};
}

// --- actors that never rest ------------------------------------------------------------------------------------------

class restless : public caf::event_based_actor {
public:
  restless(caf::actor_config& config, std::uint64_t index) : caf::event_based_actor(config), index_(index) {}

  caf::behavior make_behavior() override {
    return {[this](tick_atom) {
      heard[index_].store(++count_, std::memory_order_relaxed);
      send(this, tick_atom::value);
    }};
  }

private:
  std::uint64_t index_;
  std::uint64_t count_ = 0;
};

std::vector<caf::actor> start_restless(caf::actor_system& system, std::uint64_t count) {
  heard = std::vector<std::atomic<std::uint64_t>>(count);
  std::vector<caf::actor> actors;
  actors.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    actors.push_back(system.spawn<restless, caf::lazy_init>(i));
  }
  for (auto const& one : actors) {
    caf::anon_send(one, tick_atom::value);
  }
  return actors;
}

figure fair_p99(work const& asked) {
  auto& system = system_of(asked);
  auto const whom = system.spawn(
      [](caf::event_based_actor*) -> caf::behavior { return {[](ask_atom) -> std::int64_t { return 42; }}; });
  auto const kept = start_restless(system, asked.cells);
  await_first_turns();
  auto const end = now_ns() + static_cast<std::int64_t>(asked.operations) * 1'000'000;
  caf::scoped_actor self{system};
  // Whoever does not answer in time counts with that time.
  auto latencies = sample_latencies(
      [&] {
        self->request(whom, std::chrono::seconds{20}, ask_atom::value)
            .receive([](std::int64_t answer) { verify(answer == 42, "a wrong answer"); }, [](caf::error const&) {});
      },
      [&] { return now_ns() >= end; });
  return {"us", percentile(latencies, 99) / 1000};
}

figure starved(work const& asked) {
  auto const kept = start_restless(system_of(asked), asked.cells);
  settle();
  return {"cells", static_cast<double>(starved_meanwhile(asked.operations))};
}

// --- handlers that do not return -------------------------------------------------------------------------------------

std::atomic<bool> spinning{true};

caf::behavior spinner(caf::event_based_actor*) {
  return {[](tick_atom) {
    while (spinning.load(std::memory_order_relaxed)) {
    }
  }};
}

/// As many spinners as there are workers: which runs where is up to CAF.
figure spinner_throughput(work const& asked) {
  auto& system = system_of(asked);
  auto const window_ns = static_cast<std::int64_t>(asked.operations) * 1'000'000;
  auto const kept = start_restless(system, asked.cells);
  settle();
  auto const undisturbed = rate(window_ns);
  std::vector<caf::actor> spinners;
  for (std::uint64_t w = 0; w < asked.option("workers", 2); ++w) {
    spinners.push_back(system.spawn(spinner));
    caf::anon_send(spinners.back(), tick_atom::value);
  }
  settle();
  auto const beside_spinners = rate(window_ns);
  spinning.store(false, std::memory_order_relaxed);
  return {"percent", 100 * beside_spinners / undisturbed};
}

constexpr scenario scenarios[] = {
    {"timer_start", timer_start}, {"fair_p99", fair_p99},
    {"starved", starved},         {"spinner_throughput", spinner_throughput},
    {"coroutine_ask", ask},
};

}  // namespace

int main(int argc, char** argv) { drive(argc, argv, scenarios); }
