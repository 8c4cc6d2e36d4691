// SPDX-License-Identifier: Apache-2.0
// The embedded bus in simulations: whoever lives through a broadcast gets it once and in order, whatever order things happen in.
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <karyon/nerve/endocrine.hpp>
#include <karyon/sim/testing.hpp>

#include "support/catch.hpp"

using namespace karyon;
using testing::for_each_seed;
using testing::world;

namespace {

struct beat {
  std::uint64_t number = 0;
};

void require(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

class pacemaker : public cell {
public:
  using accepts = signals<beat>;
  explicit pacemaker(std::vector<std::uint64_t>& heard) : heard_(&heard) {}
  void on(const beat& b) { heard_->push_back(b.number); }

private:
  std::vector<std::uint64_t>* heard_;
};

}  // namespace

TEST_CASE("in every order of events the living hear each broadcast once and in order, and the dead are counted out") {
  constexpr std::uint64_t cells = 40;
  constexpr std::uint64_t beats = 20;
  for_each_seed({.first = 1, .count = 150}, [](world& w) {
    std::vector<std::vector<std::uint64_t>> heard(cells);
    std::vector<ref<pacemaker>> all;
    endocrine bus(w.runtime());
    for (std::uint64_t i = 0; i < cells; ++i) {
      all.push_back(w.runtime().spawn<pacemaker>(heard[i]));
      require(bus.subscribe<beat>(all.back(), i % 2 == 0 ? "heart.left" : "heart.*").has_value(), "subscribe");
    }
    std::vector<bool> killed(cells, false);
    for (std::uint64_t n = 0; n < beats; ++n) {
      require(ok(bus.publish("heart.left", beat{n})), "publish");
      for (std::uint64_t steps = w.random()() % 30; steps > 0; --steps) static_cast<void>(w.step());
      if (w.random()() % 4 == 0) {
        const auto victim = static_cast<std::size_t>(w.random()() % cells);
        killed[victim] = w.kill(all[victim]) || killed[victim];
      }
    }
    w.run();
    std::uint64_t living = 0;
    for (std::uint64_t i = 0; i < cells; ++i) {
      living += killed[i] ? 0 : 1;
      require(killed[i] || heard[i].size() == beats, "somebody has not heard all");
      for (std::uint64_t n = 0; n < heard[i].size(); ++n) require(heard[i][n] == n, "out of order");
    }
    require(ok(bus.publish("heart.right", beat{})), "publish");
    bus.sweep();
    w.run();
    const endocrine_metrics m = bus.metrics();
    require(m.accepted == m.fanned_out && m.accepted == beats + 1, "signals are missing");
    require(m.reached == m.delivered + m.lost_ended, "deliveries are missing");
    require(m.subscriptions == living, "subscriptions of the dead");
  });
}
