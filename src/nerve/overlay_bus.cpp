// SPDX-License-Identifier: Apache-2.0
#include "nerve/overlay_bus.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <shared_mutex>
#include <system_error>
#include <utility>

#include "core/log.hpp"
#include "nerve/bounded_lock.hpp"
#include "nerve/overlay_discovery.hpp"
#include "nerve/overlay_wire.hpp"
#include "sched/parker.hpp"

namespace karyon::detail {

namespace {

constexpr std::size_t book_max = 4096;
constexpr std::size_t held_max = 16;
constexpr std::size_t envelope_head_bytes = 1;
constexpr std::size_t place_head_bytes = 18;  // without its key
constexpr std::uint64_t call_again_ns = 5'000'000'000;
constexpr std::chrono::seconds look_every{1};

void append(std::vector<std::byte>& to, std::uint64_t v, unsigned bytes) {
  for (unsigned i = 0; i < bytes; ++i) to.push_back(static_cast<std::byte>(v >> (8 * i)));
}

std::uint64_t take(std::span<const std::byte>& from, unsigned bytes) noexcept {
  std::uint64_t v = 0;
  for (unsigned i = 0; i < bytes; ++i) v |= std::to_integer<std::uint64_t>(from[i]) << (8 * i);
  from = from.subspan(bytes);
  return v;
}

constexpr std::size_t broadcast_head_bytes = 2;
constexpr std::size_t broadcast_head_kept = 1;  // the length of the subject

/// What is in the bytes of a broadcast; false if they are none.
bool read_broadcast(const std::string& broadcast, std::string_view& subject, std::string_view& frame) noexcept {
  if (broadcast.size() < broadcast_head_bytes) return false;
  const std::string_view rest = std::string_view(broadcast).substr(broadcast_head_bytes);
  const std::size_t length = static_cast<unsigned char>(broadcast[0]);
  if (rest.size() < length) return false;
  subject = rest.substr(0, length);
  frame = rest.substr(length);
  return true;
}

/// "address:port" in numbers, of one machine. A name would be looked up by the one thread that serves all links, and hold them up.
bool is_numeric(std::string_view place) noexcept {
  const std::size_t colon = place.rfind(':');
  if (colon == std::string_view::npos) return false;
  const std::string_view port = place.substr(colon + 1);
  if (port.empty() || port.size() > 5 || port.find_first_not_of("0123456789") != std::string_view::npos) return false;
  unsigned number = 0;
  for (const char c : port) number = number * 10 + static_cast<unsigned>(c - '0');
  if (number == 0 || number > 65'535) return false;
  std::string_view host = place.substr(0, colon);
  const bool six = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (six) host = host.substr(1, host.size() - 2);
  char text[INET6_ADDRSTRLEN] = {};
  if (host.empty() || host.size() >= sizeof(text)) return false;
  std::copy(host.begin(), host.end(), text);
  in6_addr address{};
  if (inet_pton(six ? AF_INET6 : AF_INET, text, &address) != 1) return false;
  const auto* const bytes = reinterpret_cast<const unsigned char*>(&address);
  return std::any_of(bytes, bytes + (six ? 16 : 4), [](unsigned char b) { return b != 0; });
}

}  // namespace

bool can_be_called(std::string_view endpoint) noexcept {
  constexpr std::string_view tcp = "tcp://";
  constexpr std::string_view ipc = "ipc://";
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (endpoint.size() > 255 || std::any_of(endpoint.begin(), endpoint.end(), is_control)) return false;
  if (endpoint.starts_with(tcp)) return is_numeric(endpoint.substr(tcp.size()));
  return endpoint.starts_with(ipc) && endpoint.size() > ipc.size() && endpoint.find('*') == std::string_view::npos;
}

std::vector<std::byte> encode_envelope(const overlay_envelope& e) {
  std::vector<std::byte> out;
  out.reserve(1 + e.places.size() * 64 + e.message.size());
  append(out, e.places.size(), 1);
  for (const overlay_envelope::place& p : e.places) {
    append(out, p.who.node, 8);
    append(out, p.who.incarnation, 8);
    append(out, p.key ? p.key->size() : 0, 1);
    if (p.key) {
      for (const std::uint8_t byte : *p.key) out.push_back(static_cast<std::byte>(byte));
    }
    append(out, p.endpoint.size(), 1);
    for (const char c : p.endpoint) out.push_back(static_cast<std::byte>(c));
  }
  out.insert(out.end(), e.message.begin(), e.message.end());
  return out;
}

bool decode_envelope(std::span<const std::byte> from, overlay_envelope& to) {
  to.places.clear();
  if (from.empty()) return false;
  const std::size_t n = take(from, 1);
  if (n > envelope_places_max) return false;
  for (std::size_t i = 0; i < n; ++i) {
    if (from.size() < place_head_bytes) return false;
    overlay_envelope::place p;
    p.who.node = take(from, 8);
    p.who.incarnation = take(from, 8);
    if (const std::size_t k = take(from, 1); k != 0) {
      curve_key key{};
      if (k != key.size() || from.size() < k + 1) return false;
      for (std::uint8_t& byte : key) byte = static_cast<std::uint8_t>(take(from, 1));
      p.key = key;
    }
    const std::size_t length = take(from, 1);
    if (from.size() < length) return false;
    p.endpoint.assign(reinterpret_cast<const char*>(from.data()), length);
    from = from.subspan(length);
    to.places.push_back(std::move(p));
  }
  to.message = from;
  return true;
}

std::size_t found_to_call(std::size_t neighbors, std::size_t connected, std::uint64_t full_ticks) noexcept {
  constexpr std::size_t at_once_alone = 4;
  constexpr std::uint64_t ticks_of_full = 64;
  if (neighbors == 0) return at_once_alone;
  if (neighbors < hyparview_options{}.active_max) return 1;
  return full_ticks % (ticks_of_full << std::min<std::size_t>(connected / 16, 32)) == 0 ? 1 : 0;
}

overlay_bus::overlay_bus(std::shared_ptr<node_services> network, std::string_view compartment,
                         const endocrine_options& options, carrier_sink& sink)
    : compartment_(compartment),
      network_(std::move(network)),
      sink_(sink),
      time_to_live_ns_(static_cast<std::uint64_t>(options.nats.time_to_live.count()) * 1'000'000),
      queue_max_(options.nats.outgoing_max) {
  if (!options.discovery_server.empty()) {
    discovery_ = std::make_unique<overlay_discovery>(compartment, monotonic_ns());
    discovery_->connect(options);  // before the lock: the network's thread does not wait for a server
  }
  // What the network tells before there is a driver waits for the lock.
  const std::lock_guard lock(hearing_);
  channel_ = network_->open("overlay/" + std::string(compartment), *this);
  if (channel_ == nullptr) {
    throw runtime_error(error(errc::already_present, "the overlay of compartment \"" + std::string(compartment) +
                                                         "\" is in use by another bus of this runtime"));
  }
  frame_bytes_max_.store(channel_->bytes_max(), std::memory_order_relaxed);
  const peer self = channel_->self();
  overlay_options how;
  how.tree.compartment = hash_of_text(compartment);
  how.tree.head_bytes = broadcast_head_bytes;  // the same in all compartments but for their number
  how.tree.head_kept = broadcast_head_kept;
  driver_ =
      std::make_unique<overlay_driver>(peer_id{self.node, self.incarnation}, how, *this, self.node ^ self.incarnation,
                                       [this](const broadcast_id& id, const std::string& payload, std::uint8_t) {
                                         {
                                           const std::lock_guard in(mutex_);
                                           if (incoming_.size() >= queue_max_) {
                                             slow_.fetch_add(1, std::memory_order_relaxed);
                                             return;
                                           }
                                           incoming_.push_back({0, id, payload});
                                         }
                                         changed_.notify_one();
                                       });
  if (discovery_ != nullptr) {
    discovery_->listen({self.node, self.incarnation}, [network = network_.get()](const node_sighting& s) {
      return network->may_call(s.who.node, s.key);
    });
    const std::vector<std::string> mine = own_endpoints();
    if (mine.empty() && log_enabled(log_level::warn)) {
      log(log_level::warn, "overlay " + compartment_ +
                               ": this node listens nowhere that others could call, so it is not announced at the "
                               "discovery_server; listen on an address of this machine, not on all of them");
    } else if (is_out_of_reach(options.discovery_server, mine) && log_enabled(log_level::warn)) {
      log(log_level::warn, "overlay " + compartment_ +
                               ": this node is announced at the discovery_server with addresses that no other machine "
                               "can call (the loopback, ipc); to be found from there, listen on one of its network");
    }
    announce_when_due(monotonic_ns(), true);
  }
  try {
    driver_->start();
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error& e) {
    throw runtime_error(error(errc::system_error, std::string("a bus by overlay has got no thread: ") + e.what()));
  }
  hears_ = true;
}

overlay_bus::~overlay_bus() { close(); }

void overlay_bus::close() noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(stopping_, true)) return;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  {
    const std::lock_guard lock(ending_);
    ended_ = true;  // what a gateway hands on from here on is counted there as lost, and not sent after the good-bye
  }
  driver_->leave();  // its neighbours are told while there is a way to them
  {
    const std::lock_guard lock(hearing_);
    hears_ = false;  // what the network tells from here on is left out: it would use what goes now
  }
  channel_.reset();  // no call of the listener runs from here on
  driver_.reset();
  if (discovery_ != nullptr) discovery_->close();
}

endocrine_carrier::fate overlay_bus::send(std::string_view subject, std::vector<std::byte> frame) noexcept try {
  queued q;
  q.since_ns = monotonic_ns();
  static_assert(subject_bytes_max <= 0xff);
  q.broadcast.reserve(broadcast_head_bytes + subject.size() + frame.size());
  q.broadcast.push_back(static_cast<char>(subject.size()));
  q.broadcast.push_back(0);
  q.broadcast.append(subject);
  q.broadcast.append(reinterpret_cast<const char*>(frame.data()), frame.size());
  // With the heads of the overlay's message and of its envelope, which names no places: nobody elsewhere would ever hear of it.
  if (q.broadcast.size() + overlay_wire_bytes + 1 > frame_bytes_max_.load(std::memory_order_relaxed)) {
    return fate::too_large;
  }
  {
    const bounded_lock lock(mutex_);  // who publishes may be a worker
    if (!lock) return fate::full;
    if (stopping_) return fate::disconnected;
    if (outgoing_.size() >= queue_max_) return fate::full;
    outgoing_.push_back(std::move(q));
  }
  changed_.notify_one();
  return fate::accepted;
} catch (const std::bad_alloc&) {
  return fate::full;
}

carrier_counts overlay_bus::counts() const noexcept {
  const auto read = [](const std::atomic<std::uint64_t>& n) { return n.load(std::memory_order_relaxed); };
  carrier_counts c;
  c.sent = read(sent_);
  c.lost_expired = read(expired_);
  c.lost_disconnected = read(lost_);
  c.dropped_slow = read(slow_);
  if (discovery_ != nullptr) discovery_->count(c);
  return c;
}

// ---- gateways ------------------------------------------------------------------------------------------------------

void overlay_bus::attach(overlay_passage& to) {
  const std::lock_guard lock(passages_mutex_);
  passages_.push_back(&to);
}

void overlay_bus::detach(overlay_passage& from) noexcept {
  const std::lock_guard lock(passages_mutex_);
  std::erase(passages_, &from);
}

overlay_bus::handed_on overlay_bus::hand_on(const overlay_parcel& what) noexcept try {
  if (what.broadcast.size() + overlay_wire_bytes + envelope_head_bytes >
          frame_bytes_max_.load(std::memory_order_relaxed) ||
      what.compartments == 0xff) {
    return handed_on::not_possible;
  }
  const std::shared_lock lock(ending_);
  if (ended_) return handed_on::not_possible;
  std::string broadcast = what.broadcast;
  broadcast[1] = static_cast<char>(what.compartments + 1);
  return driver_->hand_on(what.id, std::move(broadcast)) ? handed_on::now : handed_on::before;
} catch (const std::bad_alloc&) {
  return handed_on::not_possible;
}

// ---- its own thread ------------------------------------------------------------------------------------------------

/// To the bus, and to gateways; to the bus alone what has no id, for it was broadcast to nobody.
void overlay_bus::hand_over(const broadcast_id& id, const std::string& broadcast, bool has_id) noexcept {
  std::string_view subject;
  std::string_view frame;
  if (!read_broadcast(broadcast, subject, frame)) return;
  if (has_id) {
    // First, for it waits for nobody.
    const std::lock_guard lock(passages_mutex_);
    const overlay_parcel what{id, broadcast, static_cast<std::uint8_t>(broadcast[1]), subject};
    for (overlay_passage* const p : passages_) p->passing(*this, what);
  }
  const std::span<const std::byte> bytes = std::as_bytes(std::span(frame.data(), frame.size()));
  if (broadcast[1] == 0) {
    sink_.arrived(subject, bytes);
  } else {
    sink_.arrived_from_abroad(subject, bytes);
  }
}

void overlay_bus::run() {
  std::unique_lock lock(mutex_);
  auto next_tick = std::chrono::steady_clock::now() + look_every;
  while (!stopping_) {
    if (!outgoing_.empty()) {
      queued q = std::move(outgoing_.front());
      outgoing_.pop_front();
      lock.unlock();
      if (monotonic_ns() - q.since_ns > time_to_live_ns_) {
        expired_.fetch_add(1, std::memory_order_relaxed);
      } else {
        const std::size_t head = broadcast_head_bytes + static_cast<unsigned char>(q.broadcast[0]);
        bool has_id = false;
        sink_.leaving(std::as_writable_bytes(std::span(q.broadcast).subspan(head)));
        try {
          q.id = driver_->broadcast(q.broadcast);
          has_id = true;
          sent_.fetch_add(1, std::memory_order_relaxed);
        } catch (const std::bad_alloc&) {
          lost_.fetch_add(1, std::memory_order_relaxed);
        }
        hand_over(q.id, q.broadcast, has_id);
      }
      lock.lock();
    } else if (!incoming_.empty()) {
      const queued q = std::move(incoming_.front());
      incoming_.pop_front();
      lock.unlock();
      hand_over(q.id, q.broadcast, true);
      lock.lock();
    } else {
      changed_.wait_until(lock, next_tick);
    }
    if (std::chrono::steady_clock::now() < next_tick) continue;
    next_tick = std::chrono::steady_clock::now() + look_every;
    lock.unlock();
    sink_.tick();
    lock.lock();
  }
  lost_.fetch_add(outgoing_.size(), std::memory_order_relaxed);
}

// ---- the network ---------------------------------------------------------------------------------------------------

void overlay_bus::peer_up(const peer& who) {
  const std::lock_guard hearing(hearing_);
  if (!hears_) return;
  frame_bytes_max_.store(channel_->bytes_max(), std::memory_order_relaxed);  // another node's, perhaps
  const peer_id id{who.node, who.incarnation};
  connected_[who.node] = who.incarnation;
  std::vector<std::vector<std::byte>> held;
  {
    const std::lock_guard lock(book_mutex_);
    const auto found = book_.find(who.node);
    if (found != book_.end()) {
      held = std::exchange(found->second.held, {});
      if (monotonic_ns() - found->second.called_ns >= call_again_ns) held.clear();  // nobody waits for it any more
    }
  }
  // Where this node listens, so that the peer can say it to others.
  overlay_envelope mine;
  const peer self = channel_->self();
  const std::optional<curve_key> key = network_->public_key();
  for (std::string& endpoint : own_endpoints()) {
    mine.places.push_back({{self.node, self.incarnation}, std::move(endpoint), key});
  }
  static_cast<void>(channel_->send(who, encode_envelope(mine)));
  for (const std::vector<std::byte>& bytes : held) static_cast<void>(channel_->send(who, bytes));
  driver_->learn_contact(id);
}

void overlay_bus::peer_down(const peer& who) {
  const std::lock_guard hearing(hearing_);
  if (!hears_) return;
  const auto found = connected_.find(who.node);
  if (found != connected_.end() && found->second == who.incarnation) connected_.erase(found);
  driver_->link_down({who.node, who.incarnation});
}

std::vector<std::string> overlay_bus::own_endpoints() const {
  std::vector<std::string> all = network_->endpoints();
  std::erase_if(all, [](const std::string& endpoint) { return !can_be_called(endpoint); });
  return all;
}

void overlay_bus::announce_when_due(std::uint64_t now_ns, bool alone) noexcept try {
  if (!discovery_->due(now_ns, alone)) return;
  const peer self = channel_->self();
  discovery_->announce({{self.node, self.incarnation}, own_endpoints(), network_->public_key()});
} catch (const std::bad_alloc&) {  // in a few seconds again
}

/// About once a second. Whom discovery has found is called, and a contact once there is a link: so nobody who was made up is ever one.
void overlay_bus::tick(std::uint64_t now_ns) {
  if (discovery_ == nullptr) return;
  const std::lock_guard hearing(hearing_);
  if (!hears_) return;
  const std::size_t neighbors = driver_->neighbors().size();
  if (neighbors >= hyparview_options{}.active_max) ++full_ticks_;
  std::size_t left = found_to_call(neighbors, connected_.size(), full_ticks_);
  for (const node_sighting& s : discovery_->take_found()) {
    if (left == 0) break;
    if (connected_.contains(s.who.node)) continue;
    for (const std::string& endpoint : s.endpoints) network_->call(endpoint, s.key);
    --left;
  }
  announce_when_due(now_ns, neighbors == 0);
}

void overlay_bus::received(const peer& from, std::span<const std::byte> bytes) {
  const std::lock_guard hearing(hearing_);
  if (!hears_) return;
  overlay_envelope e;
  if (!decode_envelope(bytes, e)) {
    slow_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  learn(e.places);
  if (!e.message.empty()) static_cast<void>(driver_->received({from.node, from.incarnation}, e.message));
}

/// Of several that have ever been said, the last few are kept: a node may listen at a new place in its next life.
void overlay_bus::learn(const std::vector<overlay_envelope::place>& places) {
  const std::uint64_t self = channel_->self().node;
  const std::lock_guard lock(book_mutex_);
  for (const overlay_envelope::place& p : places) {
    if (p.who.node == self || !can_be_called(p.endpoint)) continue;
    if (book_.size() >= book_max && !book_.contains(p.who.node)) continue;
    std::vector<way_to>& known = book_[p.who.node].ways;
    way_to way{p.endpoint, p.key};
    if (std::find(known.begin(), known.end(), way) != known.end()) continue;
    constexpr std::size_t ways_max = 4;
    if (known.size() >= ways_max) known.erase(known.begin());
    known.push_back(std::move(way));
  }
}

std::vector<overlay_envelope::place> overlay_bus::places_in(std::span<const std::byte> message) {
  std::vector<overlay_envelope::place> places;
  overlay_message m;
  if (!decode_overlay(message, m)) return places;
  m.peers.push_back(m.who);
  const peer self = channel_->self();
  // The message itself goes in any case: an answer that was too large for its places would be none.
  const std::size_t most = channel_->bytes_max();
  std::size_t bytes = envelope_head_bytes + message.size();
  const std::lock_guard lock(book_mutex_);
  for (const peer_id& named : m.peers) {
    const auto found = book_.find(named.node);
    if (found == book_.end() || named.node == self.node) continue;
    for (const way_to& way : found->second.ways) {
      const std::size_t more = place_head_bytes + (way.key ? way.key->size() : 0) + way.endpoint.size();
      if (places.size() >= envelope_places_max || bytes + more > most) continue;
      bytes += more;
      places.push_back({named, way.endpoint, way.key});
    }
  }
  return places;
}

frame_fate overlay_bus::send(const peer_id& to, const frame_header& header, std::span<const std::byte> payload) noexcept
    try {
  overlay_envelope e;
  if (header.kind == frame_kind::gossip) e.places = places_in(payload);
  e.message = payload;
  std::vector<std::byte> bytes = encode_envelope(e);
  switch (channel_->send({to.node, to.incarnation}, bytes)) {
    case peer_fate::sent: return frame_fate::accepted;
    case peer_fate::full: return frame_fate::no_credit;
    case peer_fate::too_large: return frame_fate::too_large;
    case peer_fate::closed: return frame_fate::closed;
    case peer_fate::down:
    case peer_fate::undeclared: break;
  }
  // Only what makes neighbours waits for a connection; a broadcast is for those that there are.
  if (header.kind != frame_kind::gossip) return frame_fate::peer_down;
  return call(to, std::move(bytes));
} catch (const std::bad_alloc&) {
  return frame_fate::no_credit;
}

/// The overlay wants to speak with a node that this one is not connected with.
frame_fate overlay_bus::call(const peer_id& who, std::vector<std::byte> bytes) {
  std::vector<way_to> ways;
  {
    const std::lock_guard lock(book_mutex_);
    if (const auto found = book_.find(who.node); found != book_.end()) ways = found->second.ways;
  }
  std::erase_if(ways, [&](const way_to& way) { return !network_->may_call(who.node, way.key); });
  if (ways.empty()) return frame_fate::no_route;
  {
    const std::lock_guard lock(book_mutex_);
    acquaintance& a = book_[who.node];
    const std::uint64_t now_ns = monotonic_ns();
    const bool waits = a.called_ns != 0 && now_ns - a.called_ns < call_again_ns;
    if (waits && a.held.empty()) return frame_fate::peer_down;  // it was there meanwhile, and is gone
    if (!waits) a.held.clear();                                 // of a call that has led nowhere
    if (a.held.size() >= held_max) return frame_fate::no_credit;
    a.held.push_back(std::move(bytes));
    if (waits) return frame_fate::accepted;
    a.called_ns = now_ns;
  }
  for (const way_to& way : ways) network_->call(way.endpoint, way.key);
  return frame_fate::accepted;
}

}  // namespace karyon::detail
