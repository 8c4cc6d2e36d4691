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
    value_ =
        (value_ ^ part) * 0x9e37'79b9'7f4a'7c15;  // Fibonacci hashing: the high bits are mixed best, so fold them down
    value_ ^= value_ >> 32U;
  }
  void add_address(const void* part) noexcept {
    add(static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(part)));
  }
  void add(std::string_view words) noexcept {
    add(static_cast<std::uint64_t>(words.size()));
    std::size_t at = 0;
    for (; at + 8 <= words.size(); at += 8) add(eight_bytes(words.data() + at));
    if (at == words.size()) return;
    if (words.size() >= 8) return add(eight_bytes(words.data() + words.size() - 8));  // some of them a second time
    std::uint64_t rest = 0;
    for (; at < words.size(); ++at) rest = rest << 8U | static_cast<unsigned char>(words[at]);
    add(rest);
  }
  [[nodiscard]] std::uint64_t value() const noexcept { return value_; }

private:
  static std::uint64_t eight_bytes(const char* from) noexcept {
    std::uint64_t part = 0;
    std::memcpy(&part, from, 8);
    return part;
  }

  std::uint64_t value_ = 0x9e37'79b9'7f4a'7c15;  // not 0, which parts of zeros would leave as it is
};

/// Counts the reports that were not made, by group, for a sum later. The memory is bounded: groups beyond `groups_max`,
/// unless there are some that had nothing to count since the last sum, are counted together.
///
/// Either one thread counts (count_own, which takes no lock for a group that was also the last one), or any (count).
/// The rest is for any thread. A count is sequentially consistent: a thread that counts and then sees no sum under way
/// is in the next one.
template <class Words>
class alignas(64) report_tally {
public:
  static constexpr std::size_t groups_max = 16;

  /// Counts one of group `key`. `words()` names the group; it is called, without the lock, if the group is new and has
  /// a place. What it throws makes this one count as one of the others.
  template <class Make>
  void count(std::uint64_t key, Make&& words) noexcept {
    {
      const std::lock_guard lock(mutex_);
      if (count_known(key)) return;
    }
    try {
      Words made = std::forward<Make>(words)();
      const std::lock_guard lock(mutex_);
      if (!count_known(key)) begin_group(key, std::move(made));
    } catch (...) {
      const std::lock_guard lock(mutex_);
      ++others_;
    }
  }
  template <class Make>
  void count_own(std::uint64_t key, Make&& words) noexcept {
    // What is read here changes on this thread only.
    if (used_ != 0 && groups_[last_].key == key) {
      groups_[last_].count.fetch_add(1);
    } else {
      count(key, std::forward<Make>(words));
    }
  }

  /// Hands the key, the words and what was counted since the last call of each group to `each`, under the lock, and
  /// gives the number of others. What `each` throws leaves its group and those behind it for the next call.
  template <class Each>
  std::uint64_t take(Each&& each) {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < used_; ++i) {
      group& g = groups_[i];
      const std::uint64_t now = g.count.load();
      if (now == g.taken) continue;
      each(g.key, now - g.taken, std::as_const(g.words));
      g.taken = now;
    }
    const std::uint64_t others = others_ - others_taken_;
    others_taken_ = others_;
    return others;
  }

  /// All that was ever counted.
  [[nodiscard]] std::uint64_t total() const noexcept {
    const std::lock_guard lock(mutex_);
    std::uint64_t n = others_ + replaced_;
    for (const group& g : groups_) n += g.count.load(std::memory_order_relaxed);
    return n;
  }

private:
  struct group {
    std::uint64_t key = 0;
    std::uint64_t taken = 0;  // of the count
    std::atomic<std::uint64_t> count{0};
    Words words{};
  };

  /// With the lock. False if the group is new and has a place.
  [[nodiscard]] bool count_known(std::uint64_t key) noexcept {
    for (std::size_t i = 0; i < used_; ++i) {
      if (groups_[i].key != key) continue;
      groups_[i].count.fetch_add(1);
      last_ = i;
      return true;
    }
    if (free_place() != groups_max) return false;
    ++others_;
    return true;
  }
  [[nodiscard]] std::size_t free_place() const noexcept {
    if (used_ < groups_max) return used_;
    std::size_t i = 0;
    while (i < groups_max && groups_[i].count.load(std::memory_order_relaxed) != groups_[i].taken) ++i;
    return i;
  }
  void begin_group(std::uint64_t key, Words&& words) noexcept {
    const std::size_t place = free_place();
    if (place == groups_max) {
      ++others_;
      return;
    }
    group& g = groups_[place];
    replaced_ += g.count.exchange(1);
    g.taken = 0;
    g.key = key;
    g.words = std::move(words);
    last_ = place;
    if (place == used_) ++used_;
  }

  mutable std::mutex mutex_;  // all below, but for the counts, and for what count_own reads
  std::size_t used_ = 0;
  std::size_t last_ = 0;
  std::uint64_t others_ = 0;
  std::uint64_t others_taken_ = 0;
  std::uint64_t replaced_ = 0;  // counts of groups that gave way to others
  std::array<group, groups_max> groups_;
};

}  // namespace karyon::detail
