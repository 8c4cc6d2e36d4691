#pragma once

#include <memory>
#include <string>

#include <karyon/core/result.hpp>

#include "cell/runtime_core.hpp"
#include "supervise/node.hpp"
#include "supervise/waiting.hpp"

namespace karyon::detail {

/// Stands in for the parent of a supervisor that has none: starts it once, ends it when the runtime shuts down, and forgets
/// it when it has ended.
///
/// Owned by the runtime's list of participants from `start` until the node's `ended` or `start_failed` is reported, and by
/// whoever waits on it. Threads: any.
class root_holder final : public node_parent,
                          public shutdown_participant,
                          public std::enable_shared_from_this<root_holder> {
public:
  /// Registers with the runtime and begins the start. Throws runtime_error (`closed`) if the runtime is shutting down.
  static std::shared_ptr<root_holder> start(runtime_core& rt, std::shared_ptr<supervisor_node> node,
                                            const std::string& path);

  /// Waits for the start to succeed (nothing) or to fail: start_failed with the reason's words; closed if it was asked to
  /// exit before it had started. Not on a worker's thread.
  [[nodiscard]] result<void> wait_started() const;

  void child_reports(supervisor_node& child, report what, const exit_reason& why) noexcept override;
  void begin_shutdown() noexcept override;
  void begin_kill() noexcept override;
  [[nodiscard]] bool has_ended() const noexcept override;

  // For start() alone.
  root_holder(runtime_core& rt, std::shared_ptr<supervisor_node> node) : runtime_(rt), node_(std::move(node)) {}

private:
  void begin(const std::string& path) noexcept;
  void ask(const exit_reason& why) noexcept;

  runtime_core& runtime_;
  const std::shared_ptr<supervisor_node> node_;
  waiting_room room_;
  // room_:
  bool started_ = false;
  bool over_ = false;
  exit_reason why_;  // of the end, or of the failed start
  bool begun_ = false;
  exit_reason asked_;  // by the runtime: shutdown, then killed; normal: nothing
};

}  // namespace karyon::detail
