// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mutex>

#include "sched/cpu.hpp"

namespace karyon::detail {

/// A mutex for those who must not wait for a thread: a lock that is held for a tenth of a microsecond is held for milliseconds where
/// the system takes the core from its holder in between. Tries for ten to a hundred microseconds, by how long the
/// processor's pause is, and then does without.
class [[nodiscard]] bounded_lock {
public:
  explicit bounded_lock(std::mutex& m) noexcept : mutex_(m) {
    constexpr int tries = 256;
    for (int i = 0; !(owns_ = mutex_.try_lock()) && i < tries; ++i) relax();
  }
  ~bounded_lock() {
    if (owns_) mutex_.unlock();
  }
  bounded_lock(const bounded_lock&) = delete;
  bounded_lock& operator=(const bounded_lock&) = delete;
  [[nodiscard]] explicit operator bool() const noexcept { return owns_; }

private:
  static void relax() noexcept {
    for (int i = 0; i < 8; ++i) cpu_relax();
  }
  std::mutex& mutex_;
  bool owns_ = false;
};

}  // namespace karyon::detail
