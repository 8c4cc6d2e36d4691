#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "cell/peer_channel.hpp"
#include "core/rate_limit.hpp"
#include "nerve/frame.hpp"
#include "nerve/security.hpp"
#include "nerve/transport.hpp"

namespace karyon::detail {

struct wire_type;

/// What a service is told of what became of its frame.
[[nodiscard]] constexpr peer_fate fate_of_service(frame_fate f) noexcept {
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

/// What carries the frames of services: a node.
class service_port {
public:
  [[nodiscard]] virtual peer_id self() const noexcept = 0;
  [[nodiscard]] virtual std::size_t payload_bytes_max() const noexcept = 0;
  [[nodiscard]] virtual std::vector<std::string> endpoints() const = 0;
  virtual void call(const std::string& endpoint, const std::optional<curve_key>& key) = 0;
  [[nodiscard]] virtual std::optional<curve_key> public_key() const = 0;
  [[nodiscard]] virtual bool allows(const curve_key& key, std::uint64_t node) const = 0;
  /// Any thread; does not block.
  [[nodiscard]] virtual frame_fate send_service(const peer_id& to, std::uint8_t flags,
                                                std::span<const std::byte> payload) noexcept = 0;
  /// Likewise: a signal of the user's behind `before`, written once for all of them. Throws std::bad_alloc before anything is sent.
  virtual void send_service_signal(std::span<const peer> to, std::uint8_t flags, std::span<const std::byte> before,
                                   const signal& s, std::span<peer_fate> became) = 0;
  /// What such a frame has behind that: with its type's bare ops, the caller's from then on. Null where it is no signal here. Throws
  /// std::bad_alloc.
  [[nodiscard]] virtual signal* read_service_signal(const peer_id& from, std::uint16_t type,
                                                    std::span<const std::byte> payload, const wire_type*& what) = 0;

protected:
  ~service_port() = default;
};

/// A runtime's services (process groups, registries) on other nodes: what a node installs, and what stays with the runtime when the
/// node ends; the next node of that runtime goes on with it.
///
/// A frame of kind `service` begins with the hash of the service's name (8 bytes, little-endian). A node that has no such service says
/// so, by a frame without more and with flag 1: then its peer sends nothing until it hears of that service from there. With flag 2 it is a
/// signal of the user's for cells that the service knows; its header has type and time to live, and behind the hash follow the length (2
/// bytes) and the bytes of what the service has put before it, and the signal's own.
///
/// Listeners are called by one thread of its own, not the transport's: what they do (merge what thousands of cells have joined, ask the
/// user's callbacks) would hold up heartbeats. What has arrived waits for it in a bounded queue; what is too much is dropped and counted,
/// and services find that something is missing by themselves. A listener that could not take in that a peer is up (it threw) is told
/// again, and that peer's frames wait for it, in their order and bounded as well.
class node_services final : public peer_network {
public:
  node_services() = default;
  ~node_services() override;

  [[nodiscard]] std::unique_ptr<peer_channel> open(std::string_view service, peer_listener& listener) override;

  // For an overlay, which makes connections where it wants them:

  /// Where the node listens.
  [[nodiscard]] std::vector<std::string> endpoints() const;
  /// Calls a node that listens there, now and again whenever its link is lost, until nobody has been there for a while. Any thread;
  /// returns at once. `key` is that node's, and none where this one has none.
  void call(const std::string& endpoint, const std::optional<curve_key>& key = std::nullopt);
  /// The node's own; none where its connections are not encrypted.
  [[nodiscard]] std::optional<curve_key> public_key() const;
  /// Whether one who says to be that node, and to have this key, may be called: both have keys, and this one's list has that key for
  /// that node; or neither has any.
  [[nodiscard]] bool may_call(std::uint64_t node, const std::optional<curve_key>& key) const;

  // For the node; peers that are up are told to it anew after attach. False if another node has it.
  [[nodiscard]] bool attach(service_port& port);
  /// Returns once nobody is in the port any more. All peers are down.
  void detach() noexcept;
  void link_up(const peer_id& peer);
  void link_down(const peer_id& peer) noexcept;
  /// Throws std::bad_alloc.
  void received(const peer_id& from, const frame_header& header, std::span<const std::byte> payload);

  /// For a node that has none of a runtime's services: says so to a peer that asks for one, which would ask each second else. False if
  /// the frame makes no sense.
  [[nodiscard]] static bool decline(service_port& by, const peer_id& to, const frame_header& header,
                                    std::span<const std::byte> payload) noexcept;

  struct counts {
    std::atomic<std::uint64_t> sent{0}, refused{0}, received{0}, dropped{0}, failed{0};
    // Of them, frames with a signal; and what the received ones became.
    std::atomic<std::uint64_t> signals_sent{0}, signals_refused{0}, signals_received{0}, signals_lost{0}, delivered{0},
        undelivered{0};
  };
  [[nodiscard]] const counts& stats() const noexcept { return counts_; }

  /// Services rely on 512 bytes a frame.
  static constexpr std::size_t frame_bytes_least = 512 + 8;
  static constexpr std::size_t queue_bytes_max = std::size_t{16} << 20u;
  /// Of one peer, so that there is room for others.
  static constexpr std::size_t queue_bytes_of_one = queue_bytes_max / 2;
  /// Of one service: frames of peers that its listener could not be told of yet. One peer's take as much at most as is left for others:
  /// half of it where one sends without end, a third each where two do, and who comes after them still finds room.
  static constexpr std::size_t held_bytes_max = std::size_t{1} << 20u;

private:
  class channel;
  /// A peer as it is up: each time that its link comes up is another.
  struct presence {
    std::uint64_t incarnation = 0;
    std::uint64_t turn = 0;
    bool told = true;               // of a service's: whether its listener knows it
    bool owed = false;              // of a service's: its listener is to be told, and could not take it in
    std::size_t waiting_bytes = 0;  // of up_'s: what has come of it and waits
    friend bool operator==(const presence& a, const presence& b) noexcept {
      return a.incarnation == b.incarnation && a.turn == b.turn;
    }
  };
  using presences = std::map<std::uint64_t, presence>;  // by node
  struct arrival {
    peer_id from;
    std::uint64_t turn = 0;
    std::uint64_t service = 0;
    bool absent = false;
    std::vector<std::byte> bytes;
    bool is_signal = false;
    std::uint16_t type = 0;
    std::uint64_t until_ns = 0;  // of a signal with a time to live
  };
  struct service {
    std::string name;
    peer_listener* listener = nullptr;
    std::mutex calling;                            // while the listener is called
    bool closed = false;                           // calling
    presences known;                               // calling
    std::deque<arrival> held;                      // calling; of peers that the listener could not be told of yet
    std::size_t held_bytes = 0;                    // calling
    std::map<std::uint64_t, std::size_t> held_of;  // calling; of them, each node's
  };
  using services = std::map<std::uint64_t, std::shared_ptr<service>>;  // by the name's hash
  class read_signal;

  void run();
  /// Until the end. Throws std::bad_alloc.
  void serve();
  template <class F>
  bool call(F&& f) noexcept;
  /// False if the listener could not be told all; it is to be told again.
  [[nodiscard]] bool reconcile(service& s);
  /// False if the listener is to be told of the frame's peer first, and could not be: it is held, or lost where there is no room, and
  /// the peer is to be told of again.
  [[nodiscard]] bool deliver(arrival a);
  [[nodiscard]] bool hand_over(service& s, arrival a);
  void hold(service& s, arrival a) noexcept;
  [[nodiscard]] bool is_up(const arrival& a);
  [[nodiscard]] bool deliver_held(service& s);
  void deliver_signal(service& to, const arrival& a);
  void lose(const arrival& a) noexcept;
  void say_absent(const peer_id& to, std::uint64_t service) noexcept;
  void close(std::uint64_t hash, const std::shared_ptr<service>& s) noexcept;
  [[nodiscard]] peer_fate send(const peer& to, std::uint64_t hash, std::span<const std::byte> bytes) noexcept;
  void send_signal(std::span<const peer> to, std::uint64_t hash, std::span<const std::byte> head, const signal& s,
                   std::span<peer_fate> became) noexcept;

  mutable std::shared_mutex port_mutex_;  // shared while the port is used; never held while mutex_ is taken
  service_port* port_ = nullptr;          // port_mutex_
  peer_id self_;                          // port_mutex_; the last node's
  std::size_t payload_bytes_max_ = frame_bytes_least;  // port_mutex_

  std::mutex mutex_;
  std::condition_variable changed_;
  presences up_;                    // mutex_
  std::uint64_t change_ = 0;        // mutex_; of up_
  std::uint64_t told_ = 0;          // mutex_; the change that the thread has seen
  services services_;               // mutex_
  bool opened_ = false;             // mutex_; a service that has not been told of peers
  std::deque<arrival> waiting_;     // mutex_
  std::size_t waiting_bytes_ = 0;   // mutex_
  bool stopping_ = false;           // mutex_
  std::thread thread_;              // begun with the first service
  report_budget complaints_{1, 5};  // the thread's; a listener that always throws is told again 20 times a second
  counts counts_;
};

}  // namespace karyon::detail
