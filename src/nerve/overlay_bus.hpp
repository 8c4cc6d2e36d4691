// SPDX-License-Identifier: Apache-2.0
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
#include "nerve/carrier.hpp"
#include "nerve/node_services.hpp"
#include "nerve/overlay_driver.hpp"
#include "nerve/security.hpp"
#include "nerve/transport.hpp"

namespace karyon::detail {

/// How an overlay's messages travel as bytes of a service between nodes (peer_channel). Little-endian:
///
///   offset  bytes  field
///        0      1  n: nodes whose endpoints follow
///        1         n times: node (8), incarnation (8), k (1), key (k), length (1), endpoint; k is 0, or 32
///                  an overlay's message (overlay_wire.hpp), or nothing
///
/// A node that is named to others is named with where it listens, so that they can call it: who has joined through a contact knows
/// nobody else. Where its connections are encrypted, with its public key: it is called by that, if the caller's own list has it.
struct overlay_envelope {
  struct place {
    peer_id who;
    std::string endpoint;
    std::optional<curve_key> key{};
  };
  std::vector<place> places;
  std::span<const std::byte> message;
};
inline constexpr std::size_t envelope_places_max = 64;
[[nodiscard]] std::vector<std::byte> encode_envelope(const overlay_envelope& e);
[[nodiscard]] bool decode_envelope(std::span<const std::byte> from, overlay_envelope& to);
/// Whether others can call it: a path ("ipc://"), or an address in numbers with its port ("tcp://"); not one that stands for all of a
/// machine's addresses, and no name, which whoever calls would have to look up first.
[[nodiscard]] bool can_be_called(std::string_view endpoint) noexcept;

/// How many of those that discovery has found are called at a tick. A few at a time where the node is alone, one where it has room for
/// neighbours; and now and then one that is no neighbour of neighbours, perhaps, so that islands with full views find each other. That is
/// the seldomer the more nodes this one is connected with, half as often for each 16: nobody knows what else uses a link, so none is
/// given up, and they would pile up. `full_ticks`: how many there have been with a full view, with this one.
[[nodiscard]] std::size_t found_to_call(std::size_t neighbors, std::size_t connected,
                                        std::uint64_t full_ticks) noexcept;

/// A broadcast that an overlay has brought to this node. In its bytes: length of the subject (1), compartments behind it (1), the
/// subject, the bus's frame.
struct overlay_parcel {
  broadcast_id id;
  const std::string& broadcast;
  std::uint8_t compartments = 0;
  std::string_view subject;
};

class overlay_bus;
class overlay_discovery;

/// Is shown each broadcast that a bus has brought, those of its own node included: on the bus's own thread, which it must not block.
class overlay_passage {
public:
  virtual void passing(overlay_bus& in, const overlay_parcel& what) noexcept = 0;

protected:
  ~overlay_passage() = default;
};

/// Takes what is published to the nodes of a compartment, by their overlay over their links: no server. Every node that a runtime's node
/// is connected with is a contact; neighbours beyond those are called when the overlay wants them.
///
/// Threads: the publishers' leave frames in a bounded queue, the network's leave what arrives in another; one of its own takes from both,
/// since what it hands to the bus may wait for room there.
class overlay_bus final : public endocrine_carrier, public peer_listener, public transport {
public:
  /// Throws runtime_error where the runtime has no way to other nodes, or the compartment is in use.
  overlay_bus(std::shared_ptr<node_services> network, std::string_view compartment, const endocrine_options& options,
              carrier_sink& sink);
  ~overlay_bus() override;

  [[nodiscard]] fate send(std::string_view subject, std::vector<std::byte> frame) noexcept override;
  void listen(const std::string&) override {}  // all of a compartment hear all; the bus picks what is wanted
  void end_listening(const std::string&) override {}
  [[nodiscard]] bool settle(std::uint64_t) override { return true; }
  [[nodiscard]] bool connected() const noexcept override { return true; }
  [[nodiscard]] bool can_send() const noexcept override { return true; }
  [[nodiscard]] carrier_counts counts() const noexcept override;
  void close() noexcept override;

  // For gateways.
  [[nodiscard]] const std::string& compartment() const noexcept { return compartment_; }
  /// Shows it what is brought from here on. Throws std::bad_alloc.
  void attach(overlay_passage& to);
  /// It is shown nothing more once this returns. Waits for what it is shown now.
  void detach(overlay_passage& from) noexcept;
  enum class handed_on : std::uint8_t { now, before, not_possible };
  /// Broadcasts here what another compartment has brought, unless that was done before. Any thread; not possible from close() on.
  [[nodiscard]] handed_on hand_on(const overlay_parcel& what) noexcept;

private:
  struct queued {
    std::uint64_t since_ns = 0;
    broadcast_id id;
    std::string broadcast;  // as overlay_parcel has it
  };
  struct way_to {
    std::string endpoint;
    std::optional<curve_key> key;
    friend bool operator==(const way_to&, const way_to&) = default;
  };
  struct acquaintance {
    std::vector<way_to> ways;
    std::uint64_t called_ns = 0;
    std::vector<std::vector<std::byte>> held;  // until it is connected
  };

  void peer_up(const peer& who) override;
  void peer_down(const peer& who) override;
  void received(const peer& from, std::span<const std::byte> bytes) override;
  void tick(std::uint64_t now_ns) override;
  frame_fate send(const peer_id& peer, const frame_header& header,
                  std::span<const std::byte> payload) noexcept override;

  [[nodiscard]] std::vector<overlay_envelope::place> places_in(std::span<const std::byte> message);
  void learn(const std::vector<overlay_envelope::place>& places);
  frame_fate call(const peer_id& who, std::vector<std::byte> bytes);
  [[nodiscard]] std::vector<std::string> own_endpoints() const;
  void announce_when_due(std::uint64_t now_ns, bool alone) noexcept;
  void run();
  void hand_over(const broadcast_id& id, const std::string& broadcast, bool has_id) noexcept;

  const std::string compartment_;
  const std::shared_ptr<node_services> network_;  // a gateway may keep the bus for longer than its runtime
  carrier_sink& sink_;
  const std::uint64_t time_to_live_ns_;
  const std::size_t queue_max_;

  std::mutex book_mutex_;
  std::map<std::uint64_t, acquaintance> book_;  // book_mutex_; by node

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<queued> outgoing_;                  // mutex_
  std::deque<queued> incoming_;                  // mutex_
  bool stopping_ = false;                        // mutex_
  std::atomic<std::size_t> frame_bytes_max_{0};  // of the node that there is, with all heads
  std::atomic<std::uint64_t> sent_{0}, expired_{0}, lost_{0}, slow_{0};

  std::mutex passages_mutex_;
  std::vector<overlay_passage*> passages_;  // passages_mutex_; held while they are shown something

  std::shared_mutex ending_;  // shared while a gateway's thread is in what close() takes down
  bool ended_ = false;        // ending_

  std::unique_ptr<overlay_discovery> discovery_;      // null: none is asked for
  std::mutex hearing_;                                // while the network's thread is in a call of the listener
  bool hears_ = false;                                // hearing_; the calls may use what follows
  std::map<std::uint64_t, std::uint64_t> connected_;  // hearing_; incarnation by node
  std::uint64_t full_ticks_ = 0;                      // hearing_; of those with as many neighbours as there can be
  std::unique_ptr<peer_channel> channel_;
  std::unique_ptr<overlay_driver> driver_;
  std::thread thread_;
};

}  // namespace karyon::detail
