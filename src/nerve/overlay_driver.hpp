// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "nerve/overlay.hpp"
#include "nerve/transport.hpp"

namespace karyon::detail {

/// Runs an overlay over a transport: hands it what arrives and what time it is, and sends what it wants sent.
///
/// All members from any thread. What is to be sent is sent, and what was broadcast is delivered, outside of its lock and in its order
/// (one thread at a time carries out; others leave theirs to it). `deliver` must not block; what it throws is swallowed, and counted.
class overlay_driver {
public:
  using delivery = std::function<void(const broadcast_id& id, const std::string& payload, std::uint8_t hops)>;

  overlay_driver(const peer_id& self, const overlay_options& options, transport& over, std::uint64_t seed,
                 delivery deliver);
  /// Leaves: its neighbours are told.
  ~overlay_driver();
  overlay_driver(const overlay_driver&) = delete;
  overlay_driver& operator=(const overlay_driver&) = delete;

  /// Somebody to join through, at any time: of a static list, or found by discovery (overlay_discovery.hpp).
  void learn_contact(const peer_id& contact);
  /// Tells its neighbours that it leaves, and sends nothing more.
  void leave();
  /// Joins, and keeps time from now on by a thread of its own.
  void start();
  broadcast_id broadcast(std::string payload);
  /// As plumtree::hand_on. Throws std::bad_alloc.
  [[nodiscard]] bool hand_on(const broadcast_id& id, std::string payload);

  /// A frame of kind gossip or endocrine has arrived; false if it makes no sense (counted).
  bool received(const peer_id& from, std::span<const std::byte> payload);
  /// The transport has lost the peer.
  void link_down(const peer_id& peer);

  [[nodiscard]] std::vector<peer_id> neighbors() const;
  [[nodiscard]] std::uint64_t malformed() const noexcept { return malformed_.load(std::memory_order_relaxed); }
  /// Messages that the transport refused; the peer was taken for lost if there was no way to it.
  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_.load(std::memory_order_relaxed); }
  /// Deliveries that threw.
  [[nodiscard]] std::uint64_t failed() const noexcept { return failed_.load(std::memory_order_relaxed); }

private:
  template <class Step>
  void step(Step&& what);
  void carry_out();
  void hand_over(const overlay_effects::delivery& what) noexcept;
  /// True if there was no way to the peer.
  [[nodiscard]] bool send(const overlay_effects::sending& what) noexcept;
  void keep_time();

  transport& over_;
  const delivery deliver_;
  mutable std::mutex mutex_;
  overlay overlay_;                       // mutex_
  overlay_random random_;                 // mutex_
  std::vector<overlay_effects> waiting_;  // mutex_
  bool carrying_ = false;                 // mutex_
  bool stopping_ = false;                 // mutex_
  std::condition_variable changed_;
  std::atomic<std::uint64_t> malformed_{0};
  std::atomic<std::uint64_t> refused_{0};
  std::atomic<std::uint64_t> failed_{0};
  std::thread clock_;
};

}  // namespace karyon::detail
