// SPDX-License-Identifier: Apache-2.0
// Groups and names between real nodes: over ZeroMQ, processes that are killed; and over a transport that is cut and joined.
#include <algorithm>
#include <array>
#include <mutex>
#include <numeric>
#include <vector>

#include "support/catch.hpp"
#include "support/child_program.hpp"
#include "support/temporary_tree.hpp"
#include "unit/discover/discover_testing.hpp"
#include "unit/nerve/nerve_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using karyon::detail::link_loss;

namespace {

node_options at(const std::string& name, const std::string& endpoint, const std::vector<std::string>& called = {}) {
  node_options o{.name = name};
  o.synapse.listen = {endpoint};
  o.synapse.silence_max = std::chrono::seconds(20);
  o.synapse.handshake = std::chrono::seconds(10);
  for (const std::string& c : called) o.synapse.peers.push_back({c, ""});
  return o;
}

/// A runtime with groups and names of the scope that the helper has as well.
struct dwelling {
  dwelling() : rt(quiet(1)), groups(*process_groups::open(rt, "scope")), names(*registry::open(rt, "scope")) {}
  [[nodiscard]] std::size_t members(std::string_view group) const { return groups.members(group).size(); }
  ref<resident> joined(std::string_view group) {
    const auto r = rt.spawn<resident>();
    REQUIRE(groups.join(group, r));
    return r;
  }
  runtime rt;
  process_groups groups;
  registry names;
};

/// Two nodes over wires; scopes are opened by the test.
struct two_dwellings : two_nodes {
  two_dwellings() : two_nodes() {}
  explicit two_dwellings(const node_options& for_b) : two_nodes({.name = "a"}, for_b) {}
};

}  // namespace

TEST_CASE("what joins and is named in one process is seen in the others, and is gone when that process is killed") {
  temporary_tree tree;
  const std::string at_a = "ipc://" + tree.path("n/a");
  const std::string at_b = "ipc://" + tree.path("n/b");
  const std::string at_c = "ipc://" + tree.path("n/c");
  dwelling a;
  dwelling b;
  const node node_a(a.rt, at("a", at_a));
  const node node_b(b.rt, at("b", at_b, {at_a}));
  child_program c({SERVICES_HELPER, "c", at_c, at_a, at_b});
  REQUIRE(c.line() == "ready");
  const auto mine = a.joined("eyes");
  CHECK(c.ask("join eyes") == "ok");
  CHECK(c.ask("name heart") == "ok");
  CHECK(eventually([&] { return a.members("eyes") == 2 && b.members("eyes") == 2 && c.ask("count eyes") == "2"; }));
  REQUIRE(eventually([&] { return a.names.find("heart").has_value() && b.names.find("heart").has_value(); }));
  CHECK_FALSE(a.names.find("heart")->local());
  const auto other = a.rt.spawn<resident>();
  CHECK(a.names.add("heart", other).error().code() == errc::already_present);
  c.kill();
  CHECK(eventually([&] { return a.members("eyes") == 1 && b.members("eyes") == 1; }));
  CHECK(eventually([&] { return !a.names.find("heart") && !b.names.find("heart"); }));
  CHECK(a.names.add("heart", other));
  CHECK(eventually([&] { return b.names.find("heart").has_value(); }));
  child_program again({SERVICES_HELPER, "c", at_c, at_a, at_b});
  REQUIRE(again.line() == "ready");
  CHECK(eventually([&] { return again.ask("count eyes") == "1"; }));
  CHECK(eventually([&] { return again.ask("owner heart") != "nobody"; }));
  REQUIRE(a.groups.leave("eyes", mine));
  CHECK(eventually([&] { return b.members("eyes") == 0 && again.ask("count eyes") == "0"; }));
}

TEST_CASE("while a link is cut each node has its own members, and both have all when it is back") {
  two_dwellings t;
  auto at_a = *process_groups::open(t.rt_a, "scope");
  auto at_b = *process_groups::open(t.rt_b, "scope");
  const auto join = [](runtime& rt, process_groups& g, const char* group) {
    REQUIRE(g.join(group, rt.spawn<resident>()));
  };
  join(t.rt_a, at_a, "eyes");
  join(t.rt_b, at_b, "eyes");
  const auto both_have = [&](std::size_t n) {
    return eventually([&] { return at_a.members("eyes").size() == n && at_b.members("eyes").size() == n; });
  };
  CHECK(both_have(2));
  t.net.cut(t.a, t.b, link_loss::unreachable);
  CHECK(both_have(1));
  join(t.rt_a, at_a, "eyes");
  join(t.rt_b, at_b, "eyes");
  CHECK(both_have(2));
  t.net.connect(t.a, t.b);
  CHECK(both_have(4));
  CHECK(at_a.local_members("eyes").size() == 2);
}

TEST_CASE("a conflict that nodes find when they meet is decided by the callback, and by the rule where that throws") {
  two_dwellings t;
  registry_options options;
  options.end_loser = false;
  options.on_conflict = [](std::string_view name, const name_claim& x, const name_claim& y) {
    if (name == "thrown") throw std::runtime_error("as told");
    return x.node < y.node ? name_winner::first : name_winner::second;
  };
  auto at_a = *registry::open(t.rt_a, "scope", options);
  auto at_b = *registry::open(t.rt_b, "scope", options);
  t.net.cut(t.a, t.b, link_loss::unreachable);
  const auto x = t.rt_a.spawn<resident>();
  const auto y = t.rt_b.spawn<resident>();
  for (const char* name : {"chosen", "thrown"}) {
    REQUIRE(at_a.add(name, x));
    REQUIRE(at_b.add(name, y));
  }
  t.net.connect(t.a, t.b);
  const auto settled = [&](const char* name) {
    return at_a.find(name).has_value() && at_b.find(name).has_value() &&
           at_a.find(name)->local() != at_b.find(name)->local();
  };
  CHECK(eventually([&] { return settled("chosen") && settled("thrown"); }));
  CHECK(eventually([&] { return at_a.metrics().lost + at_b.metrics().lost == 2; }));
  CHECK(eventually([&] { return at_a.metrics().callback_failures + at_b.metrics().callback_failures >= 1; }));
}

TEST_CASE("more members than a peer takes at a time arrive whole, also while others come and go") {
  two_dwellings t;
  t.net.cut(t.a, t.b, link_loss::unreachable);
  auto at_a = *process_groups::open(t.rt_a, "scope");
  auto at_b = *process_groups::open(t.rt_b, "scope");
  constexpr std::size_t n = 2000;
  std::vector<cell_ref> cells;
  std::vector<member> all;
  for (std::size_t i = 0; i < n; ++i) {
    const auto one = t.rt_a.spawn<resident>();
    cells.emplace_back(one);
    all.emplace_back(one);
  }
  for (int i = 0; i < 20; ++i) REQUIRE(at_a.join("group " + std::to_string(i), all));
  t.net.grant(4);  // all of it are some 40 frames
  t.net.connect(t.a, t.b);
  const auto late = t.rt_a.spawn<resident>();
  for (int i = 0; i < 20; ++i) {
    REQUIRE(at_a.join("group 0", late));
    REQUIRE(at_a.leave("group 0", late));
  }
  CHECK(eventually([&] {
    for (int i = 0; i < 20; ++i) {
      if (at_b.members("group " + std::to_string(i)).size() != n) return false;
    }
    return true;
  }));
  CHECK(eventually([&] { return at_b.members("group 0").size() == n; }));
  // Here, where it may take its time: a runtime whose cells do not end soon enough leaves them behind.
  for (const cell_ref& c : cells) t.rt_a.exit(c, exit_reason::killed());
  CHECK(eventually([&] {
    for (int i = 0; i < 20; ++i) {
      if (!at_b.members("group " + std::to_string(i)).empty()) return false;
    }
    return true;
  }));
  CHECK(eventually(
      [&] { return std::none_of(cells.begin(), cells.end(), [](const cell_ref& c) { return c.alive(); }); }));
}

TEST_CASE("a node that is made after another of its runtime has ended goes on with its groups") {
  temporary_tree tree;
  const std::string at_a = "ipc://" + tree.path("n/a");
  dwelling a;
  dwelling b;
  const node node_a(a.rt, at("a", at_a));
  a.joined("eyes");
  b.joined("eyes");
  for (const char* name : {"b", "bb"}) {
    const node here(b.rt, at(name, "ipc://" + tree.path(std::string("n/") + name), {at_a}));
    CHECK(eventually([&] { return a.members("eyes") == 2 && b.members("eyes") == 2; }));
    CHECK(here.stats().service_sent > 0);
    CHECK(here.stats().service_failures == 0);
  }
  CHECK(eventually([&] { return a.members("eyes") == 1 && b.members("eyes") == 1; }));
}

namespace {

struct rumour {
  std::string text;
  std::vector<std::int32_t> numbers;
};
KARYON_SIGNAL(rumour, text, numbers)
struct at_home {
  int number = 0;
};

struct heard {
  std::atomic<int> rumours{0};
  std::atomic<int> numbers{0};
};

class hearer : public cell {
public:
  using accepts = signals<rumour, at_home>;
  explicit hearer(heard& h) : heard_(&h) {}
  void on(const rumour& r) {
    for (const std::int32_t n : r.numbers) heard_->numbers += n;
    ++heard_->rumours;
  }
  void on(at_home) { ++heard_->rumours; }

private:
  heard* heard_;
};
class deaf : public cell {
public:
  using accepts = signals<quit>;
  void on(quit) {}
};

/// Two nodes whose scopes know each other, and what the cells of each have heard.
struct gossips : two_dwellings {
  explicit gossips(std::string_view scope = "scope")
      : at_a(*process_groups::open(rt_a, scope)), at_b(*process_groups::open(rt_b, scope)) {}
  ref<hearer> join_a(std::string_view group) {
    const auto r = rt_a.spawn<hearer>(heard_a);
    REQUIRE(at_a.join(group, r));
    return r;
  }
  ref<hearer> join_b(std::string_view group) {
    const auto r = rt_b.spawn<hearer>(heard_b);
    REQUIRE(at_b.join(group, r));
    return r;
  }
  [[nodiscard]] bool both_know(std::string_view group, std::size_t n) const {
    return eventually([&] { return at_a.members(group).size() == n && at_b.members(group).size() == n; });
  }
  // The cells refer to these, and end with the runtimes of the base: they must outlive them.
  static inline heard heard_a;
  static inline heard heard_b;
  process_groups at_a;
  process_groups at_b;
};

}  // namespace

TEST_CASE("a send to a group reaches the members of other nodes with one frame a node") {
  gossips t;
  t.heard_a.rumours = t.heard_b.rumours = t.heard_b.numbers = 0;
  t.join_a("eyes");
  const auto twice = t.join_b("eyes");
  REQUIRE(t.at_b.join("eyes", twice));
  for (int i = 0; i < 8; ++i) t.join_b("eyes");
  REQUIRE(t.at_b.join("eyes", t.rt_b.spawn<deaf>()));
  REQUIRE(t.both_know("eyes", 12));
  const group_sent sent = t.at_a.send("eyes", rumour{"it is said", {1, 2}});
  CHECK(sent.accepted == 1);
  CHECK(sent.refused == 0);
  CHECK(sent.nodes_accepted == 1);
  CHECK(sent.nodes_refused == 0);
  CHECK(eventually([&] { return t.heard_a.rumours == 1 && t.heard_b.rumours == 10; }));
  CHECK(t.heard_b.numbers == 30);
  CHECK(eventually([&] { return t.b.stats().scope_delivered == 10; }));
  CHECK(eventually([&] { return t.b.stats().scope_undelivered == 1; }));  // counted behind those that were delivered
  CHECK(t.b.stats().scope_received == 1);
  CHECK(t.b.stats().scope_lost == 0);
  CHECK(t.a.stats().scope_sent == 1);
  CHECK(t.at_a.send_local("eyes", rumour{"here alone", {}}).nodes_accepted == 0);
  CHECK(eventually([&] { return t.heard_a.rumours == 2; }));
  CHECK(t.a.stats().scope_sent == 1);
}

TEST_CASE("a send to a group says which nodes were not sent to: type not declared, value too large, link lost") {
  gossips t;
  t.join_b("eyes");
  REQUIRE(t.both_know("eyes", 1));
  CHECK(t.at_a.send("eyes", at_home{1}).nodes_refused == 1);
  CHECK(t.at_a.send("eyes", rumour{std::string(std::size_t{2} << 20U, 'x'), {}}).nodes_refused == 1);
  t.net.grant(0);
  CHECK(t.at_a.send("eyes", rumour{}).nodes_refused == 1);
  t.net.grant(1'000'000);
  CHECK(t.a.stats().scope_refused == 3);
  CHECK(t.at_a.send("eyes", rumour{}).nodes_accepted == 1);
  t.net.cut(t.a, t.b, link_loss::unreachable);
  // Until the scope has heard of it the node is refused, and then there is none.
  CHECK(t.at_a.send("eyes", rumour{}).nodes_accepted == 0);
  CHECK(eventually([&] { return t.at_a.members("eyes").empty(); }));
  CHECK(t.at_a.send("eyes", rumour{}).nodes_refused == 0);
}

TEST_CASE("a member that is picked on another node can be sent to, until it leaves") {
  gossips t;
  t.heard_a.rumours = t.heard_b.rumours = 0;
  const auto there = t.join_b("eyes");
  REQUIRE(t.both_know("eyes", 1));
  CHECK(t.at_a.pick_local("eyes").error().code() == errc::not_found);
  for (const pick_by how : {pick_by::random, pick_by::round_robin, pick_by::least_loaded, pick_by::nearest}) {
    const member m = t.at_a.pick("eyes", how).value();
    CHECK_FALSE(m.local());
    CHECK(m.send(rumour{"to one", {}}) == send_result::accepted);
    CHECK(m.send(at_home{}) == send_result::not_declared);
  }
  CHECK(eventually([&] { return t.heard_b.rumours == 4; }));
  const member m = t.at_a.pick("eyes").value();
  const auto here = t.join_a("eyes");
  CHECK(t.at_a.pick("eyes", pick_by::least_loaded).value() == member(here));
  CHECK(t.at_a.pick("eyes", pick_by::nearest).value() == member(here));
  const member one = t.at_a.pick("eyes", pick_by::round_robin).value();
  const member other = t.at_a.pick("eyes", pick_by::round_robin).value();
  CHECK(one.local() != other.local());
  bool far = false;
  bool near = false;
  for (int i = 0; i < 200; ++i) (t.at_a.pick("eyes")->local() ? near : far) = true;
  CHECK((far && near));
  // It stays a cell of b, and has nothing in the scope any more.
  REQUIRE(t.at_b.leave("eyes", there));
  CHECK(m.send(rumour{"too late", {}}) == send_result::accepted);
  CHECK(eventually([&] { return t.b.stats().scope_undelivered == 1; }));
  CHECK(t.heard_b.rumours == 4);
  t.net.cut(t.a, t.b, link_loss::died);
  CHECK(m.send(rumour{"nobody there", {}}) == send_result::peer_down);
  t.at_a.stop();
  CHECK(m.send(rumour{"no scope", {}}) == send_result::closed);
}

TEST_CASE("a cell that was found by its name on another node can be sent to, in each of its lives as a role") {
  gossips t("names");
  t.heard_b.rumours = 0;
  auto at_a = *registry::open(t.rt_a, "names");
  auto at_b = *registry::open(t.rt_b, "names");
  auto tissue = t.rt_b.supervise({});
  const auto heart = tissue.start<hearer>(std::ref(t.heard_b));
  REQUIRE(at_b.add("heart", heart));
  REQUIRE(eventually([&] { return at_a.find("heart").has_value(); }));
  const member m = at_a.find("heart").value();
  CHECK(m.send(rumour{"first life", {}}) == send_result::accepted);
  CHECK(eventually([&] { return t.heard_b.rumours == 1; }));
  const cell_ref before = heart.get();
  t.rt_b.exit(before, exit_reason::killed());
  REQUIRE(eventually([&] { return heart.get() && !(cell_ref(heart.get()) == before); }));
  // Between two lives it is refused there.
  CHECK(eventually([&] { return ok(m.send(rumour{"second life", {}})) && t.heard_b.rumours > 1; }));
}

TEST_CASE("a node is not made with frames too small for groups and names: the error names the field") {
  runtime rt(quiet(1));
  const auto why = [&rt](const node_options& o) -> std::string {
    try {
      const node made(rt, o);
    } catch (const runtime_error& e) {
      return e.why().code() == errc::invalid_argument ? e.why().message() : "another error";
    }
    return "none";
  };
  CHECK(why({.name = "a", .frame_bytes_max = 519}).find("node_options::frame_bytes_max") != std::string::npos);
  CHECK(why({.name = "a", .frame_bytes_max = 520}) == "none");
  node_options listens{.name = "a"};
  temporary_tree tree;
  listens.synapse.listen = {"ipc://" + tree.path("n/a")};
  listens.synapse.frame_bytes_max = 519;
  CHECK(why(listens).find("synapse_options::frame_bytes_max") != std::string::npos);
}

namespace {

struct no_port final : detail::service_port {
  [[nodiscard]] detail::peer_id self() const noexcept override { return {1, 1}; }
  [[nodiscard]] std::size_t payload_bytes_max() const noexcept override { return 4096; }
  [[nodiscard]] std::vector<std::string> endpoints() const override { return {}; }
  void call(const std::string&, const std::optional<detail::curve_key>&) override {}
  [[nodiscard]] std::optional<detail::curve_key> public_key() const override { return std::nullopt; }
  [[nodiscard]] bool allows(const detail::curve_key&, std::uint64_t) const override { return false; }
  [[nodiscard]] detail::frame_fate send_service(const detail::peer_id&, std::uint8_t,
                                                std::span<const std::byte>) noexcept override {
    return detail::frame_fate::no_route;
  }
  void send_service_signal(std::span<const detail::peer>, std::uint8_t, std::span<const std::byte>,
                           const detail::signal&, std::span<detail::peer_fate>) override {}
  [[nodiscard]] detail::signal* read_service_signal(const detail::peer_id&, std::uint16_t, std::span<const std::byte>,
                                                    const detail::wire_type*&) override {
    return nullptr;
  }
};

/// Throws as often as it is told to, when somebody is up or down.
struct hard_of_hearing final : detail::peer_listener {
  void peer_up(const detail::peer&) override { hear(up); }
  void peer_down(const detail::peer&) override {
    if (!downs_fail) return static_cast<void>(++down);
    hear(down);
  }
  void received(const detail::peer&, std::span<const std::byte> bytes) override {
    const std::lock_guard lock(mutex_);
    heard_.push_back(std::to_integer<std::uint8_t>(bytes[0]));
  }
  void tick(std::uint64_t) override {}
  void hear(std::atomic<int>& what) {
    if (failures-- > 0) throw std::bad_alloc();
    ++what;
  }
  std::atomic<int> failures{2};
  std::atomic<bool> downs_fail{true};
  std::atomic<int> up{0};
  std::atomic<int> down{0};
  [[nodiscard]] std::vector<std::uint8_t> heard() const {
    const std::lock_guard lock(mutex_);
    return heard_;
  }

private:
  mutable std::mutex mutex_;
  std::vector<std::uint8_t> heard_;
};

struct hearing {
  hearing() {
    REQUIRE(services.attach(port));
    channel = services.open("hearing", listener);
  }
  ~hearing() {
    channel.reset();
    services.detach();
  }
  void say(const detail::peer_id& from, std::uint8_t what, std::uint8_t flags = 0) {
    std::array<std::byte, 9> frame{};
    const std::uint64_t hash = detail::wire_hash("hearing");
    for (std::size_t i = 0; i < 8; ++i) frame[i] = static_cast<std::byte>(hash >> (8 * i));
    frame[8] = static_cast<std::byte>(what);
    detail::frame_header header;
    header.flags = flags;
    services.received(from, header, frame);
  }
  no_port port;
  hard_of_hearing listener;
  detail::node_services services;
  std::unique_ptr<detail::peer_channel> channel;
};

}  // namespace

TEST_CASE("a service that could not take in who is up or down is told again") {
  hearing h;
  h.services.link_up({2, 1});
  CHECK(eventually([&] { return h.listener.up == 1; }));
  h.listener.failures = 2;
  h.services.link_down({2, 1});
  CHECK(eventually([&] { return h.listener.down == 1; }));
  CHECK(h.listener.up == 1);
}

TEST_CASE("a service that could not take in that a peer is up is told when that is over") {
  hearing h;
  h.listener.failures = 1'000'000;
  h.services.link_up({2, 1});
  REQUIRE(eventually([&] { return h.listener.failures < 1'000'000; }));
  h.listener.downs_fail = false;
  h.services.link_down({2, 1});
  CHECK(eventually([&] { return h.listener.down == 1; }));
  CHECK(h.listener.up == 0);
}

TEST_CASE("what a peer sends waits, in its order and bounded, until its service could be told that it is up") {
  hearing h;
  h.listener.failures = 1'000'000;
  h.services.link_up({2, 1});
  for (std::uint8_t i = 1; i <= 50; ++i) h.say({2, 1}, i);
  REQUIRE(eventually([&] { return h.listener.failures < 1'000'000 - 3; }));
  CHECK(h.listener.heard() == std::vector<std::uint8_t>{});
  h.listener.failures = 0;
  std::vector<std::uint8_t> all(50);
  std::iota(all.begin(), all.end(), std::uint8_t{1});
  CHECK(eventually([&] { return h.listener.heard() == all; }));
  CHECK(h.services.stats().dropped == 0);

  // Neither what was sent on a link that ended meanwhile, nor more than there is room for.
  h.listener.failures = 1'000'000;
  h.services.link_down({2, 1});
  h.services.link_up({2, 1});
  for (int i = 0; i < 100; ++i) h.say({2, 1}, 51);
  h.services.link_down({2, 1});
  h.services.link_up({2, 1});
  constexpr int many = 100'000;
  for (int i = 0; i < many; ++i) h.say({2, 1}, 52);
  REQUIRE(eventually([&] { return h.services.stats().dropped > many / 2; }));
  h.listener.failures = 0;
  CHECK(eventually([&] { return h.listener.heard().size() > 50; }));
  CHECK(eventually([&] { return h.listener.heard().size() + h.services.stats().dropped == 50 + 100 + many; }));
  const auto heard = h.listener.heard();
  CHECK(std::count(heard.begin(), heard.end(), 51) == 0);
}

TEST_CASE("a peer whose frames wait without end leaves room for those of others that are not told of either") {
  hearing h;
  h.listener.failures = 1'000'000;
  h.services.link_up({2, 1});
  h.services.link_up({3, 1});
  h.services.link_up({4, 1});
  constexpr std::uint64_t many = 20'000;  // twice as many as have room, of each
  for (const std::uint64_t node : {std::uint64_t{2}, std::uint64_t{3}}) {
    for (std::uint64_t i = 0; i < many; ++i) h.say({node, 1}, static_cast<std::uint8_t>(node));
  }
  REQUIRE(eventually([&] { return h.services.stats().dropped > many; }));
  for (int i = 0; i < 50; ++i) h.say({4, 1}, 4);
  h.listener.failures = 0;
  const auto heard_of = [&h](std::uint8_t whose) {
    const auto heard = h.listener.heard();
    return std::count(heard.begin(), heard.end(), whose);
  };
  CHECK(eventually([&] { return heard_of(4) == 50; }));
  CHECK(heard_of(3) > 1000);
}

TEST_CASE("what comes for a group is counted where nobody can take it, and harms nothing") {
  gossips t;
  t.join_b("eyes");
  REQUIRE(t.both_know("eyes", 1));
  detail::node_core& core = detail::node_access::core(t.a);
  const detail::peer_id to = detail::node_access::core(t.b).self();
  const auto says = [&](std::uint8_t flags, std::vector<std::uint8_t> behind, std::string_view service) {
    std::vector<std::byte> frame;
    const std::uint64_t hash = detail::wire_hash(service);
    for (int i = 0; i < 8; ++i) frame.push_back(static_cast<std::byte>(hash >> (8 * i)));
    for (const std::uint8_t b : behind) frame.push_back(static_cast<std::byte>(b));
    return core.send_service(to, flags, frame) == detail::frame_fate::accepted;
  };
  CHECK(says(2, {}, "pg/scope"));                      // no length
  CHECK(says(2, {5, 0, 1}, "pg/scope"));               // less than it says
  CHECK(says(2, {2, 0, 1, 'x', 0x90}, "pg/scope"));    // of a type that nobody has
  CHECK(says(2, {2, 0, 1, 'x', 0x90}, "pg/nowhere"));  // for a scope that is not there
  CHECK(eventually([&] { return t.b.stats().scope_lost == 4; }));
  CHECK(t.b.stats().scope_received == 4);
  CHECK(t.at_a.send("eyes", rumour{}).nodes_accepted == 1);
  CHECK(eventually([&] { return t.b.stats().scope_delivered == 1; }));
}

TEST_CASE("a scope that is opened late is found, and one that is stopped is gone from other nodes") {
  two_dwellings t;
  auto at_a = *process_groups::open(t.rt_a, "late");
  REQUIRE(at_a.join("eyes", t.rt_a.spawn<resident>()));
  auto at_b = *process_groups::open(t.rt_b, "late");
  CHECK(eventually([&] { return at_b.members("eyes").size() == 1; }));
  at_a.stop();
  CHECK(eventually([&] { return at_b.members("eyes").empty(); }));
}
