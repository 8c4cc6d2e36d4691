// SPDX-License-Identifier: Apache-2.0
#include "nerve/endocrine_lane.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "cell/runtime_core.hpp"
#include "nerve/endocrine_core.hpp"

namespace karyon::detail {

endocrine_message* endocrine_message::make(std::size_t lanes) {
  void* const memory = ::operator new(sizeof(endocrine_message) + lanes * sizeof(item));
  auto* const m = ::new (memory) endocrine_message{nullptr, nullptr, nullptr, nullptr, 0, {}};
  for (std::size_t i = 0; i < lanes; ++i) {
    ::new (m->items() + i) item();
    m->items()[i].of = m;
  }
  return m;
}

void endocrine_message::destroy(endocrine_message* m) noexcept {
  m->~endocrine_message();
  ::operator delete(m);
}

lane_item* endocrine_lane::resting() noexcept {
  static lane_item mark;
  return &mark;
}

void endocrine_lane::push(lane_item* item) noexcept {
  lane_item* seen = head_.load(std::memory_order_relaxed);
  do {
    item->next = seen == resting() ? nullptr : seen;
    // Release pairs with take's acquire: what the item says. Acquire, if it was resting, pairs with rest's release: what its last turn did
    // is seen by the next, through this thread.
  } while (!head_.compare_exchange_weak(seen, item, std::memory_order_acq_rel, std::memory_order_relaxed));
  if (seen == resting()) owner_.host().workers().schedule(this, index_, true);
}

void endocrine_lane::take() noexcept {
  if (head_.load(std::memory_order_relaxed) == nullptr) return;
  lane_item* newest = head_.exchange(nullptr, std::memory_order_acquire);  // pairs with push's release: the items
  while (newest != nullptr) {
    lane_item* const following = std::exchange(newest->next, first_);
    first_ = newest;
    newest = following;
  }
}

bool endocrine_lane::rest() noexcept {
  lane_item* expected = nullptr;
  // Release pairs with the acquires of push and is_resting: what this turn did, for the next turn and for who ends the bus.
  return head_.compare_exchange_strong(expected, resting(), std::memory_order_release, std::memory_order_relaxed);
}

void endocrine_lane::run_lane(task* t, worker&) {
  auto& self = *static_cast<endocrine_lane*>(t);
  endocrine_core& core = self.owner_;
  std::size_t budget = work_a_turn;
  while (budget != 0) {
    if (self.first_ == nullptr) self.take();
    if (self.first_ == nullptr) {
      if (self.rest()) return;  // nothing of it is touched any more: it may run elsewhere, or be gone
      continue;
    }
    lane_item* const item = self.first_;
    bool done = false;
    budget -= std::min(budget, self.work(item, budget, done));
    if (!done) continue;
    self.first_ = item->next;
    core.finish(item);
  }
  core.host().workers().schedule_again(&self, self.index_, false);
}

std::size_t endocrine_lane::work(lane_item* item, std::size_t budget, bool& done) noexcept {
  switch (item->what) {
    case lane_item::message: return fan_out(*static_cast<endocrine_message::item*>(item)->of, budget, done);
    case lane_item::add: add(*static_cast<lane_command*>(item)); break;
    case lane_item::remove: remove(*static_cast<lane_command*>(item)); break;
    case lane_item::sweep: return sweep(*static_cast<lane_command*>(item), budget, done);
  }
  done = true;
  return 1;
}

std::size_t endocrine_lane::fan_out(endocrine_message& m, std::size_t budget, bool& done) noexcept {
  if (topic_ == 0 && group_ == 0 && entry_ == 0) {
    // Its own count of references: that of the message is of all workers, and would go to and fro between them.
    try {
      value_ = std::shared_ptr<const void>(std::make_shared<std::shared_ptr<const void>>(m.value), m.value.get());
    } catch (...) {
      value_ = m.value;
    }
  }
  std::size_t cost = 1;
  const auto& topics = m.route->topics;
  for (; topic_ < topics.size(); ++topic_, group_ = 0) {
    const auto& groups = topics[topic_]->parts[index_].groups;
    for (; group_ < groups.size(); ++group_, entry_ = 0) {
      endocrine_group& g = *groups[group_];
      const std::size_t size = g.entries.size();
      if (entry_ >= size) continue;
      if (cost >= budget) return cost;
      const std::size_t to = std::min(size, entry_ + (budget - cost));
      cost += to - entry_;
      if (!owner_.closed()) deliver(g, entry_, to, m);
      entry_ = to;
      if (to != size) return cost;
    }
  }
  topic_ = group_ = entry_ = 0;
  value_.reset();
  done = true;
  return cost;
}

void endocrine_lane::deliver(endocrine_group& g, std::size_t from, std::size_t to,
                             const endocrine_message& m) noexcept {
  constexpr std::size_t ahead = 12;
  const bool same_type = g.how->type->id == m.type->id;
  std::uint64_t reached = 0;
  std::uint64_t delivered = 0;
  bulk_sender sender;
  for (std::size_t i = from; i < to; ++i) {
    if (i + ahead < to) bulk_sender::fetch(g.entries[i + ahead].slot);
    const endocrine_group::entry& e = g.entries[i];
    if (e.slot == nullptr) continue;
    ++reached;
    if (!same_type) {
      add_to(counters_.type, 1);
      continue;
    }
    signal* s = nullptr;
    try {
      s = g.how->make(value_, m.hops);
    } catch (...) {
      add_to(counters_.memory, 1);
      continue;
    }
    switch (sender.send(e.at(), g.role, s)) {
      case send_result::accepted: ++delivered; break;
      case send_result::restarting: add_to(counters_.restarting, 1); break;
      case send_result::full:
      case send_result::dropped: add_to(counters_.full, 1); break;
      default:  // dead; the others are said of cells in other processes, and only this runtime's subscribe
        add_to(counters_.ended, 1);
        forget(g, i);
        break;
    }
  }
  add_to(counters_.reached, reached);
  add_to(counters_.delivered, delivered);
}

void endocrine_lane::add(lane_command& c) noexcept {
  endocrine_group& g = *c.group;
  try {
    if (!g.listed) {
      c.topic->parts[index_].groups.push_back(&g);
      g.listed = true;
    }
    if (g.entries.size() <= c.index) g.entries.resize(std::size_t{c.index} + 1);
    g.entries[c.index] = c.entry;
  } catch (...) {
    // The place stays empty: a subscription that came to nothing for want of memory.
    add_to(counters_.memory, 1);
    owner_.count_out(*c.topic, index_);
    g.give_back(c.index);
  }
}

void endocrine_lane::remove(const lane_command& c) noexcept {
  endocrine_group& g = *c.group;
  if (c.index >= g.entries.size()) return;
  const endocrine_group::entry& e = g.entries[c.index];
  if (e.slot == c.entry.slot && e.number == c.entry.number && e.serial == c.entry.serial) forget(g, c.index);
}

std::size_t endocrine_lane::sweep(lane_command& c, std::size_t budget, bool& done) noexcept {
  endocrine_group& g = *c.group;
  const std::size_t to = std::min(g.entries.size(), c.index + budget);
  const std::size_t cost = to - std::min<std::size_t>(c.index, to) + 1;
  for (; c.index < to; ++c.index) {
    const endocrine_group::entry& e = g.entries[c.index];
    if (e.slot == nullptr) continue;
    if (!(g.role ? role_alive(e.at()) : incarnation_alive(e.at()))) forget(g, c.index);
  }
  done = c.index >= g.entries.size();
  return cost;
}

void endocrine_lane::forget(endocrine_group& g, std::size_t index) noexcept {
  g.entries[index] = {};
  g.give_back(static_cast<std::uint32_t>(index));
  owner_.count_out(g.topic, index_);
}

}  // namespace karyon::detail
