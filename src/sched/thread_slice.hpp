#pragma once

#include <karyon/core/export.hpp>

namespace karyon::detail {

/// How long the calling thread runs at a time while others want its core. A thread that asks for little at a time is let in at once
/// when it wakes, also on a core that is busy; with the usual slice it may wait until the one that computes there has had its own,
/// some milliseconds. The shares of the two do not change by it.
///
/// For threads that are there to be quick: the pulse, and spares until they have got to their worker's core. Linux has it since 6.12
/// (sched_setattr(2), sched_runtime); older kernels let in who has slept anyway. Never fails: a system that refuses it leaves
/// things as they are. Two system calls.
struct KARYON_API thread_slice {
  static void make_short() noexcept;
  static void make_usual() noexcept;
};

}  // namespace karyon::detail
