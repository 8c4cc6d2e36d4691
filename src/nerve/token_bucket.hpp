// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include <karyon/nerve/storm.hpp>

namespace karyon::detail {

/// A token bucket that may go into debt: what is asked for is given whole while there is anything left, and nothing more until time
/// has paid for it. So one broadcast that costs more than the whole burst can still be made, once. Not synchronised.
///
/// Tripped: from the first refusal until half of the burst has come back, so that a storm is told once and not at each refill.
class token_bucket {
public:
  enum class answer : std::uint8_t { given, refused, tripped };  ///< tripped: refused, and the first time

  [[nodiscard]] answer take(double cost, const storm_limit& limit, std::uint64_t now_ns) noexcept {
    if (limit.per_second == 0) return answer::given;
    refill(limit, now_ns);
    if (tripped_ && left_ * 2 >= static_cast<double>(limit.burst)) tripped_ = false;
    if (left_ > 0 && !tripped_) {
      left_ -= cost;
      return answer::given;
    }
    return std::exchange(tripped_, true) ? answer::refused : answer::tripped;
  }
  /// How much of its burst is there at the time.
  [[nodiscard]] double share_left(const storm_limit& limit, std::uint64_t now_ns) noexcept {
    if (limit.per_second == 0) return 1;
    refill(limit, now_ns);
    return left_ / static_cast<double>(limit.burst);
  }

private:
  void refill(const storm_limit& limit, std::uint64_t now_ns) noexcept {
    const auto burst = static_cast<double>(limit.burst);
    if (!begun_) {
      begun_ = true;
      left_ = burst;
    } else if (now_ns > filled_ns_) {
      left_ = std::min(burst,
                       left_ + static_cast<double>(now_ns - filled_ns_) * 1e-9 * static_cast<double>(limit.per_second));
    }
    filled_ns_ = std::max(filled_ns_, now_ns);
  }
  double left_ = 0;
  std::uint64_t filled_ns_ = 0;
  bool begun_ = false;
  bool tripped_ = false;
};

}  // namespace karyon::detail
