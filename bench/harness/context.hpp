// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>

namespace karyon::bench {

/// What the figures depend on besides the code: the machine, its settings, and the build. The common keys are those of
/// Google Benchmark (date, num_cpus, mhz_per_cpu, caches, load_avg, library_build_type); no key names the host or its user.
nlohmann::ordered_json describe_context();

}  // namespace karyon::bench
