#pragma once

#include <cstdint>
#include <string_view>

#include <karyon/supervise/supervisor_report.hpp>

#include "cell/slot.hpp"

namespace karyon::detail {

class runtime_core;

/// The supervisor that reports. The path is looked at during the call only.
struct report_source {
  static constexpr std::uint32_t no_shard = ~std::uint32_t{0};
  std::string_view path;  // "/app/sessions"
  std::uint32_t shard = no_shard;
};

/// The child that a report is about, as the supervisor has it at hand: nothing is copied unless the report is made.
struct report_offender {
  std::string_view id;  // empty: it has none, and is named by its index
  std::uint32_t index = 0;
  const class_info* info = nullptr;  // null: a supervisor
  address cell;                      // the incarnation; empty if there was none
  const child_options& options;
  child_shutdown shutdown;  // the policy that holds, defaults filled in
};

/// A supervisor's report: to the log, or counted by (context, reason, supervisor, shard) if there are too many (the sum
/// is logged later). Contexts `shutdown` and `shutdown_error` have a budget of their own, so that a storm of ends does
/// not drown them. Then to runtime_options::on_supervisor_report, which may call supervisors: no lock of theirs is held. Any
/// thread, best a worker. A report that is only counted costs some tens of nanoseconds and allocates nothing.
void report(runtime_core& core, const report_source& from, supervisor_context context, const exit_reason& why,
            const report_offender& about) noexcept;

}  // namespace karyon::detail
