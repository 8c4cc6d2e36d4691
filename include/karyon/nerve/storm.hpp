// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include <karyon/core/export.hpp>

namespace karyon {

/// So many a second, and so many at once after a quiet time. `per_second` 0: no limit.
struct storm_limit {
  std::uint64_t per_second = 0;
  std::uint64_t burst = 1;
};

/// Bounds on what broadcasts may cost. A broadcast is cheap for its sender and dear for all others, so a mistake of one cell (debug
/// output sent to a subject that everybody listens to) is everybody's: it is stopped where it starts.
struct storm_limits {
  /// Signals that one sender publishes: a cell, or a thread that is none under the name that it gave.
  storm_limit sender{20'000, 20'000};
  /// Signals published to one subject, by all senders of this process.
  storm_limit subject{50'000, 50'000};
  /// Cells of this process that these signals are handed to; half a million cells reached once cost half a million. What
  /// comes from other processes counts too.
  storm_limit deliveries{5'000'000, 10'000'000};
  /// How often a signal may cause another: a cell that publishes while it handles a broadcast publishes with one hop more. Ends
  /// echoes. (A handler that waits at a co_await begins anew.)
  std::uint32_t hops = 16;
};

/// What made the guard refuse.
enum class storm_cause : std::uint8_t { sender, subject, deliveries, hops };
[[nodiscard]] KARYON_API const char* to_string(storm_cause c) noexcept;

/// A storm, told when it is first refused; again only after the sender, or the subject, has kept within half of its limit.
struct storm_report {
  std::string subject;
  /// Who published most to the subject when it was refused: "app::debug_output#1234", or the name that a thread gave itself.
  std::string sender;
  storm_cause cause = storm_cause::sender;
  std::uint64_t receivers = 0;  ///< cells of this process that one signal reaches
  friend bool operator==(const storm_report&, const storm_report&) = default;
};

/// "storm: app::debug_output#12 publishes to colony.alarm faster than allowed (deliveries, 500000 receivers)"
[[nodiscard]] KARYON_API std::string to_string(const storm_report& r);

}  // namespace karyon
