#pragma once

#include <cstdint>
#include <memory>

#include <karyon/cell/exit_reason.hpp>

#include "cell/slot.hpp"

namespace karyon::detail {

struct cell_extras;

/// What one cell tells another about a link or monitor between them (links.cpp).
struct bond_signal;
struct bond_deleter {
  void operator()(bond_signal* b) const noexcept;
};
using bond_ptr = std::unique_ptr<bond_signal, bond_deleter>;

/// A cell's end of a link. Its signal was allocated with the link, so that neither an end nor an unlink needs memory.
///
///   unlinking   notice   state           left by
///   0           held     linked          unlink() -> unlinking; the other's unlink or end -> no entry
///   id          sent     unlinking       the acknowledgement of `id`, or the other's end -> no entry; link() -> linked
///
/// As in Erlang since OTP 23, an unlink waits for its acknowledgement, and until then a link from the other side is ignored:
/// signals between two cells arrive in order, so that link was sent before the other side saw the unlink, and will be
/// undone there by it. So both sides come to agree, however their links and unlinks cross
/// (tests/unit/cell/links_test.cpp).
struct link_end {
  bond_ptr notice;
  std::uint64_t unlinking = 0;
  std::uint64_t order = 0;  // of its making, among the cell's
};

/// What a cell keeps of a monitor that it has made.
struct monitor_end {
  address whom;
  bond_ptr notice;  // the request to demonitor
};

/// A cell has ended: exit signals to its links, `down` to its monitors. They are ordinary signals, behind all that the
/// cell has sent to the same receivers. Allocates nothing.
void tell_links(const address& ended, cell_extras& extras, const exit_reason& why) noexcept;

// ---- for cells in other processes (stub.hpp) -------------------------------------------------------------------------

/// What a signal about a link, a monitor or an exit says, for whoever carries it between processes.
struct bond_news {
  enum kind : std::uint8_t { link, unlink, unlinked, monitor, demonitor, exit, down, exit_request };
  kind tells = link;
  address from;
  address to;
  std::uint64_t id = 0;  // of the unlink or monitor: of its maker's process
  exit_reason why;
};
/// False if it is none of these.
[[nodiscard]] KARYON_API bool read_bond(const signal& s, bond_news& news) noexcept;
/// It is on its way elsewhere: frees it, and nobody is told that it has not arrived.
KARYON_API void forget_bond(signal* s) noexcept;
/// Tells `news.to`, as if `news.from` had. Throws std::bad_alloc.
KARYON_API void deliver_bond(const bond_news& news);
/// Never given twice in this process.
[[nodiscard]] KARYON_API std::uint64_t next_bond_id() noexcept;

/// The signal that send_exit sends, from nobody.
[[nodiscard]] signal* make_exit_request(const exit_reason& why);

}  // namespace karyon::detail
