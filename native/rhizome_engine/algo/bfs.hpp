// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "algo/budget.hpp"
#include "algo/huge_array.hpp"
#include "algo/team.hpp"
#include "base/adjacency.hpp"

namespace rhizome {

struct bfs_options {
  bool direction_optimising = true;  ///< false: along arcs out alone; then the view of arcs in is never looked at.
};

/// Which vertices can be reached from one, by the fewest arcs: a breadth-first tree. Where a level has so many arcs that most lead
/// to vertices already found, the vertices not yet found look for a parent instead (Beamer, Asanovic and Patterson,
/// "Direction-Optimizing Breadth-First Search", SC 2012, with their parameters 15 and 18). `in` has the arcs into a vertex; an
/// undirected graph is its own `in`. Which of several parents a vertex gets is not defined, the level is. More than one member of
/// a team pays from a million arcs upwards. Memory: 8 bytes and 2 bits a vertex.
template <adjacency Out, adjacency In>
class bfs {
public:
  /// Nothing is reached from a `source` that is not there.
  bfs(Out out, In in, vertex source, bfs_options options = {})
      : out_(std::move(out)),
        in_(std::move(in)),
        options_(options),
        vertices_(out_.vertices()),
        source_(source),
        parents_(vertices_),
        queue_(vertices_) {
    pass_.start(vertices_, 1U << 16);
  }

  progress step(budget& allowed, team& workers) {
    if (locals_.size() < workers.size()) {  // a step with a smaller team keeps what the larger one counted
      locals_.resize(workers.size());
    }
    for (;;) {
      bool whole = true;
      switch (phase_) {
        case phase::clear:
          whole = pass_.run(workers, allowed, [this](unsigned, auto first, auto last) {
            std::fill(parents_.begin() + first, parents_.begin() + last, no_vertex);
            return (last - first) / 16;
          });
          break;
        case phase::down:
          whole = workers.size() == 1 ? pass_.run(workers, allowed, down<false>())
                                      : pass_.run(workers, allowed, down<true>());
          break;
        case phase::up:
          whole = pass_.run(workers, allowed,
                            [this](unsigned member, auto first, auto last) { return up(member, first, last); });
          break;
        case phase::found: return progress::done;
      }
      if (!whole) {
        return allowed.unfinished();
      }
      next_phase();
    }
  }
  progress step(budget& allowed) { return step(allowed, alone_); }

  /// For each vertex the one before it on a shortest way from the source, which is its own; no_vertex: not reached. Good once a
  /// step has returned done, for as long as this lives.
  [[nodiscard]] std::span<const vertex> parents() const noexcept { return parents_.view(); }
  [[nodiscard]] std::uint64_t reached() const noexcept { return reached_; }

  /// The vertices of a shortest way from the source to `target`, both included; empty where there is none.
  [[nodiscard]] std::vector<vertex> path_to(vertex target) const {
    std::vector<vertex> path;
    if (target >= vertices_ || parents_[target] == no_vertex) {
      return path;
    }
    for (auto at = target; path.push_back(at), at != source_;) {
      at = parents_[at];
    }
    std::reverse(path.begin(), path.end());
    return path;
  }

private:
  enum class phase : std::uint8_t { clear, down, up, found };
  struct alignas(64) local {
    std::vector<vertex> found;  // on its way to queue_
    std::uint64_t arcs = 0;     // out of what this member found
    std::uint64_t awake = 0;
  };
  static constexpr std::uint64_t ahead = 4;  // vertices between the look at where arcs lie and the arcs
  static constexpr std::uint64_t alpha =
      15;                                    // go up when the front has more than 1/alpha of the arcs not yet looked at
  static constexpr std::uint64_t beta = 18;  // and down again when it has fewer than 1/beta of the vertices

  /// What follows on a phase that is through.
  void next_phase() {
    std::uint64_t arcs = 0;
    std::uint64_t awake = 0;
    for (auto& member : locals_) {
      flush(member);
      arcs += std::exchange(member.arcs, 0);
      awake += std::exchange(member.awake, 0);
    }
    switch (phase_) {
      case phase::clear:
        arcs_left_ = out_.arcs();
        if (source_ < vertices_) {
          parents_[source_] = source_;
          queue_[0] = source_;
          queued_.store(1, std::memory_order_relaxed);
          arcs = out_.degree(source_);
        }
        begin_level_down(0, arcs);
        break;
      case phase::down: begin_level_down(level_end_, arcs); break;
      case phase::up:
        reached_ += awake;
        std::swap(front_, next_);
        if (awake >= awake_ || awake > vertices_ / beta) {
          awake_ = awake;
          begin_level_up();
        } else {
          queue_from_front();
        }
        break;
      case phase::found: break;
    }
  }

  /// The front is what is queued from `begin` on, with `arcs` arcs out.
  void begin_level_down(std::uint64_t begin, std::uint64_t arcs) {
    auto const end = queued_.load(std::memory_order_relaxed);
    level_begin_ = begin;
    level_end_ = end;
    reached_ += end - begin;
    if (begin == end) {
      phase_ = phase::found;
    } else if (options_.direction_optimising && arcs > arcs_left_ / alpha) {
      if (front_.size() == 0) {
        front_ = huge_array<std::uint64_t>((std::size_t{vertices_} + 63) / 64);
        next_ = huge_array<std::uint64_t>(front_.size());
      }
      std::fill(front_.begin(), front_.end(), 0);
      for (auto i = begin; i < end; ++i) {
        front_[queue_[i] / 64] |= std::uint64_t{1} << (queue_[i] % 64);
      }
      awake_ = end - begin;
      begin_level_up();
    } else {
      arcs_left_ -= std::min(arcs_left_, arcs);
      phase_ = phase::down;
      pass_.start(end - begin, 64);
    }
  }

  void begin_level_up() {
    phase_ = phase::up;
    pass_.start(vertices_, 1'024);
  }

  /// From the bit map of the last level up to a queue, for the levels down that end the search. What the queue held is through.
  void queue_from_front() {
    std::uint64_t count = 0;
    std::uint64_t arcs = 1;
    for (std::size_t word = 0; word < front_.size(); ++word) {
      for (auto bits = front_[word]; bits != 0; bits &= bits - 1) {
        queue_[count++] = static_cast<vertex>(word * 64 + static_cast<unsigned>(__builtin_ctzll(bits)));
      }
    }
    queued_.store(count, std::memory_order_relaxed);
    reached_ -= count;  // begin_level_down counts them again
    arcs_left_ = std::max(arcs_left_, alpha * arcs);
    begin_level_down(0, arcs);
  }

  void flush(local& member) {
    if (member.found.empty()) {
      return;
    }
    auto const at = queued_.fetch_add(member.found.size(), std::memory_order_relaxed);  // slots are disjoint
    std::copy(member.found.begin(), member.found.end(), queue_.begin() + at);
    member.found.clear();
  }

  /// `Shared`: other members look for children as well, and one of them is to have each.
  template <bool Shared>
  auto down() {
    return [this](unsigned member, std::uint64_t first, std::uint64_t last) {
      auto& mine = locals_[member];
      auto* const parents = parents_.data();
      std::uint64_t taken = last - first;
      for (auto i = level_begin_ + first; i < level_begin_ + last; ++i) {
        if (i + 2 * ahead < level_end_) {
          if constexpr (requires { out_.prefetch_entry(vertex{}); }) {
            out_.prefetch_entry(queue_[i + 2 * ahead]);
          }
        }
        if (i + ahead < level_end_) {
          out_.prefetch(queue_[i + ahead]);
        }
        auto const from = queue_[i];
        out_.for_each(from, [&](vertex to) {
          ++taken;
          if constexpr (Shared) {
            std::atomic_ref<vertex> parent(parents[to]);
            auto expected = no_vertex;
            if (parent.load(std::memory_order_relaxed) != no_vertex ||
                !parent.compare_exchange_strong(expected, from, std::memory_order_relaxed)) {
              return;
            }
          } else {
            if (parents[to] != no_vertex) {
              return;
            }
            parents[to] = from;
          }
          mine.found.push_back(to);
        });
      }
      for (auto const found : mine.found) {  // apart, so that these reads wait together
        mine.arcs += out_.degree(found);
      }
      flush(mine);
      return taken;
    };
  }

  std::uint64_t up(unsigned member, std::uint64_t first, std::uint64_t last) {
    auto const* const front = front_.data();
    auto* const parents = parents_.data();
    std::uint64_t taken = (last - first) / 4;
    std::uint64_t awake = 0;
    for (auto base = first; base < last; base += 64) {
      std::uint64_t found = 0;
      auto const end = std::min(base + 64, last);
      for (auto i = base; i < end; ++i) {
        if (i + 2 * ahead < last && parents[i + 2 * ahead] == no_vertex) {
          in_.prefetch(static_cast<vertex>(i + 2 * ahead));
        }
        if (parents[i] != no_vertex) {
          continue;
        }
        in_.for_each(static_cast<vertex>(i), [&](vertex from) -> bool {
          ++taken;
          if ((front[from / 64] >> (from % 64) & 1) == 0) {
            return true;
          }
          parents[i] = from;
          found |= std::uint64_t{1} << (i % 64);
          return false;
        });
      }
      next_[base / 64] = found;  // a chunk's words are its own
      awake += static_cast<unsigned>(__builtin_popcountll(found));
    }
    locals_[member].awake += awake;
    return taken;
  }

  Out out_;
  In in_;
  bfs_options options_;
  vertex vertices_;
  vertex source_;
  huge_array<vertex> parents_;
  huge_array<vertex> queue_;  // each vertex is in it at most once
  std::atomic<std::uint64_t> queued_{0};
  std::uint64_t level_begin_ = 0;
  std::uint64_t level_end_ = 0;
  huge_array<std::uint64_t> front_;
  huge_array<std::uint64_t> next_;
  std::vector<local> locals_;
  pass pass_;
  team alone_;
  std::uint64_t arcs_left_ = 0;  // an estimate: out of vertices not in any front so far
  std::uint64_t awake_ = 0;
  std::uint64_t reached_ = 0;
  phase phase_ = phase::clear;
};

}  // namespace rhizome
