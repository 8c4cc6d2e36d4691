// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <karyon/core/export.hpp>
#include <karyon/core/result.hpp>
#include <karyon/nerve/synapse_options.hpp>

#include "nerve/frame.hpp"
#include "nerve/security.hpp"
#include "nerve/transport.hpp"

namespace karyon::detail {

class reactor;

/// Why a greeting was not accepted.
enum class greeting_refusal : std::uint8_t {
  malformed,
  self,         // it says that it is this node, or another process of this node's name
  not_allowed,  // its key may not be used by a node of that name
  duplicate,    // a link to another life of that node is up; the newcomer waits until that one has ended
  old_life,     // of a life that has a successor
  too_many,     // peers_max
  no_way_back,  // it can not be called at the endpoint that it names
  far_future,   // it says that its life begins later than a day from now (latest_incarnation)
};
inline constexpr std::size_t greeting_refusals = 8;

/// What a synapse has counted since its start, all peers together. Of the frames that it took over,
///
///   accepted = acknowledged + expired_before_send + lost_before_send + lost_with_link + in_flight
///
/// at any moment. A frame that was lost with its link may have reached the peer's cells all the same: its acknowledgement was
/// what did not arrive. Of the frames that came, each is in exactly one of delivered, expired_in_flight, stale and `bad`.
struct synapse_stats {
  // Sent.
  std::uint64_t accepted = 0;  // taken over by the sending thread; a send() that has just returned may not be in it yet
  std::uint64_t acknowledged = 0;           // the peer has consumed it
  std::uint64_t expired_before_send = 0;    // its time to live was over before it left this process
  std::uint64_t lost_before_send = 0;       // its link ended before it left this process
  std::uint64_t lost_with_link = 0;         // its link ended before the peer acknowledged it
  std::uint64_t in_flight = 0;              // neither of these yet
  std::uint64_t messages_sent = 0;          // of ZeroMQ, each with all frames that were there
  std::uint64_t messages_shared = 0;        // the same by shared memory
  std::uint64_t messages_streamed = 0;      // the same by connections of the links' own
  std::uint64_t streams_opened = 0;         // such connections, for what is sent
  std::uint64_t streams_closed = 0;         // of these: since they were idle
  std::uint64_t streams_failed = 0;         // that were asked for, and did not come about
  std::uint64_t strangers_turned_away = 0;  // came to the port of such connections, and did not say whose they are
  std::uint64_t strangers_not_let_in = 0;   // times that somebody called there while descriptors or memory were short
  // Not accepted, by frame_fate (the entry of `accepted` stays 0).
  std::array<std::uint64_t, 7> refused{};
  // Received.
  std::uint64_t delivered = 0;
  std::uint64_t expired_in_flight = 0;
  std::uint64_t stale = 0;                        // of a link that has ended
  std::uint64_t gaps = 0;                         // numbers that were left out in a link's sequence
  std::array<std::uint64_t, frame_faults> bad{};  // by frame_fault
  std::uint64_t ungreeted = 0;                    // a frame from a connection that has not said who it is
  std::uint64_t beyond_credit = 0;                // a frame that the sender had no credit for
  std::uint64_t unknown_word = 0;                 // a frame of the links' own that can not be
  std::uint64_t shunned = 0;  // messages thrown away unread, from connections that broke the rules too often
  // Links.
  std::uint64_t links_up = 0;  // now
  std::uint64_t links_made = 0;
  std::array<std::uint64_t, 4> links_lost{};  // by link_loss
  std::uint64_t lanes_refused = 0;            // shared memory that was offered and could not be had, or must not
  std::uint64_t calls_failed = 0;             // connections that did not lead to a link
  std::uint64_t calls_left_out = 0;           // of connect_passing(): as many others were called already
  std::array<std::uint64_t, greeting_refusals> greetings_refused{};
  std::uint64_t keys_refused = 0;
};

/// Carries frames between processes and machines by ZeroMQ. docs/internals/synapse.md has its protocol.
///
/// One thread of its own owns all sockets: one bound ROUTER, by which everything comes in, and one DEALER for each peer, by which
/// frames for it go out. send() leaves a frame in the peer's ring (synapse_outlet.hpp); the thread takes all that is there, for each
/// peer into one message, and never waits for more.
///
/// send(): any thread, also from within a sink's functions; no lock, no system call but one to wake the thread if it sleeps.
/// All else: any thread but the sink's.
class KARYON_API synapse final : public transport {
public:
  /// Checks the options and binds the endpoints. Nothing is called, and what arrives waits, until start().
  [[nodiscard]] static result<std::unique_ptr<synapse>> open(const synapse_options& options, const peer_id& self);
  ~synapse() override;
  synapse(const synapse&) = delete;
  synapse& operator=(const synapse&) = delete;

  /// Begins; once. `sink` outlives close(). `hello` is what each peer is told at the beginning of a link (hello_bytes_max).
  [[nodiscard]] result<void> start(transport_sink& sink, std::vector<std::byte> hello);
  frame_fate send(const peer_id& peer, const frame_header& header,
                  std::span<const std::byte> payload) noexcept override;
  /// Calls a node now, and again whenever the link is lost. The errors are those of the endpoint and the key; whether anybody answers
  /// is told to the sink.
  [[nodiscard]] result<void> connect(const synapse_peer& peer);
  /// The same for one that others have told of: it is forgotten when some calls in a row have led to nobody, and left out where 256 such
  /// are called already (calls_left_out).
  [[nodiscard]] result<void> connect_passing(const synapse_peer& peer);
  /// Its own; none where nothing is encrypted.
  [[nodiscard]] std::optional<curve_key> public_key() const noexcept;
  /// Whether the list of allowed keys has this one for that node. False without keys.
  [[nodiscard]] bool allows(const curve_key& key, std::uint64_t node) const;
  /// Reads the list of allowed keys again. Links with peers whose key is no longer on it are ended. On an error the old list
  /// stays.
  [[nodiscard]] result<void> reload_allowed();
  /// Says good-bye to all peers and ends the thread. Frames that were accepted and not yet sent are lost, and counted. Once or
  /// more often.
  void close() noexcept;

  /// What is listened on; with the port that was taken in place of `*`.
  [[nodiscard]] std::vector<std::string> endpoints() const;
  [[nodiscard]] synapse_stats stats() const;

private:
  explicit synapse(std::unique_ptr<reactor> r);
  std::unique_ptr<reactor> reactor_;
};

}  // namespace karyon::detail
