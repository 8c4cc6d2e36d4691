// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "tools/colony/fingerprint.hpp"
#include "tools/colony/guests.hpp"
#include "tools/colony/outcome.hpp"

namespace karyon::tools {

/// The state of a colony that has settled, for people (report.hpp) and for programs (JSON).
struct census {
  std::uint64_t eyes = 0;
  std::uint64_t symbols = 0;
  std::uint64_t knowledge_bytes = 0;     // what eyes and symbols have allocated for what they know
  std::uint64_t resident_bytes = 0;      // of the process
  double bytes_a_cell = 0;               // by which the process has grown since before the first cell, over cells
  std::vector<std::uint64_t> by_node;    // cells of this process
  std::vector<std::uint64_t> by_worker;  // cells of this process
  std::uint64_t symbols_here = 0;        // of a spread colony; the others are its members'
  std::vector<guest_book::member> members;
  std::uint64_t uses_told = 0;        // signals from eyes to symbols, repetitions included
  std::uint64_t signals_handled = 0;  // by all cells
  std::uint64_t restarts = 0;
  double learn_seconds = 0;
  double uses_a_second = 0;     // while learning
  double signals_a_second = 0;  // while learning
  fingerprint eyes_know;
  fingerprint symbols_know;
  outcome_counts outcomes;
  std::vector<problem> problems;

  [[nodiscard]] std::uint64_t cells() const noexcept { return eyes + symbols; }
  /// Whether the symbols know exactly what the eyes have seen.
  [[nodiscard]] bool is_exact() const noexcept { return eyes_know == symbols_know; }
};

/// What a killing did, and how the colony came out of it.
struct healing {
  double fraction = 0;
  std::uint64_t seed = 0;
  std::uint64_t eyes_killed = 0;
  std::uint64_t symbols_killed = 0;
  std::uint64_t restarts = 0;  // because of it
  double seconds = 0;          // from the first kill until all was known again
  fingerprint before;          // what the symbols knew
  fingerprint after;

  [[nodiscard]] bool is_exact() const noexcept { return before == after; }
};

/// The bytes of memory that this process has resident; 0 where the system does not tell.
[[nodiscard]] std::uint64_t resident_bytes() noexcept;

}  // namespace karyon::tools
