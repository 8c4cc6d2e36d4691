#pragma once

#include <new>

#include <karyon/cell/exit_reason.hpp>
#include <karyon/supervise/child_spec.hpp>

// What supervisors of both kinds have in common where children are made to end.

namespace karyon::detail {

/// Whether a child that its supervisor has made to end has ended as it should; if not, that is a shutdown_error. A kill of the
/// whole supervisor asks nobody, and is not for this function. OTP's rule (supervisor:shutdown/2, wait_dynamic_children/5).
[[nodiscard]] inline bool ended_as_asked(restart_type type, const child_shutdown& how,
                                         const exit_reason& why) noexcept {
  if (why.is_expected() && type != restart_type::permanent) return true;
  if (how.is_brutal_kill()) return why.why() == exit_reason::kind::killed;
  return why.why() == exit_reason::kind::shutdown && why.text().empty() && why.type().empty();
}

/// The reason in the report of a supervisor that gives up, as OTP words it.
[[nodiscard]] inline exit_reason too_many_restarts() noexcept {
  try {
    return exit_reason::shutdown("reached_max_restart_intensity");
  } catch (const std::bad_alloc&) {
    return exit_reason::shutdown();
  }
}

}  // namespace karyon::detail
