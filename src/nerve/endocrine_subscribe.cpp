// SPDX-License-Identifier: Apache-2.0
// Who hears what: a bus's patterns, topics and sinks, and how those who have ended are found.
#include <new>
#include <utility>

#include "cell/stub.hpp"
#include "nerve/endocrine_core.hpp"
#include "sched/parker.hpp"

namespace karyon::detail {

endocrine_core::pattern_state& endocrine_core::wanted(std::string_view pattern) {
  pattern_state& p = patterns_.at(pattern);
  if (!p.listened && carrier_ != nullptr) {
    carrier_->listen(std::string(pattern));
    p.listened = true;
  }
  version_.fetch_add(1, std::memory_order_relaxed);
  return p;
}

void endocrine_core::drop_if_unwanted(std::string_view pattern) noexcept {
  const std::lock_guard lock(patterns_mutex_);
  pattern_state* const p = patterns_.find(pattern);
  if (p == nullptr) return;
  if (p->topic != nullptr && p->topic->members.load(std::memory_order_relaxed) != 0) return;
  if (p->topic != nullptr) version_.fetch_add(1, std::memory_order_relaxed);
  p->topic.reset();
  if (!p->sinks.empty()) return;
  if (p->listened) {
    try {
      carrier_->end_listening(std::string(pattern));
    } catch (...) {
      return;  // no memory: the server goes on sending it, and nobody gets it
    }
  }
  patterns_.erase(pattern);
  version_.fetch_add(1, std::memory_order_relaxed);
}

result<subscription> endocrine_core::subscribe(const hormone_receiver* how, const address& who, bool role,
                                               std::string_view pattern) {
  if (closed()) return fail(errc::closed, "the bus is ending: nobody can subscribe any more");
  if (!is_subject_pattern(pattern))
    return fail(errc::invalid_argument,
                "\"" + std::string(pattern) + "\" is no pattern of subjects: see is_subject_pattern");
  if (who.slot == nullptr) return fail(errc::invalid_argument, "an empty handle can not subscribe");
  if (stub far; find_stub(who, far))
    return fail(errc::invalid_argument, "a cell of another process subscribes at a bus of its own process");
  if (counts_.subscriptions.load(std::memory_order_relaxed) >= options_.subscriptions_max) {
    sweep_when_full();
    return fail(errc::refused, "the bus has as many subscriptions as endocrine_options::subscriptions_max allows");
  }
  know_type(*how->type);
  const unsigned lane = who.slot->home < lanes_.size() ? unsigned{who.slot->home} : 0;
  std::shared_ptr<endocrine_topic> topic;
  {
    const std::lock_guard lock(patterns_mutex_);
    pattern_state* p = patterns_.find(pattern);
    if (p == nullptr || p->topic == nullptr) {
      auto fresh = std::make_shared<endocrine_topic>(origin_, pattern, static_cast<unsigned>(lanes_.size()));
      p = &wanted(pattern);
      p->topic = std::move(fresh);
    }
    topic = p->topic;
    topic->members.fetch_add(1, std::memory_order_relaxed);
  }
  topic->parts[lane].members.fetch_add(1, std::memory_order_relaxed);
  counts_.subscriptions.fetch_add(1, std::memory_order_relaxed);
  try {
    endocrine_group& g = topic->group(how, role, lane);
    const endocrine_group::place at = g.take_place();
    try {
      push_command(lane_item::add, topic, g, at.index, {who.slot, who.number, at.serial});
    } catch (...) {
      g.give_back(at.index);
      throw;
    }
    if (at.sweep) sweep_later(g);
    subscription made;
    made.group_ = std::shared_ptr<endocrine_group>(topic, &g);
    made.index_ = at.index;
    made.serial_ = at.serial;
    made.who_ = who;
    return made;
  } catch (...) {
    count_out(*topic, lane);
    throw;
  }
}

void endocrine_core::sweep_later(endocrine_group& g) noexcept {
  try {
    push_command(lane_item::sweep, g.topic.shared_from_this(), g, 0, {});
  } catch (...) {  // no memory: when the number of places has doubled again
  }
}

void endocrine_core::unsubscribe(endocrine_group& group, std::uint32_t index, const address& who,
                                 std::uint32_t serial) {
  if (group.topic.bus != origin_) return;  // its lanes are another bus's
  push_command(lane_item::remove, group.topic.shared_from_this(), group, index, {who.slot, who.number, serial});
}

void endocrine_core::push_command(lane_item::kind what, std::shared_ptr<endocrine_topic> topic, endocrine_group& group,
                                  std::uint32_t index, const endocrine_group::entry& entry) {
  auto* const c = new lane_command;
  c->what = what;
  c->topic = std::move(topic);
  c->group = &group;
  c->index = index;
  c->entry = entry;
  commands_.fetch_add(1, std::memory_order_seq_cst);
  if (closed()) {
    delete c;
    commands_.fetch_sub(1, std::memory_order_seq_cst);
    return;
  }
  lanes_[group.lane]->push(c);
}

void endocrine_core::count_out(endocrine_topic& topic, unsigned lane) noexcept {
  counts_.subscriptions.fetch_sub(1, std::memory_order_relaxed);
  topic.parts[lane].members.fetch_sub(1, std::memory_order_relaxed);
  if (topic.members.fetch_sub(1, std::memory_order_relaxed) == 1) drop_if_unwanted(topic.pattern);
}

void endocrine_core::add_sink(std::string_view pattern, std::shared_ptr<endocrine_sink> sink) {
  know_type(sink->type());
  const std::lock_guard lock(patterns_mutex_);
  wanted(pattern).sinks.push_back(std::move(sink));
}

void endocrine_core::remove_sink(std::string_view pattern, const endocrine_sink& sink) noexcept {
  {
    const std::lock_guard lock(patterns_mutex_);
    pattern_state* const p = patterns_.find(pattern);
    if (p == nullptr) return;
    std::erase_if(p->sinks, [&sink](const auto& s) { return s.get() == &sink; });
    version_.fetch_add(1, std::memory_order_relaxed);
  }
  drop_if_unwanted(pattern);
}

void endocrine_core::sweep() {
  std::vector<std::shared_ptr<endocrine_topic>> topics;
  {
    const std::lock_guard lock(patterns_mutex_);
    patterns_.for_each([&topics](const pattern_state& p) {
      if (p.topic != nullptr) topics.push_back(p.topic);
    });
  }
  for (const auto& t : topics) {
    t->for_each_group([&](endocrine_group& g) { push_command(lane_item::sweep, t, g, 0, {}); });
  }
}

void endocrine_core::tick() noexcept {
  try {
    sweep();
  } catch (...) {  // no memory: the next one will do
  }
}

/// Some may be of cells that have ended, which nobody has found out: the next who comes finds room. Not more often than that.
void endocrine_core::sweep_when_full() {
  constexpr std::uint64_t pause_ns = 100'000'000;
  const std::uint64_t now_ns = monotonic_ns();
  std::uint64_t last_ns = full_sweep_ns_.load(std::memory_order_relaxed);
  if (last_ns != 0 && now_ns < last_ns + pause_ns) return;
  if (full_sweep_ns_.compare_exchange_strong(last_ns, now_ns, std::memory_order_relaxed)) sweep();
}

void endocrine_core::know_type(const hormone_type& type) {
  if (carrier_ == nullptr) return;
  const std::lock_guard lock(types_mutex_);
  types_.emplace(type.schema(), &type);
}

const hormone_type* endocrine_core::type_of(std::uint64_t id) {
  const std::lock_guard lock(types_mutex_);
  const auto found = types_.find(id);
  return found != types_.end() ? found->second : nullptr;
}

}  // namespace karyon::detail
