// SPDX-License-Identifier: Apache-2.0
#include <deque>
#include <random>

#include "supervise/backoff.hpp"
#include "supervise/cause_table.hpp"
#include "supervise/restart_history.hpp"
#include "unit/supervise/supervised.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

/// OTP's rule word by word, with whatever limit holds at the moment.
class slow_history {
public:
  explicit slow_history(std::uint64_t period) : period_(period) {}
  bool add(std::uint64_t now, std::uint64_t limit) {
    times_.push_back(now);
    std::uint64_t within = 0;
    for (const std::uint64_t t : times_) within += now - t <= period_ ? 1 : 0;
    return within <= limit;
  }

private:
  std::uint64_t period_;
  std::vector<std::uint64_t> times_;
};

/// One burst a reason: from its first failure to the window's end.
class slow_causes {
public:
  explicit slow_causes(std::uint64_t window) : window_(window) {}
  /// Whether this failure counts.
  bool counts(const exit_reason& why, std::uint64_t now) {
    for (const auto& [reason, began] : bursts_) {
      if (reason == why && now - began <= window_) return false;
    }
    bursts_.emplace_back(why, now);
    return true;
  }

private:
  std::uint64_t window_;
  std::vector<std::pair<exit_reason, std::uint64_t>> bursts_;
};

void kill_all(runtime& rt, const std::vector<child<ward>>& children, std::size_t first, std::size_t n) {
  for (std::size_t i = first; i < first + n; ++i) {
    const auto now = children[i].get();
    rt.exit(now, exit_reason::killed());
    REQUIRE(eventually([&] { return !now.alive() && (children[i].get() || !children[i].alive()); }));
  }
}

}  // namespace

TEST_CASE("a history decides as the slow rule does, at random times and with limits that change") {
  std::mt19937_64 rng(20'261'122);
  for (int round = 0; round < 200; ++round) {
    const std::uint64_t period = 1 + rng() % 200;
    const std::uint64_t gap_max = 1 + rng() % 40;
    detail::restart_history fast(period);
    slow_history slow(period);
    std::uint64_t now = rng() % 1'000;
    for (int i = 0; i < 200; ++i) {
      const std::uint64_t limit = rng() % 25;
      const bool expected = slow.add(now, limit);
      INFO("round " << round << ", restart " << i << ", limit " << limit << ", period " << period);
      REQUIRE(fast.add(now, limit) == expected);
      now += rng() % gap_max;
    }
  }
}

TEST_CASE("a history uses its memory again once the period has passed, and decides on as before") {
  constexpr std::uint64_t size = detail::restart_history::chunk_size;
  detail::restart_history h(1'000);
  std::uint64_t now = 0;
  for (std::uint64_t i = 0; i < 20 * size; ++i) {
    // Two in each unit of time: 2,002 within a period, both ends included.
    now = i / 2;
    if (!h.add(now, 2'002)) FAIL("at restart " << i);
  }
  CHECK(h.chunks_made() <= 2);
  CHECK_FALSE(h.add(now, 2'002));
  CHECK(h.add(now + 1'001, 1));
}

TEST_CASE("threads that restart at the same time are allowed exactly the history's limit") {
  constexpr std::uint64_t limit = 10'000;
  detail::restart_history h(1'000'000);
  std::atomic<std::uint64_t> allowed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (std::uint64_t i = 0; i < limit; ++i) allowed.fetch_add(h.add(7, limit) ? 1 : 0);
    });
  }
  for (auto& t : threads) t.join();
  CHECK(allowed == limit);
}

TEST_CASE("bursts are told apart as the slow rule does, at random times, and forgotten when they are over") {
  std::mt19937_64 rng(20'261'123);
  for (int round = 0; round < 100; ++round) {
    const std::uint64_t window = 1 + rng() % 50;
    detail::cause_table fast(window);
    slow_causes slow(window);
    std::uint64_t now = rng() % 1'000;
    for (int i = 0; i < 300; ++i) {
      const std::uint64_t which = rng() % 6;
      // The same words are the same cause, whoever wrote them; another type, text or kind is another.
      const exit_reason why = which == 0   ? exit_reason::killed()
                              : which == 1 ? exit_reason::shutdown("text")
                              : which == 2 ? exit_reason::error("type", "text")
                              : which == 3 ? exit_reason::error("type", "other text")
                                           : exit_reason::error("other type", "text");
      const bool expected = slow.counts(why, now);
      const bool got = !fast.find(why, now);
      if (got) fast.open(why, now);
      INFO("round " << round << ", failure " << i);
      REQUIRE(got == expected);
      REQUIRE(fast.size() <= 5);
      now += rng() % 20;
    }
    CHECK_FALSE(fast.find(exit_reason::normal(), now + window + 1));
    CHECK(fast.size() == 0);
  }
}

TEST_CASE("waits double from the minimum to the maximum, less a random part, and begin anew after a long run") {
  const restart_backoff options{.minimum = 10ms, .maximum = 35ms, .reset_after = 1'000ms, .jitter = 0.5};
  constexpr std::uint64_t ms = 1'000'000;
  constexpr std::uint64_t all = (std::uint64_t{1} << 53) - 1;
  detail::backoff_state b{0, 0};
  CHECK(b.next_wait_ns(options, 5 * ms, 0) == 10 * ms);
  CHECK(b.next_wait_ns(options, 6 * ms, 0) == 20 * ms);
  CHECK(b.next_wait_ns(options, 7 * ms, 0) == 35 * ms);
  CHECK(b.next_wait_ns(options, 8 * ms, 0) == 35 * ms);
  CHECK(b.next_wait_ns(options, 8 * ms, all) / 1000 == 17'500);
  b.started_ns = 10 * ms;
  CHECK(b.next_wait_ns(options, 1'009 * ms, 0) == 35 * ms);
  CHECK(b.next_wait_ns(options, 1'010 * ms, 0) == 10 * ms);
  // A time that has too many nanoseconds for 64 bits is centuries, and not 1 ms.
  constexpr std::chrono::milliseconds wraps((std::int64_t{1} << 58U) + 1);
  const restart_backoff patient{.minimum = 10ms, .maximum = 35ms, .reset_after = wraps, .jitter = 0.5};
  CHECK(b.next_wait_ns(patient, 2'000 * ms, 0) == 20 * ms);
  std::uint64_t state = 1;
  for (int i = 0; i < 1'000; ++i) {
    const std::uint64_t wait =
        b.next_wait_ns({.minimum = 10ms, .maximum = 10ms, .jitter = 0.2}, 0, detail::next_chance(state));
    REQUIRE(wait >= 8 * ms);
    REQUIRE(wait <= 10 * ms);
  }
}

TEST_CASE(
    "with a share, as many restarts are allowed as that share of the children, where it is more than the number") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise({.intensity = {2, 24h}, .intensity_share = 0.25});
  const auto children = s.start_many<ward>(40, std::ref(r), 0);
  kill_all(rt, children, 0, 10);
  CHECK(s.restarts() == 10);
  CHECK_FALSE(s.ended().has_value());
  kill_all(rt, children, 10, 1);
  REQUIRE(s.wait_ended(long_time));
  CHECK(s.restarts() == 10);
}

TEST_CASE("the number holds where the share is less, and the share follows the number of children") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise({.intensity = {2, 24h}, .intensity_share = 0.25});
  const auto first = s.start_many<ward>(4, std::ref(r), 0);
  kill_all(rt, first, 0, 2);
  CHECK_FALSE(s.ended().has_value());
  const auto more = s.start_many<ward>(36, std::ref(r), 0);
  kill_all(rt, more, 0, 8);
  CHECK_FALSE(s.ended().has_value());
  CHECK(s.restarts() == 10);
  kill_all(rt, more, 8, 1);
  REQUIRE(s.wait_ended(long_time));
  CHECK(s.restarts() == 10);
}

TEST_CASE("a burst with one cause counts once, however many shards it strikes; another cause counts again") {
  registry r;
  runtime rt(quiet(3));
  auto s = rt.supervise({.intensity = {2, 24h}, .one_cause_window = 1h});
  const auto children = s.start_many<ward>(10'000, std::ref(r), 0);
  s.exit_children(exit_reason::killed());
  REQUIRE(eventually([&] { return s.restarts() == 10'000 && r.living == 10'000; }));
  for (const auto& c : children) REQUIRE(eventually([&] { return ok(c.send(fail_hard{})); }));
  REQUIRE(eventually([&] { return s.restarts() == 20'000; }));
  CHECK_FALSE(s.ended().has_value());
  s.exit_children(exit_reason::error("third", "cause"));
  REQUIRE(s.wait_ended(long_time));
  CHECK(s.restarts() == 20'000);
}

TEST_CASE("without a window each failure of a burst counts") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise({.intensity = {2, 24h}});
  s.start_many<ward>(100, std::ref(r), 0);
  s.exit_children(exit_reason::killed());
  REQUIRE(s.wait_ended(long_time));
  CHECK(s.restarts() == 2);
}
