// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <queue>
#include <span>
#include <utility>
#include <vector>

#include "algo/budget.hpp"
#include "algo/huge_array.hpp"
#include "base/adjacency.hpp"

namespace rhizome {

/// What an arc costs: a property of it, or anything else that a function of its ends can tell. Infinity: it can not be passed.
template <class W>
concept arc_weight = requires(W weight, vertex v) {
  { weight(v, v) } -> std::convertible_to<double>;
};

/// The cheapest ways from one vertex, by what each arc costs: Dijkstra's algorithm with a binary heap, where an entry that has
/// been overtaken is passed over when it comes up. (Without weights take `bfs`.) O((arcs + vertices) log vertices); memory 12
/// bytes a vertex, and at most 16 an arc for the heap. One thread.
template <adjacency Out, arc_weight Weight>
class shortest_paths {
public:
  static constexpr double unreachable = std::numeric_limits<double>::infinity();

  /// With a `target` it is done as soon as that one's way is known; other ways may then be missing or not be the cheapest yet.
  shortest_paths(Out out, vertex source, Weight weight, vertex target = no_vertex)
      : out_(std::move(out)),
        weight_(std::move(weight)),
        target_(target),
        distances_(out_.vertices()),
        parents_(out_.vertices()) {
    std::fill(distances_.begin(), distances_.end(), unreachable);
    std::fill(parents_.begin(), parents_.end(), no_vertex);
    if (source < out_.vertices()) {
      distances_[source] = 0;
      parents_[source] = source;
      reached_ = 1;
      heap_.emplace(0.0, source);
    }
  }

  progress step(budget& allowed) {
    if (allowed.is_cancelled()) {
      return progress::cancelled;
    }
    std::uint64_t taken = 0;
    while (!heap_.empty() && !refused_) {
      if (taken >= 2'048 && !allowed.spend(std::exchange(taken, 0))) {
        return allowed.unfinished();
      }
      auto const distance = heap_.top().first;
      auto const from = heap_.top().second;
      ++taken;
      if (from == target_ && distance <= distances_[from]) {
        break;
      }
      heap_.pop();
      if (distance > distances_[from]) {
        continue;
      }
      out_.for_each(from, [&](vertex to) {
        ++taken;
        relax(from, to, distance);
      });
    }
    return progress::done;
  }

  /// One a vertex; `unreachable` where there is no way.
  [[nodiscard]] std::span<const double> distances() const noexcept { return distances_.view(); }
  /// The one before it on a cheapest way; the source is its own; no_vertex: not reached.
  [[nodiscard]] std::span<const vertex> parents() const noexcept { return parents_.view(); }
  /// How many have a way, of those that were met: with a `target` perhaps not all.
  [[nodiscard]] std::uint64_t reached() const noexcept { return reached_; }
  /// The first arc met whose weight was negative or no number, for which this algorithm is wrong: it stopped there.
  [[nodiscard]] std::optional<std::pair<vertex, vertex>> refused() const noexcept { return refused_; }

private:
  void relax(vertex from, vertex to, double distance) {
    auto const weight = static_cast<double>(weight_(from, to));
    if (!(weight >= 0)) {
      refused_ = refused_.value_or(std::pair(from, to));
      return;
    }
    auto const there = distance + weight;
    if (there < distances_[to]) {
      reached_ += distances_[to] == unreachable ? 1 : 0;
      distances_[to] = there;
      parents_[to] = from;
      heap_.emplace(there, to);
    }
  }

  using entry = std::pair<double, vertex>;

  Out out_;
  Weight weight_;
  vertex target_;
  huge_array<double> distances_;
  huge_array<vertex> parents_;
  std::priority_queue<entry, std::vector<entry>, std::greater<>> heap_;
  std::uint64_t reached_ = 0;
  std::optional<std::pair<vertex, vertex>> refused_;
};

}  // namespace rhizome
