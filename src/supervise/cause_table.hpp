#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include <karyon/cell/exit_reason.hpp>

namespace karyon::detail {

/// Which failures belong to a burst that has been counted already: those with the same reason (kind, type and text) within
/// the window after the first of them.
///
/// I/O-free: time comes in. One thread at a time. O(1); keeps the reasons of the bursts that are still open.
class cause_table {
public:
  explicit cause_table(std::uint64_t window_ns) noexcept : window_ns_(window_ns) {}

  /// When the open burst of this reason began; nothing if there is none. The reference model is in the tests.
  [[nodiscard]] std::optional<std::uint64_t> find(const exit_reason& why, std::uint64_t now_ns) {
    // Clocks are read before locks are taken, so time may seem to step back a little: such a failure belongs to the burst, too.
    while (!order_.empty() && is_over(order_.front().first, now_ns)) {
      const auto old = began_.find(order_.front().second);
      if (old != began_.end() && old->second == order_.front().first) began_.erase(old);
      order_.pop_front();
    }
    const auto burst = began_.find(why);
    if (burst == began_.end() || is_over(burst->second, now_ns)) return std::nullopt;
    return burst->second;
  }
  /// A burst of this reason has begun. Throws std::bad_alloc.
  void open(const exit_reason& why, std::uint64_t began_ns) {
    order_.emplace_back(began_ns, why);
    began_.insert_or_assign(why, began_ns);
  }
  void clear() noexcept {
    order_.clear();
    began_.clear();
  }
  [[nodiscard]] std::size_t size() const noexcept { return began_.size(); }

private:
  struct hash {
    std::size_t operator()(const exit_reason& r) const noexcept {
      const std::size_t words = std::hash<std::string_view>()(r.type()) * 31 + std::hash<std::string_view>()(r.text());
      return words * 31 + static_cast<std::size_t>(r.why());
    }
  };
  [[nodiscard]] bool is_over(std::uint64_t began_ns, std::uint64_t now_ns) const noexcept {
    return now_ns > began_ns && now_ns - began_ns > window_ns_;
  }

  std::uint64_t window_ns_;
  std::deque<std::pair<std::uint64_t, exit_reason>> order_;     // in order of their beginnings
  std::unordered_map<exit_reason, std::uint64_t, hash> began_;  // looked up, never walked
};

}  // namespace karyon::detail
