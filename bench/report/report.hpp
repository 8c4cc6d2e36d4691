// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "harness/runner.hpp"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <iosfwd>
#include <vector>

namespace karyon::bench {

/// One row a measurement, one column a peer: median (min to max), and for a peer its ratio to Karyon. A peer without a
/// figure is named as failed, with the reason below the table.
void print_table(std::ostream& out, std::vector<result> const& results, nlohmann::ordered_json const& context);

/// The report for programs, schema 1. A failed peer has runs 0 and null for its figures; context.failures says why.
nlohmann::ordered_json to_json(std::vector<result> const& results, nlohmann::ordered_json context);

}  // namespace karyon::bench
