// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>
#include <zmq.h>

#include <algorithm>
#include <string>
#include <utility>

#include "nerve/synapse_reactor.hpp"
#include "sched/parker.hpp"

namespace karyon::detail {

namespace {

tl::unexpected<error> wrong_option(std::string sentence) { return fail(errc::invalid_argument, std::move(sentence)); }

}  // namespace

reactor::reactor(const synapse_options& options, const peer_id& self)
    : options_(options),
      self_(self),
      links_(options.peers_max),
      door_([this](int fd, std::uint32_t events) { return watch(fd, stream_event_of(fd), events); },
            stream_step_ns(options)),
      // Each life counts from a place of its own: who tells us one of our cookies has heard us, and not who was here before. Not
      // from near the end, so that the count does not wrap.
      cookies_(mixed({self.node, self.incarnation}) >> 2U) {}

reactor::~reactor() {
  close();
  if (epoll_fd_ >= 0) ::close(epoll_fd_);
  if (wake_fd_ >= 0) ::close(wake_fd_);
  for (const int fd : bell_fds_) {
    if (fd >= 0) ::close(fd);
  }
}

// --- what is allowed -------------------------------------------------------------------------------------------------

result<void> reactor::check_options() const {
  using std::chrono::milliseconds;
  const auto& o = options_;
  if (self_.node == 0) return wrong_option("A node needs an id other than 0.");
  if (o.peers_max == 0 || o.peers_max > 65'536) return wrong_option("peers_max is a number from 1 to 65536.");
  if (o.window_frames == 0 || o.window_frames > outlet::frames_max) {
    return wrong_option("window_frames is a number from 1 to " + std::to_string(outlet::frames_max) + ".");
  }
  if (o.window_bytes > (1U << 30U) || o.frame_bytes_max == 0 ||
      slots_of(o.frame_bytes_max) > o.window_bytes / slot_bytes) {
    return wrong_option(
        "window_bytes is 1 GiB at most, and frame_bytes_max at least 1 and less than window_bytes by 32.");
  }
  if (o.heartbeat < milliseconds{2} || o.silence_max < 2 * o.heartbeat || o.silence_max > milliseconds{3600'000}) {
    return wrong_option("heartbeat is 2 ms or more, and silence_max twice that or more, up to an hour.");
  }
  if (o.handshake < milliseconds{1} || o.handshake > milliseconds{3600'000} || o.spin.count() < 0) {
    return wrong_option("handshake is 1 ms or more, up to an hour, and spin not negative.");
  }
  if (o.shared_bytes != 0 && (o.shared_bytes < lane::bytes_min || o.shared_bytes > lane::bytes_max)) {
    return wrong_option("shared_bytes is 0, or a number from 65536 to 67108864.");
  }
  if (o.stream_idle < milliseconds{1}) return wrong_option("stream_idle is 1 ms or more.");
  if (!o.peers.empty() && o.listen.empty())
    return wrong_option("A node that calls others must listen itself (listen).");
  return {};
}

result<void> reactor::check_endpoint(const std::string& endpoint, bool listening) const {
  const auto kind = kind_of(endpoint);
  if (!kind) return tl::unexpected<error>(kind.error());
  if (*kind == endpoint_kind::ipc) return {};
  if (!keys_ && !options_.plaintext_beyond_loopback && !is_loopback(endpoint)) {
    return fail(errc::refused, "\"" + endpoint +
                                   "\" is beyond the loopback, where whoever reaches the port could read and forge " +
                                   "everything: give this node keys (key_file), or set plaintext_beyond_loopback.");
  }
  if (!listening && endpoint.find('*') != std::string::npos)
    return wrong_option("\"" + endpoint + "\" can not be called.");
  return {};
}

result<std::optional<curve_key>> reactor::check_peer(const synapse_peer& peer) const {
  const auto allowed = check_endpoint(peer.endpoint, false);
  if (!allowed) return tl::unexpected<error>(allowed.error());
  const auto kind = kind_of(peer.endpoint);
  const bool way_back = std::any_of(bound_.begin(), bound_.end(), [&](const std::string& mine) {
    const auto its_kind = kind_of(mine);
    return its_kind && *its_kind == *kind;
  });
  if (!way_back) {
    return wrong_option("To speak with \"" + peer.endpoint +
                        "\" this node must listen on an endpoint of the same kind itself.");
  }
  if (!keys_) {
    if (peer.public_key.empty()) return std::optional<curve_key>();
    return wrong_option("A peer with a public key needs this node to have keys (key_file).");
  }
  const auto key = key_from_hex(peer.public_key);
  if (!key) return wrong_option("\"" + peer.endpoint + "\": its public key is needed, 64 hexadecimal digits.");
  return std::optional<curve_key>(*key);
}

result<void> reactor::read_keys() {
  if (options_.key_file.empty()) {
    if (options_.allow_file.empty()) return {};
    return wrong_option("A list of allowed keys (allow_file) needs keys of one's own (key_file).");
  }
  if (options_.allow_file.empty()) {
    return wrong_option("Keys need a list of those that are let in (allow_file): without one every key would be.");
  }
  const auto pair = read_pair(options_.key_file);
  if (!pair) return tl::unexpected<error>(pair.error());
  auto allowed = allow_list::read(options_.allow_file);
  if (!allowed) return tl::unexpected<error>(allowed.error());
  keys_ = *pair;
  allowed_ = std::move(*allowed);
  return {};
}

// --- the start -------------------------------------------------------------------------------------------------------

result<void> reactor::prepare() try {
  if (const auto checked = check_options(); !checked) return checked;
  if (const auto read = read_keys(); !read) return read;
  if (keys_) zap_ = std::make_unique<zap_handler>(context_);
  router_ = zmq::socket_t(context_, zmq::socket_type::router);
  set_common(router_);
  router_.set(zmq::sockopt::router_mandatory, 1);
  router_.set(zmq::sockopt::rcvhwm, 256);
  router_.set(zmq::sockopt::sndhwm, 16);
  router_.set(zmq::sockopt::maxmsgsize, message_bytes_max());
  if (keys_) {
    router_.set(zmq::sockopt::curve_server, 1);
    router_.set(zmq::sockopt::curve_secretkey, zmq::const_buffer(keys_->secret.data(), keys_->secret.size()));
  }
  const uid_t me = ::geteuid();
  if (::zmq_setsockopt(router_.handle(), ZMQ_IPC_FILTER_UID, &me, sizeof me) != 0) {
    return fail(errc::unsupported, "This libzmq can not check the user of an ipc peer.");
  }
  if (const auto bound = bind_all(); !bound) return bound;
  if (!open_descriptors()) return fail(errc::system_error, "No descriptors are left for a synapse.");
  for (const synapse_peer& peer : options_.peers) {
    const auto key = check_peer(peer);
    if (!key) return tl::unexpected<error>(key.error());
    add_target(peer.endpoint, *key, false);
  }
  return {};
} catch (const zmq::error_t& e) {
  return fail(errc::system_error, std::string("Setting up ZeroMQ failed: ") + e.what());
}

result<void> reactor::bind_all() {
  for (const std::string& endpoint : options_.listen) {
    if (const auto allowed = check_endpoint(endpoint, true); !allowed) return allowed;
    if (*kind_of(endpoint) == endpoint_kind::ipc) {
      if (const auto folder = check_folder(endpoint, true); !folder) return folder;
      // libzmq takes an endpoint over from whoever listens on it.
      if (is_listened_to(endpoint)) return fail(errc::refused, "Another process listens on \"" + endpoint + "\".");
    }
    // Only where it is asked for: with it, libzmq names IPv4 addresses in IPv6's way.
    router_.set(zmq::sockopt::ipv6, endpoint.find('[') != std::string::npos);
    if (::zmq_bind(router_.handle(), endpoint.c_str()) != 0) {
      return fail(errc::system_error, "Listening on \"" + endpoint + "\" failed: " + ::zmq_strerror(::zmq_errno()));
    }
    bound_.push_back(router_.get(zmq::sockopt::last_endpoint));
  }
  return {};
}

result<void> reactor::start(transport_sink& sink, std::vector<std::byte> hello) {
  if (hello.size() > hello_bytes_max) return wrong_option("A hello is at most 256 KiB long.");
  const std::lock_guard lock(thread_mutex_);
  if (started_ || closing_.load()) return fail(errc::closed, "A synapse starts once.");
  sink_ = &sink;
  hello_ = std::move(hello);
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error& e) {
    return fail(errc::system_error, std::string("No thread could be had: ") + e.what());
  }
  started_ = true;
  return {};
}

// --- on any thread ---------------------------------------------------------------------------------------------------

frame_fate reactor::send(const peer_id& peer, const frame_header& header, std::span<const std::byte> payload) noexcept {
  frame_fate fate = frame_fate::no_route;
  if (closing_.load(std::memory_order_relaxed)) {
    fate = frame_fate::closed;
  } else if (link* const l = links_.find(peer.node)) {
    // Only a time to live is worth a look at the clock.
    const std::uint32_t now_us = header.ttl_us != 0 ? static_cast<std::uint32_t>(monotonic_ns() / 1000) : 0;
    fate = l->out.put(peer.incarnation, header, payload, now_us);
    if (fate == frame_fate::accepted) {
      if (l->has_direct.load(std::memory_order_relaxed) && send_at_once(*l)) return fate;
      if (asleep_.load(std::memory_order_seq_cst) && asleep_.exchange(false)) wake();
      return fate;
    }
  }
  refused_[static_cast<std::size_t>(fate)].fetch_add(1, std::memory_order_relaxed);
  return fate;
}

void reactor::command(std::function<void()> what) {
  {
    const std::lock_guard lock(commands_mutex_);
    commands_.push_back(std::move(what));
  }
  wake();
}

void reactor::add_target(const std::string& endpoint, const std::optional<curve_key>& key, bool passing) {
  constexpr std::ptrdiff_t passing_max = 256;
  // With its key: whoever names an endpoint with another node's would keep its own from being called.
  const auto known = std::find_if(targets_.begin(), targets_.end(),
                                  [&](const auto& t) { return t->endpoint == endpoint && t->key == key; });
  if (known != targets_.end()) {
    (*known)->passing = (*known)->passing && passing;
    return;
  }
  const auto passing_now = std::count_if(targets_.begin(), targets_.end(), [](const auto& t) { return t->passing; });
  if (passing && passing_now >= passing_max) {
    ++count_.calls_left_out;
    return;
  }
  targets_.push_back(std::make_unique<target>());
  targets_.back()->endpoint = endpoint;
  targets_.back()->key = key;
  targets_.back()->passing = passing;
}

result<void> reactor::connect(const synapse_peer& peer, bool passing) {
  const auto key = check_peer(peer);
  if (!key) return tl::unexpected<error>(key.error());
  if (closing_.load()) return fail(errc::closed, "The synapse is closing.");
  command([this, endpoint = peer.endpoint, k = *key, passing] {
    add_target(endpoint, k, passing);
    next_tick_ns_ = 0;
  });
  return {};
}

std::optional<curve_key> reactor::public_key() const noexcept {
  return keys_ ? std::optional<curve_key>(keys_->open) : std::nullopt;
}

bool reactor::allows(const curve_key& key, std::uint64_t node) const {
  const std::lock_guard lock(allowed_mutex_);
  return allowed_.allows(key, node);
}

result<void> reactor::reload_allowed() {
  if (!keys_) return fail(errc::invalid_argument, "This node has no keys, and so no list of allowed ones.");
  auto read = allow_list::read(options_.allow_file);
  if (!read) return tl::unexpected<error>(read.error());
  command([this, list = std::move(*read)] {
    {
      const std::lock_guard lock(allowed_mutex_);
      allowed_ = list;
    }
    end_disallowed();
  });
  return {};
}

void reactor::close() noexcept {
  closing_.store(true);
  const std::lock_guard lock(thread_mutex_);
  if (!thread_.joinable()) return;
  wake();
  thread_.join();
}

synapse_stats reactor::stats() const {
  synapse_stats all;
  {
    const std::lock_guard lock(published_mutex_);
    all = published_;
  }
  for (std::size_t i = 0; i < all.refused.size(); ++i) all.refused[i] = refused_[i].load(std::memory_order_relaxed);
  return all;
}

}  // namespace karyon::detail
