// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "harness/driver.hpp"

namespace karyon::bench {

/// How long the longest call takes that does not lose its core: one that the system interrupts to run another thread measures the
/// system, and is not counted. One that waits gives its core up by itself, and is.
class longest_call {
public:
  template <class Call>
  void make(Call const& call) {
    auto const interrupted = interruptions();
    auto const begin = now_ns();
    call();
    auto const took = now_ns() - begin;
    ++calls_;
    if (interruptions() == interrupted) longest_ns_ = std::max(longest_ns_, took);
  }
  template <class Call>
  void make_for(std::chrono::milliseconds time, Call const& call) {
    auto const end = now_ns() + std::chrono::nanoseconds{time}.count();
    while (now_ns() < end) make(call);
  }
  [[nodiscard]] figure longest() const {
    verify(calls_ > 1000, "too few calls");
    return {"us", static_cast<double>(longest_ns_) / 1000};
  }

private:
  static long interruptions() {
    rusage used{};
    ::getrusage(RUSAGE_THREAD, &used);
    return used.ru_nivcsw;
  }
  std::int64_t longest_ns_ = 0;
  std::uint64_t calls_ = 0;
};

}  // namespace karyon::bench
