// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include <karyon/core/export.hpp>
#include <karyon/core/log.hpp>

namespace karyon::detail {

/// Whether a line of this level would go anywhere: ask before composing a costly one. Cost: one relaxed load.
[[nodiscard]] KARYON_API bool log_enabled(log_level level) noexcept;

/// Logs one line (no newline). Any thread; never throws: a line that can not be written is lost.
/// Cost: one relaxed load below the threshold; else a lock and what the sink takes. For events that may come in storms,
/// use core/rate_limit.hpp.
KARYON_API void log(log_level level, std::string_view text) noexcept;

/// Takes what one thread logs, in place of the process's sink: for simulations.
class log_capture {
public:
  log_capture(const log_capture&) = delete;
  log_capture& operator=(const log_capture&) = delete;
  virtual void line(log_level level, std::string_view text) = 0;

protected:
  log_capture() = default;
  ~log_capture() = default;
};
extern KARYON_API thread_local constinit log_capture* current_log_capture;

}  // namespace karyon::detail
