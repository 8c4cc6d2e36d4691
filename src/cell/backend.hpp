#pragma once

#include <karyon/cell/exit_reason.hpp>

#include "cell/slot.hpp"

namespace karyon::detail {

class runtime_core;

/// The seam to the actor framework on the side of the cell: every slot holds a real actor of the framework (control block
/// and object), made once when the slot is carved and kept through all its tenants, so that spawns, restarts and ends
/// cost nothing there until somebody asks for a handle of the framework.

/// Builds the actor in a slot that has none. The slot's inbox is vacant.
void backend_construct(cell_slot& s, runtime_core& core);
/// Takes it apart again, when the slot's runtime ends.
void backend_destroy(cell_slot& s) noexcept;
/// An incarnation has ended: tells the framework's links and monitors, if there are any. Owner of the slot.
void backend_ended(cell_slot& s, const exit_reason& why) noexcept;
/// The slot is to be given back. True: now. False: handles of the framework still point to it; release_slot is called
/// when the last of them goes, on whatever thread.
[[nodiscard]] KARYON_API bool backend_release(cell_slot& s) noexcept;

}  // namespace karyon::detail
