// SPDX-License-Identifier: Apache-2.0
// Groups and names of simulated cells: random joins, leaves, deaths and restarts, against a table of who should be there.
#include <algorithm>
#include <array>
#include <stdexcept>
#include <string>
#include <vector>

#include <karyon/discover/groups.hpp>
#include <karyon/discover/registry.hpp>
#include <karyon/sim/testing.hpp>
#include <karyon/supervise/supervisor.hpp>

#include "support/catch.hpp"

using namespace karyon;
using testing::for_each_seed;
using testing::world;

namespace {

struct poke {};

class dweller : public cell {
public:
  using accepts = signals<poke, group_event>;
  explicit dweller(long* balance) : balance_(balance) {}
  void on(poke) {}
  void on(const group_event& e) {
    const auto n = static_cast<long>(e.members.size());
    *balance_ += e.joined ? n : -n;
  }

private:
  long* balance_;
};

/// Whose waiting signals are counted, as its mailbox is bounded.
class patient : public cell {
public:
  using accepts = signals<poke>;
  static constexpr std::size_t mailbox_limit = 100;
  void on(poke) {}
};

/// Looks for those near to it.
class seeker : public cell {
public:
  using accepts = signals<poke>;
  seeker(process_groups scope, std::vector<member>& found) : scope_(scope), found_(&found) {}
  void on(poke) {
    for (int i = 0; i < 20; ++i) found_->push_back(scope_.pick("eyes", pick_by::nearest).value());
  }

private:
  process_groups scope_;
  std::vector<member>* found_;
};

void require(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

struct expected_group {
  std::vector<member> members;
  void leave(const member& m) {
    const auto found = std::find(members.begin(), members.end(), m);
    if (found != members.end()) members.erase(found);
  }
};

}  // namespace

TEST_CASE(
    "whatever simulated cells do, a group has exactly those that have joined and live, and its watcher knows how "
    "many") {
  for_each_seed(testing::seeds{.first = 1, .count = 200}, [](world& w) {
    auto scope = process_groups::open(w.runtime()).value();
    auto& balance = w.keep<long>(0);
    auto& unused = w.keep<long>(0);
    const auto watching = w.runtime().spawn<dweller>(&balance);
    require(scope.watch("all", watching).has_value(), "could not watch");
    auto over = w.runtime().supervise({.intensity = {1'000'000, std::chrono::seconds(5)}});
    std::vector<child<dweller>> roles;
    for (int i = 0; i < 4; ++i) roles.push_back(over.start<dweller>(&unused));
    expected_group all;
    for (int i = 0; i < 60; ++i) {
      const child<dweller> c = w.random().pick(roles);
      const bool as_role = w.random().one_in(2);
      const member m = as_role ? member(c) : member(c.get());
      switch (w.random().below(4)) {
        case 0:
        case 1:
          if (m && scope.join("all", m)) all.members.push_back(m);
          break;
        case 2:
          if (m && scope.leave("all", m)) all.leave(m);
          break;
        default:
          if (!m) break;
          w.kill(c.get());
          w.run();
          std::erase_if(all.members, [](const member& one) { return !one.role() && !one.alive(); });
      }
    }
    w.run();
    const std::vector<member> now = scope.members("all");
    require(std::is_permutation(now.begin(), now.end(), all.members.begin(), all.members.end()), "other members");
    require(balance == static_cast<long>(now.size()), "the watcher was told something else");
    over.stop();
    w.run();
    require(scope.members("all").empty() && balance == 0, "members are left");
  });
}

TEST_CASE(
    "in simulation the name of a role is never nobody's, and that of an incarnation is free before the next one "
    "starts") {
  for_each_seed(testing::seeds{.first = 1, .count = 100}, [](world& w) {
    auto names = registry::open(w.runtime()).value();
    auto& unused = w.keep<long>(0);
    auto over = w.runtime().supervise({.intensity = {1'000'000, std::chrono::seconds(5)}});
    const auto c = over.start<dweller>(&unused);
    require(names.add("role", c).has_value(), "no name for the role");
    for (int i = 0; i < 20; ++i) {
      require(names.add("life", c.get()).has_value(), "the name of the last life is not free");
      w.kill(c.get());
      while (w.step()) require(names.find_child<dweller>("role") == c, "the role's name is nobody's");
      require(!names.find("life").has_value(), "a dead incarnation has a name");
    }
    over.stop();
    w.run();
    require(names.size() == 0, "names are left");
  });
}

TEST_CASE(
    "of a few members the least loaded is one that has nothing to do, or else the one with the fewest signals "
    "waiting") {
  world w(1);
  auto scope = process_groups::open(w.runtime()).value();
  std::vector<ref<patient>> all;
  for (int i = 0; i < 5; ++i) {
    all.push_back(w.runtime().spawn<patient>());
    REQUIRE(scope.join("eyes", all.back()));
  }
  const auto always_picked = [&](const ref<patient>& who) {
    for (int i = 0; i < 20; ++i) {
      if (!(scope.pick("eyes", pick_by::least_loaded).value() == member(who))) return false;
    }
    return true;
  };
  for (std::size_t rests = 0; rests < all.size(); ++rests) {
    w.run();
    const std::size_t least = (rests + 2) % all.size();
    for (std::size_t i = 0; i < all.size(); ++i) {
      for (int n = i == rests ? 0 : i == least ? 1 : 3; n > 0; --n) REQUIRE(ok(all[i].send(poke{})));
    }
    CHECK(always_picked(all[rests]));
    for (int n = 0; n < 2; ++n) REQUIRE(ok(all[rests].send(poke{})));
    CHECK(always_picked(all[least]));
  }
}

TEST_CASE("the nearest of a group is on the node of the cell that asks, if one of the first 64 is") {
  testing::world_options options;
  options.workers = 4;
  options.nodes = 2;
  world w(options);
  auto scope = process_groups::open(w.runtime()).value();
  auto& unused = w.keep<long>(0);
  std::array<std::vector<member>, 2> on_node;
  for (std::uint32_t i = 0; i < 60; ++i) {
    const auto one = w.runtime().spawn_at<dweller>(placement::on_node(i % 2), &unused);
    REQUIRE(scope.join("eyes", one));
    on_node[i % 2].emplace_back(one);
  }
  const auto found_from = [&](std::uint32_t node) {
    auto& found = w.keep<std::vector<member>>();
    w.runtime().spawn_at<seeker>(placement::on_node(node), scope, found).send(poke{});
    w.run();
    return found;
  };
  const auto all_among = [](const std::vector<member>& some, const std::vector<member>& these) {
    return std::all_of(some.begin(), some.end(),
                       [&](const member& m) { return std::find(these.begin(), these.end(), m) != these.end(); });
  };
  for (std::uint32_t node = 0; node < 2; ++node) {
    const std::vector<member> found = found_from(node);
    CHECK(found.size() == 20);
    CHECK(all_among(found, on_node[node]));
  }
  REQUIRE(scope.leave("eyes", on_node[1]));
  const std::vector<member> found = found_from(1);
  CHECK(found.size() == 20);
  CHECK(all_among(found, on_node[0]));
}
