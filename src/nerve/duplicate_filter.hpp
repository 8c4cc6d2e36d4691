// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <unordered_map>

namespace karyon::detail {

/// Tells what has been seen before, by origin and sequence: a window of 256 numbers behind the newest of each origin, as IPsec's
/// replay window (RFC 4303, 3.4.3). What is older than the window counts as seen. Remembers `origins_max` origins, 1 or more, and
/// forgets the one that has been quiet for longest. Not synchronised.
class duplicate_filter {
public:
  explicit duplicate_filter(std::size_t origins_max) : origins_max_(origins_max) {}
  duplicate_filter(duplicate_filter&&) = default;

  /// True the first time. Throws std::bad_alloc.
  [[nodiscard]] bool is_new(std::uint64_t origin, std::uint64_t sequence) {
    const auto found = places_.find(origin);
    if (found == places_.end()) {
      remember(origin, sequence);
    } else {
      windows_.splice(windows_.begin(), windows_, found->second);
    }
    window& w = windows_.front();
    if (sequence > w.newest) {
      const std::uint64_t ahead = sequence - w.newest;
      for (std::uint64_t i = 1; i <= (ahead < bits ? ahead : bits); ++i) w.clear(w.newest + i);
      w.newest = sequence;
    } else if (w.newest - sequence >= bits) {
      return false;
    }
    return w.set(sequence);
  }
  /// Whether is_new would say no; remembers nothing.
  [[nodiscard]] bool has_seen(std::uint64_t origin, std::uint64_t sequence) const {
    const auto found = places_.find(origin);
    if (found == places_.end()) return false;
    const window& w = *found->second;
    if (sequence > w.newest) return false;
    return w.newest - sequence >= bits || w.has(sequence);
  }
  [[nodiscard]] std::size_t origins() const noexcept { return places_.size(); }

private:
  static constexpr std::uint64_t bits = 256;
  struct window {
    std::uint64_t origin = 0;
    std::uint64_t newest = 0;
    std::uint64_t seen[bits / 64] = {};
    void clear(std::uint64_t n) noexcept { seen[n % bits / 64] &= ~(std::uint64_t{1} << (n % 64)); }
    [[nodiscard]] bool has(std::uint64_t n) const noexcept { return (seen[n % bits / 64] >> (n % 64) & 1u) != 0; }
    [[nodiscard]] bool set(std::uint64_t n) noexcept {
      const std::uint64_t bit = std::uint64_t{1} << (n % 64);
      std::uint64_t& word = seen[n % bits / 64];
      if ((word & bit) != 0) return false;
      word |= bit;
      return true;
    }
  };
  void remember(std::uint64_t origin, std::uint64_t sequence) {
    if (places_.size() >= origins_max_ && !windows_.empty()) {
      places_.erase(windows_.back().origin);
      windows_.pop_back();
    }
    windows_.push_front({origin, sequence, {}});
    try {
      places_.emplace(origin, windows_.begin());
    } catch (...) {
      windows_.pop_front();
      throw;
    }
  }
  const std::size_t origins_max_;
  std::list<window> windows_;  // the one that was heard of last first
  std::unordered_map<std::uint64_t, std::list<window>::iterator> places_;
};

}  // namespace karyon::detail
