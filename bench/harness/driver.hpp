// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <latch>
#include <semaphore>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

/// What the C++ drivers of the bench share: a driver does one run of one scenario in a fresh process and prints its figure.
///
///     driver SCENARIO CELLS OPERATIONS [WORD=NUMBER...]
///
/// CELLS and OPERATIONS come from the harness, so that no driver decides how much work it does; the words pick a shape of
/// this peer. The output is one line, `value UNIT NUMBER`. The exit status is 0 for a measured run, 1 for a run that went
/// wrong, 2 for wrong usage, and 77 (driver_not_here) where the machine has not got what the scenario takes.
/// bench/README.md defines each scenario, once for all peers.
namespace karyon::bench {

inline constexpr int driver_not_here = 77;

/// Thrown by a scenario that this machine can not do; what() says what it has not got.
struct not_here : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What one run is asked to do.
struct work {
  std::string scenario;
  std::uint64_t cells = 0;
  std::uint64_t operations = 0;
  std::vector<std::pair<std::string, std::uint64_t>> shape;

  /// The number after `word=` on the command line, or `fallback`.
  [[nodiscard]] std::uint64_t option(std::string_view word, std::uint64_t fallback) const {
    for (auto const& [name, value] : shape) {
      if (name == word) {
        return value;
      }
    }
    return fallback;
  }
};

/// One measured figure.
struct figure {
  char const* unit;
  double value;
};

/// A scenario by name, and the function that does it.
struct scenario {
  char const* name;
  figure (*run)(work const&);
};

inline std::int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

/// Processor time of all threads of this process.
inline std::int64_t process_cpu_ns() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

/// Resident memory of this process, from /proc/self/status.
inline double resident_bytes() {
  std::FILE* const file = std::fopen("/proc/self/status", "re");
  if (file == nullptr) {
    throw std::runtime_error("can not read /proc/self/status");
  }
  char line[256];
  double kibibytes = -1;
  while (std::fgets(line, sizeof line, file) != nullptr) {
    if (std::strncmp(line, "VmRSS:", 6) == 0) {
      kibibytes = std::strtod(line + 6, nullptr);
    }
  }
  std::fclose(file);
  if (kibibytes < 0) {
    throw std::runtime_error("no VmRSS in /proc/self/status");
  }
  return kibibytes * 1024;
}

/// Lets what is still running come to rest before memory or processor time is read.
inline void settle() { std::this_thread::sleep_for(std::chrono::milliseconds{500}); }

/// Counts arrivals and wakes one waiter at the last: how a run knows that all its cells have handled their signal.
///
/// `arm` before the signals that lead to `arrive` are sent, `await` from the thread that waits. `arrive` may be called from
/// any thread; what an arrival did before is visible to the waiter (acquire-release on the count, then on `open_`).
class gate {
public:
  void arm(std::uint64_t arrivals) {
    open_.store(0, std::memory_order_relaxed);
    left_.store(arrivals, std::memory_order_release);
  }

  void arrive() {
    if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      open_.store(1, std::memory_order_release);
      open_.notify_one();
    }
  }

  void await() { open_.wait(0, std::memory_order_acquire); }

private:
  alignas(64) std::atomic<std::uint64_t> left_{0};
  alignas(64) std::atomic<std::uint32_t> open_{0};
};

/// Fails the run with a sentence if the peer did not do the work that it was measured for.
inline void verify(bool held, char const* sentence) {
  if (!held) {
    throw std::runtime_error(sentence);
  }
}

/// Nanoseconds for each of so many.
inline double per(std::int64_t elapsed_ns, std::uint64_t count) {
  return static_cast<double>(elapsed_ns) / static_cast<double>(count);
}

/// The value that `percent` of the samples do not exceed.
inline double percentile(std::vector<std::int64_t>& samples, std::uint64_t percent) {
  verify(!samples.empty(), "nothing was sampled");
  std::sort(samples.begin(), samples.end());
  auto const rank = (samples.size() * percent + 99) / 100;
  return static_cast<double>(samples[std::max<std::size_t>(rank, 1) - 1]);
}

/// How long `ask` takes, called once a millisecond until `stop`. One that takes longer keeps those that were due in the meantime
/// from being made: they count with what they would have had to wait, or a stall would count once only.
template <class Ask, class Stop>
std::vector<std::int64_t> sample_latencies(Ask const& ask, Stop const& stop) {
  constexpr std::int64_t interval_ns = 1'000'000;
  std::vector<std::int64_t> latencies;
  auto due = now_ns();
  while (!stop()) {
    auto const begin = now_ns();
    ask();
    auto const end = now_ns();
    for (auto waited = end - begin; waited > 0; waited -= interval_ns) {
      latencies.push_back(waited);
    }
    due = std::max(due + interval_ns, end);
    std::this_thread::sleep_for(std::chrono::nanoseconds{std::max<std::int64_t>(0, due - now_ns())});
  }
  return latencies;
}

/// Several ordinary threads that feed one consumer, at most a window of items in flight from each, so that memory is bounded.
///
/// The items are the numbers below `items`; producer p sends those that leave p by division. The consumer calls `consumed`
/// with each, from one thread at a time; `run` returns when it has done so for all.
class outside_feed {
public:
  static constexpr std::uint64_t producers = 4;

  outside_feed(std::uint64_t items, std::uint64_t window)
      : half_(std::max<std::uint64_t>(1, window / 2)), items_(items) {
    for (auto& until : until_) {
      until = half_;
    }
  }

  /// Sends all items by `send(item)`; returns the nanoseconds from the start of all producers to the last item consumed.
  template <class Send>
  std::int64_t run(Send const& send) {
    all_consumed_.arm(1);
    // Each looks at the clock itself: this thread may get a core some milliseconds after them.
    std::array<std::int64_t, producers> begun{};
    std::latch start{producers};
    std::vector<std::thread> threads;
    for (std::uint64_t p = 0; p < producers; ++p) {
      threads.emplace_back([&, p] {
        start.arrive_and_wait();
        begun[p] = now_ns();
        auto left = std::uint64_t{0};
        for (auto item = p; item < items_; item += producers) {
          if (left == 0) {
            room_[p].acquire();
            left = half_;
          }
          --left;
          send(item);
        }
      });
    }
    all_consumed_.await();
    auto const end = now_ns();
    for (auto& thread : threads) {
      thread.join();
    }
    auto const elapsed = end - *std::min_element(begun.begin(), begun.end());
    verify(sum_ == items_ * (items_ - 1) / 2, "items of outside threads were lost");
    return elapsed;
  }

  void consumed(std::uint64_t item) {
    sum_ += item;
    auto const producer = item % producers;
    if (--until_[producer] == 0) {
      until_[producer] = half_;
      room_[producer].release();
    }
    if (++seen_ == items_) {
      all_consumed_.arrive();
    }
  }

private:
  gate all_consumed_;
  std::counting_semaphore<> room_[producers] = {std::counting_semaphore<>{2}, std::counting_semaphore<>{2},
                                                std::counting_semaphore<>{2},
                                                std::counting_semaphore<>{2}};  // halves of a window
  std::uint64_t until_[producers];
  std::uint64_t half_;
  std::uint64_t items_;
  std::uint64_t seen_ = 0;
  std::uint64_t sum_ = 0;
};

/// The minimal standard generator, written out because every peer has to pick the same partners.
struct partner_choice {
  std::uint64_t state;

  /// Any index below `count` but `self`.
  std::uint64_t next(std::uint64_t self, std::uint64_t count) {
    state = state * 48271 % 2147483647;
    auto const partner = state % count;
    return partner == self ? (self + 1) % count : partner;
  }
};

/// Draws timers and their delays, by the same generator in every peer.
struct timer_choice {
  std::uint64_t state;

  std::uint64_t below(std::uint64_t count) {
    state = state * 48271 % 2147483647;
    return state % count;
  }
  /// One to ten minutes: none fires during a run.
  std::uint64_t delay_ms() { return 60'000 + below(540'000); }
};

// Actors that never rest: each sends itself a signal whenever it handles one.

/// How often each of them has had a signal; each writes its own.
inline std::vector<std::atomic<std::uint64_t>> heard;

inline std::uint64_t heard_by_all() {
  std::uint64_t sum = 0;
  for (auto const& one : heard) {
    sum += one.load(std::memory_order_relaxed);
  }
  return sum;
}

/// Until each of them has handled one; for a minute at the longest.
inline void await_first_turns() {
  auto const give_up = now_ns() + 60'000'000'000;
  for (auto const& one : heard) {
    while (one.load(std::memory_order_relaxed) == 0 && now_ns() < give_up) {
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
  }
}

/// Signals that they handle in so many nanoseconds, a second.
inline double rate(std::int64_t for_ns) {
  auto const before = heard_by_all();
  auto const begin = now_ns();
  std::this_thread::sleep_for(std::chrono::nanoseconds{for_ns});
  auto const handled = heard_by_all() - before;
  return static_cast<double>(handled) * 1e9 / static_cast<double>(now_ns() - begin);
}

/// How many of them handle nothing while they handle so many signals each on the average.
inline std::uint64_t starved_meanwhile(std::uint64_t signals_each) {
  std::vector<std::uint64_t> before;
  before.reserve(heard.size());
  auto enough = heard.size() * signals_each;
  for (auto const& one : heard) {
    before.push_back(one.load(std::memory_order_relaxed));
    enough += before.back();
  }
  while (heard_by_all() < enough) {
    std::this_thread::sleep_for(std::chrono::milliseconds{100});
  }
  std::uint64_t starved = 0;
  for (std::size_t i = 0; i < heard.size(); ++i) {
    starved += heard[i].load(std::memory_order_relaxed) == before[i] ? 1 : 0;
  }
  return starved;
}

/// The `index`-th of `parts` shares of `total`, as even as can be.
inline std::uint64_t share(std::uint64_t total, std::uint64_t parts, std::uint64_t index) {
  return total / parts + (index < total % parts ? 1 : 0);
}

namespace detail {

inline std::uint64_t number(std::string_view text) {
  std::uint64_t value = 0;
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) {
    throw std::invalid_argument("not a number: " + std::string{text});
  }
  return value;
}

inline work parse(int argc, char const* const* argv) {
  if (argc < 4) {
    throw std::invalid_argument("usage: SCENARIO CELLS OPERATIONS [WORD=NUMBER...]");
  }
  work parsed{argv[1], number(argv[2]), number(argv[3]), {}};
  for (int i = 4; i < argc; ++i) {
    std::string_view const word{argv[i]};
    auto const equals = word.find('=');
    if (equals == std::string_view::npos) {
      throw std::invalid_argument("not WORD=NUMBER: " + std::string{word});
    }
    parsed.shape.emplace_back(word.substr(0, equals), number(word.substr(equals + 1)));
  }
  return parsed;
}

/// The scenario `clock`, which every driver has: what one reading of the clock adds to a figure.
inline figure clock_price(work const& asked) {
  auto const begin = now_ns();
  auto last = begin;
  for (std::uint64_t i = 0; i < asked.operations; ++i) {
    last = now_ns();
  }
  return {"ns", static_cast<double>(last - begin) / static_cast<double>(std::max<std::uint64_t>(1, asked.operations))};
}

}  // namespace detail

/// Calls `run` and ends the process with what a driver says then: its figures, or a sentence and the status.
///
/// The process ends without taking its actors down: the run is over, and a tear-down that takes a peer minutes is not what
/// the scenario measures.
template <class Run>
[[noreturn]] void finish_driver(Run const& run) {
  int status = 0;
  try {
    for (figure const& measured : run()) {
      std::printf("value %s %.3f\n", measured.unit, measured.value);
    }
  } catch (std::invalid_argument const& error) {
    std::fprintf(stderr, "%s\n", error.what());
    status = 2;
  } catch (not_here const& error) {
    std::fprintf(stderr, "%s\n", error.what());
    status = driver_not_here;
  } catch (std::exception const& error) {
    std::fprintf(stderr, "%s\n", error.what());
    status = 1;
  }
  std::fflush(nullptr);
  std::_Exit(status);
}

/// The whole of a driver's main function.
template <std::size_t Count>
[[noreturn]] void drive(int argc, char const* const* argv, scenario const (&scenarios)[Count]) {
  finish_driver([&]() -> std::vector<figure> {
    auto const asked = detail::parse(argc, argv);
    if (asked.scenario == "clock") {
      return {detail::clock_price(asked)};
    }
    for (auto const& one : scenarios) {
      if (asked.scenario == one.name) {
        return {one.run(asked)};
      }
    }
    throw std::invalid_argument("no such scenario: " + asked.scenario);
  });
}

}  // namespace karyon::bench
