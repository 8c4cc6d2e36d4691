// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <karyon/core/result.hpp>

#include "support/catch.hpp"

namespace karyon::tests {

/// Where the descriptions of real machines lie.
inline const std::filesystem::path data = "tests/unit/sched/data";

/// One description a line, of many shapes: with and without packages, nodes, caches, cores and hardware threads.
inline const std::vector<std::string> shapes = {
    "pu:1",
    "pu:3",
    "core:4 pu:2",
    "numa:2 pu:3",
    "pack:1 l3:1 core:2 pu:1",
    "pack:2 core:3 pu:2",
    "pack:2 [numa] l3:1 core:28 pu:2",
    "pack:1 numa:4 l3:2 core:8 pu:2",
    "numa:2 pack:2 l3:1 core:2 pu:2",
    "pack:2 numa:2 l2:2 core:2 pu:1",
    "pack:4 [numa] core:3 pu:4",
    "pack:2 l3:3 core:1 pu:8",
    "[numa] pack:2 [numa] l3:1 core:2 pu:1",
    "pack:1 l3:4 numa:2 core:2 pu:2",
};

/// Of something that was refused.
template <class T>
[[nodiscard]] errc code_of(const result<T>& made) {
  REQUIRE_FALSE(made.has_value());
  CHECK(made.error().message().size() > 20);  // a sentence, not a word
  return made.error().code();
}

}  // namespace karyon::tests
