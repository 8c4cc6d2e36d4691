// SPDX-License-Identifier: Apache-2.0
#include <karyon/matrix/table.hpp>

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"

namespace {

using karyon::table;
using numbers = table<std::uint64_t, std::uint64_t>;

struct choice {
  std::uint64_t state;
  std::uint64_t below(std::uint64_t n) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (state >> 33U) % n;
  }
};

template <class Work>
void in_threads(std::uint64_t n, const Work& work) {
  std::vector<std::thread> threads;
  std::atomic<std::uint64_t> ready{0};
  for (std::uint64_t i = 0; i < n; ++i) {
    threads.emplace_back([&, i] {
      ready.fetch_add(1);
      while (ready.load() < n) std::this_thread::yield();
      work(i);
    });
  }
  for (std::thread& each : threads) each.join();
}

TEST_CASE("counters that several threads add to lose nothing") {
  numbers t;
  constexpr std::uint64_t each = 20000;
  in_threads(4, [&](std::uint64_t i) {
    choice c{i};
    for (std::uint64_t n = 0; n < each; ++n) static_cast<void>(t.update_counter(c.below(50), 1));
  });
  std::uint64_t sum = 0;
  for (const auto& e : t.snapshot()) sum += e.value;
  REQUIRE(sum == 4 * each);
}

TEST_CASE("each of the keys that threads insert and take is had by exactly one") {
  table<std::string, std::string> t;
  constexpr std::uint64_t keys = 3000;
  std::atomic<std::uint64_t> put{0};
  std::atomic<std::uint64_t> taken{0};
  in_threads(3, [&](std::uint64_t i) {
    choice c{i + 7};
    for (int n = 0; n < 6000; ++n) {
      const std::string k = std::to_string(c.below(keys));
      if (c.below(2) == 0) {
        if (t.insert_new(k, "value of " + k).value()) put.fetch_add(1);
      } else if (const auto v = t.take(k).value()) {
        if (*v == "value of " + k) taken.fetch_add(1);
      }
    }
  });
  REQUIRE(put.load() - taken.load() == t.size());
  REQUIRE(t.size() == t.snapshot().size());
}

TEST_CASE("a range shows the moves between its keys all or not at all") {
  // What is in the accounts only moves: every snapshot has the same sum, though each move is two steps under a mark.
  numbers t;
  constexpr std::uint64_t accounts = 500;
  for (std::uint64_t k = 0; k < accounts; ++k) REQUIRE(t.insert(k, 100).value());
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> wrong{0};
  // One writer puts pairs in and takes them out, lower key first: a snapshot with the higher one has the lower one.
  in_threads(3, [&](std::uint64_t i) {
    if (i == 0) {
      for (std::uint64_t n = 0; n < 20000; ++n) {
        const std::uint64_t low = 1000 + n % 300;
        static_cast<void>(t.insert(low, n));
        static_cast<void>(t.insert(low + 2000, n));
        static_cast<void>(t.erase(low + 2000));
        static_cast<void>(t.erase(low));
      }
      stop.store(true);
      return;
    }
    while (!stop.load()) {
      const auto all = i == 1 ? t.range(0, 10000) : t.snapshot();
      std::vector<std::uint64_t> lows;
      for (const auto& e : all) {
        if (e.key >= 1000 && e.key < 3000) lows.push_back(e.key);
        if (e.key >= 3000 && (lows.empty() || lows.back() + 2000 != e.key)) wrong.fetch_add(1);
      }
      if (all.size() < accounts || all.size() > accounts + 2) wrong.fetch_add(1);
    }
  });
  REQUIRE(wrong.load() == 0);
}

TEST_CASE("readers see whole values of several words while they are replaced") {
  struct pair_of_words {
    std::uint64_t a, b, c;
  };
  table<int, pair_of_words> t;
  REQUIRE(t.insert(1, {0, 0, 0}).value());
  std::atomic<bool> stop{false};
  std::atomic<int> torn{0};
  in_threads(3, [&](std::uint64_t i) {
    if (i == 0) {
      for (std::uint64_t n = 1; n < 30000; ++n) static_cast<void>(t.insert(1, {n, n, n}));
      stop.store(true);
      return;
    }
    while (!stop.load()) {
      const auto v = t.lookup(1);
      if (!v || v->a != v->b || v->b != v->c) torn.fetch_add(1);
    }
  });
  REQUIRE(torn.load() == 0);
}

TEST_CASE("a table that grows and shrinks under several threads keeps every thread's own keys") {
  numbers t;
  std::atomic<int> wrong{0};
  in_threads(3, [&](std::uint64_t i) {
    for (std::uint64_t round = 0; round < 3; ++round) {
      for (std::uint64_t k = 0; k < 4000; ++k) {
        if (!t.insert(k * 3 + i, round).value()) wrong.fetch_add(1);
      }
      for (std::uint64_t k = 0; k < 4000; ++k) {
        if (t.lookup(k * 3 + i) != round) wrong.fetch_add(1);
      }
      for (std::uint64_t k = 0; k < 4000; ++k) {
        if (t.take(k * 3 + i).value() != round) wrong.fetch_add(1);
      }
    }
  });
  REQUIRE(wrong.load() == 0);
  REQUIRE(t.size() == 0);
  REQUIRE(t.snapshot().empty());
}

}  // namespace
