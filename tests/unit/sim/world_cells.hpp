// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <karyon/sim/testing.hpp>
#include <karyon/supervise/supervisor.hpp>

#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

#include "support/mute.hpp"

namespace karyon::tests {

struct add {
  std::int64_t amount;
};
struct total {};

class counter : public cell {
public:
  using accepts = signals<add, total>;
  void on(add m) { sum_ += m.amount; }
  std::int64_t on(total) { return sum_; }

private:
  std::int64_t sum_ = 0;
};

struct go {};

struct tick {};

/// Has a timer, and writes down when it fired.
class clockwork : public cell {
public:
  using accepts = signals<tick>;
  clockwork(testing::world* w, std::chrono::nanoseconds delay, std::vector<std::chrono::nanoseconds>* fired,
            bool periodic)
      : world_(w), delay_(delay), fired_(fired), periodic_(periodic) {}
  void on_start() {
    if (periodic_) {
      send_every(self(this), tick{}, delay_);
    } else {
      send_after(self(this), tick{}, delay_);
    }
  }
  void on(tick) { fired_->push_back(world_->now()); }

private:
  testing::world* world_;
  std::chrono::nanoseconds delay_;
  std::vector<std::chrono::nanoseconds>* fired_;
  bool periodic_;
};

struct boom {};

class fragile : public cell {
public:
  using accepts = signals<boom, total>;
  explicit fragile(int* starts) : starts_(starts) { ++*starts_; }
  void on(boom) { throw std::runtime_error("boom"); }
  int on(total) { return *starts_; }

private:
  int* starts_;
};

struct spin {};

class restless : public cell {
public:
  using accepts = signals<spin>;
  void on(spin) { self(this).send(spin{}); }
};

/// A timer is late by this at most.
inline constexpr auto timer_tick = std::chrono::nanoseconds(1 << 19);

}  // namespace karyon::tests
