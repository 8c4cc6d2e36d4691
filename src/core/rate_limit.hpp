// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <karyon/core/export.hpp>

#include "core/log.hpp"

namespace karyon::detail {

/// Decides which reports of a storm are made, and counts the others by kind, without a clock or a log of its own.
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

  /// Whether a report may be made now. If not, it is counted under `kind`, which must be a string that lives as long as
  /// the budget, such as a literal. The first 15 kinds have counts of their own, later ones are counted as "other".
  /// Cost of a refusal: three loads and one atomic addition; no lock, no allocation.
  [[nodiscard]] bool allow(std::uint64_t now_ns, const char* kind) noexcept;

  /// What was refused since the last call, as "suppressed 12,345 reports of the last 1.0 s: 12,000 error, 345 killed";
  /// nothing if nothing was. Every refusal is in exactly one such text, at most one call later than it happened.
  [[nodiscard]] std::optional<std::string> take_summary(std::uint64_t now_ns);

  /// All that was ever refused. Exact unless a summary is being taken right now.
  [[nodiscard]] std::uint64_t suppressed() const noexcept;

private:
  static constexpr std::size_t kinds = 16;  // the last one is "other"

  struct counter {
    std::atomic<const char*> kind{nullptr};
    std::atomic<std::uint64_t> count{0};
  };

  [[nodiscard]] counter& counter_of(const char* kind) noexcept;

  const std::uint64_t period_ns_;  // 0: nothing is allowed
  const std::uint64_t tolerance_ns_;
  std::atomic<std::uint64_t> full_again_ns_{0};
  std::atomic<std::uint64_t> summed_up_{0};         // what summaries have taken from the counters
  std::atomic<std::uint64_t> pending_since_ns_{0};  // when the first one of those in the next summary was refused
  std::atomic<bool> pending_{false};
  std::array<counter, kinds> counters_;  // since the last summary
};

/// A report_budget in front of the log.
///
/// `if (r.allow(now, kind)) r.emit(now, level, text);` so that a suppressed text is never composed. Any thread.
class KARYON_API rate_limited_reporter {
public:
  explicit rate_limited_reporter(std::uint32_t per_second, std::uint32_t burst) noexcept : budget_(per_second, burst) {}
  /// With a burst of as many as a second may have.
  explicit rate_limited_reporter(std::uint32_t per_second) noexcept : rate_limited_reporter(per_second, per_second) {}

  [[nodiscard]] bool allow(std::uint64_t now_ns, const char* kind) noexcept { return budget_.allow(now_ns, kind); }
  /// Logs an allowed report, after a line that sums up what was suppressed before it.
  void emit(std::uint64_t now_ns, log_level level, std::string_view text) noexcept;
  /// Logs the sum of what was suppressed, if anything was: at the end of a storm, or of the runtime.
  void flush(std::uint64_t now_ns) noexcept;
  [[nodiscard]] std::uint64_t suppressed() const noexcept { return budget_.suppressed(); }

private:
  report_budget budget_;
  std::atomic<log_level> level_{log_level::err};  // of the latest report: a summary matters as much
};

}  // namespace karyon::detail
