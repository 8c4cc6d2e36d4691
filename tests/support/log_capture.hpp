#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <karyon/core/log.hpp>

namespace karyon::tests {

/// While one lives, the log's lines from `warn` on are here. Construct it after what turns the log off (quiet()).
class log_capture {
public:
  log_capture() {
    set_log_level(log_level::warn);
    set_log_sink([this](log_level, std::string_view text) {
      const std::lock_guard lock(mutex_);
      lines_.emplace_back(text);
    });
  }
  log_capture(const log_capture&) = delete;
  log_capture& operator=(const log_capture&) = delete;
  ~log_capture() {
    set_log_sink({});
    set_log_level(log_level::off);
  }

  [[nodiscard]] std::vector<std::string> lines() const {
    const std::lock_guard lock(mutex_);
    return lines_;
  }
  /// The lines in which `words` occur.
  [[nodiscard]] std::vector<std::string> with(std::string_view words) const {
    std::vector<std::string> found;
    for (std::string& line : lines()) {
      if (line.find(words) != std::string::npos) found.push_back(std::move(line));
    }
    return found;
  }
  /// What the sums say: the numbers before " more: " added up.
  [[nodiscard]] std::uint64_t summed_up() const {
    std::uint64_t n = 0;
    for (const std::string& line : with(" more: ")) {
      std::string digits;
      for (const char c : line.substr(0, line.find(' '))) {
        if (c != ',') digits.push_back(c);
      }
      n += std::stoull(digits);
    }
    return n;
  }

private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

}  // namespace karyon::tests
