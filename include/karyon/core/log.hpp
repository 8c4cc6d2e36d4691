// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include <karyon/core/export.hpp>

namespace karyon {

/// How much a line of the log matters, in rising order.
enum class log_level : std::uint8_t {
  trace,
  debug,
  info,
  warn,      ///< Something is not as it should be, but works (binding refused).
  err,       ///< Something failed (a cell ended abnormally).
  critical,  ///< The runtime can not go on as configured.
  off,       ///< As a threshold: nothing is logged. No line has this level.
};

/// "trace", "debug", "info", "warn", "error", "critical" or "off"; never null.
[[nodiscard]] KARYON_API const char* to_string(log_level level) noexcept;

/// Logs lines of this level and above from now on, in all runtimes of the process; `warn` at the start. Any thread.
KARYON_API void set_log_level(log_level threshold) noexcept;
[[nodiscard]] KARYON_API log_level get_log_level() noexcept;

/// Takes a line without its newline. The text is valid during the call only.
using log_sink = std::function<void(log_level level, std::string_view text)>;

/// Sends the log of all runtimes of the process to the host's own; an empty function brings back the default, which
/// writes to the standard error stream with time and level.
///
/// Threads: any may call it. The sink is called on whatever thread has something to say, by one thread at a time, and
/// never again once a later call of `set_log_sink` has returned. It should be quick and must not wait for a cell, since
/// a worker may be the one that calls; what it throws is swallowed, and what it makes the library log is dropped.
KARYON_API void set_log_sink(log_sink sink);

}  // namespace karyon
