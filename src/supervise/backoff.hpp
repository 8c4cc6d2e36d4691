#pragma once

#include <algorithm>
#include <cstdint>

#include <karyon/supervise/supervisor_spec.hpp>

#include "supervise/in_ns.hpp"

namespace karyon::detail {

/// How long a child's next restart waits. I/O-free: time and chance come in.
struct backoff_state {
  std::uint64_t started_ns = 0;  // of the incarnation that runs, or was tried last
  std::uint32_t step = 0;        // waits since the last long run

  /// The wait before the restart of a child that ended, or failed to start, at `now_ns`; `chance` is uniform over 0 to 2^53 - 1.
  [[nodiscard]] std::uint64_t next_wait_ns(const restart_backoff& options, std::uint64_t now_ns,
                                           std::uint64_t chance) noexcept {
    constexpr double ms = 1e6;
    if (now_ns - started_ns >= in_ns(options.reset_after)) step = 0;
    const auto minimum = static_cast<std::uint64_t>(options.minimum.count());
    const auto maximum = static_cast<std::uint64_t>(options.maximum.count());
    // Doubling ends where it is past the maximum, long before it is past 64 bits.
    std::uint64_t wait_ms = minimum;
    for (std::uint32_t i = 0; i < step && wait_ms < maximum; ++i) wait_ms *= 2;
    wait_ms = std::min(wait_ms, maximum);
    if (wait_ms < maximum) ++step;
    const double off = options.jitter * (static_cast<double>(chance) / 9007199254740992.0);
    constexpr double longest_ns = 1e18;  // 31 years: beyond it a monotonic clock would overflow
    return static_cast<std::uint64_t>(std::min(static_cast<double>(wait_ms) * ms, longest_ns) * (1.0 - off));
  }
};

/// The next of a sequence of 53-bit numbers that looks random: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
[[nodiscard]] inline std::uint64_t next_chance(std::uint64_t& state) noexcept {
  state += 0x9e37'79b9'7f4a'7c15;
  std::uint64_t z = state;
  z = (z ^ (z >> 30U)) * 0xbf58'476d'1ce4'e5b9;
  z = (z ^ (z >> 27U)) * 0x94d0'49bb'1331'11eb;
  return (z ^ (z >> 31U)) >> 11U;
}

}  // namespace karyon::detail
