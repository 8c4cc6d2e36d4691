#pragma once

#include <cstddef>
#include <cstdint>

#include "sched/task.hpp"

namespace karyon::detail {

/// A worker's private run queue: an intrusive first-in-first-out list that only its worker touches.
///
/// No atomic operation at all: other threads never look inside, they ask for work (see worker::donate), after Acar,
/// Charguéraud and Rainey, "Scheduling parallel programs by work stealing with private deques" (PPoPP 2013).
class run_queue {
public:
  [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }
  [[nodiscard]] std::size_t size() const noexcept { return static_cast<std::size_t>(pushed_ - popped_); }
  /// How many were ever pushed.
  [[nodiscard]] std::uint64_t pushed() const noexcept { return pushed_; }

  void push(task* t) noexcept {
    t->next = nullptr;
    if (head_ == nullptr) {
      head_ = t;
    } else {
      tail_->next = t;
    }
    tail_ = t;
    ++pushed_;
  }

  /// The oldest task, or null.
  [[nodiscard]] task* pop() noexcept {
    task* t = head_;
    if (t != nullptr) {
      head_ = t->next;
      ++popped_;
    }
    return t;
  }

private:
  task* head_ = nullptr;
  task* tail_ = nullptr;  // meaningful only while head_ is set
  std::uint64_t pushed_ = 0;
  std::uint64_t popped_ = 0;
};

}  // namespace karyon::detail
