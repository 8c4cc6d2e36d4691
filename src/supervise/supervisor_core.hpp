#pragma once

#include <any>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <karyon/supervise/supervisor.hpp>

#include "cell/runtime_core.hpp"
#include "supervise/node.hpp"
#include "supervise/restart_limits.hpp"
#include "supervise/shard.hpp"
#include "supervise/waiting.hpp"

namespace karyon::detail {

/// A supervisor of many children behind its handles: the shards, the one budget, and the way to its end.
///
///   state    idle -> running (begin_start) -> stopping (request_exit, the budget exceeded, auto_shutdown) -> idle
///
/// It has ended when no unit is left: each shard has one until it has ended (presence.hpp), and so has each thread that must
/// not see the end in between (begin_start, request_exit). Whoever drops the last one reports the end.
class supervisor_core final : public supervisor_node {
public:
  supervisor_core(runtime_core& rt, const supervisor_options& options);

  void begin_start(node_parent& parent, const std::string& path) noexcept override;
  void request_exit(const exit_reason& why) noexcept override;

  [[nodiscard]] runtime_core& runtime() noexcept { return runtime_; }
  [[nodiscard]] const supervisor_options& options() const noexcept { return options_; }
  /// While it runs.
  [[nodiscard]] restart_limits& limits() noexcept { return *limits_; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// Starts and restarts nothing: it is ending, or idle. Acquire pairs with the releases of begin_start and request_exit: who finds
  /// it running sees its path and its limits.
  [[nodiscard]] bool stopping() const noexcept { return stopping_.load(std::memory_order_acquire); }

  /// For a child that is started by itself: what it is called in reports, and whose turn it is to have it.
  [[nodiscard]] std::uint32_t next_number() noexcept { return next_number_.fetch_add(1, std::memory_order_relaxed); }
  /// The shard for the new child with this number; throws runtime_error for a placement that does not exist, or if it is stopping.
  [[nodiscard]] shard& choose(placement where, std::uint32_t number);
  /// The shards that a placement allows, for many children; throws as choose.
  [[nodiscard]] std::vector<shard*> choose_all(placement where);
  void check_running() const;
  /// A new child on a shard, on the calling thread: its role, or an empty address if it was ignored. Takes one reference of the
  /// factory. What the constructor gives to start_info goes into the note, if there is one. Throws what its constructor throws,
  /// and runtime_error.
  [[nodiscard]] address start(shard& on, child_factory& factory, std::uint32_t index, bool joins, start_note* note);
  [[nodiscard]] std::vector<std::unique_ptr<shard>>& shards() noexcept { return shards_; }

  /// A place for one more child in a shard: throws closed, or refused at max_children. Left by let_go and who().leave_child().
  void enter(shard& on);
  /// A significant child has started. Not before: by OTP's rule one that is still to start holds up no auto_shutdown, and one
  /// that fails to start is not the last of them.
  void significant_started() noexcept { significant_.fetch_add(1, std::memory_order_relaxed); }
  /// The place is free again; `significant` if significant_started was called for it.
  void let_go(bool significant) noexcept;
  /// All children, where the options need their number; 0 elsewhere.
  [[nodiscard]] std::uint64_t counted_children() const noexcept { return counted_.load(std::memory_order_relaxed); }
  /// See supervisor::children.
  [[nodiscard]] std::size_t children() const noexcept;

  /// A significant child has ended by itself, and was let go.
  void significant_ended() noexcept;
  /// The restart intensity was exceeded.
  void give_up() noexcept { request_exit(exit_reason::shutdown()); }
  /// A shard has ended.
  void drop_unit() noexcept;

  /// Not on a worker. False after the timeout.
  bool wait_ended(std::chrono::nanoseconds timeout) const;
  /// Asks it to end with `shutdown`, and waits for the end of the life that it lives now, if told to.
  void stop(bool waits);
  [[nodiscard]] std::optional<exit_reason> ended() const;

private:
  [[nodiscard]] bool add_unit() noexcept;
  [[nodiscard]] bool admit() noexcept;

  runtime_core& runtime_;
  const supervisor_options options_;
  const bool counts_;
  std::vector<std::unique_ptr<shard>> shards_;
  // begin_start, before anybody can enter a shard:
  node_parent* parent_ = nullptr;
  std::string path_;
  std::unique_ptr<restart_limits> limits_;

  std::atomic<bool> stopping_{true};
  std::atomic<std::size_t> units_{0};
  std::atomic<std::uint32_t> next_number_{0};
  alignas(64) std::atomic<std::uint64_t> counted_{0};
  std::atomic<std::uint64_t> significant_{0};

  enum class phase : std::uint8_t { idle, live, stopping };
  waiting_room room_;
  // room_:
  phase phase_ = phase::idle;
  std::uint64_t ends_ = 0;
  exit_reason why_;
};

}  // namespace karyon::detail
