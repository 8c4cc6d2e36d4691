// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <string_view>

#include <karyon/core/log.hpp>

namespace karyon::tools {

/// While it lives the runtime's log is counted, not shown: a colony is killed on purpose, and thousands of reports of it would
/// drown what was asked for. What makes the runtime give up is shown all the same.
class quiet_log {
public:
  explicit quiet_log(bool shows_all) : shows_all_(shows_all) {
    if (shows_all_) return;
    set_log_sink([this](log_level level, std::string_view text) {
      lines_.fetch_add(1, std::memory_order_relaxed);
      if (level < log_level::critical) return;
      std::fprintf(stderr, "karyon: %.*s\n", static_cast<int>(text.size()), text.data());
    });
  }
  ~quiet_log() {
    if (!shows_all_) set_log_sink({});
  }
  quiet_log(const quiet_log&) = delete;
  quiet_log& operator=(const quiet_log&) = delete;

  /// Lines that were not shown. Relaxed: a count and nothing else.
  [[nodiscard]] std::uint64_t lines() const noexcept { return lines_.load(std::memory_order_relaxed); }

private:
  const bool shows_all_;
  std::atomic<std::uint64_t> lines_{0};
};

}  // namespace karyon::tools
