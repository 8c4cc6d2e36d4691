#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace karyon::detail {

/// Another process of the colony: its number, which it keeps, and which of its lives is meant. Neither is 0.
struct peer {
  std::uint64_t node = 0;
  std::uint64_t incarnation = 0;
  friend bool operator==(const peer&, const peer&) = default;
};

/// What became of bytes for a peer, at once. Nothing is parked for later.
enum class peer_fate : std::uint8_t {
  sent,       ///< On its way: it arrives whole and in order, or its peer goes down.
  full,       ///< The peer takes no more at the moment; try again later, with what is true then.
  down,       ///< The peer is not there, or has another incarnation.
  too_large,  ///< More than bytes_max(): it never will.
  closed,     ///< This end is shutting down.
  undeclared  ///< A signal whose type is not declared (KARYON_SIGNAL) here, or not the same way there.
};

struct class_info;
struct signal;

/// A signal that has come from another node for cells that the listener knows: read once, made for each of them.
class arrived_signal {
public:
  arrived_signal() = default;
  arrived_signal(const arrived_signal&) = delete;
  arrived_signal& operator=(const arrived_signal&) = delete;

  /// One more, for a receiver of this class; null if that does not accept its type. Throws std::bad_alloc, and what copying it throws.
  [[nodiscard]] virtual signal* make_for(const class_info& receiver) = 0;

  std::size_t delivered = 0;    ///< that mailboxes have taken
  std::size_t undelivered = 0;  ///< cells that did not: dead, restarting, full, or without a handler

protected:
  ~arrived_signal() = default;
};

/// What a service between nodes is told. All calls come one at a time, on a thread of the network's; they must not block for long,
/// and may send.
class peer_listener {
public:
  peer_listener() = default;
  peer_listener(const peer_listener&) = delete;
  peer_listener& operator=(const peer_listener&) = delete;

  /// The peer has this service, or may have: bytes for it are sent from now on. After open(), once for each that is up already.
  virtual void peer_up(const peer& who) = 0;
  /// Nothing comes from that incarnation any more. Before peer_up of its next one. Also for one whose peer_up has thrown.
  virtual void peer_down(const peer& who) = 0;
  /// Between peer_up and peer_down; the bytes are the network's again when the call returns.
  virtual void received(const peer& from, std::span<const std::byte> bytes) = 0;
  /// As received; `head` is what the sender has put before it, and says whom it is for. Counts in it what becomes of it.
  virtual void signal_received([[maybe_unused]] const peer& from, [[maybe_unused]] std::span<const std::byte> head,
                               arrived_signal& s) {
    ++s.undelivered;
  }
  /// About once a second, for what is repeated.
  virtual void tick(std::uint64_t now_ns) = 0;

protected:
  ~peer_listener() = default;
};

/// A named service's way to the services of that name on other nodes. Frees itself from the network when it is destroyed: then no
/// call of the listener runs any more. Not to be destroyed within one.
class peer_channel {
public:
  peer_channel() = default;
  peer_channel(const peer_channel&) = delete;
  peer_channel& operator=(const peer_channel&) = delete;
  virtual ~peer_channel() = default;

  [[nodiscard]] virtual peer self() const noexcept = 0;
  /// The most that one send takes; 512 at least.
  [[nodiscard]] virtual std::size_t bytes_max() const noexcept = 0;
  /// Any thread; does not block. What one thread sends to a peer arrives in order.
  [[nodiscard]] virtual peer_fate send(const peer& to, std::span<const std::byte> bytes) noexcept = 0;
  /// A signal of the user's, written once and sent to each of these; `head`: 1 to 300 bytes. It stays the caller's. `became` has as many
  /// places as `to`. A network that carries bytes alone says `undeclared`.
  virtual void send_signal([[maybe_unused]] std::span<const peer> to, [[maybe_unused]] std::span<const std::byte> head,
                           [[maybe_unused]] const signal& s, std::span<peer_fate> became) noexcept {
    for (peer_fate& one : became) one = peer_fate::undeclared;
  }
};

/// What the nervous system gives to a runtime (runtime_core::install_network): the rooms that need other nodes reach them by this
/// alone. A test's own network lies in memory.
class peer_network {
public:
  peer_network() = default;
  peer_network(const peer_network&) = delete;
  peer_network& operator=(const peer_network&) = delete;
  virtual ~peer_network() = default;

  /// A name of at most 300 bytes. Null if the name is in use here, or the network is closing. The listener outlives the channel;
  /// it may be called before this returns, though not on the calling thread.
  [[nodiscard]] virtual std::unique_ptr<peer_channel> open(std::string_view service, peer_listener& listener) = 0;
};

}  // namespace karyon::detail
