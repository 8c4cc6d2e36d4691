#include "nerve/node_services.hpp"

#include <algorithm>
#include <chrono>
#include <new>
#include <utility>

#include "core/log.hpp"
#include "nerve/wire_types.hpp"
#include "sched/parker.hpp"

namespace karyon::detail {

namespace {

constexpr std::uint8_t flag_absent = 1;
constexpr std::size_t hash_bytes = 8;
constexpr std::chrono::seconds tick_every{1};

peer_fate fate_of(frame_fate f) noexcept {
  switch (f) {
    case frame_fate::accepted: return peer_fate::sent;
    case frame_fate::no_credit:
    case frame_fate::expired: return peer_fate::full;
    case frame_fate::no_route:
    case frame_fate::peer_down: return peer_fate::down;
    case frame_fate::too_large: return peer_fate::too_large;
    case frame_fate::closed: return peer_fate::closed;
  }
  return peer_fate::closed;
}

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

private:
  node_services& all_;
  const std::uint64_t hash_;
  const std::shared_ptr<service> service_;
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
  if (port_ != nullptr || port.payload_bytes_max() < 512 + hash_bytes) return false;
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
    counts_.dropped.fetch_add(waiting_.size(), std::memory_order_relaxed);
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
  if (nobody && !a.absent) return say_absent(from, a.service);
  counts_.dropped.fetch_add(1, std::memory_order_relaxed);
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

void node_services::call(const std::string& endpoint) {
  const std::shared_lock lock(port_mutex_);
  if (port_ != nullptr) port_->call(endpoint);
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
      fate = fate_of(port_->send_service({to.node, to.incarnation}, 0, frame));
    }
  } catch (const std::bad_alloc&) {
    fate = peer_fate::full;
  }
  (fate == peer_fate::sent ? counts_.sent : counts_.refused).fetch_add(1, std::memory_order_relaxed);
  return fate;
}

void node_services::say_absent(const peer_id& to, std::uint64_t hash) noexcept {
  std::byte frame[hash_bytes];
  write_hash(hash, frame);
  const std::shared_lock lock(port_mutex_);
  // If it is lost, the peer's next frame is answered in the same way.
  if (port_ != nullptr) static_cast<void>(port_->send_service(to, flag_absent, frame));
}

// ---- the thread ----------------------------------------------------------------------------------------------------

/// What a listener throws (std::bad_alloc, or the user's) costs what it was told, and nothing else.
template <class F>
void node_services::call(F&& f) noexcept {
  try {
    f();
  } catch (...) {
    counts_.failed.fetch_add(1, std::memory_order_relaxed);
    log(log_level::err, "a service between nodes has thrown, and goes on");
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
  auto next_tick = std::chrono::steady_clock::now() + tick_every;
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (told_ != change_ || opened_) {
      told_ = change_;
      opened_ = false;
      const services all = services_;
      lock.unlock();
      for (const auto& [hash, s] : all) reconcile(*s);
      lock.lock();
    } else if (!waiting_.empty()) {
      const arrival a = std::move(waiting_.front());
      waiting_.pop_front();
      waiting_bytes_ -= a.bytes.size() + sizeof(arrival);
      const auto whose = up_.find(a.from.node);
      if (whose != up_.end() && whose->second == presence{a.from.incarnation, a.turn}) {
        whose->second.waiting_bytes -= a.bytes.size() + sizeof(arrival);
      }
      lock.unlock();
      deliver(a);
      lock.lock();
    } else if (changed_.wait_until(lock, next_tick) == std::cv_status::timeout) {
      // Below.
    }
    if (std::chrono::steady_clock::now() < next_tick) continue;
    next_tick = std::chrono::steady_clock::now() + tick_every;
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
void node_services::reconcile(service& s) {
  presences now;
  {
    const std::lock_guard lock(mutex_);
    now = up_;
  }
  const std::lock_guard calling(s.calling);
  if (s.closed) return;
  for (auto i = s.known.begin(); i != s.known.end();) {
    const auto found = now.find(i->first);
    if (found != now.end() && found->second == i->second) {
      ++i;
      continue;
    }
    const peer gone{i->first, i->second.incarnation};
    const bool told = i->second.told;
    i = s.known.erase(i);
    if (told) call([&] { s.listener->peer_down(gone); });
  }
  for (const auto& [node, there] : now) {
    if (!s.known.emplace(node, there).second) continue;
    call([&, n = node, life = there.incarnation] { s.listener->peer_up({n, life}); });
  }
}

void node_services::deliver(const arrival& a) {
  std::shared_ptr<service> s;
  {
    const std::lock_guard lock(mutex_);
    const auto found = services_.find(a.service);
    if (found != services_.end()) s = found->second;
  }
  if (s == nullptr) {
    if (!a.absent) say_absent(a.from, a.service);
    return;
  }
  const std::lock_guard calling(s->calling);
  const auto found = s->known.find(a.from.node);
  if (s->closed || found == s->known.end() || !(found->second == presence{a.from.incarnation, a.turn})) {
    counts_.dropped.fetch_add(1, std::memory_order_relaxed);  // of a link that is over
    return;
  }
  bool& told = found->second.told;
  const peer from = as_peer(a.from);
  if (a.absent) {
    if (std::exchange(told, false)) call([&] { s->listener->peer_down(from); });
    return;
  }
  if (!std::exchange(told, true)) call([&] { s->listener->peer_up(from); });
  call([&] { s->listener->received(from, a.bytes); });
}

}  // namespace karyon::detail
