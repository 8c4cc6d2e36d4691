#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "cell/lifecycle.hpp"
#include "cell/runtime_core.hpp"
#include "sched/wait.hpp"

namespace karyon::detail {

/// Whether the calling thread may wait for a supervisor: neither within a handler nor within a cell's constructor, which runs on
/// whichever thread starts the cell. A supervisor may have to wait for either itself.
[[nodiscard]] inline bool may_wait() noexcept {
  return !in_runtime() && slot_under_construction() == nullptr;
}

/// Where threads outside the runtime wait for something that workers bring about.
///
/// The room's lock guards what is waited for: it is changed within `change`, looked at within `read` and the conditions. All
/// waiting of supervisors is done here, so that a simulation has one place to put its own.
class waiting_room {
public:
  waiting_room() = default;
  waiting_room(const waiting_room&) = delete;
  waiting_room& operator=(const waiting_room&) = delete;

  template <class F>
  void change(F&& f) {
    const std::lock_guard lock(mutex_);
    f();
    changed_.notify_all();  // under the lock: whoever is woken by it may free the room
  }
  template <class F>
  auto read(F&& f) const {
    const std::lock_guard lock(mutex_);
    return f();
  }
  /// Until `condition()`, which is called under the lock; false after the timeout. Never on a worker's thread.
  template <class Condition>
  bool wait(Condition&& condition, std::chrono::nanoseconds timeout = std::chrono::nanoseconds::max()) const {
    const bool for_ever = timeout > std::chrono::hours(24 * 365);
    if (simulation* s = current_simulation) {
      const auto ready = [&] { return read(condition); };
      return s->drive_until([](const void* r) { return (*static_cast<decltype(ready)*>(r))(); }, &ready,
                            for_ever ? never_ns : deadline_in(static_cast<std::uint64_t>(timeout.count())));
    }
    std::unique_lock lock(mutex_);
    if (for_ever) {
      changed_.wait(lock, condition);
      return true;
    }
    return changed_.wait_for(lock, timeout, condition);
  }

private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
};

}  // namespace karyon::detail
