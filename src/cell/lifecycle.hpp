#pragma once

#include <cstdint>

#include <karyon/cell/detail/spawn.hpp>

#include "cell/slot.hpp"

namespace karyon::detail {

class runtime_core;
class worker;
struct run_context;

// The life of a slot's tenant, in order. Every function is for the slot's owner, unless it says otherwise.
//
//   take_slot -> begin_incarnation -> (construct the object) -> launch -> run_cell ... -> finish_cell
//                 ^                                                                        |
//                 +---- the guardian restarts it ------------------------------------------+--> release_slot

/// Called once for each slot when a slab store carves it; `core` is the runtime_core.
void initialise_slot(void* slot, void* core);

/// A slot for a class on a node. Throws std::bad_alloc.
[[nodiscard]] KARYON_API cell_slot& take_slot(runtime_core& core, const class_info& info, std::uint32_t node);
/// A new incarnation begins: the mailbox accepts, the object is to be constructed by the caller.
KARYON_API void begin_incarnation(cell_slot& s, const class_info& info) noexcept;
/// The object is complete.
KARYON_API void launch_cell(cell_slot& s) noexcept;
/// The constructor threw: ends the incarnation that begin_incarnation began. The slot stays the caller's, who counts the
/// incarnation as ended once it has dealt with the slot.
KARYON_API void abandon_incarnation(cell_slot& s, const exit_reason& why) noexcept;
/// The supervised cell's mailbox survives its end: kept for the next incarnation, with the signal that it died of if
/// `with_last`. For a slot whose flags are fresh, before begin_incarnation.
inline void keep_mailbox(cell_slot& s, bool with_last) noexcept {
  s.set(cell_slot::keeps_mailbox, true);
  s.set(cell_slot::keeps_last, with_last);
}
/// There is no next incarnation: drops what was kept for it, counted, questions answered with the reason. Nothing to do for
/// slots that keep nothing. Between two incarnations, or after the last.
inline void discard_kept(cell_slot& s, const exit_reason& why) noexcept;

/// Back to the slab. For a role: after it was ended.
KARYON_API void release_slot(cell_slot& s) noexcept;

/// A role begins with the next incarnation of the slot; returns its number for `child`.
KARYON_API std::uint32_t begin_role(cell_slot& s, guardian& keeper) noexcept;
/// No child handle finds the role any more. The slot has no tenant.
KARYON_API void end_role(cell_slot& s) noexcept;

/// The slot whose object is being constructed on this thread, or null.
[[nodiscard]] KARYON_API cell_slot* slot_under_construction() noexcept;

/// task::run of every cell.
void run_cell(task* t, worker& w);
/// In place of the turn of a cell that has used one up elsewhere: here it waits for the next as if it had been on this worker.
void run_returned_cell(task* t, worker& w);
/// scheduler::look_into.
void look_into_cell(task& t) noexcept;
/// The same in a runtime that has an observer.
KARYON_API void run_observed_cell(task* t, worker& w);
/// Ends the running cell. The slot is not the caller's afterwards.
void finish_cell(run_context& context) noexcept;

/// Asks any cell to end (see cell::exit); any thread. Throws std::bad_alloc.
void request_exit(const address& whom, const address& from, const exit_reason& why);
/// The same for those that can not fail: false where there is no memory for it, so whoever must see the end asks again.
KARYON_API bool send_exit(const address& whom, const address& from, const exit_reason& why) noexcept;
enum class exit_outcome : std::uint8_t { ended, asked, no_memory };
/// The same by its guardian, on a worker, best on the cell's home. An idle cell that has no say in it is ended on the spot, without a signal
/// or a turn or memory: `ended`, and `ended_with` is its reason; the slot is the guardian's, whose child_ended is not called.
[[nodiscard]] KARYON_API exit_outcome exit_in_place(cell_slot& s, const exit_reason& why,
                                                    exit_reason& ended_with) noexcept;
/// The exit reason of kind `as` for the exception being handled.
[[nodiscard]] KARYON_API exit_reason
reason_of_current_exception(exit_reason::kind as = exit_reason::kind::error) noexcept;

KARYON_API void discard_kept_signals(cell_slot& s, const exit_reason& why) noexcept;

inline void discard_kept(cell_slot& s, const exit_reason& why) noexcept {
  if (s.has(cell_slot::holds_kept)) discard_kept_signals(s, why);
}

}  // namespace karyon::detail
