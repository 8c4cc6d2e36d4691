// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <istream>
#include <ostream>
#include <string_view>

#include "tools/colony/census.hpp"
#include "tools/colony/colony.hpp"

namespace karyon::tools {

class progress;

/// Answers questions about a colony until its user has enough: a name, or a command that starts with a colon.
///
/// `current` gives the census to print (the colony's own, and what the walk has counted). Returns the exit status: 0 at
/// `:quit` or at the end of the input, 1 if the colony can not answer any more.
[[nodiscard]] int run_prompt(std::istream& in, std::ostream& out, colony& c, const std::function<census()>& current,
                             std::uint64_t seed, progress& shown);

}  // namespace karyon::tools
