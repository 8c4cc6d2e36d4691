// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nerve/carrier.hpp"
#include "nerve/overlay_message.hpp"
#include "nerve/security.hpp"
#include "nerve/transport.hpp"

namespace karyon::detail {

/// A node that says where it listens.
struct node_sighting {
  peer_id who;
  std::vector<std::string> endpoints;
  std::optional<curve_key> key{};  // its public one; none where its connections are not encrypted
};

/// How a node says it, in a message to the subject "karyon.nodes." and the compartment's name. Little-endian:
///
///   offset  bytes  field
///        0      2  magic, 0x4E4B ("KN")
///        2      1  version, 2
///        3         an envelope of an overlay (overlay_bus.hpp) without a message: its places are all of this node, with its key
///
/// Valid if and only if it is that and no more, has 1 to 4 endpoints that can be called, and names a node that can have begun by now.
inline constexpr std::size_t sighting_endpoints_max = 4;
[[nodiscard]] std::vector<std::byte> encode_sighting(const node_sighting& s);
/// False if it is none; allocates little for what is too long.
[[nodiscard]] bool decode_sighting(std::span<const std::byte> from, node_sighting& to);
/// Whether nodes that meet at one of these servers (endocrine_options::discovery_server) may be on other machines, but can call none of
/// these endpoints: they are of this machine alone. No endpoints are not meant.
[[nodiscard]] bool is_out_of_reach(std::string_view servers, const std::vector<std::string>& endpoints);

/// Finds the nodes of a compartment at a NATS server: each announces itself now and then, and hears the others. What it finds are nodes
/// that the overlay may call. Whoever may publish at the server can make them up: so what is found is bounded, and chosen by chance.
///
/// Threads: connect, listen and close one after the other; announce, due and take_found one at a time; arrived on the server's.
class overlay_discovery final : public carrier_sink {
public:
  /// Throws runtime_error (invalid_argument) where the compartment's name is no subject.
  overlay_discovery(std::string_view compartment, std::uint64_t seed);
  ~overlay_discovery() override { close(); }

  /// Waits for the first connection. Throws as the constructor of a bus over NATS; `options.discovery_server` says to which server.
  void connect(const endocrine_options& options);
  /// Hears of others from now on; of this node it is its own echo. Whom it `may_call` is asked of each on the server's thread; others are
  /// counted alone, so that whoever makes them up keeps nobody from being found, and from announcing itself. Throws std::bad_alloc.
  void listen(const peer_id& self, std::function<bool(const node_sighting&)> may_call);
  /// Nothing arrives from here on. Waits for the connection, as the end of a bus over NATS does.
  void close() noexcept;

  /// Whether to announce now: every few seconds, and each second where the node is alone; seldom where so many others have been
  /// heard since that newcomers find somebody anyhow: what n nodes say grows as the root of n. In one turn of 64
  /// at the least, of 16 where it is alone, for those that are heard may be made up.
  [[nodiscard]] bool due(std::uint64_t now_ns, bool alone) noexcept;
  /// Waits for nobody. Lost while there is no connection: it is said again.
  void announce(const node_sighting& me) noexcept;
  /// Whom it has heard of since the last call: a bounded number, in no order.
  [[nodiscard]] std::vector<node_sighting> take_found();

  /// Adds its own.
  void count(carrier_counts& to) const noexcept;

  // carrier_sink
  void arrived(std::string_view subject, std::span<const std::byte> frame) noexcept override;
  void leaving(std::span<std::byte>) noexcept override {}
  void tick() noexcept override {}

private:
  const std::string subject_;
  std::unique_ptr<endocrine_carrier> server_;
  peer_id self_;                                        // before anything arrives
  std::function<bool(const node_sighting&)> may_call_;  // the same; null: anybody
  std::uint64_t announced_ns_ = 0;
  std::uint64_t pause_ns_ = 0;

  std::mutex mutex_;
  overlay_random random_;             // mutex_
  std::vector<node_sighting> found_;  // mutex_
  std::size_t offered_ = 0;           // mutex_; since found_ was taken
  std::size_t heard_since_ = 0;       // mutex_; since this node was to announce itself
  std::atomic<std::uint64_t> announced_{0}, heard_{0}, malformed_{0}, not_allowed_{0};
};

}  // namespace karyon::detail
