// SPDX-License-Identifier: Apache-2.0
//
// Karyon's driver for the suite endocrine: broadcasts by subject.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <karyon/nerve/endocrine.hpp>

#include "harness/karyon_driver.hpp"
#include "suites/longest_call.hpp"
#include "suites/nats_process.hpp"

namespace {

using namespace karyon::bench;
using karyon::publish_result;

struct tick {
  std::uint64_t number = 0;
};

/// Arrives once it has heard `expected` broadcasts.
class hearer : public karyon::cell {
public:
  using accepts = karyon::signals<tick>;
  explicit hearer(std::uint64_t expected) : left_(expected) {}
  void on(tick const&) {
    if (--left_ == 0) {
      all_arrived.arrive();
    }
  }

private:
  std::uint64_t left_;
};

karyon::endocrine_options unlimited(std::string server = {}) {
  karyon::endocrine_options options;
  options.server = std::move(server);
  options.storm.sender.per_second = 0;
  options.storm.subject.per_second = 0;
  options.storm.deliveries.per_second = 0;
  options.in_flight_max = 8;
  options.nats.time_to_live = std::chrono::seconds{30};
  return options;
}

/// Publishes, again while too many are on their way.
void publish(karyon::endocrine& bus, char const* subject, std::uint64_t number) {
  while (true) {
    auto const r = bus.publish(subject, tick{number});
    if (r == publish_result::accepted) {
      return;
    }
    verify(r == publish_result::full, karyon::to_string(r));
    std::this_thread::yield();
  }
}

std::unique_ptr<karyon::endocrine> house_of(work const& asked, std::uint64_t cells, std::uint64_t broadcasts,
                                            std::string server) {
  auto& rt = start_runtime(asked);
  auto bus = std::make_unique<karyon::endocrine>(rt, unlimited(std::move(server)));
  for (std::uint64_t i = 0; i < cells; ++i) {
    verify(bus->subscribe<tick>(rt.spawn<hearer>(broadcasts), "all").has_value(), "subscribe");
  }
  verify(bus->await_subscriptions(std::chrono::seconds{30}).has_value(), "await_subscriptions");
  return bus;
}

/// One publisher, all cells of this process.
figure broadcast(work const& asked) {
  all_arrived.arm(asked.cells);
  auto bus = house_of(asked, asked.cells, asked.operations, {});
  settle();
  auto const begin = now_ns();
  for (std::uint64_t i = 0; i < asked.operations; ++i) {
    publish(*bus, "all", i);
  }
  all_arrived.await();
  return {"1/s", 1e9 / per(now_ns() - begin, asked.cells * asked.operations)};
}

/// The same with half of the cells in another process, over a server.
figure broadcast_in_two(work const& asked) {
  nats_process const server;
  int ready[2];
  int done[2];
  verify(::pipe(ready) == 0 && ::pipe(done) == 0, "pipe");
  auto const half = asked.cells / 2;
  all_arrived.arm(half);
  char byte = 1;
  pid_t const child = ::fork();  // before there are threads
  if (child == 0) {
    {
      auto const bus = house_of(asked, half, asked.operations, server.url());
      settle();
      static_cast<void>(::write(ready[1], &byte, 1) == 1);
      all_arrived.await();
      static_cast<void>(::write(done[1], &byte, 1) == 1);
    }
    ::_exit(0);
  }
  auto const bus = house_of(asked, half, asked.operations, server.url());
  verify(::read(ready[0], &byte, 1) == 1, "the other process");
  auto const begin = now_ns();
  for (std::uint64_t i = 0; i < asked.operations; ++i) {
    publish(*bus, "all", i);
  }
  all_arrived.await();
  verify(::read(done[0], &byte, 1) == 1, "the other process");
  auto const elapsed = now_ns() - begin;
  ::waitpid(child, nullptr, 0);
  return {"1/s", 1e9 / per(elapsed, 2 * half * asked.operations)};
}

/// A publish to the embedded bus, by a thread.
figure embedded_publish(work const& asked) {
  auto const cells = asked.option("subscribers", 1);
  all_arrived.arm(std::max<std::uint64_t>(1, cells));
  auto bus = house_of(asked, cells, asked.operations, {});
  auto const begin = now_ns();
  for (std::uint64_t i = 0; i < asked.operations; ++i) {
    publish(*bus, "all", i);
  }
  auto const elapsed = now_ns() - begin;
  if (cells != 0) {
    all_arrived.await();
  }
  return {"ns", per(elapsed, asked.operations)};
}

class echoer : public karyon::cell {
public:
  using accepts = karyon::signals<tick>;
  explicit echoer(karyon::endocrine& bus) : bus_(&bus) {}
  void on(tick const& t) { verify(karyon::ok(bus_->publish("pong", t)), "publish"); }

private:
  karyon::endocrine* bus_;
};

class waiter : public karyon::cell {
public:
  using accepts = karyon::signals<tick>;
  void on(tick const&) { all_arrived.arrive(); }
};

/// From a publish through the server to a cell, and back in the same way.
figure nats_roundtrip(work const& asked) {
  nats_process const server;
  auto& rt = start_runtime(asked);
  karyon::endocrine bus(rt, unlimited(server.url()));
  auto const echo = rt.spawn<echoer>(bus);
  verify(bus.subscribe<tick>(echo, "ping").has_value(), "subscribe");
  std::vector<std::int64_t> samples;
  verify(bus.subscribe<tick>(rt.spawn<waiter>(), "pong").has_value(), "subscribe");
  verify(bus.await_subscriptions(std::chrono::seconds{30}).has_value(), "await_subscriptions");
  for (std::uint64_t i = 0; i < asked.operations; ++i) {
    all_arrived.arm(1);
    auto const begin = now_ns();
    publish(bus, "ping", i);
    all_arrived.await();
    samples.push_back(now_ns() - begin);
  }
  return {"us", percentile(samples, 50) / 1000};
}

/// As many as the thread can publish, whatever becomes of them, from a process that hears them itself: over a server that is there,
/// stopped, there again, and killed.
figure longest_publish(work const& asked) {
  nats_process const server;
  auto const bus = house_of(asked, 1, ~std::uint64_t{0}, server.url());
  longest_call calls;
  std::uint64_t refused = 0;
  auto const send = [&] { refused += ok(bus->publish("all", tick{1})) ? 0 : 1; };
  std::chrono::milliseconds const phase{asked.operations / 4};
  calls.make_for(phase, send);
  server.stop();
  calls.make_for(phase, send);
  server.go_on();
  calls.make_for(phase, send);
  server.kill();
  calls.make_for(phase, send);
  verify(refused != 0, "a server that is not there took everything");
  return calls.longest();
}

constexpr scenario scenarios[] = {
    {"broadcast", broadcast},           {"broadcast_in_two", broadcast_in_two}, {"embedded_publish", embedded_publish},
    {"nats_roundtrip", nats_roundtrip}, {"longest_publish", longest_publish},
};

}  // namespace

int main(int argc, char** argv) { drive(argc, argv, scenarios); }
