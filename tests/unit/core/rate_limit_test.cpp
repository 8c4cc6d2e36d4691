// SPDX-License-Identifier: Apache-2.0
#include "core/rate_limit.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <new>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace {

using karyon::detail::report_budget;
using karyon::detail::report_key;
using karyon::detail::report_tally;

constexpr std::uint64_t second = 1'000'000'000;

int allowed(report_budget& budget, std::uint64_t now, int tries) {
  int n = 0;
  for (int i = 0; i < tries; ++i) n += budget.allow(now) ? 1 : 0;
  return n;
}

}  // namespace

TEST_CASE("a burst is allowed at once, and then as many a second as configured") {
  report_budget budget(10, 5);
  const std::uint64_t start = GENERATE(std::uint64_t{0}, 7 * second + 123);
  REQUIRE(allowed(budget, start, 100) == 5);
  CHECK(allowed(budget, start + second / 10 - 1, 100) == 0);
  CHECK(allowed(budget, start + second / 10, 100) == 1);
  CHECK(allowed(budget, start + second / 10 * 3, 100) == 2);
  // Rest fills the bucket, but not above the burst.
  CHECK(allowed(budget, start + 100 * second, 100) == 5);
}

TEST_CASE("in the long run a storm gets what is configured, at whatever rate it comes") {
  report_budget budget(10, 10);
  int n = 0;
  for (std::uint64_t now = 0; now < 20 * second; now += 777'777) n += budget.allow(now) ? 1 : 0;
  CHECK(n >= 10 + 10 * 20 - 1);
  CHECK(n <= 10 + 10 * 20);
}

TEST_CASE("no reports a second means none, and a burst of none still lets one through") {
  report_budget none(0, 5);
  CHECK(allowed(none, 0, 10) == 0);
  CHECK(allowed(none, 1000 * second, 10) == 0);
  report_budget one(1, 0);
  CHECK(allowed(one, 0, 10) == 1);
  CHECK(allowed(one, second, 10) == 1);
}

TEST_CASE("a thread that is late with its time neither breaks the budget nor resets it") {
  report_budget budget(1, 2);
  CHECK(allowed(budget, 100 * second, 10) == 2);
  CHECK(allowed(budget, 99 * second, 10) == 0);
  CHECK(allowed(budget, 101 * second, 10) == 1);
}

namespace {

using tally = report_tally<std::string>;
using sums = std::map<std::string, std::uint64_t>;

std::pair<sums, std::uint64_t> take(tally& t) {
  sums s;
  const std::uint64_t others =
      t.take([&](std::uint64_t, std::uint64_t count, const std::string& words) { s[words] += count; });
  return {s, others};
}

}  // namespace

TEST_CASE("a tally counts by key, names each group once, and begins anew when it is taken") {
  tally t;
  int named = 0;
  const auto count = [&](std::uint64_t key) {
    t.count(key, [&] {
      ++named;
      return std::to_string(key);
    });
  };
  for (int i = 0; i < 345; ++i) {
    count(1);
    count(2);
    count(2);
  }
  CHECK(named == 2);
  CHECK(t.total() == 1035);
  CHECK(take(t) == std::pair(sums{{"1", 345}, {"2", 690}}, std::uint64_t{0}));
  CHECK(take(t) == std::pair(sums{}, std::uint64_t{0}));
  count(2);
  CHECK(take(t) == std::pair(sums{{"2", 1}}, std::uint64_t{0}));
  CHECK(t.total() == 1036);
}

TEST_CASE("a tally keeps sixteen groups and counts the rest together, without naming them") {
  tally t;
  unsigned named = 0;
  for (std::uint64_t key = 0; key < 1000; ++key) {
    t.count(key, [&] {
      ++named;
      return std::string("group");
    });
  }
  CHECK(named == tally::groups_max);
  t.count(3, [] { return std::string("not called"); });
  CHECK(take(t) == std::pair(sums{{"group", 17}}, std::uint64_t{1000 - 16}));
  CHECK(t.total() == 1001);
}

TEST_CASE("a new group takes the place of one that had nothing to count since the last sum, and no count is lost") {
  tally t;
  const auto count = [&](std::uint64_t key) { t.count_own(key, [&] { return std::to_string(key); }); };
  for (std::uint64_t key = 0; key < tally::groups_max; ++key) count(key);
  CHECK(take(t).first.size() == tally::groups_max);
  for (std::uint64_t key = 1; key < tally::groups_max; ++key) count(key);
  count(100);
  count(100);
  count(101);
  const auto [groups, others] = take(t);
  CHECK(groups.size() == tally::groups_max);
  CHECK(groups.count("0") == 0);
  CHECK(groups.at("100") == 2);
  CHECK(others == 1);
  CHECK(t.total() == 16 + 15 + 3);
}

TEST_CASE("a report whose group can not be named is counted all the same") {
  tally t;
  t.count(1, []() -> std::string { throw std::bad_alloc(); });
  CHECK(take(t) == std::pair(sums{}, std::uint64_t{1}));
  CHECK(t.total() == 1);
}

TEST_CASE("keys are equal for equal parts in the same order, and no others of these") {
  std::map<std::uint64_t, int> seen;
  const std::vector<std::vector<std::string>> parts{{"a", "b"},
                                                    {"b", "a"},
                                                    {"ab", ""},
                                                    {"", "ab"},
                                                    {"ab"},
                                                    {"12345678"},
                                                    {"12345678", "9"},
                                                    {"123456789"},
                                                    {""},
                                                    {},
                                                    {"", ""},
                                                    {std::string(1, '\0')},
                                                    {std::string(8, '\0')}};
  for (int round = 0; round < 2; ++round) {
    for (const auto& list : parts) {
      report_key key;
      for (const std::string& part : list) key.add(std::string_view(part));
      ++seen[key.value()];
    }
  }
  CHECK(seen.size() == parts.size());
  for (const auto& [key, count] : seen) CHECK(count == 2);
}

TEST_CASE("under a storm from many threads every report is allowed or in a sum") {
  const bool own = GENERATE(false, true);
  report_budget budget(1000, 10);
  constexpr int threads = 4;
  std::array<tally, threads> tallies;
  constexpr int each = 20'000;
  std::atomic<int> through{0};
  std::atomic<std::uint64_t> clock{0};
  std::atomic<bool> done{false};
  std::uint64_t summed = 0;
  const auto add_sum = [&] {
    for (tally& t : tallies) {
      const std::uint64_t others = t.take([&](std::uint64_t, std::uint64_t n, const std::string&) { summed += n; });
      summed += others;
    }
  };
  std::thread summariser([&] {
    while (!done) add_sum();
  });
  std::vector<std::thread> storm;
  for (int n = 0; n < threads; ++n) {
    storm.emplace_back([&, n] {
      for (int i = 0; i < each; ++i) {
        if (budget.allow(clock.fetch_add(10'000))) {
          ++through;
          continue;
        }
        const auto key = static_cast<std::uint64_t>(i / 3 % 20 + n);
        const auto words = [] { return std::string("words"); };
        if (own) {
          tallies[static_cast<std::size_t>(n)].count_own(key, words);
        } else {
          tallies[0].count(key, words);
        }
      }
    });
  }
  for (std::thread& one : storm) one.join();
  done = true;
  summariser.join();
  add_sum();
  CHECK(through + static_cast<int>(summed) == threads * each);
  std::uint64_t total = 0;
  for (const tally& t : tallies) total += t.total();
  CHECK(total == summed);
  // 0.8 s of the clock at 1,000 a second, and the burst; late threads may lose some.
  CHECK(through <= 10 + 800);
  CHECK(through > 0);
}
