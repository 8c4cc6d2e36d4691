// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tools/colony/options.hpp"

namespace karyon::tools {

/// The whole of `karyon colony`: walk, learn, census, kill, heal, answer. Results go to standard output, progress and
/// complaints to standard error. Returns the exit status: 0; 1 if the job could not be finished or the knowledge after
/// the healing is not that of before; 2 if none of the directories can be used.
[[nodiscard]] int run_colony(const colony_options& options);

}  // namespace karyon::tools
