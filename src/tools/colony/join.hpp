// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include <karyon/nerve/node.hpp>

namespace karyon::tools {

/// The name that the process with the eyes has as a node, and what it publishes its conductor as.
inline constexpr const char* spread_node = "colony";
inline constexpr const char* spread_conductor = "conductor";

/// How the processes of a spread colony speak with each other.
[[nodiscard]] node_options spread_options(std::string name, std::string listen);

/// Where a member listens that joins at this endpoint: beside it.
[[nodiscard]] std::string member_endpoint(const std::string& joined);

/// `karyon colony --join`: hosts symbols for the colony at that endpoint until it ends. Returns the exit status; complains on standard
/// error. Blocks.
[[nodiscard]] int run_member(const std::string& endpoint, std::uint32_t workers, bool show_log);

}  // namespace karyon::tools
