// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>

#include <karyon/sim/testing.hpp>

namespace karyon::tests {

/// The text of the failure that a call throws; empty if it throws none.
template <class F>
[[nodiscard]] std::string failure_of(F&& f) {
  try {
    std::forward<F>(f)();
  } catch (const testing::failure& e) {
    return e.what();
  }
  return "";
}

}  // namespace karyon::tests
