#pragma once

#include <cstdint>

#include <karyon/cell/ref.hpp>

#include "cell/slot.hpp"

namespace karyon::detail {

class peer_network;

/// A part of a runtime that rooms to the right of this one add: made once, freed with the runtime, after its last cell.
///
/// It is told of the end of cells that it has noted (note_end), and of no others: those pay one load of a byte that lies beside
/// their object. Calls come on the thread where the cell ends, by any number of threads at once; they must not block for long,
/// and may not call into the cell.
class runtime_service {
public:
  runtime_service() = default;
  runtime_service(const runtime_service&) = delete;
  runtime_service& operator=(const runtime_service&) = delete;
  virtual ~runtime_service() = default;

  /// A noted slot's incarnation accepts signals no more; before its links and monitors are told, and before its slot is handed on.
  virtual void incarnation_ended(const address& which) noexcept = 0;
  /// A noted slot's role is over for good: no child handle finds it any more.
  virtual void role_ended(const address& which) noexcept = 0;
  /// The runtime has got a way to other nodes. At most once, and not while a service is being made.
  virtual void network_installed(peer_network& network) noexcept = 0;

private:
  friend class runtime_core;
  std::uint8_t bit_ = 0;  // its own in cell_slot::noted

public:
  /// From now on this service is told of ends in the slot. The caller keeps what it knows of the slot in a place that
  /// incarnation_ended looks at under a lock, which the caller holds; and it asks afterwards whether the cell (note_end) or the
  /// role (note_role_end) is alive. So either it is told of the end, or it learns here that there was one: what is written here
  /// (noted) and what the end writes (the inbox word, the role) are in one order for all, as is what both read
  /// (seq_cst: partners finish_incarnation, abandon_incarnation and end_role in lifecycle.cpp).
  [[nodiscard]] bool note_end(const address& which) noexcept {
    which.slot->noted.fetch_or(bit_, std::memory_order_seq_cst);
    const std::uint64_t seen = which.slot->inbox.look_in_order();
    return inbox_word::tag_of(seen) == inbox_word::tag_of_incarnation(which.number) && inbox_word::accepts(seen);
  }
  [[nodiscard]] bool note_role_end(const address& which) noexcept {
    which.slot->noted.fetch_or(bit_, std::memory_order_seq_cst);
    return which.slot->role.load(std::memory_order_seq_cst) == which.number;
  }
  /// Nothing is known of the slot any more; under the same lock.
  void forget_ends(cell_slot& s) noexcept {
    s.noted.fetch_and(static_cast<std::uint8_t>(~bit_), std::memory_order_relaxed);
  }
};

}  // namespace karyon::detail
