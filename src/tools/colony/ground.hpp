// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <karyon/cell/ref.hpp>
#include <karyon/discover/groups.hpp>
#include <karyon/supervise/supervisor.hpp>

#include "tools/colony/guests.hpp"
#include "tools/colony/symbol_index.hpp"
#include "tools/colony/use.hpp"

namespace karyon::tools {

class conductor;
class eye;
class symbol;

/// What symbols stand on, in whatever process: to whom they say that they have forgotten everything.
struct symbol_ground {
  child<conductor> lead;
  std::uint32_t member = 0;  // of a spread colony (guests.hpp); 0 where the eyes are
};

/// The groups of a colony: its eyes, and those of its symbols that live in the eyes' process. Their members are roles, who stay through
/// restarts. No other process needs to know them.
inline constexpr std::string_view colony_scope = "colony";
inline constexpr std::string_view eyes_group = "eyes";
inline constexpr std::string_view symbols_group = "symbols";

/// What all cells of a colony stand on: where the files are and how to reach one another.
///
/// Everything but the index and the counters is set before the first eye is given its turn, and then only read. Cells
/// share no knowledge through it: what they know of the source code travels in signals alone. It outlives the cells.
struct colony_ground : symbol_ground {
  std::vector<std::string> files;  // by file_id
  std::uint64_t file_bytes_max = 0;

  process_groups groups;
  supervisor symbol_keeper;  // eyes start symbols under it
  symbol_index<child<symbol>> symbols;
  guest_book guests;
  std::atomic<bool> ending{false};  // what is lost from here on is not replaced
  std::vector<child<eye>> eyes;     // by file_id

  /// The cell for a new name: in a member's process where there is one with room, else here, in the group of symbols.
  [[nodiscard]] child<symbol> new_symbol(symbol_id id);

  // For the progress bar alone: written by the conductor and the eyes, read by the main thread, in no order (relaxed).
  std::atomic<std::uint64_t> files_done{0};
  std::atomic<std::uint64_t> uses_told{0};
};

}  // namespace karyon::tools
