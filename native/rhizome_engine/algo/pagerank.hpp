// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "algo/budget.hpp"
#include "algo/huge_array.hpp"
#include "algo/team.hpp"
#include "base/adjacency.hpp"

namespace rhizome {

struct pagerank_options {
  double damping = 0.85;
  double tolerance = 1e-4;  ///< Stops when the scores change by less than this in sum.
  unsigned iterations_max = 20;
  /// What becomes of the rank of vertices without an arc out. The GAP benchmark loses it, so that scores sum to less than 1;
  /// shared among all, as igraph and NetworkX do it, they sum to 1.
  bool share_dangling = false;
};

/// Which vertices matter, by the arcs that lead to them: PageRank by pulling along arcs in, each new score used at once
/// (Gauss-Seidel, as in the GAP benchmark, which takes fewer iterations than all from the old ones). `out` gives degrees, `in`
/// the arcs into a vertex; an undirected graph is its own `in`. More than one member of a team pays from a million arcs upwards,
/// and makes scores vary within the tolerance from run to run. Memory: 12 bytes a vertex, and 8 more where `in` is a
/// placed_adjacency: what is written beside it while it runs then costs it nothing.
template <adjacency Out, adjacency In>
class pagerank {
public:
  pagerank(Out out, In in, pagerank_options options = {})
      : out_(std::move(out)),
        in_(std::move(in)),
        options_(options),
        vertices_(out_.vertices()),
        scores_(vertices_),
        contributions_(vertices_),
        shares_(vertices_),
        places_(placed_adjacency<In> ? vertices_ : 0) {
    pass_.start(vertices_, chunk);
  }

  progress step(budget& allowed, team& workers) {
    if (change_.size() < workers.size()) {  // a step with a smaller team keeps what the larger one counted
      change_.resize(workers.size());
      dangling_.resize(workers.size());
    }
    if (!prepared_) {
      if (!pass_.run(workers, allowed,
                     [this](unsigned member, auto first, auto last) { return prepare(member, first, last); })) {
        return allowed.unfinished();
      }
      prepared_ = true;
      next_iteration();
    }
    while (!finished_) {
      bool const whole =
          workers.size() == 1 ? pass_.run(workers, allowed, pull<false>()) : pass_.run(workers, allowed, pull<true>());
      if (!whole) {
        return allowed.unfinished();
      }
      ++iterations_;
      last_change_ = 0;
      for (auto& part : change_) {
        last_change_ += std::exchange(part.value, 0.0);
      }
      finished_ = last_change_ < options_.tolerance || iterations_ >= options_.iterations_max;
      next_iteration();
    }
    return progress::done;
  }
  progress step(budget& allowed) { return step(allowed, alone_); }

  /// One a vertex; good once a step has returned done, for as long as this lives.
  [[nodiscard]] std::span<const float> scores() const noexcept { return scores_.view(); }
  [[nodiscard]] unsigned iterations() const noexcept { return iterations_; }
  [[nodiscard]] double last_change() const noexcept { return last_change_; }

private:
  static constexpr std::uint64_t chunk = 512;
  static constexpr std::uint64_t ahead = 12;    // vertices between the look at where arcs lie and the arcs
  static constexpr std::ptrdiff_t line = 16;    // sources in a cache line
  static constexpr std::ptrdiff_t reach = 512;  // sources between those that are asked for and those that are read

  std::uint64_t prepare(unsigned member, std::uint64_t first, std::uint64_t last) {
    auto const initial = 1.0F / static_cast<float>(vertices_);
    for (auto i = first; i < last; ++i) {
      if constexpr (placed_adjacency<In>) {
        places_[i] = in_.place_of(static_cast<vertex>(i));
      }
      auto const degree = out_.degree(static_cast<vertex>(i));
      scores_[i] = initial;
      shares_[i] = degree == 0 ? 0.0F : 1.0F / static_cast<float>(degree);
      contributions_[i] = initial * shares_[i];
      if (degree == 0) {
        dangling_[member].value += initial;
      }
    }
    return last - first;
  }

  void next_iteration() {
    pass_.start(vertices_, chunk);
    double lost = 0;
    for (auto& part : dangling_) {
      lost += std::exchange(part.value, 0.0);
    }
    auto const from_nowhere = 1.0 - options_.damping + (options_.share_dangling ? options_.damping * lost : 0.0);
    base_ = static_cast<float>(from_nowhere / static_cast<double>(vertices_));
  }

  /// What a vertex contributes to each of its targets. `Shared`: see pull().
  template <bool Shared>
  static float contribution(float* contributions, vertex source) noexcept {
    if constexpr (Shared) {
      return std::atomic_ref<float>(contributions[source]).load(std::memory_order_relaxed);
    } else {
      return contributions[source];
    }
  }

  /// Asks for the first of `sources`, wherever they end: to count lines costs more than to ask for some in vain.
  static void ask_for(std::span<const vertex> sources) noexcept {
    for (std::ptrdiff_t i = 0; i < 8; ++i) {
      __builtin_prefetch(sources.data() + i * line);
    }
  }

  /// The contributions of `sources`. Asks for each line of them well ahead, past the end for those of the vertices behind: a processor that
  /// looks ahead by itself does so within a page and begins anew in each list. The sum is a local that nothing else refers to, or
  /// the compiler keeps it in memory from one atomic load to the next.
  template <bool Shared>
  static float gathered(std::span<const vertex> sources, float* contributions) noexcept {
    float sum = 0;
    auto const* at = sources.data();
    auto const* const end = at + sources.size();
    while (end - at >= line) {
      __builtin_prefetch(at + reach);
      for (auto const* const next = at + line; at != next; ++at) {
        sum += contribution<Shared>(contributions, *at);
      }
    }
    for (; at != end; ++at) {
      sum += contribution<Shared>(contributions, *at);
    }
    return sum;
  }

  /// The contributions to vertex i, in a pass that goes on to `last`.
  template <bool Shared>
  float pulled(std::uint64_t i, std::uint64_t last, float* contributions, std::uint64_t& arcs) const {
    if constexpr (placed_adjacency<In>) {
      auto const at = places_[i];
      ask_for(in_.targets_at(places_[std::min(i + ahead, last - 1)]));
      if (at != no_place) [[likely]] {
        auto const sources = in_.targets_at(at);
        arcs += sources.size();
        return gathered<Shared>(sources, contributions);
      }
    }
    if constexpr (listed_adjacency<In>) {
      ask_for(in_.neighbours(static_cast<vertex>(std::min(i + ahead, last - 1))));
      auto const sources = in_.neighbours(static_cast<vertex>(i));
      arcs += sources.size();
      return gathered<Shared>(sources, contributions);
    } else {
      if constexpr (!placed_adjacency<In>) {
        in_.prefetch(static_cast<vertex>(std::min(i + ahead, last - 1)));
      }
      float sum = 0;
      in_.for_each(static_cast<vertex>(i), [&](vertex source) {
        sum += contribution<Shared>(contributions, source);
        ++arcs;
      });
      return sum;
    }
  }

  /// `Shared`: other members write contributions meanwhile. Old or new is all the same to the method; the atomic access makes
  /// it one of the two.
  template <bool Shared>
  auto pull() {
    return [this](unsigned member, std::uint64_t first, std::uint64_t last) {
      auto* const contributions = contributions_.data();
      auto* const scores = scores_.data();
      auto const* const shares = shares_.data();
      auto const base = base_;
      auto const damping = static_cast<float>(options_.damping);
      std::uint64_t arcs = 0;
      double change = 0;
      double lost = 0;
      for (auto i = first; i < last; ++i) {
        auto const sum = pulled<Shared>(i, last, contributions, arcs);
        auto const score = base + damping * sum;
        change += std::fabs(score - scores[i]);
        scores[i] = score;
        if constexpr (Shared) {
          std::atomic_ref<float>(contributions[i]).store(score * shares[i], std::memory_order_relaxed);
        } else {
          contributions[i] = score * shares[i];
        }
        lost += shares[i] == 0.0F ? score : 0.0F;
      }
      change_[member].value += change;
      dangling_[member].value += lost;
      return arcs + (last - first);
    };
  }

  Out out_;
  In in_;
  pagerank_options options_;
  vertex vertices_;
  huge_array<float> scores_;
  huge_array<float> contributions_;  // a vertex's score for each of its arcs out
  huge_array<float> shares_;         // 1 / degree: a view may have to count to know a degree
  huge_array<arcs_place> places_;    // of a vertex's arcs in
  std::vector<padded<double>> change_;
  std::vector<padded<double>> dangling_;
  pass pass_;
  team alone_;
  float base_ = 0;
  double last_change_ = 0;
  unsigned iterations_ = 0;
  bool prepared_ = false;
  bool finished_ = false;
};

}  // namespace rhizome
