// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace karyon {

/// Where another node listens.
struct synapse_peer {
  std::string endpoint{};    ///< "ipc:///folder/name" or "tcp://host:port"
  std::string public_key{};  ///< Its public key, 64 hexadecimal digits; empty where nothing is encrypted.
};

/// How a node speaks with others: where it listens, whom it lets in, and how much may be on its way.
///
/// Nothing listens and nobody is called by default. A node that is to speak with others must listen itself, since what it is
/// sent comes in through its own endpoint: on ipc to speak with peers on ipc, on tcp to speak with peers on tcp.
struct synapse_options {
  /// Endpoints to listen on. "ipc:///folder/name": the folder must be this user's alone (mode 0700; it is made if it is not
  /// there), and only processes of this user are let in. "tcp://address:port": `*` as the port takes a free one. Beyond the
  /// loopback it needs a key.
  std::vector<std::string> listen{};
  /// Nodes to call at the start, and again whenever the link to them is lost.
  std::vector<synapse_peer> peers{};

  /// This node's pair of keys, as `karyon keys generate` writes it; readable by its owner alone. Empty: nothing is encrypted.
  std::string key_file{};
  /// The public keys that are let in: lines of 64 hexadecimal digits, a blank, and the name of the node that has the key (or `*`
  /// for any name). Needed with `key_file`.
  std::string allow_file{};
  /// Lets a node without a key listen beyond the loopback, and call there: whoever reaches the port can then read and forge
  /// everything.
  bool plaintext_beyond_loopback = false;

  /// What a peer may have on its way to this node: frames that it has sent and this node has not yet consumed.
  std::uint32_t window_frames = 16'384;
  std::uint32_t window_bytes =
      4U << 20U;  ///< The same in bytes, with 32 for each frame's header, each frame a multiple of 32.
  std::uint32_t frame_bytes_max = 1U << 20U;  ///< The longest payload that is sent or taken; at most window_bytes - 32.
  /// Memory that is shared with each peer on ipc, for what it sends: frames take that way then, and ZeroMQ's is left for the
  /// links' own words. 0: none is shared. From 64 KiB to 64 MiB, rounded up to a power of two.
  std::uint32_t shared_bytes = 512U << 10U;
  /// A link over tcp without keys that has sent so many frames a second gets a connection of its own for what it sends: without ZeroMQ,
  /// whose threads cost each frame that comes alone some tens of microseconds. For it, the receiver listens on one more port of
  /// the same address for a moment; if nobody comes through, frames go on by ZeroMQ. 0: never, neither asked for nor offered.
  std::uint32_t stream_frames_per_s = 2000;
  std::chrono::milliseconds stream_idle{2000};  ///< Such a connection is closed when it had no frame for so long (> 0).
  std::uint32_t peers_max = 1024;  ///< Names of nodes that are met in the life of this one; further ones are refused.

  std::chrono::milliseconds heartbeat{50};     ///< Each node says so often that it is there.
  std::chrono::milliseconds silence_max{150};  ///< A peer that was not heard for so long is unreachable.
  std::chrono::milliseconds handshake{500};    ///< A connection that is not complete after this is dropped.
  /// How long the thread that sends and receives looks for more to do before it sleeps; a sleeping thread costs some tens of
  /// microseconds more for the next frame.
  std::chrono::microseconds spin{50};
};

}  // namespace karyon
