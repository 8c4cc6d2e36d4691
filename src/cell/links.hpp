#pragma once

#include <karyon/cell/exit_reason.hpp>
#include <karyon/cell/ref.hpp>

#include "cell/slot.hpp"

namespace karyon::detail {

struct cell_extras;

/// A cell has ended: exit signals to its links, `down` to its monitors. They are ordinary signals, behind all that the
/// cell has sent to the same receivers.
void tell_links(const address& ended, cell_extras& extras, const exit_reason& why) noexcept;

/// The signal that send_exit sends, from nobody.
[[nodiscard]] signal* make_exit_request(const exit_reason& why);

/// The same to one receiver each; any thread.
void send_link_exit(const address& to, const address& from, const exit_reason& why) noexcept;
void send_down(const address& to, std::uint64_t monitor, const address& from, const exit_reason& why) noexcept;

}  // namespace karyon::detail
