// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "cell/inbox.hpp"
#include "support/catch.hpp"

// The mailbox word with real threads: what tests/model/inbox_model.cpp tries in all orders of few signals, here with many.

namespace {

using karyon::detail::inbox_word;
using karyon::detail::signal;

struct alignas(16) letter : signal {
  letter() : signal(nullptr) {}
  unsigned sender = 0;
  unsigned number = 0;
  std::uint32_t incarnation = 0;
};

constexpr unsigned senders = 3;

/// A cell whose state has no atomic: ThreadSanitizer sees if two threads ever run it at once.
struct counting_cell {
  inbox_word word;
  std::array<unsigned, senders> next{};
  std::uint64_t handled = 0;
  bool in_order = true;

  void handle(const letter& l) {
    in_order = in_order && l.number == next[l.sender];
    ++next[l.sender];
    ++handled;
  }
  void run(signal* first) {
    if (first != nullptr) handle(*static_cast<letter*>(first));
    while (true) {
      if (signal* newest = word.take_all()) {
        signal* oldest = nullptr;
        while (newest != nullptr) {
          signal* following = newest->next;
          newest->next = oldest;
          oldest = newest;
          newest = following;
        }
        for (; oldest != nullptr; oldest = oldest->next) handle(*static_cast<letter*>(oldest));
        continue;
      }
      if (word.go_idle()) return;
    }
  }
};

}  // namespace

TEST_CASE("a cell run by whichever sender finds it idle handles each signal once, in each sender's order") {
  constexpr unsigned each = 30'000;
  counting_cell cell;
  const auto letters = std::make_unique<std::array<std::array<letter, each>, senders>>();
  cell.word.open(1, false);
  std::vector<std::thread> threads;
  for (unsigned s = 0; s < senders; ++s) {
    threads.emplace_back([&cell, &mine = (*letters)[s], s] {
      for (unsigned i = 0; i < each; ++i) {
        mine[i].sender = s;
        mine[i].number = i;
        if (cell.word.push(&mine[i], cell.word.look()) == inbox_word::push_result::owner) cell.run(&mine[i]);
      }
    });
  }
  cell.run(nullptr);
  for (std::thread& t : threads) t.join();
  CHECK(cell.handled == std::uint64_t{senders} * each);
  CHECK(cell.in_order);
  CHECK_FALSE(cell.word.has_signals());
}

TEST_CASE("a signal for an incarnation is taken by that one or refused, however fast they follow each other") {
  constexpr std::uint32_t incarnations = 20'000;
  struct state {
    inbox_word word;
    std::uint32_t tenant = 0;  // the owner's
    std::uint64_t taken = 0;   // the owner's
    bool strayed = false;      // the owner's
    std::atomic<bool> done{false};
  } cell;
  auto look_at = [&cell](signal* list) {
    for (; list != nullptr; list = list->next) {
      cell.strayed = cell.strayed || static_cast<letter*>(list)->incarnation != cell.tenant;
      ++cell.taken;
    }
  };
  std::atomic<std::uint64_t> accepted{0};
  std::vector<std::thread> threads;
  std::vector<std::unique_ptr<std::vector<letter>>> kept;
  for (unsigned s = 0; s < 2; ++s) kept.push_back(std::make_unique<std::vector<letter>>(200'000));
  for (unsigned s = 0; s < 2; ++s) {
    threads.emplace_back([&, &mine = *kept[s]] {
      for (letter& l : mine) {
        const std::uint64_t seen = cell.word.look();
        if (cell.done.load(std::memory_order_relaxed)) return;
        if (!inbox_word::accepts(seen)) continue;
        l.incarnation = static_cast<std::uint32_t>(inbox_word::tag_of(seen));
        // The word never goes idle here, so nobody but this test's main thread ever owns the cell.
        if (cell.word.push(&l, seen) == inbox_word::push_result::queued)
          accepted.fetch_add(1, std::memory_order_relaxed);
      }
    });
  }
  for (std::uint32_t n = 1; n <= incarnations; ++n) {
    cell.tenant = n;
    cell.word.open(n, false);
    look_at(cell.word.take_all());
    look_at(cell.word.close());
  }
  cell.done.store(true, std::memory_order_relaxed);
  for (std::thread& t : threads) t.join();
  CHECK_FALSE(cell.strayed);
  CHECK(cell.taken == accepted.load());
}
