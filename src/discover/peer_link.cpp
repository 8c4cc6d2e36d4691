#include "discover/peer_link.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "core/log.hpp"

namespace karyon::detail {

namespace {

std::size_t frame_bytes_of(const peer_channel& c) noexcept {
  return std::clamp<std::size_t>(c.bytes_max(), 512, replica_limits{}.frame_bytes);
}

// What stands before a signal of the user's: one byte, and
//   1  the name of a group: for all its members of the receiving node
//   2  the number of a cell, 8 bytes, little-endian
constexpr std::byte for_group{1};
constexpr std::byte for_cell{2};

}  // namespace

std::unique_ptr<peer_link> peer_link::open(peer_network& network, std::string_view service, std::uint64_t epoch,
                                           peer_sink& sink) {
  auto link = std::make_unique<peer_link>(sink);
  // Calls of the listener wait until there is something to call.
  const std::lock_guard lock(link->log_);
  link->channel_ = network.open(service, *link);
  if (link->channel_ == nullptr) {
    log(log_level::warn, "discovery: the network has no place for " + std::string(service) + ": the scope stays local");
    return nullptr;
  }
  replica_limits limits;
  limits.frame_bytes = frame_bytes_of(*link->channel_);
  link->replica_ = std::make_unique<replica>(epoch, limits);
  return link;
}

peer_link::~peer_link() {
  { const std::unique_lock last(in_use_); }  // who sends by it; nobody begins to
  std::unique_ptr<peer_channel> ends;
  {
    // A call of the listener that runs now sends by it, or finds that it is gone.
    const std::lock_guard lock(log_);
    ends = std::move(channel_);
  }
  ends.reset();  // without the lock, since such a call is waited for; none runs from here on
}

void peer_link::send(const replica_effects& fx) noexcept {
  // What is refused is found missing by the peer, from the next number or the next digest.
  for (const replica_effects::frame& f : fx.sends) static_cast<void>(channel_->send(f.to, *f.bytes));
}

void peer_link::local(std::span<const replica_op> ops) noexcept {
  const std::lock_guard lock(log_);
  replica_effects fx;
  try {
    replica_->local(ops, fx);
  } catch (const std::bad_alloc&) {
    log(log_level::err, "discovery: no memory for a change: other nodes are not told of it");
  }
  send(fx);
}

void peer_link::leave() noexcept {
  const std::lock_guard lock(log_);
  replica_effects fx;
  try {
    replica_->leave(fx);
  } catch (const std::bad_alloc&) {
    return;  // the channel's end says it as well
  }
  send(fx);
}

void peer_link::ask_remove(std::uint64_t node, std::string_view key) {
  const std::lock_guard lock(log_);
  replica_effects fx;
  replica_->ask_remove(node, key, fx);
  send(fx);
}

void peer_link::send_to_group(std::span<const std::uint64_t> nodes, std::string_view group, const signal& s,
                              std::vector<peer_fate>& became) {
  std::vector<peer> to;
  to.reserve(nodes.size());
  {
    const std::lock_guard lock(log_);
    for (const std::uint64_t n : nodes) to.push_back({n, replica_->incarnation_of(n)});
  }
  std::vector<std::byte> head{for_group};
  const auto* const name = reinterpret_cast<const std::byte*>(group.data());
  head.insert(head.end(), name, name + group.size());
  became.resize(to.size());
  channel_->send_signal(to, head, s, became);
}

peer_fate peer_link::send_to_cell(std::uint64_t node, std::uint64_t number, const signal& s) noexcept {
  peer to{node, 0};
  {
    const std::lock_guard lock(log_);
    to.incarnation = replica_->incarnation_of(node);
  }
  std::byte head[9]{for_cell};
  for (std::size_t i = 0; i < 8; ++i) head[1 + i] = static_cast<std::byte>(number >> (8 * i));
  peer_fate fate = peer_fate::closed;
  channel_->send_signal({&to, 1}, head, s, {&fate, 1});
  return fate;
}

void peer_link::signal_received(const peer&, std::span<const std::byte> head, arrived_signal& s) {
  if (!head.empty() && head[0] == for_group) {
    return sink_.signal_for_group({reinterpret_cast<const char*>(head.data()) + 1, head.size() - 1}, s);
  }
  if (head.size() == 9 && head[0] == for_cell) {
    std::uint64_t number = 0;
    for (std::size_t i = 0; i < 8; ++i) number |= std::to_integer<std::uint64_t>(head[1 + i]) << (8 * i);
    return sink_.signal_for_cell(number, s);
  }
  ++s.undelivered;
}

template <class Event>
void peer_link::take(Event&& event) {
  replica_effects fx;
  owed_.reserve(owed_.size() + 1);  // before the replica takes anything
  // Also where the event throws: what the replica has taken, the table must have.
  const auto own = [&]() noexcept {
    if (!fx.changes.empty()) owed_.push_back(std::move(fx.changes));
  };
  try {
    const std::lock_guard lock(log_);
    if (replica_ == nullptr || channel_ == nullptr) return;  // the network had no place for it, or the link ends
    event(fx);
    send(fx);
  } catch (...) {
    own();
    throw;
  }
  own();
  hand_over();
  for (const replica_effects::request& r : fx.requests) sink_.asked_to_remove(r.node, r.key);
}

/// What the table has no memory for now is handed over with the next event, a tick at the latest.
void peer_link::hand_over() {
  while (!owed_.empty()) {
    std::vector<replica_change>& first = owed_.front();
    std::size_t done = 0;
    try {
      sink_.remote_changed(first, done);
    } catch (...) {
      first.erase(first.begin(), first.begin() + static_cast<std::ptrdiff_t>(done));
      throw;
    }
    owed_.erase(owed_.begin());
  }
}

void peer_link::peer_up(const peer& who) {
  take([&](replica_effects& fx) {
    replica_->set_frame_bytes(frame_bytes_of(*channel_));  // the network may have another node since
    replica_->peer_up(who, fx);
  });
}
void peer_link::peer_down(const peer& who) {
  take([&](replica_effects& fx) { replica_->peer_down(who, fx); });
}
void peer_link::received(const peer& from, std::span<const std::byte> bytes) {
  take([&](replica_effects& fx) { replica_->received(from, bytes, fx); });
}
void peer_link::tick(std::uint64_t) {
  take([&](replica_effects& fx) { replica_->tick(fx); });
}

}  // namespace karyon::detail
