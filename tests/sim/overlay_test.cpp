// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "sim/overlay_network.hpp"
#include "support/catch.hpp"

using namespace karyon;
using namespace karyon::tests;

// The overlay's machines under faults. The ordinary run takes few and small networks; all of it:
// KARYON_SIM_SEEDS=1000 KARYON_OVERLAY_NODES=10000 sim_overlay

namespace {

constexpr std::uint64_t second = overlay_network::second;

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* const text = std::getenv(variable);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

/// All join through node 0 within `within_ns`.
void join_all(overlay_network& net, std::uint64_t within_ns) {
  net.start(0, {});
  for (std::size_t i = 1; i < net.size(); ++i) {
    net.start(i, {0});
    net.run(within_ns / net.size());
  }
}

/// Runs until the living are connected, for so long at most.
bool settle(overlay_network& net, std::uint64_t at_most_ns) {
  for (std::uint64_t t = 0; t < at_most_ns; t += 5 * second) {
    net.run(5 * second);
    if (net.components() == 1) return true;
  }
  return net.components() == 1;
}

/// A broadcast of each of some nodes: everybody has each once.
void check_broadcasts(overlay_network& net, int how_many) {
  for (int i = 0; i < how_many; ++i) {
    const auto id = net.broadcast(net.random_living());
    int most = 0;
    for (int s = 0; s < 20 && net.reached(id, most) < net.living(); ++s) net.run(second);
    net.run(second);  // nothing comes twice
    CHECK(net.reached(id, most) == net.living());
    CHECK(most == 1);
  }
}

/// A broadcast's share of the living, right after what has happened.
double reach(overlay_network& net) {
  const auto id = net.broadcast(net.random_living());
  net.run(3 * second);
  int most = 0;
  return 100.0 * static_cast<double>(net.reached(id, most)) / static_cast<double>(net.living());
}

}  // namespace

TEST_CASE(
    "after crashes, losses, duplications, reorderings and one-way partitions there is one component, and every "
    "broadcast everywhere") {
  const std::uint64_t seeds = number_from("KARYON_SIM_SEEDS", 12);
  const std::uint64_t first = number_from("KARYON_SIM_SEED", 1);
  const std::size_t nodes = number_from("KARYON_OVERLAY_NODES", 100);
  const bool seeds_of_own = std::getenv("KARYON_OVERLAY_NODES") != nullptr;
  const std::vector<std::size_t> contacts = {0, 1, 2, 3, 4};
  for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
    INFO("replay with KARYON_SIM_SEED=" << seed << " KARYON_SIM_SEEDS=1 KARYON_OVERLAY_NODES=" << nodes);
    overlay_network net(nodes, seed);
    join_all(net, 10 * second);
    REQUIRE(settle(net, 300 * second));
    // Half a minute of bad weather, another sort every three seconds.
    for (int i = 0; i < 10; ++i) {
      net.sky = {};
      switch (net.random().below(4)) {
        case 0: net.sky.loss = 0.3; break;
        case 1: net.sky.duplicates = 0.5; break;
        case 2: net.sky.late = 0.5; break;
        default: net.sky.one_way = net.random()(); break;
      }
      for (std::size_t n = 0; n < net.size() / 20 + 1; ++n) {
        const std::size_t victim = net.random().below(net.size());
        if (net.alive(victim)) {
          net.kill(victim);
        } else {
          net.start(victim, contacts);
        }
      }
      if (net.living() != 0) static_cast<void>(net.broadcast(net.random_living()));
      net.run(3 * second);
    }
    net.sky = {};
    // Who comes back, or has outlived all that it knew, has its contacts; all have this one.
    if (!net.alive(contacts.front())) net.start(contacts.front(), contacts);
    REQUIRE(settle(net, 600 * second));
    CHECK(net.most_neighbors() <= 5);
    check_broadcasts(net, 3);
    if (seeds_of_own) {
      std::printf("seed %llu: %zu nodes, %zu living, %.0f s, %.1f million messages\n",
                  static_cast<unsigned long long>(seed), nodes, net.living(), static_cast<double>(net.now()) / 1e9,
                  static_cast<double>(net.messages()) / 1e6);
      std::fflush(stdout);
    }
  }
}

namespace {

using kind = overlay_message::kind;

overlay_message saying(kind what, bool flag = false, peer_id who = {}, std::uint8_t ttl = 0) {
  overlay_message m;
  m.what = what;
  m.flag = flag;
  m.who = who;
  m.ttl = ttl;
  return m;
}

/// A node whose neighbours are 2 to 6, and what it has said since.
struct surrounded {
  surrounded() {
    view.start(now_ns, random, said);
    for (std::uint64_t n = 2; n <= 6; ++n) hear(n, saying(kind::neighbor));
    said.clear();
    CHECK(view.neighbors().size() == 5);
  }
  void hear(std::uint64_t from, const overlay_message& m) { view.receive({from, 1}, m, now_ns, random, said); }
  [[nodiscard]] std::size_t times_said(kind what, std::uint64_t to = 0) const {
    return static_cast<std::size_t>(std::count_if(said.sends.begin(), said.sends.end(), [&](const auto& s) {
      return s.what.what == what && (to == 0 || s.to.node == to);
    }));
  }
  std::uint64_t now_ns = second;
  overlay_random random{1};
  overlay_effects said;
  detail::hyparview view{{1, 1}, {}};
};

}  // namespace

TEST_CASE("what a peer says of others makes nobody a neighbour and takes no neighbour away") {
  surrounded node;
  const auto before = node.view.neighbors();
  for (std::uint64_t i = 0; i < 1000; ++i) {
    node.hear(2, saying(kind::forward_join, false, {100 + i, 1}));           // strangers
    node.hear(2, saying(kind::forward_join, false, {3 + i % 4, 2 + i}, 3));  // later lives of its neighbours
    node.hear(2000 + i, saying(kind::neighbor_answer, true));                // to a question that was not asked
    node.hear(2000 + i, saying(kind::forward_join, false, {100 + i, 1}));    // from no neighbour
    overlay_message shuffle = saying(kind::shuffle, false, {100 + i, 1});
    for (std::uint64_t n = 0; n < 100; ++n) shuffle.peers.push_back({10'000 + 100 * i + n, 9});
    node.hear(2, shuffle);
    shuffle.what = kind::shuffle_reply;
    node.hear(2, shuffle);
  }
  CHECK(node.view.neighbors() == before);
  CHECK(node.times_said(kind::disconnect) == 0);
  // Few of those that it names are asked at all, and they may say no.
  CHECK(node.times_said(kind::neighbor) <= 4);
  for (const auto& s : node.said.sends) CHECK_FALSE((s.what.what == kind::neighbor && s.what.flag));
}

TEST_CASE("a newcomer that a walk names is a neighbour once it has agreed itself") {
  surrounded node;
  node.hear(2, saying(kind::forward_join, false, {50, 1}));
  CHECK(node.times_said(kind::neighbor, 50) == 1);
  CHECK_FALSE(node.view.is_neighbor({50, 1}));
  node.hear(50, saying(kind::neighbor_answer, true));
  CHECK(node.view.is_neighbor({50, 1}));
  CHECK(node.view.neighbors().size() == 5);
  node.hear(51, saying(kind::join));
  CHECK(node.view.is_neighbor({51, 1}));
}

TEST_CASE("a peer that comes and goes has others driven out a few times only, and again later") {
  surrounded node;
  const auto force = [&] {
    for (int i = 0; i < 1000; ++i) {
      for (std::uint64_t n = 2; n <= 6; ++n) node.hear(n, saying(kind::neighbor));  // the others want to stay
      node.hear(9, saying(i % 2 == 0 ? kind::neighbor : kind::join, true));
      node.hear(9, saying(kind::disconnect, true));
    }
    return node.times_said(kind::disconnect);
  };
  const std::size_t first = force();
  CHECK(first >= 1);
  CHECK(first <= 4);
  node.now_ns += 10 * second;
  CHECK(force() <= 2 * 4);
}

TEST_CASE(
    "however many come to a full node at once, it changes its neighbours at a bounded rate and tells them of others") {
  surrounded node;
  const auto crowd = [&] {
    node.said.clear();
    for (std::uint64_t n = 100; n < 1100; ++n)
      node.hear(n, n % 2 == 0 ? saying(kind::join) : saying(kind::neighbor, true));
    return node.times_said(kind::disconnect);
  };
  CHECK(crowd() == 64 * 4);
  CHECK(crowd() == 0);
  const auto& refused = node.said.sends.back().what;
  CHECK(refused.what == kind::neighbor_answer);
  CHECK_FALSE(refused.flag);
  CHECK(refused.peers.size() >= 3);
  node.now_ns += second;
  CHECK(crowd() == 64);
}

TEST_CASE("a newcomer whose contact is full asks those that it is told of") {
  overlay_random random{1};
  overlay_effects said;
  detail::hyparview view({1, 1}, {});
  view.learn_contact({2, 1});
  view.start(second, random, said);
  said.clear();
  overlay_message full = saying(kind::neighbor_answer, false);
  full.peers = {{3, 1}, {4, 1}};
  view.receive({7, 1}, full, second, random, said);  // who was not asked
  CHECK(said.sends.empty());
  view.receive({2, 1}, full, second, random, said);
  std::vector<std::uint64_t> asked;
  for (const auto& s : said.sends) {
    if (s.what.what == kind::neighbor && s.what.flag) asked.push_back(s.to.node);
  }
  std::sort(asked.begin(), asked.end());
  CHECK(asked == std::vector<std::uint64_t>{3, 4});
}

TEST_CASE("however many names a peer makes up, a node that loses its neighbours finds one that it has had") {
  surrounded node;
  node.hear(7, saying(kind::neighbor, true));  // one of the five has to go, and is remembered
  std::vector<std::uint64_t> gone;
  for (std::uint64_t n = 2; n <= 6; ++n) {
    if (!node.view.is_neighbor({n, 1})) gone.push_back(n);
  }
  REQUIRE(gone.size() == 1);
  const std::uint64_t liar = gone[0] == 2 ? 3 : 2;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    overlay_message shuffle = saying(kind::shuffle, false, {100 + i, 1});
    for (std::uint64_t n = 0; n < 8; ++n) shuffle.peers.push_back({10'000 + 8 * i + n, 9});
    node.hear(liar, shuffle);
  }
  node.said.clear();
  for (std::uint64_t n = 2; n <= 7; ++n) node.view.lost({n == gone[0] ? 7 : n, 1}, node.now_ns, node.random, node.said);
  for (int s = 0; s < 20; ++s) {
    node.now_ns += second;
    node.view.tick(node.now_ns, node.random, node.said);
  }
  CHECK(node.times_said(kind::neighbor, gone[0]) >= 1);
}

TEST_CASE("two that are left with each other alone find the others by their contacts, soon") {
  constexpr std::size_t left = 48;
  constexpr std::size_t alone = 49;
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    overlay_network net(50, seed);
    for (std::size_t n = 0; n < left; ++n) net.start(n, {0});
    REQUIRE(settle(net, 300 * second));
    net.sky.one_way = (std::uint64_t{1} << left) | (std::uint64_t{1} << alone);  // who hears of them can not tell them
    net.start(left, {0, alone});
    net.start(alone, {0, left});
    net.run(60 * second);
    REQUIRE(net.components() == 2);
    net.sky = {};
    CHECK(settle(net, 60 * second));
  }
}

TEST_CASE(
    "a node with one neighbour alone insists on others, which may be all that connects two of them with the rest") {
  surrounded node;
  node.hear(7, saying(kind::neighbor, true));  // one of the five has to go, and is remembered
  const auto lose_one = [&] {
    node.said.clear();
    node.hear(node.view.neighbors().front().node, saying(kind::disconnect, true));
  };
  const auto insists = [&] {
    return std::any_of(node.said.sends.begin(), node.said.sends.end(),
                       [](const auto& s) { return s.what.what == kind::neighbor && s.what.flag; });
  };
  for (int left = 4; left >= 2; --left) {
    lose_one();
    REQUIRE(node.view.neighbors().size() == static_cast<std::size_t>(left));
    CHECK_FALSE(insists());
  }
  lose_one();
  for (std::uint64_t n = 2; n <= 7; ++n)
    node.hear(n, saying(kind::neighbor_answer, false));  // who was asked before is full
  node.view.tick(node.now_ns += second, node.random, node.said);
  CHECK(node.view.neighbors().size() == 1);
  CHECK(insists());
}

TEST_CASE("a node that knows nobody but one that refuses does not ask as fast as it is answered, and goes on asking") {
  surrounded node;
  for (std::uint64_t n = 3; n <= 6; ++n) node.view.lost({n, 1}, node.now_ns, node.random, node.said);
  node.hear(2, saying(kind::disconnect, true));
  for (int i = 0; i < 1000; ++i) node.hear(2, saying(kind::neighbor_answer, false));
  const std::size_t asked = node.times_said(kind::neighbor, 2);
  CHECK(asked >= 1);
  CHECK(asked <= 100);
  node.now_ns += second;
  node.view.tick(node.now_ns, node.random, node.said);
  CHECK(node.times_said(kind::neighbor, 2) > asked);
}

TEST_CASE("a hostile node in the middle of others does not keep their broadcasts from reaching all") {
  overlay_network net(100, 3);
  join_all(net, 10 * second);
  REQUIRE(settle(net, 300 * second));
  for (int tenth = 0; tenth < 200; ++tenth) {
    for (int i = 0; i < 20; ++i) {
      const std::size_t to = 1 + net.random().below(99);
      const peer_id victim{2 + net.random().below(99), 1 + net.random().below(2)};
      net.say(0, net.id_of(to), saying(kind::forward_join, false, victim, static_cast<std::uint8_t>(i % 7)));
      net.say(0, net.id_of(to), saying(kind::neighbor, true));
      overlay_message made_up = saying(kind::shuffle, false, net.id_of(0));
      for (std::uint64_t n = 0; n < 7; ++n) made_up.peers.push_back({1'000 + net.random().below(1'000'000), 1});
      net.say(0, net.id_of(to), made_up);
      net.say(0, net.id_of(to), saying(kind::disconnect, true));
    }
    net.run(second / 10);
  }
  for (int i = 0; i < 5; ++i) {
    const auto id = net.broadcast(1 + net.random().below(99));
    net.run(3 * second);
    int most = 0;
    CHECK(net.reached(id, most) == 100);
  }
}

TEST_CASE("thousands that join through one contact at once leave no islands") {
  const std::size_t nodes = number_from("KARYON_OVERLAY_NODES", 3000);
  overlay_network net(nodes, number_from("KARYON_SIM_SEED", 1));
  join_all(net, 2 * second);
  REQUIRE(settle(net, 600 * second));
  CHECK(net.most_neighbors() <= 5);
  check_broadcasts(net, 2);
}

TEST_CASE("after the first broadcasts of a sender hardly a node gets one twice") {
  overlay_network net(500, 5);
  join_all(net, 10 * second);
  REQUIRE(settle(net, 300 * second));
  const std::size_t sender = net.random_living();
  const std::uint64_t before = net.duplicates();
  static_cast<void>(net.broadcast(sender));
  net.run(4 * second);
  const std::uint64_t first = net.duplicates() - before;
  for (int i = 0; i < 5; ++i) {
    static_cast<void>(net.broadcast(sender));
    net.run(second);
  }
  const std::uint64_t then = net.duplicates();
  static_cast<void>(net.broadcast(sender));
  net.run(second);
  CHECK(first > net.size());
  CHECK(net.duplicates() - then < net.size() / 10);
}

TEST_CASE("what a broadcast reaches when most nodes are killed at once comes back with the heartbeats") {
  const std::size_t nodes = number_from("KARYON_OVERLAY_NODES", 2000);
  const char* const facts[] = {"95.4 99.86", "0.35 99.76", "- -"};  // nerve-facts.md: at once, and after two shuffles
  int which = 0;
  for (const unsigned killed : {50u, 80u, 90u}) {
    overlay_network net(nodes, 7);
    join_all(net, 20 * second);
    REQUIRE(settle(net, 300 * second));
    net.run(40 * second);
    for (std::size_t i = 1; i < nodes; ++i) {
      if (net.random().below(100) < killed) net.kill(i);
    }
    const double at_once = reach(net);
    net.run(3 * second);
    const double detected = reach(net);
    net.run(20 * second);
    const double shuffled = reach(net);
    std::printf(
        "%zu nodes, %u%% killed: reach at once %.2f%%, heartbeats missed %.2f%%, two shuffles later %.2f%%"
        " (without a failure detector, as measured before: %s)\n",
        nodes, killed, at_once, detected, shuffled, facts[which++]);
    REQUIRE(settle(net, 600 * second));
    check_broadcasts(net, 1);
  }
}

TEST_CASE("through several gateways, in bad weather too, each node of both compartments gets a broadcast once") {
  const std::uint64_t first = number_from("KARYON_SIM_SEED", 1);
  const std::uint64_t seeds = number_from("KARYON_SIM_SEEDS", 12);
  constexpr std::size_t nodes = 40;
  constexpr std::size_t gateways = 4;  // the first of each compartment are in both
  for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
    INFO("replay with KARYON_SIM_SEED=" << seed << " KARYON_SIM_SEEDS=1");
    detail::overlay_options of_north;
    detail::overlay_options of_south;
    of_north.tree.compartment = 0x6e6f727468000000;  // as a hash of its name would be: no numbers of nodes
    of_south.tree.compartment = 0x736f757468000000;
    overlay_network north(nodes, seed, of_north);
    overlay_network south(nodes, seed + 1'000'000, of_south);
    for (overlay_network* net : {&north, &south}) {
      join_all(*net, 10 * second);
      REQUIRE(settle(*net, 300 * second));
      net->watch(gateways);
    }
    const auto hand_on = [](overlay_network& from, overlay_network& to) {
      for (const auto& [n, id] : from.take_heard()) {
        if (to.alive(n)) static_cast<void>(to.hand_on(n, id));
      }
    };
    const auto run_both = [&](std::uint64_t for_ns) {
      for (std::uint64_t t = 0; t < for_ns; t += second / 50) {
        north.run(second / 50);
        south.run(second / 50);
        hand_on(north, south);
        hand_on(south, north);
      }
    };
    std::vector<detail::broadcast_id> all;
    const auto say = [&](overlay_network& here, overlay_network& there) {
      all.push_back(here.broadcast(here.random_living()));
      there.expect(all.back());
    };
    for (int i = 0; i < 10; ++i) {
      for (overlay_network* net : {&north, &south}) {
        net->sky = {};
        switch (net->random().below(3)) {
          case 0: net->sky.loss = 0.3; break;
          case 1: net->sky.duplicates = 0.5; break;
          default: net->sky.late = 0.5; break;
        }
      }
      if (i == 5) {
        for (const std::size_t n : {std::size_t{1}, std::size_t{2}}) {
          north.kill(n);
          south.kill(n);
        }
      }
      say(north, south);
      say(south, north);
      run_both(second);
    }
    north.sky = {};
    south.sky = {};
    REQUIRE(settle(north, 300 * second));
    REQUIRE(settle(south, 300 * second));
    const std::size_t in_fair_weather = all.size();
    for (int i = 0; i < 3; ++i) {
      say(north, south);
      say(south, north);
    }
    run_both(20 * second);
    for (std::size_t i = 0; i < all.size(); ++i) {
      for (const overlay_network* net : {&north, &south}) {
        int most = 0;
        const std::size_t reached = net->reached(all[i], most);
        CHECK(most <= 1);
        if (i >= in_fair_weather) CHECK(reached == net->living());
      }
    }
  }
}

TEST_CASE("gateways hand a broadcast on once into each compartment, in a circle as well, and not beyond its hops") {
  using detail::overlay_gateway;
  const std::vector<gateway_rule> rules{{"a", "b", "alarm.>"}, {"b", "c", ">"}, {"c", "a", ">"}};
  overlay_gateway one(rules, {}, 8);
  overlay_gateway two(rules, {}, 8);
  const detail::broadcast_id id{7, 1};
  CHECK(one.pass("a", "alarm.fire", id, 0, 1) == std::vector<std::string>{"b"});
  CHECK(one.pass("b", "alarm.fire", id, 1, 2) == std::vector<std::string>{"c"});
  CHECK(one.pass("c", "alarm.fire", id, 2, 3).empty());  // `a` had it first
  CHECK(two.pass("b", "alarm.fire", id, 1, 2) == std::vector<std::string>{"c"});
  CHECK(two.pass("a", "alarm.fire", id, 0, 3).empty());  // `b` has it already
  CHECK(one.pass("a", "chat", {7, 2}, 0, 4).empty());
  CHECK(one.pass("a", "alarm.fire", {7, 3}, 8, 5).empty());
  CHECK(one.stats().passed == 2);
  CHECK(one.stats().duplicate == 1);
  CHECK(one.stats().too_far == 1);
  overlay_gateway narrow(rules, {1, 2}, 8);
  std::size_t passed = 0;
  for (std::uint64_t i = 0; i < 100; ++i) passed += narrow.pass("a", "alarm.fire", {9, i + 1}, 0, 1000).size();
  CHECK(passed == 2);
  CHECK(narrow.stats().storm == 98);
}
