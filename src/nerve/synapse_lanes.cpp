// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <utility>

#include "core/log.hpp"
#include "nerve/little_endian.hpp"
#include "nerve/synapse_reactor.hpp"
#include "sched/parker.hpp"

namespace karyon::detail {

namespace {

/// Messages that are read of one lane before all else has its turn.
constexpr int lane_messages_a_turn = 4;

}  // namespace

/// With a peer that is reached by ipc, so on this machine. Where one can not open what it is offered, frames go by ZeroMQ.
bool reactor::may_have_lanes(const link& l) const {
  const auto kind = kind_of(l.way->endpoint);
  return options_.shared_bytes != 0 && kind && *kind == endpoint_kind::ipc;
}

void reactor::offer_lane(link& l) {
  if (!l.lane_failed && may_have_lanes(l)) l.lane_in = lane::make(options_.shared_bytes);
}

/// What the peer has offered, if it can be had; else frames go by ZeroMQ.
void reactor::open_lane(link& l) {
  if (l.lane_offered.key == 0 || !may_have_lanes(l)) return;
  auto opened = lane::open(l.lane_offered);
  if (!opened) {
    ++count_.lanes_refused;
    if (log_enabled(log_level::debug)) log(log_level::debug, "synapse: " + opened.error().message());
    return;
  }
  (*opened)->set_bell(bell::open(l.lane_offered.process, l.bell_offered));
  l.lane_out = std::move(*opened);
}

void reactor::close_lanes(link& l) noexcept {
  l.lane_in.reset();
  l.lane_out.reset();
  l.lane_offered = {};
  l.left.clear();
  l.left_at = 0;
  l.has_left.store(false, std::memory_order_relaxed);
  close_streams(l);
}

// --- what comes ------------------------------------------------------------------------------------------------------

bool reactor::hear_lanes() {
  bool progress = false;
  for (link* l : links_.all()) {
    if (l->lane_in != nullptr) progress |= hear_lane(*l);
    if (l->stream.begun) progress |= hear_stream(*l, last_loop_ns_);
  }
  return progress;
}

bool reactor::hear_lane(link& l) {
  bool progress = false;
  for (int i = 0; i < lane_messages_a_turn && hear_message(l); ++i) progress = true;
  // Also where no message came whole: one that is longer than the ring comes in parts, and the sender sleeps in between.
  if (l.at == link::phase::up && l.lane_in != nullptr && l.lane_in->has_waiter()) {
    if (l.lane_out == nullptr || !l.lane_out->ring()) send_pulse(l, monotonic_ns());
    progress = true;
  }
  return progress;
}

/// After a bye: what its sender had put in by then, and nothing that comes behind it.
void reactor::hear_rest(link& l) {
  hear_stream_rest(l);
  if (l.lane_in == nullptr) return;
  const std::uint64_t end = l.lane_in->end();
  while (l.lane_in != nullptr && l.lane_in->begins_before(end) && hear_message(l)) {
  }
}

/// Whether there was one.
bool reactor::hear_message(link& l) {
  if (l.at != link::phase::up || l.lane_in == nullptr) return false;
  const lane::found found = l.lane_in->take(from_lane_, static_cast<std::size_t>(message_bytes_max()));
  if (found == lane::found::nothing) return false;
  const auto in = routes_.find(l.route);
  if (in == routes_.end()) return false;  // a link that is up has one
  if (found == lane::found::nonsense) {
    ++count_.bad[static_cast<std::size_t>(frame_fault::too_long)];
    in->second.faults = faults_max;
    take_down(l, link_loss::refused, false);
    return true;
  }
  arrival a{l.route, &in->second, monotonic_ns(), nullptr};
  read_frames(a, from_lane_);  // the link, and its lane, may end within
  return true;
}

// --- what goes out ---------------------------------------------------------------------------------------------------

bool reactor::drain_by_lane(link& l) {
  // Without the lock: a look each time around. What is missed of what a sender leaves is found before the sleep, with the lock.
  const bool wakes = l.wake_peer.load(std::memory_order_seq_cst);
  if (!l.has_left.load(std::memory_order_relaxed) && !l.out.has_front() && !wakes) return false;
  const std::uint64_t now = monotonic_ns();
  bool progress = false;
  bool over = false;
  {
    const std::unique_lock lock(l.sending, std::try_to_lock);
    if (!lock.owns_lock()) return false;  // a sender passes one on
    progress = l.left.empty() ? pass_by_lane(l, now) : send_left(l);
    over = l.lane_out->is_over();
    if (l.lane_out->has_sleeper() && !l.lane_out->ring()) l.wake_peer.store(true, std::memory_order_relaxed);
  }
  if (over && l.lane_out->is_stream()) {
    stream_ended(l, now);
    return false;
  }
  if (over) {  // or what is left would wait for ever, with a link that is up
    ++count_.unknown_word;
    take_down(l, link_loss::refused, false);
    return true;
  }
  if (l.wake_peer.exchange(false)) send_pulse(l, now);
  return progress;
}

bool reactor::pass_by_lane(link& l, std::uint64_t now) {
  outgoing_.resize(lane_length_bytes);
  bool stamped = false;
  if (take_frames(l, now, stamped) == 0) return false;
  store_le(outgoing_.data(), static_cast<std::uint32_t>(outgoing_.size() - lane_length_bytes));
  const std::size_t gone = l.lane_out->put(outgoing_);
  ++(l.lane_out->is_stream() ? count_.messages_streamed : count_.messages_shared);
  if (gone < outgoing_.size()) {
    std::swap(l.left, outgoing_);
    l.left_at = gone;
    l.has_left.store(true, std::memory_order_relaxed);
  }
  return true;
}

/// Whether any of it went.
bool reactor::send_left(link& l) {
  const std::size_t gone = l.lane_out->put(std::span<const std::byte>(l.left).subspan(l.left_at));
  l.left_at += gone;
  if (l.left_at == l.left.size()) {
    l.left.clear();
    l.left_at = 0;
    l.has_left.store(false, std::memory_order_relaxed);
  }
  return gone != 0;
}

/// On a sender's thread, right behind its put(): passes the oldest frame on by the lane, if nobody else is at it. A frame that comes
/// alone is spared the way through the reactor; of those that come quickly, all but the first are left to it, since together they
/// cost less. False if there is something for the reactor to do.
bool reactor::send_at_once(link& l) noexcept {
  constexpr std::uint64_t apart_ns = 2000;
  constexpr std::size_t payload_bytes_most = direct_payload_bytes_most;
  const std::unique_lock lock(l.sending, std::try_to_lock);
  if (!lock.owns_lock() || !l.direct || !l.left.empty()) return false;
  const std::uint64_t now = monotonic_ns();
  const bool stream = l.lane_out->is_stream();
  const std::uint64_t quiet_ns = now - l.last_direct_ns;
  if (stream) l.last_direct_ns = now;  // a system call each: only for those that do come alone
  if (quiet_ns < apart_ns) return false;
  l.last_direct_ns = now;
  outlet::record r;
  if (!l.out.front(r) || r.header.ttl_us != 0 || r.header.length > payload_bytes_most) return false;
  const std::size_t frame_bytes = frame_header_bytes + r.header.length;
  if (l.lane_out->room() < lane_length_bytes + frame_bytes) return false;
  std::array<std::byte, lane_length_bytes + frame_header_bytes + payload_bytes_most> message;
  store_le(message.data(), static_cast<std::uint32_t>(frame_bytes));
  std::byte* const at = message.data() + lane_length_bytes;
  r.header.epoch = l.epoch_out;
  r.header.sequence = l.sequence_out;
  encode_frame(r.header, at);
  std::copy(r.first.begin(), r.first.end(), at + frame_header_bytes);
  std::copy(r.second.begin(), r.second.end(), at + frame_header_bytes + r.first.size());
  const auto whole = std::span<const std::byte>(message).first(lane_length_bytes + frame_bytes);
  const std::size_t gone = l.lane_out->put(whole);
  // From its end: a system call may take as long as frames lie apart that are alone, and each of a crowd would seem to be.
  if (stream) l.last_direct_ns = monotonic_ns();
  if (gone == 0) return false;  // a stream that is full or broken
  if (gone < whole.size()) {    // there is room for it, and for as much as one that went this way can leave
    l.left.assign(whole.begin() + static_cast<std::ptrdiff_t>(gone), whole.end());
    l.left_at = 0;
    l.has_left.store(true, std::memory_order_relaxed);
  }
  ++l.sequence_out;
  ++l.sent_frames;
  l.sent_slots += slots_of(r.header.length);
  ++l.direct_frames;
  l.out.pop();
  if (l.lane_out->has_sleeper() && !l.lane_out->ring()) {
    l.wake_peer.store(true, std::memory_order_seq_cst);  // by ZeroMQ, which is the reactor's
    return false;
  }
  return l.left.empty() && !l.out.has_front();
}

/// Takes what senders have passed on into the counters. What was sent until then, by anybody.
reactor::sum_sent reactor::count_direct(link& l) noexcept {
  const auto lock = lock_sending(l);
  const std::uint64_t frames = std::exchange(l.direct_frames, 0);
  count_.accepted += frames;
  count_.in_flight += frames;
  if (frames != 0) (l.lane_out->is_stream() ? count_.messages_streamed : count_.messages_shared) += frames;
  return {l.sent_frames, l.sent_slots};
}

/// No sender passes anything on afterwards.
void reactor::end_direct(link& l) noexcept {
  {
    const auto lock = lock_sending(l);
    l.direct = false;
  }
  l.has_direct.store(false, std::memory_order_relaxed);
  static_cast<void>(count_direct(l));
}

/// A link's lock. The thread that has it may have lost its core: then all links' peers hear from here all the same.
std::unique_lock<std::timed_mutex> reactor::lock_sending(link& l) {
  std::unique_lock lock(l.sending, std::try_to_lock);
  while (!lock.owns_lock() && !lock.try_lock_for(std::chrono::nanoseconds(heartbeat_ns() / 4))) keep_heartbeats();
  return lock;
}

/// Within a wait: what tick() does for those that live, with nothing that another caller may be writing to.
void reactor::keep_heartbeats() noexcept {
  const std::uint64_t now = monotonic_ns();
  const std::uint64_t deaf_ns = now - std::exchange(last_loop_ns_, now);  // this is not a process that was stopped
  for (link* l : links_.all()) {
    if (l->at != link::phase::up) continue;
    // What its peer says meanwhile is not read: that is no silence of the peer's.
    l->last_heard_ns = std::min(now, l->last_heard_ns + deaf_ns);
    if (now - l->last_pulse_ns < heartbeat_ns() / 2) continue;
    try {
      beat_.clear();
      append_pulse(beat_, l->epoch_out, make_pulse(*l, now));
      if (pass(beat_, *l->way)) note_told(*l, now);
    } catch (const std::bad_alloc&) {  // the next one
    }
  }
}

// --- sleep -----------------------------------------------------------------------------------------------------------

bool reactor::lanes_may_sleep() {
  for (link* l : links_.all()) {
    if (l->at != link::phase::up) continue;
    if (l->lane_in != nullptr && !l->lane_in->prepare_sleep()) return false;
    if (l->lane_out == nullptr) continue;
    if (l->wake_peer.load(std::memory_order_seq_cst)) return false;
    const std::unique_lock lock(l->sending, std::try_to_lock);
    if (!lock.owns_lock()) return false;
    // What waits for room is not sent by being looked at.
    if (l->left.empty() ? l->out.has_front() : !l->lane_out->wait_for_room()) return false;
  }
  return true;
}

void reactor::wake_lanes() noexcept {
  for (link* l : links_.all()) {
    if (l->lane_in != nullptr) l->lane_in->wake_up();
  }
}

}  // namespace karyon::detail
