// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <karyon/organelle/abi.h>
#include <karyon/cell/cell.hpp>

#include "organelle/monitors.hpp"

namespace karyon::detail {

/// What a running call knows of the cell that makes it: behind karyon_call.host_data.
class call_context {
public:
  /// In the cell's own turn.
  explicit call_context(cell_slot* cell) noexcept : cell_(cell) {}
  /// On another thread: what is added is taken over when the call is done.
  explicit call_context(caller_watch& pending) noexcept : pending_(&pending) {}

  [[nodiscard]] karyon_status monitor(void* object) noexcept;

private:
  cell_slot* cell_ = nullptr;
  caller_watch* pending_ = nullptr;
};

/// A number for a cell, unlike that of any other one that lives.
[[nodiscard]] std::uint64_t caller_number(cell_slot* cell) noexcept;

/// Has the watch of a cell, which fires when that ends, take over what another one has. In the cell's turn. Throws std::bad_alloc.
void adopt_monitors(cell_slot* cell, caller_watch& from);

}  // namespace karyon::detail
