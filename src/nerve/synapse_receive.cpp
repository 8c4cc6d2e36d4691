// SPDX-License-Identifier: Apache-2.0
#include <zmq.h>

#include <algorithm>

#include "nerve/little_endian.hpp"
#include "nerve/synapse_reactor.hpp"
#include "sched/parker.hpp"

namespace karyon::detail {

namespace {

/// Messages that are read before what goes out has its turn.
constexpr int messages_a_turn = 64;
/// The name that a ROUTER makes up for a connection: a zero and a number.
constexpr std::size_t made_up_name_bytes = 5;

}  // namespace

bool reactor::receive_some() {
  if (!router_ready_) return false;
  bool progress = false;
  for (int i = 0; i < messages_a_turn; ++i) {
    if (!receive_one()) {
      router_ready_ = false;
      break;
    }
    progress = true;
  }
  return progress;
}

void reactor::return_credits() {
  if (to_acknowledge_.empty()) return;
  const std::uint64_t now = monotonic_ns();
  for (link* l : to_acknowledge_) {
    l->listed = false;
    return_credit(*l, now);
  }
  to_acknowledge_.clear();
}

bool reactor::receive_one() {
  zmq::message_t name;
  if (::zmq_msg_recv(name.handle(), router_.handle(), ZMQ_DONTWAIT) < 0) return false;
  zmq::message_t body;
  if (!name.more() || ::zmq_msg_recv(body.handle(), router_.handle(), ZMQ_DONTWAIT) < 0) return true;
  // Peers of ours send one part, and leave their name to be made up. Only what does so is read.
  bool whole = name.size() == made_up_name_bytes && *name.data<std::byte>() == std::byte{0};
  for (bool more = body.more(); more;) {
    zmq::message_t part;
    whole = false;
    if (::zmq_msg_recv(part.handle(), router_.handle(), ZMQ_DONTWAIT) < 0) break;
    more = part.more();
  }
  if (!whole) {
    ++count_.shunned;
    return true;
  }
  read_message(load_le<std::uint32_t>(name.data<std::byte>() + 1), body);
  return true;
}

void reactor::read_message(std::uint32_t number, zmq::message_t& message) {
  route& from = routes_[number];
  if (from.faults >= faults_max) {
    ++count_.shunned;
    return;
  }
  arrival a{number, &from, monotonic_ns(), &message};
  read_frames(a, {message.data<std::byte>(), message.size()});
}

void reactor::read_frames(arrival& a, std::span<const std::byte> rest) {
  a.from->last_heard_ns = a.now;
  if (a.from->whose != nullptr) a.from->whose->last_heard_ns = a.now;
  do {  // at least once: an empty message is a truncated frame
    frame_header header;
    const auto limit = static_cast<std::uint32_t>(
        std::max<std::size_t>(options_.frame_bytes_max, greeting_bytes + endpoint_bytes_max + hello_bytes_max));
    const frame_fault wrong = decode_frame(rest, limit, header);
    if (wrong != frame_fault::none) {
      ++count_.bad[static_cast<std::size_t>(wrong)];
      return fault(a);
    }
    const auto payload = rest.subspan(frame_header_bytes, header.length);
    rest = rest.subspan(frame_header_bytes + header.length);
    if (!read_frame(a, header, payload)) return;
  } while (!rest.empty());
}

bool reactor::read_frame(arrival& a, const frame_header& header, std::span<const std::byte> payload) {
  if (header.kind == frame_kind::control && (header.flags & frame_of_link) != 0) return read_word(a, header, payload);
  link* const l = a.from->whose;
  if (l == nullptr) {
    if (a.from->had_link) {
      ++count_.stale;
      tell_gone(a);
      return true;
    }
    ++count_.ungreeted;
    fault(a);
    return false;
  }
  if (l->at != link::phase::up || header.epoch != l->epoch_in) {
    ++count_.stale;
    return true;
  }
  if (header.length > options_.frame_bytes_max) {
    ++count_.bad[static_cast<std::size_t>(frame_fault::too_long)];
    fault(a);
    return false;
  }
  return deliver(a, *l, header, payload);
}

bool reactor::deliver(arrival& a, link& l, const frame_header& header, std::span<const std::byte> payload) {
  const std::uint64_t slots = slots_of(payload.size());
  if (l.consumed_frames + 1 > l.told_frames + options_.window_frames ||
      l.consumed_slots + slots > l.told_slots + options_.window_bytes / slot_bytes) {
    ++count_.beyond_credit;
    a.from->faults = faults_max;
    take_down(l, link_loss::refused, false);
    return false;
  }
  if (header.sequence != l.sequence_in) {
    // Within a connection nothing is lost or swapped: this is another connection, and what was on the old one is lost.
    count_.gaps += static_cast<std::uint16_t>(header.sequence - l.sequence_in);
    take_down(l, link_loss::unreachable, false);
    return false;
  }
  frame_header in_time = header;
  if (header.ttl_us != 0) {
    if (!a.stamp) {
      ++count_.unknown_word;
      fault(a);
      return false;
    }
    const std::uint64_t age_us = (l.clock.age_ns_at_most(*a.stamp, monotonic_ns()) + 999) / 1000;
    in_time.ttl_us = age_us < header.ttl_us ? header.ttl_us - static_cast<std::uint32_t>(age_us) : 0;
  }
  if (!l.listed) to_acknowledge_.push_back(&l);
  l.listed = true;
  ++l.sequence_in;
  ++l.consumed_frames;
  l.consumed_slots += slots;
  if (header.ttl_us != 0 && in_time.ttl_us == 0) {
    ++count_.expired_in_flight;
    return true;
  }
  ++count_.delivered;
  in_time.epoch = 0;
  in_time.sequence = 0;
  in_time.flags &= static_cast<std::uint8_t>(~frame_of_link);
  sink_->received({l.node, l.incarnation}, in_time, payload);
  return true;
}

void reactor::return_credit(link& l, std::uint64_t now) {
  if (l.at != link::phase::up) return;
  const std::uint64_t frames = l.consumed_frames - l.told_frames;
  const std::uint64_t slots = l.consumed_slots - l.told_slots;
  if (frames * 4 >= options_.window_frames || slots * 4 >= options_.window_bytes / slot_bytes) send_pulse(l, now);
}

// --- the links' own words --------------------------------------------------------------------------------------------

bool reactor::read_word(arrival& a, const frame_header& header, std::span<const std::byte> payload) {
  const auto word = static_cast<link_word>(header.type);
  if (a.message == nullptr && word != link_word::pulse && !(a.by_stream && word == link_word::bye)) {
    ++count_.unknown_word;  // all else goes by the connections
    fault(a);
    return false;
  }
  switch (word) {
    case link_word::who: {
      std::vector<std::byte> me;
      append_i_am(me, self_);
      answer(a.number, me);
      return true;
    }
    case link_word::greet:
      if (const auto g = read_link_greeting(payload)) {
        hear_greeting(a, *g);
        return true;
      }
      refuse(greeting_refusal::malformed);
      fault(a);
      return false;
    case link_word::pulse: return read_pulse_of(a, header, payload);
    case link_word::bye:
      if (link* const l = a.from->whose; l != nullptr && l->at == link::phase::up && header.epoch == l->epoch_in) {
        if (!a.by_stream) hear_rest(*l);
        if (l->at == link::phase::up) take_down(*l, link_loss::closed, false);
      }
      return true;
    case link_word::lane:
      if (payload.size() == lane_word_bytes) {
        a.lane = {load_le<std::uint32_t>(payload.data()), load_le<std::uint32_t>(payload.data() + 4),
                  load_le<std::uint64_t>(payload.data() + 16)};
        a.bell = load_le<std::uint32_t>(payload.data() + 8);
      }
      return true;
    case link_word::stream_ask:
    case link_word::stream_offer:
    case link_word::stream_begin: return hear_stream_word(a, header, payload);
    case link_word::i_am:
    case link_word::gone: break;  // these go the other way
  }
  ++count_.unknown_word;
  fault(a);
  return false;
}

bool reactor::read_pulse_of(arrival& a, const frame_header& header, std::span<const std::byte> payload) {
  const auto p = read_pulse(payload);
  if (!p) {
    ++count_.unknown_word;
    fault(a);
    return false;
  }
  link* const l = a.from->whose;
  if (l == nullptr || l->at != link::phase::up || header.epoch != l->epoch_in) {
    if (l == nullptr) tell_gone(a);
    return true;
  }
  a.stamp = p->sent_at;
  // By a lane a pulse may come behind one that was sent later: it says when what follows it was sent, and no more.
  if (a.message == nullptr) return true;
  const sum_sent sent = count_direct(*l);
  const std::uint64_t frames = p->consumed_frames - l->acknowledged_frames;
  const std::uint64_t slots = p->consumed_slots - l->acknowledged_slots;
  if (p->consumed_frames > sent.frames || p->consumed_slots > sent.slots ||
      p->consumed_frames < l->acknowledged_frames || p->consumed_slots < l->acknowledged_slots) {
    ++count_.unknown_word;  // it has consumed what was not sent
    a.from->faults = faults_max;
    take_down(*l, link_loss::refused, false);
    return false;
  }
  if (l->lane_in != nullptr && !l->lane_in->settle()) {  // the peer is up: it has opened it, or never will
    l->lane_failed = true;                               // the next link goes without
    take_down(*l, link_loss::unreachable, false);
    return false;
  }
  l->heard = p->sent_at;
  l->heard_at = a.now;
  if (p->heard != 0) l->clock.learn(p->heard, p->heard_at, a.now);
  if (frames != 0) {
    l->acknowledged_frames = p->consumed_frames;
    l->acknowledged_slots = p->consumed_slots;
    count_.acknowledged += frames;
    count_.in_flight -= frames;
    l->out.give(frames, slots);
    sink_->room({l->node, l->incarnation});
  }
  return true;
}

void reactor::fault(arrival& a) {
  if (++a.from->faults < faults_max) return;
  if (link* const l = a.from->whose) take_down(*l, link_loss::refused, false);
}

void reactor::tell_gone(arrival& a) {
  if (a.now - a.from->told_gone_ns < heartbeat_ns()) return;
  a.from->told_gone_ns = a.now;
  say_gone(a.number);
}

void reactor::say_gone(std::uint32_t number) {
  std::vector<std::byte> message;
  append_word(message, link_word::gone, 0);
  answer(number, message);
}

void reactor::answer(std::uint32_t number, const std::vector<std::byte>& message) {
  std::byte name[made_up_name_bytes] = {};
  store_le(name + 1, number);
  // Who is gone meanwhile, or takes nothing, does without.
  if (::zmq_send(router_.handle(), name, sizeof name, ZMQ_DONTWAIT | ZMQ_SNDMORE) >= 0) {
    static_cast<void>(::zmq_send(router_.handle(), message.data(), message.size(), ZMQ_DONTWAIT));
  }
  router_ready_ = true;  // sending may have taken the signal that something has come
}

}  // namespace karyon::detail
