// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace karyon::tools {

/// Tells whoever waits that the colony is at work: a bar that is redrawn on a terminal, within one line of it; one line a phase elsewhere.
///
/// Writes to standard error, so that standard output has nothing but results. One thread.
class progress {
public:
  enum class style : std::uint8_t { bar, lines, silent };

  explicit progress(style s) noexcept : style_(s) {}
  /// A bar if standard error is a terminal that can draw one; else lines, or nothing if `quiet`.
  [[nodiscard]] static progress for_standard_error(bool quiet);

  /// A new phase of the work, which `what` names.
  void begin(std::string what);
  /// `done` of `total` files, and how many signals were sent so far. Call it as often as you like.
  void update(std::uint64_t done, std::uint64_t total, std::uint64_t signals);
  /// The phase is over; its bar goes.
  void end();

private:
  style style_;
  std::string what_;
};

}  // namespace karyon::tools
