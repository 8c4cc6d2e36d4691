// SPDX-License-Identifier: Apache-2.0
// Names of several nodes, over a network in memory: the behaviours of Syn, a sentence each.
#include <karyon/sim/random.hpp>

#include "unit/discover/memory_node.hpp"

using namespace karyon;
using namespace karyon::tests;
using names = std::vector<std::string>;

namespace {

registry names_of(node& n, registry_options options = {}) { return *registry::open(n.rt, "names", std::move(options)); }

}  // namespace

TEST_CASE("a name that one node knows to be another's is taken, and free again when its cell ends") {
  memory_colony c;
  node a(c, 1);
  node b(c, 2);
  c.connect(1, 2);
  auto at_a = names_of(a);
  auto at_b = names_of(b);
  const auto owner = a.rt.spawn<resident>();
  const auto other = b.rt.spawn<resident>();
  REQUIRE(at_a.add("heart", owner));
  c.pump();
  REQUIRE(at_b.find("heart"));
  CHECK(at_b.find("heart")->node() == node_id{1});
  CHECK(at_b.add("heart", other).error().code() == errc::already_present);
  CHECK(at_b.remove("heart").error().code() == errc::refused);
  a.end(owner);
  c.pump();
  CHECK(at_b.find("heart").error().code() == errc::not_found);
  CHECK(at_b.add("heart", other));
}

TEST_CASE("of two nodes that give a name at the same time one keeps it, and the other's cell is ended") {
  memory_colony c;
  node a(c, 1);
  node b(c, 2);
  c.connect(1, 2);
  auto at_a = names_of(a);
  auto at_b = names_of(b);
  c.pump();
  const auto first = a.rt.spawn<resident>();
  const auto second = b.rt.spawn<resident>();
  const witness w(a.rt, first);
  REQUIRE(at_a.add("heart", first));
  REQUIRE(at_b.add("heart", second));
  c.pump();
  CHECK(w.end() == "down: error: karyon::name_conflict: heart");
  CHECK(*at_b.find("heart") == member(second));
  CHECK(at_a.find("heart")->node() == node_id{2});
}

TEST_CASE("after a split the later registration keeps the name, wherever it was made") {
  memory_colony c;
  node a(c, 1);
  node b(c, 2);
  c.connect(1, 2);
  auto at_a = names_of(a, {.end_loser = false});
  auto at_b = names_of(b, {.end_loser = false});
  c.pump();
  c.split(1, 2);
  c.pump();
  const auto later = a.rt.spawn<resident>();
  REQUIRE(at_a.add("other", later));  // so this node's clock is ahead
  REQUIRE(at_a.add("heart", later));
  const auto loser = b.rt.spawn<resident>();
  REQUIRE(at_b.add("heart", loser));
  c.connect(1, 2);
  c.pump();
  CHECK(*at_a.find("heart") == member(later));
  CHECK(at_b.find("heart")->node() == node_id{1});
  CHECK(at_b.names_of(loser).empty());
  CHECK(loser.alive());
}

TEST_CASE("a conflict is decided by the callback, which may leave the name to nobody") {
  memory_colony c;
  node a(c, 1);
  node b(c, 2);
  registry_options options;
  options.end_loser = false;
  options.on_conflict = [](std::string_view name, const name_claim& x, const name_claim& y) {
    if (name == "neither") return name_winner::neither;
    return x.node < y.node ? name_winner::first : name_winner::second;
  };
  auto at_a = names_of(a, options);
  auto at_b = names_of(b, options);
  const auto x = a.rt.spawn<resident>();
  const auto y = b.rt.spawn<resident>();
  for (const char* name : {"heart", "neither"}) {
    REQUIRE(at_a.add(name, x));
    REQUIRE(at_b.add(name, y));
  }
  c.connect(1, 2);
  c.pump();
  CHECK(*at_a.find("heart") == member(x));
  CHECK(at_b.find("heart")->node() == node_id{1});
  CHECK_FALSE(at_a.find("neither"));
  CHECK_FALSE(at_b.find("neither"));
}

TEST_CASE("in a registry that is not strict a node may have another's name removed") {
  memory_colony c;
  node a(c, 1);
  node b(c, 2);
  c.connect(1, 2);
  auto at_a = names_of(a, {.strict = false});
  auto at_b = names_of(b, {.strict = false});
  const auto owner = a.rt.spawn<resident>();
  REQUIRE(at_a.add("heart", owner));
  c.pump();
  REQUIRE(at_b.remove("heart"));
  c.pump();
  CHECK_FALSE(at_a.find("heart"));
  CHECK_FALSE(at_b.find("heart"));
  CHECK(owner.alive());
}

TEST_CASE(
    "whatever nodes give, take back and lose while they are split, once all have met a name has one owner or none") {
  constexpr std::size_t size = 4;
  constexpr std::uint64_t known_names = 6;
  memory_colony c;
  std::vector<std::unique_ptr<node>> nodes;
  std::vector<registry> at;
  std::vector<std::array<ref<resident>, 2>> cells;
  for (std::uint64_t i = 1; i <= size; ++i) {
    node& n = *nodes.emplace_back(std::make_unique<node>(c, i));
    at.push_back(names_of(n, {.end_loser = false}));
    cells.push_back({n.rt.spawn<resident>(), n.rt.spawn<resident>()});
  }
  karyon::testing::random dice(1);
  std::set<std::pair<std::size_t, std::size_t>> linked;
  const auto set_link = [&](std::size_t i, std::size_t j, bool on) {
    if (i >= j || linked.contains({i, j}) == on) return;
    if (on) {
      linked.insert({i, j});
      c.connect(i + 1, j + 1);
    } else {
      linked.erase({i, j});
      c.split(i + 1, j + 1);
    }
  };
  const auto name_of = [](std::uint64_t k) { return "name " + std::to_string(k); };
  const auto something_happens = [&] {
    const auto i = static_cast<std::size_t>(dice.below(size));
    const auto j = static_cast<std::size_t>(dice.below(size));
    ref<resident>& who = dice.pick(cells[i]);
    const std::string name = name_of(dice.below(known_names));
    switch (dice.below(8)) {
      case 0: return set_link(i, j, false);
      case 1: return set_link(i, j, true);
      case 2: return c.pump();
      case 3:
        nodes[i]->end(who);
        who = nodes[i]->rt.spawn<resident>();
        return;
      case 4: static_cast<void>(at[i].remove(name)); return;
      default: static_cast<void>(at[i].add(name, who));
    }
  };
  int owned = 0;
  for (int round = 0; round < 500; ++round) {
    INFO("round " << round);
    for (int step = 0; step < 60; ++step) something_happens();
    for (std::size_t i = 0; i < size; ++i) {
      for (std::size_t j = i + 1; j < size; ++j) set_link(i, j, true);
    }
    c.pump();
    for (int i = 0; i < 2; ++i) c.tick();
    for (std::uint64_t k = 0; k < known_names; ++k) {
      std::set<std::uint64_t> owners;  // nodes; 0: nobody's
      for (std::size_t i = 0; i < size; ++i) {
        const auto found = at[i].find(name_of(k));
        owners.insert(!found ? 0 : found->local() ? i + 1 : found->node().value);
        for (const auto& one : cells[i]) {
          const names has = at[i].names_of(one);
          CHECK((std::count(has.begin(), has.end(), name_of(k)) == 1) == (found && *found == member(one)));
        }
      }
      REQUIRE(owners.size() == 1);
      owned += owners.contains(0) ? 0 : 1;
    }
  }
  std::uint64_t lost = 0;
  for (const registry& r : at) lost += r.metrics().lost;
  CHECK(owned > 100);
  CHECK(lost > 100);
}
