// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <utility>

#include "algo/arrow.hpp"
#include "base/types.hpp"
#include "store/log.hpp"
#include "store/snapshot.hpp"
#include "store/view.hpp"

namespace rhizome {

/// A snapshot as queries walk over it, at its own commit or, by `as_of`, at an older one, whose history it then keeps. Labels that no one
/// has used have no arcs; a label at or above labels_max throws tl::bad_expected_access. Copies are handles; any thread.
class snapshot_graph {
public:
  explicit snapshot_graph(snapshot of) : of_(std::move(of)), at_(of_.commit()) {}

  [[nodiscard]] commit_number commit() const noexcept { return at_; }
  [[nodiscard]] view out(label l) const { return arcs(l, direction::out); }
  [[nodiscard]] view in(label l) const { return arcs(l, direction::in); }

  /// errc::trimmed: before the retained history; invalid_argument: later than the snapshot.
  [[nodiscard]] result<snapshot_graph> as_of(commit_number t) const {
    auto held = of_.keep(t);
    if (!held) {
      return tl::unexpected<error>(std::move(held).error());
    }
    auto const checked = of_.as_of(t, 0);
    if (!checked) {
      return tl::unexpected<error>(checked.error());
    }
    return snapshot_graph(of_, t, *std::move(held));
  }
  /// As of the last commit that was made no later than a time of the wall clock.
  [[nodiscard]] result<snapshot_graph> as_of(moment at) const { return as_of(of_.commit_at(at.since_1970)); }

private:
  snapshot_graph(snapshot of, commit_number at, lease held) : of_(std::move(of)), at_(at), held_(std::move(held)) {}

  [[nodiscard]] view arcs(label l, direction way) const {
    return of_.as_of(at_, l, way).value();  // not trimmed: the snapshot and the lease keep it
  }

  snapshot of_;
  commit_number at_;
  lease held_;
};

/// The same, with only those arcs that were true in the world at one moment, or at some moment of a window of time, by what was
/// known at commit `t`. Each arc of a path is in the window; in what order is for `earliest_arrival` to ask.
class valid_graph {
public:
  /// errc::trimmed, invalid_argument, as snapshot_graph::as_of.
  [[nodiscard]] static result<valid_graph> make(const snapshot& of, commit_number t, time_us moment) {
    auto checked = of.as_of_valid_at(t, moment, 0);
    if (!checked) {
      return tl::unexpected<error>(std::move(checked).error());
    }
    return held_at(of, t, checked->window());
  }
  /// errc::invalid_argument: an empty window, too.
  [[nodiscard]] static result<valid_graph> make(const snapshot& of, commit_number t, interval window) {
    auto checked = of.as_of_valid_during(t, window, 0);
    if (!checked) {
      return tl::unexpected<error>(std::move(checked).error());
    }
    return held_at(of, t, window);
  }

  [[nodiscard]] valid_view out(label l) const { return arcs(l, direction::out); }
  [[nodiscard]] valid_view in(label l) const { return arcs(l, direction::in); }

private:
  valid_graph(snapshot of, commit_number t, interval window, lease held)
      : of_(std::move(of)), at_(t), window_(window), held_(std::move(held)) {}

  [[nodiscard]] static result<valid_graph> held_at(const snapshot& of, commit_number t, interval window) {
    auto held = of.keep(t);
    if (!held) {
      return tl::unexpected<error>(std::move(held).error());
    }
    return valid_graph(of, t, window, *std::move(held));
  }
  [[nodiscard]] valid_view arcs(label l, direction way) const {
    return of_.as_of_valid_during(at_, window_, l, way).value();
  }

  snapshot of_;
  commit_number at_;
  interval window_;
  lease held_;
};

/// A store's commit log as contacts: each arc of a label at the commit that added it, in the order of (commit, sequence). A
/// `contact_log` for `earliest_arrival`. `both_ways`: news goes along an arc in either direction.
class commit_contacts {
public:
  using time_type = commit_number;

  commit_contacts(const snapshot& of, log_slice slice, label l, bool both_ways)
      : slice_(std::move(slice)), vertices_(of.vertices()), label_(l), both_ways_(both_ways) {}

  [[nodiscard]] vertex vertices() const noexcept { return vertices_; }
  [[nodiscard]] std::uint64_t size() const noexcept { return slice_.entries().size(); }
  template <class F>
  void for_each(std::uint64_t first, std::uint64_t last, F&& f) const {
    auto const wanted = log_entry::pack(change_kind::add_arc);
    auto const* const entries = slice_.entries().data();
    for (auto i = first; i < last; ++i) {
      auto const& entry = entries[i];
      if (entry.kind_and_key == wanted && entry.arc_label == label_) {
        f(entry.source, entry.target, entry.commit);
        if (both_ways_) {
          f(entry.target, entry.source, entry.commit);
        }
      }
    }
  }

private:
  log_slice slice_;
  vertex vertices_;
  label label_;
  bool both_ways_;
};

}  // namespace rhizome
