// SPDX-License-Identifier: Apache-2.0
#include "harness/core_to_core.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include <pthread.h>
#include <sched.h>

namespace karyon::bench {
namespace {

std::vector<int> allowed_processors() {
  cpu_set_t allowed;
  std::vector<int> found;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
    return found;
  }
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &allowed)) {
      found.push_back(i);
    }
  }
  return found;
}

void pin_to(int processor) {
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(processor, &only);
  pthread_setaffinity_np(pthread_self(), sizeof only, &only);
}

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

std::optional<double> core_to_core_ns() {
  auto const processors = allowed_processors();
  if (processors.size() < 2) {
    return std::nullopt;
  }
  constexpr std::int64_t enough_ns = 10'000'000;
  // Whose turn it is: even the asker's, odd the answerer's; -1: no more. Releases pair with the other side's acquires.
  alignas(64) std::atomic<std::int64_t> turn{0};
  std::thread answerer{[&] {
    pin_to(processors[1]);
    for (std::int64_t at = 1;; at += 2) {
      std::int64_t seen = 0;
      while ((seen = turn.load(std::memory_order_acquire)) != at) {
        if (seen == -1) {
          return;
        }
      }
      turn.store(at + 1, std::memory_order_release);
    }
  }};
  std::int64_t elapsed = 0;
  std::int64_t rounds = 0;
  std::thread asker{[&] {
    pin_to(processors[0]);
    auto ask = [&, at = std::int64_t{0}]() mutable {
      turn.store(at + 1, std::memory_order_release);
      at += 2;
      while (turn.load(std::memory_order_acquire) != at) {
      }
    };
    ask();  // the other one runs
    for (auto const begin = now_ns(); elapsed < enough_ns; elapsed = now_ns() - begin) {
      for (int i = 0; i < 100; ++i) {
        ask();
      }
      rounds += 100;
    }
    turn.store(-1, std::memory_order_release);
  }};
  asker.join();
  answerer.join();
  return static_cast<double>(elapsed) / static_cast<double>(2 * rounds);
}

}  // namespace karyon::bench
