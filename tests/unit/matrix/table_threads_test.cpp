// SPDX-License-Identifier: Apache-2.0
#include <karyon/matrix/table.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "unit/matrix/choice.hpp"

namespace {

using karyon::table;
using karyon::tests::choice;
using numbers = table<std::uint64_t, std::uint64_t>;

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

/// Before each comparison of the thread that looks, another thread does what comes next in the script.
struct interrupted {
  std::thread::id looking;
  std::vector<std::function<void()>> script;
  std::size_t at = 0;
  bool armed = false;
};
struct interrupted_less {
  interrupted* by;
  bool operator()(int a, int b) const {
    if (by->armed && std::this_thread::get_id() == by->looking && by->at < by->script.size()) {
      std::thread(by->script[by->at++]).join();
    }
    return a < b;
  }
};

TEST_CASE("a look downwards that others keep in the way of comes to its end, and sees what is there") {
  using change = std::function<void()>;
  interrupted by;
  by.looking = std::this_thread::get_id();
  table<int, int, interrupted_less> t({}, interrupted_less{&by});
  REQUIRE(t.insert(5, 0).value());
  const change disturb = [&t] { static_cast<void>(t.update(5, [](int v) { return v + 1; })); };
  const change leave = [&t] { static_cast<void>(t.erase(5)); };
  const change move = [&t] { static_cast<void>(t.insert(3, 1)), static_cast<void>(t.erase(5)); };
  // One comparison an attempt, as there is one entry.
  by.script = {disturb, disturb, disturb, disturb};
  by.armed = true;
  REQUIRE(t.prev(10)->value == 4);
  REQUIRE(by.at == 4);
  // What was there is gone when the guess looks: then all is held.
  by.script = {disturb, disturb, disturb, disturb, leave};
  by.at = 0;
  REQUIRE_FALSE(t.prev(10).has_value());
  REQUIRE(by.at == 5);
  by.armed = false;
  REQUIRE(t.insert(5, 0).value());
  by.script = {disturb, disturb, disturb, disturb, move};
  by.at = 0;
  by.armed = true;
  REQUIRE(t.prev(10)->key == 3);
  by.armed = false;
  REQUIRE(t.insert(5, 0).value());  // nothing is held
}

TEST_CASE(
    "a node where writers meet is parted, and put together with its neighbour when they do not, by OTP's constants") {
  interrupted by;
  by.looking = std::this_thread::get_id();
  table<int, int, interrupted_less> t({}, interrupted_less{&by});
  for (int k = 0; k < 10; ++k) REQUIRE(t.insert(k, 0).value());
  by.armed = true;
  // Another thread changes the node after this one has looked at it, and before it has locked it.
  const auto meet = [&] {
    by.script = {[&t] { static_cast<void>(t.update(9, [](int v) { return v + 1; })); }};
    by.at = 0;
    REQUIRE_FALSE(t.insert(0, 1).value());
  };
  // Each time is 250 more, and each lock that nobody had to wait for is one less; more than 1000 is too much.
  for (int i = 0; i < 4; ++i) meet();
  REQUIRE(t.stats().splits == 0);
  meet();
  REQUIRE(t.stats().splits == 1);
  REQUIRE(t.stats().contention_splits == 1);
  for (int i = 0; i < 1000; ++i) REQUIRE_FALSE(t.insert(0, 2).value());
  REQUIRE(t.stats().joins == 0);
  REQUIRE_FALSE(t.insert(0, 2).value());
  REQUIRE(t.stats().joins == 1);
  // Nodes that are small for writers who have gone are put together sooner where ranges go over them: 10 less each.
  for (int i = 0; i < 5; ++i) meet();
  REQUIRE(t.stats().contention_splits == 2);
  for (int i = 0; i < 100; ++i) REQUIRE(t.snapshot().size() == 10);
  REQUIRE(t.stats().joins == 1);
  REQUIRE_FALSE(t.insert(0, 3).value());
  REQUIRE(t.stats().joins == 2);
  REQUIRE(t.snapshot().size() == 10);
  REQUIRE(t.lookup(9) == 10);
}

TEST_CASE("the greatest key is never seen to go back while it only moves up, however many nodes are empty") {
  numbers t;
  constexpr std::uint64_t steps = 20000;
  REQUIRE(t.insert(0, 0).value());
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> wrong{0};
  in_threads(3, [&](std::uint64_t i) {
    if (i == 0) {
      for (std::uint64_t k = 1; k <= steps; ++k) {
        static_cast<void>(t.insert(k * 3, k));
        static_cast<void>(t.erase((k - 1) * 3));
      }
      stop.store(true);
      return;
    }
    std::uint64_t seen = 0;
    while (!stop.load()) {
      const auto e = i == 1 ? t.last() : t.prev(steps * 4);
      if (!e || e->key < seen) {
        wrong.fetch_add(1);
        return;
      }
      seen = e->key;
    }
  });
  REQUIRE(wrong.load() == 0);
  REQUIRE(t.last()->key == steps * 3);
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
