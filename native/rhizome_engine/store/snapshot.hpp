// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/types.hpp"
#include "store/detail/pins.hpp"
#include "store/log.hpp"
#include "store/options.hpp"

namespace rhizome {

class view;
class valid_view;
namespace detail {
struct core;
}

/// Keeps the history from a commit on from being trimmed while it is held. Copies share it; any thread; outlives the store if need be.
class lease {
public:
  lease() = default;
  lease(const lease& other) noexcept;
  lease(lease&& other) noexcept : core_(std::exchange(other.core_, nullptr)), from_(other.from_) {}
  lease& operator=(lease other) noexcept {
    std::swap(core_, other.core_);
    std::swap(from_, other.from_);
    return *this;
  }
  ~lease();

  [[nodiscard]] commit_number from() const noexcept { return from_; }

private:
  friend class store;
  friend class snapshot;
  lease(detail::core* c, commit_number from) noexcept : core_(c), from_(from) {}

  detail::core* core_ = nullptr;
  commit_number from_ = 0;
};

/// A piece of the commit log, kept from being trimmed while it is held.
class log_slice {
public:
  log_slice() = default;
  [[nodiscard]] std::span<const log_entry> entries() const noexcept { return entries_; }

private:
  friend class snapshot;
  log_slice(std::span<const log_entry> entries, lease held) : entries_(entries), held_(std::move(held)) {}

  std::span<const log_entry> entries_;
  lease held_;
};

/// The graph as of the newest commit when it was taken, unchanged for as long as it is held, whatever is written meanwhile: a handle
/// that is copied in an atomic addition, passed between threads freely and read by any number of them at a time. It never waits for the
/// writer nor holds it up; what it costs is memory: blocks that were replaced after it was taken, and the history since, are kept
/// until it is dropped. It may outlive its store.
///
/// Reads of an older time (`as_of`) go through the snapshot too. All reads but the ones that give a vector are lock-free and allocate
/// nothing; making a view of an older time takes a lock for a moment.
class snapshot {
public:
  snapshot(const snapshot& other) noexcept;
  snapshot(snapshot&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)), commit_(other.commit_) {}
  snapshot& operator=(snapshot other) noexcept {
    std::swap(slot_, other.slot_);
    std::swap(commit_, other.commit_);
    return *this;
  }
  ~snapshot();

  /// The commit it shows.
  [[nodiscard]] commit_number commit() const noexcept { return commit_; }
  /// Ids of vertices at commit `t` (default: its own) lie below it. Of a commit that was trimmed nothing is known: perhaps 0.
  [[nodiscard]] vertex vertices() const noexcept { return vertices(commit_); }
  [[nodiscard]] vertex vertices(commit_number t) const noexcept;
  /// How many of them are there: not removed, and not of a transaction that was given up.
  [[nodiscard]] vertex alive() const noexcept;
  [[nodiscard]] bool alive(vertex v) const noexcept { return alive(v, commit_); }
  [[nodiscard]] bool alive(vertex v, commit_number t) const noexcept;

  /// The arcs of a label as of this snapshot, or as of an older commit (errc::trimmed: before the retained history; invalid_argument: later
  /// than the snapshot, or no such label).
  [[nodiscard]] view newest(label arcs, direction way = direction::out) const noexcept;
  [[nodiscard]] result<view> as_of(commit_number t, label arcs, direction way = direction::out) const;
  /// The same, and only the arcs that were true in the world at `at`.
  [[nodiscard]] result<valid_view> valid_at(time_us at, label arcs, direction way = direction::out) const;
  [[nodiscard]] result<valid_view> as_of_valid_at(commit_number t, time_us at, label arcs,
                                                  direction way = direction::out) const;
  /// The same for a window of time: the arcs that were true at some moment of it. errc::invalid_argument: an empty one.
  [[nodiscard]] result<valid_view> valid_during(interval window, label arcs, direction way = direction::out) const;
  [[nodiscard]] result<valid_view> as_of_valid_during(commit_number t, interval window, label arcs,
                                                      direction way = direction::out) const;

  /// The value of a property of a vertex or of an arc as recorded at commit t for the time `at`; std::monostate: none.
  /// errc::not_found: the vertex or arc was not there at t.
  [[nodiscard]] result<value> property(vertex v, property_key key, std::optional<commit_number> t = {},
                                       std::optional<time_us> at = {}) const;
  [[nodiscard]] result<value> property(label arcs, vertex source, vertex target, property_key key,
                                       std::optional<commit_number> t) const;
  /// The same of an arc that a view of commit t shows, which is held meanwhile: one look-up, for walks that ask about each arc.
  [[nodiscard]] value property_of_shown(label arcs, vertex source, vertex target, property_key key,
                                        commit_number t) const;
  /// Whether the newest version recorded of a property answers for that time, or versions before it have to be looked through: for
  /// estimates.
  [[nodiscard]] bool newest_answers(vertex v, property_key key, commit_number t,
                                    std::optional<time_us> at) const noexcept;

  /// All that is retained about an arc or a property, the oldest first.
  [[nodiscard]] std::vector<arc_version> history(label arcs, vertex source, vertex target) const;
  [[nodiscard]] std::vector<property_version> history(vertex v, property_key key) const;
  [[nodiscard]] std::vector<property_version> history(label arcs, vertex source, vertex target, property_key key) const;
  /// All that is retained about the arcs of a vertex, the oldest first, and since when and until when the vertex was there (nullopt: it
  /// is none of this snapshot's).
  [[nodiscard]] std::vector<neighbour_version> history_of(vertex v, label arcs, direction way = direction::out) const;
  /// How many versions history_of looks at: for estimates.
  [[nodiscard]] std::uint64_t versions(vertex v, label arcs, direction way = direction::out) const noexcept;
  [[nodiscard]] std::optional<vertex_times> times_of(vertex v) const noexcept;

  /// The last commit whose wall-clock time is not after `t`; 0: before the first. Where that one was trimmed: some commit before the
  /// horizon, which all reads refuse as trimmed.
  [[nodiscard]] commit_number commit_at(time_us t) const noexcept;
  /// When commit `n` was made (errc::invalid_argument: later than the snapshot, or 0; trimmed).
  [[nodiscard]] result<time_us> time_of(commit_number n) const;

  /// The log of the commits in (after, to], in order (errc::trimmed, invalid_argument). Costs a lease.
  [[nodiscard]] result<log_slice> log(commit_number after, commit_number to) const;
  /// What differs between the two commits, from one pass over the log: arcs and vertices that came, went or were corrected, in the order of
  /// their first change. Costs the length of the log between them.
  [[nodiscard]] result<std::vector<difference>> diff(commit_number from, commit_number to) const;

  /// The number of a name, as of this snapshot.
  [[nodiscard]] std::optional<label> find_label(std::string_view name) const;
  [[nodiscard]] std::optional<property_key> find_property(std::string_view name) const;

  /// Keeps history from `t` on (errc::trimmed, invalid_argument).
  [[nodiscard]] result<lease> keep(commit_number t) const;

  /// What a view looks into. For the parts of the engine.
  [[nodiscard]] const detail::core& inside() const noexcept { return *slot_->owner; }

private:
  friend class store;
  friend class transaction;
  friend struct detail::core;
  snapshot(detail::pins::slot* slot, commit_number commit) noexcept : slot_(slot), commit_(commit) {}
  [[nodiscard]] result<void> check_time(commit_number t) const;
  /// f(other end, version) for each retained version of v's arcs, in no order.
  template <class F>
  void versions_of(label arcs, vertex v, direction way, F&& f) const;
  [[nodiscard]] interval valid_of(label arcs, vertex source, vertex target, commit_number t) const;

  detail::pins::slot* slot_ = nullptr;
  commit_number commit_ = 0;
};

}  // namespace rhizome
