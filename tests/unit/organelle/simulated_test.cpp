// SPDX-License-Identifier: Apache-2.0
#include <karyon/sim/testing.hpp>

#include "organelle_testing.hpp"
#include "unit/cell/cell_testing.hpp"

namespace {

using namespace karyon;
using namespace karyon::tests;

struct spin_some {
  std::uint64_t ns;
  std::uint64_t declared_ns;
};

class spinner : public cell {
public:
  using accepts = signals<spin_some, get>;
  explicit spinner(organelle_function spin) : spin_(std::move(spin)) {}
  void on(spin_some s) {
    spin_(s.ns, s.declared_ns).then(this, [this](const organelle_result& r) { done_ += r ? 1 : 0; });
  }
  int on(get) { return done_; }

private:
  organelle_function spin_;
  int done_ = 0;
};

std::uint64_t traced(const organelle& tally, std::uint64_t seed, call_site_stats& stats) {
  std::uint64_t trace = 0;
  testing::for_each_seed({.first = seed, .count = 1}, [&](testing::world& w) {
    const auto spin = tally.function("spin").value();
    const auto a = w.runtime().spawn<spinner>(spin);
    const auto b = w.runtime().spawn<spinner>(spin);
    for (int i = 0; i < 40; ++i) {
      a.send(spin_some{20'000, 100});     // longer than a switch, and declared far too short
      b.send(spin_some{10, 50'000'000});  // the other way round
    }
    w.advance(std::chrono::seconds(1));
    CHECK(w.runtime().ask(a, get{}, long_time).value() == 40);
    CHECK(w.runtime().ask(b, get{}, long_time).value() == 40);
    stats = spin.stats();
    trace = w.trace_hash();
  });
  return trace;
}

}  // namespace

TEST_CASE("in a simulation where calls run follows from what is declared alone, so that runs repeat") {
  const organelle tally = load_tally();
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    call_site_stats stats;
    const std::uint64_t first = traced(tally, seed, stats);
    CHECK(stats.away == 40);
    CHECK(stats.moved == 0);
    CHECK(traced(tally, seed, stats) == first);
  }
}

TEST_CASE("in a simulation a cell that ends gives up its calls") {
  const organelle tally = load_tally();
  const auto counters = tally.function("seen").value();
  testing::for_each_seed({.first = 1, .count = 5}, [&](testing::world& w) {
    const auto c = w.runtime().spawn<spinner>(tally.function("count_away").value());
    c.send(spin_some{1000, 1});
    w.runtime().exit(c, exit_reason::killed());
    w.advance(std::chrono::seconds(1));
  });
  CHECK(seen(counters, 0) == 0);
}
