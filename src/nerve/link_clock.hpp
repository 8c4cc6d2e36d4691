// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace karyon::detail {

/// How old is a frame that another machine stamped with its own clock? The two clocks have nothing in common but their rate; so the
/// age is bounded, from both sides' stamps of the same pulse.
///
/// A pulse left here at t0 of our clock and came to the peer at t1 of its clock. It took some time, so ours was then at least at t0:
/// ours - theirs >= t0 - t1. A frame stamped s there and looked at here at r is therefore at most r - (s + t0 - t1) old. What
/// the bound is too large by is what the pulse took to travel and to be looked at. Clocks that are steered differ in rate, by 500
/// millionths at most each; so a bound gives way by a thousandth of the time since its pulse.
///
/// One thread.
class link_clock {
public:
  void reset() noexcept { *this = link_clock(); }

  /// The peer got at `their_t1` what we sent at `our_t0`; it is `now` here.
  void learn(std::uint64_t our_t0, std::uint64_t their_t1, std::uint64_t now) noexcept {
    const std::uint64_t bound = our_t0 - their_t1;
    if (!known_ || static_cast<std::int64_t>(bound - at(now)) >= 0) {
      known_ = true;
      ours_minus_theirs_at_least_ = bound;
      since_ = now;
    }
  }
  [[nodiscard]] bool known() const noexcept { return known_; }

  /// The most that can have passed since the peer's clock showed `stamp`. known() only.
  [[nodiscard]] std::uint64_t age_ns_at_most(std::uint64_t stamp, std::uint64_t now) const noexcept {
    const auto age = static_cast<std::int64_t>(now - stamp - at(now));
    return age > 0 ? static_cast<std::uint64_t>(age) : 0;
  }

private:
  // Differences wrap, and only the last one is looked at as a signed number: a peer may say any time at all.
  [[nodiscard]] std::uint64_t at(std::uint64_t now) const noexcept {
    return ours_minus_theirs_at_least_ - (now - since_) / 1000;
  }

  std::uint64_t ours_minus_theirs_at_least_ = 0;
  std::uint64_t since_ = 0;
  bool known_ = false;
};

}  // namespace karyon::detail
