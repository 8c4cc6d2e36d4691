// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <string_view>
#include <utility>

#include <karyon/core/export.hpp>

namespace karyon::detail {

/// Decides which reports of a storm are made, without a clock or a log of its own.
///
/// A token bucket, kept as the one time at which it will be full again ("generic cell rate algorithm", ITU-T I.371), so
/// that refusing takes no lock. Times are nanoseconds of any clock that does not run backwards; threads may be late by
/// what lies between their reading the clock and the call.
///
/// Any thread may call any function.
class KARYON_API report_budget {
public:
  /// At most `burst` reports at once, and `per_second` a second in the long run; 0 a second means none at all.
  explicit report_budget(std::uint32_t per_second, std::uint32_t burst) noexcept;

  /// Whether a report may be made now. Cost of a refusal: one load.
  [[nodiscard]] bool allow(std::uint64_t now_ns) noexcept {
    // All relaxed: the budget orders nothing but itself.
    std::uint64_t full = full_again_ns_.load(std::memory_order_relaxed);
    while (period_ns_ != 0 && full <= now_ns + tolerance_ns_) {
      const std::uint64_t next = (full > now_ns ? full : now_ns) + period_ns_;
      if (full_again_ns_.compare_exchange_weak(full, next, std::memory_order_relaxed)) return true;
    }
    return false;
  }

private:
  const std::uint64_t period_ns_;  // 0: nothing is allowed
  const std::uint64_t tolerance_ns_;
  std::atomic<std::uint64_t> full_again_ns_{0};
};

/// Tells groups of alike reports apart by 64 bits: equal parts added in the same order give equal keys.
class report_key {
public:
  void add(std::uint64_t part) noexcept {
    value_ = (value_ ^ part) * 0x9e37'79b9'7f4a'7c15;  // Fibonacci hashing: the high bits are mixed best, so fold them down
    value_ ^= value_ >> 32U;
  }
  void add(const void* part) noexcept { add(static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(part))); }
  void add(std::string_view words) noexcept {
    add(static_cast<std::uint64_t>(words.size()));
    for (; !words.empty(); words.remove_prefix(words.size() < 8 ? words.size() : 8)) {
      std::uint64_t part = 0;
      std::memcpy(&part, words.data(), words.size() < 8 ? words.size() : 8);
      add(part);
    }
  }
  [[nodiscard]] std::uint64_t value() const noexcept { return value_; }

private:
  std::uint64_t value_ = 0x9e37'79b9'7f4a'7c15;  // not 0, which parts of zeros would leave as it is
};

/// Counts the reports that were not made, by group, for a sum later. The memory is bounded: the first `groups_max` groups since the
/// last sum have counts and words of their own, those of all others are counted together.
///
/// Any thread may call any function. The lock is held for some nanoseconds; give threads that count often a tally each.
template <class Words>
class alignas(64) report_tally {
public:
  static constexpr std::size_t groups_max = 16;

  /// Counts one of group `key`. `words()` names the group; it is called, without the lock, if the group is new and has a
  /// place. What it throws makes this one count as one of the others.
  template <class Make>
  void count(std::uint64_t key, Make&& words) noexcept {
    {
      const std::lock_guard lock(mutex_);
      if (count_known(key)) return;
    }
    try {
      Words made = std::forward<Make>(words)();
      const std::lock_guard lock(mutex_);
      if (count_known(key)) return;
      groups_[used_] = {key, 1, std::move(made)};
      last_ = used_++;
      add_to_total();
    } catch (...) {
      const std::lock_guard lock(mutex_);
      ++others_;
      add_to_total();
    }
  }

  /// Hands each group's key, count and words to `each`, and gives the number of others; then begins anew.
  template <class Each>
  std::uint64_t take(Each&& each) {
    std::array<group, groups_max> taken;
    std::size_t used = 0;
    std::uint64_t others = 0;
    {
      const std::lock_guard lock(mutex_);
      for (; used < used_; ++used) taken[used] = std::exchange(groups_[used], group());
      used_ = 0;
      last_ = 0;
      others = std::exchange(others_, 0);
    }
    for (std::size_t i = 0; i < used; ++i) each(taken[i].key, taken[i].count, std::move(taken[i].words));
    return others;
  }

  /// All that was ever counted.
  [[nodiscard]] std::uint64_t total() const noexcept { return total_.load(std::memory_order_relaxed); }

private:
  struct group {
    std::uint64_t key = 0;
    std::uint64_t count = 0;
    Words words{};
  };

  void add_to_total() noexcept { total_.store(total_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed); }
  [[nodiscard]] bool count_known(std::uint64_t key) noexcept {
    // A storm's reports are mostly like the one before.
    std::size_t at = last_;
    if (at >= used_ || groups_[at].key != key) {
      for (at = 0; at < used_ && groups_[at].key != key;) ++at;
      if (at == used_) {
        if (used_ < groups_max) return false;
        ++others_;
        add_to_total();
        return true;
      }
      last_ = at;
    }
    ++groups_[at].count;
    add_to_total();
    return true;
  }

  std::mutex mutex_;  // all below; the total is also read without it
  std::size_t used_ = 0;
  std::size_t last_ = 0;
  std::uint64_t others_ = 0;
  std::atomic<std::uint64_t> total_{0};
  std::array<group, groups_max> groups_;
};

}  // namespace karyon::detail
