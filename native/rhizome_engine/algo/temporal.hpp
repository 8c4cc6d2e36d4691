// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <queue>
#include <span>
#include <utility>
#include <vector>

#include "algo/budget.hpp"
#include "algo/huge_array.hpp"
#include "base/types.hpp"

namespace rhizome {

/// Arcs in the order of time, each there for a moment: a store's commit log is one. `for_each(first, last, f)` calls
/// f(source, target, time) for those numbered [first, last); times do not fall, and of equal times the order says which was first.
template <class L>
concept contact_log = requires(const L& log, std::uint64_t i) {
  typename L::time_type;
  { log.vertices() } -> std::convertible_to<vertex>;
  { log.size() } -> std::convertible_to<std::uint64_t>;
  log.for_each(i, i, [](vertex, vertex, typename L::time_type) {});
};

/// A log in the caller's own arrays, which must outlive it.
template <class Time>
struct contact_columns {
  using time_type = Time;
  std::span<const vertex> sources;
  std::span<const vertex> targets;
  std::span<const Time> times;  // all three equally long
  vertex vertex_count = 0;      // all sources and targets lie below it

  [[nodiscard]] vertex vertices() const noexcept { return vertex_count; }
  [[nodiscard]] std::uint64_t size() const noexcept { return times.size(); }
  template <class F>
  void for_each(std::uint64_t first, std::uint64_t last, F&& f) const {
    auto const* const from = sources.data();
    auto const* const to = targets.data();
    auto const* const when = times.data();
    for (auto i = first; i < last; ++i) {
      f(from[i], to[i], when[i]);
    }
  }
};

/// Of contacts that happen at the same time, may one follow another on a way?
enum class ties : std::uint8_t {
  in_order,  ///< Where it comes later in the log: the order is total, and no event is lost for its clock's coarseness.
  never,     ///< Each step of a way must be later than the one before.
};

/// Who can have heard of it, and when first: the earliest arrival from one vertex along contacts whose times do not fall, in one
/// pass over the log (Wu et al., "Path Problems in Temporal Graphs", VLDB 2014). A contact takes no time. O(contacts); memory:
/// a time and 4 bytes a vertex. One thread: the pass is a chain.
template <contact_log Log>
class earliest_arrival {
public:
  using time_type = typename Log::time_type;
  static constexpr time_type never = std::numeric_limits<time_type>::max();

  /// Contacts of [first, last) of the log count: a time window is a range of it, found by binary search. The news is at
  /// `source` from `start` on.
  earliest_arrival(Log log, vertex source, time_type start, std::uint64_t first, std::uint64_t last,
                   ties equal = ties::in_order)
      : log_(std::move(log)),
        next_(first),
        last_(std::min<std::uint64_t>(last, log_.size())),
        start_(start),
        ties_(equal),
        heard_((std::size_t{log_.vertices()} + 63) / 64),
        arrivals_(log_.vertices()),
        parents_(log_.vertices()) {
    std::fill(arrivals_.begin(), arrivals_.end(), never);
    std::fill(parents_.begin(), parents_.end(), no_vertex);
    if (source < log_.vertices()) {
      reach(source, source, start);
    } else {
      next_ = last_;
    }
  }
  earliest_arrival(Log log, vertex source, time_type start) : earliest_arrival(log, source, start, 0, log.size()) {}

  progress step(budget& allowed) {
    if (allowed.is_cancelled()) {
      return progress::cancelled;
    }
    while (next_ < last_) {
      auto const end = std::min(next_ + chunk, last_);
      if (ties_ == ties::in_order) {
        scan<false>(end);
      } else {
        scan<true>(end);
      }
      auto const taken = end - next_;
      next_ = end;
      if (next_ < last_ && !allowed.spend(taken)) {
        return allowed.unfinished();
      }
    }
    return progress::done;
  }

  /// One a vertex; `never`: not reached.
  [[nodiscard]] std::span<const time_type> arrivals() const noexcept { return arrivals_.view(); }
  /// The one from which it was first reached.
  [[nodiscard]] std::span<const vertex> parents() const noexcept { return parents_.view(); }
  [[nodiscard]] std::uint64_t reached() const noexcept { return reached_; }

private:
  static constexpr std::uint64_t chunk = 1U << 15;

  [[nodiscard]] bool heard(vertex v) const noexcept { return (heard_[v / 64] >> (v % 64) & 1) != 0; }

  void reach(vertex v, vertex from, time_type when) {
    heard_[v / 64] |= std::uint64_t{1} << (v % 64);
    arrivals_[v] = when;
    parents_[v] = from;
    ++reached_;
  }

  /// Times do not fall, so the first arrival is the earliest, and whoever has heard has done so by now: a bit a vertex answers
  /// most contacts, which fits a cache where times do not.
  template <bool Strictly>
  void scan(std::uint64_t end) {
    log_.for_each(next_, end, [this](vertex source, vertex target, time_type when) {
      if (heard(target) || !heard(source) || when < start_) {
        return;
      }
      if constexpr (Strictly) {
        if (arrivals_[source] >= when) {
          return;
        }
      }
      reach(target, source, when);
    });
  }

  Log log_;
  std::uint64_t next_;
  std::uint64_t last_;
  time_type start_;
  ties ties_;
  huge_array<std::uint64_t> heard_;
  huge_array<time_type> arrivals_;
  huge_array<vertex> parents_;
  std::uint64_t reached_ = 0;
};

/// Arcs that can be passed during an interval of time. `for_each_interval(v, f)` calls f(target, interval) for each arc out of v.
template <class G>
concept timed_adjacency = requires(const G& g, vertex v) {
  { g.vertices() } -> std::convertible_to<vertex>;
  g.for_each_interval(v, [](vertex, interval) {});
};

/// The earliest arrival along arcs that are there for a while (their valid time, say): one waits at a vertex until the next arc can
/// be passed, which takes no time. Intervals come in any order, so this is Dijkstra's algorithm with times for distances; for
/// moments in order take `earliest_arrival`, which takes a twentieth of the time. O((arcs + vertices) log vertices). One thread.
template <timed_adjacency Out>
class earliest_arrival_during {
public:
  static constexpr time_us never = end_of_time;

  /// `window`: the news is at `source` from its begin on, and arcs are passed within it.
  earliest_arrival_during(Out out, vertex source, interval window)
      : out_(std::move(out)), window_(window), arrivals_(out_.vertices()), parents_(out_.vertices()) {
    std::fill(arrivals_.begin(), arrivals_.end(), never);
    std::fill(parents_.begin(), parents_.end(), no_vertex);
    if (source < out_.vertices() && !window.empty()) {
      arrivals_[source] = window.from;
      parents_[source] = source;
      reached_ = 1;
      heap_.emplace(window.from, source);
    }
  }

  progress step(budget& allowed) {
    if (allowed.is_cancelled()) {
      return progress::cancelled;
    }
    std::uint64_t taken = 0;
    while (!heap_.empty()) {
      if (taken >= 2'048 && !allowed.spend(std::exchange(taken, 0))) {
        return allowed.unfinished();
      }
      auto const now = heap_.top().first;
      auto const from = heap_.top().second;
      heap_.pop();
      ++taken;
      if (now > arrivals_[from]) {
        continue;
      }
      out_.for_each_interval(from, [&](vertex to, interval passable) {
        ++taken;
        auto const when = std::max(now, passable.from);
        if (when < std::min(passable.to, window_.to) && when < arrivals_[to]) {
          reached_ += arrivals_[to] == never ? 1 : 0;
          arrivals_[to] = when;
          parents_[to] = from;
          heap_.emplace(when, to);
        }
      });
    }
    return progress::done;
  }

  [[nodiscard]] std::span<const time_us> arrivals() const noexcept { return arrivals_.view(); }
  [[nodiscard]] std::span<const vertex> parents() const noexcept { return parents_.view(); }
  [[nodiscard]] std::uint64_t reached() const noexcept { return reached_; }

private:
  using entry = std::pair<time_us, vertex>;

  Out out_;
  interval window_;
  huge_array<time_us> arrivals_;
  huge_array<vertex> parents_;
  std::uint64_t reached_ = 0;
  std::priority_queue<entry, std::vector<entry>, std::greater<>> heap_;
};

}  // namespace rhizome
