// SPDX-License-Identifier: Apache-2.0
#include "core/rate_limit.hpp"

#include <algorithm>

namespace karyon::detail {

namespace {
constexpr std::uint64_t second_ns = 1'000'000'000;
}

report_budget::report_budget(std::uint32_t per_second, std::uint32_t burst) noexcept
    : period_ns_(per_second == 0 ? 0 : std::max<std::uint64_t>(1, second_ns / per_second)),
      tolerance_ns_(period_ns_ * (std::max<std::uint64_t>(1, burst) - 1)) {}

}  // namespace karyon::detail
