#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <karyon/cell/exit_reason.hpp>
#include <karyon/core/export.hpp>

namespace karyon {

/// How reports are written to the log.
enum class report_format : std::uint8_t {
  text,  ///< A sentence for people.
  json,  ///< An object for programs.
};

/// What is known of a cell that has ended abnormally: OTP's crash report.
///
/// A plain value, taken on the worker where the cell ended, after its destructor has run and before its links are told
/// and its supervisor restarts it. docs/howto/read-crash-reports.md explains each field.
struct crash_report {
  /// A cell that was linked to this one.
  struct neighbour {
    std::uint64_t id = 0;
    std::string class_name;  ///< Empty if it has ended as well.
    friend bool operator==(const neighbour&, const neighbour&) = default;
  };
  static constexpr std::size_t neighbours_max = 8;

  /// The ids of its supervisors from the root on, then its own, or its number among those that were started together, or among
  /// all that were started one by one: "/app/sessions/#1234". A cell without a supervisor: "/spawned/<id>".
  std::string path;
  std::string class_name;
  std::uint64_t id = 0;           ///< What cell_ref::id gives.
  std::uint64_t incarnation = 1;  ///< 1 for the first cell of its role, and for one without a supervisor.
  exit_reason reason;
  std::string handling;               ///< The type of the signal whose handler threw; empty if it was none.
  std::uint64_t mailbox = 0;          ///< Signals that waited for it when it ended.
  std::uint64_t handled = 0;          ///< Signals that this incarnation has handled.
  std::uint64_t restarts = 0;         ///< How often its role had been restarted before.
  std::vector<neighbour> neighbours;  ///< At most neighbours_max, those linked first.
  std::uint64_t neighbours_total = 0;
  std::uint32_t worker = 0;  ///< Where it ended.
  std::uint32_t node = 0;
  std::uint64_t monotonic_ns = 0;  ///< When, by the clock that orders a runtime's events.
};

/// One line; control characters and invalid UTF-8 of the reason's words are escaped as in C ("\n", "\x1b").
[[nodiscard]] KARYON_API std::string to_text(const crash_report& r);
/// One line, a JSON object (RFC 8259) in valid UTF-8 whatever the reason's words are: bytes that are not UTF-8 become
/// U+FFFD. Ids are strings, since they have more bits than many readers' numbers. Fields are only ever added.
[[nodiscard]] KARYON_API std::string to_json(const crash_report& r);

}  // namespace karyon
