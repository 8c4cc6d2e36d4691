#pragma once

#include <cstdint>

#include <karyon/core/export.hpp>

namespace karyon {

/// What became of a send, at once: accepted into the receiver's mailbox (or by its node, if that is another), or refused and why. A refused signal is gone
/// (destroyed) and is counted by cause in `runtime_metrics`; nothing is parked for later.
enum class send_result : std::uint8_t {
  accepted,    ///< In the mailbox. It will be handled, or counted if the receiver dies first.
  dead,        ///< The incarnation, or the child's role, has ended for good.
  restarting,  ///< The child is between two incarnations; the next one starts within microseconds.
  full,        ///< The receiver's bounded mailbox is full.
  no_handler,  ///< (cell_ref only) the receiver's class has no handler for this type.
  dropped,     ///< The bounded mailbox is full, and its class drops what comes then (overflow::drop_newest).
  // Of cells in another process, at the send. There `accepted` says that its node has room for the signal, not that its mailbox has.
  no_route,      ///< No node of that name and incarnation is known.
  peer_down,     ///< Its node is not connected now; nothing is kept for when it is.
  no_credit,     ///< Its node, or this one, has no room for one more now.
  expired,       ///< The signal's time to live was over before it could be sent.
  too_large,     ///< The signal is larger than a frame may be.
  closed,        ///< This process' node is closing, or has closed.
  not_declared,  ///< Its type is not declared with KARYON_SIGNAL here, or not the same way there.
};

/// The name of a result; never null.
[[nodiscard]] KARYON_API const char* to_string(send_result r) noexcept;

/// Whether the signal was accepted: `if (!ok(c.send(add{1}))) ...`.
[[nodiscard]] constexpr bool ok(send_result r) noexcept { return r == send_result::accepted; }

}  // namespace karyon
