// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/guests.hpp"

#include <algorithm>
#include <utility>

namespace karyon::tools {

std::uint32_t guest_book::add(std::string name, cell_ref who) {
  const std::lock_guard lock(mutex_);
  guest g;
  g.what.name = std::move(name);
  g.who = std::move(who);
  guests_.push_back(std::move(g));
  // Release pairs with the acquires in take and home_of: who sees that there are members finds them, under the lock.
  any_.store(true, std::memory_order_release);
  return static_cast<std::uint32_t>(guests_.size());
}

void guest_book::add_stock(std::uint32_t which, std::uint32_t first, std::span<const child<symbol>> symbols) {
  const std::lock_guard lock(mutex_);
  if (which == 0 || which > guests_.size()) {
    return;
  }
  guest& g = guests_[which - 1];
  if (g.what.lost || first != g.symbols.size()) {
    return;
  }
  g.symbols.insert(g.symbols.end(), symbols.begin(), symbols.end());
  g.names.resize(g.symbols.size(), nobody);
  g.asked = g.asked && g.symbols.size() - g.next < stock_size;
}

bool guest_book::take(symbol_id id, child<symbol>& handle, std::uint32_t& low) {
  low = 0;
  // Acquire pairs with add's release: there are members.
  if (!any_.load(std::memory_order_acquire)) {
    return false;
  }
  const std::lock_guard lock(mutex_);
  guest* best = nullptr;
  for (guest& g : guests_) {
    if (!g.what.lost && g.next < g.symbols.size() && (best == nullptr || g.what.symbols < best->what.symbols)) {
      best = &g;
    }
  }
  if (best == nullptr) {
    return false;
  }
  const auto which = static_cast<std::uint32_t>(best - guests_.data()) + 1;
  if (homes_.size() <= id) {
    homes_.resize(std::max<std::size_t>(std::size_t{id} + 1, homes_.size() * 2));
  }
  homes_[id] = {which, best->next};
  best->names[best->next] = id;
  handle = best->symbols[best->next++];
  ++best->what.symbols;
  if (!best->asked && best->symbols.size() - best->next < stock_size / 2) {
    best->asked = true;
    low = which;
  }
  return true;
}

std::vector<symbol_id> guest_book::lose(std::uint32_t which) {
  const std::lock_guard lock(mutex_);
  guest& g = guests_[which - 1];
  std::vector<symbol_id> names;
  if (!std::exchange(g.what.lost, true)) {
    names = std::exchange(g.names, {});
    g.symbols.clear();
    std::erase(names, nobody);
    for (const symbol_id id : names) {
      homes_[id] = {};
    }
    g.what.symbols = 0;
    losses_.fetch_add(1, std::memory_order_release);  // partner: losses(); the member is lost by then
  }
  return names;
}

bool guest_book::name_of(std::uint32_t which, std::uint32_t number, symbol_id& id) const {
  const std::lock_guard lock(mutex_);
  if (which == 0 || which > guests_.size() || number >= guests_[which - 1].names.size()) {
    return false;
  }
  id = guests_[which - 1].names[number];
  return id != nobody;
}

symbol_home guest_book::home_of(symbol_id id) const {
  // Acquire pairs with add's release: there are members.
  if (!any_.load(std::memory_order_acquire)) {
    return {};
  }
  const std::lock_guard lock(mutex_);
  return id < homes_.size() ? homes_[id] : symbol_home{};
}

cell_ref guest_book::porter_of(std::uint32_t which) const {
  const std::lock_guard lock(mutex_);
  return guests_[which - 1].who;
}

std::uint32_t guest_book::ready() const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::uint32_t>(
      std::count_if(guests_.begin(), guests_.end(), [](const guest& g) { return !g.what.lost && !g.asked; }));
}

std::vector<guest_book::member> guest_book::members() const {
  const std::lock_guard lock(mutex_);
  std::vector<member> all;
  for (const guest& g : guests_) {
    all.push_back(g.what);
  }
  return all;
}

}  // namespace karyon::tools
