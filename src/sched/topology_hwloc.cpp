// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>
#include <fstream>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include <hwloc.h>

#include <karyon/sched/topology.hpp>

namespace karyon {

namespace {

struct hwloc_destroyer {
  void operator()(hwloc_topology_t topology) const noexcept { hwloc_topology_destroy(topology); }
};
using hwloc_handle = std::unique_ptr<hwloc_topology, hwloc_destroyer>;

struct bitmap_freer {
  void operator()(hwloc_bitmap_t set) const noexcept { hwloc_bitmap_free(set); }
};
using bitmap = std::unique_ptr<hwloc_bitmap_s, bitmap_freer>;

// hwloc takes quadratic time over huge descriptions, so a slip of the keyboard must not reach it.
constexpr std::uint64_t synthetic_units_max = 4096;

std::string reason_of(int error) { return std::generic_category().message(error); }

result<hwloc_handle> make_handle() {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return fail(errc::out_of_memory, "hwloc could not make a topology object");
  hwloc_handle handle(raw);
  // Units that this process may not use are kept, so that a plan can tell a restricted machine from a smaller one.
  if (hwloc_topology_set_flags(raw, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED) != 0)
    return fail(errc::unsupported, "this hwloc can not list units that the process may not use");
  return handle;
}

// What identifies the last-level cache of a unit: the outermost cache above it. A machine that does not tell its caches
// counts as having one a package.
hwloc_obj_t last_level_cache(hwloc_obj_t unit) {
  hwloc_obj_t outermost = nullptr;
  hwloc_obj_t package = nullptr;
  for (hwloc_obj_t above = unit->parent; above != nullptr; above = above->parent) {
    if (hwloc_obj_type_is_dcache(above->type) != 0) outermost = above;
    if (above->type == HWLOC_OBJ_PACKAGE) package = above;
  }
  return outermost != nullptr ? outermost : package;
}

// The position of the node whose memory is nearest to a unit. Several nodes may claim one (DRAM and on-package memory,
// or an expander that serves the whole machine): the one that serves the fewest units is the local one, and among
// equals the one that the system numbered first, which is ordinary memory.
std::optional<std::uint32_t> nearest_node(const std::vector<hwloc_obj_t>& nodes, unsigned unit_os_index) {
  std::optional<std::uint32_t> best;
  int best_weight = 0;
  for (std::uint32_t i = 0; i < nodes.size(); ++i) {
    if (hwloc_bitmap_isset(nodes[i]->cpuset, unit_os_index) == 0) continue;
    const int weight = hwloc_bitmap_weight(nodes[i]->cpuset);
    if (!best || weight < best_weight) {
      best = i;
      best_weight = weight;
    }
  }
  return best;
}

std::vector<hwloc_obj_t> objects_of(hwloc_topology_t machine, hwloc_obj_type_t type) {
  std::vector<hwloc_obj_t> objects;
  for (hwloc_obj_t next = hwloc_get_next_obj_by_type(machine, type, nullptr); next != nullptr;
       next = hwloc_get_next_obj_by_type(machine, type, next))
    objects.push_back(next);
  return objects;
}

std::uint32_t logical_or(hwloc_obj_t object, std::uint32_t otherwise) {
  return object == nullptr ? otherwise : object->logical_index;
}

// How many units a synthetic description stands for: the product of its levels' counts, which stand first or after a
// colon, outside of brackets (attributes, attached memory). Stops counting beyond the maximum.
std::uint64_t synthetic_units(std::string_view description) {
  std::uint64_t product = 1;
  int brackets = 0;
  char before = ' ';
  for (std::size_t i = 0; i < description.size() && product <= synthetic_units_max; before = description[i], ++i) {
    const char c = description[i];
    if (c == '(' || c == '[') ++brackets;
    if (c == ')' || c == ']') --brackets;
    if (brackets != 0 || c < '0' || c > '9' || (before != ':' && before != ' ')) continue;
    std::uint64_t count = 0;
    for (; i < description.size() && description[i] >= '0' && description[i] <= '9'; ++i)
      count = std::min<std::uint64_t>(count * 10 + static_cast<std::uint64_t>(description[i] - '0'),
                                      synthetic_units_max + 1);
    --i;
    product *= std::max<std::uint64_t>(count, 1);
  }
  return product;
}

// `allowed` are the units that the process may use.
result<topology> read_loaded(hwloc_topology_t machine, hwloc_const_cpuset_t allowed) {
  const auto node_objects = objects_of(machine, HWLOC_OBJ_NUMANODE);
  std::vector<numa_node> nodes;
  nodes.reserve(node_objects.size());
  for (hwloc_obj_t object : node_objects)
    nodes.push_back({.os_index = object->os_index, .memory_bytes = object->attr->numanode.local_memory, .units = 0});

  std::vector<processing_unit> units;
  // Caches of different levels are numbered apart, so the same number may stand for two of them: tell them by depth.
  constexpr std::uint32_t numbers_per_depth = 1U << 20U;
  for (hwloc_obj_t object : objects_of(machine, HWLOC_OBJ_PU)) {
    const hwloc_obj_t cache = last_level_cache(object);
    processing_unit unit;
    unit.os_index = object->os_index;
    // A unit without a core object above it is a core of its own; its number can not meet that of a real core.
    unit.core = logical_or(hwloc_get_ancestor_obj_by_type(machine, HWLOC_OBJ_CORE, object),
                           numbers_per_depth + object->logical_index);
    unit.package = logical_or(hwloc_get_ancestor_obj_by_type(machine, HWLOC_OBJ_PACKAGE, object), numbers_per_depth);
    unit.cache_group =
        cache == nullptr ? 0 : static_cast<std::uint32_t>(cache->depth) * numbers_per_depth + cache->logical_index;
    unit.node = nearest_node(node_objects, object->os_index).value_or(0);
    unit.allowed = hwloc_bitmap_isset(allowed, object->os_index) != 0;
    units.push_back(unit);
  }
  return topology::from_units(std::move(units), std::move(nodes));
}

}  // namespace

result<topology> topology::detect() {
  auto handle = make_handle();
  if (!handle) return tl::unexpected(handle.error());
  errno = 0;
  if (hwloc_topology_load(handle->get()) != 0)
    return fail(errc::system_error, "hwloc could not read this machine's topology: " + reason_of(errno));
  // hwloc's allowed set is the cgroup's; the affinity that taskset or a batch system gave the process narrows it
  // further. That of the process is asked for, not that of this thread, which may be a worker that was bound before.
  const bitmap allowed(hwloc_bitmap_alloc());
  if (allowed == nullptr) return fail(errc::out_of_memory, "no memory for a processor set");
  if (hwloc_get_cpubind(handle->get(), allowed.get(), HWLOC_CPUBIND_PROCESS) != 0) hwloc_bitmap_fill(allowed.get());
  hwloc_bitmap_and(allowed.get(), allowed.get(), hwloc_topology_get_allowed_cpuset(handle->get()));
  return read_loaded(handle->get(), allowed.get());
}

result<topology> topology::from_xml(const std::filesystem::path& path) {
  // hwloc does not tell an absent file from a wrong one; opening it first does.
  if (std::error_code ignored; std::filesystem::is_directory(path, ignored) || !std::ifstream(path))
    return fail(errc::not_found, "the topology file " + path.string() + " can not be opened for reading");
  auto handle = make_handle();
  if (!handle) return tl::unexpected(handle.error());
  if (hwloc_topology_set_xml(handle->get(), path.c_str()) != 0 || hwloc_topology_load(handle->get()) != 0)
    return fail(errc::invalid_argument,
                path.string() + " is not a topology in hwloc's XML format; `lstopo --of xml FILE` writes one");
  return read_loaded(handle->get(), hwloc_topology_get_allowed_cpuset(handle->get()));
}

result<topology> topology::from_synthetic(std::string_view description) {
  if (synthetic_units(description) > synthetic_units_max)
    return fail(errc::invalid_argument, "\"" + std::string(description) + "\" has more than " +
                                            std::to_string(synthetic_units_max) + " processing units");
  auto handle = make_handle();
  if (!handle) return tl::unexpected(handle.error());
  const std::string text(description);
  const bool embedded_nul = text.find('\0') != std::string::npos;
  if (embedded_nul || hwloc_topology_set_synthetic(handle->get(), text.c_str()) != 0 ||
      hwloc_topology_load(handle->get()) != 0)
    return fail(errc::invalid_argument, "\"" + text +
                                            "\" is not a synthetic topology; one looks like "
                                            "\"pack:2 numa:1 l3:1 core:28 pu:2\"");
  return read_loaded(handle->get(), hwloc_topology_get_allowed_cpuset(handle->get()));
}

}  // namespace karyon
