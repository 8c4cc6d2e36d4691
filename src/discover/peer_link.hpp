#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

#include "cell/peer_channel.hpp"
#include "discover/replica.hpp"

namespace karyon::detail {

/// Whose changes go over a link, and who learns of others'.
class peer_sink {
public:
  /// One call at a time, holding no lock.
  virtual void remote_changed(std::span<const replica_change> changes) = 0;
  virtual void asked_to_remove(std::uint64_t by, std::string_view key) = 0;

protected:
  ~peer_sink() = default;
};

/// Carries out what a scope's replica decides: between the scope's table and its channel to other nodes.
///
/// The log lock, the last in the order of locks, is held while a change gets its number and its frames are handed over, so that they
/// leave in the order of their numbers. No user code runs under it.
class peer_link final : public peer_listener {
public:
  /// Null if the network has no place for a service of this name. `epoch`: not 0, another for each life of a scope.
  [[nodiscard]] static std::unique_ptr<peer_link> open(peer_network& network, std::string_view service,
                                                       std::uint64_t epoch, peer_sink& sink);
  explicit peer_link(peer_sink& sink) noexcept : sink_(sink) {}
  virtual ~peer_link();

  /// Any thread; under the lock of the scope's shard, which gives the order. Without memory other nodes are not told (logged).
  void local(std::span<const replica_op> ops) noexcept;
  void leave() noexcept;
  void ask_remove(std::uint64_t node, std::string_view key);
  /// This node's number, as of now.
  [[nodiscard]] std::uint64_t node() const noexcept { return channel_->self().node; }

  void peer_up(const peer& who) override;
  void peer_down(const peer& who) override;
  void received(const peer& from, std::span<const std::byte> bytes) override;
  void tick(std::uint64_t now_ns) override;

private:
  template <class Event>
  void take(Event&& event);
  void send(const replica_effects& fx) noexcept;

  peer_sink& sink_;
  std::mutex log_;
  std::unique_ptr<replica> replica_;       // log_
  std::unique_ptr<peer_channel> channel_;  // set once, and taken away at the end, under log_
};

}  // namespace karyon::detail
