// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "algo/budget.hpp"
#include "algo/huge_array.hpp"
#include "algo/team.hpp"
#include "base/adjacency.hpp"

namespace rhizome {

/// How many triangles an undirected graph has: each vertex gets a rank by degree and keeps the arcs to higher ranks alone, so
/// that a hub has few; then the arcs of an arc's far end are looked up among the near end's, which are marked (Schank and Wagner,
/// "Finding, Counting and Listing all Triangles in Large Graphs", 2005: `forward`). The view must have both directions of every
/// edge; loops and repeated arcs do not count. Each member of a team pays, from ten thousand arcs upwards, and takes a byte a
/// vertex. Memory: 4 bytes an edge and 16 a vertex. O(arcs^1.5).
template <adjacency Graph>
class triangles {
public:
  explicit triangles(Graph graph)
      : graph_(std::move(graph)),
        vertices_(graph_.vertices()),
        ranks_(vertices_),
        by_rank_(vertices_),
        begins_(std::size_t{vertices_} + 1),
        ends_(vertices_) {
    pass_.start(vertices_, 1U << 14);
  }

  progress step(budget& allowed, team& workers) {
    if (locals_.size() < workers.size()) {
      locals_.resize(workers.size());
    }
    while (phase_ != phase::counted) {
      auto const work = [this](unsigned member, auto first, auto last) { return this->work(member, first, last); };
      if (!pass_.run(workers, allowed, work)) {
        return allowed.unfinished();
      }
      next_phase();
    }
    return progress::done;
  }
  progress step(budget& allowed) { return step(allowed, alone_); }

  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }

private:
  enum class phase : std::uint8_t { degrees, fill, count, counted };
  struct alignas(64) local {
    huge_array<std::uint8_t> marks;  // one a rank; all zero between vertices
    std::uint64_t found = 0;
  };

  std::uint64_t work(unsigned member, std::uint64_t first, std::uint64_t last) {
    std::uint64_t taken = last - first;
    for (auto i = first; i < last; ++i) {
      switch (phase_) {
        case phase::degrees: ranks_[i] = graph_.degree(static_cast<vertex>(i)); break;
        case phase::fill: taken += fill(i); break;
        case phase::count: taken += count_at(locals_[member], i); break;
        case phase::counted: break;
      }
    }
    return taken;
  }

  void next_phase() {
    switch (phase_) {
      case phase::degrees:
        rank();
        pass_.start(vertices_, 512);
        phase_ = phase::fill;
        break;
      case phase::fill:
        pass_.start(vertices_, 64);
        phase_ = phase::count;
        break;
      case phase::count:
        for (auto& member : locals_) {
          count_ += std::exchange(member.found, 0);
        }
        phase_ = phase::counted;
        break;
      case phase::counted: break;
    }
  }

  /// From degrees in ranks_ to ranks, the smallest degree first, by counting; begins_ from upper bounds of what each will keep.
  void rank() {
    std::vector<vertex> starts;
    for (vertex v = 0; v < vertices_; ++v) {
      if (ranks_[v] >= starts.size()) {
        starts.resize(std::size_t{ranks_[v]} + 1);
      }
      ++starts[ranks_[v]];
    }
    vertex sum = 0;
    for (auto& start : starts) {
      sum += std::exchange(start, sum);
    }
    std::uint64_t room = 0;
    huge_array<vertex> degrees(vertices_);
    for (vertex v = 0; v < vertices_; ++v) {
      auto const r = starts[ranks_[v]]++;
      by_rank_[r] = v;
      degrees[r] = std::exchange(ranks_[v], r);
    }
    for (vertex r = 0; r < vertices_; ++r) {
      begins_[r] = room;
      // No one keeps more than there are higher ranks. The sum is at most the arcs; what is not kept is never touched.
      room += std::min(degrees[r], vertices_ - 1 - r);
    }
    begins_[vertices_] = room;
    kept_ = huge_array<vertex>(room);
  }

  std::uint64_t fill(std::uint64_t r) {
    auto* const first = kept_.data() + begins_[r];
    auto* last = first;
    auto const room = begins_[r + 1] - begins_[r];
    std::vector<vertex> spill;  // repeated arcs may be more than there is room for
    graph_.for_each(by_rank_[r], [&](vertex to) {
      if (auto const rank = ranks_[to]; rank > r) {
        if (static_cast<std::uint64_t>(last - first) < room) {
          *last++ = rank;
        } else {
          spill.push_back(rank);
        }
      }
    });
    auto const seen = static_cast<std::uint64_t>(last - first) + spill.size();
    if (!spill.empty()) {
      spill.insert(spill.end(), first, last);
      std::sort(spill.begin(), spill.end());
      last = std::copy(spill.begin(), std::unique(spill.begin(), spill.end()), first);
    } else {
      std::sort(first, last);
      last = std::unique(first, last);
    }
    ends_[r] = begins_[r] + static_cast<std::uint64_t>(last - first);
    return seen;
  }

  std::uint64_t count_at(local& mine, std::uint64_t r) {
    auto const* const all = kept_.data();
    auto const first = begins_[r];
    auto const last = ends_[r];
    if (last - first < 2) {
      return 0;
    }
    if (mine.marks.size() == 0) {
      mine.marks = huge_array<std::uint8_t>(vertices_);
    }
    auto* const marks = mine.marks.data();
    for (auto i = first; i < last; ++i) {
      marks[all[i]] = 1;
    }
    std::uint64_t taken = last - first;
    std::uint64_t found = 0;
    for (auto i = first; i < last; ++i) {
      auto const end = ends_[all[i]];
      for (auto j = begins_[all[i]]; j < end; ++j) {
        found += marks[all[j]];
      }
      taken += end - begins_[all[i]];
    }
    for (auto i = first; i < last; ++i) {
      marks[all[i]] = 0;
    }
    mine.found += found;
    return taken;
  }

  Graph graph_;
  vertex vertices_;
  huge_array<vertex> ranks_;
  huge_array<vertex> by_rank_;
  huge_array<std::uint64_t> begins_;  // of each rank's arcs to higher ranks, in kept_
  huge_array<std::uint64_t> ends_;
  huge_array<vertex> kept_;  // in ascending order within each
  std::vector<local> locals_;
  pass pass_;
  team alone_;
  std::uint64_t count_ = 0;
  phase phase_ = phase::degrees;
};

}  // namespace rhizome
