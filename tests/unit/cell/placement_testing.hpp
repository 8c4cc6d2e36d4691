// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "sched/worker.hpp"
#include "unit/cell/cell_testing.hpp"

namespace karyon::tests {

inline constexpr std::uint32_t no_worker = ~std::uint32_t{0};

/// The worker that the calling thread is.
[[nodiscard]] inline std::uint32_t here() {
  const auto* w = detail::worker::current();
  return w != nullptr ? w->index() : no_worker;
}

/// Two nodes of two cores; two units of this machine's at most can be bound to, so nothing depends on that.
[[nodiscard]] inline topology two_nodes() { return topology::from_synthetic("pack:1 numa:2 l3:1 core:2 pu:1").value(); }

/// Asks all, then waits for all: on a busy machine each wait is long.
template <class Cells, class Question>
[[nodiscard]] auto ask_each(runtime& rt, const Cells& cells, const Question& question) {
  std::vector<decltype(rt.ask_async(*cells.begin(), question))> asked;
  for (const auto& c : cells) asked.push_back(rt.ask_async(c, question));
  std::vector<decltype(asked.front().get(long_time))> answers;
  for (auto& a : asked) answers.push_back(a.get(long_time));
  return answers;
}

}  // namespace karyon::tests
