#pragma once

#include <karyon/cell/execution.hpp>
#include <karyon/core/export.hpp>

#include "sched/dirty_pool.hpp"

namespace karyon::detail {

struct cell_slot;
struct signal;
class runtime_core;

// A cell's turn on a thread of a dirty pool, for one signal whose handler is heavy. The cell stays active meanwhile, so that
// whatever else is sent to it waits in its inbox; whoever has the task, a queue or a thread, owns the cell.
//
//   turn on a worker -> the next signal is heavy: back to the front, all settled -> send_away -> the pool's queue
//        ^                                                                                          |
//        +--- into the home worker's queue <---- that one signal handled, or an urgent one seen <---+
//
// A cell that ends by its heavy handler ends there and then, on the pool's thread.

[[nodiscard]] constexpr dirty_kind kind_of(execution e) noexcept {
  return e == execution::dirty_io ? dirty_kind::io : dirty_kind::cpu;
}

/// Hands a running cell that is settled to the pool for `where`: the slot is not the caller's any more. False if there is no
/// thread: then it still is, and handles the signal itself.
[[nodiscard]] bool send_away(cell_slot& s, runtime_core& core, execution where) noexcept;
/// scheduler::run_away.
void run_away_cell(task* t) noexcept;
/// task::run of a cell that is on its way to a handler elsewhere, in a simulation.
KARYON_API void run_simulated_away_cell(task* t, worker& w);

}  // namespace karyon::detail
