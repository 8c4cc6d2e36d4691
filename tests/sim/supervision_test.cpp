// SPDX-License-Identifier: Apache-2.0
// What must hold for supervisors, whatever happens: each over many seeds of random trees and random exits. KARYON_SIM_SEEDS
// says how many: `KARYON_SIM_SEEDS=10000 ctest -L sim` in a build folder runs ten thousand of each.
#include <deque>

#include "sim/chosen_seeds.hpp"
#include "sim/colony.hpp"
#include "support/catch.hpp"

using namespace std::chrono_literals;
using namespace karyon;
using namespace karyon::tests;
using testing::for_each_seed;
using testing::world;

namespace {

constexpr testing::seeds quick{.first = 1, .count = 300};

void require(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

/// Something bad happens to somebody.
std::uint64_t mischief(world& w, const ordered_supervisor& tree, census& c) {
  testing::random& dice = w.random();
  std::vector<cell_ref> cells;
  std::vector<ordered_supervisor> trees;
  gather(tree, cells, trees);
  if (dice.one_in(10)) c.refusals_left = dice.below(3);
  if (dice.one_in(20)) dice.pick(trees).exit(exit_reason::killed());
  if (dice.one_in(20)) dice.pick(trees).exit(exit_reason::shutdown());
  if (cells.empty()) return 0;
  const cell_ref whom = dice.pick(cells);
  switch (dice.below(5)) {
    case 0: w.kill(whom); return 0;
    case 1: whom.send(fail_at_once{}); return 1;
    case 2: whom.send(leave{exit_reason::normal()}); return 1;
    case 3: whom.send(leave{exit_reason::shutdown()}); return 1;
    default: whom.send(work{}); return 1;
  }
}

/// Some time of it; returns how many signals were sent.
std::uint64_t interesting_times(world& w, const ordered_supervisor& tree, census& c, std::uint64_t events) {
  std::uint64_t sent = 0;
  for (std::uint64_t i = 0; i < events; ++i) {
    sent += mischief(w, tree, c);
    for (std::uint64_t n = w.random().below(6); n > 0; --n) w.step();
    if (w.random().one_in(4)) w.advance(std::chrono::milliseconds(w.random().below(2000)));
    require(c.violation.empty(), c.violation);
  }
  return sent;
}

void require_nobody_left(world& w, const census& c) {
  require(c.violation.empty(), c.violation);
  require(c.total() == 0, std::to_string(c.total()) + " orphans");
  require(w.runtime().metrics().cells == 0, "the runtime still counts cells");
}

}  // namespace

TEST_CASE("a random tree under random exits never has two live incarnations of a child, and leaves no orphan") {
  for_each_seed(quick, [](world& w) {
    auto& c = w.keep<census>();
    auto tree = w.runtime().start(random_tree(w, c).make());
    require(tree.has_value(), "the tree did not start");
    interesting_times(w, *tree, c, 30);
    tree->stop();
    require(tree->ended().has_value(), "stop() returned before the supervisor had ended");
    require_nobody_left(w, c);
  });
}

TEST_CASE("a random tree can be stopped after any number of turns") {
  for_each_seed(quick, [](world& w) {
    auto& c = w.keep<census>();
    auto tree = w.runtime().start(random_tree(w, c).make());
    require(tree.has_value(), "the tree did not start");
    for (std::uint64_t i = w.random().below(4); i > 0; --i) mischief(w, *tree, c);
    for (std::uint64_t n = w.random().below(40); n > 0; --n) w.step();
    const auto before = w.now();
    if (w.random().one_in(2)) {
      tree->stop();
    } else {
      require(w.runtime().shutdown(1h).complete, "the runtime did not come to its end");
    }
    require(w.now() - before < 10min, "stopping took " + std::to_string((w.now() - before).count()) + " ns");
    require_nobody_left(w, c);
  });
}

TEST_CASE("a runtime whose shutdown has little time kills what is left of a random tree, and comes to its end") {
  for_each_seed(quick, [](world& w) {
    auto& c = w.keep<census>();
    auto tree = w.runtime().start(random_tree(w, c).make());
    require(tree.has_value(), "the tree did not start");
    interesting_times(w, *tree, c, w.random().below(20));
    require(w.runtime().shutdown(std::chrono::milliseconds(w.random().below(6000))).complete, "not complete");
    require_nobody_left(w, c);
  });
}

TEST_CASE("every signal sent into a random tree is handled, refused, lost or dropped, and counted as one of these") {
  for_each_seed(quick, [](world& w) {
    auto& c = w.keep<census>();
    auto tree = w.runtime().start(random_tree(w, c).handling_each_signal_once().make());
    require(tree.has_value(), "the tree did not start");
    w.drop<work>().with_chance(0.1);
    const std::uint64_t sent = interesting_times(w, *tree, c, 40);
    tree->stop();
    w.run();
    const testing::signal_accounts a = w.accounts();
    const std::uint64_t counted = a.handled + a.refused + a.lost + a.dropped;
    require(counted == sent, std::to_string(sent) + " sent, " + std::to_string(counted) + " counted");
  });
}

TEST_CASE("children are ended in the reverse of their start order, in trees of every shape") {
  for_each_seed(quick, [](world& w) {
    auto& c = w.keep<census>();
    random_tree shape(w, c);
    auto tree = w.runtime().start(shape.make());
    require(tree.has_value(), "the tree did not start");
    for (std::uint64_t n = w.random().below(20); n > 0; --n) w.step();
    tree->stop();
    const std::vector<std::string> expected(shape.roles().rbegin(), shape.roles().rend());
    require(c.ends == expected, "ended in another order");
    require_nobody_left(w, c);
  });
}

TEST_CASE("a supervisor gives up exactly when OTP's would: at one more restart than allowed within the period") {
  for_each_seed(quick, [](world& w) {
    auto& c = w.keep<census>();
    testing::random& dice = w.random();
    const auto allowed = static_cast<std::uint32_t>(dice.below(5));
    const auto period = std::chrono::seconds(1 + dice.below(5));
    supervisor_spec spec;
    spec.intensity = {allowed, period};
    for (int i = 0; i < 3; ++i) {
      const std::string id = std::to_string(i);
      spec.children.push_back(child_spec::of<member>(id, &c, id, false));
    }
    auto tree = w.runtime().start(spec);
    require(tree.has_value(), "the tree did not start");
    std::deque<std::chrono::nanoseconds>
        restarts;  // as supervisor.erl keeps them: those within the period, and this one
    for (int i = 0; i < 40; ++i) {
      std::vector<cell_ref> cells;
      std::vector<ordered_supervisor> trees;
      gather(*tree, cells, trees);
      require(cells.size() == 3, "not all children run");
      w.kill(dice.pick(cells));
      w.run();
      restarts.push_back(w.now());
      while (restarts.front() + period < w.now()) restarts.pop_front();
      const bool gives_up = restarts.size() > allowed;
      require(tree->ended().has_value() == gives_up, gives_up ? "did not give up" : "gave up too early");
      if (gives_up) break;
      const std::chrono::nanoseconds pauses[] = {0ns, 1ns, period / 2, period - 1ns, period, period + 1ns, 2 * period};
      w.advance(dice.pick(pauses));
    }
    tree->stop();
    require_nobody_left(w, c);
  });
}

TEST_CASE(
    "many children under one supervisor never double, never stay behind, and are restarted as often as they fail") {
  for_each_seed(quick, [](world& w) {
    auto& c = w.keep<census>();
    testing::random& dice = w.random();
    auto tissue = w.runtime().supervise({.intensity = {100'000, 1s}});
    const auto n = static_cast<std::size_t>(dice.between(1, 40));
    auto children =
        tissue.start_each<member>(n, [&c](std::uint32_t i) { return std::tuple(&c, std::to_string(i), false); });
    require(c.total() == static_cast<int>(n), "not all children run");
    std::uint64_t killed = 0;
    for (int i = 0; i < 30; ++i) {
      if (w.kill(dice.pick(children))) ++killed;
      if (dice.one_in(2)) w.run();
      require(c.violation.empty(), c.violation);
    }
    w.run();
    require(c.total() == static_cast<int>(n), "not all children run again");
    require(tissue.restarts() <= killed, "more restarts than kills");
    for (std::uint64_t steps = dice.below(20); steps > 0; --steps) w.step();
    tissue.stop();
    require_nobody_left(w, c);
  });
}

TEST_CASE("the same seed makes the same trace of a random tree") {
  const auto hash_of = [](std::uint64_t seed) {
    world w(seed);
    auto& c = w.keep<census>();
    auto tree = w.runtime().start(random_tree(w, c).make());
    require(tree.has_value(), "the tree did not start");
    interesting_times(w, *tree, c, 30);
    tree->stop();
    return w.trace_hash();
  };
  for (const std::uint64_t seed : chosen_seeds({.first = 1, .count = 50})) {
    INFO("seed " << seed);
    const std::uint64_t first = hash_of(seed);
    REQUIRE(hash_of(seed) == first);
  }
}
