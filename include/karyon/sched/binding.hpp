// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <karyon/core/export.hpp>
#include <karyon/core/result.hpp>
#include <karyon/sched/topology.hpp>

namespace karyon {

/// In which order workers are laid over the processing units: names and meaning are those of Erlang's `erl +sbt`.
///
/// Workers with near numbers land near to each other or far from each other; this matters where there are fewer workers
/// than units, and for what two workers with successive numbers share.
enum class bind_order : std::uint8_t {
  /// `u`: no worker is bound; the operating system moves them.
  unbound,
  /// `ns`: as near as possible: all threads of a core, then the next core.
  no_spread,
  /// `ts`: over the first hardware thread of every core, then over the second ones.
  thread_spread,
  /// `ps`: as thread_spread, and over the processor chips.
  processor_spread,
  /// `s`: as far apart as possible, over nodes as well.
  spread,
  /// `nnts`: as thread_spread within one NUMA node, then the next node.
  no_node_thread_spread,
  /// `nnps`: as processor_spread within one NUMA node, then the next node.
  no_node_processor_spread,
  /// `tnnps`: over the first hardware threads of all nodes, processor-spread within each node, then the second ones.
  thread_no_node_processor_spread,
  /// `db`: what Erlang's `default_bind` stands for.
  default_bind = thread_no_node_processor_spread,
};

/// The long name, as in `erlang:system_info(scheduler_bind_type)`; never null.
[[nodiscard]] KARYON_API const char* to_string(bind_order order) noexcept;

/// Reads a long name ("thread_spread", "default_bind") or the letters of `+sbt` (u ns ts ps s nnts nnps tnnps db).
/// Errors: `invalid_argument`, with the names that are valid.
[[nodiscard]] KARYON_API result<bind_order> parse_bind_order(std::string_view text);

/// More workers than this are taken for a mistake.
inline constexpr std::uint32_t workers_max = 4096;

/// What a plan is made from, beside the topology. The defaults are right for a runtime that owns its machine.
struct binding_options {
  /// How many workers; 0 means one a core (or one a hardware thread, see below) of the allowed units.
  std::uint32_t workers = 0;
  /// Whether the hardware threads of a core count as places of their own. If not, second threads of a core are used
  /// only once every core has a worker.
  bool use_hardware_threads = false;
  bind_order order = bind_order::default_bind;
  /// NUMA nodes to use, by the operating system's number; empty means all that have allowed units.
  std::vector<std::uint32_t> nodes{};
  /// Whether a worker that finds nothing on its own node may steal from others.
  bool steal_across_nodes = false;
};

/// Where one worker lives, and whom it may steal from. Worker numbers are positions in `binding_plan::workers`.
struct worker_binding {
  /// The unit to bind to, by the operating system's number; nothing for a worker that is not bound.
  std::optional<std::uint32_t> unit_os_index{};
  std::uint32_t core = 0;         ///< As in `processing_unit`; 0 for an unbound worker.
  std::uint32_t cache_group = 0;  ///< As in `processing_unit`; 0 for an unbound worker.
  std::uint32_t node = 0;         ///< A position in `binding_plan::nodes`.
  /// The other workers of the same node, nearest first: same core, same last-level cache, same node. Among equally near
  /// ones each worker starts with those numbered after itself, so that the thieves of a node do not all try one victim.
  std::vector<std::uint32_t> steal_order{};
  /// How many at the front of `steal_order` share this worker's last-level cache.
  std::uint32_t steal_same_cache = 0;
  /// The workers of the other nodes; empty unless `binding_options::steal_across_nodes`.
  std::vector<std::uint32_t> steal_remote{};

  friend bool operator==(const worker_binding&, const worker_binding&) = default;
};

/// A NUMA node that has workers.
struct node_binding {
  /// The operating system's number of the node whose units these are.
  std::uint32_t os_index = 0;
  /// The node to take its memory from: another one where it has none of its own; nothing where that needs no binding,
  /// since the machine has one node or the workers wander.
  std::optional<std::uint32_t> memory_os_index{};
  std::vector<std::uint32_t> workers{};

  friend bool operator==(const node_binding&, const node_binding&) = default;
};

/// Which worker lives where. A plain value; nothing is bound by making it.
struct binding_plan {
  bind_order order = bind_order::default_bind;
  std::vector<worker_binding> workers{};
  /// The nodes that have workers, in the machine's order; their positions are the node numbers that the runtime uses.
  /// An unbound plan has one, since workers that wander have no node.
  std::vector<node_binding> nodes{};

  friend bool operator==(const binding_plan&, const binding_plan&) = default;
};

/// Decides which worker runs on which processing unit: a pure function of its arguments.
///
/// Units that are not allowed, or on nodes not asked for, are left out first, and the order is made among those that
/// remain, so that a container with half of each core still gets one worker a core. Workers get different units until
/// the units are used up; further workers start over at the first.
/// Errors: `invalid_argument` for more than `workers_max` workers or for a node number that the machine does not have,
/// `unsupported` for nodes without an allowed unit.
/// Cost: O(u log u + w^2) for u units and w workers; the stealing lists hold w^2 numbers at worst.
[[nodiscard]] KARYON_API result<binding_plan> make_binding_plan(const topology& machine,
                                                                const binding_options& options = {});

/// Binds the calling thread to its worker's unit, for good. A worker without a unit is left alone, which is a success.
///
/// Any thread may call it, for itself. A container or a sandbox may refuse: run on without binding then, and say so
/// once.
/// Errors: `refused` where the system does not let this thread run there (or has no such unit), `unsupported` where
/// threads can not be bound at all.
[[nodiscard]] KARYON_API result<void> bind_current_thread(const worker_binding& worker);

}  // namespace karyon
