// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <karyon/cell/detail/ask.hpp>
#include <karyon/cell/migration.hpp>

#include "cell/slot.hpp"

namespace karyon::detail {

class runtime_core;

// Cells that change their home: docs/internals/placement.md.

/// scheduler_hooks::rehome: a runnable cell of the caller's gets its home on another worker of its node, unless it is pinned.
bool rehome_cell(task* t, unsigned to) noexcept;

/// not_found, with how many nodes there are, for one that there is not.
[[nodiscard]] result<void> check_node(runtime_core& core, std::uint32_t node);

/// The request to migrate, answered with a migration_report. Handled between two signals of the cell: the one moment in which
/// nobody uses its memory.
struct migration_request : signal {
  explicit migration_request(std::uint32_t to) noexcept;
  std::uint32_t node;
  reply_address reply;
};

/// A slot is about to be released: pages that went with its tenant to another node come back to the slot's own, unless most
/// cells that still live there are away. Its owner, after the tenant's end.
void return_pages(cell_slot& s) noexcept;

}  // namespace karyon::detail
