#include "nerve/node_services.hpp"

#include <algorithm>
#include <chrono>
#include <new>
#include <utility>

#include <karyon/cell/signals.hpp>

#include "cell/backlog.hpp"
#include "core/log.hpp"
#include "nerve/wire_types.hpp"
#include "sched/parker.hpp"

namespace karyon::detail {

namespace {

constexpr std::uint8_t flag_absent = 1;
constexpr std::uint8_t flag_signal = 2;
constexpr std::size_t hash_bytes = 8;
constexpr std::size_t length_bytes = 2;
constexpr std::size_t head_bytes_max = 300;
constexpr std::chrono::seconds tick_every{1};
constexpr std::chrono::milliseconds tell_again_after{50};

void write_hash(std::uint64_t hash, std::byte* to) noexcept {
  for (std::size_t i = 0; i < hash_bytes; ++i) to[i] = static_cast<std::byte>(hash >> (8 * i));
}

std::uint64_t read_hash(std::span<const std::byte> from) noexcept {
  std::uint64_t hash = 0;
  for (std::size_t i = 0; i < hash_bytes; ++i) hash |= std::to_integer<std::uint64_t>(from[i]) << (8 * i);
  return hash;
}

peer as_peer(const peer_id& id) noexcept { return {id.node, id.incarnation}; }

}  // namespace

class node_services::channel final : public peer_channel {
public:
  channel(node_services& all, std::uint64_t hash, std::shared_ptr<service> s) noexcept
      : all_(all), hash_(hash), service_(std::move(s)) {}
  ~channel() override { all_.close(hash_, service_); }
  [[nodiscard]] peer self() const noexcept override {
    const std::shared_lock lock(all_.port_mutex_);
    return as_peer(all_.self_);
  }
  [[nodiscard]] std::size_t bytes_max() const noexcept override {
    const std::shared_lock lock(all_.port_mutex_);
    return all_.payload_bytes_max_ - hash_bytes;
  }
  [[nodiscard]] peer_fate send(const peer& to, std::span<const std::byte> bytes) noexcept override {
    return all_.send(to, hash_, bytes);
  }
  void send_signal(std::span<const peer> to, std::span<const std::byte> head, const signal& s,
                   std::span<peer_fate> became) noexcept override {
    all_.send_signal(to, hash_, head, s, became);
  }

private:
  node_services& all_;
  const std::uint64_t hash_;
  const std::shared_ptr<service> service_;
};

/// One that was read, and is copied for each receiver.
class node_services::read_signal final : public arrived_signal {
public:
  read_signal(signal& s, const wire_type& t) noexcept : signal_(s), type_(t) {}
  /// After the call: the payload's destructor is the user's.
  ~read_signal() { deferred_discards::discard(&signal_, errc::dead); }
  [[nodiscard]] signal* make_for(const class_info& receiver) override {
    if (&receiver != last_) {
      last_ = &receiver;
      ops_ = receiver.find_tell(type_.type);
    }
    return ops_ != nullptr ? type_.copy(*ops_, signal_) : nullptr;
  }

private:
  signal& signal_;
  const wire_type& type_;
  const class_info* last_ = nullptr;
  const signal_ops* ops_ = nullptr;
};

node_services::~node_services() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

// ---- the node's side -----------------------------------------------------------------------------------------------

bool node_services::attach(service_port& port) {
  const std::unique_lock lock(port_mutex_);
  if (port_ != nullptr || port.payload_bytes_max() < frame_bytes_least) return false;
  port_ = &port;
  self_ = port.self();
  payload_bytes_max_ = port.payload_bytes_max();
  return true;
}

void node_services::detach() noexcept {
  {
    const std::unique_lock lock(port_mutex_);
    port_ = nullptr;
  }
  {
    const std::lock_guard lock(mutex_);
    up_.clear();
    ++change_;
    for (const arrival& a : waiting_) lose(a);
    waiting_.clear();
    waiting_bytes_ = 0;
  }
  changed_.notify_all();
}

void node_services::link_up(const peer_id& peer) {
  {
    const std::lock_guard lock(mutex_);
    up_[peer.node] = {peer.incarnation, ++change_};
  }
  changed_.notify_all();
}

void node_services::link_down(const peer_id& peer) noexcept {
  {
    const std::lock_guard lock(mutex_);
    const auto found = up_.find(peer.node);
    if (found == up_.end() || found->second.incarnation != peer.incarnation) return;
    up_.erase(found);
    ++change_;
  }
  changed_.notify_all();
}

void node_services::received(const peer_id& from, const frame_header& header, std::span<const std::byte> payload) {
  if (payload.size() < hash_bytes) {
    counts_.dropped.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  counts_.received.fetch_add(1, std::memory_order_relaxed);
  arrival a{from, 0, read_hash(payload), (header.flags & flag_absent) != 0, {}};
  payload = payload.subspan(hash_bytes);
  if ((header.flags & flag_signal) != 0) {
    counts_.signals_received.fetch_add(1, std::memory_order_relaxed);
    a.is_signal = true;
    a.type = header.type;
    if (header.ttl_us != 0) a.until_ns = monotonic_ns() + std::uint64_t{header.ttl_us} * 1000;
  }
  bool nobody = false;
  bool taken = false;
  {
    const std::lock_guard lock(mutex_);
    const auto found = up_.find(from.node);
    nobody = !thread_.joinable();  // no service was ever opened here
    if (found != up_.end() && found->second.incarnation == from.incarnation && !nobody &&
        waiting_bytes_ + payload.size() + sizeof(arrival) <= queue_bytes_max &&
        found->second.waiting_bytes + payload.size() + sizeof(arrival) <= queue_bytes_of_one) {
      a.turn = found->second.turn;
      a.bytes.assign(payload.begin(), payload.end());
      waiting_.push_back(std::move(a));
      waiting_bytes_ += payload.size() + sizeof(arrival);
      found->second.waiting_bytes += payload.size() + sizeof(arrival);
      taken = true;
    }
  }
  if (taken) return changed_.notify_one();
  if (nobody && !a.absent) {
    if (a.is_signal) counts_.signals_lost.fetch_add(1, std::memory_order_relaxed);
    return say_absent(from, a.service);
  }
  lose(a);
}

void node_services::lose(const arrival& a) noexcept {
  counts_.dropped.fetch_add(1, std::memory_order_relaxed);
  if (a.is_signal) counts_.signals_lost.fetch_add(1, std::memory_order_relaxed);
}

bool node_services::decline(service_port& by, const peer_id& to, const frame_header& header,
                            std::span<const std::byte> payload) noexcept {
  if (payload.size() < hash_bytes) return false;
  if ((header.flags & flag_absent) == 0) static_cast<void>(by.send_service(to, flag_absent, payload.first(hash_bytes)));
  return true;
}

std::vector<std::string> node_services::endpoints() const {
  const std::shared_lock lock(port_mutex_);
  return port_ != nullptr ? port_->endpoints() : std::vector<std::string>();
}

void node_services::call(const std::string& endpoint, const std::optional<curve_key>& key) {
  const std::shared_lock lock(port_mutex_);
  if (port_ != nullptr) port_->call(endpoint, key);
}

std::optional<curve_key> node_services::public_key() const {
  const std::shared_lock lock(port_mutex_);
  return port_ != nullptr ? port_->public_key() : std::nullopt;
}

bool node_services::may_call(std::uint64_t node, const std::optional<curve_key>& key) const {
  const std::shared_lock lock(port_mutex_);
  if (port_ == nullptr || port_->public_key().has_value() != key.has_value()) return false;
  return !key || port_->allows(*key, node);
}

// ---- the services' side --------------------------------------------------------------------------------------------

std::unique_ptr<peer_channel> node_services::open(std::string_view name, peer_listener& listener) {
  const std::uint64_t hash = wire_hash(name);
  auto s = std::make_shared<service>();
  s->name = name;
  s->listener = &listener;
  auto made = std::make_unique<channel>(*this, hash, s);
  bool fresh = false;
  {
    const std::lock_guard lock(mutex_);
    if (!stopping_ && services_.emplace(hash, s).second) {
      fresh = opened_ = true;
      if (!thread_.joinable()) {
        try {
          thread_ = std::thread([this] { run(); });
        } catch (...) {
          services_.erase(hash);
          throw;
        }
      }
    }
  }
  if (!fresh) return nullptr;
  changed_.notify_all();
  return made;
}

/// After it no call of the listener runs; one that runs now is waited for.
void node_services::close(std::uint64_t hash, const std::shared_ptr<service>& s) noexcept {
  {
    const std::lock_guard lock(mutex_);
    const auto found = services_.find(hash);
    if (found != services_.end() && found->second == s) services_.erase(found);
  }
  const std::lock_guard lock(s->calling);
  s->closed = true;
  for (const arrival& a : s->held) lose(a);
  s->held.clear();
  s->held_bytes = 0;
  s->held_of.clear();
}

peer_fate node_services::send(const peer& to, std::uint64_t hash, std::span<const std::byte> bytes) noexcept {
  peer_fate fate = peer_fate::closed;
  try {
    // One frame at a time is written, and sent before the next one is begun; nothing that sends calls this again.
    static thread_local std::vector<std::byte> frame;
    frame.resize(hash_bytes + bytes.size());
    write_hash(hash, frame.data());
    std::copy(bytes.begin(), bytes.end(), frame.begin() + hash_bytes);
    const std::shared_lock lock(port_mutex_);
    if (port_ == nullptr) {
      fate = peer_fate::closed;
    } else if (frame.size() > payload_bytes_max_) {
      fate = peer_fate::too_large;
    } else {
      fate = fate_of_service(port_->send_service({to.node, to.incarnation}, 0, frame));
    }
  } catch (const std::bad_alloc&) {
    fate = peer_fate::full;
  }
  (fate == peer_fate::sent ? counts_.sent : counts_.refused).fetch_add(1, std::memory_order_relaxed);
  return fate;
}

void node_services::send_signal(std::span<const peer> to, std::uint64_t hash, std::span<const std::byte> head,
                                const signal& s, std::span<peer_fate> became) noexcept {
  std::fill(became.begin(), became.end(), peer_fate::closed);
  std::byte before[hash_bytes + length_bytes + head_bytes_max];
  const std::size_t length = std::min(head.size(), head_bytes_max);
  write_hash(hash, before);
  before[hash_bytes] = static_cast<std::byte>(length & 0xffU);
  before[hash_bytes + 1] = static_cast<std::byte>(length >> 8U);
  std::copy_n(head.begin(), length, before + hash_bytes + length_bytes);
  try {
    const std::shared_lock lock(port_mutex_);
    if (port_ != nullptr) {
      port_->send_service_signal(to, flag_signal, std::span(before).first(hash_bytes + length_bytes + length), s,
                                 became);
    }
  } catch (const std::bad_alloc&) {
    std::fill(became.begin(), became.end(), peer_fate::full);
  }
  for (const peer_fate fate : became) {
    const bool sent = fate == peer_fate::sent;
    (sent ? counts_.sent : counts_.refused).fetch_add(1, std::memory_order_relaxed);
    (sent ? counts_.signals_sent : counts_.signals_refused).fetch_add(1, std::memory_order_relaxed);
  }
}

void node_services::say_absent(const peer_id& to, std::uint64_t hash) noexcept {
  std::byte frame[hash_bytes];
  write_hash(hash, frame);
  const std::shared_lock lock(port_mutex_);
  // If it is lost, the peer's next frame is answered in the same way.
  if (port_ != nullptr) static_cast<void>(port_->send_service(to, flag_absent, frame));
}

// ---- the thread ----------------------------------------------------------------------------------------------------

/// What a listener throws (std::bad_alloc, or the user's) costs what it was told, and nothing else: false then. Who is up or down it is
/// told again.
template <class F>
bool node_services::call(F&& f) noexcept {
  try {
    f();
    return true;
  } catch (...) {
    counts_.failed.fetch_add(1, std::memory_order_relaxed);
    if (complaints_.allow(monotonic_ns())) log(log_level::err, "a service between nodes has thrown, and goes on");
    return false;
  }
}

void node_services::run() {
  // Nothing here may end the process: where memory fails, it is tried again.
  while (true) {
    try {
      return serve();
    } catch (const std::bad_alloc&) {
      counts_.failed.fetch_add(1, std::memory_order_relaxed);
    }
    std::unique_lock lock(mutex_);
    opened_ = true;  // who is up may not have been told
    static_cast<void>(changed_.wait_for(lock, std::chrono::milliseconds(50), [this] { return stopping_; }));
  }
}

void node_services::serve() {
  using clock = std::chrono::steady_clock;
  auto next_tick = clock::now() + tick_every;
  // A listener that could not be told all is told again then: others, and the ticks, do not wait for it.
  auto again = clock::time_point::max();
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (told_ != change_ || opened_ || clock::now() >= again) {
      told_ = change_;
      opened_ = false;
      again = clock::time_point::max();
      const services all = services_;
      lock.unlock();
      bool all_told = true;
      for (const auto& [hash, s] : all) all_told = reconcile(*s) && all_told;
      lock.lock();
      if (!all_told) again = clock::now() + tell_again_after;
    } else if (!waiting_.empty()) {
      arrival a = std::move(waiting_.front());
      waiting_.pop_front();
      waiting_bytes_ -= a.bytes.size() + sizeof(arrival);
      const auto whose = up_.find(a.from.node);
      if (whose != up_.end() && whose->second == presence{a.from.incarnation, a.turn}) {
        whose->second.waiting_bytes -= a.bytes.size() + sizeof(arrival);
      }
      lock.unlock();
      const bool told = deliver(std::move(a));
      lock.lock();
      if (!told) again = std::min(again, clock::now() + tell_again_after);
    } else {
      static_cast<void>(changed_.wait_until(lock, std::min(next_tick, again)));
    }
    if (clock::now() < next_tick) continue;
    next_tick = clock::now() + tick_every;
    const services all = services_;
    lock.unlock();
    for (const auto& [hash, s] : all) {
      const std::lock_guard calling(s->calling);
      if (!s->closed) call([&, &to = *s] { to.listener->tick(monotonic_ns()); });
    }
    lock.lock();
  }
}

/// The listener knows those that are up, as of now.
bool node_services::reconcile(service& s) {
  presences now;
  {
    const std::lock_guard lock(mutex_);
    now = up_;
  }
  deferred_discards after_the_calls;  // of what was held; as in deliver()
  const std::lock_guard calling(s.calling);
  if (s.closed) return true;
  bool all_told = true;
  for (auto i = s.known.begin(); i != s.known.end();) {
    const auto found = now.find(i->first);
    if (found != now.end() && found->second == i->second) {
      ++i;
      continue;
    }
    const peer gone{i->first, i->second.incarnation};
    // Also of whom it could not take in: a part of it may be there. That is said once.
    const bool is_told = !(i->second.told || i->second.owed) || call([&] { s.listener->peer_down(gone); });
    if (i->second.told && !is_told) {
      all_told = false;
      ++i;
      continue;
    }
    i = s.known.erase(i);
  }
  for (const auto& [node, there] : now) {
    const auto [place, fresh] = s.known.emplace(node, there);
    presence& p = place->second;
    if (!(p == there) || (!fresh && !p.owed))
      continue;  // of another turn, which the listener could not be told to be over
    p.told = call([&, n = node, life = there.incarnation] { s.listener->peer_up({n, life}); });
    p.owed = !p.told;
    all_told = all_told && p.told;
  }
  return deliver_held(s) && all_told;
}

bool node_services::deliver(arrival a) {
  std::shared_ptr<service> s;
  {
    const std::lock_guard lock(mutex_);
    const auto found = services_.find(a.service);
    if (found != services_.end()) s = found->second;
  }
  if (s == nullptr) {
    if (a.is_signal) counts_.signals_lost.fetch_add(1, std::memory_order_relaxed);
    if (!a.absent) say_absent(a.from, a.service);
    return true;
  }
  deferred_discards after_the_call;  // what is pushed out of a mailbox may be the user's to destroy
  const std::lock_guard calling(s->calling);
  if (s->closed) {
    lose(a);
    return true;
  }
  return hand_over(*s, std::move(a));
}

/// What comes before the listener knows its sender waits until it does; so does all that comes behind it.
bool node_services::hand_over(service& s, arrival a) {
  const auto found = s.known.find(a.from.node);
  if (found == s.known.end() || !(found->second == presence{a.from.incarnation, a.turn})) {
    // The listener could not be told yet that its sender is up, or that the link before is over; or this link is over.
    const bool waits = is_up(a);
    waits ? hold(s, std::move(a)) : lose(a);
    return !waits;
  }
  presence& whose = found->second;
  const peer from = as_peer(a.from);
  if (!whose.owed && !whose.told && !a.absent) {
    whose.told = call([&] { s.listener->peer_up(from); });
    whose.owed = !whose.told;
  }
  if (whose.owed) {
    hold(s, std::move(a));
    return false;
  }
  if (a.absent) {
    if (whose.told) whose.told = !call([&] { s.listener->peer_down(from); });
  } else if (!a.is_signal) {
    call([&] { s.listener->received(from, a.bytes); });
  } else if (!call([&] { deliver_signal(s, a); })) {
    counts_.signals_lost.fetch_add(1, std::memory_order_relaxed);
  }
  return true;
}

bool node_services::is_up(const arrival& a) {
  const std::lock_guard lock(mutex_);
  const auto found = up_.find(a.from.node);
  return found != up_.end() && found->second == presence{a.from.incarnation, a.turn};
}

void node_services::hold(service& s, arrival a) noexcept {
  const std::size_t bytes = a.bytes.size() + sizeof(arrival);
  try {
    std::size_t& of_sender = s.held_of[a.from.node];
    if (of_sender + bytes > held_bytes_max - s.held_bytes) return lose(a);
    s.held.push_back(std::move(a));
    s.held_bytes += bytes;
    of_sender += bytes;
  } catch (const std::bad_alloc&) {  // and `a` is what it was
    lose(a);
  }
}

/// In the order in which they came; some may have to wait on.
bool node_services::deliver_held(service& s) {
  std::deque<arrival> held;
  held.swap(s.held);
  s.held_bytes = 0;
  s.held_of.clear();
  bool all_told = true;
  for (arrival& a : held) all_told = hand_over(s, std::move(a)) && all_told;
  return all_told;
}

/// Once for all cells of this node that it is for.
void node_services::deliver_signal(service& to, const arrival& a) {
  if (a.until_ns != 0 && monotonic_ns() >= a.until_ns) return lose(a);
  std::span<const std::byte> rest = a.bytes;
  if (rest.size() < length_bytes) return lose(a);
  const std::size_t length = std::to_integer<std::size_t>(rest[0]) | (std::to_integer<std::size_t>(rest[1]) << 8U);
  rest = rest.subspan(length_bytes);
  if (rest.size() < length) return lose(a);
  const wire_type* type = nullptr;
  signal* read = nullptr;
  try {
    const std::shared_lock lock(port_mutex_);
    if (port_ != nullptr) read = port_->read_service_signal(a.from, a.type, rest.subspan(length), type);
  } catch (...) {  // std::bad_alloc, or what a field throws
  }
  if (read == nullptr) return lose(a);
  read_signal s(*read, *type);
  struct counted {
    const arrived_signal& of;
    counts& to;
    ~counted() {
      to.delivered.fetch_add(of.delivered, std::memory_order_relaxed);
      to.undelivered.fetch_add(of.undelivered, std::memory_order_relaxed);
    }
  } counts_what_became{s, counts_};
  to.listener->signal_received(as_peer(a.from), rest.first(length), s);
}

}  // namespace karyon::detail
