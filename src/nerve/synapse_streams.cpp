// SPDX-License-Identifier: Apache-2.0
#include <sys/epoll.h>
#include <zmq.h>

#include <algorithm>
#include <array>
#include <utility>

#include "nerve/little_endian.hpp"
#include "nerve/synapse_reactor.hpp"
#include "sched/parker.hpp"
#include "sched/wait.hpp"

namespace karyon::detail {

namespace {

/// How long a stream may take nothing while ZeroMQ's connections say that the peer lives. More than any break that those survive.
std::chrono::milliseconds unanswered_max(const synapse_options& options) noexcept {
  return std::max<std::chrono::milliseconds>(std::chrono::seconds{10}, 10 * options.silence_max);
}

}  // namespace

/// What crosses it is neither encrypted nor bound to a key; and between processes of one machine lanes are quicker.
bool reactor::may_have_streams(const link& l) const {
  if (keys_ || options_.stream_frames_per_s == 0 || l.way == nullptr) return false;
  const auto kind = kind_of(l.way->endpoint);
  return kind && *kind == endpoint_kind::tcp;
}

// --- ours ------------------------------------------------------------------------------------------------------------

void reactor::tick_stream(link& l, std::uint64_t now) {
  using phase = stream_state::phase;
  stream_state& s = l.stream;
  if (s.offered != 0 && now >= s.offered_until_ns) s.offered = 0;
  if (s.at == phase::never || !may_have_streams(l)) return;
  const std::uint64_t sent = count_direct(l).frames;
  const std::uint64_t frames = sent - std::exchange(s.counted_frames, sent);
  const std::uint64_t before_ns = std::exchange(s.counted_at_ns, now);
  if (frames != 0) s.busy_at_ns = now;
  if (s.at == phase::none) {
    // The first look of a link counts from nowhere. How long ago it was is the heartbeat's to say, which may be minutes.
    const double time_s = static_cast<double>(now - before_ns) / 1e9;
    const bool is_hot = before_ns != 0 && static_cast<double>(frames) >= time_s * options_.stream_frames_per_s;
    if (is_hot && frames != 0) ask_for_stream(l, now);
  } else if (s.at == phase::open) {
    if (s.ended) {
      if (now >= s.give_up_at_ns) take_down(l, loss_now(l, now), false);
    } else if (now - s.busy_at_ns >= ns_of(options_.stream_idle)) {
      end_idle_stream(l);
    }
  } else if (now >= s.give_up_at_ns) {
    drop_call(l);
  }
}

void reactor::ask_for_stream(link& l, std::uint64_t now) {
  outgoing_.clear();
  append_word(outgoing_, link_word::stream_ask, l.epoch_out);
  l.stream.at = stream_state::phase::asked;
  l.stream.give_up_at_ns = now + stream_step_ns(options_);
  if (!pass(outgoing_, *l.way)) lose_way(l);
}

/// It did not come about; the frames go by ZeroMQ, until the link's end.
void reactor::drop_call(link& l) {
  stream_state& s = l.stream;
  streams_.erase(s.out_fd);
  s.out_fd = -1;
  s.called.reset();
  s.at = stream_state::phase::never;
  ++count_.streams_failed;
}

void reactor::call_stream(arrival& a, link& l, std::span<const std::byte> offer) {
  using phase = stream_state::phase;
  stream_state& s = l.stream;
  if (s.at != phase::asked) return;  // given up meanwhile
  const auto port = load_le<std::uint32_t>(offer.data());
  // As the peer's own calls come from: where it was called may be a name, which would have to be looked up.
  const char* const address = ::zmq_msg_gets(a.message->handle(), "Peer-Address");
  s.token = load_le<std::uint64_t>(offer.data() + 4);
  s.epoch = l.epoch_out;
  if (address != nullptr && port != 0 && port <= 65'535) {
    s.called = stream_out::call(address, static_cast<std::uint16_t>(port), unanswered_max(options_));
  }
  if (s.called == nullptr) return drop_call(l);
  s.out_fd = s.called->descriptor();
  streams_[s.out_fd] = &l;
  s.at = phase::calling;
  s.give_up_at_ns = a.now + stream_step_ns(options_);
  // By its edges: it is written to, and looked at, only as long as there is something.
  const std::uint32_t events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  if (!watch(s.out_fd, stream_event_of(s.out_fd), events)) drop_call(l);
}

void reactor::look_at_stream_out(link& l) {
  using phase = stream_state::phase;
  using word = stream_out::word;
  stream_state& s = l.stream;
  if (s.at == phase::open) {
    // Nothing is said here any more; so what there is to hear is the end.
    if (static_cast<stream_out&>(*l.lane_out).hear() != word::none) stream_ended(l, monotonic_ns());
    return;
  }
  if (s.called == nullptr) return;
  if (s.at == phase::calling) {
    if (!s.called->begin(s.epoch, s.token)) return drop_call(l);
    s.at = phase::greeting;
  }
  const word said = s.called->hear();
  if (said == word::taken) return begin_stream(l);
  if (said == word::ended) drop_call(l);
}

/// All frames that are left from now on go by it, those before went by ZeroMQ: the word between the two says so.
void reactor::begin_stream(link& l) {
  stream_state& s = l.stream;
  outgoing_.clear();
  append_word(outgoing_, link_word::stream_begin, l.epoch_out);
  const auto lock = lock_sending(l);
  l.left.reserve(lane_length_bytes + frame_header_bytes + direct_payload_bytes_most);  // for send_at_once()
  if (!pass(outgoing_, *l.way)) return;  // nor will the next pulse, which ends the link
  l.lane_out = std::move(s.called);
  l.direct = true;
  l.has_direct.store(true, std::memory_order_relaxed);
  s.at = stream_state::phase::open;
  s.ended = false;
  s.busy_at_ns = monotonic_ns();
  ++count_.streams_opened;
}

/// Whoever ends ours ends the link; why, ZeroMQ may be about to tell.
void reactor::stream_ended(link& l, std::uint64_t now) noexcept {
  constexpr std::uint64_t told_within_ns = 100'000'000;
  constexpr std::uint64_t told_within_most_ns = 2'000'000'000;
  if (std::exchange(l.stream.ended, true)) return;
  l.stream.give_up_at_ns = now + std::clamp(silence_ns(), told_within_ns, told_within_most_ns);
}

/// The peer has consumed all that went by it; so what goes by ZeroMQ next comes behind that.
void reactor::end_idle_stream(link& l) {
  stream_state& s = l.stream;
  static_cast<void>(count_direct(l));
  std::unique_ptr<way_out> gone;
  {
    const auto lock = lock_sending(l);
    if (l.sent_frames != l.acknowledged_frames || !l.left.empty() || l.direct_frames != 0) return;
    l.direct = false;
    l.has_direct.store(false, std::memory_order_relaxed);
    gone = std::move(l.lane_out);
  }
  streams_.erase(s.out_fd);
  s.out_fd = -1;
  s.at = stream_state::phase::none;
  ++count_.streams_closed;
}

/// Behind the last frame, where it can not pass one. False if it must go by ZeroMQ.
bool reactor::say_bye_by_stream(link& l) {
  if (l.stream.at != stream_state::phase::open) return false;
  std::vector<std::byte> message(lane_length_bytes);
  append_word(message, link_word::bye, l.epoch_out);
  store_le(message.data(), static_cast<std::uint32_t>(message.size() - lane_length_bytes));
  const auto lock = lock_sending(l);
  return l.left.empty() && l.lane_out->put(message) == message.size();
}

// --- the peer's ------------------------------------------------------------------------------------------------------

bool reactor::hear_stream_word(arrival& a, const frame_header& header, std::span<const std::byte> payload) {
  link* const l = a.from->whose;
  if (l == nullptr || l->at != link::phase::up || header.epoch != l->epoch_in) {
    ++count_.stale;
    return true;
  }
  const auto word = static_cast<link_word>(header.type);
  if (word == link_word::stream_ask) {
    if (may_have_streams(*l)) offer_stream(*l, a.now);
  } else if (word == link_word::stream_offer && payload.size() == stream_offer_bytes) {
    call_stream(a, *l, payload);
  } else if (word == link_word::stream_begin && l->stream.in != nullptr && !l->stream.begun) {
    l->stream.begun = true;
    l->stream.readable = true;  // what there is has been told of before
  } else {
    ++count_.unknown_word;
    fault(a);
    return false;
  }
  return true;
}

void reactor::offer_stream(link& l, std::uint64_t now) {
  if (!door_.open(endpoint_for(endpoint_kind::tcp))) return;  // the peer gives up by itself
  l.stream.offered = random_bits() | 1U;
  l.stream.offered_until_ns = now + 2 * stream_step_ns(options_);
  std::array<std::byte, stream_offer_bytes> offer{};
  store_le(offer.data(), std::uint32_t{door_.port()});
  store_le(offer.data() + 4, l.stream.offered);
  outgoing_.clear();
  append_word(outgoing_, link_word::stream_offer, l.epoch_out, offer);
  if (!pass(outgoing_, *l.way)) lose_way(l);
}

void reactor::look_at_stream(int fd) {
  const auto known = streams_.find(fd);
  if (known == streams_.end()) {
    if (door_.look_at(fd, monotonic_ns())) look_at_guests();
    return;
  }
  link& l = *known->second;
  if (fd == l.stream.out_fd) return look_at_stream_out(l);
  l.stream.readable = true;
}

void reactor::look_at_guests() {
  while (auto g = door_.next()) hear_guest(std::move(*g));
}

/// It is the link's that it says, or gone.
void reactor::hear_guest(stream_door::guest g) {
  const auto& all = links_.all();
  const auto whose = std::find_if(all.begin(), all.end(), [&](const link* l) {
    return l->at == link::phase::up && l->epoch_in == g.said.epoch && l->stream.offered != 0 &&
           l->stream.offered == g.said.token;
  });
  if (whose == all.end()) return;
  const std::shared_ptr<stream_in> from = std::move(g.from);
  link& l = **whose;
  streams_[from->descriptor()] = &l;  // what may throw, first
  l.stream.offered = 0;
  if (l.stream.in != nullptr) streams_.erase(l.stream.in->descriptor());
  l.stream.begun = false;  // one before was ended by the peer
  l.stream.in = from;
  l.stream.in->welcome();
}

/// Connections that do not say whose they are go; the port, too, when nobody is to call it.
void reactor::tick_door(std::uint64_t now) {
  const auto& all = links_.all();
  const bool awaited = std::any_of(all.begin(), all.end(), [](const link* l) { return l->stream.offered != 0; });
  if (!awaited) door_.close_port();
  door_.tick(now);
  look_at_guests();
}

/// As far as it is told that there is something, or looks for itself since there was something a moment ago.
bool reactor::hear_stream(link& l, std::uint64_t now) {
  if (!l.stream.readable && now >= l.stream.hot_until_ns) return false;
  polled_ = true;
  return read_stream(l);
}

/// Whether anything came.
bool reactor::read_stream(link& l) {
  const std::shared_ptr<stream_in> from = l.stream.in;  // the link may end within
  const stream_in::came came = from->fill();
  if (came == stream_in::came::nothing) {
    l.stream.readable = false;
    return false;
  }
  const std::uint64_t now = monotonic_ns();
  if (came == stream_in::came::ended) {
    streams_.erase(from->descriptor());
    l.stream.in.reset();
    l.stream.begun = false;
    if (from->is_within()) take_down(l, loss_now(l, now), false);
    return true;
  }
  l.stream.hot_until_ns = now + ns_of(options_.spin);
  std::span<const std::byte> message;
  while (l.at == link::phase::up && l.stream.in == from) {
    const auto found = from->next(message, static_cast<std::size_t>(message_bytes_max()));
    if (found == stream_in::found::nothing) break;
    const auto in = routes_.find(l.route);
    if (in == routes_.end()) break;  // a link that is up has one
    if (found == stream_in::found::nonsense) {
      ++count_.bad[static_cast<std::size_t>(frame_fault::too_long)];
      in->second.faults = faults_max;
      take_down(l, link_loss::refused, false);
      break;
    }
    arrival a{l.route, &in->second, now, nullptr};
    a.by_stream = true;
    read_frames(a, message);
  }
  return true;
}

/// After a bye, or the end of the peer's connection: what it can have sent before that. Credit bounds it, and not what a peer could go on
/// sending: a frame takes a slot or more, and has its message's length and a pulse before it at most.
void reactor::hear_stream_rest(link& l) {
  const std::shared_ptr<stream_in> from = l.stream.in;
  if (from == nullptr) return;
  const std::uint64_t end = from->bytes() + 4 * std::uint64_t{options_.window_bytes} + stream_in::piece_bytes;
  while (l.stream.begun && l.stream.in == from && from->bytes() < end && read_stream(l)) {
  }
}

void reactor::close_streams(link& l) noexcept {
  stream_state& s = l.stream;
  streams_.erase(s.out_fd);
  if (s.in != nullptr) streams_.erase(s.in->descriptor());
  s = {};
}

}  // namespace karyon::detail
