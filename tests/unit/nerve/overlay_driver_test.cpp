// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>

#include "nerve/overlay_bus.hpp"
#include "nerve/overlay_discovery.hpp"
#include "nerve/overlay_driver.hpp"
#include "nerve/overlay_wire.hpp"
#include "sched/wait.hpp"
#include "unit/nerve/bus_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace karyon::detail;

namespace {

/// Nodes that send each other frames within this process, by one thread that delivers them.
class town {
public:
  town() : post_([this] { deliver(); }) {}
  ~town() {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    post_.join();
    std::map<std::uint64_t, std::shared_ptr<house>> last;
    {
      const std::lock_guard lock(mutex_);
      last.swap(nodes_);
    }
  }
  town(const town&) = delete;
  town& operator=(const town&) = delete;

  void settle(std::uint64_t n, const std::vector<std::uint64_t>& contacts) {
    auto it = std::make_shared<house>(*this, n);
    overlay_options fast;
    fast.view.heartbeat_ns = 50'000'000;
    fast.view.silence_ns = 1'000'000'000;
    fast.view.shuffle_ns = 200'000'000;
    fast.view.answer_ns = 500'000'000;
    fast.view.rejoin_ns = 300'000'000;
    it->driver = std::make_unique<overlay_driver>(peer_id{n, 1}, fast, it->out, n,
                                                  [this, n](const broadcast_id& id, const std::string&, std::uint8_t) {
                                                    const std::lock_guard lock(heard_mutex_);
                                                    ++heard_[id][n];
                                                    if (n == fails_.load()) throw std::runtime_error("not now");
                                                  });
    for (const std::uint64_t c : contacts) it->driver->learn_contact({c, 1});
    {
      const std::lock_guard lock(mutex_);
      nodes_[n] = it;
    }
    it->driver->start();
  }
  /// Ends it without a word to the others.
  void kill(std::uint64_t n) {
    std::shared_ptr<house> it;
    {
      const std::lock_guard lock(mutex_);
      it = nodes_[n];
      it->out.dead = true;
      nodes_.erase(n);
    }
    while (it.use_count() > 1) std::this_thread::yield();
  }
  /// From now on this node's owner throws whenever a broadcast is delivered to it.
  void let_fail(std::uint64_t n) { fails_.store(n); }
  [[nodiscard]] overlay_driver& at(std::uint64_t n) { return *nodes_.at(n)->driver; }
  [[nodiscard]] bool all_heard(const broadcast_id& id, std::uint64_t but) {
    const std::lock_guard both(mutex_);
    const std::lock_guard lock(heard_mutex_);
    return std::all_of(nodes_.begin(), nodes_.end(),
                       [&](const auto& n) { return n.first == but || heard_[id][n.first] == 1; });
  }
  [[nodiscard]] bool heard_twice() {
    const std::lock_guard lock(heard_mutex_);
    for (const auto& [id, by] : heard_) {
      for (const auto& [n, times] : by) {
        if (times > 1) return true;
      }
    }
    return false;
  }

private:
  struct frame {
    std::uint64_t from;
    std::uint64_t to;
    std::vector<std::byte> payload;
  };
  struct house {
    struct outbox : transport {
      outbox(town& t, std::uint64_t n) : in(t), number(n) {}
      frame_fate send(const peer_id& peer, const frame_header&, std::span<const std::byte> payload) noexcept override {
        const std::lock_guard lock(in.mutex_);
        if (dead || in.nodes_.find(peer.node) == in.nodes_.end()) return frame_fate::peer_down;
        in.frames_.push_back({number, peer.node, {payload.begin(), payload.end()}});
        return frame_fate::accepted;
      }
      town& in;
      const std::uint64_t number;
      std::atomic<bool> dead{false};
    };
    house(town& t, std::uint64_t n) : out(t, n) {}
    outbox out;
    std::unique_ptr<overlay_driver> driver;
  };
  void deliver() {
    while (true) {
      frame f;
      std::shared_ptr<house> to;
      {
        const std::lock_guard lock(mutex_);
        if (ended_) return;
        if (!frames_.empty()) {
          f = std::move(frames_.front());
          frames_.pop_front();
          const auto found = nodes_.find(f.to);
          if (found != nodes_.end()) to = found->second;
        }
      }
      if (to != nullptr) {
        to->driver->received({f.from, 1}, f.payload);
      } else {
        std::this_thread::yield();
      }
    }
  }
  std::mutex mutex_;
  std::map<std::uint64_t, std::shared_ptr<house>> nodes_;  // mutex_
  std::deque<frame> frames_;                               // mutex_
  bool ended_ = false;                                     // mutex_
  std::mutex heard_mutex_;
  std::map<broadcast_id, std::map<std::uint64_t, int>> heard_;  // heard_mutex_
  std::atomic<std::uint64_t> fails_{0};
  std::thread post_;
};

}  // namespace

TEST_CASE("an owner that throws at a delivery is counted, and keeps nobody from hearing the next broadcast") {
  town t;
  t.settle(1, {});
  t.let_fail(2);
  for (std::uint64_t n = 2; n <= 4; ++n) t.settle(n, {1});
  const auto reaches_all = [&](std::uint64_t from) {
    return eventually([&] {
      const broadcast_id id = t.at(from).broadcast("hello");
      return poll_until([&] { return t.all_heard(id, from); }, deadline_in(3'000'000'000));
    });
  };
  CHECK(reaches_all(1));
  CHECK(reaches_all(3));
  CHECK(reaches_all(2));
  CHECK(t.at(2).failed() >= 2);
  CHECK(t.at(3).failed() == 0);
}

TEST_CASE("forty nodes hear each other's broadcasts once, also when half of them are killed") {
  town t;
  t.settle(1, {});
  // Two contacts, one of which lives on: they are killed a moment after they have joined, when one may know none but those that die.
  for (std::uint64_t n = 2; n <= 40; ++n) t.settle(n, {1, 40});
  // Joining takes a moment: until one is heard by all.
  const auto reaches_all = [&](std::uint64_t from) {
    return eventually([&] {
      const broadcast_id id = t.at(from).broadcast("hello");
      return poll_until([&] { return t.all_heard(id, from); }, deadline_in(3'000'000'000));
    });
  };
  CHECK(reaches_all(7));
  for (std::uint64_t n = 1; n <= 20; ++n) t.kill(n);
  CHECK(reaches_all(33));
  CHECK_FALSE(t.heard_twice());
  CHECK(t.at(33).neighbors().size() <= 5);
  CHECK_FALSE(t.at(33).received({34, 1}, std::as_bytes(std::span("nonsense"))));
  CHECK(t.at(33).malformed() == 1);
}

TEST_CASE("an overlay's message is read as it was written, and nothing that is none") {
  overlay_message m;
  m.what = overlay_message::kind::shuffle;
  m.ttl = 3;
  m.who = {5, 6};
  m.peers = {{1, 2}, {3, 4}};
  const auto bytes = encode_overlay(m);
  overlay_message r;
  REQUIRE(decode_overlay(bytes, r));
  CHECK(r.what == m.what);
  CHECK(r.ttl == 3);
  CHECK(r.who == m.who);
  CHECK(r.peers == m.peers);
  for (std::size_t n = 0; n < bytes.size(); ++n) CHECK_FALSE(decode_overlay(std::span(bytes).first(n), r));
  auto longer = bytes;
  longer.push_back({});
  CHECK_FALSE(decode_overlay(longer, r));
  auto wrong = bytes;
  wrong[1] = std::byte{200};
  CHECK_FALSE(decode_overlay(wrong, r));
  wrong = bytes;
  wrong[37] = std::byte{255};
  CHECK_FALSE(decode_overlay(wrong, r));
  m.what = overlay_message::kind::gossip;
  m.id = {7, 8};
  m.payload = std::make_shared<const std::string>("payload");
  REQUIRE(decode_overlay(encode_overlay(m), r));
  CHECK(*r.payload == "payload");
  CHECK(r.id == m.id);
}

TEST_CASE("a delivery that throws is counted, and those that follow are delivered") {
  struct nowhere final : transport {
    frame_fate send(const peer_id&, const frame_header&, std::span<const std::byte>) noexcept override {
      return frame_fate::accepted;
    }
  } out;
  int delivered = 0;
  overlay_driver d({1, 1}, {}, out, 1, [&](const broadcast_id&, const std::string& payload, std::uint8_t) {
    if (payload == "bad") throw std::runtime_error("as told");
    ++delivered;
  });
  overlay_message m;
  m.what = overlay_message::kind::gossip;
  for (const char* payload : {"bad", "good"}) {
    m.id = {2, m.id.sequence + 1};
    m.payload = std::make_shared<const std::string>(payload);
    CHECK(d.received({2, 1}, encode_overlay(m)));
  }
  CHECK(d.failed() == 1);
  CHECK(delivered == 1);
}

TEST_CASE("a broadcast of another compartment keeps its id, and is delivered once whoever brings it") {
  overlay_effects effects;
  plumtree_options of_south;
  of_south.compartment = 7;
  plumtree north({1, 1}, {});
  plumtree south({1, 1}, of_south);
  const auto payload = std::make_shared<const std::string>("hello");
  // The same node in two compartments: what it has said in one is not what it has said in the other.
  const broadcast_id there = north.broadcast(payload, 1, effects);
  const broadcast_id here = south.broadcast(payload, 1, effects);
  CHECK(there.sequence == here.sequence);
  CHECK(there.origin != here.origin);

  south.neighbor_up({2, 1}, 1, effects);
  effects.clear();
  CHECK(south.hand_on(there, payload, 2, effects));
  REQUIRE(effects.deliveries.size() == 1);
  CHECK(effects.deliveries[0].id == there);
  REQUIRE(effects.sends.size() == 1);
  CHECK(effects.sends[0].what.what == overlay_message::kind::gossip);
  CHECK(effects.sends[0].what.id == there);
  // Neither by another gateway of this node, nor by one elsewhere in the compartment.
  effects.clear();
  CHECK_FALSE(south.hand_on(there, payload, 3, effects));
  overlay_message again;
  again.what = overlay_message::kind::gossip;
  again.id = there;
  again.payload = payload;
  south.receive({2, 1}, again, 4, effects);
  CHECK(effects.deliveries.empty());
  // What has come by gossip is not handed on; nor is what the node has said here itself.
  again.id.sequence += 1;
  south.receive({2, 1}, again, 5, effects);
  REQUIRE(effects.deliveries.size() == 1);
  effects.clear();
  CHECK_FALSE(south.hand_on(again.id, payload, 6, effects));
  CHECK_FALSE(south.hand_on(here, payload, 6, effects));
  CHECK(effects.deliveries.empty());
  CHECK(effects.sends.empty());
  // Who has missed it gets it when it asks.
  overlay_message graft;
  graft.what = overlay_message::kind::graft;
  graft.id = there;
  south.receive({2, 1}, graft, 7, effects);
  REQUIRE(effects.sends.size() == 1);
  CHECK(*effects.sends[0].what.payload == "hello");
}

TEST_CASE("a link is pruned where a broadcast comes twice in one wave, not where two gateways' waves meet") {
  overlay_effects effects;
  plumtree tree({1, 1}, {});
  for (std::uint64_t n = 2; n <= 4; ++n) tree.neighbor_up({n, 1}, 1, effects);
  const auto payload = std::make_shared<const std::string>("hello");
  const auto hear = [&](std::uint64_t from, const peer_id& wave, std::uint64_t sequence) {
    overlay_message m;
    m.what = overlay_message::kind::gossip;
    m.who = wave;
    m.id = {99, sequence};
    m.payload = payload;
    effects.clear();
    // As it comes from a peer.
    overlay_message arrived;
    REQUIRE(decode_overlay(encode_overlay(m), arrived));
    tree.receive({from, 1}, arrived, 2, effects);
  };
  const auto pruned = [&] {
    return effects.sends.size() == 1 && effects.sends[0].what.what == overlay_message::kind::prune;
  };
  hear(2, {10, 1}, 1);
  REQUIRE(effects.sends.size() == 2);  // to the others, in the wave that it came in
  CHECK(effects.sends[0].what.who == peer_id{10, 1});
  hear(3, {11, 1}, 1);
  CHECK(effects.sends.empty());
  CHECK(tree.eager().size() == 3);
  hear(4, {10, 1}, 1);
  CHECK(pruned());
  CHECK(tree.lazy() == std::vector<peer_id>{{4, 1}});
  // What the node hands on itself comes back from all its neighbours, in waves of others.
  effects.clear();
  CHECK(tree.hand_on({99, 2}, payload, 2, effects));
  REQUIRE_FALSE(effects.sends.empty());
  CHECK(effects.sends[0].what.who == peer_id{1, 1});
  hear(2, {10, 1}, 2);
  hear(3, {11, 1}, 2);
  CHECK(tree.eager().size() == 2);
  // Who asks for it gets it in the wave in which it came here.
  overlay_message graft;
  graft.what = overlay_message::kind::graft;
  graft.id = {99, 1};
  graft.who = {10, 1};
  effects.clear();
  tree.receive({4, 1}, graft, 7, effects);
  REQUIRE(effects.sends.size() == 1);
  CHECK(effects.sends[0].what.who == peer_id{10, 1});
}

TEST_CASE(
    "whatever ids another compartment makes up, who is here is heard, and what comes back by a gateway is not heard "
    "again") {
  overlay_effects effects;
  plumtree_options o;
  o.head_bytes = 2;
  plumtree tree({1, 1}, o);
  tree.neighbor_up({2, 1}, 1, effects);
  const auto hear = [&](overlay_message::kind what, const peer_id& wave, std::uint64_t sequence, const char* payload) {
    overlay_message m;
    m.what = what;
    m.who = wave;
    m.id = {99, sequence};
    if (what == overlay_message::kind::gossip) m.payload = std::make_shared<const std::string>(payload);
    effects.clear();
    overlay_message arrived;
    REQUIRE(decode_overlay(encode_overlay(m), arrived));
    tree.receive({2, 1}, arrived, 2, effects);
    return effects.deliveries.size();
  };
  constexpr auto gossip = overlay_message::kind::gossip;
  const peer_id gateway{10, 1};
  CHECK(hear(gossip, {}, 1, "0.one") == 1);
  // The far end of the window, and the number that comes next.
  CHECK(hear(gossip, gateway, std::uint64_t{1} << 63, "1.forged") == 1);
  CHECK(hear(gossip, gateway, 2, "1.forged") == 0);  // behind the window of what is handed on
  CHECK(tree.hand_on({98, 5}, std::make_shared<const std::string>("1.forged"), 2, effects));
  CHECK(hear(gossip, {}, 2, "0.two") == 1);
  CHECK(hear(gossip, {}, 3, "0.three") == 1);
  // One that a neighbour has is asked for, and so is the real one, and given to who asks, where an id of its own was made up.
  CHECK(hear(overlay_message::kind::have, {}, 4, "") == 0);
  effects.clear();
  tree.tick(10'000'000'000, effects);
  REQUIRE(effects.sends.size() == 1);
  CHECK(effects.sends[0].what.what == overlay_message::kind::graft);
  CHECK(hear(gossip, {}, std::uint64_t{1} << 63, "0.real") == 1);
  CHECK(hear(overlay_message::kind::graft, {}, std::uint64_t{1} << 63, "") == 0);
  REQUIRE(effects.sends.size() == 1);
  CHECK(*effects.sends[0].what.payload == "0.real");
  CHECK(hear(overlay_message::kind::graft, gateway, std::uint64_t{1} << 63, "") == 0);
  REQUIRE(effects.sends.size() == 1);
  CHECK(*effects.sends[0].what.payload == "1.forged");
}

TEST_CASE("what has come by itself is not asked for as a gateway's as well") {
  overlay_effects effects;
  plumtree tree({1, 1}, {});
  for (std::uint64_t n = 2; n <= 3; ++n) tree.neighbor_up({n, 1}, 1, effects);
  overlay_message m;
  m.what = overlay_message::kind::have;
  m.id = {99, 1};
  m.who = {10, 1};  // by a gateway
  tree.receive({2, 1}, m, 2, effects);
  CHECK(tree.next_ns() != ~std::uint64_t{0});
  m.what = overlay_message::kind::gossip;
  m.who = {};
  m.payload = std::make_shared<const std::string>("hello");
  effects.clear();
  tree.receive({3, 1}, m, 3, effects);
  CHECK(effects.deliveries.size() == 1);
  CHECK(tree.next_ns() == ~std::uint64_t{0});
  effects.clear();
  tree.tick(10'000'000'000, effects);
  CHECK(effects.sends.empty());
}

TEST_CASE(
    "a broadcast is taken for one that a gateway has brought only if all that gateways leave as it is, is the same") {
  overlay_effects effects;
  plumtree_options o;
  o.head_bytes = 2;
  o.head_kept = 1;
  plumtree tree({1, 1}, o);
  tree.neighbor_up({2, 1}, 1, effects);
  const auto comes = [&](std::uint64_t sequence, const char* payload) {
    overlay_message m;
    m.what = overlay_message::kind::gossip;
    m.id = {99, sequence};
    m.payload = std::make_shared<const std::string>(payload);
    effects.clear();
    tree.receive({2, 1}, m, 3, effects);
    return effects.deliveries.size();
  };
  CHECK(tree.hand_on({99, 1}, std::make_shared<const std::string>("a1same"), 2, effects));
  CHECK(tree.hand_on({99, 2}, std::make_shared<const std::string>("b1same"), 2, effects));  // another subject's length
  CHECK(comes(1, "a0same") == 0);
  CHECK(comes(2, "a0same") == 1);
}

TEST_CASE("a broadcast that a gateway brings back before it comes by itself is delivered once") {
  overlay_effects effects;
  plumtree_options o;
  o.head_bytes = 2;
  plumtree tree({1, 1}, o);
  for (std::uint64_t n = 2; n <= 3; ++n) tree.neighbor_up({n, 1}, 1, effects);
  overlay_message m;
  m.what = overlay_message::kind::gossip;
  m.id = {99, 1};
  m.payload = std::make_shared<const std::string>("0.same");
  effects.clear();
  CHECK(tree.hand_on(m.id, std::make_shared<const std::string>("2.same"), 2, effects));
  REQUIRE(effects.deliveries.size() == 1);
  effects.clear();
  tree.receive({2, 1}, m, 3, effects);
  CHECK(effects.deliveries.empty());
  CHECK(effects.sends.empty());
  CHECK(tree.duplicates() == 1);
  tree.receive({3, 1}, m, 4, effects);  // a second time in its own wave
  REQUIRE(effects.sends.size() == 1);
  CHECK(effects.sends[0].what.what == overlay_message::kind::prune);
}

TEST_CASE("a node's announcement is read as it was written, and nothing that is none") {
  const node_sighting s{{5, 6}, {"tcp://10.0.0.1:7", "ipc:///tmp/x"}};
  const auto bytes = encode_sighting(s);
  node_sighting r;
  REQUIRE(decode_sighting(bytes, r));
  CHECK(r.who == s.who);
  CHECK(r.endpoints == s.endpoints);
  for (std::size_t n = 0; n < bytes.size(); ++n) CHECK_FALSE(decode_sighting(std::span(bytes).first(n), r));
  auto longer = bytes;
  longer.push_back({});
  CHECK_FALSE(decode_sighting(longer, r));
  for (std::size_t at = 0; at < 4; ++at) {
    auto wrong = bytes;
    wrong[at] = std::byte{99};
    CHECK_FALSE(decode_sighting(wrong, r));
  }
  const auto refused = [&](const node_sighting& forged) { return !decode_sighting(encode_sighting(forged), r); };
  CHECK(refused({{5, 6}, {}}));
  CHECK(refused({{0, 6}, s.endpoints}));
  CHECK(refused({{5, 0}, s.endpoints}));
  CHECK(refused({{5, latest_incarnation() + 1'000'000'000}, s.endpoints}));  // would keep out its real lives
  CHECK(refused({{5, 6}, {"tcp://0.0.0.0:7"}}));
  CHECK(refused({{5, 6}, {"tcp://10.0.0.1:7", "tcp://[::]:7"}}));
  CHECK(refused({{5, 6}, {"tcp://10.0.0.1:7\n"}}));
  CHECK(refused({{5, 6}, {std::string("ipc://a\0", 8)}}));
  // Names would have to be looked up by whoever calls.
  for (const char* none : {"a", "ipc://", "tcp://", "tcp://host.example:7", "tcp://localhost:7", "tcp://10.0.0.1",
                           "tcp://10.0.0:7", "tcp://10.0.0.1:", "tcp://10.0.0.1:0", "tcp://10.0.0.1:65536",
                           "tcp://10.0.0.1:7x", "tcp://::1:7", "tcp://[host]:7", "tcp://[fe80::1%eth0]:7",
                           "tcp://[0::0]:7", "tcp://eth0;10.0.0.1:7", "udp://10.0.0.1:7", "ipc://*"}) {
    INFO(none);
    CHECK(refused({{5, 6}, {none}}));
  }
  for (const char* good :
       {"tcp://10.0.0.1:65535", "tcp://[::1]:7", "tcp://[2001:db8::7]:1", "ipc:///run/x", "ipc://@x"}) {
    INFO(good);
    CHECK_FALSE(refused({{5, 6}, {good}}));
  }
  // Of many endpoints the first few are said; who says more, or speaks for others as well, is not heard.
  REQUIRE(decode_sighting(encode_sighting({{5, 6}, {"ipc://a", "ipc://b", "ipc://c", "ipc://d", "ipc://e"}}), r));
  CHECK(r.endpoints.size() == sighting_endpoints_max);
  auto two_names = encode_sighting({{5, 6}, {"ipc://a", "ipc://b"}});
  two_names[4 + 18 + 7] = std::byte{7};
  CHECK_FALSE(decode_sighting(two_names, r));
}

TEST_CASE("a node with keys announces its public one, which is read whole or not at all") {
  curve_key key{};
  for (std::size_t i = 0; i < key.size(); ++i) key[i] = static_cast<std::uint8_t>(200 + i);
  const node_sighting s{{5, 6}, {"tcp://10.0.0.1:7", "tcp://10.0.0.2:7"}, key};
  const auto bytes = encode_sighting(s);
  node_sighting r;
  REQUIRE(decode_sighting(bytes, r));
  CHECK(r.who == s.who);
  CHECK(r.endpoints == s.endpoints);
  CHECK(r.key == s.key);
  for (std::size_t n = 0; n < bytes.size(); ++n) CHECK_FALSE(decode_sighting(std::span(bytes).first(n), r));
  constexpr std::size_t place = 4;
  constexpr std::size_t length_at = place + 16;
  REQUIRE(bytes[length_at] == std::byte{32});
  for (const unsigned length : {0u, 1u, 31u, 33u, 255u}) {
    auto wrong = bytes;
    wrong[length_at] = static_cast<std::byte>(length);
    CHECK_FALSE(decode_sighting(wrong, r));
  }
  // A node has one key.
  auto two_keys = bytes;
  two_keys[length_at + 1] ^= std::byte{1};
  CHECK_FALSE(decode_sighting(two_keys, r));
  auto without = encode_sighting({s.who, s.endpoints});
  REQUIRE(decode_sighting(without, r));
  CHECK_FALSE(r.key);
  // The longest that there can be.
  const std::string longest = "ipc:///" + std::string(248, 'x');
  CHECK(decode_sighting(encode_sighting({{5, 6}, {longest, longest, longest, longest}, key}), r));
}

TEST_CASE("announcements of nodes that may not be called are counted, and do nothing else") {
  overlay_discovery d("north", 1);
  d.listen({1, 1}, [](const node_sighting& s) { return s.who.node <= 3; });
  const auto hear = [&](std::uint64_t node) {
    d.arrived("karyon.nodes.north", encode_sighting({{node, 6}, {"tcp://10.0.0.1:7"}}));
  };
  int n = 0;
  for (std::uint64_t now = 1; now <= 100; ++now) {
    hear(2);
    for (std::uint64_t node = 10; node < 100; ++node) hear(node);
    const auto found = d.take_found();
    REQUIRE(found.size() == 1);
    CHECK(found[0].who.node == 2);
    n += d.due(now * 1'000'000'000, true) ? 1 : 0;
  }
  CHECK(n == 100);  // they do not keep it from announcing itself
  carrier_counts c;
  d.count(c);
  CHECK(c.announcements_heard == 100 * 91);
  CHECK(c.announcements_not_allowed == 100 * 90);
  CHECK(c.announcements_malformed == 0);
}

TEST_CASE("endpoints of one machine are out of reach of a server for several") {
  const std::vector<std::string> near{"ipc:///run/x", "tcp://127.0.0.1:7", "tcp://[::1]:7"};
  const std::vector<std::string> far{"ipc:///run/x", "tcp://10.0.0.1:7"};
  for (const char* here : {"nats://127.0.0.1:4222", "tls://localhost:4222", "nats://u:p@127.0.0.1:1,nats://[::1]:2"}) {
    INFO(here);
    CHECK_FALSE(is_out_of_reach(here, near));
    CHECK_FALSE(is_out_of_reach(here, far));
  }
  for (const char* there : {"nats://10.0.0.9:4222", "tls://nats.example.org:4222", "nats://127.0.0.1@10.0.0.9:1",
                            "nats://127.0.0.1:1,nats://10.0.0.9:1"}) {
    INFO(there);
    CHECK(is_out_of_reach(there, near));
    CHECK_FALSE(is_out_of_reach(there, far));
    CHECK_FALSE(is_out_of_reach(there, {}));
  }
}

TEST_CASE("a node with a full view calls on, but its links do not pile up") {
  CHECK(found_to_call(0, 0, 0) == 4);
  CHECK(found_to_call(0, 500, 1) == 4);
  CHECK(found_to_call(4, 500, 1) == 1);
  const auto after = [](std::uint64_t ticks, std::size_t connected) {
    const std::size_t before = connected;
    for (std::uint64_t tick = 1; tick <= ticks; ++tick) connected += found_to_call(5, connected, tick);
    return connected - before;
  };
  CHECK(after(63, 5) == 0);
  CHECK(after(64, 5) == 1);
  CHECK(after(640, 5) == 10);
  // Whom it calls stays: 30 days, a tick a second.
  const std::size_t month = after(30 * 86'400, 5);
  CHECK(month >= 64);
  CHECK(month <= 200);
  // Islands of a hundred find each other within minutes all the same: their nodes are many, and each calls now and then.
  CHECK(after(16'384, 99) >= 2);
}

TEST_CASE("of announcements without number a few are kept, by chance") {
  overlay_discovery d("north", 1);
  CHECK_THROWS_AS(overlay_discovery("no subject", 1), runtime_error);
  const auto hear = [&](std::uint64_t node) {
    d.arrived("karyon.nodes.north", encode_sighting({{node, 6}, {"tcp://10.0.0.1:7"}}));
  };
  const auto counts = [&] {
    carrier_counts c;
    d.count(c);
    return c;
  };
  d.arrived("karyon.nodes.south", encode_sighting({{1, 6}, {"tcp://10.0.0.1:7"}}));
  d.arrived("karyon.nodes.north", std::as_bytes(std::span("nonsense")));
  CHECK(counts().announcements_malformed == 2);
  CHECK(d.take_found().empty());
  hear(1);
  hear(1);
  CHECK(d.take_found().size() == 1);
  CHECK(d.take_found().empty());
  std::size_t late = 0;
  for (int round = 0; round < 20; ++round) {
    for (std::uint64_t n = 1; n <= 640; ++n) hear(n);
    const auto found = d.take_found();
    CHECK(found.size() == 64);
    for (const node_sighting& s : found) late += s.who.node > 320 ? 1 : 0;
  }
  CHECK(late > 300);  // half of 1280
  CHECK(late < 980);
}

TEST_CASE("a node announces itself every few seconds, more often when it is alone, and seldom among very many") {
  constexpr std::uint64_t s = 1'000'000'000;
  const auto announcements = [&](bool alone, int others_a_second) {
    overlay_discovery d("north", 1);
    std::vector<std::vector<std::byte>> others;
    for (int i = 0; i < others_a_second; ++i) {
      others.push_back(encode_sighting({{static_cast<std::uint64_t>(i) + 1, 6}, {"tcp://10.0.0.1:7"}}));
    }
    int n = 0;
    for (std::uint64_t now = 1; now <= 300; ++now) {
      for (const auto& other : others) d.arrived("karyon.nodes.north", other);
      static_cast<void>(d.take_found());
      n += d.due(now * s, alone) ? 1 : 0;
    }
    return n;
  };
  CHECK(announcements(true, 0) == 300);
  CHECK(announcements(true, 10) == 300);
  const int few = announcements(false, 4);
  CHECK(few >= 75);
  CHECK(few <= 150);
  const int many = announcements(false, 160);
  CHECK(many >= 1);
  CHECK(many <= few / 4);
  // Thousands that somebody has made up do not silence who is alone: one in sixteen, where it would be one in 250.
  const int among_lies = announcements(true, 4000);
  CHECK(among_lies >= 8);
  CHECK(among_lies <= 40);
}

TEST_CASE("one that announces itself without end counts as one") {
  overlay_discovery d("north", 1);
  const auto other = encode_sighting({{1, 6}, {"tcp://10.0.0.1:7"}});
  int n = 0;
  for (std::uint64_t now = 1; now <= 100; ++now) {
    for (int i = 0; i < 1000; ++i) d.arrived("karyon.nodes.north", other);
    static_cast<void>(d.take_found());
    n += d.due(now * 1'000'000'000, true) ? 1 : 0;
  }
  CHECK(n == 100);
}
