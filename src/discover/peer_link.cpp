#include "discover/peer_link.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "core/log.hpp"

namespace karyon::detail {

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
  limits.frame_bytes = std::clamp<std::size_t>(link->channel_->bytes_max(), 512, limits.frame_bytes);
  link->replica_ = std::make_unique<replica>(epoch, limits);
  return link;
}

peer_link::~peer_link() {
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

template <class Event>
void peer_link::take(Event&& event) {
  replica_effects fx;
  {
    const std::lock_guard lock(log_);
    if (replica_ == nullptr || channel_ == nullptr) return;  // the network had no place for it, or the link ends
    event(fx);
    send(fx);
  }
  if (!fx.changes.empty()) sink_.remote_changed(fx.changes);
  for (const replica_effects::request& r : fx.requests) sink_.asked_to_remove(r.node, r.key);
}

void peer_link::peer_up(const peer& who) {
  take([&](replica_effects& fx) { replica_->peer_up(who, fx); });
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
