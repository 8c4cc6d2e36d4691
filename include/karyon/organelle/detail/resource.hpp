// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include <karyon/organelle/abi.h>
#include <karyon/core/export.hpp>

namespace karyon::detail {

class library;
struct monitor_link;

/// What lies before each resource. The object begins where it ends.
struct alignas(64) resource_header {
  std::atomic<std::uint64_t> references;
  const karyon_resource_type* type;
  library* home;           // kept; null: a resource of the host itself
  monitor_link* monitors;  // under the lock of the monitors (src/organelle/monitors.hpp)
  bool monitored;  // there have been some: written under that lock, with a reference; read when the last one is gone
};
static_assert(sizeof(resource_header) == 64);

[[nodiscard]] inline resource_header& header_of(const void* object) noexcept {
  return *reinterpret_cast<resource_header*>(static_cast<std::byte*>(const_cast<void*>(object)) -
                                             sizeof(resource_header));
}

/// A resource with one reference, or null. With a `home`, that is kept.
[[nodiscard]] KARYON_API void* allocate_resource(const karyon_resource_type& type, library* home,
                                                 std::uint64_t bytes) noexcept;
/// The last reference is gone.
KARYON_API void end_resource(void* object) noexcept;

inline void keep_resource(void* object) noexcept {
  // Whoever keeps has a reference already, so that nothing has to be ordered.
  header_of(object).references.fetch_add(1, std::memory_order_relaxed);
}

inline void release_resource(void* object) noexcept {
  // Acquire-release pairs with that of the others: the last one sees what they did before.
  if (header_of(object).references.fetch_sub(1, std::memory_order_acq_rel) == 1) end_resource(object);
}

/// Where a container of the host's lies while organelles read it.
template <class Container>
void destroy_lent(void* object) {
  static_cast<Container*>(object)->~Container();
}
template <class Container>
inline constexpr karyon_resource_type lent_type{"karyon.bytes", &destroy_lent<Container>, nullptr, nullptr};

}  // namespace karyon::detail
