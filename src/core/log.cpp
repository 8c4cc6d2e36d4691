// SPDX-License-Identifier: Apache-2.0
#include "core/log.hpp"

#include <atomic>
#include <memory>
#include <mutex>
#include <utility>

#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_color_sinks.h>

namespace karyon {

namespace {

constinit std::atomic<log_level> threshold_now{log_level::warn};

spdlog::level::level_enum to_spdlog(log_level level) noexcept {
  switch (level) {
    case log_level::trace: return spdlog::level::trace;
    case log_level::debug: return spdlog::level::debug;
    case log_level::info: return spdlog::level::info;
    case log_level::warn: return spdlog::level::warn;
    case log_level::err: return spdlog::level::err;
    case log_level::critical: return spdlog::level::critical;
    case log_level::off: break;
  }
  return spdlog::level::off;
}

// A logger of its own, outside spdlog's registry, which belongs to the host.
log_sink standard_error_sink() {
  auto logger = std::make_shared<spdlog::logger>("karyon", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_level(spdlog::level::trace);  // the threshold has been applied before
  logger->set_pattern("[%Y-%m-%d %H:%M:%S.%e] [%n] [%^%l%$] %v");
  return [logger = std::move(logger)](log_level level, std::string_view text) {
    logger->log(to_spdlog(level), spdlog::string_view_t(text.data(), text.size()));
  };
}

struct log_state {
  std::recursive_mutex mutex;            // recursive: a sink may replace itself
  std::shared_ptr<const log_sink> sink;  // mutex; null until the default is needed
  bool busy = false;                     // mutex; the thread that has it is in the sink
};

// Never destroyed: a runtime may end, and log, after the static objects did.
log_state& state() {
  static log_state& s = *new log_state;
  return s;
}

}  // namespace

const char* to_string(log_level level) noexcept {
  switch (level) {
    case log_level::trace: return "trace";
    case log_level::debug: return "debug";
    case log_level::info: return "info";
    case log_level::warn: return "warn";
    case log_level::err: return "error";
    case log_level::critical: return "critical";
    case log_level::off: return "off";
  }
  return "unknown";
}

void set_log_level(log_level threshold) noexcept { threshold_now.store(threshold, std::memory_order_relaxed); }
log_level get_log_level() noexcept { return threshold_now.load(std::memory_order_relaxed); }

void set_log_sink(log_sink sink) {
  auto next = sink ? std::make_shared<const log_sink>(std::move(sink)) : nullptr;
  log_state& s = state();
  const std::lock_guard lock(s.mutex);
  s.sink.swap(next);  // the old one is destroyed after the lock, unless it is the caller and still in use
}

namespace detail {

thread_local constinit log_capture* current_log_capture = nullptr;

bool log_enabled(log_level level) noexcept { return level >= get_log_level() && level != log_level::off; }

void log(log_level level, std::string_view text) noexcept {
  if (!log_enabled(level)) return;
  try {
    if (current_log_capture != nullptr) return current_log_capture->line(level, text);
    log_state& s = state();
    const std::lock_guard lock(s.mutex);
    if (s.busy) return;
    if (s.sink == nullptr) s.sink = std::make_shared<const log_sink>(standard_error_sink());
    const std::shared_ptr<const log_sink> sink = s.sink;  // it may replace itself
    struct busy_scope {
      bool& busy;
      explicit busy_scope(bool& b) noexcept : busy(b) { busy = true; }
      ~busy_scope() { busy = false; }
    } const scope(s.busy);
    (*sink)(level, text);
  } catch (...) {  // the sink's trouble is not the caller's
  }
}

}  // namespace detail
}  // namespace karyon
