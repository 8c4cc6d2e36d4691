// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <span>

#include "base/change.hpp"
#include "base/types.hpp"

namespace rhizome {

/// One change as the commit log keeps it in memory, 16 bytes, in the order in which the changes were made: the time store that answers
/// diff and time-respecting paths in one pass. Intervals and values are not in it. In a symmetric store an arc is there once, as it was added.
struct log_entry {
  commit_number commit = 0;
  vertex source = no_vertex;
  vertex target = no_vertex;
  label arc_label = 0;
  std::uint16_t kind_and_key = 0;  ///< The kind in the low 4 bits, the property key in the others.

  [[nodiscard]] constexpr change_kind kind() const noexcept { return static_cast<change_kind>(kind_and_key & 15); }
  [[nodiscard]] constexpr property_key key() const noexcept { return static_cast<property_key>(kind_and_key >> 4); }
  [[nodiscard]] static constexpr std::uint16_t pack(change_kind kind, property_key key = 0) noexcept {
    return static_cast<std::uint16_t>(static_cast<unsigned>(kind) | (static_cast<unsigned>(key) << 4));
  }
};
static_assert(sizeof(log_entry) == 16);

/// What diff() found for an arc or a vertex: not there at the first time and there at the second, or the other way round.
struct difference {
  change_kind kind = change_kind::
      add_arc;  ///< add_vertex, remove_vertex, add_arc, remove_arc; set_valid: there both times, corrected.
  label arc_label = 0;
  vertex source = no_vertex;
  vertex target = no_vertex;

  friend constexpr bool operator==(const difference&, const difference&) = default;
};

/// A version of an arc: recorded during [begin, end) of the commits, true in the world during `valid`.
struct arc_version {
  commit_number begin = 0;
  commit_number end = newest_commit;
  interval valid;

  friend constexpr bool operator==(const arc_version&, const arc_version&) = default;
};

/// A version of an arc of one vertex, by its other end.
struct neighbour_version {
  vertex neighbour = no_vertex;
  arc_version version;

  friend bool operator==(const neighbour_version&, const neighbour_version&) = default;
};

/// A vertex was there during [begin, end) of the commits.
struct vertex_times {
  commit_number begin = 0;
  commit_number end = newest_commit;

  friend constexpr bool operator==(const vertex_times&, const vertex_times&) = default;
};

/// A version of a property: what was recorded in commit `begin` for the time `valid`; later ones override it where they overlap.
struct property_version {
  commit_number begin = 0;
  interval valid;
  value data;

  friend bool operator==(const property_version&, const property_version&) = default;
};

}  // namespace rhizome
