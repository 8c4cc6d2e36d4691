// SPDX-License-Identifier: Apache-2.0
// A bus by overlay: nodes that have joined through one contact, or have found each other at a server, over ZeroMQ; and gateways.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>

#include <karyon/nerve/gateway.hpp>
#include <karyon/nerve/node.hpp>

#include "cell/runtime_core.hpp"
#include "nerve/endocrine_frame.hpp"
#include "nerve/node_services.hpp"
#include "nerve/overlay_bus.hpp"
#include "nerve/overlay_discovery.hpp"
#include "nerve/security.hpp"
#include "sched/wait.hpp"
#include "support/catch.hpp"
#include "support/temporary_tree.hpp"
#include "unit/nerve/bus_testing.hpp"
#include "unit/nerve/nats_server.hpp"

using namespace karyon;
using namespace karyon::tests;

namespace {

/// A node of this machine that knows one other, or nobody, and is patient where the machine is busy.
node_options beside(const temporary_tree& tree, const std::string& name, const std::string& contact) {
  node_options o{.name = name};
  o.synapse.listen = {"ipc://" + tree.path("n/" + name)};
  if (!contact.empty()) o.synapse.peers = {{"ipc://" + tree.path("n/" + contact), ""}};
  o.synapse.silence_max = std::chrono::seconds(20);
  o.synapse.handshake = std::chrono::seconds(10);
  return o;
}

/// A program: its runtime, its node, its bus, and a cell that listens.
struct town {
  town(const temporary_tree& tree, const std::string& name, const std::string& contact,
       endocrine_options by_overlay = {.server = "overlay://north"})
      : town(beside(tree, name, contact), std::move(by_overlay)) {}
  town(node_options of_node, endocrine_options by_overlay) : rt(quiet(1)) {
    here = std::make_unique<node>(rt, std::move(of_node));
    bus = std::make_unique<endocrine>(rt, std::move(by_overlay));
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
  detail::curve_key key{};
  key.fill(7);
  e.places = {{{1, 2}, "ipc:///x"}, {{3, 4}, "tcp://127.0.0.1:7", key}};
  const std::byte message[] = {std::byte{5}, std::byte{6}};
  e.message = message;
  const auto bytes = detail::encode_envelope(e);
  detail::overlay_envelope r;
  REQUIRE(detail::decode_envelope(bytes, r));
  REQUIRE(r.places.size() == 2);
  CHECK(r.places[1].who == detail::peer_id{3, 4});
  CHECK(r.places[1].endpoint == "tcp://127.0.0.1:7");
  CHECK_FALSE(r.places[0].key);
  CHECK(r.places[1].key == key);
  CHECK(r.message.size() == 2);
  for (std::size_t n = 0; n + 2 < bytes.size(); ++n) CHECK_FALSE(detail::decode_envelope(std::span(bytes).first(n), r));
  auto many = bytes;
  many[0] = std::byte{255};
  CHECK_FALSE(detail::decode_envelope(many, r));
}

// ---- found at a server ---------------------------------------------------------------------------------------------

namespace {

endocrine_options found_at(const nats_server& server) {
  endocrine_options o{.server = "overlay://north"};
  o.discovery_server = server.url();
  o.nats.connect_timeout = std::chrono::seconds(30);
  return o;
}

bool there_is_a_server() {
  if (nats_server::available()) return true;
  WARN("not tested: there is no nats-server here (Debian's package nats-server), or Karyon is built without NATS");
  return false;
}

/// A broadcast of each reaches all: they are one overlay.
bool are_one(const std::vector<town*>& all) {
  return std::all_of(all.begin(), all.end(), [&](town* t) { return reaches_all(*t, all); });
}

}  // namespace

TEST_CASE("nodes that share only a server find each other there, and need it no more when they have") {
  if (!there_is_a_server()) return;
  nats_server server;
  temporary_tree tree;
  town a(tree, "a", "", found_at(server));
  town b(tree, "b", "", found_at(server));
  town c(tree, "c", "", found_at(server));
  CHECK(are_one({&a, &b, &c}));
  CHECK(a.bus->metrics().announced > 0);
  CHECK(a.bus->metrics().announcements_heard > 0);
  server.kill();
  CHECK(eventually([&] { return b.bus->metrics().disconnects > 0; }));
  CHECK(a.bus->connected());
  CHECK(are_one({&a, &b, &c}));
  // Nobody can be found now, and that is said.
  {
    endocrine_options soon = found_at(server);
    soon.nats.connect_timeout = std::chrono::milliseconds(200);
    CHECK_THROWS_AS(town(tree, "nobody", "", soon), runtime_error);
  }
  const std::uint64_t announced = a.bus->metrics().announced;
  server.start();
  CHECK(eventually([&] { return a.bus->metrics().announced > announced; }));
  town d(tree, "d", "", found_at(server));
  CHECK(are_one({&a, &b, &c, &d}));
  check_sums(*d.bus, true);
}

TEST_CASE("whatever is said at a server, the nodes that are there find each other") {
  if (!there_is_a_server()) return;
  nats_server server;
  temporary_tree tree;
  runtime rt(quiet(1));
  endocrine_options over_nats{.server = server.url()};
  over_nats.nats.connect_timeout = std::chrono::seconds(30);
  endocrine liar(rt, over_nats);
  // Nodes that do not exist, for as long as the others look for each other.
  detail::overlay_discovery forger("north", 1);
  forger.connect(found_at(server));
  std::uint64_t made_up = 1000;
  const auto lie = [&] {
    static_cast<void>(liar.publish("karyon.nodes.north", heat{1}, "test"));
    for (int i = 0; i < 8; ++i) {
      forger.announce({{++made_up, 1}, {"ipc://" + tree.path("n/nobody" + std::to_string(made_up))}});
    }
    // The real names, elsewhere.
    for (const char* name : {"a", "b"}) forger.announce({{detail::wire_hash(name), 1}, {"ipc:///nowhere/x"}});
  };
  town a(tree, "a", "", found_at(server));
  town b(tree, "b", "", found_at(server));
  CHECK(eventually([&] {
    lie();
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    return a.here->wait_connected("b", {});
  }));
  CHECK(are_one({&a, &b}));
  CHECK(a.bus->metrics().announcements_malformed > 0);
  CHECK(a.bus->metrics().announcements_heard > 0);
  for (const town* t : {&a, &b}) {
    CHECK(t->bus->metrics().not_taken_malformed == 0);  // none of it has become a signal
    CHECK(t->bus->metrics().not_taken_type == 0);
  }
}

namespace {

/// A place on the loopback where nobody speaks, and which knows whether somebody has called.
class ear {
public:
  ear() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    auto* const where = reinterpret_cast<sockaddr*>(&at);
    if (::bind(fd_, where, size) != 0 || ::listen(fd_, 16) != 0 || ::getsockname(fd_, where, &size) != 0) {
      throw std::runtime_error("no port to listen on");
    }
    port_ = ntohs(at.sin_port);
  }
  ~ear() { ::close(fd_); }
  ear(const ear&) = delete;
  ear& operator=(const ear&) = delete;
  [[nodiscard]] std::string endpoint() const { return "tcp://127.0.0.1:" + std::to_string(port_); }
  [[nodiscard]] bool was_called() {
    for (int caller = 0; (caller = ::accept(fd_, nullptr, nullptr)) >= 0; ::close(caller)) called_ = true;
    return called_;
  }

private:
  int fd_;
  std::uint16_t port_ = 0;
  bool called_ = false;
};

/// Keys for nodes of these names, each of which is let in by all.
struct key_box {
  explicit key_box(const std::vector<std::string>& names) {
    std::string lines;
    for (const std::string& name : names) lines += detail::to_hex(make(name)) + " " + name + "\n";
    tree.write("allow", lines);
  }
  detail::curve_key make(const std::string& name) {
    const auto pair = detail::new_pair();
    if (!pair || !detail::write_pair(*pair, tree.path(name + ".key"))) throw std::runtime_error("no keys");
    return keys[name] = pair->open;
  }
  [[nodiscard]] node_options options(const std::string& name, bool with_keys = true) const {
    node_options o{.name = name};
    o.synapse.listen = {"tcp://127.0.0.1:*"};
    o.synapse.silence_max = std::chrono::seconds(20);
    o.synapse.handshake = std::chrono::seconds(10);
    if (with_keys) {
      o.synapse.key_file = tree.path(name + ".key");
      o.synapse.allow_file = tree.path("allow");
    }
    return o;
  }
  temporary_tree tree;
  std::map<std::string, detail::curve_key> keys;
};

}  // namespace

TEST_CASE("nodes with keys find each other at a server, and call nobody there whose key is not on their list") {
  if (!there_is_a_server()) return;
  nats_server server;
  key_box box({"a", "b", "listed"});
  const detail::curve_key strange = box.make("stranger");
  ear listed, unlisted, bare, false_name, false_key;
  detail::overlay_discovery forger("north", 1);
  forger.connect(found_at(server));
  const auto lie = [&] {
    const auto say = [&](const char* name, const ear& at, std::optional<detail::curve_key> key) {
      forger.announce({{detail::wire_hash(name), 1}, {at.endpoint()}, key});
    };
    say("listed", listed, box.keys.at("listed"));  // anybody may know this key: it is called there, in vain
    say("stranger", unlisted, strange);
    say("bare", bare, std::nullopt);
    say("nobody", false_name, box.keys.at("listed"));
    say("b", false_key, strange);
  };
  town a(box.options("a"), found_at(server));
  town b(box.options("b"), found_at(server));
  CHECK(eventually([&] {
    lie();
    return a.here->wait_connected("b", std::chrono::milliseconds(500));
  }));
  CHECK(are_one({&a, &b}));
  CHECK(eventually([&] {
    lie();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    return listed.was_called();
  }));
  // What was to be called for the other lies would have been by now, as `listed` was for the same ones.
  for (ear* each : {&unlisted, &bare, &false_name, &false_key}) CHECK_FALSE(each->was_called());
  // A node without keys calls whom it can, and those with keys neither it nor it them.
  town without(box.options("without", false), found_at(server));
  CHECK(eventually([&] {
    lie();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    return bare.was_called();
  }));
  for (const town* t : {&a, &b, &without}) {
    CHECK(t->bus->metrics().announcements_not_allowed > 0);
    CHECK(t->bus->metrics().announcements_malformed == 0);
  }
  for (const char* name : {"listed", "stranger", "bare", "nobody", "without"}) {
    CHECK_FALSE(a.here->wait_connected(name, {}));
  }
  CHECK(without.here->peers().empty());
}

TEST_CASE("nodes with keys that have joined through one contact call each other by the keys that it tells") {
  key_box box({"a", "b", "c", "d"});
  auto a = std::make_unique<town>(box.options("a"), endocrine_options{.server = "overlay://north"});
  const auto through_a = [&](const char* name) {
    node_options o = box.options(name);
    o.synapse.peers = {{a->here->endpoints().front(), detail::to_hex(box.keys.at("a"))}};
    return o;
  };
  town b(through_a("b"), {.server = "overlay://north"});
  town c(through_a("c"), {.server = "overlay://north"});
  town d(through_a("d"), {.server = "overlay://north"});
  CHECK(are_one({a.get(), &b, &c, &d}));
  CHECK(eventually([&] { return b.here->wait_connected("c", {}) && c.here->wait_connected("d", {}); }));
  a.reset();
  CHECK(are_one({&b, &c, &d}));
}

TEST_CASE("a bus says what is wrong with its discovery_server") {
  runtime rt(quiet(1));
  const node here(rt, {.name = "alone"});
  const auto code_of = [&](const std::string& server, const std::string& discovery_server) {
    endocrine_options o;
    o.server = server;
    o.discovery_server = discovery_server;
    o.nats.connect_timeout = std::chrono::milliseconds(200);
    try {
      const endocrine bus(rt, o);
    } catch (const runtime_error& e) {
      return e.why().code();
    }
    return errc{};
  };
  CHECK(code_of("", "nats://127.0.0.1:1") == errc::invalid_argument);
  CHECK(code_of("overlay://no subject", "nats://127.0.0.1:1") == errc::invalid_argument);
#if defined(KARYON_HAS_NATS)
  CHECK(code_of("overlay://north", "tcp://127.0.0.1:1") == errc::invalid_argument);
  CHECK(code_of("overlay://north", "nats://127.0.0.1:1") == errc::refused);
  CHECK(code_of("overlay://north", "nats://192.0.2.1:1") == errc::refused);  // beyond the loopback, and no TLS
#else
  CHECK(code_of("overlay://north", "nats://127.0.0.1:1") == errc::unsupported);
#endif
}

// ---- gateways ------------------------------------------------------------------------------------------------------

namespace {

/// A node that is in one compartment or in several, with cells in each that count.
struct border_town {
  border_town(const temporary_tree& tree, const std::string& name, const std::string& contact,
              const std::vector<std::string>& compartments)
      : rt(quiet(1)) {
    here = std::make_unique<node>(rt, beside(tree, name, contact));
    for (const std::string& c : compartments) {
      endocrine_options by_overlay{.server = "overlay://" + c};
      by_overlay.nats.time_to_live = std::chrono::seconds(60);  // exact counts, on a machine however busy
      buses[c] = std::make_unique<endocrine>(rt, by_overlay);
      REQUIRE(buses[c]->subscribe<heat>(rt.spawn<tally>(heard[c]), ">"));
      REQUIRE(buses[c]->subscribe<heat>(rt.spawn<tally>(chats[c]), "chat.>"));
    }
  }
  ~border_town() {
    buses.clear();
    here.reset();
  }
  border_town(const border_town&) = delete;
  border_town& operator=(const border_town&) = delete;
  [[nodiscard]] endocrine& in(const std::string& compartment) { return *buses.at(compartment); }
  bool say(const std::string& compartment, const std::string& subject) {
    return in(compartment).publish(subject, heat{1}, "test") == publish_result::accepted;
  }

  std::map<std::string, std::atomic<std::uint64_t>> heard;  // by compartment
  std::map<std::string, std::atomic<std::uint64_t>> chats;
  runtime rt;
  std::unique_ptr<node> here;
  std::map<std::string, std::unique_ptr<endocrine>> buses;
};

}  // namespace

TEST_CASE("a gateway hands on what its rules name, once, and nothing else") {
  temporary_tree tree;
  border_town a(tree, "a", "", {"north"});
  border_town g(tree, "g", "a", {"north", "south"});
  border_town h(tree, "h", "a", {"north", "south"});  // in both as well: a second way between the two
  border_town c(tree, "c", "g", {"south"});
  const std::vector<gateway_rule> rules{{"north", "south", "alarm.>"}, {"south", "north", "answer.>"}};
  const auto one = std::make_unique<gateway>(g.in("north"), g.in("south"), rules);
  const gateway two(h.in("south"), h.in("north"), rules);
  // Joining takes a moment: until each hears of what no rule lets through, which comes from its own compartment alone.
  const auto hears = [](border_town& from, const std::string& where, const char* subject,
                        const std::atomic<std::uint64_t>& count) {
    return eventually([&] {
      const std::uint64_t before = count;
      return from.say(where, subject) &&
             karyon::detail::poll_until([&] { return count != before; }, karyon::detail::deadline_in(2'000'000'000));
    });
  };
  for (border_town* t : {&g, &h}) {
    REQUIRE(hears(a, "north", "chat.weather", t->chats["north"]));
    REQUIRE(hears(c, "south", "chat.weather", t->chats["south"]));
  }
  REQUIRE(hears(a, "north", "alarm.fire", c.heard["south"]));
  REQUIRE(hears(c, "south", "answer.water", a.heard["north"]));
  std::this_thread::sleep_for(std::chrono::seconds(2));  // what was on its way has come, what had to be asked for too

  struct totals {
    std::uint64_t north, south, passed, seen;
  };
  const auto now = [&] {
    const gateway_metrics m = one->metrics();
    const gateway_metrics n = two.metrics();
    return totals{a.heard["north"], c.heard["south"], m.passed + n.passed,
                  m.passed + m.duplicate + n.passed + n.duplicate};
  };
  const totals before = now();
  const auto duplicates = [&] {
    return a.in("north").metrics().not_taken_duplicate + c.in("south").metrics().not_taken_duplicate +
           g.in("south").metrics().not_taken_duplicate + h.in("south").metrics().not_taken_duplicate;
  };
  constexpr std::uint64_t n = 100;
  const auto say_all = [&](border_town& from, const std::string& where, const char* subject) {
    for (std::uint64_t i = 0; i < n; ++i) CHECK(eventually([&] { return from.say(where, subject); }));
  };
  say_all(a, "north", "chat.weather");  // no rule
  say_all(c, "south", "alarm.fire");    // not in this direction
  say_all(a, "north", "alarm.fire");
  say_all(c, "south", "answer.water");
  CHECK(eventually([&] {
    const totals t = now();
    return t.north == before.north + 3 * n && t.south == before.south + 3 * n && t.seen == before.seen + 4 * n;
  }));
  std::this_thread::sleep_for(std::chrono::seconds(1));
  CHECK(now().north == before.north + 3 * n);
  CHECK(now().south == before.south + 3 * n);
  CHECK(duplicates() == 0);  // the overlay has brought each once
  // Each by one of the two, or by both at the same moment.
  CHECK(now().passed >= before.passed + 2 * n);
  CHECK(now().seen == before.seen + 4 * n);
  CHECK(one->metrics().lost + two.metrics().lost == 0);
  for (border_town* t : {&g, &h}) {
    check_sums(t->in("north"), true);
    check_sums(t->in("south"), true);
  }
}

namespace {

/// Takes what a compartment's overlay brings, as it is.
struct eavesdropper final : detail::carrier_sink {
  void arrived(std::string_view, std::span<const std::byte> frame) noexcept override {
    const std::lock_guard lock(mutex);
    last.assign(frame.begin(), frame.end());
  }
  void leaving(std::span<std::byte>) noexcept override {}
  void tick() noexcept override {}
  [[nodiscard]] std::vector<std::byte> heard() {
    const std::lock_guard lock(mutex);
    return last;
  }
  std::mutex mutex;
  std::vector<std::byte> last;
};

}  // namespace

TEST_CASE("who pretends to be another behind a gateway keeps nobody from being heard") {
  temporary_tree tree;
  border_town a(tree, "a", "", {"north"});
  border_town g(tree, "g", "a", {"north", "south"});
  border_town liar(tree, "liar", "g", {});
  const gateway answers(g.in("south"), g.in("north"), {{"south", "north", "answer.>"}});
  const auto network = std::dynamic_pointer_cast<detail::node_services>(liar.rt.core().network());
  REQUIRE(network != nullptr);
  eavesdropper in_north;
  eavesdropper in_south;
  detail::overlay_bus north(network, "north", {}, in_north);
  detail::overlay_bus south(network, "south", {}, in_south);
  const auto soon = [](const auto& done) {
    return karyon::detail::poll_until(done, karyon::detail::deadline_in(2'000'000'000));
  };
  REQUIRE(
      eventually([&] { return a.say("north", "chat.weather") && soon([&] { return !in_north.heard().empty(); }); }));
  // A frame of that bus, as far on as there are numbers.
  std::vector<std::byte> forged = in_north.heard();
  detail::stamp_endocrine_sequence(forged, std::uint64_t{1} << 63u);
  const auto brought = [&] { return answers.metrics().passed != 0; };
  REQUIRE(eventually([&] {
    return south.send("answer.water", forged) == detail::endocrine_carrier::fate::accepted && soon(brought);
  }));
  CHECK(eventually([&] { return g.heard["north"] > g.chats["north"]; }));  // it was believed
  for (int i = 0; i < 3; ++i) {
    CHECK(eventually([&] {
      const std::uint64_t before = g.chats["north"];
      return a.say("north", "chat.weather") && soon([&] { return g.chats["north"] != before; });
    }));
  }
}

TEST_CASE("a gateway stops a storm, and one that has ended hands nothing on") {
  temporary_tree tree;
  border_town a(tree, "a", "", {"north", "south", "west"});
  std::vector<gateway_rule> rules{{"north", "south", ">"}};
  auto few = std::make_unique<gateway>(a.in("north"), a.in("south"), rules, gateway_limits{{1, 10}, 1});
  const gateway on(a.in("south"), a.in("west"), {{"south", "west", ">"}}, gateway_limits{{0, 1}, 1});
  for (int i = 0; i < 50; ++i) CHECK(eventually([&] { return a.say("north", "x"); }));
  CHECK(eventually([&] { return a.heard["north"] == 50 && few->metrics().passed + few->metrics().storm == 50; }));
  CHECK(few->metrics().passed >= 10);
  CHECK(eventually([&] { return a.heard["south"] == few->metrics().passed; }));
  // One compartment on is as far as it goes.
  CHECK(eventually([&] { return on.metrics().too_far == few->metrics().passed; }));
  CHECK(eventually([&] { return a.say("south", "x"); }));
  CHECK(eventually([&] { return a.heard["west"] == 1; }));
  const std::uint64_t south = few->metrics().passed + 1;
  few.reset();
  CHECK(eventually([&] { return a.say("north", "x"); }));
  CHECK(eventually([&] { return a.heard["north"] == 51; }));
  // What comes after it by the same way has not found it there.
  const gateway again(a.in("north"), a.in("south"), rules);
  CHECK(eventually([&] { return a.say("north", "chat.marker"); }));
  CHECK(eventually([&] { return a.chats["south"] == 1; }));
  CHECK(eventually([&] { return a.heard["south"] >= south + 1; }));
  CHECK(a.heard["south"] == south + 1);
  CHECK(a.heard["west"] == 1);
}

TEST_CASE("gateways in a circle hand a signal on once into each compartment") {
  temporary_tree tree;
  border_town a(tree, "a", "", {"north", "south", "west"});
  const gateway ns(a.in("north"), a.in("south"), {{"north", "south", ">"}});
  const gateway sw(a.in("south"), a.in("west"), {{"south", "west", ">"}});
  const gateway wn(a.in("west"), a.in("north"), {{"west", "north", ">"}});
  for (int i = 0; i < 50; ++i) CHECK(eventually([&] { return a.say("north", "x"); }));
  CHECK(eventually([&] { return wn.metrics().duplicate == 50; }));
  CHECK(wn.metrics().passed == 0);
  for (const char* where : {"north", "south", "west"}) {
    CHECK(eventually([&] { return a.heard[where] == 50; }));
    CHECK(a.in(where).metrics().not_taken_duplicate == 0);
  }
}

TEST_CASE("a bus that ends before its gateway is gone, and a gateway may end while both buses are busy") {
  temporary_tree tree;
  border_town a(tree, "a", "", {"north", "south"});
  const std::vector<gateway_rule> both_ways{{"north", "south", ">"}, {"south", "north", ">"}};
  const gateway_limits no_limit{{0, 1}, 8};
  std::atomic<bool> stop{false};
  std::atomic<bool> pause{false};
  std::atomic<int> paused{0};
  const auto talk = [&](const char* where) {
    while (!stop) {
      if (pause) {
        ++paused;
        while (pause && !stop) std::this_thread::yield();
        --paused;
      }
      static_cast<void>(a.say(where, "x"));
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  };
  struct talkers {
    ~talkers() {
      stop = true;
      for (std::thread& each : all) each.join();
    }
    std::atomic<bool>& stop;
    std::vector<std::thread> all;
  };
  talkers both{stop, {}};
  for (const char* where : {"north", "south"}) both.all.emplace_back([&, where] { talk(where); });
  for (int i = 0; i < 20; ++i) {
    const gateway brief(a.in("north"), a.in("south"), both_ways, no_limit);
    CHECK(eventually([&] { return brief.metrics().passed >= 2; }));
  }
  gateway stays(a.in("north"), a.in("south"), both_ways, no_limit);
  CHECK(eventually([&] { return stays.metrics().passed >= 2; }));
  pause = true;
  REQUIRE(eventually([&] { return paused == 2; }));
  // While what was said is still on its way.
  a.buses["south"].reset();
  CHECK(eventually([&] { return a.say("north", "x"); }));
  CHECK(eventually([&] { return stays.metrics().lost >= 1; }));
  a.buses["north"].reset();
  const std::uint64_t passed = stays.metrics().passed;
  for (const char* name : {"north", "south"}) {
    a.buses[name] = std::make_unique<endocrine>(a.rt, endocrine_options{.server = std::string("overlay://") + name});
  }
  pause = false;
  gateway anew(a.in("north"), a.in("south"), both_ways, no_limit);
  CHECK(eventually([&] { return anew.metrics().passed >= 2; }));
  CHECK(stays.metrics().passed == passed);
}

namespace {

/// Ends a bus in a handler.
class ends_a_bus : public cell {
public:
  using accepts = signals<get>;
  explicit ends_a_bus(std::unique_ptr<endocrine>& which) : which_(&which) {}
  std::uint64_t on(get) {
    which_->reset();
    return 1;
  }

private:
  std::unique_ptr<endocrine>* which_;
};

}  // namespace

TEST_CASE("a gateway may outlive its runtime, and hands nothing on then") {
  temporary_tree tree;
  std::unique_ptr<gateway> stays;
  {
    border_town a(tree, "a", "", {"north", "south"});
    border_town b(tree, "b", "a", {"north"});
    stays = std::make_unique<gateway>(a.in("north"), a.in("south"),
                                      std::vector<gateway_rule>{{"north", "south", ">"}, {"south", "north", ">"}});
    REQUIRE(eventually([&] { return a.say("north", "x"); }));
    REQUIRE(eventually([&] { return a.heard["south"] == 1; }));
    // What a cell ends stays in its compartment for as long as the gateway is there.
    REQUIRE(a.rt.ask(a.rt.spawn<ends_a_bus>(a.buses["north"]), get{}, std::chrono::seconds(60)));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(2500));  // the clocks of what has stayed go on
  CHECK(stays->metrics().passed >= 1);
  stays.reset();
}

TEST_CASE("a gateway says what is wrong with it") {
  temporary_tree tree;
  border_town a(tree, "a", "", {"north", "south"});
  border_town b(tree, "b", "", {"north"});
  endocrine embedded(a.rt);
  const auto refused = [](endocrine& one, endocrine& other, std::vector<gateway_rule> rules,
                          gateway_limits limits = {}) {
    try {
      const gateway g(one, other, std::move(rules), limits);
    } catch (const runtime_error& e) {
      return e.why().code() == errc::invalid_argument;
    }
    return false;
  };
  const std::vector<gateway_rule> good{{"north", "south", ">"}};
  CHECK_FALSE(refused(a.in("north"), a.in("south"), good));
  CHECK(refused(a.in("north"), embedded, good));
  CHECK(refused(embedded, a.in("south"), good));
  CHECK(refused(a.in("north"), b.in("north"), good));
  CHECK(refused(a.in("north"), a.in("north"), good));
  CHECK(refused(a.in("north"), a.in("south"), {}));
  CHECK(refused(a.in("north"), a.in("south"), {{"north", "west", ">"}}));
  CHECK(refused(a.in("north"), a.in("south"), {{"north", "north", ">"}}));
  CHECK(refused(a.in("north"), a.in("south"), {{"north", "south", "a..b"}}));
  CHECK(refused(a.in("north"), a.in("south"), good, {{1, 0}, 1}));
  CHECK(refused(a.in("north"), a.in("south"), good, {{1, 1}, 0}));
}
