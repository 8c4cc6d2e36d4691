// SPDX-License-Identifier: Apache-2.0
#include <zmq.h>

#include <algorithm>
#include <bit>
#include <string>

#include "core/log.hpp"
#include "nerve/synapse_reactor.hpp"
#include "sched/parker.hpp"

namespace karyon::detail {

namespace {

constexpr std::uint64_t first_pause_ns = 50 * ns_per_ms;
constexpr std::uint64_t longest_pause_ns = 1000 * ns_per_ms;
constexpr int longest_answer_bytes = 256;
/// Answers that are read of one connection before all else has its turn; the next tick reads on.
constexpr int answers_a_turn = 16;

}  // namespace

/// More than all frames of a peer's credit, each in a message of its own, and the pulses until its silence is too long. libzmq may take
/// half of the mark for waiting that no longer is: therefore twice as many.
int reactor::messages_waiting_max() const noexcept {
  const std::uint64_t frames =
      std::min<std::uint64_t>(outlet::frames_max, std::bit_ceil(std::uint64_t{options_.window_bytes} / slot_bytes));
  const std::uint64_t pulses = 2048 + 4 * silence_ns() / heartbeat_ns();
  return static_cast<int>(2 * (frames + pulses));
}

std::unique_ptr<call> reactor::make_call(const std::string& endpoint, const std::optional<curve_key>& key) {
  auto c = std::make_unique<call>();
  c->socket = zmq::socket_t(context_, zmq::socket_type::dealer);
  set_common(c->socket);
  // A frame is given to a connection that is there, or to nobody. How many may wait in it is bounded by the peer's credit, so that
  // "can not be written to" has two meanings left: not connected, or the peer speaks but reads not even the pulses.
  c->socket.set(zmq::sockopt::immediate, 1);
  c->socket.set(zmq::sockopt::sndhwm, messages_waiting_max());
  c->socket.set(zmq::sockopt::rcvhwm, 16);
  c->socket.set(zmq::sockopt::maxmsgsize, std::int64_t{longest_answer_bytes});
  c->socket.set(zmq::sockopt::ipv6, endpoint.find('[') != std::string::npos);
  c->socket.set(zmq::sockopt::reconnect_ivl, 50);
  c->socket.set(zmq::sockopt::reconnect_ivl_max, 1000);
  if (keys_) {
    c->socket.set(zmq::sockopt::curve_publickey, zmq::const_buffer(keys_->open.data(), keys_->open.size()));
    c->socket.set(zmq::sockopt::curve_secretkey, zmq::const_buffer(keys_->secret.data(), keys_->secret.size()));
    c->socket.set(zmq::sockopt::curve_serverkey, zmq::const_buffer(key->data(), key->size()));
  }
  c->endpoint = endpoint;
  c->cookie = ++cookies_;
  return c;
}

/// For a target, or for a link whose peer has greeted us. False if not even an attempt could be made.
bool reactor::begin_call(target* from, link* whose, const std::string& endpoint, const std::optional<curve_key>& key) {
  const std::uint64_t now = monotonic_ns();
  std::unique_ptr<call> made;
  try {
    const auto kind = kind_of(endpoint);
    if (kind && (*kind == endpoint_kind::tcp || check_folder(endpoint, false))) {
      made = make_call(endpoint, key);
      if (!watch_call(*made)) throw zmq::error_t();
      made->socket.connect(endpoint);
    }
  } catch (const zmq::error_t& e) {  // no descriptors, mostly
    if (log_enabled(log_level::debug)) log(log_level::debug, "synapse: calling " + endpoint + ": " + e.what());
    if (made != nullptr) unwatch_call(*made);
    made.reset();
  }
  if (made == nullptr) {
    ++count_.calls_failed;
    if (from != nullptr) {
      ++from->failures;
      call_again(*from, from->pause_ns * 2);
    }
    return false;
  }
  made->from = from;
  made->whose = whose;
  // To connect. ZeroMQ tries again by itself, but not where its key was refused.
  const auto handshake_ns = static_cast<std::uint64_t>(std::chrono::nanoseconds(options_.handshake).count());
  made->give_up_at_ns = now + std::max(handshake_ns / 4, longest_pause_ns);
  if (from != nullptr) from->calling = true;
  const std::uint64_t cookie = made->cookie;
  if (whose != nullptr) {
    whose->way = std::move(made);
  } else {
    calls_.push_back(std::move(made));
  }
  look_at_call(cookie);
  return true;
}

void reactor::call_again(target& t, std::uint64_t pause_ns) {
  t.calling = false;
  t.pause_ns = std::clamp(pause_ns, first_pause_ns, longest_pause_ns);
  t.call_at_ns = monotonic_ns() + t.pause_ns;
}

void reactor::look_at_call(std::uint64_t cookie) {
  const auto it = calls_by_cookie_.find(cookie);
  if (it == calls_by_cookie_.end()) return;
  call& c = *it->second;
  const int events = c.socket.get(zmq::sockopt::events);  // takes the signal off the descriptor, too
  const std::uint64_t now = monotonic_ns();
  const bool writable = (events & ZMQ_POLLOUT) != 0;
  if (c.connected && !writable) {
    if (c.whose != nullptr) {
      if (c.whose->at == link::phase::up) return lose_way(*c.whose);
      ++count_.calls_failed;
      take_down(*c.whose, link_loss::died, false);
    } else {
      end_call(c, true);
    }
    return;
  }
  if (!c.connected && writable) connected(c, now);
  if ((events & ZMQ_POLLIN) != 0) hear_on_call(cookie, now);
}

void reactor::connected(call& c, std::uint64_t now) {
  c.connected = true;
  c.give_up_at_ns = now + 2 * static_cast<std::uint64_t>(std::chrono::nanoseconds(options_.handshake).count());
  if (c.whose != nullptr) {
    c.whose->give_up_at_ns = c.give_up_at_ns;
    greet(*c.whose, now);
    return;
  }
  outgoing_.clear();
  append_word(outgoing_, link_word::who, 0);
  static_cast<void>(pass(outgoing_, c));  // if it is lost, so is the connection
}

/// What the called side says against the connection's direction.
void reactor::hear_on_call(std::uint64_t cookie, std::uint64_t now) {
  for (int i = 0; i < answers_a_turn; ++i) {
    const auto it = calls_by_cookie_.find(cookie);
    if (it == calls_by_cookie_.end()) return;
    call& c = *it->second;
    zmq::message_t message;
    if (::zmq_msg_recv(message.handle(), c.socket.handle(), ZMQ_DONTWAIT) < 0) return;
    const std::span<const std::byte> bytes{message.data<std::byte>(), message.size()};
    frame_header header;
    const frame_fault wrong = decode_frame(bytes, longest_answer_bytes, header);
    if (wrong != frame_fault::none || header.kind != frame_kind::control || (header.flags & frame_of_link) == 0) {
      ++(wrong != frame_fault::none ? count_.bad[static_cast<std::size_t>(wrong)] : count_.unknown_word);
      if (++c.faults < faults_max) continue;
      return c.whose != nullptr ? take_down(*c.whose, link_loss::refused, false) : end_call(c, true);
    }
    const auto payload = bytes.subspan(frame_header_bytes, header.length);
    if (header.type == static_cast<std::uint16_t>(link_word::gone)) {
      if (c.whose != nullptr && c.whose->at == link::phase::up) take_down(*c.whose, link_loss::unreachable, false);
    } else if (header.type == static_cast<std::uint16_t>(link_word::i_am) && c.whose == nullptr) {
      if (const auto who = read_i_am(payload)) identified(c, *who, now);
    } else {
      ++count_.unknown_word;
    }
  }
}

/// A call for a target has found who it leads to.
void reactor::identified(call& c, const peer_id& who, std::uint64_t now) {
  if (who.node == self_.node || who.node == 0) {
    refuse(greeting_refusal::self);
    if (who.node != 0 && who.incarnation != self_.incarnation) {
      keep_out(rivals_, who, c.endpoint, bound_.empty() ? std::string() : bound_.front(), 0);
    }
    return end_call(c, true);
  }
  // Whoever has the key of one name must not be taken for the way to another one.
  if (keys_ && c.from != nullptr && c.from->key && !allowed_.allows(*c.from->key, who.node)) {
    refuse(greeting_refusal::not_allowed);
    return end_call(c, true);
  }
  link* l = links_.find(who.node);
  if (l == nullptr) l = links_.add(who.node, options_.window_bytes / slot_bytes);
  if (l == nullptr) {
    refuse(greeting_refusal::too_many);
    return end_call(c, true);
  }
  if (c.from != nullptr) c.from->whose = l;
  if (l->way != nullptr) return end_call(c, false);  // it has called us, or has two endpoints
  const auto mine = std::find_if(calls_.begin(), calls_.end(), [&](const auto& each) { return each.get() == &c; });
  l->way = std::move(*mine);
  calls_.erase(mine);
  l->way->whose = l;
  if (l->at == link::phase::down) l->at = link::phase::greeting;
  l->give_up_at_ns = l->way->give_up_at_ns;
  greet(*l, now);
}

/// Closes a connection that leads out; `c` is gone afterwards.
void reactor::end_call(call& c, bool failed) {
  unwatch_call(c);
  if (target* const t = c.from) {
    if (failed) ++t->failures;
    call_again(*t, failed ? t->pause_ns * 2 : 0);
  }
  if (failed) ++count_.calls_failed;
  if (link* const l = c.whose) {
    l->way.reset();
    return;
  }
  calls_.erase(std::find_if(calls_.begin(), calls_.end(), [&](const auto& each) { return each.get() == &c; }));
}

}  // namespace karyon::detail
