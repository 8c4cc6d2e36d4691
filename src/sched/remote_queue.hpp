#pragma once

#include <atomic>

#include "sched/task.hpp"

namespace karyon::detail {

/// Hands tasks from any thread to one worker: a lock-free stack (Treiber 1986) that is only ever emptied whole.
///
/// Any thread pushes; one thread takes. Because nothing is popped singly there is no ABA. Order: last in, first out
/// within one take; a taken list is run to its end before the next take, so nobody waits longer than one list.
/// Lock-free for pushers: a stopped pusher delays nobody.
class remote_queue {
public:
  /// Pushes the chain first..last, which the caller has linked through `next`.
  ///
  /// Sequentially consistent because it is one half of the sleep protocol (worker::idle): the pusher writes the head,
  /// then reads the sleeper's word; the sleeper writes its word, then reads the head. One of them sees the other.
  void push(task* first, task* last) noexcept {
    task* head = head_.load(std::memory_order_relaxed);
    do {
      last->next = head;
    } while (!head_.compare_exchange_weak(head, first, std::memory_order_seq_cst, std::memory_order_relaxed));
  }
  void push(task* t) noexcept { push(t, t); }

  /// All tasks pushed so far as one list, newest first; null if none. Acquire pairs with the release half of push.
  [[nodiscard]] task* take_all() noexcept {
    if (head_.load(std::memory_order_relaxed) == nullptr) return nullptr;
    return head_.exchange(nullptr, std::memory_order_acquire);
  }

  /// True if a push has happened that was not taken; sequentially consistent (see push).
  [[nodiscard]] bool has_tasks() const noexcept { return head_.load(std::memory_order_seq_cst) != nullptr; }

private:
  alignas(64) std::atomic<task*> head_{nullptr};
};

}  // namespace karyon::detail
