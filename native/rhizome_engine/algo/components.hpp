// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <utility>

#include "algo/budget.hpp"
#include "algo/huge_array.hpp"
#include "algo/team.hpp"
#include "base/adjacency.hpp"

namespace rhizome {

/// Which vertices hang together, arcs taken without their direction: weakly connected components by Afforest (Sutton, Ben-Nun
/// and Barak, "Optimizing Parallel Graph Connectivity Computation via Subgraph Sampling", IPDPS 2018): two arcs of each
/// vertex join most of the largest component, and the rest of that one's arcs are never looked at. `in` has the arcs into a vertex;
/// an undirected graph is its own `in`, with `undirected` set so that it is not walked twice. More than one member of a team
/// pays from a million arcs upwards. Memory: 4 bytes a vertex.
template <adjacency Out, adjacency In>
class components {
public:
  components(Out out, In in, bool undirected)
      : out_(std::move(out)),
        in_(std::move(in)),
        vertices_(out_.vertices()),
        undirected_(undirected),
        labels_(vertices_) {
    pass_.start(vertices_, 1U << 15);
  }

  progress step(budget& allowed, team& workers) {
    while (phase_ != phase::found) {
      if (!pass_.run(workers, allowed, [this](unsigned, auto first, auto last) { return work(first, last); })) {
        return allowed.unfinished();
      }
      if (phase_ == phase::sampled) {
        largest_ = most_frequent();
      }
      phase_ = static_cast<phase>(static_cast<int>(phase_) + 1);
      auto const walks = phase_ == phase::sample || phase_ == phase::join;
      pass_.start(vertices_, walks ? 1'024 : 1U << 15);
    }
    return progress::done;
  }
  progress step(budget& allowed) { return step(allowed, alone_); }

  /// For each vertex the smallest vertex of its component. Good once a step has returned done, for as long as this lives.
  [[nodiscard]] std::span<const vertex> labels() const noexcept { return labels_.view(); }
  [[nodiscard]] std::uint64_t count() const {
    std::uint64_t roots = 0;
    for (vertex v = 0; v < vertices_; ++v) {
      roots += labels_[v] == v ? 1U : 0U;
    }
    return roots;
  }

private:
  enum class phase : std::uint8_t { clear, sample, sampled, join, joined, found };

  // Relaxed: a label only ever moves to a smaller vertex of the same component, so any value read is a right one.
  [[nodiscard]] vertex label(vertex v) { return std::atomic_ref<vertex>(labels_[v]).load(std::memory_order_relaxed); }

  std::uint64_t work(std::uint64_t first, std::uint64_t last) {
    std::uint64_t arcs = (last - first) / 4;
    for (auto i = first; i < last; ++i) {
      auto const v = static_cast<vertex>(i);
      switch (phase_) {
        case phase::clear: labels_[i] = v; break;
        case phase::sample: arcs += sample(v); break;
        case phase::sampled:
        case phase::joined: compress(v); break;
        case phase::join: arcs += join(v); break;
        case phase::found: break;
      }
    }
    return arcs;
  }

  std::uint64_t sample(vertex v) {
    std::uint64_t seen = 0;
    out_.for_each(v, [&](vertex target) -> bool {
      link(v, target);
      return ++seen < 2;
    });
    return seen;
  }

  std::uint64_t join(vertex v) {
    if (label(v) == largest_) {
      return 1;  // an arc to another component is seen from there: as its arc in, or out where undirected
    }
    std::uint64_t seen = 0;
    auto const visit = [&](vertex target) {
      link(v, target);
      ++seen;
    };
    out_.for_each(v, visit);
    if (!undirected_) {
      in_.for_each(v, visit);
    }
    return seen;
  }

  void link(vertex a, vertex b) {
    auto high = label(a);
    auto low = label(b);
    while (high != low) {
      if (high < low) {
        std::swap(high, low);
      }
      auto const above = label(high);
      if (above == low) {
        return;
      }
      auto expected = high;
      if (above == high &&
          std::atomic_ref<vertex>(labels_[high]).compare_exchange_strong(expected, low, std::memory_order_relaxed)) {
        return;
      }
      high = label(label(high));
      low = label(low);
    }
  }

  void compress(vertex v) {
    auto root = label(v);
    while (root != label(root)) {
      root = label(root);
    }
    std::atomic_ref<vertex>(labels_[v]).store(root, std::memory_order_relaxed);
  }

  /// The label of most of a sample of vertices. Whatever it is the result is right; it only saves work.
  [[nodiscard]] vertex most_frequent() const {
    std::unordered_map<vertex, unsigned> counts;
    std::pair<unsigned, vertex> best{0, no_vertex};
    std::uint64_t random = 88'172'645'463'325'252ULL;
    for (int i = 0; i < 1'024 && vertices_ != 0; ++i) {
      random ^= random << 13;
      random ^= random >> 7;
      random ^= random << 17;
      auto const one = labels_[random % vertices_];
      best = std::max(best, {++counts[one], one});
    }
    return best.second;
  }

  Out out_;
  In in_;
  vertex vertices_;
  bool undirected_;
  huge_array<vertex> labels_;
  pass pass_;
  team alone_;
  vertex largest_ = no_vertex;
  phase phase_ = phase::clear;
};

}  // namespace rhizome
