// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include <karyon/matrix/gradient.hpp>

namespace karyon::detail {

/// What part of an amount is n keys away once it has spread by s = 2 * rate * time: e^-s * I_n(s).
[[nodiscard]] double spread_to(std::uint64_t n, double s) noexcept;

/// What is left of a source at a distance.
[[nodiscard]] double felt(const gradient_options& how, const gradient_source& s, std::uint64_t distance,
                          std::uint64_t now_ns) noexcept;

/// With one amount more; those that have faded are dropped.
[[nodiscard]] gradient_sources with_one_more(const gradient_options& how, const gradient_sources& sources,
                                             double amount, std::uint64_t now_ns);

/// When the sum of sources, as `sum(time)` gives it, next comes to the other side of a threshold; nothing if it does not.
template <class Sum>
[[nodiscard]] std::optional<std::uint64_t> next_crossing(const Sum& sum, double threshold, std::uint64_t now_ns) {
  // Sums of such curves change the slower the older they are, so the steps grow with the time.
  constexpr std::uint64_t first_step_ns = 100'000;
  constexpr std::uint64_t exact_ns = 1'000;
  constexpr std::uint64_t end_ns = std::uint64_t{1} << 55U;  // a year
  const bool above = sum(now_ns) >= threshold;
  std::uint64_t before = 0;
  for (std::uint64_t step = first_step_ns; step < end_ns; step += step / 8) {
    if ((sum(now_ns + step) >= threshold) == above) {
      before = step;
      continue;
    }
    std::uint64_t after = step;
    while (after - before > exact_ns) {
      const std::uint64_t middle = before + (after - before) / 2;
      ((sum(now_ns + middle) >= threshold) == above ? before : after) = middle;
    }
    return now_ns + after;
  }
  return std::nullopt;
}

}  // namespace karyon::detail
