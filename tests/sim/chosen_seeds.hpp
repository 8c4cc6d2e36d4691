// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstdlib>
#include <vector>

#include <karyon/sim/testing.hpp>

namespace karyon::tests {

/// Whether whoever runs the test has chosen the seeds: what it finds over all of its own does not hold then.
[[nodiscard]] inline bool seeds_are_chosen() noexcept {
  return std::getenv("KARYON_SIM_SEED") != nullptr || std::getenv("KARYON_SIM_SEEDS") != nullptr;
}

/// The seeds that for_each_seed would run, for tests that need more than one world a seed.
[[nodiscard]] inline std::vector<std::uint64_t> chosen_seeds(const testing::seeds& which) {
  std::vector<std::uint64_t> all;
  testing::for_each_seed(which, [&](testing::world& w) { all.push_back(w.seed()); });
  return all;
}

}  // namespace karyon::tests
