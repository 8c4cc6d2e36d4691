// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <variant>

#include <tl/expected.hpp>

namespace rhizome {

/// A vertex: dense, given out in the order of creation, from 0; never used again for another one.
using vertex = std::uint32_t;
inline constexpr vertex no_vertex = std::numeric_limits<vertex>::max();

/// A label of arcs, a key of properties: small numbers that a store gives to names.
using label = std::uint16_t;
using property_key = std::uint16_t;

/// Transaction time as the blocks hold it: the number of a commit, from 1. Commits are numbered in the order in which they become
/// visible, without gaps; a store's commit table says at what wall-clock time each was. 0 is before the first.
using commit_number = std::uint32_t;
inline constexpr commit_number newest_commit = std::numeric_limits<commit_number>::max();

/// Wall-clock and valid time: microseconds since 1970-01-01 UTC.
using time_us = std::int64_t;
inline constexpr time_us beginning_of_time = std::numeric_limits<time_us>::min();
inline constexpr time_us end_of_time = std::numeric_limits<time_us>::max();

/// A half-open interval of time, [from, to); one to end_of_time has no end, and is true then as well. The default says nothing about valid
/// time: true always.
struct interval {
  time_us from = beginning_of_time;
  time_us to = end_of_time;

  [[nodiscard]] constexpr bool contains(time_us t) const noexcept { return from <= t && (t < to || to == end_of_time); }
  [[nodiscard]] constexpr bool empty() const noexcept { return from >= to; }
  /// Whether some moment is in both.
  [[nodiscard]] constexpr bool overlaps(const interval& other) const noexcept {
    return std::max(from, other.from) < std::min(to, other.to);
  }
  [[nodiscard]] constexpr bool always() const noexcept { return from == beginning_of_time && to == end_of_time; }
  friend constexpr bool operator==(const interval&, const interval&) = default;
};

/// A property's value; std::monostate: none (a removed one).
using value = std::variant<std::monostate, std::int64_t, double, std::string>;

/// Why something was refused. `text` is one sentence that says what was wrong and what to do.
enum class errc : std::uint8_t {
  invalid_argument = 1,  ///< A vertex, label, interval or limit that can not be.
  not_found,             ///< Names something that is not there (any more, or at that time).
  already_there,         ///< The arc or name exists.
  conflict,              ///< Another transaction committed a change of the same thing first: begin again.
  trimmed,               ///< Asks for a time before the retained history.
  limit,                 ///< A configured bound (memory, vertices, commits) is reached.
  out_of_memory,
  io,             ///< The system refused a read or a write; the store stays readable.
  no_space,       ///< The disk is full; the store stays readable.
  corrupt,        ///< A file is not what it was written as; `text` says where and what could be recovered.
  wrong_version,  ///< A file or a table of another format version.
  read_only,      ///< The store refused writes since an earlier error of its log.
  cancelled,      ///< Its asker is gone, or it was told to stop.
  unsupported,    ///< This build leaves that part out; `text` says what is missing.
};
struct error {
  errc code = errc::invalid_argument;
  std::string text;
};
template <class T>
using result = tl::expected<T, error>;

[[nodiscard]] inline tl::unexpected<error> fail(errc code, std::string text) {
  return tl::unexpected<error>(error{code, std::move(text)});
}

}  // namespace rhizome
