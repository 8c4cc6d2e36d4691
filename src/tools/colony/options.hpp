// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace karyon::tools {

/// What `karyon colony` was asked for on its command line.
struct colony_options {
  std::vector<std::string> directories;  // none: this machine's header directories
  std::vector<std::string> who_uses;
  std::vector<std::string> who_defines;
  std::vector<std::string> impact;
  std::optional<std::int64_t> as_of;  // microseconds since 1970-01-01 UTC
  std::string engine;                 // empty: the one that is installed
  double kill_fraction = 0.10;        // 0 to 1
  std::uint64_t seed = 1;
  std::uint32_t workers = 0;  // 0: one a core
  std::uint64_t file_bytes_max = 16U << 20U;
  std::string listen;         // where other processes join; empty: this one alone
  std::uint32_t members = 0;  // so many of them are waited for
  std::string join;           // this process joins the colony there, and does nothing else
  bool json = false;
  bool log = false;    // show the runtime's log as well
  bool prompt = true;  // if there is a terminal to type at

  /// Whether a question is asked that the graph of the sources answers.
  [[nodiscard]] bool wants_graph() const noexcept { return !who_defines.empty() || !impact.empty() || as_of; }
};

/// Reads a number without sign, point or space; false if it is none or does not fit.
[[nodiscard]] bool parse_number(std::string_view text, std::uint64_t& number);

/// Reads "10%", "10" or "0.5%" as a fraction of 1; false unless it is a number from 0 to 100.
[[nodiscard]] bool parse_percentage(std::string_view text, double& fraction);

/// Whether colonies can meet there: "ipc:///folder/name", or "tcp://host:port" where the host is this machine's loopback.
[[nodiscard]] bool is_endpoint(std::string_view text);

/// Reads a time in UTC, "2026-11-21", "2026-11-21 18:30" or "2026-11-21T18:30:05Z", or seconds since 1970, "@1700000000", as microseconds
/// since 1970; false for what is none.
[[nodiscard]] bool parse_time(std::string_view text, std::int64_t& time_us);

/// The same time as "2026-11-21 18:30:05 UTC".
[[nodiscard]] std::string time_text(std::int64_t time_us);

}  // namespace karyon::tools
