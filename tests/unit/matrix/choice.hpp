// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace karyon::tests {

/// The same choices in every run.
struct choice {
  std::uint64_t state;
  std::uint64_t below(std::uint64_t n) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (state >> 33U) % n;
  }
};

}  // namespace karyon::tests
