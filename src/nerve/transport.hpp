#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "nerve/frame.hpp"

namespace karyon::detail {

/// Names one life of a node: what the user calls it, hashed (node_id), and when it began. A node that starts again has the same
/// id and a larger incarnation.
struct peer_id {
  std::uint64_t node = 0;
  std::uint64_t incarnation = 0;
  friend bool operator==(const peer_id&, const peer_id&) = default;
};

/// The latest beginning that a node's life may have now: a day ahead of this machine's clock, in microseconds since 1970. One that claims
/// a later one would keep all others of its name out until then; so it can for a day at most.
[[nodiscard]] inline std::uint64_t latest_incarnation() noexcept {
  const auto then = std::chrono::system_clock::now() + std::chrono::hours(24);
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(then.time_since_epoch()).count());
}

/// What became of a frame handed to a transport. Everything but `accepted` means that the peer will never see it.
enum class frame_fate : std::uint8_t {
  accepted,  // within the receiver's credit and in a link that is up; it may still be lost with the link, which is counted
  no_route,   // no such peer is known
  peer_down,  // its link is not up now; nothing is kept for when it is
  no_credit,  // the receiver has not granted room for one more
  expired,    // its time to live was over before it was sent
  too_large,  // beyond the limit of a frame
  closed,     // this transport is closing
};

/// Why a link ended.
enum class link_loss : std::uint8_t {
  died,         // the peer's end of the connection closed: the process ended, or restarted with another incarnation
  unreachable,  // no heartbeat within the limit: stopped, or the network between
  refused,      // it broke the protocol, or may not speak with us
  closed,       // either side closed it on purpose
};

/// Who a transport tells. Called by the transport's own threads, one call at a time for each peer, never after close() returned.
/// Must not block: what takes longer is handed on.
class transport_sink {
public:
  virtual ~transport_sink() = default;
  /// A link is up; `hello` is what the peer gave its transport as its greeting (node::greeting), checked for size only.
  virtual void link_up(const peer_id& peer, std::span<const std::byte> hello) noexcept = 0;
  /// A link that was up has ended; no frame of it comes after this.
  virtual void link_down(const peer_id& peer, link_loss why) noexcept = 0;
  /// A frame of a link that is up, in its order, within its time to live. `payload` lives until the call returns.
  /// Returns once the frame is consumed: its credit goes back to the sender then.
  virtual void received(const peer_id& peer, const frame_header& header,
                        std::span<const std::byte> payload) noexcept = 0;
  /// A node that has the name of another one, which is here: it is not let in as long as that lives. Told once of each life, after
  /// the time in which it could still be that one's successor.
  virtual void namesake(const peer_id&, std::string_view /*its_endpoint*/,
                        std::string_view /*endpoint_of_the_other*/) noexcept {}
  /// The peer has given credit back: what was refused with `no_credit` may be sent now.
  virtual void room(const peer_id&) noexcept {}
};

/// Carries frames between this node and its peers; keeps none for a peer that is not there. synapse.hpp is the real one (ZeroMQ);
/// the tests and the simulation have others.
class transport {
public:
  virtual ~transport() = default;
  /// Any thread; never blocks, never waits for more to send with it. Frames of one calling thread to one peer keep their
  /// order. Sets the header's epoch and sequence itself. The bytes are copied (or sent) before it returns.
  virtual frame_fate send(const peer_id& peer, const frame_header& header,
                          std::span<const std::byte> payload) noexcept = 0;
};

}  // namespace karyon::detail
