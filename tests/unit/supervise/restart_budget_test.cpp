// SPDX-License-Identifier: Apache-2.0
#include "supervise/restart_budget.hpp"

#include <atomic>
#include <deque>
#include <random>
#include <thread>
#include <vector>

#include "support/catch.hpp"

using karyon::detail::restart_budget;

namespace {

/// OTP's rule word by word: all restarts within the period, this one included, may be `restarts` at most.
class slow_budget {
public:
  slow_budget(std::uint32_t restarts, std::uint64_t period) : restarts_(restarts), period_(period) {}
  bool add(std::uint64_t now) {
    times_.push_back(now);
    std::size_t within = 0;
    for (const std::uint64_t t : times_) within += now - t <= period_ ? 1 : 0;
    return within <= restarts_;
  }

private:
  std::uint32_t restarts_;
  std::uint64_t period_;
  std::vector<std::uint64_t> times_;
};

}  // namespace

TEST_CASE("a budget of no restarts allows none") {
  restart_budget b(0, 1'000);
  CHECK_FALSE(b.add(0));
  CHECK_FALSE(b.add(1'000'000));
}

TEST_CASE("a budget allows so many restarts within its period, and one more once the oldest lies beyond it") {
  restart_budget b(3, 100);
  CHECK(b.add(10));
  CHECK(b.add(10));
  CHECK(b.add(50));
  SECTION("still within the period") { CHECK_FALSE(b.add(110)); }
  SECTION("just beyond the period") { CHECK(b.add(111)); }
  SECTION("long after") {
    CHECK(b.add(10'000));
    CHECK(b.add(10'000));
    CHECK(b.add(10'000));
    CHECK_FALSE(b.add(10'000));
  }
}

TEST_CASE("a budget knows a restart at time zero") {
  restart_budget b(1, 100);
  CHECK(b.add(0));
  CHECK_FALSE(b.add(100));
}

TEST_CASE("a budget that starts late in the life of the machine is the same") {
  const std::uint64_t late = ~std::uint64_t{0} - 1'000;
  restart_budget b(1, 100);
  CHECK(b.add(late));
  CHECK(b.add(late + 101));
  CHECK_FALSE(b.add(late + 201));
}

TEST_CASE("a budget decides as the slow rule does, at random times") {
  std::mt19937_64 rng(20'261'121);
  for (int round = 0; round < 300; ++round) {
    const auto restarts = static_cast<std::uint32_t>(rng() % 20);
    const std::uint64_t period = 1 + rng() % 200;
    const std::uint64_t gap_max = 1 + rng() % (2 * period / (restarts + 1) + 2);
    restart_budget fast(restarts, period);
    slow_budget slow(restarts, period);
    std::uint64_t now = rng() % 1'000;
    for (int i = 0; i < 200; ++i) {
      const bool expected = slow.add(now);
      const bool got = fast.add(now);
      INFO("round " << round << ", restart " << i << ", " << restarts << " in " << period);
      REQUIRE(got == expected);
      now += rng() % gap_max;
    }
  }
}

TEST_CASE("a budget of millions is exact at its edge") {
  constexpr std::uint32_t many = 20'000;
  restart_budget b(many, 1'000);
  bool all = true;
  for (std::uint32_t i = 0; i < many; ++i) all = all && b.add(i / 100);
  CHECK(all);
  CHECK_FALSE(b.add(1'000));
}

TEST_CASE("threads that restart at the same time are allowed exactly the budget") {
  constexpr std::uint32_t budget = 10'000;
  restart_budget b(budget, 1'000'000);
  std::atomic<std::uint32_t> allowed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (std::uint32_t i = 0; i < budget; ++i) allowed.fetch_add(b.add(7) ? 1 : 0);
    });
  }
  for (auto& t : threads) t.join();
  CHECK(allowed == budget);
}
