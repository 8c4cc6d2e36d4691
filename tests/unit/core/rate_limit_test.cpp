// SPDX-License-Identifier: Apache-2.0
#include "core/rate_limit.hpp"

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"

namespace {

using karyon::log_level;
using karyon::detail::rate_limited_reporter;
using karyon::detail::report_budget;

constexpr std::uint64_t second = 1'000'000'000;

int allowed(report_budget& budget, std::uint64_t now, int tries) {
  int n = 0;
  for (int i = 0; i < tries; ++i) n += budget.allow(now, "error") ? 1 : 0;
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
  for (std::uint64_t now = 0; now < 20 * second; now += 777'777) n += budget.allow(now, "error") ? 1 : 0;
  CHECK(n >= 10 + 10 * 20 - 1);
  CHECK(n <= 10 + 10 * 20);
}

TEST_CASE("no reports a second means none, and a burst of none still lets one through") {
  report_budget none(0, 5);
  CHECK(allowed(none, 0, 10) == 0);
  CHECK(allowed(none, 1000 * second, 10) == 0);
  CHECK(none.suppressed() == 20);
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

TEST_CASE("what is suppressed is summed up by kind, the most frequent first, once") {
  report_budget budget(1, 1);
  CHECK_FALSE(budget.take_summary(0).has_value());
  REQUIRE(budget.allow(10 * second, "error"));
  CHECK_FALSE(budget.take_summary(10 * second).has_value());
  for (int i = 0; i < 345; ++i) CHECK_FALSE(budget.allow(10 * second, "killed"));
  for (int i = 0; i < 12'000; ++i) static_cast<void>(budget.allow(10 * second + 1, "error"));
  CHECK(budget.take_summary(11 * second) ==
        std::string("suppressed 12,345 reports of the last 1.0 s: 12,000 error, 345 killed"));
  CHECK_FALSE(budget.take_summary(11 * second).has_value());
  CHECK(budget.suppressed() == 12'345);
  // The next sum counts from its own first refusal.
  REQUIRE(budget.allow(20 * second, "error"));
  CHECK_FALSE(budget.allow(20 * second, "error"));
  CHECK(budget.take_summary(20 * second + second / 4) == std::string("suppressed 1 report of the last 0.3 s: 1 error"));
  CHECK(budget.suppressed() == 12'346);
}

TEST_CASE("equal kinds are one, wherever their text lies, and too many kinds share the last count") {
  report_budget budget(0, 0);
  const std::string copy = "error";
  CHECK_FALSE(budget.allow(0, "error"));
  CHECK_FALSE(budget.allow(0, copy.c_str()));
  CHECK(budget.take_summary(0) == std::string("suppressed 2 reports of the last 0.0 s: 2 error"));
  std::vector<std::string> names;
  for (int i = 0; i < 30; ++i) names.push_back("kind" + std::to_string(i));
  for (const std::string& name : names) CHECK_FALSE(budget.allow(0, name.c_str()));
  const std::string text = budget.take_summary(0).value();
  CHECK(text.find("suppressed 30 reports") == 0);
  CHECK(text.find(": 16 other, 1 kind0, 1 kind1, ") != std::string::npos);
}

TEST_CASE("under a storm from many threads every report is allowed or in a summary") {
  report_budget budget(1000, 10);
  constexpr int threads = 4;
  constexpr int each = 20'000;
  std::atomic<int> through{0};
  std::atomic<std::uint64_t> clock{0};
  std::atomic<bool> done{false};
  std::uint64_t summed = 0;
  const auto add_summary = [&] {
    const auto text = budget.take_summary(clock);
    if (!text) return;
    std::string digits;
    for (const char c : text->substr(11, text->find(" report") - 11)) {
      if (c != ',') digits.push_back(c);
    }
    summed += std::strtoull(digits.c_str(), nullptr, 10);
  };
  std::thread summariser([&] {
    while (!done) add_summary();
  });
  std::vector<std::thread> storm;
  for (int t = 0; t < threads; ++t) {
    storm.emplace_back([&, t] {
      for (int i = 0; i < each; ++i) {
        if (budget.allow(clock.fetch_add(10'000), t % 2 == 0 ? "error" : "killed")) ++through;
      }
    });
  }
  for (std::thread& t : storm) t.join();
  done = true;
  summariser.join();
  add_summary();
  CHECK(through + static_cast<int>(summed) == threads * each);
  CHECK(budget.suppressed() == summed);
  // 0.8 s of the clock at 1,000 a second, and the burst; late threads may lose some.
  CHECK(through <= 10 + 800);
  CHECK(through > 0);
}

TEST_CASE("a reporter logs the sum of the suppressed before the next report, or when flushed, at the report's level") {
  std::vector<std::string> seen;
  karyon::set_log_sink([&](log_level level, std::string_view text) {
    seen.push_back(std::string(to_string(level)) + ": " + std::string(text));
  });
  rate_limited_reporter reporter(1, 2);
  const auto report = [&](std::uint64_t now, const char* text) {
    if (reporter.allow(now, "error")) reporter.emit(now, log_level::critical, text);
  };
  report(0, "first");
  report(0, "second");
  report(0, "third");
  report(second / 2, "fourth");
  report(2 * second, "fifth");
  report(2 * second, "sixth");
  report(2 * second, "seventh");
  reporter.flush(4 * second);
  reporter.flush(5 * second);
  karyon::set_log_sink({});
  CHECK(seen == std::vector<std::string>{
                    "critical: first", "critical: second", "critical: suppressed 2 reports of the last 2.0 s: 2 error",
                    "critical: fifth", "critical: sixth", "critical: suppressed 1 report of the last 2.0 s: 1 error"});
  CHECK(reporter.suppressed() == 3);
}
