#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cell/peer_channel.hpp"
#include "discover/replica.hpp"

namespace karyon::detail {

/// Whose changes go over a link, and who learns of others'.
class peer_sink {
public:
  /// One call at a time, holding no lock. Counts up `done` with each that is in the table: if it throws, it is called with the others
  /// again.
  virtual void remote_changed(std::span<const replica_change> changes, std::size_t& done) = 0;
  virtual void asked_to_remove(std::uint64_t by, std::string_view key) = 0;
  /// Of another node, for all members of a group here.
  virtual void signal_for_group(std::string_view group, arrived_signal& s) = 0;
  /// For the cell with this number, if it has something in this scope.
  virtual void signal_for_cell(std::uint64_t number, arrived_signal& s) = 0;

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
  /// While one of these lives the link stays. Taken under a lock of the scope's table, which the link is taken out of; no user code runs
  /// under it.
  [[nodiscard]] std::shared_lock<std::shared_mutex> stay() { return std::shared_lock(in_use_); }
  /// One frame for each node that has members of the group. Throws std::bad_alloc.
  void send_to_group(std::span<const std::uint64_t> nodes, std::string_view group, const signal& s,
                     std::vector<peer_fate>& became);
  [[nodiscard]] peer_fate send_to_cell(std::uint64_t node, std::uint64_t number, const signal& s) noexcept;
  /// This node's number, as of now.
  [[nodiscard]] std::uint64_t node() const noexcept { return channel_->self().node; }

  void peer_up(const peer& who) override;
  void peer_down(const peer& who) override;
  void received(const peer& from, std::span<const std::byte> bytes) override;
  void signal_received(const peer& from, std::span<const std::byte> head, arrived_signal& s) override;
  void tick(std::uint64_t now_ns) override;

private:
  template <class Event>
  void take(Event&& event);
  void send(const replica_effects& fx) noexcept;
  void hand_over();

  peer_sink& sink_;
  // Of the listener's calls: what the table has not taken yet, in order.
  std::vector<std::vector<replica_change>> owed_;
  std::shared_mutex in_use_;  // before log_
  std::mutex log_;
  std::unique_ptr<replica> replica_;  // log_
  std::unique_ptr<peer_channel>
      channel_;  // set once, and taken away at the end, under log_ and when nobody is in use of it
};

}  // namespace karyon::detail
