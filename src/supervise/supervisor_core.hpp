#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include <karyon/supervise/supervisor.hpp>

#include "cell/runtime_core.hpp"
#include "supervise/restart_budget.hpp"
#include "supervise/shard.hpp"

namespace karyon::detail {

/// A supervisor behind its handles: the shards, the one budget, and the way to its end.
///
///   state      running -> stopping (stop(), the budget exceeded, the runtime's shutdown) -> ended (no shard has a child left)
class supervisor_core final : public shutdown_participant {
public:
  supervisor_core(runtime_core& rt, const supervisor_options& options);

  [[nodiscard]] runtime_core& runtime() noexcept { return runtime_; }
  [[nodiscard]] const supervisor_options& options() const noexcept { return options_; }
  [[nodiscard]] restart_budget& budget() noexcept { return budget_; }
  [[nodiscard]] bool stopping() const noexcept { return stopping_.load(std::memory_order_acquire); }

  /// The shard for a new child; throws runtime_error for a placement that does not exist, or if it is stopping.
  [[nodiscard]] shard& choose(placement where);
  /// The shards that a placement allows, for many children; throws as choose.
  [[nodiscard]] std::vector<shard*> choose_all(placement where);
  void check_running() const;
  /// A new child on a shard, on the calling thread. Takes one reference of the factory.
  [[nodiscard]] address start(shard& on, child_factory& factory, std::uint32_t index, bool joins);
  [[nodiscard]] std::vector<std::unique_ptr<shard>>& shards() noexcept { return shards_; }

  void begin_shutdown() noexcept override { begin_stop(); }
  void begin_stop() noexcept;
  /// The restart intensity was exceeded by a child that ended so: stops, and says why.
  void give_up(const exit_reason& why) noexcept;
  /// A shard has no child left and gets no more.
  void shard_is_empty() noexcept;
  void wait_until_ended();
  [[nodiscard]] std::optional<exit_reason> ended() const;
  [[nodiscard]] bool has_ended() const noexcept override { return ended_.load(std::memory_order_acquire); }

  void count_restart() noexcept { restarts_.fetch_add(1, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t restarts() const noexcept { return restarts_.load(std::memory_order_relaxed); }

private:
  runtime_core& runtime_;
  const supervisor_options options_;
  restart_budget budget_;
  std::vector<std::unique_ptr<shard>> shards_;
  std::atomic<std::uint32_t> turn_{0};
  std::atomic<std::uint64_t> restarts_{0};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> ended_{false};
  std::atomic<std::size_t> shards_left_;
  mutable std::mutex mutex_;
  std::condition_variable ended_changed_;
};

}  // namespace karyon::detail
