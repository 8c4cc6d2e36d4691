#pragma once

#include <cstdint>

namespace karyon {

/// Which cells a worker runs first, as their class declares it: `static constexpr karyon::priority run_priority =
/// karyon::priority::high;`.
///
/// Of four turns of a worker up to three go to cells of high priority, in the order in which they became runnable, and at least
/// one to the others: these never starve, whatever the high ones do. High is for cells that are seldom runnable and must not
/// wait for many others; where all are high, none is. They are not given to idle workers: they run on the worker where they
/// become runnable. (Exits and supervisors have a lane of their own.)
enum class priority : std::uint8_t { normal, high };

/// The name; never null.
[[nodiscard]] constexpr const char* to_string(priority p) noexcept {
  switch (p) {
    case priority::normal: return "normal";
    case priority::high: return "high";
  }
  return "unknown";
}

}  // namespace karyon
