// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/adjacency.hpp"
#include "base/types.hpp"
#include "store/detail/layout.hpp"
#include "store/detail/region.hpp"
#include "store/snapshot.hpp"

namespace rhizome {
namespace detail {

/// Calls f(target); false: f returned false.
template <class F>
[[nodiscard]] inline bool call(F& f, vertex target) {
  if constexpr (std::is_same_v<std::invoke_result_t<F&, vertex>, bool>) {
    return f(target);
  } else {
    f(target);
    return true;
  }
}

template <class F>
inline bool call_each(const vertex* targets, std::uint32_t count, F& f) {
  for (std::uint32_t i = 0; i < count; ++i)
    if (!call(f, targets[i])) return false;
  return true;
}

/// What one entry shows of itself at a time: read once, so that a writer beside it changes nothing.
struct looked {
  const block_header* block = nullptr;
  std::uint32_t count = 0;  ///< Positions that had begun at t.
  bool dirty = false;       ///< Some of them may have ended.
  bool past = false;        ///< Something changed after t: closed versions may be in the history.

  [[nodiscard]] bool plain() const noexcept { return !dirty && !past; }
};

}  // namespace detail

/// The arcs of one label in one direction as of one commit: an `adjacency`. A vertex that has not changed since that commit (all of them,
/// for the newest snapshot with no writer beside it) is a span of targets, found with one test and no look at a time stamp; the
/// others are a binary-searched prefix of their block, and those of their closed versions that ended later.
///
/// Cheap to copy, any number of threads may read it at a time; it keeps its snapshot.
class view {
public:
  [[nodiscard]] vertex vertices() const noexcept { return vertices_; }
  [[nodiscard]] std::uint64_t arcs() const noexcept { return arcs_; }
  [[nodiscard]] commit_number commit() const noexcept { return at_; }
  [[nodiscard]] const snapshot& of() const noexcept { return snapshot_; }

  [[nodiscard]] std::uint32_t degree(vertex v) const noexcept {
    const detail::vertex_entry& e = entries_[v];
    auto p = detail::placed::of(e.where.load(std::memory_order_acquire));  // partner: the writer's release of `where`
    if (!p.dirty && e.changed.load(std::memory_order_relaxed) <= at_) return p.count;
    return slow_degree(v);
  }

  void prefetch(vertex v) const noexcept {
    auto p = detail::placed::of(entries_[v].where.load(std::memory_order_relaxed));
    const std::byte* block = base_ + std::size_t{p.block} * detail::unit_bytes;
    __builtin_prefetch(block);
    __builtin_prefetch(block + 64);
  }
  void prefetch_entry(vertex v) const noexcept { __builtin_prefetch(&entries_[v]); }

  /// What a walk of v passes over in its block, whatever of that it shows: for estimates, since a degree may take such a walk.
  [[nodiscard]] std::uint32_t positions(vertex v) const noexcept {
    return detail::placed::of(entries_[v].where.load(std::memory_order_relaxed)).count;
  }

  template <class F>
  void for_each(vertex v, F&& f) const {
    detail::looked l = look(v);
    if (l.plain()) {
      detail::call_each(l.block->targets(), l.count, f);
    } else {
      slow_each(l, f);
    }
  }

  /// The targets, where they lie in one piece; else nullopt and for_each is the way.
  [[nodiscard]] std::optional<std::span<const vertex>> contiguous(vertex v) const noexcept {
    detail::looked l = look(v);
    if (l.dirty || (l.past && l.block->history.load(std::memory_order_relaxed) != 0)) return std::nullopt;
    return std::span<const vertex>(l.block->targets(), l.count);
  }

  /// See placed_adjacency.
  [[nodiscard]] arcs_place place_of(vertex v) const noexcept {
    detail::looked l = look(v);
    if (l.dirty || (l.past && history_after(l))) return no_place;
    auto offset = static_cast<std::size_t>(reinterpret_cast<const std::byte*>(l.block) - base_);
    return detail::placed{static_cast<detail::ref>(offset / detail::unit_bytes), l.count, false}.word();
  }
  [[nodiscard]] std::span<const vertex> targets_at(arcs_place p) const noexcept {
    return {at<detail::block_header>(static_cast<detail::ref>(p))->targets(), p >> 32};
  }

  /// The targets, in `room` where they do not lie in one piece. Good until `room` is changed.
  [[nodiscard]] std::span<const vertex> neighbours(vertex v, std::vector<vertex>& room) const;
  /// Whether the arc v -> target is there, and how often where arcs need not be unique. A scan of v's block.
  [[nodiscard]] bool contains(vertex v, vertex target) const noexcept { return count_of(v, target) > 0; }
  [[nodiscard]] std::uint32_t count_of(vertex v, vertex target) const noexcept;
  /// for_each with each arc's version: f(target, begin). A walk that needs the time stamps.
  template <class F>
  void for_each_begin(vertex v, F&& f) const;
  /// for_each with when each arc is true in the world: f(target, interval). What earliest_arrival_during walks over.
  template <class F>
  void for_each_interval(vertex v, F&& f) const;

  /// The same arcs with what one look at each vertex found kept in an array (8 bytes a vertex, and 4 for each arc of the vertices that have
  /// a history): for algorithms that pass over all of a past time more than once. Costs one pass; the memory is not the store's.
  [[nodiscard]] class prepared_view prepare() const;

private:
  friend class snapshot;
  friend class prepared_view;
  friend class valid_view;
  view(snapshot of, std::shared_ptr<const lease> held, const detail::vertex_entry* entries, const std::byte* base,
       commit_number at, vertex vertices, std::uint64_t arcs) noexcept
      : entries_(entries),
        base_(base),
        at_(at),
        vertices_(vertices),
        arcs_(arcs),
        snapshot_(std::move(of)),
        held_(std::move(held)) {}

  [[nodiscard]] detail::looked look(vertex v) const noexcept {
    const detail::vertex_entry& e = entries_[v];
    auto p = detail::placed::of(e.where.load(std::memory_order_acquire));  // partner: the writer's release of `where`
    const auto* block =
        reinterpret_cast<const detail::block_header*>(base_ + std::size_t{p.block} * detail::unit_bytes);
    if (e.changed.load(std::memory_order_relaxed) <= at_) [[likely]]
      return {block, p.count, p.dirty, false};
    return {block, detail::prefix_at(*block, p.count, at_), p.dirty, true};
  }
  template <class T>
  [[nodiscard]] const T* at(detail::ref r) const noexcept {
    return reinterpret_cast<const T*>(base_ + std::size_t{r} * detail::unit_bytes);
  }
  template <class F>
  void slow_each(const detail::looked& l, F& f) const;
  template <class F>
  void for_each_of(const detail::looked& l, F f) const {
    slow_each(l, f);
  }
  /// f(target, begin, position or history's version, column): every arc of l.
  template <class F>
  bool walk(const detail::looked& l, F&& f) const;
  [[nodiscard]] std::uint32_t slow_degree(vertex v) const noexcept;
  [[nodiscard]] bool history_after(const detail::looked& l) const noexcept;

  const detail::vertex_entry* entries_;
  const std::byte* base_;
  commit_number at_;
  vertex vertices_;
  std::uint64_t arcs_;
  snapshot snapshot_;
  std::shared_ptr<const lease> held_;  // of a past time; null: the snapshot keeps it
};

/// f(target, begin, interval*) for every arc of `l`; the interval is null where nothing is said. False: f returned false.
template <class F>
bool view::walk(const detail::looked& l, F&& f) const {
  const vertex* targets = l.block->targets();
  const commit_number* begins = l.block->begins();
  detail::ref valid = l.block->valid.load(std::memory_order_acquire);  // partner: the release in table::append_valid
  const interval* intervals = valid == 0 ? nullptr : at<detail::valid_column>(valid)->at();
  const commit_number* ends = l.dirty ? detail::ends_of(base_, *l.block) : nullptr;
  for (std::uint32_t i = 0; i < l.count; ++i) {
    if (ends != nullptr && detail::load_end(ends[i]) <= at_) continue;
    if (!f(targets[i], begins[i], intervals == nullptr ? nullptr : intervals + i)) return false;
  }
  if (!l.past) return true;
  // Batches are in the order of ends, so those that had ended at t are at the front of the oldest, and the walk stops there.
  // Acquire pairs with the release of table::trim (`where` has those that came with the block): all batches of the chain.
  for (detail::ref r = l.block->history.load(std::memory_order_acquire); r != 0;) {
    const auto& batch = *at<detail::history_batch>(r);
    if (batch.latest_end <= at_) return true;
    const detail::closed_version* versions = batch.versions();
    for (std::uint32_t i = batch.count; i-- > 0 && versions[i].end > at_;) {
      if (versions[i].begin > at_) continue;
      if (!f(versions[i].target, versions[i].begin, batch.has_valid != 0 ? batch.valid() + i : nullptr)) return false;
    }
    r = batch.previous.load(std::memory_order_relaxed);
  }
  return true;
}

template <class F>
void view::slow_each(const detail::looked& l, F& f) const {
  if (!l.dirty) {
    if (!detail::call_each(l.block->targets(), l.count, f)) return;
    if (l.block->history.load(std::memory_order_relaxed) == 0) return;
    detail::looked rest = l;
    rest.count = 0;
    walk(rest, [&](vertex target, commit_number, const interval*) { return detail::call(f, target); });
    return;
  }
  walk(l, [&](vertex target, commit_number, const interval*) { return detail::call(f, target); });
}

template <class F>
void view::for_each_begin(vertex v, F&& f) const {
  walk(look(v), [&](vertex target, commit_number begin, const interval*) {
    f(target, begin);
    return true;
  });
}

template <class F>
void view::for_each_interval(vertex v, F&& f) const {
  walk(look(v), [&](vertex target, commit_number, const interval* valid) {
    f(target, valid == nullptr ? interval{} : *valid);
    return true;
  });
}

/// A view with a place and a count for each vertex at hand, and with a list of its own for each vertex whose arcs of that time do not lie
/// in one piece. See view::prepare.
class prepared_view {
public:
  [[nodiscard]] vertex vertices() const noexcept { return base_.vertices(); }
  [[nodiscard]] std::uint64_t arcs() const noexcept { return base_.arcs(); }
  [[nodiscard]] std::uint32_t degree(vertex v) const noexcept { return detail::placed::of(places_[v]).count; }
  void prefetch(vertex v) const noexcept {
    auto p = detail::placed::of(places_[v]);
    const auto* block = reinterpret_cast<const std::byte*>(block_of(p));
    __builtin_prefetch(block);
    __builtin_prefetch(block + 64);
  }
  template <class F>
  void for_each(vertex v, F&& f) const {
    auto p = detail::placed::of(places_[v]);
    detail::call_each(block_of(p)->targets(), p.count, f);
  }
  /// The targets, which always lie in one piece.
  [[nodiscard]] std::span<const vertex> neighbours(vertex v) const noexcept {
    auto p = detail::placed::of(places_[v]);
    return {block_of(p)->targets(), p.count};
  }
  [[nodiscard]] const view& base() const noexcept { return base_; }

private:
  friend class view;
  struct tables {
    std::vector<std::uint64_t> places;    // as vertex_entry::where; dirty: the block is one of `lists`
    detail::growing_array<vertex> lists;  // shaped as blocks: what stands before a list's targets is not looked at
  };
  prepared_view(view base, std::shared_ptr<const tables> held)
      : base_(std::move(base)),
        held_(std::move(held)),
        places_(held_->places.data()),
        lists_(reinterpret_cast<const std::byte*>(held_->lists.data())) {}
  [[nodiscard]] const detail::block_header* block_of(const detail::placed& p) const noexcept {
    return reinterpret_cast<const detail::block_header*>((p.dirty ? lists_ : base_.base_) +
                                                         std::size_t{p.block} * detail::unit_bytes);
  }

  view base_;
  std::shared_ptr<const tables> held_;
  const std::uint64_t* places_;
  const std::byte* lists_;
};

/// A view of only those arcs that are true in the world at one moment, or at some moment of a window. Vertices whose arcs say nothing about that are read as
/// fast as those of the view below; arcs() and degree() count.
class valid_view {
public:
  [[nodiscard]] vertex vertices() const noexcept { return base_.vertices(); }
  /// Exact: counted in a pass over all arcs, when first asked for.
  [[nodiscard]] std::uint64_t arcs() const noexcept;
  [[nodiscard]] commit_number commit() const noexcept { return base_.commit(); }
  /// A moment is a window of a microsecond.
  [[nodiscard]] interval window() const noexcept { return window_; }
  [[nodiscard]] std::uint32_t degree(vertex v) const noexcept {
    std::uint32_t n = 0;
    for_each(v, [&n](vertex) { ++n; });
    return n;
  }
  void prefetch(vertex v) const noexcept { base_.prefetch(v); }
  /// See placed_adjacency.
  [[nodiscard]] arcs_place place_of(vertex v) const noexcept {
    detail::looked l = base_.look(v);
    detail::ref r = l.block->valid.load(std::memory_order_acquire);  // partner: the release in table::append_valid
    bool all = r == 0 || base_.at<detail::valid_column>(r)->all_during(window_);
    return all ? base_.place_of(v) : no_place;
  }
  [[nodiscard]] std::span<const vertex> targets_at(arcs_place p) const noexcept { return base_.targets_at(p); }
  template <class F>
  void for_each(vertex v, F&& f) const {
    detail::looked l = base_.look(v);
    detail::ref r = l.block->valid.load(std::memory_order_acquire);  // partner: the release in table::append_valid
    bool all = r == 0 || base_.at<detail::valid_column>(r)->all_during(window_);
    if (all && l.plain()) {
      detail::call_each(l.block->targets(), l.count, f);
      return;
    }
    if (r != 0 && base_.at<detail::valid_column>(r)->none_during(window_)) l.count = 0;
    base_.walk(l, [&](vertex target, commit_number, const interval* valid) {
      return (valid != nullptr && !valid->overlaps(window_)) || detail::call(f, target);
    });
  }
  [[nodiscard]] const view& base() const noexcept { return base_; }

private:
  friend class snapshot;
  valid_view(view base, interval window);

  view base_;
  interval window_;
  std::shared_ptr<std::atomic<std::uint64_t>> counted_;  // arcs + 1; 0: not yet
};

static_assert(placed_adjacency<view> && listed_adjacency<prepared_view> && placed_adjacency<valid_view>);

}  // namespace rhizome
