// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "harness/driver.hpp"

#include <algorithm>
#include <barrier>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <pthread.h>
#include <sched.h>

/// The suite `matrix` for tables in C++: each peer says how it looks up, puts and reads a range, everything else is the same.
///
///     struct table {
///       void put(std::uint64_t key, std::uint64_t value);           // inserts or replaces
///       bool look_up(std::uint64_t key, std::uint64_t& value);
///       std::uint64_t range(std::uint64_t from, std::uint64_t n);   // how many of n entries were copied out, in order
///     };
namespace karyon::bench::matrix {

inline constexpr std::uint64_t range_keys = 1000;

/// Draws keys: uniformly, or by Zipf's law with the exponent 0.99, from a sample that is made before the clock runs. By the minimal
/// standard generator, whose numbers are small integers in Erlang as well: all peers draw the same keys.
class key_choice {
public:
  key_choice(std::uint64_t keys, bool zipf, std::uint64_t seed) : keys_(keys), state_(seed * 7919 + 12345) {
    if (zipf) {
      make_sample(seed);
    }
  }
  std::uint64_t next() {
    state_ = after(state_);
    return sample_.empty() ? state_ * keys_ >> 31U : sample_[state_ % sample_size];
  }

private:
  static constexpr std::uint64_t modulus = 2147483647;
  static constexpr std::size_t sample_size = 65536;
  static std::uint64_t after(std::uint64_t state) { return state * 48271 % modulus; }
  /// By rejection-inversion over the continuous law, which is near enough: rank r has the share of r to r + 1.
  void make_sample(std::uint64_t seed) {
    auto const top = std::pow(static_cast<double>(keys_) + 1, 0.01) - 1;
    sample_.resize(sample_size);
    auto state = seed * 104729 + 1;
    for (auto& key : sample_) {
      state = after(state);
      auto const u = static_cast<double>(state) / static_cast<double>(modulus);
      auto const rank = static_cast<std::uint64_t>(std::pow(1 + u * top, 100)) - 1;
      // The popular ones are spread over the whole table.
      key = std::min(rank, keys_ - 1) * 2654435761U % keys_;
    }
  }

  std::uint64_t keys_;
  std::uint64_t state_;
  std::vector<std::uint64_t> sample_;
};

/// One for each thread, before the clock runs: a sample takes milliseconds. Each thread moves its own to where no other writes.
inline std::vector<key_choice> choices(work const& asked, std::uint64_t threads) {
  std::vector<key_choice> all;
  for (std::uint64_t thread = 0; thread < threads; ++thread) {
    all.emplace_back(asked.cells, asked.option("zipf", 0) != 0, thread + 1);
  }
  return all;
}

inline void pin_to(std::uint64_t core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core % std::max(1U, std::thread::hardware_concurrency()), &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

/// Fills it in an order in which neighbours come far from each other, or, with ordered=1, in the order of the keys: minutes less
/// for ten millions of them.
template <class Table>
void fill(Table& table, work const& asked) {
  auto const keys = asked.cells;
  if (asked.option("ordered", 0) != 0) {
    for (std::uint64_t key = 0; key < keys; ++key) {
      table.put(key, key);
    }
    return;
  }
  auto step = static_cast<std::uint64_t>(static_cast<double>(keys) * 0.6180339887) | 1U;
  while (std::gcd(step, keys) != 1) {
    step += 2;
  }
  for (std::uint64_t i = 0, key = 0; i < keys; ++i, key = (key + step) % keys) {
    table.put(key, key);
  }
}

/// Nanoseconds from the start of the first thread to the end of the last; `work(thread)` is what each does. Each looks at the clock
/// itself: where there are as many as cores, another that waits to take the time gets a core some milliseconds after them.
template <class Work>
std::int64_t together(std::uint64_t threads, Work const& work) {
  struct times {
    std::int64_t begin = 0;
    std::int64_t end = 0;
  };
  std::vector<times> of(threads);
  std::barrier start{static_cast<std::ptrdiff_t>(threads)};
  std::vector<std::thread> all;
  for (std::uint64_t i = 0; i < threads; ++i) {
    all.emplace_back([&, i] {
      pin_to(i);
      start.arrive_and_wait();
      auto const begin = now_ns();
      work(i);
      of[i] = {begin, now_ns()};
    });
  }
  for (auto& each : all) {
    each.join();
  }
  auto const first =
      std::min_element(of.begin(), of.end(), [](times const& a, times const& b) { return a.begin < b.begin; });
  auto const last =
      std::max_element(of.begin(), of.end(), [](times const& a, times const& b) { return a.end < b.end; });
  return last->end - first->begin;
}

/// So many operations, every `one_in`-th of which replaces a value (0: none), shared by the threads. Nanoseconds in all.
template <class Table>
std::int64_t operate(Table& table, work const& asked, std::uint64_t threads, std::uint64_t operations,
                     std::uint64_t one_in) {
  std::atomic<std::uint64_t> missed{0};
  auto made = choices(asked, threads);
  auto const elapsed = together(threads, [&](std::uint64_t thread) {
    auto choice = std::move(made[thread]);
    std::uint64_t misses = 0;
    auto const mine = share(operations, threads, thread);
    for (std::uint64_t i = 0; i < mine; ++i) {
      auto const key = choice.next();
      if (one_in != 0 && i % one_in == 0) {
        table.put(key, i);
      } else {
        std::uint64_t value = 0;
        misses += table.look_up(key, value) ? 0 : 1;
      }
    }
    missed += misses;
  });
  verify(missed == 0, "a key was not found");
  return elapsed;
}

/// Nanoseconds an operation, of all threads together: two threads that take 100 ns each for theirs make 50 ns.
template <class Table>
figure operations(Table& table, work const& asked, std::uint64_t one_in) {
  auto const threads = asked.option("threads", 2);
  operate(table, asked, threads, asked.operations / 10, one_in);
  return {"ns", per(operate(table, asked, threads, asked.operations, one_in), asked.operations)};
}

template <class Table>
figure lookup(Table& table, work const& asked) {
  return operations(table, asked, 0);
}
template <class Table>
figure mixed(Table& table, work const& asked) {
  return operations(table, asked, 2);
}
template <class Table>
figure update(Table& table, work const& asked) {
  return operations(table, asked, 1);
}

/// How many times as many updates two threads do as one, on one table in one run.
template <class Table>
figure scaling(Table& table, work const& asked) {
  operate(table, asked, 2, asked.operations / 10, 1);
  double one = 0;
  double two = 0;
  for (int round = 0; round < 3; ++round) {
    one += static_cast<double>(operate(table, asked, 1, asked.operations / 3, 1));
    two += static_cast<double>(operate(table, asked, 2, asked.operations / 3, 1));
  }
  return {"times", one / two};
}

/// The same where each thread has a table of its own: nothing is shared, so what is missing to 2 is the machine's.
template <class Table>
figure scaling_apart(Table& table, work const& asked) {
  Table another{asked};
  fill(another, asked);
  Table* const own[] = {&table, &another};
  auto const update = [&](std::uint64_t threads, std::uint64_t operations) {
    auto made = choices(asked, threads);
    return static_cast<double>(together(threads, [&](std::uint64_t thread) {
      auto choice = std::move(made[thread]);
      auto const mine = share(operations, threads, thread);
      for (std::uint64_t i = 0; i < mine; ++i) {
        own[thread]->put(choice.next(), i);
      }
    }));
  };
  update(2, asked.operations / 10);
  double one = 0;
  double two = 0;
  for (int round = 0; round < 3; ++round) {
    one += update(1, asked.operations / 3);
    two += update(2, asked.operations / 3);
  }
  return {"times", one / two};
}

/// One thread reads ranges of 1,000 keys, the others write at full rate until it is done.
struct beside_writers {
  std::int64_t range_ns = 0;  // all ranges
  double writes_per_ns = 0;   // meanwhile
  double writes_alone_per_ns = 0;
};
template <class Table>
beside_writers ranges_and_writers(Table& table, work const& asked) {
  auto const threads = asked.option("threads", 2);
  auto const writers = threads > 1 ? threads - 1 : 0;
  beside_writers measured;
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> writes{0};
  std::vector<key_choice> made;
  auto const write = [&](std::uint64_t thread) {
    auto choice = std::move(made[thread]);
    std::uint64_t n = 0;
    while (!stop.load(std::memory_order_relaxed)) {
      for (int i = 0; i < 64; ++i) {
        table.put(choice.next(), ++n);
      }
    }
    writes += n;
  };
  for (int warm = 1; warm >= 0; --warm) {
    auto const ranges = warm != 0 ? asked.operations / 10 + 1 : asked.operations;
    stop = false;
    writes = 0;
    made = choices(asked, writers + 1);
    auto const elapsed = together(writers + 1, [&](std::uint64_t thread) {
      if (thread > 0) {
        return write(thread);
      }
      key_choice choice{asked.cells - range_keys, false, 77};
      auto const begin = now_ns();
      for (std::uint64_t i = 0; i < ranges; ++i) {
        verify(table.range(choice.next(), range_keys) == range_keys, "a range has other keys than were put in");
      }
      measured.range_ns = now_ns() - begin;
      stop = true;
    });
    measured.writes_per_ns = static_cast<double>(writes.load()) / static_cast<double>(elapsed);
  }
  if (writers != 0) {
    stop = false;
    writes = 0;
    made = choices(asked, writers + 1);
    auto const elapsed = together(writers + 1, [&](std::uint64_t thread) {
      if (thread > 0) {
        return write(thread);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds{300});
      stop = true;
    });
    measured.writes_alone_per_ns = static_cast<double>(writes.load()) / static_cast<double>(elapsed);
  }
  return measured;
}

template <class Table>
figure range(Table& table, work const& asked) {
  return {"ns", per(ranges_and_writers(table, asked).range_ns, asked.operations)};
}
/// What part of its rate a writer keeps while another thread reads ranges without a pause.
template <class Table>
figure range_writer(Table& table, work const& asked) {
  auto const measured = ranges_and_writers(table, asked);
  return {"percent", 100 * measured.writes_per_ns / measured.writes_alone_per_ns};
}

template <class Table>
figure run_one(Table& table, work const& asked) {
  using run = figure (*)(Table&, work const&);
  constexpr std::pair<std::string_view, run> all[] = {
      {"lookup", lookup<Table>},
      {"mixed", mixed<Table>},
      {"update", update<Table>},
      {"scaling", scaling<Table>},
      {"range", range<Table>},
      {"range_writer", range_writer<Table>},
      {"scaling_apart", scaling_apart<Table>},
  };
  for (auto const& [name, function] : all) {
    if (name == asked.scenario) {
      return function(table, asked);
    }
  }
  throw std::invalid_argument("no such scenario: " + asked.scenario);
}

inline std::vector<std::string> parts(std::string const& joined) {
  std::vector<std::string> split;
  std::istringstream words{joined};
  for (std::string word; std::getline(words, word, '+');) {
    split.push_back(word);
  }
  return split;
}

/// SCENARIO[+SCENARIO...] CELLS OPERATIONS[+OPERATIONS...]: one table for all of them, one after the other, `rounds` times over.
template <class Table>
[[noreturn]] void drive_all(int argc, char** argv) {
  finish_driver([&]() -> std::vector<figure> {
    std::vector<char*> words{argv, argv + argc};
    auto const scenarios = parts(argc > 3 ? argv[1] : "");
    auto const operations = parts(argc > 3 ? argv[3] : "");
    if (scenarios.empty() || scenarios.size() != operations.size()) {
      throw std::invalid_argument("usage: SCENARIO[+SCENARIO...] CELLS OPERATIONS[+OPERATIONS...] [WORD=NUMBER...]");
    }
    std::string first = operations.front();
    words[3] = first.data();
    auto asked = karyon::bench::detail::parse(argc, words.data());
    if (scenarios.front() == "clock") {
      return {karyon::bench::detail::clock_price(asked)};
    }
    Table table{asked};
    fill(table, asked);
    std::vector<figure> measured;
    for (std::uint64_t round = asked.option("rounds", 1); round > 0; --round) {
      for (std::size_t i = 0; i < scenarios.size(); ++i) {
        asked.scenario = scenarios[i];
        asked.operations = karyon::bench::detail::number(operations[i]);
        measured.push_back(run_one(table, asked));
      }
    }
    return measured;
  });
}

}  // namespace karyon::bench::matrix
