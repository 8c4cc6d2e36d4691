// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace karyon {

/// What a migration did (runtime::migrate). Pages are the system's, 4 KiB on most machines: those of the cell's slot, and those
/// that lie wholly within what it has allocated from cell::memory().
///
/// Cells are smaller than a page, and a page has one place. So a page that cells share moves only when most of the living
/// ones on it are at home on the node, the migrating one included: of sixteen neighbours that migrate one by one, the ninth
/// takes the page along, and later ones find it there.
struct migration_report {
  std::uint32_t node = 0;           ///< where the cell is at home now
  std::uint32_t worker = 0;         ///< its home there
  std::uint64_t pages_moved = 0;    ///< the system has moved
  std::uint64_t pages_there = 0;    ///< were on the node before
  std::uint64_t pages_shared = 0;   ///< stay, since most of the cells that live on them are at home elsewhere
  std::uint64_t pages_refused = 0;  ///< the system did not move: no memory there, or a sandbox that forbids it

  friend bool operator==(const migration_report&, const migration_report&) = default;
};

}  // namespace karyon
