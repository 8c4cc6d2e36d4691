// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <deque>
#include <optional>

#include "sim/chosen_seeds.hpp"
#include "sim/random_tree.hpp"
#include "support/catch.hpp"

// What must hold of supervision, whatever the tree, whoever fails, and in whatever order things happen. The test run takes a part of
// the seeds; all 10,000: KARYON_SIM_SEEDS=10000 with the same program.

using namespace std::chrono_literals;
using namespace karyon;
using namespace karyon::tests;
using karyon::testing::world;

namespace {

testing::world_options chosen_world(std::chrono::nanoseconds turn_time = 20us) {
  testing::world_options o;
  o.turn_time = turn_time;
  return o;
}

/// Does one thing to a supervisor of the tree, which is found by going down from the root by chance. Commands go to those that
/// are marked as out of order before, since they may end a child whose younger siblings live on.
void command(world& w, ledger& book, tree_maker& maker, ordered_supervisor at) {
  auto& dice = w.random();
  while (true) {
    const std::vector<child_info> children = at.children();
    if (children.empty()) return;
    const child_info one = children[dice.below(children.size())];
    if (auto many = one.child.as_dynamic()) {
      const temper t = maker.pick({temper::obedient, temper::slow, temper::stubborn});
      const child_options how{
          .restart = maker.pick({restart_type::permanent, restart_type::transient, restart_type::temporary})};
      static_cast<void>(many.try_start<subject>(how, &book, maker.one_of_many(), t));
      if (dice.one_in(10)) many.exit_children(exit_reason::killed());
      if (dice.one_in(20)) many.exit(maker.pick({exit_reason::killed(), exit_reason::shutdown()}));
      return;
    }
    if (auto tree = one.child.as_tree(); tree && dice.one_in(2)) {
      at = tree;
      continue;
    }
    // Only what was not in order is commanded: the first command to a supervisor exempts all of them from then on.
    book.order_exempt.assign(book.order_exempt.size(), true);
    switch (dice.below(4)) {
      case 0: static_cast<void>(at.terminate_child(one.id)); return;
      case 1: static_cast<void>(at.restart_child(one.id)); return;
      case 2: static_cast<void>(at.delete_child(one.id)); return;
      default:
        if (dice.one_in(4)) at.exit(maker.pick({exit_reason::killed(), exit_reason::shutdown()}));
        return;
    }
  }
}

/// Does one thing to a child of a tree, at random. Counts the signals it sends.
void disturb(world& w, ledger& book, std::uint64_t& sent) {
  auto& dice = w.random();
  if (book.members.empty()) return w.advance(1ms);
  const ref<subject> victim = dice.pick(book.members).now;
  if (!victim) return w.advance(1ms);  // it was never born
  switch (dice.below(8)) {
    case 0: w.advance(std::chrono::microseconds(dice.below(20'000))); return;
    case 1: w.kill(victim); return;
    case 2: w.runtime().exit(victim, exit_reason::shutdown("by the test")); return;
    case 3:
      ++sent;
      victim.send(fall{exit_reason::error("", "")});
      return;
    case 4:
      ++sent;
      victim.send(fall{exit_reason::normal()});
      return;
    default:
      ++sent;
      victim.send(note{sent});
      for (std::uint64_t i = dice.below(12); i > 0 && w.step(); --i) {
      }
  }
}

void check(world& w, const ledger& book) {
  if (!book.breaches.empty()) throw testing::failure(w.describe(book.breaches.front()));
}

void check_ended(world& w, ledger& book, const ordered_supervisor& root) {
  check(w, book);
  if (!root.ended()) throw testing::failure(w.describe("the root has not ended after stop()"));
  if (book.living() != 0)
    throw testing::failure(w.describe("orphans: " + std::to_string(book.living()) + " children live on"));
}

}  // namespace

TEST_CASE("no child has two incarnations, none is orphaned, and siblings end in reverse order, in random trees") {
  std::uint64_t trees = 0;
  std::uint64_t births = 0;
  testing::for_each_seed({1, 300}, chosen_world(), [&](world& w) {
    auto& book = w.keep<ledger>(w);
    tree_maker maker(book, w.random());
    const supervisor_spec spec = maker.tree("", 3);
    auto root = w.runtime().start(spec);
    if (!root) {
      if (root.error().code() != errc::start_failed) throw testing::failure(w.describe(to_string(root.error())));
      check(w, book);
      if (book.living() != 0) throw testing::failure(w.describe("a failed start has left children"));
      return;
    }
    std::uint64_t sent = 0;
    const bool commanded = w.random().one_in(3);  // most trees keep their order, which is looked at then
    for (std::uint64_t i = w.random().below(200); i > 0; --i) {
      if (w.random().one_in(commanded ? 3 : 1'000'000)) {
        command(w, book, maker, *root);
      } else {
        disturb(w, book, sent);
      }
      check(w, book);
    }
    root->stop();
    check_ended(w, book, *root);
    w.run();
    ++trees;
    for (const tree_member& m : book.members) births += m.born;
    const testing::signal_accounts a = w.accounts();
    if (book.told > sent) throw testing::failure(w.describe("more signals arrived than were sent"));
    const std::uint64_t counted = a.handled + a.refused + a.lost + a.dropped + a.still_delayed;
    if (counted != sent + book.hushed) {
      throw testing::failure(w.describe(std::to_string(sent + book.hushed) + " signals were sent, and " +
                                        std::to_string(counted) + " counted"));
    }
  });
  // Not an empty story: most trees start, and their children are born again and again.
  if (seeds_are_chosen()) return;
  CHECK(trees > 100);
  CHECK(births > 3000);
}

namespace {

/// A tree's story up to its event number `cut`; then it is stopped. False if the story is shorter than that.
bool cut_off(std::uint64_t seed, std::uint64_t cut) {
  testing::world_options o = chosen_world();
  o.seed = seed;
  world w(o);
  auto& book = w.keep<ledger>(w);
  book.constructor_fails = 0.05;
  tree_maker maker(book, w.random());
  auto root = w.runtime().start(maker.tree("", 2));
  if (!root) {
    if (root.error().code() != errc::start_failed) throw testing::failure(w.describe(to_string(root.error())));
    return false;
  }
  for (int i = 0; i < 60 && w.events() < cut; ++i) {
    const ref<subject> victim = book.members.empty() ? ref<subject>() : w.random().pick(book.members).now;
    victim.send(fall{exit_reason::error("", "")});
    for (std::uint64_t n = w.random().below(8); n > 0 && w.events() < cut && w.step(); --n) {
    }
    if (w.events() < cut && w.random().one_in(4)) w.advance(5ms);
  }
  const bool cut_short = w.events() >= cut;
  root->stop();
  check_ended(w, book, *root);
  return cut_short;
}

}  // namespace

TEST_CASE("a tree can be stopped at every event, and stops whole") {
  std::uint64_t cuts = 0;
  for (const std::uint64_t seed : chosen_seeds({.first = 1, .count = 60})) {
    INFO("replay it with KARYON_SIM_SEED=" << seed);
    std::uint64_t cut = 0;
    while (cut < 300 && cut_off(seed, cut)) ++cut;
    cuts += cut;
  }
  if (!seeds_are_chosen()) CHECK(cuts > 1000);
}

TEST_CASE("a supervisor allows exactly the restarts that OTP's rule allows") {
  testing::for_each_seed({1, 300}, chosen_world(0ns), [](world& w) {
    auto& dice = w.random();
    auto& book = w.keep<ledger>(w);
    book.constructor_fails = 0;
    tree_maker maker(book, dice);
    book.order_exempt.push_back(false);
    supervisor_spec spec;
    spec.strategy = maker.pick({one_for_one, one_for_all, rest_for_one});
    spec.intensity = {static_cast<std::uint32_t>(dice.below(5)), std::chrono::milliseconds(10 + dice.below(1000))};
    const auto children = static_cast<std::uint32_t>(dice.between(1, 4));
    for (std::uint32_t i = 0; i < children; ++i) {
      spec.children.push_back(maker.child("", 0, {{0, i}}).with({.shutdown = child_shutdown::within(5ms)}));
    }
    auto root = w.runtime().start(spec).value();
    w.run();

    const auto all_live = [&] {
      for (const tree_member& m : book.members) {
        if (m.living == 0 || !m.now.alive()) return false;
      }
      return true;
    };
    std::deque<std::chrono::nanoseconds> restarts;  // OTP's list: the times of those within the period
    for (int i = 0; i < 30 && !root.ended(); ++i) {
      w.advance(std::chrono::milliseconds(dice.below(static_cast<std::uint64_t>(spec.intensity.period / 1ms) + 2)));
      if (!all_live()) throw testing::failure(w.describe("a child is missing"));
      w.kill(dice.pick(book.members).now);
      restarts.push_back(w.now());
      while (w.now() - restarts.front() > spec.intensity.period) restarts.pop_front();
      const bool too_many = restarts.size() > spec.intensity.restarts;
      w.run();  // it is dead now, if not replaced yet
      const bool settled = w.run_until([&] { return root.ended().has_value() || all_live(); }, 10s);
      if (!settled || root.ended().has_value() != too_many) {
        throw testing::failure(w.describe(too_many ? "it should have given up" : "it gave up too early"));
      }
    }
    root.stop();
    check_ended(w, book, root);
  });
}
