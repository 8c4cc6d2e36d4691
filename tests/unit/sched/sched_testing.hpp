// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <thread>

#include <karyon/sched/binding.hpp>

namespace karyon::tests {

/// Waits until the condition holds; false if it does not within a minute, which only a failure takes.
template <class Condition>
[[nodiscard]] bool eventually(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

/// Of one worker on one node, wherever the system runs it.
[[nodiscard]] inline binding_plan one_worker() {
  binding_plan plan;
  plan.workers.resize(1);
  plan.nodes.resize(1);
  plan.nodes[0].workers = {0};
  return plan;
}

}  // namespace karyon::tests
