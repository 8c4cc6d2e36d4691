// SPDX-License-Identifier: Apache-2.0
#include "unit/matrix/history.hpp"

#include <karyon/matrix/table.hpp>

#include <array>
#include <cstdint>
#include <latch>
#include <map>
#include <mutex>

#include "support/catch.hpp"
#include "unit/matrix/choice.hpp"

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
/// By a thread, behind so many events of each.
event at(event e, std::size_t thread, std::array<std::uint32_t, history_threads> behind = {}) {
  e.thread = thread;
  e.number = behind[thread];
  e.behind = behind;
  return e;
}
event said(event e) {
  e.said = true;
  return e;
}
event got(event e, std::optional<int> value) {
  e.got = value;
  return e;
}

TEST_CASE("the checker accepts what overlaps in either order, and refuses what no order explains") {
  const event put = at(said(made(act::insert, 0, 5)), 0);
  const event late = at(got(made(act::lookup, 0), 5), 1);
  const event early = at(got(made(act::lookup, 0), std::nullopt), 1);
  const event behind = at(got(made(act::lookup, 0), std::nullopt), 1, {1});
  REQUIRE(linearizability({put, late}).holds({}));
  REQUIRE(linearizability({put, early}).holds({}));
  const std::vector<event> stale{put, behind};
  REQUIRE_FALSE(linearizability(stale).holds({}));
  // Seen by one, then not by another who began later.
  const std::vector<event> back{put, late, at(got(made(act::lookup, 0), std::nullopt), 2, {0, 1})};
  REQUIRE_FALSE(linearizability(back).holds({}));
  // Both put one in and then miss the other's: what a write that still waits in its core's buffer looks like.
  const std::vector<event> crossed{
      at(said(made(act::insert, 0, 1)), 0), at(got(made(act::lookup, 1), std::nullopt), 0, {1}),
      at(said(made(act::insert, 1, 1)), 1), at(got(made(act::lookup, 0), std::nullopt), 1, {0, 1})};
  REQUIRE_FALSE(linearizability(crossed).holds({}));
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
  std::vector<event> events{at(made(act::add, 0, 1), 0), at(made(act::add, 0, 1), 1)};
  std::vector<std::thread> threads;
  for (event& e : events) {
    threads.emplace_back([&] { e.got = t.update_counter(0, e.value).value(); });
  }
  for (std::thread& each : threads) each.join();
  REQUIRE_FALSE(linearizability(events).holds({}));
}

int below(choice& c, int n) { return static_cast<int>(c.below(static_cast<std::uint64_t>(n))); }

std::vector<event> random_events(choice& c, int n) {
  std::vector<event> events;
  for (int i = 0; i < n; ++i) {
    const auto what = static_cast<act>(below(c, 11));
    // Few values, so that a compare-and-set may meet its own.
    events.push_back(made(what, below(c, history_keys), below(c, 3), below(c, 3)));
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
