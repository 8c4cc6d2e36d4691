#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace karyon::detail {

/// A time of a spec's in nanoseconds. Below zero it is none; beyond 278 years it is that: two of it still fit into 64 bits, so
/// that it can be added to a monotonic clock's time.
[[nodiscard]] constexpr std::uint64_t in_ns(std::chrono::milliseconds t) noexcept {
  constexpr std::int64_t most_ms = std::int64_t{1} << 43U;
  return static_cast<std::uint64_t>(std::clamp<std::int64_t>(t.count(), 0, most_ms)) * 1'000'000;
}

}  // namespace karyon::detail
