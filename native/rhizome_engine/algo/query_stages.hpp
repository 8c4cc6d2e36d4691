// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "algo/budget.hpp"
#include "algo/vertex_set.hpp"
#include "base/adjacency.hpp"

// The steps of a query, each of which pulls rows out of the one before it. A stage is a value: copying it copies its beginning, since
// only cursors pull. pull(out, want, allowed) appends at most want.rows rows to `out` and returns whether that was the end. It
// stops early when the budget is spent, but not before it has got further.
namespace rhizome::detail {

inline constexpr std::size_t batch_rows = 1'024;

/// Some rows, by columns; the last column is where the ways are now.
struct batch {
  explicit batch(std::size_t width) : columns(width) {}

  [[nodiscard]] std::size_t rows() const noexcept { return columns.back().size(); }
  void clear() noexcept {
    for (auto& column : columns) {
      column.clear();
    }
  }
  void append(const batch& other) {
    for (std::size_t i = 0; i < columns.size(); ++i) {
      columns[i].insert(columns[i].end(), other.columns[i].begin(), other.columns[i].end());
    }
  }
  /// Copies row `i` of `from`, which may have more columns than this.
  void append_row(const batch& from, std::size_t i) {
    for (std::size_t c = 0; c < columns.size(); ++c) {
      columns[c].push_back(from.columns[c][i]);
    }
  }

  std::vector<std::vector<vertex>> columns;
};

/// A row, for a condition to look at.
class row_view {
public:
  row_view(const batch& rows, std::size_t index) : rows_(&rows), index_(index) {}
  vertex operator[](std::size_t column) const { return rows_->columns[column][index_]; }
  [[nodiscard]] std::size_t size() const noexcept { return rows_->columns.size(); }

private:
  const batch* rows_;
  std::size_t index_;
};

struct demand {
  std::size_t rows;
  bool last;  ///< Once `rows` rows were given, nothing more will be asked for.
};

class list_stage {
public:
  list_stage(std::vector<vertex> start, vertex vertices) : start_(std::move(start)) {
    std::erase_if(start_, [vertices](vertex v) { return v >= vertices; });
  }
  [[nodiscard]] std::size_t columns() const noexcept { return 1; }
  bool pull(batch& out, demand want, budget& allowed) {
    auto const count = std::min(want.rows, start_.size() - next_);
    auto const from = start_.begin() + static_cast<std::ptrdiff_t>(next_);
    out.columns[0].insert(out.columns[0].end(), from, from + static_cast<std::ptrdiff_t>(count));
    next_ += count;
    allowed.spend(count);
    return next_ == start_.size();
  }

private:
  std::vector<vertex> start_;
  std::size_t next_ = 0;
};

class all_stage {
public:
  explicit all_stage(vertex vertices) : vertices_(vertices) {}
  [[nodiscard]] std::size_t columns() const noexcept { return 1; }
  bool pull(batch& out, demand want, budget& allowed) {
    auto const end = next_ + static_cast<vertex>(std::min<std::size_t>(want.rows, vertices_ - next_));
    allowed.spend(end - next_);
    for (; next_ < end; ++next_) {
      out.columns[0].push_back(next_);
    }
    return next_ == vertices_;
  }

private:
  vertex vertices_;
  vertex next_ = 0;
};

template <class Up, adjacency View>
class expand_stage {
public:
  expand_stage(Up up, View view) : up_(std::move(up)), view_(std::move(view)), from_(up_.columns()) {}
  [[nodiscard]] std::size_t columns() const noexcept { return up_.columns(); }

  bool pull(batch& out, demand want, budget& allowed) {
    auto const full = out.rows() + want.rows;
    while (out.rows() < full) {
      if (next_target_ < targets_.size()) {
        give(out, full);
      } else if (next_row_ < from_.rows()) {
        if (!walk(full - out.rows(), want.last, allowed)) {
          return false;
        }
      } else if (up_done_) {
        return true;
      } else {
        from_.clear();
        next_row_ = 0;
        up_done_ = up_.pull(from_, {std::min(want.rows, batch_rows), false}, allowed);
        if (allowed.spent()) {
          return false;
        }
      }
    }
    return next_target_ == targets_.size() && next_row_ == from_.rows() && up_done_;
  }

private:
  void give(batch& out, std::size_t full) {
    auto const count = std::min(full - out.rows(), targets_.size() - next_target_);
    for (std::size_t c = 0; c + 1 < out.columns.size(); ++c) {
      out.columns[c].insert(out.columns[c].end(), count, from_.columns[c][next_row_ - 1]);
    }
    auto const first = targets_.begin() + static_cast<std::ptrdiff_t>(next_target_);
    out.columns.back().insert(out.columns.back().end(), first, first + static_cast<std::ptrdiff_t>(count));
    next_target_ += count;
  }

  /// The arcs of the next row's vertex; all of them, since a walk can not be taken up again in its middle, unless no more than
  /// `rows` will ever be wanted. Returns whether there may be more work.
  bool walk(std::size_t rows, bool last, budget& allowed) {
    auto const at = from_.columns.back()[next_row_++];
    if (next_row_ + 3 < from_.rows()) {
      view_.prefetch(from_.columns.back()[next_row_ + 3]);
    }
    targets_.clear();
    next_target_ = 0;
    if (last) {
      view_.for_each(at, [&](vertex target) -> bool {
        targets_.push_back(target);
        return targets_.size() < rows;
      });
    } else {
      view_.for_each(at, [&](vertex target) { targets_.push_back(target); });
    }
    return allowed.spend(1 + targets_.size());
  }

  Up up_;
  View view_;
  batch from_;
  std::vector<vertex> targets_;  // of row next_row_ - 1
  std::size_t next_row_ = 0;
  std::size_t next_target_ = 0;
  bool up_done_ = false;
};

template <class Up, class Keep>
class filter_stage {
public:
  filter_stage(Up up, Keep keep) : up_(std::move(up)), keep_(std::move(keep)), from_(up_.columns()) {}
  [[nodiscard]] std::size_t columns() const noexcept { return up_.columns(); }
  bool pull(batch& out, demand want, budget& allowed) {
    constexpr std::size_t between_looks = 64;  // at the clock: a condition may take as long as it likes
    if (next_ == from_.rows() && !up_done_) {
      from_.clear();
      next_ = 0;
      up_done_ = up_.pull(from_, {want.rows, false}, allowed);
    }
    auto const full = out.rows() + want.rows;
    while (next_ < from_.rows() && out.rows() < full) {
      if (keeps(next_)) {
        out.append_row(from_, next_);
      }
      if (++next_ % between_looks == 0 && !allowed.spend(between_looks)) {
        break;
      }
    }
    return up_done_ && next_ == from_.rows();
  }

private:
  bool keeps(std::size_t i) {
    if constexpr (std::is_invocable_r_v<bool, Keep&, vertex>) {
      return keep_(from_.columns.back()[i]);
    } else {
      return keep_(row_view(from_, i));
    }
  }

  Up up_;
  Keep keep_;
  batch from_;
  std::size_t next_ = 0;  // in from_: the row that the condition is asked about next
  bool up_done_ = false;
};

template <class Up>
class keep_stage {
public:
  explicit keep_stage(Up up) : up_(std::move(up)), from_(up_.columns()) {}
  [[nodiscard]] std::size_t columns() const noexcept { return up_.columns() + 1; }
  bool pull(batch& out, demand want, budget& allowed) {
    from_.clear();
    bool const done = up_.pull(from_, want, allowed);
    for (std::size_t c = 0; c < out.columns.size(); ++c) {
      auto const& column = from_.columns[std::min(c, from_.columns.size() - 1)];  // the last one twice
      out.columns[c].insert(out.columns[c].end(), column.begin(), column.end());
    }
    return done;
  }

private:
  Up up_;
  batch from_;
};

template <class Up>
class distinct_stage {
public:
  explicit distinct_stage(Up up) : up_(std::move(up)), from_(up_.columns()) {}
  // The set is made by a cursor's first pull, so that copies begin with none.
  distinct_stage(const distinct_stage& other) : up_(other.up_), from_(up_.columns()) {}
  distinct_stage(distinct_stage&&) noexcept = default;
  distinct_stage& operator=(const distinct_stage&) = delete;
  distinct_stage& operator=(distinct_stage&&) = delete;
  ~distinct_stage() = default;

  [[nodiscard]] std::size_t columns() const noexcept { return up_.columns(); }
  bool pull(batch& out, demand want, budget& allowed) {
    from_.clear();
    bool const done = up_.pull(from_, {want.rows, false}, allowed);
    for (std::size_t i = 0; i < from_.rows(); ++i) {
      if (seen_.insert(from_.columns.back()[i])) {
        out.append_row(from_, i);
      }
    }
    return done;
  }

private:
  Up up_;
  batch from_;
  vertex_set seen_{no_vertex};
};

template <class Up>
class limit_stage {
public:
  limit_stage(Up up, std::uint64_t rows) : up_(std::move(up)), left_(rows) {}
  [[nodiscard]] std::size_t columns() const noexcept { return up_.columns(); }
  bool pull(batch& out, demand want, budget& allowed) {
    if (left_ == 0) {
      return true;
    }
    auto const before = out.rows();
    bool const last = want.last || left_ <= want.rows;
    bool const done =
        up_.pull(out, {static_cast<std::size_t>(std::min<std::uint64_t>(left_, want.rows)), last}, allowed);
    left_ -= out.rows() - before;
    return done || left_ == 0;
  }

private:
  Up up_;
  std::uint64_t left_;
};

}  // namespace rhizome::detail
