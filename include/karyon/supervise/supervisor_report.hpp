#pragma once

#include <cstdint>
#include <string>

#include <karyon/cell/exit_reason.hpp>
#include <karyon/core/export.hpp>
#include <karyon/supervise/child_spec.hpp>

namespace karyon {

/// What a supervisor was doing when it had something to report. OTP's `errorContext`.
enum class supervisor_context : std::uint8_t {
  start_error,       ///< A child did not start.
  child_terminated,  ///< A child has ended by itself, and that was not expected.
  shutdown_error,    ///< A child did not end as it was asked to, or had to be killed.
  shutdown,          ///< The supervisor gives up: too many restarts.
};
/// "start_error" and so on; never null.
[[nodiscard]] KARYON_API const char* to_string(supervisor_context c) noexcept;

/// What a supervisor says of a child: OTP's supervisor report.
struct supervisor_report {
  /// The child that it is about.
  struct child {
    /// Its spec's id; or "#1234", its number among those that were started together, or among all that were started one by one;
    /// or "tree-1234", likewise, for a supervisor.
    std::string id;
    std::string class_name;  ///< Empty for a supervisor.
    std::uint64_t cell = 0;  ///< The id of the cell that filled the role; 0 if there was none.
    restart_type restart = restart_type::permanent;
    child_shutdown shutdown = child_shutdown::infinity();
    child_kind kind = child_kind::worker;
    bool significant = false;
  };

  std::string supervisor;  ///< Its path, "/app/sessions", with the shard where there is one: "/app/sessions shard 1".
  supervisor_context context = supervisor_context::child_terminated;
  exit_reason reason;
  child offender;
  std::uint64_t monotonic_ns = 0;
};

/// As of a crash_report.
[[nodiscard]] KARYON_API std::string to_text(const supervisor_report& r);
[[nodiscard]] KARYON_API std::string to_json(const supervisor_report& r);

}  // namespace karyon
