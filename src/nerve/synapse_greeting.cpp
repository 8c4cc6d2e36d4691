// SPDX-License-Identifier: Apache-2.0
#include <sched.h>
#include <zmq.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <string>
#include <string_view>

#include "core/log.hpp"
#include "nerve/little_endian.hpp"
#include "nerve/synapse_reactor.hpp"
#include "sched/parker.hpp"

namespace karyon::detail {

namespace {

constexpr std::uint64_t greet_again_ns = 100 * ns_per_ms;
constexpr int good_bye_ms = 100;
/// Greetings that one connection is given. Each is at most 257 KiB long; a peer needs a few.
constexpr std::uint64_t greeted_bytes_max = 16U << 20U;
/// A rival keeps its place for so long after it last asked, and for so long after it was told of where others want it.
constexpr std::uint64_t rival_quiet_ns = 10'000 * ns_per_ms;
constexpr std::uint64_t rival_told_ns = 60'000 * ns_per_ms;

/// A number that two lives of the same pair of nodes do not share, as good as surely; never 0.
std::uint32_t make_epoch(const peer_id& self, const peer_id& peer, std::uint64_t count) noexcept {
  const auto epoch =
      static_cast<std::uint32_t>(mixed({self.node, self.incarnation, peer.node, peer.incarnation, count}) >> 32U);
  return epoch != 0 ? epoch : 1;
}

const char* property(zmq::message_t& message, const char* name) noexcept {
  const char* const value = ::zmq_msg_gets(message.handle(), name);
  return value != nullptr ? value : "";
}

/// An endpoint that names all of a machine's addresses, with the one that its connection came from.
std::string with_address(std::string_view endpoint, const std::string& address) {
  for (const std::string_view all : {"tcp://0.0.0.0:", "tcp://*:", "tcp://[::]:"}) {
    if (endpoint.rfind(all, 0) != 0 || address.empty()) continue;
    const bool bare_ipv6 = address.find(':') != std::string::npos && address.front() != '[';
    return "tcp://" + (bare_ipv6 ? '[' + address + ']' : address) + ':' + std::string(endpoint.substr(all.size()));
  }
  return std::string(endpoint);
}

}  // namespace

/// Where a peer that was called, or that calls, by this kind of endpoint can call us.
std::string reactor::endpoint_for(endpoint_kind kind) const {
  for (const std::string& mine : bound_) {
    const auto its_kind = kind_of(mine);
    if (its_kind && *its_kind == kind) return mine;
  }
  return bound_.empty() ? std::string() : bound_.front();
}

void reactor::greet(link& l, std::uint64_t now) {
  if (l.way == nullptr || !l.way->connected) return;
  if (l.epoch_in == 0) {
    l.epoch_in = make_epoch(self_, {l.node, l.incarnation}, ++epochs_);
    offer_lane(l);
  }
  link_greeting g;
  g.peer = self_;
  g.cookie = l.way->cookie;
  g.heard_cookie = l.their_cookie;
  g.sent_at = now;
  g.heard = l.heard;
  g.heard_at = l.heard_at;
  g.epoch = l.epoch_in;
  g.window_frames = options_.window_frames;
  g.window_slots = static_cast<std::uint32_t>(options_.window_bytes / slot_bytes);
  g.frame_bytes_max = options_.frame_bytes_max;
  const auto kind = kind_of(l.way->endpoint);
  const std::string mine = endpoint_for(kind ? *kind : endpoint_kind::tcp);
  g.endpoint = mine;
  g.hello = hello_;
  outgoing_.clear();
  if (l.lane_in != nullptr) {
    const lane_offer offer = l.lane_in->offer();
    std::array<std::byte, lane_word_bytes> where{};
    store_le(where.data(), offer.process);
    store_le(where.data() + 4, offer.descriptor);
    store_le(where.data() + 8, static_cast<std::uint32_t>(bell_fds_[1]));
    store_le(where.data() + 16, offer.key);
    append_word(outgoing_, link_word::lane, 0, where);
  }
  append_link_greeting(outgoing_, g);
  l.way->greeted_bytes += outgoing_.size();
  l.greet_at_ns = now + greet_again_ns;
  static_cast<void>(pass(outgoing_, *l.way));  // said again until it is answered
}

/// Whose greeting this is; null if it is not to be answered.
link* reactor::link_of(arrival& a, const link_greeting& g) {
  if (g.peer.node == self_.node) {
    refuse(greeting_refusal::self);
    if (g.peer.incarnation != self_.incarnation) {
      keep_out(rivals_, g.peer, with_address(g.endpoint, property(*a.message, "Peer-Address")),
               bound_.empty() ? std::string() : bound_.front(), 0);
    }
    return nullptr;
  }
  if (keys_) {
    const auto key = key_from_hex(property(*a.message, "User-Id"));
    if (!key || !allowed_.allows(*key, g.peer.node)) {
      refuse(greeting_refusal::not_allowed);
      fault(a);
      return nullptr;
    }
  }
  if (g.peer.incarnation > latest_incarnation()) {
    refuse(greeting_refusal::far_future);
    return nullptr;
  }
  link* l = links_.find(g.peer.node);
  if (l == nullptr) l = links_.add(g.peer.node, options_.window_bytes / slot_bytes);
  if (l == nullptr) {
    refuse(greeting_refusal::too_many);
    return nullptr;
  }
  const auto is_kept_out = [&] {  // by then a link to one that has ended is down
    keep_out(l->rivals, g.peer, with_address(g.endpoint, property(*a.message, "Peer-Address")),
             l->way != nullptr ? l->way->endpoint : std::string(), silence_ns());
  };
  if (g.peer.incarnation < l->incarnation) {
    refuse(greeting_refusal::old_life);
    if (l->at == link::phase::up) is_kept_out();
    return nullptr;
  }
  if (g.peer.incarnation > l->incarnation && l->at == link::phase::up) {
    // Either the peer has started again and we do not know yet that it ended: then its link ends any moment, and this is said
    // again. Or there are two of that name: the first one stays.
    refuse(greeting_refusal::duplicate);
    is_kept_out();
    return nullptr;
  }
  return l;
}

/// Says that there are two nodes of one name, when the one that is kept out has asked for so long, and once.
void reactor::keep_out(peer_lives& rivals, const peer_id& who, const std::string& at, const std::string& other_at,
                       std::uint64_t patience_ns) {
  const std::uint64_t now = monotonic_ns();
  auto rival =
      std::find_if(rivals.begin(), rivals.end(), [&](const auto& r) { return r.incarnation == who.incarnation; });
  if (rival == rivals.end()) {
    // Those that wait to be told of keep their places: if newcomers took them, of many that ask in turns none would be told of.
    rival = std::find_if(rivals.begin(), rivals.end(), [&](const auto& r) {
      return r.incarnation == 0 || now - r.asked_ns >= rival_quiet_ns ||
             (r.told_ns != 0 && now - r.told_ns >= rival_told_ns);
    });
    if (rival == rivals.end()) return;
    *rival = {who.incarnation, now, now, 0};
  }
  rival->asked_ns = now;
  if (rival->told_ns != 0 || now - rival->since_ns < patience_ns || !complaints_.allow(now)) return;
  rival->told_ns = now;
  sink_->namesake(who, at, other_at);
}

void reactor::hear_greeting(arrival& a, const link_greeting& g) {
  link* const found = link_of(a, g);
  if (found == nullptr) return;
  link& l = *found;
  // Each greeting may be answered by one: who greets without end, and does not read, would fill the memory with them. What waits
  // goes with its connection.
  if (l.way != nullptr && l.way->greeted_bytes > greeted_bytes_max) take_down(l, link_loss::unreachable, false);
  if (g.peer.incarnation == l.incarnation && g.cookie < l.their_cookie) return;  // it has called again since
  // A cookie on another connection than before: its caller's ZeroMQ has connected again by itself, and what was on its way is lost.
  if (g.peer.incarnation != l.incarnation || g.cookie != l.their_cookie || a.from->whose != &l) begin_greeting(l, a, g);
  if (l.way == nullptr && !call_back(l, a, g)) return;
  l.last_heard_ns = a.now;
  l.heard = g.sent_at;
  l.heard_at = a.now;
  {
    const auto lock = lock_sending(l);
    l.epoch_out = g.epoch;
  }
  l.lane_offered = a.lane;
  l.bell_offered = a.bell;
  l.knows_us = g.heard_cookie == l.way->cookie;
  // What it has heard on another connection may be a former life's, whose clock need not be ours.
  if (l.knows_us && g.heard != 0) l.clock.learn(g.heard, g.heard_at, a.now);
  if (l.at == link::phase::greeting && l.knows_us && l.clock.known()) {
    maybe_up(l, a.now);
  } else if (!l.knows_us) {
    greet(l, a.now);
  }
}

/// The peer's first greeting on a connection: what was before between us is over.
void reactor::begin_greeting(link& l, arrival& a, const link_greeting& g) {
  // A peer that begins anew has lost us. Our own way to it may be the one by which it was found.
  if (l.at == link::phase::up) take_down(l, link_loss::unreachable, true);
  if (const auto old = routes_.find(l.route); old != routes_.end() && old->second.whose == &l)
    old->second.whose = nullptr;
  if (g.peer.incarnation != l.incarnation) l.lane_failed = false;
  l.incarnation = g.peer.incarnation;
  l.their_cookie = g.cookie;
  l.route = a.number;
  l.user = keys_ ? property(*a.message, "User-Id") : "";
  a.from->whose = &l;
  a.from->had_link = true;
  l.at = link::phase::greeting;
  l.give_up_at_ns = a.now + 2 * static_cast<std::uint64_t>(std::chrono::nanoseconds(options_.handshake).count());
  l.clock.reset();
  l.epoch_in = 0;
  close_lanes(l);
  l.window_frames = g.window_frames;
  l.window_slots = g.window_slots;
  l.frame_bytes_max = g.frame_bytes_max;
  l.hello.assign(g.hello.begin(), g.hello.end());
}

bool reactor::call_back(link& l, arrival& a, const link_greeting& g) {
  const std::string endpoint = with_address(g.endpoint, property(*a.message, "Peer-Address"));
  const auto allowed = check_endpoint(endpoint, false);
  if (!allowed || !begin_call(nullptr, &l, endpoint, keys_ ? key_from_hex(l.user) : std::nullopt)) {
    refuse(greeting_refusal::no_way_back);
    take_down(l, link_loss::refused, false);
    return false;
  }
  return l.way != nullptr;
}

void reactor::maybe_up(link& l, std::uint64_t now) {
  while (!l.out.is_empty()) {  // a thread of ours is between its credit and its commit for the link before
    drop_ring(l);
    ::sched_yield();
  }
  l.at = link::phase::up;
  l.sequence_out = l.sequence_in = 0;
  l.sent_frames = l.sent_slots = l.acknowledged_frames = l.acknowledged_slots = 0;
  l.consumed_frames = l.consumed_slots = l.told_frames = l.told_slots = 0;
  l.last_heard_ns = l.last_pulse_ns = now;
  ++l.links;
  ++count_.links_up;
  ++count_.links_made;
  greet(l, now);  // before any frame: the peer may not know yet that we have heard it
  for (const auto& t : targets_) {
    if (t->whose == &l) t->pause_ns = 0, t->failures = 0;
  }
  const std::uint32_t longest = std::min(l.frame_bytes_max, options_.frame_bytes_max);
  open_lane(l);
  if (l.lane_out != nullptr) {
    {
      const auto lock = lock_sending(l);
      l.direct = true;
      l.has_direct.store(true, std::memory_order_relaxed);
    }
    // Behind the greeting: the peer reads the lane from its first pulse on. If it is lost, from the next.
    outgoing_.clear();
    append_pulse(outgoing_, l.epoch_out, make_pulse(l, now));
    static_cast<void>(pass(outgoing_, *l.way));
  }
  l.out.open(l.incarnation, l.window_frames, l.window_slots, longest);
  sink_->link_up({l.node, l.incarnation}, l.hello);
  l.hello = {};
}

/// Ends a link, or the attempt to make one. With `keep_way` our connection stays, for the next greeting.
void reactor::take_down(link& l, link_loss why, bool keep_way) {
  const bool was_up = l.at == link::phase::up;
  if (was_up) {
    l.out.close();
    end_direct(l);
    const std::uint64_t lost = l.sent_frames - l.acknowledged_frames;
    count_.lost_with_link += lost;
    count_.in_flight -= lost;
    --count_.links_up;
    ++count_.links_lost[static_cast<std::size_t>(why)];
    if (why == link_loss::refused) say_gone(l.route);  // or it would find out by our silence
  }
  l.at = link::phase::down;
  l.way_lost = false;
  l.their_cookie = 0;
  l.knows_us = false;
  l.epoch_in = 0;
  close_lanes(l);
  l.heard = l.heard_at = 0;
  l.clock.reset();
  if (const auto in = routes_.find(l.route); in != routes_.end() && in->second.whose == &l) in->second.whose = nullptr;
  if (!keep_way && l.way != nullptr) {
    target* const from = l.way->from;
    end_call(*l.way, false);
    if (from != nullptr && !was_up) ++from->failures;
    // Who does not want us is not pressed.
    if (from != nullptr && (why == link_loss::refused || why == link_loss::closed))
      call_again(*from, ~std::uint64_t{0});
  }
  drop_ring(l);
  if (was_up) sink_->link_down({l.node, l.incarnation}, why);
}

/// After the list of allowed keys was read again.
void reactor::end_disallowed() {
  for (link* l : links_.all()) {
    if (l->at == link::phase::down) continue;
    const auto key = key_from_hex(l->user);
    if (!key || allowed_.allows(*key, l->node)) continue;
    if (const auto in = routes_.find(l->route); in != routes_.end()) in->second.faults = ~std::uint32_t{0} / 2;
    take_down(*l, link_loss::refused, false);
  }
}

void reactor::say_good_bye() noexcept {
  for (link* l : links_.all()) {
    const bool up = l->at == link::phase::up;
    if (up) {
      l->way->socket.set(zmq::sockopt::linger, good_bye_ms);
      outgoing_.clear();
      append_word(outgoing_, link_word::bye, l->epoch_out);
      if (!say_bye_by_stream(*l)) static_cast<void>(pass(outgoing_, *l->way));
    }
    take_down(*l, link_loss::closed, false);
  }
  while (!calls_.empty()) end_call(*calls_.back(), false);
  for (link* l : links_.all()) {  // a thread between its credit and its commit is told `accepted`: it is counted
    while (!l->out.is_empty()) {
      drop_ring(*l);
      ::sched_yield();
    }
  }
}

}  // namespace karyon::detail
