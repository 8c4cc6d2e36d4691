// SPDX-License-Identifier: Apache-2.0
#include "nerve/endocrine_core.hpp"

#include <time.h>

#include <algorithm>
#include <exception>
#include <new>
#include <thread>
#include <utility>

#include "cell/stub.hpp"
#include "core/log.hpp"
#include "nerve/endocrine_frame.hpp"
#include "nerve/overlay_bus.hpp"
#include "sched/parker.hpp"
#include "sched/wait.hpp"

namespace karyon::detail {

namespace {

std::uint64_t wall_us() noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000 + static_cast<std::uint64_t>(now.tv_nsec) / 1000;
}

/// The cell that this thread runs, or what a thread calls itself.
sender_name sender_of_this_call(std::string_view given) noexcept {
  if (running != nullptr) {
    cell_slot& s = *running->slot;
    return {identity(s.at()), s.info.load(std::memory_order_relaxed)->name, true};
  }
  if (given.empty()) return {std::hash<std::thread::id>()(std::this_thread::get_id()) | 1u, given, false};
  return {hash_of_text(given) | 1u, given, false};
}

}  // namespace

std::uint32_t& hops_behind() noexcept {
  static thread_local constinit std::uint32_t hops = 0;
  return hops;
}

endocrine_core::endocrine_core(runtime_core& host, endocrine_options options)
    : host_(host), options_(std::move(options)), senders_(options_.storm.sender), origin_(random_bits()) {
  for (unsigned i = 0; i < host.workers().size(); ++i) lanes_.push_back(std::make_unique<endocrine_lane>(*this, i));
}

endocrine_core::~endocrine_core() {
  if (carrier_ != nullptr) carrier_->close();
}

void endocrine_core::start() {
  constexpr std::string_view by_overlay = "overlay://";
  if (options_.server.starts_with(by_overlay)) {
    const auto network = std::dynamic_pointer_cast<node_services>(host_.network());
    if (network == nullptr) {
      throw runtime_error(
          error(errc::unsupported, "a bus by overlay needs a node of its runtime (karyon::node) first"));
    }
    carrier_ = std::make_unique<overlay_bus>(*network, std::string_view(options_.server).substr(by_overlay.size()),
                                             options_, *this);
  } else if (!options_.server.empty()) {
    carrier_ = connect_nats(options_, *this);
  }
}

// ---- the end -------------------------------------------------------------------------------------------------------

void endocrine_core::begin_shutdown() noexcept { closed_.store(true, std::memory_order_seq_cst); }

bool endocrine_core::has_ended() const noexcept {
  return in_flight_.load(std::memory_order_seq_cst) == 0 && commands_.load(std::memory_order_seq_cst) == 0 &&
         std::all_of(lanes_.begin(), lanes_.end(), [](const auto& lane) { return lane->is_resting(); });
}

bool endocrine_core::enter_signal() noexcept {
  if (in_flight_.fetch_add(1, std::memory_order_seq_cst) < options_.in_flight_max && !closed()) return true;
  leave_signal();
  return false;
}

void endocrine_core::leave_signal() noexcept { in_flight_.fetch_sub(1, std::memory_order_seq_cst); }

void endocrine_core::finish(lane_item* item) noexcept {
  if (item->what == lane_item::message) {
    endocrine_message* const m = static_cast<endocrine_message::item*>(item)->of;
    if (m->lanes_left.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    endocrine_message::destroy(m);
    counts_.fanned_out.fetch_add(1, std::memory_order_relaxed);
    leave_signal();
  } else {
    delete static_cast<lane_command*>(item);
    commands_.fetch_sub(1, std::memory_order_seq_cst);
  }
}

// ---- publishing ----------------------------------------------------------------------------------------------------

publish_result endocrine_core::refuse(publish_result why) noexcept {
  counts_.published.fetch_add(1, std::memory_order_relaxed);
  counts_.outcome[static_cast<std::size_t>(why)].fetch_add(1, std::memory_order_relaxed);
  return why;
}

publish_result endocrine_core::publish(std::string_view subject, const hormone_type* type,
                                       std::shared_ptr<const void> value, std::string_view sender) {
  const publish_result r = publish_anyway(subject, type, std::move(value), sender);
  return refuse(r);  // counts what was accepted as well
}

publish_result endocrine_core::publish_anyway(std::string_view subject, const hormone_type* type,
                                              std::shared_ptr<const void> value, std::string_view sender) {
  if (closed()) return publish_result::closed;
  if (!is_subject(subject)) return publish_result::bad_subject;
  const sender_name who = sender_of_this_call(sender);
  const std::uint32_t hops = running != nullptr ? hops_behind() : 0;
  const std::uint64_t now_ns = monotonic_ns();
  // A frame has a byte for them.
  if (hops > (carrier_ == nullptr ? options_.storm.hops : std::min<std::uint32_t>(options_.storm.hops, 255))) {
    bool tell = false;
    {
      const std::lock_guard lock(echoes_mutex_);
      tell = echoes_.take(1, {1, 1}, now_ns) == token_bucket::answer::given;
    }
    if (tell) tell_storm(subject, to_string(who), storm_cause::hops, 0);
    return publish_result::too_many_hops;
  }
  switch (senders_.take(who.id, now_ns)) {
    case token_bucket::answer::given: break;
    case token_bucket::answer::tripped:
      tell_storm(subject, to_string(who), storm_cause::sender, 0);
      return publish_result::storm_sender;
    case token_bucket::answer::refused: return publish_result::storm_sender;
  }
  std::shared_ptr<const endocrine_route> reach;
  if (carrier_ != nullptr) {
    if (admit(subject, who, true, false, reach) != admission::let_in) return publish_result::storm_subject;
    return send_out(subject, *type, value.get(), hops, who);
  }
  // First a place, then the limits: what finds none is handed to nobody, and is not to be paid for.
  if (!enter_signal()) return closed() ? publish_result::closed : publish_result::full;
  if (admit_entered(subject, who, true, reach) != admission::let_in) return publish_result::storm_subject;
  fan_out(subject, *type, std::move(value), std::move(reach), hops);
  return publish_result::accepted;
}

endocrine_core::admission endocrine_core::admit_entered(std::string_view subject, const sender_name& who, bool signals,
                                                        std::shared_ptr<const endocrine_route>& reach) {
  try {
    const admission a = admit(subject, who, signals, true, reach);
    if (a != admission::let_in) leave_signal();
    return a;
  } catch (...) {
    leave_signal();
    throw;
  }
}

endocrine_core::admission endocrine_core::admit(std::string_view subject, const sender_name& who, bool signals,
                                                bool deliveries, std::shared_ptr<const endocrine_route>& reach) {
  const std::uint64_t now_ns = monotonic_ns();
  subject_part& part = subjects_[text_hash()(subject) % subjects_.size()];
  admission answer = admission::let_in;
  std::uint64_t receivers = 0;
  std::string culprit;
  {
    const std::lock_guard lock(part.mutex);
    auto found = part.states.find(subject);
    if (found == part.states.end() && part.states.size() < options_.subjects_max / subjects_.size() + 1)
      found = part.states.try_emplace(std::string(subject)).first;
    const bool known = found != part.states.end();
    subject_state& s = known ? found->second : part.others;
    if (deliveries) {
      reach = route_of(s, subject, known);
      receivers = reach->receivers();
    }
    s.meter.forget_what_is_paid(options_.storm, now_ns);
    s.meter.heaviest.add(who, receivers + 1);
    token_bucket::answer a = token_bucket::answer::given;
    if (signals) a = s.meter.signals.take(1, options_.storm.subject, now_ns);
    if (a != token_bucket::answer::given) {
      answer = admission::too_many_signals;
    } else if (deliveries && receivers != 0) {
      a = s.meter.deliveries.take(static_cast<double>(receivers), options_.storm.deliveries, now_ns);
      if (a != token_bucket::answer::given) answer = admission::too_many_deliveries;
    }
    if (a == token_bucket::answer::tripped) culprit = s.meter.heaviest.name();
  }
  if (!culprit.empty()) {
    tell_storm(subject, std::move(culprit),
               answer == admission::too_many_signals ? storm_cause::subject : storm_cause::deliveries, receivers);
  }
  return answer;
}

std::shared_ptr<const endocrine_route> endocrine_core::route_of(subject_state& s, std::string_view subject, bool keep) {
  if (keep && s.route != nullptr && s.route_version == version_.load(std::memory_order_acquire)) return s.route;
  auto route = std::make_shared<endocrine_route>();
  const std::lock_guard lock(patterns_mutex_);
  patterns_.for_each_match(subject, [&](const pattern_state& p) {
    if (p.topic != nullptr) route->topics.push_back(p.topic);
    route->sinks.insert(route->sinks.end(), p.sinks.begin(), p.sinks.end());
  });
  s.route = keep ? route : nullptr;
  s.route_version = version_.load(std::memory_order_relaxed);
  return route;
}

void endocrine_core::fan_out(std::string_view subject, const hormone_type& type, std::shared_ptr<const void> value,
                             std::shared_ptr<const endocrine_route> reach, std::uint32_t hops) {
  endocrine_message* m = nullptr;
  try {
    m = endocrine_message::make(lanes_.size());
    for (const auto& sink : reach->sinks) sink->take(subject, type, value);
  } catch (...) {
    if (m != nullptr) endocrine_message::destroy(m);
    leave_signal();
    throw;
  }
  m->core = this;
  m->type = &type;
  m->value = std::move(value);
  m->hops = hops + 1;
  m->route = std::move(reach);
  // One more than the lanes, until all of them have theirs: it may end before.
  m->lanes_left.store(static_cast<std::uint32_t>(lanes_.size()) + 1, std::memory_order_relaxed);
  std::uint32_t idle = 1;
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    bool wanted = false;
    for (const auto& t : m->route->topics) wanted |= t->parts[i].members.load(std::memory_order_relaxed) != 0;
    if (wanted) {
      lanes_[i]->push(m->items() + i);
    } else {
      ++idle;
    }
  }
  if (m->lanes_left.fetch_sub(idle, std::memory_order_acq_rel) == idle) {
    endocrine_message::destroy(m);
    counts_.fanned_out.fetch_add(1, std::memory_order_relaxed);
    leave_signal();
  }
}

publish_result endocrine_core::send_out(std::string_view subject, const hormone_type& type, const void* value,
                                        std::uint32_t hops, const sender_name& who) {
  if (!carrier_->connected()) return publish_result::disconnected;
  std::string name = options_.process_name;
  if (!name.empty()) name.append("/");
  name.append(to_string(who));
  endocrine_frame f;
  f.hops = static_cast<std::uint8_t>(std::min<std::uint32_t>(hops, 255));
  f.type = type.id;
  f.origin = origin_;
  f.published_us = wall_us();
  f.ttl_us = static_cast<std::uint32_t>(std::min<std::int64_t>(options_.nats.time_to_live.count(), 4'000'000) * 1000);
  f.sender = name;
  std::vector<std::byte> bytes = encode_endocrine_head(f, 64);
  const std::size_t head = bytes.size();
  type.encode(value, bytes);
  if (bytes.size() - head > options_.payload_bytes_max) return publish_result::too_large;
  switch (carrier_->send(subject, std::move(bytes))) {
    case endocrine_carrier::fate::accepted: return publish_result::accepted;
    case endocrine_carrier::fate::full: return publish_result::full;
    case endocrine_carrier::fate::disconnected: break;
  }
  return publish_result::disconnected;
}

// ---- what arrives --------------------------------------------------------------------------------------------------

void endocrine_core::arrived(std::string_view subject, std::span<const std::byte> frame) noexcept {
  counts_.received.fetch_add(1, std::memory_order_relaxed);
  try {
    take_in(subject, frame);
  } catch (...) {
    counts_.full.fetch_add(1, std::memory_order_relaxed);  // no memory for one more
  }
}

void endocrine_core::take_in(std::string_view subject, std::span<const std::byte> frame) {
  const auto not_taken = [](std::atomic<std::uint64_t>& why) { why.fetch_add(1, std::memory_order_relaxed); };
  endocrine_frame f;
  if (!is_subject(subject) || !decode_endocrine_frame(frame, f) || f.value.size() > options_.payload_bytes_max)
    return not_taken(counts_.malformed);
  const std::uint64_t now_us = wall_us();
  if (f.ttl_us != 0 && now_us > f.published_us + f.ttl_us) return not_taken(counts_.stale);
  {
    const std::lock_guard lock(duplicates_mutex_);
    // A frame comes once for each pattern that it matches, to each of which it goes: the subject's route is gone through once.
    if (!duplicates_.is_new(f.origin, f.sequence)) return not_taken(counts_.duplicate);
  }
  const hormone_type* const type = type_of(f.type);
  if (type == nullptr) return not_taken(counts_.type);
  std::shared_ptr<const void> value = type->decode(f.value);
  if (value == nullptr) return not_taken(counts_.malformed);
  std::shared_ptr<const endocrine_route> reach;
  const sender_name who{hash_of_text(f.sender) | 1u, f.sender, false};
  // The server's thread can wait for the lanes, as nobody who publishes may: what comes meanwhile is counted there.
  const auto has_room = [this] {
    return in_flight_.load(std::memory_order_relaxed) < options_.in_flight_max || closed();
  };
  const std::uint64_t ttl_ns = f.ttl_us != 0 ? std::uint64_t{f.ttl_us} * 1000 : 1'000'000'000;
  static_cast<void>(poll_until(has_room, deadline_in(ttl_ns)));
  if (!enter_signal()) return not_taken(counts_.full);
  if (admit_entered(subject, who, false, reach) != admission::let_in) return not_taken(counts_.storm);
  fan_out(subject, *type, std::move(value), std::move(reach), f.hops);
}

/// Numbered as they leave, not as they are published: a publisher that is stopped between its number and the carrier would come
/// behind the receivers' window, and be taken for one seen before.
void endocrine_core::leaving(std::span<std::byte> frame) noexcept { stamp_endocrine_sequence(frame, ++sequence_); }

void endocrine_core::tick() noexcept {
  try {
    sweep();
  } catch (...) {  // no memory: the next one will do
  }
}

// ---- subscribing ---------------------------------------------------------------------------------------------------

endocrine_core::pattern_state& endocrine_core::wanted(std::string_view pattern) {
  pattern_state& p = patterns_.at(pattern);
  if (!p.listened && carrier_ != nullptr) {
    carrier_->listen(std::string(pattern));
    p.listened = true;
  }
  version_.fetch_add(1, std::memory_order_release);
  return p;
}

void endocrine_core::drop_if_unwanted(std::string_view pattern) noexcept {
  const std::lock_guard lock(patterns_mutex_);
  pattern_state* const p = patterns_.find(pattern);
  if (p == nullptr) return;
  if (p->topic != nullptr && p->topic->members.load(std::memory_order_relaxed) != 0) return;
  if (p->topic != nullptr) version_.fetch_add(1, std::memory_order_release);
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
  version_.fetch_add(1, std::memory_order_release);
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
    version_.fetch_add(1, std::memory_order_release);
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
  types_.emplace(type.id, &type);
}

const hormone_type* endocrine_core::type_of(std::uint64_t id) {
  const std::lock_guard lock(types_mutex_);
  const auto found = types_.find(id);
  return found != types_.end() ? found->second : nullptr;
}

// ---- what is told --------------------------------------------------------------------------------------------------

void endocrine_core::tell_storm(std::string_view subject, std::string sender, storm_cause cause,
                                std::uint64_t receivers) noexcept {
  counts_.storms.fetch_add(1, std::memory_order_relaxed);
  try {
    const storm_report report{std::string(subject), std::move(sender), cause, receivers};
    if (log_enabled(log_level::warn)) log(log_level::warn, karyon::to_string(report));
    if (options_.on_storm) options_.on_storm(report);
  } catch (...) {  // it is counted
  }
}

bool endocrine_core::connected() const noexcept { return !closed() && (carrier_ == nullptr || carrier_->connected()); }

endocrine_metrics endocrine_core::metrics() const {
  const auto read = [](const std::atomic<std::uint64_t>& a) { return a.load(std::memory_order_relaxed); };
  endocrine_metrics m;
  m.published = read(counts_.published);
  for (std::size_t i = 1; i < counts_.outcome.size(); ++i) m.refused[i] = read(counts_.outcome[i]);
  m.accepted = read(counts_.outcome[0]);
  m.fanned_out = read(counts_.fanned_out);
  for (const auto& lane : lanes_) {
    const endocrine_lane::counters& c = lane->stats();
    m.reached += read(c.reached);
    m.delivered += read(c.delivered);
    m.lost_ended += read(c.ended);
    m.lost_restarting += read(c.restarting);
    m.lost_full += read(c.full);
    m.lost_type += read(c.type);
    m.lost_memory += read(c.memory);
  }
  m.received = read(counts_.received);
  m.not_taken_malformed = read(counts_.malformed);
  m.not_taken_type = read(counts_.type);
  m.not_taken_stale = read(counts_.stale);
  m.not_taken_duplicate = read(counts_.duplicate);
  m.not_taken_full = read(counts_.full);
  m.not_taken_storm = read(counts_.storm);
  if (carrier_ != nullptr) {
    const carrier_counts c = carrier_->counts();
    m.sent = c.sent;
    m.lost_expired = c.lost_expired;
    m.lost_disconnected = c.lost_disconnected;
    m.dropped_slow = c.dropped_slow;
    m.disconnects = c.disconnects;
  }
  m.subscriptions = read(counts_.subscriptions);
  const std::lock_guard lock(patterns_mutex_);
  m.patterns = patterns_.size();
  m.storms = read(counts_.storms);
  return m;
}

}  // namespace karyon::detail
