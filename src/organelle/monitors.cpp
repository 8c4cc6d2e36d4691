// SPDX-License-Identifier: Apache-2.0
#include "organelle/monitors.hpp"

#include <mutex>
#include <new>

namespace karyon::detail {

namespace {

constinit std::mutex monitors_lock;

/// A reference, if there still is one. Under the lock, which a resource takes once its last one is gone.
bool keep_if_alive(resource_header& resource) noexcept {
  std::uint64_t count = resource.references.load(std::memory_order_relaxed);
  while (count != 0) {
    // Relaxed: what the reference is used for is ordered by the lock and by the release of the others.
    if (resource.references.compare_exchange_weak(count, count + 1, std::memory_order_relaxed)) return true;
  }
  return false;
}

void unlink_from_resource(monitor_link* link) noexcept {
  monitor_link** at = &link->resource->monitors;
  while (*at != link) at = &(*at)->next;
  *at = link->next;
}

void* object_of(resource_header& resource) noexcept { return &resource + 1; }

}  // namespace

caller_watch::~caller_watch() {
  const std::lock_guard lock(monitors_lock);
  while (first_ != nullptr) {
    monitor_link* const link = first_;
    unlink(link);
    unlink_from_resource(link);
    delete link;
  }
}

void caller_watch::append(monitor_link* link) noexcept {
  link->watch = this;
  link->before = last_;
  link->behind = nullptr;
  (last_ != nullptr ? last_->behind : first_) = link;
  last_ = link;
}

void caller_watch::unlink(monitor_link* link) noexcept {
  (link->before != nullptr ? link->before->behind : first_) = link->behind;
  (link->behind != nullptr ? link->behind->before : last_) = link->before;
}

caller_watch::answer caller_watch::add(void* object) noexcept {
  resource_header& resource = header_of(object);
  auto* const link = new (std::nothrow) monitor_link;
  if (link == nullptr) return answer::no_memory;
  {
    const std::lock_guard lock(monitors_lock);
    bool is_there = false;
    for (const monitor_link* l = resource.monitors; l != nullptr; l = l->next) is_there |= l->watch == this;
    if (!ended_ && !is_there) {
      link->resource = &resource;
      link->next = resource.monitors;
      resource.monitors = link;
      resource.monitored = true;
      append(link);
      return answer::done;
    }
    delete link;
    if (!ended_) return answer::done;
  }
  if (resource.type->down != nullptr) resource.type->down(object, caller_);
  return answer::done;
}

void caller_watch::fire() noexcept {
  std::unique_lock lock(monitors_lock);
  ended_ = true;
  while (first_ != nullptr) {
    monitor_link* const link = first_;
    resource_header& resource = *link->resource;
    unlink(link);
    unlink_from_resource(link);
    delete link;
    if (!keep_if_alive(resource)) continue;
    lock.unlock();
    if (resource.type->down != nullptr) resource.type->down(object_of(resource), caller_);
    release_resource(object_of(resource));
    lock.lock();
  }
}

void caller_watch::adopt(caller_watch& other) noexcept {
  const std::lock_guard lock(monitors_lock);
  while (other.first_ != nullptr) {
    monitor_link* const link = other.first_;
    other.unlink(link);
    bool is_there = false;
    for (const monitor_link* l = link->resource->monitors; l != nullptr; l = l->next) is_there |= l->watch == this;
    if (is_there) {
      unlink_from_resource(link);
      delete link;
    } else {
      append(link);
    }
  }
}

bool caller_watch::empty() const noexcept {
  const std::lock_guard lock(monitors_lock);
  return first_ == nullptr;
}

void end_monitors(resource_header& resource) noexcept {
  const std::lock_guard lock(monitors_lock);
  while (resource.monitors != nullptr) {
    monitor_link* const link = resource.monitors;
    resource.monitors = link->next;
    link->watch->unlink(link);
    delete link;
  }
}

}  // namespace karyon::detail
