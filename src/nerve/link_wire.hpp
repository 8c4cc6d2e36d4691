// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "nerve/frame.hpp"
#include "nerve/transport.hpp"

namespace karyon::detail {

/// What two transports say to each other: control frames with the flag frame_of_link, whose `type` is one of these.
/// docs/internals/synapse.md has their order.
enum class link_word : std::uint16_t {
  who = 1,    // caller to called, first on a connection: who are you?
  i_am = 2,   // the answer, against the connection's direction
  greet = 3,  // this is who I am, and what you may send me
  pulse = 4,  // I am here; so much have I consumed; the frames behind this one were sent at this time
  bye = 5,    // I close
  gone = 6,   // against the connection's direction: what you send me here is of a link that I do not have
  lane = 7,   // before a greeting, in the same message: your frames can come by this shared memory (synapse_lane.hpp)
  // A connection of the link's own (synapse_stream.hpp). Who does not know these counts them, and that is all.
  stream_ask = 8,    // I have much for you: where may I call?
  stream_offer = 9,  // here, with this token
  stream_begin = 10  // no frame comes behind this one by ZeroMQ, until the stream has ended
};

/// Payload of `lane`, 24 bytes: process (4), descriptor of the memory (4), of the pipe that wakes its reader (4), 0 (4), key (8).
inline constexpr std::size_t lane_word_bytes = 24;

/// Payload of `stream_offer`, 12 bytes: port (4), token (8).
inline constexpr std::size_t stream_offer_bytes = 12;

/// Payload of `i_am`, 16 bytes: node (8), incarnation (8).
inline constexpr std::size_t i_am_bytes = 16;

/// Payload of `pulse`, 40 bytes, times in nanoseconds of the named side's monotonic clock.
///
///   offset  bytes  field
///        0      8  sent at (the sender's clock)
///        8      8  the newest "sent at" that the sender has had from the receiver; 0: none yet
///       16      8  when that came (the sender's clock)
///       24      8  frames of the receiver that the sender has consumed in this link
///       32      8  their sum in slots of 32 bytes
struct link_pulse {
  std::uint64_t sent_at = 0;
  std::uint64_t heard = 0;
  std::uint64_t heard_at = 0;
  std::uint64_t consumed_frames = 0;
  std::uint64_t consumed_slots = 0;
};
inline constexpr std::size_t pulse_bytes = 40;

/// Payload of `greet`, 80 bytes and two texts.
///
///   offset  bytes  field
///        0      8  node
///        8      8  incarnation
///       16      8  cookie: counts the sender's connections, in each life from elsewhere
///       24      8  the receiver's cookie, if the sender has had its greeting; else 0
///       32     24  sent at, heard, heard at: as in a pulse
///       56      4  epoch that the receiver is to put into its frames
///       60      4  frames that it may have on their way
///       64      4  slots of 32 bytes that it may have on their way
///       68      4  longest payload in bytes that it may send
///       72      4  length of the endpoint
///       76      4  length of the hello
///       80         endpoint at which the sender can be called; hello
struct link_greeting {
  peer_id peer;
  std::uint64_t cookie = 0;
  std::uint64_t heard_cookie = 0;
  std::uint64_t sent_at = 0;
  std::uint64_t heard = 0;
  std::uint64_t heard_at = 0;
  std::uint32_t epoch = 0;
  std::uint32_t window_frames = 0;
  std::uint32_t window_slots = 0;
  std::uint32_t frame_bytes_max = 0;
  std::string_view endpoint;
  std::span<const std::byte> hello;
};
inline constexpr std::size_t greeting_bytes = 80;
inline constexpr std::size_t endpoint_bytes_max = 256;
inline constexpr std::size_t hello_bytes_max = 256 * 1024;

/// Each appends a whole frame to `out`; `epoch` is the receiver's, 0 before it is known.
void append_word(std::vector<std::byte>& out, link_word word, std::uint32_t epoch,
                 std::span<const std::byte> payload = {});
void append_pulse(std::vector<std::byte>& out, std::uint32_t epoch, const link_pulse& p);
void append_link_greeting(std::vector<std::byte>& out, const link_greeting& g);
void append_i_am(std::vector<std::byte>& out, const peer_id& self);

/// Each reads a payload; nothing where it is not well formed. The texts of a greeting lie in `payload`.
[[nodiscard]] std::optional<link_pulse> read_pulse(std::span<const std::byte> payload) noexcept;
[[nodiscard]] KARYON_API std::optional<link_greeting> read_link_greeting(std::span<const std::byte> payload) noexcept;
[[nodiscard]] std::optional<peer_id> read_i_am(std::span<const std::byte> payload) noexcept;

}  // namespace karyon::detail
