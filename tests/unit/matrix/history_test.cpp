// SPDX-License-Identifier: Apache-2.0
#include "unit/matrix/history.hpp"

#include <karyon/matrix/table.hpp>

#include <latch>
#include <map>
#include <mutex>

#include "support/catch.hpp"

namespace {

using namespace karyon::tests;
using numbers = karyon::table<int, int>;

event made(act what, int key, int value = 0, int other = 0) {
  event e{};
  e.what = what;
  e.key = key;
  e.value = value;
  e.other = other;
  return e;
}
event at(event e, std::uint64_t called, std::uint64_t returned) {
  e.called = called;
  e.returned = returned;
  return e;
}
event got(event e, std::optional<int> value) {
  e.got = value;
  return e;
}

TEST_CASE("the checker accepts what overlaps in either order, and refuses what no order explains") {
  const event put = at(
      [] {
        event e = made(act::insert, 0, 5);
        e.said = true;
        return e;
      }(),
      1, 4);
  const event late = at(got(made(act::lookup, 0), 5), 2, 3);
  const event early = at(got(made(act::lookup, 0), std::nullopt), 2, 3);
  const event behind = at(got(made(act::lookup, 0), std::nullopt), 5, 6);
  REQUIRE(linearizability({put, late}).holds({}));
  REQUIRE(linearizability({put, early}).holds({}));
  const std::vector<event> stale{put, behind};
  REQUIRE_FALSE(linearizability(stale).holds({}));
  // Seen by one, then not by another who began later.
  const std::vector<event> back{at(put, 1, 9), late, at(got(made(act::lookup, 0), std::nullopt), 5, 6)};
  REQUIRE_FALSE(linearizability(back).holds({}));
}

/// A table whose counters read and write in two steps; two threads are both between them at once.
struct hasty {
  std::mutex lock;
  std::map<int, int> entries;
  std::latch both_have_read{2};
  karyon::result<int> update_counter(int key, int amount) {
    std::unique_lock guard(lock);
    const int sum = entries[key] + amount;
    guard.unlock();
    both_have_read.arrive_and_wait();
    guard.lock();
    return entries[key] = sum;
  }
};

TEST_CASE("the checker finds a counter that loses an update") {
  hasty t;
  std::atomic<std::uint64_t> clock{0};
  std::vector<event> events{made(act::add, 0, 1), made(act::add, 0, 1)};
  std::vector<std::thread> threads;
  for (event& e : events) {
    threads.emplace_back([&] {
      e.called = clock.fetch_add(1);
      e.got = t.update_counter(0, e.value).value();
      e.returned = clock.fetch_add(1);
    });
  }
  for (std::thread& each : threads) each.join();
  REQUIRE_FALSE(linearizability(events).holds({}));
}

struct choice {
  std::uint64_t state;
  int below(int n) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<int>((state >> 33U) % static_cast<std::uint64_t>(n));
  }
};

std::vector<event> random_events(choice& c, int n) {
  std::vector<event> events;
  for (int i = 0; i < n; ++i) {
    const auto what = static_cast<act>(c.below(11));
    // Few values, so that a compare-and-set may meet its own.
    events.push_back(made(what, c.below(history_keys), c.below(3), c.below(3)));
  }
  return events;
}

TEST_CASE("what three threads see of one node is linearizable") {
  choice c{1};
  for (int round = 0; round < 300; ++round) {
    numbers t;
    const auto events = record(t, {random_events(c, 7), random_events(c, 7), random_events(c, 6)});
    REQUIRE(linearizability(events).holds({}));
  }
}

// next and prev would find the keys between: they are in the other test.
TEST_CASE("what three threads see of several nodes is linearizable, ranges included") {
  choice c{99};
  for (int round = 0; round < 150; ++round) {
    constexpr int spread = 100;
    numbers t;
    for (int k = 0; k < history_keys * spread; ++k) {
      if (k % spread != 0) REQUIRE(t.insert(k, -1).value());
    }
    std::vector<std::vector<event>> of_threads;
    for (int thread = 0; thread < 3; ++thread) {
      auto events = random_events(c, 6);
      for (event& e : events) {
        if (e.what == act::next || e.what == act::prev) e.what = act::range;
      }
      of_threads.push_back(events);
    }
    const auto events = record(t, of_threads, spread);
    REQUIRE(linearizability(events).holds({}));
  }
}

}  // namespace
