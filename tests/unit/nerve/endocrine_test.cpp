// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <memory>

#include <karyon/supervise/supervisor.hpp>

#include "unit/nerve/bus_testing.hpp"
#include "unit/nerve/nats_server.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

// What is promised of a bus, whichever it is: each test runs on the embedded one, and on a server.

namespace {

std::string kind_name(bool over_nats) { return over_nats ? "nats" : "embedded"; }

/// A runtime with a bus on it.
struct house {
  explicit house(bool over_nats, endocrine_options options = {}, std::uint32_t workers = 2)
      : over_nats_(over_nats), rt(quiet(workers)) {
    if (over_nats) {
      server = std::make_unique<nats_server>();
      options.server = server->url();
      options.nats.time_to_live = 60s;  // a loaded machine
      options.nats.connect_timeout = 30s;
      options.nats.write_timeout = 30s;
      options.nats.heartbeat = 30s;
    }
    bus = std::make_unique<endocrine>(rt, std::move(options));
  }
  /// What was subscribed to is known.
  void settle() { REQUIRE(bus->await_subscriptions(long_time)); }
  bool over_nats_;
  std::unique_ptr<nats_server> server;
  runtime rt;
  std::unique_ptr<endocrine> bus;
};

}  // namespace

#define KARYON_EACH_BUS                               \
  const bool over_nats = GENERATE(false, true);       \
  if (over_nats && !nats_server::available()) return; \
  INFO("bus: " << kind_name(over_nats))

TEST_CASE("a broadcast reaches just those who have subscribed to its subject, in the order published") {
  KARYON_EACH_BUS;
  house h(over_nats);
  diary north;
  diary all;
  diary deep;
  diary other;
  const auto a = h.rt.spawn<listener>(north);
  const auto b = h.rt.spawn<listener>(all);
  const auto c = h.rt.spawn<listener>(deep);
  const auto d = h.rt.spawn<listener>(other);
  REQUIRE(h.bus->subscribe<heat>(a, "colony.north.heat"));
  REQUIRE(h.bus->subscribe<heat>(b, "colony.*.heat"));
  REQUIRE(h.bus->subscribe<heat>(c, "colony.>"));
  REQUIRE(h.bus->subscribe<heat>(d, "colony.heat"));
  h.settle();
  CHECK(h.bus->publish("colony.north.heat", heat{1}) == publish_result::accepted);
  CHECK(h.bus->publish("colony.south.heat", heat{2}) == publish_result::accepted);
  CHECK(h.bus->publish("colony.south.west.heat", heat{3}) == publish_result::accepted);
  CHECK(h.bus->publish("colony.north.heat", heat{4}) == publish_result::accepted);
  REQUIRE(deep.has(4));
  REQUIRE(all.has(3));
  REQUIRE(north.has(2));
  CHECK(deep.lines() == lines{"heat 1", "heat 2", "heat 3", "heat 4"});
  CHECK(all.lines() == lines{"heat 1", "heat 2", "heat 4"});
  CHECK(north.lines() == lines{"heat 1", "heat 4"});
  REQUIRE(quiet_bus(*h.bus));
  CHECK(other.size() == 0);
  check_sums(*h.bus, over_nats);
}

TEST_CASE(
    "a cell with two subscriptions that a subject matches gets it twice, and one of another type is not misread") {
  KARYON_EACH_BUS;
  house h(over_nats);
  diary twice;
  const auto a = h.rt.spawn<listener>(twice);
  REQUIRE(h.bus->subscribe<heat>(a, "x.y"));
  REQUIRE(h.bus->subscribe<heat>(a, "x.*"));
  REQUIRE(h.bus->subscribe<noise>(a, "x.y"));
  h.settle();
  CHECK(ok(h.bus->publish("x.y", heat{7})));
  REQUIRE(twice.has(2));
  CHECK(ok(h.bus->publish("x.y", noise{8})));
  REQUIRE(twice.has(3));
  CHECK(twice.lines() == lines{"heat 7", "heat 7", "noise 8"});
  REQUIRE(quiet_bus(*h.bus));
  CHECK(h.bus->metrics().lost_type == 3);
  check_sums(*h.bus, over_nats);
}

TEST_CASE("a subscription ends with its cell, and where it is ended by hand") {
  KARYON_EACH_BUS;
  house h(over_nats);
  diary heard;
  diary last;
  const auto gone = h.rt.spawn<listener>(heard);
  const auto left = h.rt.spawn<listener>(heard);
  const auto stays = h.rt.spawn<listener>(last);
  REQUIRE(h.bus->subscribe<heat>(gone, "s"));
  const auto sub = h.bus->subscribe<heat>(left, "s");
  REQUIRE(sub);
  REQUIRE(h.bus->subscribe<heat>(stays, "s"));
  const auto copy = *sub;
  h.bus->unsubscribe(*sub);
  h.bus->unsubscribe(copy);  // of no effect any more
  gone.send(quit{});
  REQUIRE(eventually([&] { return !gone.alive(); }));
  h.settle();
  CHECK(ok(h.bus->publish("s", heat{1})));
  REQUIRE(last.has(1));
  REQUIRE(quiet_bus(*h.bus));
  CHECK(heard.size() == 0);
  REQUIRE(eventually([&] { return h.bus->metrics().subscriptions == 1; }));
  // Over a server it looks for the dead by itself, perhaps before the broadcast.
  CHECK(h.bus->metrics().lost_ended <= 1);
  if (!over_nats) CHECK(h.bus->metrics().lost_ended == 1);
  stays.send(quit{});
  REQUIRE(eventually([&] { return !stays.alive(); }));
  h.bus->sweep();
  CHECK(eventually([&] { return h.bus->metrics().subscriptions == 0 && h.bus->metrics().patterns == 0; }));
  check_sums(*h.bus, over_nats);
}

TEST_CASE("a supervised child's subscription survives its restart") {
  KARYON_EACH_BUS;
  house h(over_nats);
  diary heard;
  auto tissue = h.rt.supervise({.strategy = one_for_one, .intensity = {10, 60s}});
  const auto c = tissue.start<listener>(std::ref(heard));
  REQUIRE(h.bus->subscribe<heat>(c, "s"));
  h.settle();
  CHECK(ok(h.bus->publish("s", heat{1})));
  REQUIRE(heard.has(1));
  const auto before = c.get();
  h.rt.exit(before, exit_reason::killed());
  REQUIRE(eventually([&] {
    const auto now = c.get();  // asked once: it may be empty a moment later
    return now && now != before;
  }));
  CHECK(ok(h.bus->publish("s", heat{2})));
  REQUIRE(heard.has(2));
  CHECK(heard.lines() == lines{"heat 1", "heat 2"});
}

TEST_CASE("many cells on all workers each get each broadcast once") {
  KARYON_EACH_BUS;
  endocrine_options options;
  options.in_flight_max = 1000;
  options.storm.deliveries.per_second = 0;
  house h(over_nats, options, 3);
  constexpr std::uint64_t cells = 2000;
  constexpr std::uint64_t broadcasts = 20;
  std::atomic<std::uint64_t> all{0};
  std::vector<ref<tally>> tallies;
  for (std::uint64_t i = 0; i < cells; ++i) {
    tallies.push_back(h.rt.spawn<tally>(all));
    REQUIRE(h.bus->subscribe<heat>(tallies.back(), i % 2 == 0 ? "wide" : "*"));
  }
  h.settle();
  for (std::uint64_t i = 0; i < broadcasts; ++i) CHECK(ok(h.bus->publish("wide", heat{1})));
  REQUIRE(eventually([&] { return all.load() == cells * broadcasts; }));
  for (const auto& t : tallies) REQUIRE(h.rt.ask(t, get{}, long_time).value() == broadcasts);
  REQUIRE(quiet_bus(*h.bus));
  CHECK(h.bus->metrics().delivered == cells * broadcasts);
  check_sums(*h.bus, over_nats);
}

TEST_CASE("what can not be published or subscribed to is refused and counted") {
  KARYON_EACH_BUS;
  house h(over_nats);
  diary d;
  const auto a = h.rt.spawn<listener>(d);
  for (const char* bad : {"", ".", "a.", ".a", "a..b", "a b", "a.*", "a.>", "$SYS.x", "\x7f"}) {
    INFO(bad);
    CHECK(h.bus->publish(bad, heat{}) == publish_result::bad_subject);
  }
  for (const char* bad : {"", "a.>.b", "a*", "*.a>", "a..b", "$JS.>"}) {
    INFO(bad);
    const auto r = h.bus->subscribe<heat>(a, bad);
    REQUIRE_FALSE(r);
    CHECK(r.error().code() == errc::invalid_argument);
  }
  CHECK(h.bus->metrics().refused[static_cast<std::size_t>(publish_result::bad_subject)] == 10);
  check_sums(*h.bus, over_nats);
}

TEST_CASE("a compartment's holder publishes and hears only what is permitted, beneath its name") {
  KARYON_EACH_BUS;
  house h(over_nats);
  compartment north(*h.bus, "colony.north", {.publish = {"heat.*"}, .subscribe = {"heat.>", "alarm"}});
  diary inside;
  diary outside;
  const auto in = h.rt.spawn<listener>(inside);
  const auto out = h.rt.spawn<listener>(outside);
  REQUIRE(north.subscribe<heat>(in, "heat.*"));
  REQUIRE(h.bus->subscribe<heat>(out, "colony.*.heat.*"));
  CHECK_FALSE(north.subscribe<heat>(in, ">"));
  CHECK_FALSE(north.subscribe<heat>(in, "*.a"));
  CHECK_FALSE(north.subscribe<heat>(in, "noise"));
  h.settle();
  CHECK(north.publish("noise", heat{1}) == publish_result::not_permitted);
  CHECK(north.publish("heat", heat{1}) == publish_result::not_permitted);
  CHECK(north.publish("heat.a", heat{2}) == publish_result::accepted);
  CHECK(ok(h.bus->publish("colony.south.heat.a", heat{3})));
  REQUIRE(outside.has(2));
  REQUIRE(inside.has(1));
  REQUIRE(quiet_bus(*h.bus));
  CHECK(inside.lines() == lines{"heat 2"});
  CHECK_THROWS_AS(compartment(*h.bus, "a.*"), runtime_error);
  check_sums(*h.bus, over_nats);
}

TEST_CASE("a hormone level has the latest value of each subject") {
  KARYON_EACH_BUS;
  house h(over_nats);
  hormone_level<heat> field(*h.bus, "field.*", {.half_life = 1h, .subjects_max = 2});
  h.settle();
  CHECK_FALSE(field.sense("field.a"));
  CHECK(ok(h.bus->publish("field.a", heat{1})));
  CHECK(ok(h.bus->publish("field.a", heat{2})));
  CHECK(ok(h.bus->publish("field.b", heat{3})));
  CHECK(ok(h.bus->publish("other.a", heat{9})));
  REQUIRE(eventually([&] { return field.sense("field.b").has_value(); }));
  const auto r = field.sense("field.a");
  REQUIRE(r);
  CHECK(r->value.degrees == 2);
  CHECK(r->strength > 0.5);
  CHECK(ok(h.bus->publish("field.c", heat{4})));  // in the place of the oldest
  REQUIRE(eventually([&] { return field.sense("field.c").has_value(); }));
  CHECK_FALSE(field.sense("field.a"));
  CHECK(field.sense_all().size() == 2);
}

namespace {

/// Publishes again what it hears.
class echo : public cell {
public:
  using accepts = signals<heat>;
  explicit echo(endocrine& bus) : bus_(&bus) {}
  void on(const heat& h) { static_cast<void>(bus_->publish("echo", heat{h.degrees + 1})); }

private:
  endocrine* bus_;
};

}  // namespace

TEST_CASE("an echo ends after so many hops, and is told of") {
  KARYON_EACH_BUS;
  endocrine_options options;
  options.storm.hops = 5;
  std::atomic<int> told{0};
  options.on_storm = [&told](const storm_report& r) { told += r.cause == storm_cause::hops ? 1 : 0; };
  house h(over_nats, options);
  diary heard;
  const auto a = h.rt.spawn<echo>(*h.bus);
  const auto b = h.rt.spawn<listener>(heard);
  REQUIRE(h.bus->subscribe<heat>(a, "echo"));
  REQUIRE(h.bus->subscribe<heat>(b, "echo"));
  h.settle();
  CHECK(ok(h.bus->publish("echo", heat{0})));
  constexpr auto too_many = static_cast<std::size_t>(publish_result::too_many_hops);
  REQUIRE(eventually([&] { return h.bus->metrics().refused[too_many] == 1; }));
  REQUIRE(heard.has(6));
  CHECK(heard.lines().back() == "heat 5");
  CHECK(eventually([&] { return told == 1; }));
}

TEST_CASE("a sender that publishes too fast is refused and named, and another goes on") {
  KARYON_EACH_BUS;
  endocrine_options options;
  options.storm.sender = {1, 10};
  diary reports;
  options.on_storm = [&reports](const storm_report& r) { reports.write(r.sender + " " + to_string(r.cause)); };
  house h(over_nats, options);
  int accepted = 0;
  for (int i = 0; i < 100; ++i) accepted += ok(h.bus->publish("s", heat{i}, "chatterbox")) ? 1 : 0;
  CHECK(accepted >= 10);
  CHECK(accepted < 100);
  CHECK(ok(h.bus->publish("s", heat{1}, "somebody else")));
  REQUIRE(reports.has(1));
  CHECK(reports.lines().front() == "chatterbox sender");
}

TEST_CASE("a bus that ends refuses, and leaves cells alone") {
  KARYON_EACH_BUS;
  house h(over_nats);
  diary d;
  const auto a = h.rt.spawn<listener>(d);
  REQUIRE(h.bus->subscribe<heat>(a, "s"));
  h.settle();
  h.rt.shutdown(10s);
  CHECK(h.bus->publish("s", heat{1}) == publish_result::closed);
  CHECK_FALSE(h.bus->subscribe<heat>(a, "t"));
  h.bus.reset();
}
