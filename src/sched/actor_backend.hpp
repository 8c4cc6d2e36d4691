#pragma once

#include <memory>

#include <karyon/core/export.hpp>

namespace karyon::detail {

class scheduler;
class worker;

/// The seam to the actor framework: an actor system that runs its actors on our workers. CAF 0.17 here; nothing outside
/// the files that implement this header and cell/backend.hpp knows which.
///
/// Construction starts the scheduler's threads (the system starts its scheduler as one of its modules), destruction
/// stops them. Runnable stock actors that are left at the end are released unrun.
class KARYON_API actor_backend {
public:
  /// Throws std::system_error if the system has no thread for the framework or for even one worker.
  explicit actor_backend(scheduler& s);
  ~actor_backend();
  actor_backend(const actor_backend&) = delete;
  actor_backend& operator=(const actor_backend&) = delete;

  /// The caf::actor_system.
  [[nodiscard]] void* system() noexcept;
  /// The caf::execution_unit of the calling worker; null on other threads.
  [[nodiscard]] static void* current_unit() noexcept;
  /// Frees a task of the backend (a stock actor) or of a dirty pool unrun; others are their owners'.
  static void release_task(struct task* t) noexcept;

private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace karyon::detail
