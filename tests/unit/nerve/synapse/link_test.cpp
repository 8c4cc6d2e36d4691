// SPDX-License-Identifier: Apache-2.0
#include <deque>
#include <numeric>
#include <set>
#include <string>
#include <thread>

#include "support/catch.hpp"
#include "support/temporary_tree.hpp"
#include "synapse_testing.hpp"

using namespace karyon;
using namespace karyon::tests;

namespace {

synapse_options on(const std::string& endpoint) {
  synapse_options o = patient();
  o.listen = {endpoint};
  return o;
}

/// Two nodes of this process with a link over ipc.
struct pair_of_nodes {
  explicit pair_of_nodes(const synapse_options& of_b = patient(), const std::string& a_at = "",
                         const std::string& b_at = "")
      : a(a_id, on(a_at.empty() ? "ipc://" + tree.path("n/a") : a_at)), b(b_id, with(of_b, b_at)) {
    if (a.is_open() && b.is_open()) {
      connected = a->connect({b->endpoints().front(), ""}).has_value() &&
                  eventually([&] { return a.sink.is_up() && b.sink.is_up(); });
    }
  }
  synapse_options with(synapse_options o, const std::string& at) const {
    o.listen = {at.empty() ? "ipc://" + tree.path("n/b") : at};
    return o;
  }
  temporary_tree tree;
  end a;
  end b;
  bool connected = false;
};

std::vector<std::uint64_t> first_numbers(std::size_t n) {
  std::vector<std::uint64_t> all(n);
  std::iota(all.begin(), all.end(), std::uint64_t{0});
  return all;
}

}  // namespace

TEST_CASE("two nodes learn who the other is, and what it says at the beginning") {
  pair_of_nodes p;
  REQUIRE(p.connected);
  CHECK(p.a.sink.ups() == std::vector<peer_id>{b_id});
  CHECK(p.b.sink.ups() == std::vector<peer_id>{a_id});
  CHECK(p.a.sink.hello() == "hello of 22");
  CHECK(p.b.sink.hello() == "hello of 11");
}

TEST_CASE("frames arrive both ways, once, in their order, and are acknowledged") {
  const std::string transport = GENERATE("ipc", "tcp");
  const std::string at = transport == "tcp" ? "tcp://127.0.0.1:*" : "";
  pair_of_nodes p(patient(), at, at);
  REQUIRE(p.connected);
  constexpr std::size_t n = 2000;
  for (std::uint64_t i = 0; i < n; ++i) {
    REQUIRE(p.a.send(b_id, i) == frame_fate::accepted);
    REQUIRE(p.b.send(a_id, i, 8 + i % 300) == frame_fate::accepted);
  }
  CHECK(eventually([&] { return p.a.is_settled(n) && p.b.is_settled(n); }));
  CHECK(p.b.sink.numbers() == first_numbers(n));
  CHECK(p.a.sink.numbers() == first_numbers(n));
  CHECK(p.b.sink.last().destination == cell_number{7, 3});
  CHECK(p.a->stats().acknowledged == n);
  CHECK(p.a->stats().gaps == 0);
}

TEST_CASE("what nodes of one machine send each other goes by shared memory, unless one of them has none to share") {
  synapse_options of_b = patient();
  of_b.shared_bytes = GENERATE(std::uint32_t{0}, std::uint32_t{64U << 10U});
  pair_of_nodes p(of_b);
  REQUIRE(p.connected);
  constexpr std::size_t n = 1000;
  for (std::uint64_t i = 0; i < n; ++i) {
    REQUIRE(eventually([&] { return p.a.send(b_id, i, 2000) == frame_fate::accepted; }));
    REQUIRE(eventually([&] { return p.b.send(a_id, i, 2000) == frame_fate::accepted; }));
  }
  CHECK(eventually([&] { return p.a.is_settled(n) && p.b.is_settled(n); }));
  CHECK(p.b.sink.numbers() == first_numbers(n));
  CHECK(p.a.sink.numbers() == first_numbers(n));
  CHECK((p.a->stats().messages_shared != 0) == (of_b.shared_bytes != 0));
  CHECK((p.b->stats().messages_shared != 0) == (of_b.shared_bytes != 0));
}

TEST_CASE("a frame that is longer than its lane goes by it in parts, none of which waits for a heartbeat") {
  temporary_tree tree;
  synapse_options o = patient();
  o.heartbeat = std::chrono::milliseconds{10'000};
  o.silence_max = std::chrono::milliseconds{120'000};
  o.spin = std::chrono::microseconds{0};
  o.shared_bytes = 64U << 10U;
  o.window_bytes = 16U << 20U;
  o.frame_bytes_max = 8U << 20U;
  o.listen = {"ipc://" + tree.path("n/a")};
  end a(a_id, o);
  o.listen = {"ipc://" + tree.path("n/b")};
  end b(b_id, o);
  REQUIRE(a.is_open());
  REQUIRE(b.is_open());
  REQUIRE(a->connect({b->endpoints().front(), ""}).has_value());
  REQUIRE(eventually([&] { return a.sink.is_up() && b.sink.is_up(); }));
  CHECK(a.send(b_id, 1, o.frame_bytes_max) == frame_fate::accepted);
  CHECK(eventually([&] { return b.sink.numbers() == std::vector<std::uint64_t>{1}; }));
  CHECK(b.sink.last().length == o.frame_bytes_max);
}

TEST_CASE("a frame of the longest length arrives whole, and a longer one is refused") {
  synapse_options of_b = patient();
  of_b.frame_bytes_max = 300'000;
  pair_of_nodes p(of_b);
  REQUIRE(p.connected);
  CHECK(p.a.send(b_id, 1, 300'001) == frame_fate::too_large);
  CHECK(p.a.send(b_id, 2, 300'000) == frame_fate::accepted);
  CHECK(eventually([&] { return p.b.sink.numbers() == std::vector<std::uint64_t>{2}; }));
  CHECK(p.b.sink.last().length == 300'000);
  CHECK(p.a->stats().refused[static_cast<std::size_t>(frame_fate::too_large)] == 1);
}

TEST_CASE("nothing is accepted beyond the receiver's window, and its credit comes back") {
  synapse_options of_b = patient();
  of_b.window_frames = 100;
  pair_of_nodes p(of_b);
  REQUIRE(p.connected);
  p.b.sink.shut(true);
  std::uint64_t accepted = 0;
  while (p.a.send(b_id, accepted) == frame_fate::accepted) ++accepted;
  CHECK(accepted == 100);
  CHECK(p.a.send(b_id, 0) == frame_fate::no_credit);
  p.b.sink.shut(false);
  CHECK(eventually([&] { return p.a.is_settled(100); }));
  CHECK(p.a.send(b_id, accepted) == frame_fate::accepted);
  CHECK(eventually([&] { return p.b.sink.numbers() == first_numbers(101); }));
}

TEST_CASE("a window in bytes bounds long frames") {
  synapse_options of_b = patient();
  of_b.window_bytes = 64 * 1024;
  of_b.frame_bytes_max = 16 * 1024;
  pair_of_nodes p(of_b);
  REQUIRE(p.connected);
  p.b.sink.shut(true);
  std::uint64_t accepted = 0;
  while (p.a.send(b_id, accepted, 16 * 1024) == frame_fate::accepted) ++accepted;
  CHECK(accepted == 3);  // each takes a header's 32 bytes as well
}

TEST_CASE("a frame whose time to live is over is counted and not delivered") {
  pair_of_nodes p;
  REQUIRE(p.connected);
  p.b.sink.shut(true);
  REQUIRE(p.a.send(b_id, 1) == frame_fate::accepted);
  REQUIRE(eventually([&] { return p.b.sink.entered() == 1; }));
  // The receiver is busy with the first one until long after these have to be there.
  REQUIRE(p.a.send(b_id, 2, 64, 1000) == frame_fate::accepted);
  REQUIRE(p.a.send(b_id, 3, 64, 4'000'000'000U) == frame_fate::accepted);
  const auto sent = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - sent < std::chrono::milliseconds{5}) std::this_thread::yield();
  p.b.sink.shut(false);
  CHECK(eventually([&] { return p.a.is_settled(3); }));
  CHECK(p.b.sink.numbers() == std::vector<std::uint64_t>{1, 3});
  CHECK(p.b.sink.last().ttl_us < 4'000'000'000U);
  CHECK(eventually([&] { return p.b->stats().expired_in_flight + p.a->stats().expired_before_send == 1; }));
}

TEST_CASE("frames with a long time to live all arrive, also those that are left while others are being sent") {
  pair_of_nodes p;
  REQUIRE(p.connected);
  constexpr std::size_t n = 20'000;
  for (std::uint64_t i = 0; i < n; ++i) {
    REQUIRE(eventually([&] { return p.a.send(b_id, i, 8, 4'000'000'000U) == frame_fate::accepted; }));
  }
  CHECK(eventually([&] { return p.a.is_settled(n); }));
  CHECK(p.a->stats().expired_before_send == 0);
  CHECK(p.b.sink.numbers() == first_numbers(n));
}

TEST_CASE("frames for strangers, other lives and closed nodes are refused by name") {
  pair_of_nodes p;
  REQUIRE(p.connected);
  CHECK(p.a.send({33, 1}, 0) == frame_fate::no_route);
  CHECK(p.a.send({b_id.node, b_id.incarnation + 1}, 0) == frame_fate::peer_down);
  p.b->close();
  REQUIRE(eventually([&] { return !p.a.sink.is_up(); }));
  CHECK(p.a.sink.losses() == std::vector<link_loss>{link_loss::closed});
  CHECK(p.a.send(b_id, 0) == frame_fate::peer_down);
  p.a->close();
  CHECK(p.a.send(b_id, 0) == frame_fate::closed);
  CHECK(p.b.sink.losses() == std::vector<link_loss>{link_loss::closed});
}

TEST_CASE("a node that ends in order has closed its links and not died, however soon its sockets are gone") {
  const std::string transport = GENERATE("ipc", "tcp");
  for (int i = 0; i < 20; ++i) {
    temporary_tree tree;
    const auto at = [&](const char* name) {
      return transport == "tcp" ? "tcp://127.0.0.1:*" : "ipc://" + tree.path("n/") + name;
    };
    end a(a_id, on(at("a")));
    auto b = std::make_unique<end>(b_id, on(at("b")));
    REQUIRE(a->connect({(*b)->endpoints().front(), ""}).has_value());
    REQUIRE(eventually([&] { return a.sink.is_up() && b->sink.is_up(); }));
    b.reset();
    REQUIRE(eventually([&] { return !a.sink.is_up(); }));
    REQUIRE(a.sink.losses() == std::vector<link_loss>{link_loss::closed});
  }
}

TEST_CASE("two nodes that call each other at once make one link") {
  temporary_tree tree;
  end a(a_id, on("ipc://" + tree.path("n/a")));
  end b(b_id, on("ipc://" + tree.path("n/b")));
  REQUIRE(a->connect({"ipc://" + tree.path("n/b"), ""}).has_value());
  REQUIRE(b->connect({"ipc://" + tree.path("n/a"), ""}).has_value());
  REQUIRE(eventually([&] { return a.sink.is_up() && b.sink.is_up(); }));
  for (std::uint64_t i = 0; i < 100; ++i) {
    REQUIRE(eventually([&] { return a.send(b_id, i) == frame_fate::accepted; }));
    REQUIRE(eventually([&] { return b.send(a_id, i) == frame_fate::accepted; }));
  }
  CHECK(eventually([&] { return a->stats().in_flight == 0 && b->stats().in_flight == 0; }));
  CHECK(a->stats().links_up == 1);
  CHECK(b->stats().links_up == 1);
}

TEST_CASE("a second process of a node's name does not take the first one's place while that lives") {
  pair_of_nodes p;
  REQUIRE(p.connected);
  const peer_id other_life{a_id.node, a_id.incarnation + 1};
  end twin(other_life, on("ipc://" + p.tree.path("n/twin")));
  REQUIRE(twin->connect({"ipc://" + p.tree.path("n/b"), ""}).has_value());
  REQUIRE(eventually(
      [&] { return p.b->stats().greetings_refused[static_cast<std::size_t>(greeting_refusal::duplicate)] > 0; }));
  CHECK(p.b.sink.ups() == std::vector<peer_id>{a_id});
  CHECK(p.a.send(b_id, 0) == frame_fate::accepted);
  p.a->close();
  CHECK(eventually([&] { return p.b.sink.ups() == std::vector<peer_id>{a_id, other_life}; }));
}

TEST_CASE("two nodes of one name are told of once, by who is called by both, with where they are") {
  temporary_tree tree;
  const auto at = [&](const char* name) { return "ipc://" + tree.path("n/") + name; };
  synapse_options of_b = on(at("b"));
  of_b.silence_max = std::chrono::milliseconds{2'000};  // so long a newcomer may be the successor of one that has ended
  end b(b_id, of_b);
  end a(a_id, on(at("a")));
  REQUIRE(a->connect({at("b"), ""}).has_value());
  REQUIRE(eventually([&] { return a.sink.is_up() && b.sink.is_up(); }));
  const peer_id other_life{a_id.node, a_id.incarnation + 1};
  end twin(other_life, on(at("twin")));
  REQUIRE(twin->connect({at("b"), ""}).has_value());
  const auto refused = [&] {
    const auto& counts = b->stats().greetings_refused;
    return counts[static_cast<std::size_t>(greeting_refusal::duplicate)] +
           counts[static_cast<std::size_t>(greeting_refusal::old_life)];
  };
  REQUIRE(eventually([&] { return refused() > 0; }));
  REQUIRE(eventually([&] { return !b.sink.namesakes().empty(); }));
  const std::uint64_t then = refused();
  REQUIRE(eventually([&] { return refused() > then; }));
  // Where this machine has stopped for so long that the link was lost, the other one of them is the newcomer.
  CHECK(b.sink.namesakes() == std::vector<std::string>{b.sink.ups().back() == a_id
                                                           ? "101 " + at("twin") + " " + at("a")
                                                           : "100 " + at("a") + " " + at("twin")});
}

TEST_CASE("of three nodes of one name both that are kept out are told of, once each") {
  temporary_tree tree;
  const auto at = [&](const std::string& name) { return "ipc://" + tree.path("n/") + name; };
  synapse_options of_b = on(at("b"));
  of_b.silence_max = std::chrono::milliseconds{2'000};
  end b(b_id, of_b);
  end one(a_id, on(at("one")));
  REQUIRE(one->connect({at("b"), ""}).has_value());
  REQUIRE(eventually([&] { return one.sink.is_up() && b.sink.is_up(); }));
  end two({a_id.node, a_id.incarnation + 1}, on(at("two")));
  end three({a_id.node, a_id.incarnation + 2}, on(at("three")));
  REQUIRE(two->connect({at("b"), ""}).has_value());
  REQUIRE(three->connect({at("b"), ""}).has_value());
  REQUIRE(eventually([&] { return b.sink.namesakes().size() >= 2; }));
  const auto refused = [&] {
    const auto& counts = b->stats().greetings_refused;
    return counts[static_cast<std::size_t>(greeting_refusal::duplicate)] +
           counts[static_cast<std::size_t>(greeting_refusal::old_life)];
  };
  const std::uint64_t then = refused();
  REQUIRE(eventually([&] { return refused() > then + 10; }));
  const auto told = b.sink.namesakes();
  CHECK(std::set<std::string>(told.begin(), told.end()).size() == told.size());
  if (b.sink.ups().size() == 1) {  // else this machine has stopped for so long that the link was lost
    CHECK(std::set<std::string>(told.begin(), told.end()) ==
          std::set<std::string>{"101 " + at("two") + " " + at("one"), "102 " + at("three") + " " + at("one")});
  }
}

TEST_CASE("of more nodes of one name than are told apart, which ask in turns, some are told of, each once") {
  temporary_tree tree;
  const auto at = [&](const std::string& name) { return "ipc://" + tree.path("n/") + name; };
  synapse_options of_b = on(at("b"));
  of_b.silence_max = std::chrono::milliseconds{2'000};
  end b(b_id, of_b);
  end first(a_id, on(at("first")));
  REQUIRE(first->connect({at("b"), ""}).has_value());
  REQUIRE(eventually([&] { return first.sink.is_up() && b.sink.is_up(); }));
  std::deque<end> others;
  for (std::uint64_t i = 1; i <= 12; ++i) {
    others.emplace_back(peer_id{a_id.node, a_id.incarnation + i}, on(at(std::to_string(i))));
    REQUIRE(others.back()->connect({at("b"), ""}).has_value());
  }
  REQUIRE(eventually([&] { return b.sink.namesakes().size() >= 3; }));
  const auto told = b.sink.namesakes();
  CHECK(std::set<std::string>(told.begin(), told.end()).size() == told.size());
}

TEST_CASE("a node that calls another one of its own name is told where that is") {
  temporary_tree tree;
  end one(a_id, on("ipc://" + tree.path("n/one")));
  end other({a_id.node, a_id.incarnation + 1}, on("ipc://" + tree.path("n/other")));
  REQUIRE(one->connect({"ipc://" + tree.path("n/other"), ""}).has_value());
  CHECK(eventually([&] {
    return one.sink.namesakes() ==
           std::vector<std::string>{"101 ipc://" + tree.path("n/other") + " ipc://" + tree.path("n/one")};
  }));
  CHECK(one.sink.ups().empty());
}

TEST_CASE("of nodes that others tell of so many are called at a time, and the rest is counted") {
  temporary_tree tree;
  end a(a_id, on("ipc://" + tree.path("n/a")));
  REQUIRE(a.is_open());
  CHECK_FALSE(a->public_key());
  CHECK_FALSE(a->allows(curve_key{}, 22));
  for (int i = 0; i < 300; ++i) {  // nobody is there, and not even a folder, so no descriptors go for it
    REQUIRE(a->connect_passing({"ipc://" + tree.path("none/" + std::to_string(i)), ""}).has_value());
  }
  CHECK(eventually([&] { return a->stats().calls_left_out == 300 - 256; }));
  // Forgotten, since nobody is there: then there is room again.
  end b(b_id, on("ipc://" + tree.path("n/b")));
  REQUIRE(b.is_open());
  CHECK(eventually([&] {
    static_cast<void>(a->connect_passing({b->endpoints().front(), ""}));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    return a.sink.is_up();
  }));
}

TEST_CASE("a node that calls itself is told so and gets no link") {
  temporary_tree tree;
  end a(a_id, on("ipc://" + tree.path("n/a")));
  REQUIRE(a->connect({"ipc://" + tree.path("n/a"), ""}).has_value());
  CHECK(eventually([&] { return a->stats().greetings_refused[static_cast<std::size_t>(greeting_refusal::self)] > 0; }));
  CHECK(a.sink.ups().empty());
}

TEST_CASE("many threads overload a slow receiver: what is accepted arrives, all else is refused by name") {
  synapse_options of_b = patient();
  of_b.window_frames = 64;
  pair_of_nodes p(of_b);
  REQUIRE(p.connected);
  constexpr std::uint64_t each = 20'000;
  constexpr std::uint64_t senders = 4;
  std::atomic<std::uint64_t> accepted{0};
  std::atomic<std::uint64_t> refused{0};
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < senders; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t i = 0; i < each; ++i) {
        const frame_fate fate = p.a.send(b_id, t << 32U | i);
        (fate == frame_fate::accepted ? accepted : refused).fetch_add(1);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(accepted + refused == senders * each);
  CHECK(eventually([&] { return p.a.is_settled(accepted); }));
  CHECK(p.a->stats().refused[static_cast<std::size_t>(frame_fate::no_credit)] == refused);
  CHECK(p.a->stats().acknowledged == accepted);
  const auto numbers = p.b.sink.numbers();
  CHECK(numbers.size() == accepted);
  std::vector<std::int64_t> last(senders, -1);
  bool in_order = true;
  for (const std::uint64_t n : numbers) {
    in_order &= last[n >> 32U] < static_cast<std::int64_t>(n & 0xFFFF'FFFF);
    last[n >> 32U] = static_cast<std::int64_t>(n & 0xFFFF'FFFF);
  }
  CHECK(in_order);
}
