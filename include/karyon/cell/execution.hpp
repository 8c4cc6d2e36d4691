#pragma once

#include <cstdint>

namespace karyon {

/// Where a handler runs.
///
/// A class declares its heavy handlers by their signals; while one of them runs, the cell's other signals wait, and the cell
/// is back on its own worker afterwards:
///
///     class archive : public karyon::cell {
///     public:
///       using accepts = karyon::signals<pack, load, name>;
///       using dirty_cpu = karyon::signals<pack>;  // computes for longer than a millisecond
///       using dirty_io = karyon::signals<load>;   // may block in a system call
///
/// What is called dirty is what would hold a scheduler (Erlang's dirty schedulers, ERTS 9).
enum class execution : std::uint8_t {
  worker,     ///< on the cell's worker, as a handler should: it returns within a millisecond
  dirty_cpu,  ///< on a thread of the pool for computation
  dirty_io,   ///< on a thread of the pool for what blocks
};

/// The name, for logs and JSON; never null.
[[nodiscard]] constexpr const char* to_string(execution e) noexcept {
  switch (e) {
    case execution::worker: return "worker";
    case execution::dirty_cpu: return "dirty_cpu";
    case execution::dirty_io: return "dirty_io";
  }
  return "unknown";
}

}  // namespace karyon
