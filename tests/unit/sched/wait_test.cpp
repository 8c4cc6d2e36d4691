#include "sched/wait.hpp"

#include <atomic>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "sched/parker.hpp"
#include "support/catch.hpp"

using namespace karyon::detail;

namespace {

std::uint64_t in_a_minute() { return deadline_in(60'000'000'000u); }

}  // namespace

TEST_CASE("a wait for an event that has happened returns at once") {
  blocking_event e;
  e.set();
  CHECK(e.is_set());
  CHECK(e.wait_until(0));
  e.wait();
}

TEST_CASE("a wait ends at its deadline if nothing happens") {
  blocking_event e;
  CHECK_FALSE(e.wait_until(monotonic_ns() + 1'000'000));
  CHECK_FALSE(e.is_set());
}

TEST_CASE("an event wakes all that wait for it, who see what was done before it") {
  blocking_event e;
  int value = 0;
  std::atomic<int> seen{0};
  std::vector<std::thread> waiters;
  for (int i = 0; i < 4; ++i) {
    waiters.emplace_back([&] {
      if (e.wait_until(in_a_minute()) && value == 42) seen.fetch_add(1);
    });
  }
  value = 42;
  e.set();
  for (auto& w : waiters) w.join();
  CHECK(seen == 4);
}

TEST_CASE("an event may be destroyed as soon as its one waiter has seen it") {
  for (int i = 0; i < 1000; ++i) {
    auto e = std::make_unique<blocking_event>();
    std::thread setter([&e] { e->set(); });
    const bool set = e->wait_until(in_a_minute());
    e.reset();
    setter.join();
    REQUIRE(set);
  }
}

TEST_CASE("a count is reached when everything has arrived, and not before") {
  blocking_count none(0);
  CHECK(none.wait_until(0));
  blocking_count two(2);
  two.arrive();
  CHECK_FALSE(two.wait_until(0));
  std::thread last([&] { two.arrive(); });
  CHECK(two.wait_until(in_a_minute()));
  last.join();
}

TEST_CASE("a poll returns when its condition holds, or at the deadline") {
  CHECK(poll_until([] { return true; }, 0));
  CHECK_FALSE(poll_until([] { return false; }, monotonic_ns() + 1'000'000));
  std::atomic<bool> ready{false};
  std::thread other([&] { ready = true; });
  CHECK(poll_until([&] { return ready.load(); }, in_a_minute()));
  other.join();
}

TEST_CASE("a deadline beyond the clock's end is never") {
  CHECK(deadline_in(never_ns) == never_ns);
  CHECK(deadline_in(never_ns - 1) == never_ns);
  const std::uint64_t now = deadline_in(0);
  CHECK(now <= monotonic_ns());
}

TEST_CASE("random bits differ from call to call and from thread to thread") {
  std::set<std::uint64_t> seen{random_bits(), random_bits(), random_bits()};
  std::thread other([&] { seen.insert(random_bits()); });
  other.join();
  CHECK(seen.size() == 4);
}
