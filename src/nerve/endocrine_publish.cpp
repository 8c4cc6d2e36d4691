// SPDX-License-Identifier: Apache-2.0
// A bus's way out and in: what is published, whom it reaches, and what comes from the server.
#include <time.h>

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "nerve/bounded_lock.hpp"
#include "nerve/endocrine_core.hpp"
#include "nerve/endocrine_frame.hpp"
#include "nerve/payload.hpp"
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

/// Checked where a type is published: there are none in what travels here.
class no_handles final : public handle_map {
public:
  bool to_wire(const address&, bool, wire_handle&) override { return false; }
  bool from_wire(const wire_handle&, address&, bool&, const class_info*) override { return false; }
};

}  // namespace

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
      const bounded_lock lock(echoes_mutex_);
      tell = lock && echoes_.take(1, {1, 1}, now_ns) == token_bucket::answer::given;
    }
    if (tell) tell_storm(subject, to_string(who), storm_cause::hops, 0);
    return publish_result::too_many_hops;
  }
  const std::optional<token_bucket::answer> allowance = senders_.take(who.id, now_ns);
  if (!allowance) return publish_result::full;
  switch (*allowance) {
    case token_bucket::answer::given: break;
    case token_bucket::answer::tripped:
      tell_storm(subject, to_string(who), storm_cause::sender, 0);
      return publish_result::storm_sender;
    case token_bucket::answer::refused: return publish_result::storm_sender;
  }
  std::shared_ptr<const endocrine_route> reach;
  if (carrier_ != nullptr) {
    const admission a = admit(subject, who, true, false, reach);
    if (a != admission::let_in) return result_of(a);
    return send_out(subject, *type, value.get(), hops, who);
  }
  // First a place, then the limits: what finds none is handed to nobody, and is not to be paid for.
  if (!enter_signal()) return closed() ? publish_result::closed : publish_result::full;
  const admission a = admit_entered(subject, who, true, reach);
  if (a != admission::let_in) return result_of(a);
  fan_out(subject, *type, std::move(value), std::move(reach), hops);
  return publish_result::accepted;
}

publish_result endocrine_core::result_of(admission a) noexcept {
  switch (a) {
    case admission::let_in: return publish_result::accepted;
    case admission::busy: return publish_result::full;
    case admission::too_many_signals:
    case admission::too_many_deliveries: break;
  }
  return publish_result::storm_subject;
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
    const bounded_lock lock(part.mutex);
    if (!lock) return admission::busy;
    auto found = part.states.find(subject);
    if (found == part.states.end() && part.states.size() < options_.subjects_max / subjects_.size() + 1)
      found = part.states.try_emplace(std::string(subject)).first;
    const bool known = found != part.states.end();
    subject_state& s = known ? found->second : part.others;
    if (deliveries) {
      reach = route_of(s, subject, known);
      if (reach == nullptr) return admission::busy;
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
  // Relaxed: patterns_ is read under its lock alone. Who has been told of a subscription finds the version changed.
  if (keep && s.route != nullptr && s.route_version == version_.load(std::memory_order_relaxed)) return s.route;
  auto route = std::make_shared<endocrine_route>();
  const bounded_lock lock(patterns_mutex_);
  if (!lock) return nullptr;
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
  // Pairs with finish's: who is the last sees that all have finished with the message.
  if (m->lanes_left.fetch_sub(idle, std::memory_order_acq_rel) == idle) {
    endocrine_message::destroy(m);
    counts_.fanned_out.fetch_add(1, std::memory_order_relaxed);
    leave_signal();
  }
}

publish_result endocrine_core::send_out(std::string_view subject, const hormone_type& type, const void* value,
                                        std::uint32_t hops, const sender_name& who) {
  if (!carrier_->can_send()) return publish_result::disconnected;
  std::string name = options_.process_name;
  if (!name.empty()) name.append("/");
  name.append(to_string(who));
  endocrine_frame f;
  f.hops = static_cast<std::uint8_t>(std::min<std::uint32_t>(hops, 255));
  f.type = type.schema();
  f.origin = origin_;
  f.published_us = wall_us();
  f.ttl_us = static_cast<std::uint32_t>(std::min<std::int64_t>(options_.nats.time_to_live.count(), 4'000'000) * 1000);
  f.sender = name;
  static thread_local payload_writer writer;
  no_handles none;
  writer.begin(none, options_.payload_bytes_max);
  type.write(value, writer);
  const std::span<const std::byte> payload = writer.finish();
  if (writer.failed()) return publish_result::too_large;
  std::vector<std::byte> bytes = encode_endocrine_head(f, payload.size());
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  switch (carrier_->send(subject, std::move(bytes))) {
    case endocrine_carrier::fate::accepted: return publish_result::accepted;
    case endocrine_carrier::fate::full: return publish_result::full;
    case endocrine_carrier::fate::too_large: return publish_result::too_large;
    case endocrine_carrier::fate::disconnected: break;
  }
  return publish_result::disconnected;
}

// ---- what arrives --------------------------------------------------------------------------------------------------

void endocrine_core::arrived(std::string_view subject, std::span<const std::byte> frame) noexcept {
  receive(subject, frame, false);
}

void endocrine_core::arrived_from_abroad(std::string_view subject, std::span<const std::byte> frame) noexcept {
  receive(subject, frame, true);
}

void endocrine_core::receive(std::string_view subject, std::span<const std::byte> frame, bool foreign) noexcept {
  counts_.received.fetch_add(1, std::memory_order_relaxed);
  try {
    take_in(subject, frame, foreign);
  } catch (...) {
    counts_.full.fetch_add(1, std::memory_order_relaxed);  // no memory for one more
  }
}

void endocrine_core::take_in(std::string_view subject, std::span<const std::byte> frame, bool foreign) {
  const auto not_taken = [](std::atomic<std::uint64_t>& why) { why.fetch_add(1, std::memory_order_relaxed); };
  endocrine_frame f;
  if (!is_subject(subject) || !decode_endocrine_frame(frame, f) || f.value.size() > options_.payload_bytes_max)
    return not_taken(counts_.malformed);
  const std::uint64_t now_us = wall_us();
  if (f.ttl_us != 0 && now_us > f.published_us + f.ttl_us) return not_taken(counts_.stale);
  {
    const std::lock_guard lock(duplicates_mutex_);
    // A frame comes once for each pattern that it matches, to each of which it goes: the subject's route is gone through once.
    // What comes from abroad takes no number from those who are here, whatever it says to be.
    const bool is_new =
        foreign ? !duplicates_.has_seen(f.origin, f.sequence) && duplicates_from_abroad_.is_new(f.origin, f.sequence)
                : duplicates_.is_new(f.origin, f.sequence);
    if (!is_new) return not_taken(counts_.duplicate);
  }
  const hormone_type* const type = type_of(f.type);
  if (type == nullptr) return not_taken(counts_.type);
  static thread_local payload_reader reader;
  no_handles none;
  reader.begin(f.value, none);
  std::shared_ptr<const void> value = type->read(reader);
  if (value == nullptr || !reader.complete()) return not_taken(counts_.malformed);
  std::shared_ptr<const endocrine_route> reach;
  const sender_name who{hash_of_text(f.sender) | 1u, f.sender, false};
  // The server's thread can wait for the lanes, as nobody who publishes may: what comes meanwhile is counted there.
  const auto has_room = [this] {
    return in_flight_.load(std::memory_order_relaxed) < options_.in_flight_max || closed();
  };
  const std::uint64_t ttl_ns = f.ttl_us != 0 ? std::uint64_t{f.ttl_us} * 1000 : 1'000'000'000;
  static_cast<void>(poll_until(has_room, deadline_in(ttl_ns)));
  admission a = admission::busy;
  while (a == admission::busy) {
    if (!enter_signal()) return not_taken(counts_.full);
    a = admit_entered(subject, who, false, reach);
    if (a == admission::busy) std::this_thread::yield();
  }
  if (a != admission::let_in) return not_taken(counts_.storm);
  fan_out(subject, *type, std::move(value), std::move(reach), f.hops);
}

/// Numbered as they leave, not as they are published: a publisher that is stopped between its number and the carrier would come
/// behind the receivers' window, and be taken for one seen before.
void endocrine_core::leaving(std::span<std::byte> frame) noexcept { stamp_endocrine_sequence(frame, ++sequence_); }

}  // namespace karyon::detail
