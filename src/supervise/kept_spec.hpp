#pragma once

#include <chrono>
#include <cstdint>

#include <karyon/supervise/child_spec.hpp>

#include "cell/slot.hpp"

namespace karyon::detail {

/// What a supervisor of many children keeps of a child's spec, in cell_slot::keeper_data: its factory; or, of a temporary
/// child, whose arguments are not kept, the few options that its end still needs.
///
///   63               4 3      2 1           0
///   +-----------------+--------+-------------+---+
///   | milliseconds    | how    | significant | 1 |     how: 0 default, 1 brutal_kill, 2 infinity, 3 within milliseconds
///   +-----------------+--------+-------------+---+
inline void keep_factory(cell_slot& s, child_factory& factory) noexcept { s.keeper_data = &factory; }

inline void keep_temporary(cell_slot& s, const child_options& options) noexcept {
  std::uint64_t word = 1U | (options.significant ? 2U : 0U);
  if (options.shutdown) {
    constexpr std::int64_t most = (std::int64_t{1} << 59U) - 1;
    const std::int64_t ms = options.shutdown->deadline().count();
    if (options.shutdown->is_brutal_kill()) {
      word |= 1U << 2U;
    } else if (options.shutdown->is_infinity() || ms > most) {
      word |= 2U << 2U;
    } else {
      word |= (3U << 2U) | (static_cast<std::uint64_t>(ms) << 4U);
    }
  }
  s.keeper_data = reinterpret_cast<void*>(word);
}

/// Null for a temporary child.
[[nodiscard]] inline child_factory* kept_factory(const cell_slot& s) noexcept {
  return (reinterpret_cast<std::uint64_t>(s.keeper_data) & 1U) == 0 ? static_cast<child_factory*>(s.keeper_data)
                                                                    : nullptr;
}

[[nodiscard]] inline child_options kept_options(const cell_slot& s) noexcept {
  if (const child_factory* factory = kept_factory(s)) return factory->options();
  const auto word = reinterpret_cast<std::uint64_t>(s.keeper_data);
  child_options options;
  options.restart = restart_type::temporary;
  options.significant = (word & 2U) != 0;
  switch ((word >> 2U) & 3U) {
    case 1: options.shutdown = child_shutdown::brutal_kill(); break;
    case 2: options.shutdown = child_shutdown::infinity(); break;
    case 3:
      options.shutdown = child_shutdown::within(std::chrono::milliseconds(static_cast<std::int64_t>(word >> 4U)));
      break;
    default: break;
  }
  return options;
}

}  // namespace karyon::detail
