#include "nerve/exports.hpp"

#include <algorithm>
#include <limits>
#include <mutex>

namespace karyon::detail {

namespace {

bool lives(const exported_cell& e) noexcept { return e.role ? role_alive(e.at) : incarnation_alive(e.at); }

}  // namespace

void export_table::set_node(const exported_cell& desk) {
  const std::unique_lock lock(mutex_);
  places_[0] = {desk, 0, true};
  by_cell_[desk] = 0;
}

bool export_table::number_of(const exported_cell& e, cell_number& number) {
  {
    const std::shared_lock lock(mutex_);
    if (const auto found = by_cell_.find(e); found != by_cell_.end()) {
      number = {found->second, places_[found->second].tenant};
      return true;
    }
  }
  const std::unique_lock lock(mutex_);
  if (const auto found = by_cell_.find(e); found != by_cell_.end()) {
    number = {found->second, places_[found->second].tenant};
    return true;
  }
  if (free_.empty() && places_.size() >= limit_) {
    sweep(full_look);
  } else if (free_.empty() && places_.size() >= sweep_at_) {
    sweep(places_.size());
  }
  if (free_.empty() && places_.size() >= limit_) return false;
  std::uint32_t index = 0;
  if (!free_.empty()) {
    index = free_.back();
    free_.pop_back();
  } else {
    index = static_cast<std::uint32_t>(places_.size());
    places_.emplace_back();
  }
  place& p = places_[index];
  p.cell = e;
  p.used = true;
  by_cell_.emplace(e, index);
  number = {index, p.tenant};
  return true;
}

/// Those that have ended make room; a place whose tenants are used up is left out for good. Goes on where the last one stopped.
void export_table::sweep(std::size_t most) {
  free_.reserve(places_.size());
  for (std::size_t looked = 0; looked < most && looked < places_.size(); ++looked) {
    const std::uint32_t i = hand_;
    hand_ = i + 1 < places_.size() ? i + 1 : 0;
    place& p = places_[i];
    if (i == 0 || !p.used || lives(p.cell)) continue;
    by_cell_.erase(p.cell);
    p.used = false;
    if (p.tenant == std::numeric_limits<std::uint16_t>::max()) continue;
    ++p.tenant;
    free_.push_back(i);
  }
  sweep_at_ = std::max<std::size_t>(1024, 2 * (places_.size() - free_.size()));
}

bool export_table::find(cell_number number, exported_cell& e) const {
  const std::shared_lock lock(mutex_);
  if (number.index >= places_.size()) return false;
  const place& p = places_[number.index];
  if (!p.used || p.tenant != number.tenant) return false;
  e = p.cell;
  return true;
}

std::size_t export_table::size() const {
  const std::shared_lock lock(mutex_);
  return by_cell_.size();
}

}  // namespace karyon::detail
