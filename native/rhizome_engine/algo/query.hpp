// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <concepts>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "algo/arrow.hpp"
#include "algo/budget.hpp"
#include "algo/query_stages.hpp"
#include "base/adjacency.hpp"

namespace rhizome {

/// The rows of a query that has run: a column for each step that was kept, and the last one for where the query ended.
class query_rows {
public:
  [[nodiscard]] std::size_t size() const noexcept { return rows_.rows(); }
  [[nodiscard]] std::size_t columns() const noexcept { return rows_.columns.size(); }
  /// Good while this lives.
  [[nodiscard]] std::span<const vertex> column(std::size_t i) const noexcept { return rows_.columns[i]; }
  [[nodiscard]] std::span<const vertex> ends() const noexcept { return rows_.columns.back(); }

  /// The columns as Arrow sees them, with a name for each; moves them out of here. Refuses another number of names.
  [[nodiscard]] result<arrow_table> to_arrow(std::span<const std::string> names) && {
    if (names.size() != columns()) {
      return fail(errc::invalid_argument, "A query's result has " + std::to_string(columns()) + " columns, and " +
                                              std::to_string(names.size()) + " names were given.");
    }
    arrow_table table;
    for (std::size_t i = 0; i < names.size(); ++i) {
      table.add(names[i], std::move(rows_.columns[i]));
    }
    return table;
  }

private:
  template <class Stage, bool Keep>
  friend class query_cursor;
  detail::batch rows_{1};
};

/// A query under way. `Keep`: rows are collected; otherwise only counted. One thread at a time.
template <class Stage, bool Keep>
class query_cursor {
public:
  explicit query_cursor(Stage stage) : stage_(std::move(stage)), batch_(stage_.columns()) {
    rows_.rows_ = detail::batch(stage_.columns());
  }

  progress step(budget& allowed) {
    while (!done_) {
      if (allowed.is_cancelled()) {
        return progress::cancelled;
      }
      batch_.clear();
      done_ = stage_.pull(batch_, {detail::batch_rows, false}, allowed);
      count_ += batch_.rows();
      if constexpr (Keep) {
        rows_.rows_.append(batch_);
      }
      if (!done_ && allowed.spent()) {
        return allowed.unfinished();
      }
    }
    return progress::done;
  }

  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  /// What there is so far: all, once a step has returned done.
  [[nodiscard]] const query_rows& rows() const& noexcept { return rows_; }
  [[nodiscard]] query_rows rows() && noexcept { return std::move(rows_); }

private:
  Stage stage_;
  detail::batch batch_;
  query_rows rows_;
  std::uint64_t count_ = 0;
  bool done_ = false;
};

namespace detail {

/// make(graph), or where `graph` is the result of an attempt, a result of that.
template <class G, class Make>
auto with_graph(G graph, Make make) {
  return make(std::move(graph));
}
template <class G, class Make>
auto with_graph(result<G> graph, Make make) -> result<decltype(make(std::move(*graph)))> {
  if (!graph) {
    return tl::unexpected<error>(std::move(graph).error());
  }
  return make(std::move(*graph));
}

}  // namespace detail

/// What a query walks over: a snapshot, which has views of arcs out and in by label. `out(l)` and `in(l)` are adjacencies,
/// cheap to make, and keep what they show alive.
template <class G>
concept queryable = requires(const G& graph, label l) {
  { graph.out(l) } -> adjacency;
  { graph.in(l) } -> adjacency;
};

/// Questions about a graph, put together from steps, and answered lazily: nothing is looked at before the cursor is stepped, no
/// more than the steps behind ask for, and in batches of a thousand rows. Made by `query(graph)`; each step takes the query so far
/// and returns a longer one:
///
///     auto cursor = query(graph).from(file).in(includes).in(includes).distinct().limit(10).run();
///     budget allowed({.deadline = soon});
///     while (cursor.step(allowed) == progress::more) { ... }
///
/// A row stands for a way, so a vertex reached on two ways is there twice, unless `distinct`. Queries are values; running one does
/// not change it.
template <class Graph, class Stage>
class query_steps {
public:
  query_steps(Graph graph, Stage stage) : graph_(std::move(graph)), stage_(std::move(stage)) {}

  /// Along arcs out, or in: a row for each.
  [[nodiscard]] auto out(label l) const { return along(graph_.out(l)); }
  [[nodiscard]] auto in(label l) const { return along(graph_.in(l)); }
  /// Along arcs of all labels, where the graph has such views.
  [[nodiscard]] auto out() const { return along(graph_.out()); }
  [[nodiscard]] auto in() const { return along(graph_.in()); }

  /// Rows for which keep(vertex) is true; or keep(row), where row[i] is the i-th column and the last one where the way is now.
  template <class Keep>
  [[nodiscard]] auto where(Keep keep) const {
    return then(detail::filter_stage<Stage, Keep>(stage_, std::move(keep)));
  }
  /// The vertex where the way is now becomes a column of the result.
  [[nodiscard]] auto keep() const { return then(detail::keep_stage<Stage>(stage_)); }
  /// Of rows that are at the same vertex now, the first.
  [[nodiscard]] auto distinct() const { return then(detail::distinct_stage<Stage>(stage_)); }
  [[nodiscard]] auto limit(std::uint64_t rows) const { return then(detail::limit_stage<Stage>(stage_, rows)); }

  /// The steps behind it see the graph as it was at `time`. Where the graph may refuse that (a time that was trimmed), this gives a
  /// result, and a query goes on with `->`.
  template <class Time>
  [[nodiscard]] auto as_of(Time time) const requires requires(const Graph& graph) {
    graph.as_of(time);
  }
  {
    return detail::with_graph(graph_.as_of(time), [this](auto past) { return this->over(std::move(past)); });
  }
  /// The steps behind it walk over another graph: the same store at another point of either axis, say.
  template <class Other>
  [[nodiscard]] auto over(Other graph) const {
    return query_steps<Other, Stage>(std::move(graph), stage_);
  }

  [[nodiscard]] auto run() const { return query_cursor<Stage, true>(stage_); }
  /// A cursor that counts rows without collecting them.
  [[nodiscard]] auto count() const { return query_cursor<Stage, false>(stage_); }

private:
  template <adjacency View>
  auto along(View view) const {
    return then(detail::expand_stage<Stage, View>(stage_, std::move(view)));
  }
  template <class Next>
  auto then(Next next) const {
    return query_steps<Graph, Next>(graph_, std::move(next));
  }

  Graph graph_;
  Stage stage_;
};

/// The beginning of a query over `graph`.
template <queryable Graph>
class query {
public:
  explicit query(Graph graph) : graph_(std::move(graph)) {}

  /// The beginning over the graph as it was at `time`; a result where the graph may refuse that.
  template <class Time>
  [[nodiscard]] auto as_of(Time time) const requires requires(const Graph& graph) {
    graph.as_of(time);
  }
  {
    return detail::with_graph(graph_.as_of(time), []<class Past>(Past past) { return query<Past>(std::move(past)); });
  }
  /// A row for each of `start` that is below the number of vertices.
  [[nodiscard]] auto from(std::vector<vertex> start) const {
    return query_steps<Graph, detail::list_stage>(graph_,
                                                  detail::list_stage(std::move(start), graph_.out(label{}).vertices()));
  }
  [[nodiscard]] auto from(vertex start) const { return from(std::vector<vertex>{start}); }
  /// A row for each vertex.
  [[nodiscard]] auto from_all() const {
    return query_steps<Graph, detail::all_stage>(graph_, detail::all_stage(graph_.out(label{}).vertices()));
  }

private:
  Graph graph_;
};

}  // namespace rhizome
