// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <hwloc.h>

namespace karyon::detail {

/// hwloc's view of this machine, for binding threads and memory; made at the first call and kept until the process
/// ends, so that a thread which stops late still finds it. Null where hwloc can not read the machine.
///
/// Any thread may call it; hwloc's binding calls only read it.
[[nodiscard]] hwloc_topology_t system_topology() noexcept;

/// Whether HWLOC_XMLFILE or HWLOC_SYNTHETIC made hwloc read another machine than this one. Its calls that bind then
/// succeed without effect, so ask first.
[[nodiscard]] bool system_is_pretended() noexcept;

/// Whether one of this machine's processing units, or NUMA nodes, has this number.
[[nodiscard]] bool system_has_unit(std::uint32_t os_index) noexcept;
[[nodiscard]] bool system_has_node(std::uint32_t os_index) noexcept;

}  // namespace karyon::detail
