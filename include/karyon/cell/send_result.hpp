#pragma once

#include <cstdint>

#include <karyon/core/export.hpp>

namespace karyon {

/// What became of a send, at once: accepted into the receiver's mailbox, or refused and why. A refused signal is gone
/// (destroyed) and is counted by cause in `runtime_metrics`; nothing is parked for later.
enum class send_result : std::uint8_t {
  accepted,    ///< In the mailbox. It will be handled, or counted if the receiver dies first.
  dead,        ///< The incarnation, or the child's role, has ended for good.
  restarting,  ///< The child is between two incarnations; the next one starts within microseconds.
  full,        ///< The receiver's bounded mailbox is full.
  no_handler,  ///< (cell_ref only) the receiver's class has no handler for this type.
  dropped,     ///< The bounded mailbox is full, and its class drops what comes then (overflow::drop_newest).
};

/// The name of a result; never null.
[[nodiscard]] KARYON_API const char* to_string(send_result r) noexcept;

/// Whether the signal was accepted: `if (!ok(c.send(add{1}))) ...`.
[[nodiscard]] constexpr bool ok(send_result r) noexcept { return r == send_result::accepted; }

}  // namespace karyon
