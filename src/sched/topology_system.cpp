// SPDX-License-Identifier: Apache-2.0
#include "sched/topology_system.hpp"

namespace karyon::detail {

namespace {

hwloc_topology_t load_system_topology() noexcept {
  hwloc_topology_t machine = nullptr;
  if (hwloc_topology_init(&machine) != 0) return nullptr;
  // The disallowed units stay, because a process' allowed set can grow after this was read.
  if (hwloc_topology_set_flags(machine, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED) != 0 ||
      hwloc_topology_load(machine) != 0) {
    hwloc_topology_destroy(machine);
    return nullptr;
  }
  return machine;
}

}  // namespace

hwloc_topology_t system_topology() noexcept {
  static const hwloc_topology_t machine = load_system_topology();
  return machine;
}

bool system_is_pretended() noexcept {
  const auto machine = system_topology();
  return machine != nullptr && hwloc_topology_is_thissystem(machine) == 0;
}

bool system_has_unit(std::uint32_t os_index) noexcept {
  const auto machine = system_topology();
  return machine != nullptr && hwloc_bitmap_isset(hwloc_topology_get_complete_cpuset(machine), os_index) != 0;
}

bool system_has_node(std::uint32_t os_index) noexcept {
  const auto machine = system_topology();
  return machine != nullptr && hwloc_bitmap_isset(hwloc_topology_get_complete_nodeset(machine), os_index) != 0;
}

}  // namespace karyon::detail
