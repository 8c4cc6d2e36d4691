#include "cell/moved_handlers.hpp"

namespace karyon::detail {

static_assert(alignof(handler_site) >= 2, "the lowest bit of an address is free");

moved_handlers::~moved_handlers() {
  for_each([](handler_site& site) { site.elsewhere.fetch_sub(1, std::memory_order_relaxed); });
}

std::size_t moved_handlers::place_of(const handler_site& site) const noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(&site);
  std::size_t at = (address >> 4u) * 0x9e3779b97f4a7c15u >> 56u;
  while (true) {
    const std::uintptr_t p = places_[at].load(std::memory_order_relaxed);
    if (p == 0 || (p & ~moved) == address) return at;  // a quarter of the places is always empty
    at = (at + 1) % size;
  }
}

bool moved_handlers::has(const handler_site& site) const noexcept {
  return (places_[place_of(site)].load(std::memory_order_relaxed) & moved) != 0;
}

bool moved_handlers::add(handler_site& site) noexcept {
  const std::lock_guard lock(mutex_);
  auto& place = places_[place_of(site)];
  const std::uintptr_t p = place.load(std::memory_order_relaxed);
  if ((p & moved) != 0) return false;
  if (p == 0) {
    if (sites_ == sites_max) return false;
    ++sites_;
  }
  place.store(reinterpret_cast<std::uintptr_t>(&site) | moved, std::memory_order_relaxed);
  site.elsewhere.fetch_add(1, std::memory_order_relaxed);
  return true;
}

bool moved_handlers::remove(handler_site& site) noexcept {
  const std::lock_guard lock(mutex_);
  auto& place = places_[place_of(site)];
  const std::uintptr_t p = place.load(std::memory_order_relaxed);
  if ((p & moved) == 0) return false;
  place.store(p & ~moved, std::memory_order_relaxed);
  site.elsewhere.fetch_sub(1, std::memory_order_relaxed);
  return true;
}

}  // namespace karyon::detail
