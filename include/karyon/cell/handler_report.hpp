#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>

#include <karyon/cell/execution.hpp>

namespace karyon {

/// How long the handlers of one type (a cell class and a signal) take, and how often they took too long.
struct handler_report {
  /// Upper bounds of the histogram's classes in nanoseconds, each four times the one before; the last class has no bound.
  static constexpr std::array<std::uint64_t, 9> bounds_ns{256,     1'024,     4'096,     16'384,    65'536,
                                                          262'144, 1'048'576, 4'194'304, 16'777'216};

  std::string cell_class;
  std::string signal;
  /// How long the first handler of every 256th turn took. Few samples say little.
  std::array<std::uint64_t, bounds_ns.size() + 1> sampled{};
  /// Handlers that ran longer than the contract allows (watch_options::limit); all of them, not a sample.
  std::uint64_t overruns = 0;
  /// The longest of them, as far as it has been seen: short by a millisecond at most.
  std::chrono::nanoseconds longest_overrun{0};
  /// Where this runtime runs them now: as the class has declared, or on the dirty CPU pool if the type was moved there.
  execution runs_on = execution::worker;
};

/// A handler, hook or constructor that has not returned within the limit, and is running now.
struct running_handler {
  std::string cell_class;
  std::string signal;                 ///< its type; "on_start", "on_exit" or "constructor" for those
  std::uint64_t cell = 0;             ///< the cell's number, as in crash reports
  std::uint32_t worker = 0;           ///< where it began
  std::chrono::nanoseconds since{0};  ///< how long it has been seen to run
};

}  // namespace karyon
