#pragma once

#include <cstdint>

#include <karyon/cell/exit_reason.hpp>

#include "cell/slot.hpp"

namespace karyon::detail {

/// How a signal of the user's is lost by a sender's doing.
enum class loss : std::uint8_t {
  dead,          ///< refused: dead or restarting
  full,          ///< refused
  newest,        ///< dropped at the send
  oldest,        ///< accepted before, dropped to make room
  conflated,     ///< accepted before, replaced by a newer one
  dropped_dead,  ///< accepted before; the receiver has ended while a sender was making room
};

/// Looks on, and interferes, while the cells of a runtime run: for simulations. A runtime has one if its thread had one set
/// when it was made; its cells then run through another function, so that those of all others pay nothing.
class cell_observer {
public:
  cell_observer(const cell_observer&) = delete;
  cell_observer& operator=(const cell_observer&) = delete;

  /// A cell's turn begins.
  virtual void runs(cell_slot& s) noexcept = 0;
  /// In its turn: whether the cell is to handle this signal. If not, the signal is the observer's from now on.
  [[nodiscard]] virtual bool admits(cell_slot& s, signal& what) noexcept = 0;
  /// The incarnation is about to end: in its turn, or without one, by its guardian or because its constructor has thrown.
  virtual void ends(cell_slot& s, const exit_reason& why) noexcept = 0;
  /// So many signals were lost by what this thread did as nobody's worker.
  virtual void lost_outside(loss cause, std::uint64_t n) noexcept = 0;

protected:
  cell_observer() = default;
  ~cell_observer() = default;
};

extern KARYON_API thread_local constinit cell_observer* current_observer __attribute__((tls_model("initial-exec")));

}  // namespace karyon::detail
