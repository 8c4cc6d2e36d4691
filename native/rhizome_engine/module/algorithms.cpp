// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "algo/bfs.hpp"
#include "algo/components.hpp"
#include "algo/khop.hpp"
#include "algo/pagerank.hpp"
#include "algo/shortest_paths.hpp"
#include "algo/snapshot_graph.hpp"
#include "algo/temporal.hpp"
#include "algo/triangles.hpp"
#include "module/functions.hpp"
#include "module/objects.hpp"

namespace rhizome::module {
namespace {

using started = result<std::unique_ptr<running>>;

/// A column that lies in the algorithm, which the column keeps.
template <class T, class Algorithm>
void add_kept(arrow_table& table, const char* name, std::span<const T> column,
              const std::shared_ptr<Algorithm>& algorithm) {
  table.add(name, column, std::shared_ptr<const void>(algorithm));
}

/// Of (snapshot, u label, commit U, moment I, ..., and in the place `until` the end of a window): f(snapshot_object&, out, in) makes what
/// runs.
template <bool Prepared = true, class F>
started over_arcs(const karyon_call* call, std::uint32_t until, F&& f) {
  RHIZOME_TRY(snapshot_object * s, object<snapshot_object>(call, 0));
  RHIZOME_TRY(const label arcs, label_at(call, 1));
  RHIZOME_TRY(const point at, point_at(call, 2, s->held, until));
  return with_views<Prepared>(s->held, arcs, at,
                              [&](auto out, auto in) -> started { return f(*s, std::move(out), std::move(in)); });
}

/// pagerank(snapshot, u label, U commit, I moment, F damping, F tolerance, U iterations, B share_dangling, I until)
///   -> c score by vertex, u iterations
karyon_status start_pagerank(karyon_call* call) {
  return resumable(call, [call] {
    return over_arcs(call, 8, [call](snapshot_object&, auto out, auto in) -> started {
      pagerank_options options;
      if (has(call, 4)) options.damping = call->arguments[4].as.f64;
      if (has(call, 5)) options.tolerance = call->arguments[5].as.f64;
      if (has(call, 6)) {
        RHIZOME_TRY(options.iterations_max, number<unsigned>(call, 6, "the number of iterations"));
      }
      if (has(call, 7)) options.share_dangling = call->arguments[7].as.u64 != 0;
      if (!(options.damping >= 0 && options.damping < 1)) return fail(errc::invalid_argument, "damping lies in [0, 1)");
      auto work = std::make_shared<pagerank<decltype(out), decltype(in)>>(std::move(out), std::move(in), options);
      return run(work, [](karyon_call* to, const auto& done) -> result<void> {
        arrow_table table;
        add_kept(table, "score", done->scores(), done);
        RHIZOME_CHECK(give_columns(to, table));
        give(to, std::uint64_t{done->iterations()});
        return {};
      });
    });
  });
}

/// The vertex where an algorithm begins or ends, below the number of those that it knows.
result<vertex> end_at(const karyon_call* call, std::uint32_t i, vertex vertices, const char* what) {
  RHIZOME_TRY(const vertex v, number<vertex>(call, i, what));
  if (v >= vertices)
    return fail(errc::not_found, std::string(what) + " is not a vertex of the snapshot at that commit");
  return v;
}

/// bfs(snapshot, u label, U commit, I moment, u source, I until) -> c parent by vertex (4294967295: not reached), u reached
karyon_status start_bfs(karyon_call* call) {
  return resumable(call, [call] {
    return over_arcs(call, 5, [call](snapshot_object&, auto out, auto in) -> started {
      RHIZOME_TRY(const vertex source, end_at(call, 4, out.vertices(), "the source"));
      auto work = std::make_shared<bfs<decltype(out), decltype(in)>>(std::move(out), std::move(in), source);
      return run(work, [](karyon_call* to, const auto& done) -> result<void> {
        arrow_table table;
        add_kept(table, "parent", done->parents(), done);
        RHIZOME_CHECK(give_columns(to, table));
        give(to, done->reached());
        return {};
      });
    });
  });
}

/// What an arc costs: a property of it, as recorded at a commit.
class arc_cost {
public:
  arc_cost(const snapshot& s, label arcs, commit_number at, property_key key, double otherwise)
      : from_(s), arcs_(arcs), at_(at), key_(key), otherwise_(otherwise) {}
  [[nodiscard]] double operator()(vertex source, vertex target) const {
    const value found = from_.property_of_shown(arcs_, source, target, key_, at_);
    if (const auto* real = std::get_if<double>(&found)) return *real;
    if (const auto* whole = std::get_if<std::int64_t>(&found)) return static_cast<double>(*whole);
    // A text is no number, which the algorithm refuses.
    return found.index() == 0 ? otherwise_ : std::numeric_limits<double>::quiet_NaN();
  }

private:
  snapshot from_;
  label arcs_;
  commit_number at_;
  property_key key_;
  double otherwise_;
};

/// shortest_paths(snapshot, u label, U commit, I moment, u source, u key, F otherwise, U target, I until) -> c distance by vertex
/// (infinity: not reached), parent; u reached. An arc costs what its property says, `otherwise` if it has none; without `otherwise` such an
/// arc can not be passed. With a target the way to that one alone is sure.
karyon_status start_shortest_paths(karyon_call* call) {
  return resumable(call, [call] {
    return over_arcs<false>(call, 8, [call](snapshot_object& s, auto out, auto) -> started {
      RHIZOME_TRY(const vertex source, end_at(call, 4, out.vertices(), "the source"));
      RHIZOME_TRY(const property_key key, number<property_key>(call, 5, "the property's key"));
      if (key >= property_keys_max) {
        return fail(errc::invalid_argument, "the property's key is out of range: take what name_property gave");
      }
      const double otherwise = has(call, 6) ? call->arguments[6].as.f64 : std::numeric_limits<double>::infinity();
      if (!(otherwise >= 0)) {
        return fail(errc::invalid_argument, "what an arc without the property costs has to be a number from 0 on");
      }
      vertex target = no_vertex;
      if (has(call, 7)) {
        RHIZOME_TRY(target, end_at(call, 7, out.vertices(), "the target"));
      }
      RHIZOME_TRY(const label arcs, label_at(call, 1));
      const arc_cost cost(s.held, arcs, out.commit(), key, otherwise);
      auto work = std::make_shared<shortest_paths<decltype(out), arc_cost>>(std::move(out), source, cost, target);
      return run(work, [](karyon_call* to, const auto& done) -> result<void> {
        if (const auto bad = done->refused()) {
          return fail(errc::invalid_argument, "the arc from " + std::to_string(bad->first) + " to " +
                                                  std::to_string(bad->second) +
                                                  " does not cost a number from 0 on: correct its property");
        }
        arrow_table table;
        add_kept(table, "distance", done->distances(), done);
        add_kept(table, "parent", done->parents(), done);
        RHIZOME_CHECK(give_columns(to, table));
        give(to, done->reached());
        return {};
      });
    });
  });
}

/// components(snapshot, u label, U commit, I moment, I until) -> c label by vertex, u count
karyon_status start_components(karyon_call* call) {
  return resumable(call, [call] {
    return over_arcs(call, 4, [](snapshot_object& s, auto out, auto in) -> started {
      auto work = std::make_shared<components<decltype(out), decltype(in)>>(std::move(out), std::move(in),
                                                                            s.kind == arcs_kind::symmetric);
      return run(work, [](karyon_call* to, const auto& done) -> result<void> {
        const std::uint64_t count = done->count();
        arrow_table table;
        add_kept(table, "component", done->labels(), done);
        RHIZOME_CHECK(give_columns(to, table));
        give(to, count);
        return {};
      });
    });
  });
}

/// triangles(snapshot, u label, U commit, I moment, I until) -> u
karyon_status start_triangles(karyon_call* call) {
  return resumable(call, [call] {
    return over_arcs(call, 4, [](snapshot_object& s, auto out, auto) -> started {
      if (s.kind != arcs_kind::symmetric) {
        return fail(errc::invalid_argument,
                    "triangles are counted in a graph of symmetric arcs: make it with symmetric");
      }
      auto work = std::make_shared<triangles<decltype(out)>>(std::move(out));
      return run(work, [](karyon_call* to, const auto& done) -> result<void> {
        give(to, done->count());
        return {};
      });
    });
  });
}

/// khop(snapshot, u label, U commit, I moment, v seeds of 32-bit vertices, u hops, U direction, I until) -> v vertices, nearest first
karyon_status start_khop(karyon_call* call) {
  return resumable(call, [call] {
    return over_arcs<false>(call, 7, [call](snapshot_object&, auto out, auto in) -> started {
      RHIZOME_TRY(const auto seeds, elements<vertex>::of(call, 4, "the seeds"));
      RHIZOME_TRY(const unsigned hops, number<unsigned>(call, 5, "the number of hops"));
      RHIZOME_TRY(const direction way, direction_at(call, 6));
      auto along = way == direction::out ? std::move(out) : std::move(in);
      auto work = std::make_shared<khop<decltype(along)>>(std::move(along), seeds.list(), hops);
      return run(work, [](karyon_call* to, const auto& done) -> result<void> {
        auto* const owner =
            make_resource<vertices_object>(std::vector<vertex>(done->found().begin(), done->found().end()));
        give_view(to, std::span<const vertex>(owner->list), owner);
        return {};
      });
    });
  });
}

/// earliest_arrival(snapshot, u label, u source, u after, u to) -> c commit by vertex (4294967295: never), parent; u reached.
/// Along arcs in the order in which they were added, in the commits (after, to].
karyon_status start_arrival(karyon_call* call) {
  return resumable(call, [call]() -> started {
    RHIZOME_TRY(snapshot_object * s, object<snapshot_object>(call, 0));
    RHIZOME_TRY(const label arcs, label_at(call, 1));
    RHIZOME_TRY(const vertex source, end_at(call, 2, s->held.vertices(), "the source"));
    RHIZOME_TRY(const commit_number after, number<commit_number>(call, 3, "the first commit"));
    RHIZOME_TRY(const commit_number to, number<commit_number>(call, 4, "the last commit"));
    RHIZOME_TRY(log_slice slice, s->held.log(after, to));
    auto work = std::make_shared<earliest_arrival<commit_contacts>>(
        commit_contacts(s->held, std::move(slice), arcs, s->kind == arcs_kind::symmetric), source, after);
    return run(work, [](karyon_call* out, const auto& done) -> result<void> {
      arrow_table table;
      add_kept(table, "commit", done->arrivals(), done);
      add_kept(table, "parent", done->parents(), done);
      RHIZOME_CHECK(give_columns(out, table));
      give(out, done->reached());
      return {};
    });
  });
}

/// earliest_arrival_during(snapshot, u label, u source, i from, i to, U commit) -> c moment by vertex (9223372036854775807: never), parent;
/// u reached. Along arcs while they are true in the world, within the window, waiting in between.
karyon_status start_arrival_during(karyon_call* call) {
  return resumable(call, [call]() -> started {
    RHIZOME_TRY(snapshot_object * s, object<snapshot_object>(call, 0));
    RHIZOME_TRY(const label arcs, label_at(call, 1));
    const interval window{call->arguments[3].as.i64, call->arguments[4].as.i64};
    if (window.empty()) return fail(errc::invalid_argument, "the window is empty: `from` has to be before `to`");
    RHIZOME_TRY(const commit_number at,
                has(call, 5) ? number<commit_number>(call, 5, "the commit") : result<commit_number>(s->held.commit()));
    RHIZOME_TRY(view there, s->held.as_of(at, arcs));
    RHIZOME_TRY(const vertex source, end_at(call, 2, there.vertices(), "the source"));
    auto work = std::make_shared<earliest_arrival_during<view>>(std::move(there), source, window);
    return run(work, [](karyon_call* out, const auto& done) -> result<void> {
      arrow_table table;
      table.add_moments("moment", done->arrivals(), done);
      add_kept(table, "parent", done->parents(), done);
      RHIZOME_CHECK(give_columns(out, table));
      give(out, done->reached());
      return {};
    });
  });
}

/// Arcs and vertices of the label, of all of which an algorithm takes some passes.
std::uint64_t whole_graph(const karyon_call* call) {
  return estimated([call]() -> std::uint64_t {
    const auto s = object<snapshot_object>(call, 0);
    const auto l = label_at(call, 1);
    if (!s || !l) return 0;
    return (*s)->held.newest(*l).arcs() + (*s)->held.vertices();
  });
}
/// Changes of the log in the window, and the vertices, each of which has a place in the result.
std::uint64_t changes_in_window(const karyon_call* call) {
  return estimated([call]() -> std::uint64_t {
    const auto s = object<snapshot_object>(call, 0);
    const auto after = number<commit_number>(call, 3, "the first commit");
    const auto to = number<commit_number>(call, 4, "the last commit");
    if (!s || !after || !to) return 0;
    const auto slice = (*s)->held.log(*after, *to);
    return (slice ? slice->entries().size() : 0) + (*s)->held.vertices();
  });
}

// By the figures of bench/run rhizome: passes over arcs at 1 to 2 ns each.
constexpr karyon_cost ten_passes{5'000, 15'000, KARYON_NO_ARGUMENT, 0, &whole_graph};
constexpr karyon_cost one_pass{5'000, 1'500, KARYON_NO_ARGUMENT, 0, &whole_graph};
// A heap, and for weights a look-up of each arc's property. A vertex' arcs are walked in one piece, and one that has too many of them for a
// handler is in a graph that is sent away.
constexpr karyon_cost by_heap{5'000, 60'000, KARYON_NO_ARGUMENT, 0, &whole_graph};
constexpr karyon_cost many_passes{5'000, 200'000, KARYON_NO_ARGUMENT, 0, &whole_graph};
constexpr karyon_cost by_window{5'000, 5'000, KARYON_NO_ARGUMENT, 0, &changes_in_window};

constexpr std::array algorithm_rows{
    karyon_function{"pagerank", "ruUIFFUBI", "cu", &start_pagerank, ten_passes, KARYON_RUN_AUTO, KARYON_RESUMABLE},
    karyon_function{"bfs", "ruUIuI", "cu", &start_bfs, one_pass, KARYON_RUN_AUTO, KARYON_RESUMABLE},
    karyon_function{"components", "ruUII", "cu", &start_components, one_pass, KARYON_RUN_AUTO, KARYON_RESUMABLE},
    karyon_function{"triangles", "ruUII", "u", &start_triangles, many_passes, KARYON_RUN_AUTO, KARYON_RESUMABLE},
    karyon_function{"khop", "ruUIvuUI", "v", &start_khop, unknown, KARYON_RUN_AUTO, KARYON_RESUMABLE},
    karyon_function{"earliest_arrival", "ruuuu", "cu", &start_arrival, by_window, KARYON_RUN_AUTO, KARYON_RESUMABLE},
    karyon_function{"earliest_arrival_during", "ruuiiU", "cu", &start_arrival_during, by_heap, KARYON_RUN_AUTO,
                    KARYON_RESUMABLE},
    karyon_function{"shortest_paths", "ruUIuuFUI", "cu", &start_shortest_paths, by_heap, KARYON_RUN_AUTO,
                    KARYON_RESUMABLE},
};

}  // namespace

std::span<const karyon_function> algorithm_functions() noexcept { return algorithm_rows; }

}  // namespace rhizome::module
