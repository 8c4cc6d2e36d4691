// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "sched/seat.hpp"
#include "support/catch.hpp"

namespace {

using karyon::detail::process_fences;
using karyon::detail::seat;

/// A worker without its scheduler.
struct thing {
  std::uint64_t touched = 0;  // by the holder alone; ThreadSanitizer and the sum tell of two
};

/// Runs turns, longer than a take takes, on the thing until told to stop, or until it has lost the thing; returns how often it has touched it.
std::uint64_t run(thing& t, seat& mine, const std::atomic<bool>& enough) {
  static const int what = 0;
  std::uint64_t n = 0;
  mine.take_place();
  while (!enough.load(std::memory_order_relaxed)) {
    ++t.touched;
    ++n;
    mine.begin_turn(&what);
    for (int sends = 0; sends < 3000; ++sends) {
      if (!mine.cover()) {
        mine.end_turn();
        return n;
      }
      ++t.touched;
      ++n;
      mine.expose();
    }
    const bool kept = mine.cover();
    mine.end_turn();
    if (!kept) return n;
  }
  return n;
}

}  // namespace

TEST_CASE("a seat that is taken again and again has one holder at a time") {
  REQUIRE(process_fences::prepare());
  constexpr std::uint64_t takes = 60;
  constexpr unsigned runners = 3;
  thing t;
  std::atomic<std::uint64_t> sum{0};
  std::atomic<bool> enough{false};
  std::atomic<bool> done{false};
  std::atomic<unsigned> wanted{0};  // whose turn it is, +1; 0 nobody's
  std::array<seat, runners> seats;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < runners; ++i) {
    threads.emplace_back([&, i] {
      while (!done.load(std::memory_order_acquire)) {
        unsigned mine = i + 1;
        if (wanted.compare_exchange_strong(mine, 0, std::memory_order_acquire)) {
          sum.fetch_add(run(t, seats[i], enough), std::memory_order_relaxed);
        }
        std::this_thread::yield();
      }
    });
  }
  unsigned holder = 0;
  std::uint64_t taken = 0;
  wanted.store(1, std::memory_order_release);
  while (taken < takes) {
    const seat::look seen = seats[holder].seen();
    // One that has lost it may not have noticed yet.
    if (!seen.lost && seen.number != 0 && seats[holder].take(seen.number)) {
      ++taken;
      holder = (holder + 1) % runners;
      wanted.store(holder + 1, std::memory_order_release);
    }
    std::this_thread::yield();
  }
  enough.store(true, std::memory_order_relaxed);
  done.store(true, std::memory_order_release);
  for (std::thread& thread : threads) thread.join();
  CHECK(t.touched == sum);
}
