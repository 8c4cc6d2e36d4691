#pragma once

#include <cstdint>
#include <new>

#include <karyon/supervise/supervisor_spec.hpp>

#include "supervise/restart_budget.hpp"

namespace karyon::detail {

/// Whether a supervisor of many children restarts one more: its options' intensity, for all shards together. Any thread.
class restart_limits {
public:
  explicit restart_limits(const supervisor_options& options)
      : budget_(options.intensity.restarts, static_cast<std::uint64_t>(options.intensity.period.count())) {}

  [[nodiscard]] bool allow(std::uint64_t now_ns) noexcept {
    try {
      return budget_.add(now_ns);
    } catch (const std::bad_alloc&) {
      return false;  // a budget that can not be kept is exceeded
    }
  }

private:
  restart_budget budget_;
};

}  // namespace karyon::detail
