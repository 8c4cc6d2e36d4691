// SPDX-License-Identifier: Apache-2.0
#include "nerve/synapse_reactor.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "core/log.hpp"
#include "sched/parker.hpp"

namespace karyon::detail {

namespace {

constexpr std::uint64_t wake_event = 0;
constexpr std::uint64_t router_event = 1;
constexpr std::uint64_t zap_event = 2;
constexpr std::uint64_t bell_event = 3;
constexpr std::uint64_t first_call_event = 16;

/// A message gets no further frame beyond this; a single frame may be longer.
constexpr std::size_t message_bytes = 64 * 1024;

constexpr std::uint64_t sweep_ns = 1000 * ns_per_ms;
constexpr std::size_t routes_max = 8192;

int ms_of(std::chrono::milliseconds time) noexcept { return static_cast<int>(time.count()); }

}  // namespace

std::uint64_t reactor::heartbeat_ns() const noexcept { return ns_of(options_.heartbeat); }
std::uint64_t reactor::silence_ns() const noexcept { return ns_of(options_.silence_max); }

void reactor::set_common(zmq::socket_t& socket) const {
  socket.set(zmq::sockopt::linger, 0);
  socket.set(zmq::sockopt::handshake_ivl, ms_of(options_.handshake));
  // ZeroMQ's own heartbeats stay off: one that falls due on a connection that has ended while our queue was full ends the process (an
  // assertion of libzmq 4.3, its issue 4364). Whether a peer is there is decided by pulses, and sooner; a connection whose other end
  // has vanished is found by the system: unused, or with something on its way that nobody acknowledges.
  const int lost_ms = 2 * ms_of(options_.silence_max);
  socket.set(zmq::sockopt::tcp_maxrt, lost_ms);
  socket.set(zmq::sockopt::tcp_keepalive, 1);
  socket.set(zmq::sockopt::tcp_keepalive_idle, std::max(lost_ms / 1000, 1));
  socket.set(zmq::sockopt::tcp_keepalive_intvl, 1);
  socket.set(zmq::sockopt::tcp_keepalive_cnt, 3);
}

std::int64_t reactor::message_bytes_max() const noexcept {
  return static_cast<std::int64_t>(std::max<std::size_t>(message_bytes, options_.frame_bytes_max) + hello_bytes_max +
                                   1024);
}

bool reactor::watch(int fd, std::uint64_t event, std::uint32_t events) {
  epoll_event about{};
  about.events = events;
  about.data.u64 = event;
  return ::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &about) == 0;
}

bool reactor::watch_call(call& c) {
  calls_by_cookie_[c.cookie] = &c;
  return watch(c.socket.get(zmq::sockopt::fd), first_call_event + c.cookie, EPOLLIN);
}

void reactor::unwatch_call(call& c) {
  calls_by_cookie_.erase(c.cookie);
  ::epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, c.socket.get(zmq::sockopt::fd), nullptr);
}

bool reactor::open_descriptors() {
  wake_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epoll_fd_ = ::epoll_create1(EPOLL_CLOEXEC);
  if (wake_fd_ < 0 || epoll_fd_ < 0 || !watch(wake_fd_, wake_event, EPOLLIN)) return false;
  if (!watch(router_.get(zmq::sockopt::fd), router_event, EPOLLIN)) return false;
  if (::pipe2(bell_fds_, O_CLOEXEC | O_NONBLOCK) != 0 || !watch(bell_fds_[0], bell_event, EPOLLIN)) return false;
  return zap_ == nullptr || watch(zap_->descriptor(), zap_event, EPOLLIN);
}

// --- the loop --------------------------------------------------------------------------------------------------------

void reactor::run() noexcept {
  ::pthread_setname_np(::pthread_self(), "karyon-synapse");
  last_loop_ns_ = monotonic_ns();
  while (!closing_.load()) {
    try {
      loop();
    } catch (const std::exception& e) {  // memory or descriptors are short; what was being done is undone by its owner
      if (complaints_.allow(monotonic_ns())) log(log_level::err, std::string("synapse: ") + e.what());
    }
  }
  say_good_bye();
  publish(true);
}

void reactor::loop() {
  const std::uint64_t now = monotonic_ns();
  if (now - last_loop_ns_ > silence_ns()) {
    // This process was stopped, or had no core, for so long that its peers have given it up. What waits in the sockets is of
    // links that they count as lost; it must not be taken for new.
    for (link* l : links_.all()) {
      if (l->at == link::phase::up) take_down(*l, link_loss::unreachable, false);
    }
  }
  last_loop_ns_ = now;
  if (now >= next_tick_ns_) tick(now);
  polled_ = false;
  bool progress = hear_lanes();
  progress |= drain_all();
  // A look at the sockets is a system call; what goes by memory does not wait for it each time, nor does a stream.
  if ((!progress && !polled_) || ++loops_ % 16 == 0) {
    progress |= look_at_events(0);
    progress |= receive_some();
  }
  return_credits();
  end_lost();
  if (progress) {
    busy_until_ns_ = now + ns_of(options_.spin);
    publish(false);
    return;
  }
  if (now < busy_until_ns_) {
    ::sched_yield();  // ZeroMQ's own thread may wait for this core
    return;
  }
  for (link* l : links_.all()) {
    if (l->lane_out != nullptr) count_direct(*l);
  }
  publish(true);
  asleep_.store(true, std::memory_order_seq_cst);
  if (may_sleep()) {
    const std::uint64_t left_ns = next_tick_ns_ > now ? next_tick_ns_ - now : 0;
    static_cast<void>(look_at_events(static_cast<int>(left_ns / ns_per_ms) + 1));
  }
  asleep_.store(false, std::memory_order_relaxed);  // a sender that still sees true wakes a thread that is awake
  wake_lanes();
}

bool reactor::may_sleep() {
  if (router_ready_ || !to_acknowledge_.empty()) return false;
  const auto& all = links_.all();
  const auto has_front = [](const link* l) { return l->lane_out == nullptr && !l->way_lost && l->out.has_front(); };
  return lanes_may_sleep() && std::none_of(all.begin(), all.end(), has_front);
}

void reactor::wake() noexcept {
  const std::uint64_t one = 1;
  // Fails only if it is signalled 2^64 - 1 times already.
  static_cast<void>(!::write(wake_fd_, &one, sizeof one));
}

bool reactor::look_at_events(int timeout_ms) {
  epoll_event events[16];
  const int n = ::epoll_wait(epoll_fd_, events, 16, timeout_ms);
  for (int i = 0; i < n; ++i) {
    const std::uint64_t event = events[i].data.u64;
    if (event == wake_event) {
      std::uint64_t times = 0;
      static_cast<void>(!::read(wake_fd_, &times, sizeof times));
      run_commands();
    } else if (event == bell_event) {
      std::array<std::byte, 64> rung;  // that this thread is awake is all that it was for
      static_cast<void>(!::read(bell_fds_[0], rung.data(), rung.size()));
    } else if (event == router_event) {
      router_ready_ = true;
    } else if (event == zap_event) {
      zap_->answer(allowed_);
    } else if ((event & stream_event) != 0) {
      look_at_stream(static_cast<int>(event & ~stream_event));
    } else {
      look_at_call(event - first_call_event);
    }
  }
  return n > 0;
}

void reactor::run_commands() {
  std::vector<std::function<void()>> commands;
  {
    const std::lock_guard lock(commands_mutex_);
    commands.swap(commands_);
  }
  for (const auto& command : commands) command();
}

void reactor::publish(bool certainly) {
  std::unique_lock lock(published_mutex_, std::defer_lock);
  if (certainly) {
    lock.lock();
  } else if (!lock.try_lock()) {
    return;  // a reader has it; there is another time
  }
  published_ = count_;
  published_.strangers_turned_away = door_.turned_away();
  published_.strangers_not_let_in = door_.not_let_in();
  if (zap_ != nullptr) published_.keys_refused = zap_->refused();
}

// --- what goes out ---------------------------------------------------------------------------------------------------

bool reactor::drain_all() {
  bool progress = false;
  for (link* l : links_.all()) progress |= drain(*l);
  return progress;
}

void reactor::drop_ring(link& l) {
  while (l.out.has_front()) {
    l.out.pop();
    ++count_.accepted;
    ++count_.lost_before_send;
  }
}

bool reactor::drain(link& l) {
  if (l.lane_out != nullptr) return drain_by_lane(l);
  if (!l.out.has_front()) return false;
  if (l.at != link::phase::up) {
    drop_ring(l);
    return true;
  }
  if (l.way_lost) return false;
  const std::uint64_t now = monotonic_ns();
  outgoing_.clear();
  bool stamped = false;
  if (take_frames(l, now, stamped) == 0) return true;
  if (!pass(outgoing_, *l.way)) {
    lose_way(l);
  } else if (stamped) {
    note_told(l, now);
  }
  return true;
}

/// Appends to outgoing_ what is in the ring; how many frames.
std::uint64_t reactor::take_frames(link& l, std::uint64_t now, bool& stamped) {
  const auto now_us = static_cast<std::uint32_t>((now + 999) / 1000);
  std::uint64_t frames = 0;
  for (outlet::record r; l.out.front(r);) {
    const std::size_t length = r.header.length;
    if (frames > 0 && outgoing_.size() + frame_header_bytes + length > message_bytes) break;
    // The only place that may throw, while nothing is taken or counted: a number that was given and not sent would end the link.
    if (frames == 0) {
      outgoing_.reserve(lane_length_bytes + pulse_bytes + 2 * frame_header_bytes +
                        std::max(message_bytes, frame_header_bytes + length));
    }
    ++count_.accepted;
    if (r.header.ttl_us != 0) {
      // What was left since `now` was read has waited for less than nothing.
      const auto waited = static_cast<std::int32_t>(now_us - r.header.epoch);
      const std::uint32_t waited_us = waited > 0 ? static_cast<std::uint32_t>(waited) : 0;
      if (waited_us >= r.header.ttl_us) {
        ++count_.expired_before_send;
        l.out.pop();
        l.out.give(1, slots_of(length));
        continue;
      }
      r.header.ttl_us -= waited_us;
      if (!stamped) append_pulse(outgoing_, l.epoch_out, make_pulse(l, now));
      stamped = true;
    }
    append_frame(l, r);
    l.out.pop();
    ++frames;
    ++l.sent_frames;
    l.sent_slots += slots_of(length);
  }
  count_.in_flight += frames;
  return frames;
}

void reactor::append_frame(link& l, const outlet::record& r) {
  frame_header header = r.header;
  header.epoch = l.epoch_out;
  header.sequence = l.sequence_out++;
  const std::size_t at = outgoing_.size();
  outgoing_.resize(at + frame_header_bytes + header.length);
  std::byte* const to = outgoing_.data() + at;
  encode_frame(header, to);
  if (!r.first.empty()) std::memcpy(to + frame_header_bytes, r.first.data(), r.first.size());
  if (!r.second.empty()) {
    std::memcpy(to + frame_header_bytes + r.first.size(), r.second.data(), r.second.size());
  }
}

bool reactor::pass(const std::vector<std::byte>& message, call& through) {
  zmq_msg_t m;
  if (::zmq_msg_init_size(&m, message.size()) != 0) return false;
  std::memcpy(::zmq_msg_data(&m), message.data(), message.size());
  if (::zmq_msg_send(&m, through.socket.handle(), ZMQ_DONTWAIT) < 0) {
    ::zmq_msg_close(&m);
    return false;
  }
  ++count_.messages_sent;
  return true;
}

link_pulse reactor::make_pulse(const link& l, std::uint64_t now) noexcept {
  return {now, l.heard, l.heard_at, l.consumed_frames, l.consumed_slots};
}

void reactor::note_told(link& l, std::uint64_t now) noexcept {
  l.told_frames = l.consumed_frames;
  l.told_slots = l.consumed_slots;
  l.last_pulse_ns = now;
}

void reactor::send_pulse(link& l, std::uint64_t now) {
  if (l.way_lost) return;
  outgoing_.clear();
  append_pulse(outgoing_, l.epoch_out, make_pulse(l, now));
  if (!pass(outgoing_, *l.way)) return lose_way(l);
  note_told(l, now);
}

// --- time ------------------------------------------------------------------------------------------------------------

link_loss reactor::loss_now(const link& l, std::uint64_t now) const noexcept {
  // It may have been heard since `now`.
  return now >= l.last_heard_ns + silence_ns() ? link_loss::unreachable : link_loss::died;
}

/// Our connection to the peer has ended. It may have said bye before, by another one: then it has not died.
void reactor::lose_way(link& l) {
  if (std::exchange(l.way_lost, true)) return;
  l.way_lost_ns = monotonic_ns();
  ways_lost_ = true;
}

void reactor::end_lost() {
  if (!ways_lost_) return;
  constexpr int messages_most = 1024;  // of all peers: those that go on speaking do not keep it
  // ZeroMQ's threads, here and there, take the end of one connection and what was said by the other in any order.
  constexpr std::uint64_t bye_within_ns = 20 * ns_per_ms;
  for (std::size_t i = 0; i < links_.all().size(); ++i) {
    link& l = *links_.all()[i];
    if (!l.way_lost) continue;
    const bool is_late = monotonic_ns() >= l.way_lost_ns + bye_within_ns;  // before the last look, not behind it
    router_ready_ = true;                                                  // there may be more than what is read here
    for (int n = 0; n < messages_most && l.way_lost; ++n) {
      if (receive_one()) continue;
      router_ready_ = false;  // what comes now wakes this thread: it sleeps meanwhile
      break;
    }
    if (l.way_lost) hear_stream_rest(l);
    if (!l.way_lost) continue;
    if (is_late) {
      take_down(l, loss_now(l, l.way_lost_ns), false);
    } else {
      next_tick_ns_ = std::min(next_tick_ns_, l.way_lost_ns + bye_within_ns);
    }
  }
  // What was read may have cost another link its way. Not before: what throws above is done again.
  ways_lost_ = std::any_of(links_.all().begin(), links_.all().end(), [](const link* l) { return l->way_lost; });
}

void reactor::tick(std::uint64_t now) {
  next_tick_ns_ = now + std::max(heartbeat_ns() / 2, ns_per_ms);
  for (link* l : links_.all()) tick_link(*l, now);
  tick_calls(now);
  tick_door(now);
  if (now >= next_sweep_ns_) {
    next_sweep_ns_ = now + sweep_ns;
    forget_routes(now);
  }
}

void reactor::tick_link(link& l, std::uint64_t now) {
  if (l.way != nullptr) look_at_call(l.way->cookie);
  if (l.way_lost) return;  // end_lost() ends it, and says why
  if (l.at == link::phase::up) {
    if (now > l.last_heard_ns + silence_ns()) {
      take_down(l, link_loss::unreachable, false);
    } else if (now - l.last_pulse_ns >= heartbeat_ns() - heartbeat_ns() / 4) {
      send_pulse(l, now);
    }
    if (l.at == link::phase::up) tick_stream(l, now);
  } else if (l.at == link::phase::greeting) {
    if (now >= l.give_up_at_ns) {
      ++count_.calls_failed;
      take_down(l, link_loss::unreachable, false);
    } else if (now >= l.greet_at_ns) {
      greet(l, now);
    }
  }
}

void reactor::tick_calls(std::uint64_t now) {
  for (std::size_t i = 0; i < calls_.size();) {
    call& c = *calls_[i];
    const std::uint64_t cookie = c.cookie;
    if (now >= c.give_up_at_ns) {
      end_call(c, true);
    } else {
      look_at_call(cookie);
    }
    if (i < calls_.size() && calls_[i]->cookie == cookie) ++i;  // else another one is at its place
  }
  std::erase_if(targets_, [](const auto& t) {  // one that is not being called has no call that points to it
    return t->passing && !t->calling && t->failures >= target::failures_max;
  });
  for (const auto& t : targets_) {
    if (t->calling || now < t->call_at_ns || (t->whose != nullptr && t->whose->way != nullptr)) continue;
    begin_call(t.get(), nullptr, t->endpoint, t->key);
  }
}

void reactor::forget_routes(std::uint64_t now) {
  // libzmq does not tell when a connection that leads in has ended. One that is used is heard all the time.
  for (auto it = routes_.begin(); it != routes_.end();) {
    // What is read no more is kept, or it would be read again after a while.
    const bool idle = it->second.faults < faults_max && now - it->second.last_heard_ns > sweep_ns + 4 * silence_ns();
    const bool old = idle || routes_.size() > routes_max;
    it = it->second.whose == nullptr && old ? routes_.erase(it) : std::next(it);
  }
}

}  // namespace karyon::detail
