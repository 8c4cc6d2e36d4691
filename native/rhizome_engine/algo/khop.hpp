// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "algo/budget.hpp"
#include "algo/vertex_set.hpp"
#include "base/adjacency.hpp"

namespace rhizome {

/// Which vertices are within some arcs of a few: takes time and memory by what it finds, not by the graph. One thread.
template <adjacency Out>
class khop {
public:
  /// Seeds that are not there are left out; a seed is its own level 0.
  khop(Out out, std::span<const vertex> seeds, unsigned hops_max)
      : out_(std::move(out)), hops_max_(hops_max), seen_(out_.vertices()) {
    for (auto const seed : seeds) {
      if (seed < out_.vertices() && seen_.insert(seed)) {
        found_.push_back(seed);
      }
    }
    levels_ = {0, found_.size()};
  }

  progress step(budget& allowed) {
    if (allowed.is_cancelled()) {
      return progress::cancelled;
    }
    std::uint64_t taken = 0;
    for (;;) {
      auto const end = levels_.back();
      if (levels_.size() > std::size_t{hops_max_} + 1 || levels_[levels_.size() - 2] == end) {
        return progress::done;
      }
      for (; next_ < end; ++next_) {
        if (next_ + 4 < end) {
          out_.prefetch(found_[next_ + 4]);
        }
        out_.for_each(found_[next_], [&](vertex to) {
          ++taken;
          if (seen_.insert(to)) {
            found_.push_back(to);
          }
        });
        if (++taken >= 4'096 && !allowed.spend(std::exchange(taken, 0))) {
          ++next_;
          return allowed.unfinished();
        }
      }
      levels_.push_back(found_.size());
    }
  }

  /// All that were found, each once, nearest first. Good until the next step.
  [[nodiscard]] std::span<const vertex> found() const noexcept { return found_; }
  /// Those at exactly `hops` arcs.
  [[nodiscard]] std::span<const vertex> level(unsigned hops) const noexcept {
    if (hops + std::size_t{1} >= levels_.size()) {
      return {};
    }
    return std::span<const vertex>(found_).subspan(levels_[hops], levels_[hops + std::size_t{1}] - levels_[hops]);
  }

private:
  Out out_;
  unsigned hops_max_;
  vertex_set seen_;
  std::vector<vertex> found_;
  std::vector<std::size_t> levels_;  // where in found_ each begins, and where the last one ends
  std::size_t next_ = 0;             // in found_: whose arcs come next
};

}  // namespace rhizome
