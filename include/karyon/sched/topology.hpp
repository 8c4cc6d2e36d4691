// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <karyon/core/export.hpp>
#include <karyon/core/result.hpp>

namespace karyon {

/// One place where a thread can run: a hardware thread (SMT), or a whole core where cores have one.
///
/// All fields but `os_index` are dense indices into their topology, counted from 0 in the machine's own order.
struct processing_unit {
  std::uint32_t os_index = 0;     ///< The operating system's number, the one that affinity masks use.
  std::uint32_t core = 0;         ///< Physical core.
  std::uint32_t package = 0;      ///< Physical chip (Erlang says processor).
  std::uint32_t node = 0;         ///< NUMA node, an index into `topology::nodes()`.
  std::uint32_t cache_group = 0;  ///< Units that share a last-level cache and a NUMA node have the same number.
  std::uint32_t thread = 0;       ///< Position among the hardware threads of its core.
  bool allowed = true;            ///< Whether this process may run there (affinity, cgroup cpuset).

  friend bool operator==(const processing_unit&, const processing_unit&) = default;
};

/// One NUMA node: a piece of memory and the units nearest to it, either of which it may lack.
struct numa_node {
  std::uint32_t os_index = 0;      ///< The operating system's number, the one that memory binding uses.
  std::uint64_t memory_bytes = 0;  ///< Installed memory; 0 for a node that has none.
  std::uint32_t units = 0;         ///< Processing units nearest to it; 0 for a node that only has memory.

  friend bool operator==(const numa_node&, const numa_node&) = default;
};

/// How far apart two processing units are, by the nearest thing that they share. Ordered: a greater one is farther.
enum class distance : std::uint8_t {
  same_unit,   ///< The very same hardware thread.
  same_core,   ///< Two hardware threads of a core: all caches shared.
  same_cache,  ///< Two cores under one last-level cache.
  same_node,   ///< Two last-level caches with the same memory.
  other_node,  ///< Each other's memory is remote.
};

/// The name as it stands in the enumeration; never null.
[[nodiscard]] KARYON_API const char* to_string(distance d) noexcept;

/// The shape of a machine: which hardware threads it has, and what they share.
///
/// Placement decisions need the machine's shape, but must be testable for machines that nobody has at hand. So the
/// shape is a plain value, read from this machine, from an XML file that hwloc's `lstopo` wrote elsewhere, from an
/// hwloc synthetic description, or given unit by unit. Everything that decides (`make_binding_plan`) takes it as an
/// argument.
///
/// Threads: immutable once made; any number of threads may read one. Making one takes no lock of the library;
/// `detect()` reads the environment (hwloc's HWLOC_* variables are honoured), so do not call `setenv` beside it.
/// Cost: reading a machine takes some milliseconds and allocates; every accessor is O(1), `between` as well.
class KARYON_API topology {
public:
  /// This machine. Units that the process may not use (its affinity mask, its cgroup's cpuset) are listed as not
  /// allowed.
  /// Errors: `system_error` where the system does not tell its shape, `unsupported` where no unit is allowed or found.
  [[nodiscard]] static result<topology> detect();

  /// The machine that an hwloc XML file describes (`lstopo --of xml FILE`), its restricted units included.
  /// Errors: `not_found` where the file can not be opened, `invalid_argument` where it is no hwloc topology,
  /// `unsupported` where no unit of it is allowed.
  [[nodiscard]] static result<topology> from_xml(const std::filesystem::path& path);

  /// The machine that an hwloc synthetic description stands for: "pack:1 numa:4 l3:2 core:8 pu:2" has 64 cores.
  /// Errors: `invalid_argument` where hwloc does not understand the description, or it has more than 4,096 units.
  [[nodiscard]] static result<topology> from_synthetic(std::string_view description);

  /// The machine with exactly these units and nodes, for hosts that know better than the system (as Erlang's +sct).
  /// `units` are in the machine's own order; `core`, `package`, `cache_group` and `node` may be numbered freely and are
  /// renumbered densely in that order, `thread` and `numa_node::units` are counted anew. No nodes: one node for all.
  /// Errors: `invalid_argument` where there is no unit, an `os_index` stands twice, or a `node` is not in `nodes`;
  /// `unsupported` where no unit is allowed.
  [[nodiscard]] static result<topology> from_units(std::vector<processing_unit> units, std::vector<numa_node> nodes);

  /// All units in the machine's own order: neighbours in the list are neighbours in hardware.
  [[nodiscard]] const std::vector<processing_unit>& units() const noexcept { return units_; }
  /// All NUMA nodes, those without units or without memory as well; at least one.
  [[nodiscard]] const std::vector<numa_node>& nodes() const noexcept { return nodes_; }

  [[nodiscard]] std::size_t allowed_units() const noexcept { return allowed_units_; }
  /// Physical cores, and those of them that have an allowed unit.
  [[nodiscard]] std::size_t cores() const noexcept { return cores_; }
  [[nodiscard]] std::size_t allowed_cores() const noexcept { return allowed_cores_; }
  [[nodiscard]] std::size_t packages() const noexcept { return packages_; }
  [[nodiscard]] std::size_t cache_groups() const noexcept { return cache_groups_; }

  /// How far apart two units are. `a` and `b` are positions in `units()`; out of range is a programmer's error.
  [[nodiscard]] distance between(std::size_t a, std::size_t b) const noexcept;

  /// The position in `nodes()` of the node to take memory from for units of node `node`: itself, or, where it has no
  /// memory, the first node with memory that shares a package with it, or the first with memory, or itself.
  [[nodiscard]] std::uint32_t memory_node_of(std::uint32_t node) const noexcept;

  /// One line for logs: "1 package, 4 nodes, 8 last-level caches, 64 cores, 128 hardware threads (126 allowed)".
  [[nodiscard]] std::string describe() const;

  friend bool operator==(const topology&, const topology&) = default;

private:
  topology() = default;

  std::vector<processing_unit> units_;
  std::vector<numa_node> nodes_;
  std::size_t allowed_units_ = 0;
  std::size_t cores_ = 0;
  std::size_t allowed_cores_ = 0;
  std::size_t packages_ = 0;
  std::size_t cache_groups_ = 0;
};

}  // namespace karyon
