#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <vector>

#include <karyon/supervise/ordered_supervisor.hpp>
#include <karyon/supervise/supervisor.hpp>

namespace karyon {

/// What each partition of a partitioned_supervisor stands for.
enum class partition_by : std::uint8_t {
  hash,    ///< A share of the keys; its children are spread over all workers.
  worker,  ///< One worker: its children run there, and nowhere else.
  node,    ///< One NUMA node: its children run on that node's workers.
};

struct partition_options {
  partition_by by = partition_by::hash;
  /// By hash only (0 for the others, which have as many as there are workers or nodes): how many. 0: one a worker.
  std::size_t partitions = 0;
  /// Each partition is a supervisor with these options; its children's default placement is the partition's.
  supervisor_options each{};
  /// How often partitions that gave up are started again before all of them are given up.
  restart_intensity intensity{};
};

/// Keeps failures apart: independent supervisors of many children, side by side, chosen by key, worker or NUMA node. Elixir's
/// PartitionSupervisor.
///
/// Each partition has a budget of its own, so when the children of one fail too often, those of the others know nothing of it: the
/// partition is started again, empty, by an ordered supervisor (one_for_one) above all of them, as often as that one's
/// intensity allows.
///
/// A value that names the partitions; copies name the same ones, through all restarts. Threads: any.
class KARYON_API partitioned_supervisor {
public:
  partitioned_supervisor() = default;

  /// Starts all partitions, and returns when they accept children. invalid_argument with the field's name, closed, would_block (on a worker's
  /// thread).
  [[nodiscard]] static result<partitioned_supervisor> start(runtime& rt, const partition_options& options);
  /// The tree that start() starts, to be put into a larger one: child_spec::tree("sessions", spec(rt, options)).
  [[nodiscard]] static result<supervisor_spec> spec(runtime& rt, const partition_options& options);
  /// The partitions of a tree that was made by spec() and has been started. invalid_argument if it is something else.
  [[nodiscard]] static result<partitioned_supervisor> of(runtime& rt, const ordered_supervisor& tree);

  /// The partition of a key: of an integer k the one with the index k modulo partitions(), of others by their std::hash. The
  /// same key gives the same partition as long as the process lives. O(1), no lock. Not on an empty handle.
  template <class Key>
  [[nodiscard]] supervisor at(const Key& key) const {
    if constexpr (std::is_integral_v<Key>) {
      return by_number(static_cast<std::uint64_t>(key));
    } else {
      return by_number(mixed(std::hash<Key>()(key)));
    }
  }
  /// The partition with this index, 0 to partitions() - 1: by worker that worker's, by node that node's. An empty handle for others.
  [[nodiscard]] supervisor partition(std::size_t index) const noexcept;
  /// The partition of the worker or NUMA node that the calling cell runs on; by hash, and on other threads: any one, in turn.
  [[nodiscard]] supervisor here() const;
  [[nodiscard]] std::size_t partitions() const noexcept;

  /// Of all partitions: a sum of numbers that need not be of one moment.
  [[nodiscard]] std::size_t children() const noexcept;
  /// Of all children, and of the partitions themselves.
  [[nodiscard]] std::uint64_t restarts() const noexcept;

  /// As of an ordered_supervisor.
  void stop();
  void exit(exit_reason why);
  [[nodiscard]] std::optional<exit_reason> ended() const;
  bool wait_ended(std::chrono::nanoseconds timeout) const;
  explicit operator bool() const noexcept { return parts_ != nullptr; }
  friend bool operator==(const partitioned_supervisor&, const partitioned_supervisor&) = default;

private:
  struct parts;
  explicit partitioned_supervisor(std::shared_ptr<parts> p) noexcept : parts_(std::move(p)) {}
  [[nodiscard]] supervisor by_number(std::uint64_t number) const;
  /// std::hash of many types changes few bits, or only the high ones.
  [[nodiscard]] static constexpr std::uint64_t mixed(std::uint64_t h) noexcept {
    h = (h ^ (h >> 32U)) * 0xd6e8'feb8'6659'fd93;
    return h ^ (h >> 32U);
  }
  std::shared_ptr<parts> parts_;
};

}  // namespace karyon
