// SPDX-License-Identifier: Apache-2.0
// A bus by overlay: nodes that have joined through one contact, over ZeroMQ.
#include <memory>

#include <karyon/nerve/node.hpp>

#include "nerve/overlay_bus.hpp"
#include "sched/wait.hpp"
#include "support/catch.hpp"
#include "support/temporary_tree.hpp"
#include "unit/nerve/bus_testing.hpp"

using namespace karyon;
using namespace karyon::tests;

namespace {

/// A program: its runtime, its node, its bus, and a cell that listens.
struct town {
  town(const temporary_tree& tree, const std::string& name, const std::string& contact) : rt(quiet(1)) {
    node_options o{.name = name};
    o.synapse.listen = {"ipc://" + tree.path("n/" + name)};
    if (!contact.empty()) o.synapse.peers = {{"ipc://" + tree.path("n/" + contact), ""}};
    o.synapse.silence_max = std::chrono::seconds(20);
    o.synapse.handshake = std::chrono::seconds(10);
    here = std::make_unique<node>(rt, o);
    endocrine_options by_overlay;
    by_overlay.server = "overlay://north";
    bus = std::make_unique<endocrine>(rt, by_overlay);
    REQUIRE(bus->subscribe<heat>(rt.spawn<tally>(heard), "weather.>"));
  }
  ~town() {
    bus.reset();
    here.reset();
  }
  town(const town&) = delete;
  town& operator=(const town&) = delete;

  std::atomic<std::uint64_t> heard{0};
  runtime rt;
  std::unique_ptr<node> here;
  std::unique_ptr<endocrine> bus;
};

/// Publishes until one signal has reached all: joining takes a moment.
bool reaches_all(town& from, const std::vector<town*>& all) {
  return eventually([&] {
    std::vector<std::uint64_t> before;
    for (const town* t : all) before.push_back(t->heard);
    if (from.bus->publish("weather.north", heat{1}, "test") != publish_result::accepted) return false;
    return karyon::detail::poll_until(
        [&] {
          for (std::size_t i = 0; i < all.size(); ++i) {
            if (all[i]->heard == before[i]) return false;
          }
          return true;
        },
        karyon::detail::deadline_in(500'000'000));
  });
}

}  // namespace

TEST_CASE("nodes that have joined through one contact hear each other's broadcasts, also when the contact has gone") {
  temporary_tree tree;
  auto a = std::make_unique<town>(tree, "a", "");
  town b(tree, "b", "a");
  town c(tree, "c", "a");
  town d(tree, "d", "a");
  CHECK(reaches_all(d, {a.get(), &b, &c, &d}));
  CHECK(reaches_all(*a, {a.get(), &b, &c, &d}));
  // b, c and d were told of each other by a alone.
  CHECK(eventually([&] { return b.here->wait_connected("c", {}) && c.here->wait_connected("d", {}); }));
  a.reset();
  CHECK(reaches_all(b, {&b, &c, &d}));
  CHECK(reaches_all(d, {&b, &c, &d}));
  check_sums(*b.bus, true);
}

TEST_CASE("a bus by overlay says what it lacks") {
  runtime rt(quiet(1));
  endocrine_options by_overlay;
  by_overlay.server = "overlay://north";
  CHECK_THROWS_AS(endocrine(rt, by_overlay), runtime_error);
  const node here(rt, {.name = "alone"});
  endocrine first(rt, by_overlay);
  CHECK_THROWS_AS(endocrine(rt, by_overlay), runtime_error);
  std::atomic<std::uint64_t> heard{0};
  REQUIRE(first.subscribe<heat>(rt.spawn<tally>(heard), "weather.>"));
  // A publisher does not wait for the bus's own thread, if that has lost its core just then.
  CHECK(eventually([&] { return first.publish("weather.north", heat{1}, "test") == publish_result::accepted; }));
  CHECK(eventually([&] { return heard == 1; }));
}

TEST_CASE("an overlay's envelope is read as it was written, and nothing that is none") {
  detail::overlay_envelope e;
  e.places = {{{1, 2}, "ipc:///x"}, {{3, 4}, "tcp://127.0.0.1:7"}};
  const std::byte message[] = {std::byte{5}, std::byte{6}};
  e.message = message;
  const auto bytes = detail::encode_envelope(e);
  detail::overlay_envelope r;
  REQUIRE(detail::decode_envelope(bytes, r));
  REQUIRE(r.places.size() == 2);
  CHECK(r.places[1].who == detail::peer_id{3, 4});
  CHECK(r.places[1].endpoint == "tcp://127.0.0.1:7");
  CHECK(r.message.size() == 2);
  for (std::size_t n = 0; n + 2 < bytes.size(); ++n) CHECK_FALSE(detail::decode_envelope(std::span(bytes).first(n), r));
  auto many = bytes;
  many[0] = std::byte{255};
  CHECK_FALSE(detail::decode_envelope(many, r));
}
