// SPDX-License-Identifier: Apache-2.0
//
// What libraries are given, and the resources behind it.
#include <new>

#include "core/log.hpp"
#include "organelle/call_context.hpp"
#include "organelle/library.hpp"
#include "organelle/monitors.hpp"
#include "sched/parker.hpp"

namespace karyon::detail {

namespace {

constexpr std::align_val_t resource_alignment{64};

void free_resource(resource_header* header) noexcept {
  header->~resource_header();
  ::operator delete(static_cast<void*>(header), resource_alignment);
}

/// Ends an object whose last reference is gone; its library, if it has one, is still kept.
library* end_object(void* object) noexcept {
  resource_header& header = header_of(object);
  if (header.monitored) end_monitors(header);
  if (header.type->destroy != nullptr) header.type->destroy(object);
  library* const home = header.home;
  free_resource(&header);
  return home;
}

void* host_allocate(const karyon_host* self, const karyon_resource_type* type, std::uint64_t bytes) {
  if (type == nullptr) return nullptr;
  return allocate_resource(*type, reinterpret_cast<const host_table*>(self)->owner, bytes);
}

void host_discard(void* object) {
  resource_header& header = header_of(object);
  if (header.monitored) end_monitors(header);
  library* const home = header.home;
  free_resource(&header);
  if (home != nullptr) home->release_from_within();
}

void host_keep(void* object) { keep_resource(object); }

void host_release(void* object) {
  // Pairs with release_resource, and as there: the last one sees what the others did before.
  if (header_of(object).references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (library* const home = end_object(object)) home->release_from_within();
}

const karyon_resource_type* host_type_of(const void* object) {
  return object != nullptr ? header_of(object).type : nullptr;
}

karyon_status host_monitor(karyon_call* call, void* object) {
  if (call == nullptr || call->host_data == nullptr || object == nullptr) return KARYON_UNSUPPORTED;
  return static_cast<call_context*>(call->host_data)->monitor(object);
}

void host_demonitor(void* object) { end_monitors(header_of(object)); }

void host_log(const karyon_host* self, std::int32_t level, const char* text) {
  constexpr log_level levels[] = {log_level::debug, log_level::info, log_level::warn, log_level::err};
  if (text == nullptr || level < 0 || level > 3 || !log_enabled(levels[level])) return;
  try {
    log(levels[level], reinterpret_cast<const host_table*>(self)->owner->path() + ": " + text);
  } catch (const std::bad_alloc&) {
    log(levels[level], text);
  }
}

std::uint64_t host_now_ns() { return monotonic_ns(); }

}  // namespace

karyon_host make_host_table() noexcept {
  return {KARYON_TABLE_HEAD(karyon_host, KARYON_HOST_MONITORS),
          &host_allocate,
          &host_discard,
          &host_keep,
          &host_release,
          &host_type_of,
          &host_monitor,
          &host_demonitor,
          &host_log,
          &host_now_ns};
}

void* allocate_resource(const karyon_resource_type& type, library* home, std::uint64_t bytes) noexcept {
  if (bytes > PTRDIFF_MAX - sizeof(resource_header)) return nullptr;
  void* const memory =
      ::operator new(sizeof(resource_header) + static_cast<std::size_t>(bytes), resource_alignment, std::nothrow);
  if (memory == nullptr) return nullptr;
  auto* const header = ::new (memory) resource_header{1, &type, home, nullptr, false};
  if (home != nullptr) home->keep();
  return header + 1;
}

void end_resource(void* object) noexcept {
  if (library* const home = end_object(object)) home->release();
}

}  // namespace karyon::detail
