// SPDX-License-Identifier: Apache-2.0
// Groups of several nodes, over a network in memory: the behaviours of Erlang's pg, a sentence each.

#include "unit/discover/memory_node.hpp"

using namespace karyon;
using namespace karyon::tests;
using names = std::vector<std::string>;

TEST_CASE("nodes that meet show each other their members, and those that join, leave and end later") {
  memory_colony c;
  node a(c, 1);
  node b(c, 2);
  const auto early = a.joined("eyes");
  c.connect(1, 2);
  c.pump();
  REQUIRE(b.members("eyes") == 1);
  CHECK_FALSE(b.groups.members("eyes")[0].local());
  CHECK(b.groups.members("eyes")[0].node() == node_id{1});
  CHECK(b.groups.local_members("eyes").empty());
  CHECK(b.groups.groups() == names{"eyes"});
  CHECK(b.groups.local_groups().empty());
  const auto late = a.joined("eyes");
  b.joined("eyes");
  c.pump();
  CHECK(a.members("eyes") == 3);
  CHECK(b.members("eyes") == 3);
  CHECK(b.groups.size("eyes") == 3);
  CHECK(b.groups.local_size("eyes") == 1);
  REQUIRE(a.groups.leave("eyes", early));
  a.end(late);
  c.pump();
  CHECK(a.members("eyes") == 1);
  CHECK(b.members("eyes") == 1);
}

TEST_CASE("of the members of a scope that is for this node alone no other node hears") {
  memory_colony c;
  runtime early(quiet(1));
  auto before = *process_groups::open(early, "here", scope_reach::this_node);
  REQUIRE(before.join("eyes", early.spawn<resident>()));
  REQUIRE(early.core().install_network(c.add(1)));
  node b(c, 2);
  auto there = *process_groups::open(b.rt, "here");
  c.connect(1, 2);
  REQUIRE(before.join("eyes", early.spawn<resident>()));
  REQUIRE(there.join("eyes", b.rt.spawn<resident>()));
  c.pump();
  CHECK(before.size("eyes") == 2);
  CHECK(there.size("eyes") == 1);
}

TEST_CASE("whoever picks among local members in turn takes nobody's turn among all") {
  memory_colony c;
  node a(c, 1);
  node b(c, 2);
  c.connect(1, 2);
  a.joined("eyes");
  b.joined("eyes");
  b.joined("eyes");
  c.pump();
  int elsewhere = 0;
  for (int i = 0; i < 12; ++i) {
    elsewhere += b.groups.pick("eyes", pick_by::round_robin)->local() ? 0 : 1;
    CHECK(b.groups.pick_local("eyes", pick_by::round_robin)->local());
  }
  CHECK(elsewhere == 4);
}

TEST_CASE("a cell that has joined twice is there twice on other nodes, until it has left twice") {
  memory_colony c;
  node a(c, 1);
  node b(c, 2);
  c.connect(1, 2);
  const auto r = a.joined("eyes");
  REQUIRE(a.groups.join("eyes", r));
  c.pump();
  CHECK(b.members("eyes") == 2);
  REQUIRE(a.groups.leave("eyes", r));
  c.pump();
  CHECK(b.members("eyes") == 1);
}

TEST_CASE("a scope that only one node has opened is found when the other opens it") {
  memory_colony c;
  node a(c, 1);
  node b(c, 2);
  c.connect(1, 2);
  auto alone = *process_groups::open(a.rt, "late");
  REQUIRE(alone.join("eyes", a.rt.spawn<resident>()));
  c.pump();
  auto other = *process_groups::open(b.rt, "late");
  c.pump();
  CHECK(other.members("eyes").size() == 1);
  CHECK(b.groups.groups().empty());
}

TEST_CASE("in a netsplit each side keeps its own members, and when it heals both have all") {
  memory_colony c;
  node a(c, 1);
  node b(c, 2);
  a.joined("eyes");
  const auto lost = b.joined("eyes");
  c.connect(1, 2);
  c.pump();
  c.split(1, 2);
  c.pump();
  CHECK(a.members("eyes") == 1);
  CHECK(b.members("eyes") == 1);
  b.end(lost);
  b.joined("ears");
  a.joined("ears");
  c.connect(1, 2);
  c.pump();
  for (const node* n : {&a, &b}) {
    CHECK(n->members("eyes") == 1);
    CHECK(n->members("ears") == 2);
  }
}

TEST_CASE("membership is not transitive: a node that sees both sides of a split passes nothing on") {
  memory_colony c;
  node a(c, 1);
  node b(c, 2);
  node d(c, 3);
  for (node* n : {&a, &b, &d}) n->joined("eyes");
  c.connect(1, 2);
  c.connect(2, 3);
  c.pump();
  CHECK(a.members("eyes") == 2);
  CHECK(b.members("eyes") == 3);
  CHECK(d.members("eyes") == 2);
  c.connect(1, 3);
  c.pump();
  for (const node* n : {&a, &b, &d}) CHECK(n->members("eyes") == 3);
}

TEST_CASE("after a three-way split has healed all nodes have the same view, whichever two meet first") {
  memory_colony c;
  node a(c, 1);
  node b(c, 2);
  node d(c, 3);
  const std::array<std::pair<std::uint64_t, std::uint64_t>, 3> pairs{{{1, 2}, {1, 3}, {2, 3}}};
  for (std::size_t first = 0; first < pairs.size(); ++first) {
    for (const auto& [i, j] : pairs) c.connect(i, j);
    c.pump();
    for (const auto& [i, j] : pairs) c.split(i, j);
    c.pump();
    const std::string group = "eyes " + std::to_string(first);
    for (node* n : {&a, &b, &d}) {
      n->joined(group);
      CHECK(n->members(group) == 1);
    }
    for (std::size_t k = 0; k < pairs.size(); ++k) {
      const auto& [i, j] = pairs[(first + k) % pairs.size()];
      c.connect(i, j);
      c.pump();
    }
    for (const node* n : {&a, &b, &d}) CHECK(n->members(group) == 3);
    for (const auto& [i, j] : pairs) c.split(i, j);
    c.pump();
  }
}

TEST_CASE("in a strict registry only the cell's own node takes its name away") {
  memory_colony c;
  node a(c, 1);
  node b(c, 2);
  auto at_a = *registry::open(a.rt, "names");
  auto at_b = *registry::open(b.rt, "names");
  c.connect(1, 2);
  c.pump();
  const auto owner = a.rt.spawn<resident>();
  REQUIRE(at_a.add("heart", owner));
  c.pump();
  CHECK(at_b.remove("heart").error().code() == errc::refused);
  c.pump();
  CHECK(at_a.find("heart"));
  CHECK(at_b.find("heart"));
  REQUIRE(at_a.remove("heart"));
  c.pump();
  CHECK_FALSE(at_b.find("heart"));
}

TEST_CASE("after a four-way split has healed all nodes have the same view") {
  memory_colony c;
  std::vector<std::unique_ptr<node>> nodes;
  for (std::uint64_t i = 1; i <= 4; ++i) nodes.push_back(std::make_unique<node>(c, i));
  const auto each_pair = [](auto f) {
    for (std::uint64_t i = 1; i <= 4; ++i) {
      for (std::uint64_t j = i + 1; j <= 4; ++j) f(i, j);
    }
  };
  each_pair([&](auto i, auto j) { c.connect(i, j); });
  for (auto& n : nodes) n->joined("before");
  c.pump();
  each_pair([&](auto i, auto j) { c.split(i, j); });
  c.pump();
  for (auto& n : nodes) {
    CHECK(n->members("before") == 1);
    n->joined("while");
    n->joined("while");
  }
  each_pair([&](auto i, auto j) { c.connect(i, j); });
  c.pump();
  for (auto& n : nodes) {
    CHECK(n->members("before") == 4);
    CHECK(n->members("while") == 8);
  }
}

TEST_CASE("what a peer refuses is made good with the next tick") {
  memory_colony c;
  node a(c, 1);
  node b(c, 2);
  c.connect(1, 2);
  c.pump();
  c.refusals = 1;
  const auto r = a.joined("eyes");
  c.pump();
  CHECK(b.members("eyes") == 0);
  c.tick();
  CHECK(b.members("eyes") == 1);
  c.refusals = 1;
  REQUIRE(a.groups.leave("eyes", r));
  a.joined("ears");  // this frame arrives, and shows that one is missing
  c.pump();
  CHECK(b.groups.groups() == names{"ears"});
}

TEST_CASE("a scope that is stopped takes its members from all nodes, and shows those of its next life alone") {
  memory_colony c;
  node a(c, 1);
  node b(c, 2);
  c.connect(1, 2);
  a.joined("eyes");
  c.pump();
  REQUIRE(b.members("eyes") == 1);
  a.groups.stop();
  c.pump();
  CHECK(b.members("eyes") == 0);
  a.groups = *process_groups::open(a.rt, "scope");
  a.joined("ears");
  c.pump();
  CHECK(b.groups.groups() == names{"ears"});
}

TEST_CASE("a group of more members than a frame takes arrives whole") {
  memory_colony c;
  node a(c, 1);
  node b(c, 2);
  std::vector<member> all;
  for (int i = 0; i < 1000; ++i) all.emplace_back(a.rt.spawn<resident>());
  REQUIRE(a.groups.join("before", all));
  c.connect(1, 2);
  c.pump();
  CHECK(b.members("before") == 1000);
  REQUIRE(a.groups.join("after", all));
  c.pump();
  CHECK(b.members("after") == 1000);
}

TEST_CASE("a watch tells of members on other nodes that come, and of those that go with their node") {
  memory_colony c;
  node a(c, 1);
  node b(c, 2);
  diary told;
  const auto watching = b.rt.spawn<resident>(told);
  REQUIRE(b.groups.watch("eyes", watching));
  a.joined("eyes");
  c.connect(1, 2);
  c.pump();
  REQUIRE(told.has(1));
  CHECK(b.groups.watch_all(watching)->groups.size() == 1);
  c.split(1, 2);
  c.pump();
  REQUIRE(told.has(3));
  CHECK(told.lines() == lines{"+1 eyes", "-1 eyes", "-1 eyes"});
}

TEST_CASE("bytes that are no frame change nothing") {
  detail::replica r(7, {});
  detail::replica_effects fx;
  r.peer_up({1, 1}, fx);
  std::vector<std::byte> bytes;
  for (int length = 0; length < 64; ++length) {
    bytes.assign(static_cast<std::size_t>(length), std::byte{0xff});
    r.received({1, 1}, bytes, fx);
  }
  CHECK(r.malformed() == 64);
  CHECK(fx.changes.empty());
  CHECK(r.of(1)->empty());
}

TEST_CASE("a peer that claims more memberships than are kept of one is not believed, though all are one cell's") {
  const detail::replica_op op{true, "eyes", 1, 0};
  for (const int times : {3, 4}) {
    detail::replica_limits few;
    few.entries_max = 3;
    detail::replica a(1, few);
    detail::replica b(2, {});
    detail::replica_effects of_a;
    detail::replica_effects of_b;
    for (int i = 0; i < times; ++i) b.local({&op, 1}, of_b);
    a.peer_up({2, 1}, of_a);
    b.peer_up({1, 1}, of_b);
    REQUIRE(of_a.sends.size() == 1);
    b.received({1, 1}, *of_a.sends[0].bytes, of_b);
    for (const auto& frame : of_b.sends) a.received({2, 1}, *frame.bytes, of_a);
    CHECK(a.of(2)->size() == (times == 3 ? 1u : 0u));
    CHECK(a.malformed() == (times == 3 ? 0u : 1u));
  }
}

TEST_CASE("an answer that comes after it was asked for once more counts") {
  detail::replica a(1, {});
  detail::replica b(2, {});
  detail::replica_effects of_a;
  detail::replica_effects of_b;
  const detail::replica_op here{true, "heart", 1, 1};
  b.local({&here, 1}, of_b);
  a.peer_up({2, 1}, of_a);
  b.peer_up({1, 1}, of_b);
  of_b.sends.clear();
  for (const auto& f : std::exchange(of_a.sends, {})) b.received({1, 1}, *f.bytes, of_b);
  a.tick(of_a);
  for (const auto& f : std::exchange(of_b.sends, {})) a.received({2, 1}, *f.bytes, of_a);
  REQUIRE(a.of(2) != nullptr);
  CHECK(a.of(2)->size() == 1);
  // The answer to what it has asked meanwhile says nothing new, and does no harm.
  for (const auto& f : std::exchange(of_a.sends, {})) b.received({1, 1}, *f.bytes, of_b);
  for (const auto& f : std::exchange(of_b.sends, {})) a.received({2, 1}, *f.bytes, of_a);
  CHECK(a.of(2)->size() == 1);
  CHECK(a.malformed() == 0);
}

TEST_CASE("a peer that claims a time at which clocks would begin anew is not believed") {
  detail::replica a(1, {});
  detail::replica_limits any;
  any.time_max = ~std::uint64_t{0};
  detail::replica b(2, any);
  detail::replica_effects of_a;
  detail::replica_effects of_b;
  a.peer_up({2, 1}, of_a);
  b.peer_up({1, 1}, of_b);
  const auto deliver_all = [&] {
    while (!of_a.sends.empty() || !of_b.sends.empty()) {
      const auto to_b = std::exchange(of_a.sends, {});
      const auto to_a = std::exchange(of_b.sends, {});
      for (const auto& f : to_b) b.received({1, 1}, *f.bytes, of_b);
      for (const auto& f : to_a) a.received({2, 1}, *f.bytes, of_a);
    }
  };
  deliver_all();
  const detail::replica_op last{true, "heart", 1, ~std::uint64_t{0} >> 1u};
  b.local({&last, 1}, of_b);
  deliver_all();
  CHECK(a.of(2)->size() == 1);
  const detail::replica_op beyond{true, "lungs", 1, ~std::uint64_t{0}};
  b.local({&beyond, 1}, of_b);
  for (int i = 0; i < 3; ++i) {
    deliver_all();
    a.tick(of_a);
    b.tick(of_b);
  }
  CHECK(a.of(2)->size() == 1);
  CHECK(a.malformed() > 0);
}

TEST_CASE("what a table has had no memory for is handed over with the next tick, nothing twice") {
  memory_colony c;
  node a(c, 1);
  struct forgetful final : detail::peer_sink {
    void remote_changed(std::span<const detail::replica_change> changes, std::size_t& done) override {
      for (const detail::replica_change& change : changes) {
        if (change.key == "ears" && failures-- > 0) throw std::bad_alloc();
        seen.push_back(change.key);
        ++done;
      }
    }
    void asked_to_remove(std::uint64_t, std::string_view) override {}
    void signal_for_group(std::string_view, detail::arrived_signal&) override {}
    void signal_for_cell(std::uint64_t, detail::arrived_signal&) override {}
    int failures = 2;
    names seen;
  } sink;
  for (const char* group : {"arms", "ears", "eyes"}) a.joined(group);
  const auto net = c.add(2);
  auto link = detail::peer_link::open(*net, "pg/scope", 7, sink);
  c.connect(1, 2);
  for (int i = 0; i < 2; ++i) {
    try {
      c.pump();
      c.tick();
    } catch (const std::bad_alloc&) {
    }
  }
  c.pump();
  c.tick();
  CHECK(sink.failures < 0);
  CHECK(sink.seen == names{"arms", "ears", "eyes"});
  link.reset();
}

TEST_CASE("after a claim of the latest time names are still given, found and taken over") {
  memory_colony c;
  node a(c, 1);
  node b(c, 2);
  auto at_a = *registry::open(a.rt, "names", {.end_loser = false});
  auto at_b = *registry::open(b.rt, "names", {.end_loser = false});
  // What a scope says that has heard of such a claim.
  detail::replica_effects fx;
  struct liar final : detail::peer_listener {
    void peer_up(const detail::peer& who) override {
      detail::replica_effects all;
      says.peer_up(who, all);
      send(all);
    }
    void peer_down(const detail::peer&) override {}
    void received(const detail::peer& from, std::span<const std::byte> bytes) override {
      detail::replica_effects all;
      says.received(from, bytes, all);
      send(all);
    }
    void tick(std::uint64_t) override {}
    void send(const detail::replica_effects& all) const {
      for (const auto& f : all.sends) static_cast<void>(channel->send(f.to, *f.bytes));
    }
    detail::replica says{99, {}};
    std::unique_ptr<detail::peer_channel> channel;
  } third;
  const detail::replica_op latest{true, "other", 1, ~std::uint64_t{0} >> 1u};
  third.says.local({&latest, 1}, fx);
  const auto net = c.add(3);
  third.channel = net->open("names/names", third);
  c.connect(1, 2);
  c.connect(1, 3);
  c.connect(2, 3);
  c.pump();
  REQUIRE(at_a.find("other"));
  c.split(1, 2);
  c.pump();
  const auto x = a.rt.spawn<resident>();
  const auto y = b.rt.spawn<resident>();
  REQUIRE(at_a.add("heart", x));
  REQUIRE(at_b.add("heart", y));
  c.connect(1, 2);
  c.pump();
  // Of the same time now: the higher node keeps it.
  CHECK(*at_b.find("heart") == member(y));
  CHECK(at_a.find("heart")->node() == node_id{2});
  third.channel.reset();
}
