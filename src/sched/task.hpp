#pragma once

#include <cstddef>
#include <cstdint>

#include "sched/cpu.hpp"

namespace karyon::detail {

class worker;

/// Something a worker can run: a cell, a shard of a supervisor, a foreign CAF actor.
///
/// `next` belongs to whichever queue holds the task; a task is in at most one queue at a time, which the task's owner
/// guarantees (a cell by the `active` state of its inbox word, see cell/inbox.hpp).
struct task {
  using run_function = void (*)(task*, worker&);

  task* next = nullptr;
  run_function run = nullptr;

  /// What was made runnable by another thread lies in that thread's cache, or nowhere near: fetch the lines that running it
  /// will touch (of a cell: inbox word, hot line, object) while the task before it runs.
  void prefetch() const noexcept { prefetch_at(0); }
  /// The same for one that is guessed to lie so many bytes from here; nothing happens where nothing lies.
  void prefetch_at(std::ptrdiff_t distance) const noexcept {
    // In integers: what lies there is no part of this object, so no pointer of it may be moved there.
    const std::uintptr_t at = reinterpret_cast<std::uintptr_t>(this) + static_cast<std::uintptr_t>(distance);
    prefetch_for_write(at);
    prefetch_for_write(at - 128);
    prefetch_for_write(at + 64);
  }

  task() noexcept = default;
  explicit task(run_function f) noexcept : run(f) {}
};

}  // namespace karyon::detail
