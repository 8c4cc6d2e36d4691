// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "module/functions.hpp"
#include "module/objects.hpp"

namespace rhizome::module {
namespace {

result<vertex> vertex_at(const karyon_call* call, std::uint32_t i, const snapshot& s) {
  RHIZOME_TRY(const vertex v, number<vertex>(call, i, "the vertex"));
  if (v >= s.vertices()) {
    return fail(errc::not_found, "vertex " + std::to_string(v) + ": the snapshot has " + std::to_string(s.vertices()));
  }
  return v;
}

/// f(view, vertex) of a (snapshot, label, vertex, direction, commit U, moment I, until I) call.
template <class F>
result<void> at_vertex(const karyon_call* call, F&& f) {
  RHIZOME_TRY(snapshot_object * s, object<snapshot_object>(call, 0));
  RHIZOME_TRY(const label arcs, label_at(call, 1));
  RHIZOME_TRY(const vertex v, vertex_at(call, 2, s->held));
  RHIZOME_TRY(const direction way, direction_at(call, 3));
  RHIZOME_TRY(const point at, point_at(call, 4, s->held, 6));
  if (at.moment) {
    RHIZOME_TRY(const valid_view there, valid_view_of(s->held, arcs, at, way));
    return f(there, v, s);
  }
  if (at.commit == s->held.commit()) return f(s->held.newest(arcs, way), v, s);
  RHIZOME_TRY(const view there, s->held.as_of(at.commit, arcs, way));
  return f(there, v, s);
}

/// degree(snapshot, u label, u vertex, U direction, U commit, I moment, I until) -> u
karyon_status degree(karyon_call* call) {
  return guarded(call, [call] {
    return at_vertex(call, [call](const auto& there, vertex v, snapshot_object*) -> result<void> {
      give(call, std::uint64_t{there.degree(v)});
      return {};
    });
  });
}

/// neighbours(snapshot, u label, u vertex, U direction, U commit, I moment, I until) -> v of 32-bit vertices. Where the snapshot has them
/// in one piece, the view shows them where they lie.
karyon_status neighbours(karyon_call* call) {
  return guarded(call, [call] {
    return at_vertex(call, [call](const auto& there, vertex v, snapshot_object* s) -> result<void> {
      if constexpr (requires { there.contiguous(v); }) {
        if (const auto list = there.contiguous(v)) {
          if (there.commit() == s->held.commit()) {  // the snapshot itself keeps them
            host->keep(s);
            give_view(call, *list, s);
          } else {
            give_view(call, *list, make_resource<targets_object>(there));
          }
          return {};
        }
      }
      std::vector<vertex> list;
      there.for_each(v, [&](vertex target) { list.push_back(target); });
      auto* const owner = make_resource<vertices_object>(std::move(list));
      give_view(call, std::span<const vertex>(owner->list), owner);
      return {};
    });
  });
}

/// contains(snapshot, u label, u source, u target, U commit) -> b
karyon_status contains(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(snapshot_object * s, object<snapshot_object>(call, 0));
    RHIZOME_TRY(const label arcs, label_at(call, 1));
    RHIZOME_TRY(const vertex source, vertex_at(call, 2, s->held));
    RHIZOME_TRY(const vertex target, vertex_at(call, 3, s->held));
    RHIZOME_TRY(const commit_number at,
                has(call, 4) ? number<commit_number>(call, 4, "the commit") : result<commit_number>(s->held.commit()));
    RHIZOME_TRY(const view there, s->held.as_of(at, arcs, direction::out));
    give(call, there.contains(source, target));
    return {};
  });
}

/// vertices(snapshot) -> u ids, u alive
karyon_status vertices(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(snapshot_object * s, object<snapshot_object>(call, 0));
    give(call, std::uint64_t{s->held.vertices()});
    give(call, std::uint64_t{s->held.alive()});
    return {};
  });
}

/// arcs(snapshot, u label) -> u
karyon_status arcs(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(snapshot_object * s, object<snapshot_object>(call, 0));
    RHIZOME_TRY(const label l, label_at(call, 1));
    give(call, s->held.newest(l).arcs());
    return {};
  });
}

/// commit_of(snapshot) -> u
karyon_status commit_of(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(snapshot_object * s, object<snapshot_object>(call, 0));
    give(call, std::uint64_t{s->held.commit()});
    return {};
  });
}

/// commit_at(snapshot, i time) -> u commit: the last one that was made no later
karyon_status commit_at(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(snapshot_object * s, object<snapshot_object>(call, 0));
    give(call, std::uint64_t{s->held.commit_at(call->arguments[1].as.i64)});
    return {};
  });
}

/// time_of(snapshot, u commit) -> i
karyon_status time_of(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(snapshot_object * s, object<snapshot_object>(call, 0));
    RHIZOME_TRY(const commit_number n, number<commit_number>(call, 1, "the commit"));
    RHIZOME_TRY(const time_us t, s->held.time_of(n));
    give(call, std::int64_t{t});
    return {};
  });
}

/// property(snapshot, u vertex, u key, U commit, I moment) -> value or none
karyon_status property(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(snapshot_object * s, object<snapshot_object>(call, 0));
    RHIZOME_TRY(const vertex v, vertex_at(call, 1, s->held));
    RHIZOME_TRY(const property_key key, number<property_key>(call, 2, "the property's key"));
    RHIZOME_TRY(const point at, point_at(call, 3, s->held));
    RHIZOME_TRY(value data, s->held.property(v, key, at.commit, at.moment));
    give_value(call, std::move(data));
    return {};
  });
}

/// arc_property(snapshot, u label, u source, u target, u key, U commit) -> value or none
karyon_status arc_property(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(snapshot_object * s, object<snapshot_object>(call, 0));
    RHIZOME_TRY(const label l, label_at(call, 1));
    RHIZOME_TRY(const vertex source, vertex_at(call, 2, s->held));
    RHIZOME_TRY(const vertex target, vertex_at(call, 3, s->held));
    RHIZOME_TRY(const property_key key, number<property_key>(call, 4, "the property's key"));
    std::optional<commit_number> at;
    if (has(call, 5)) {
      RHIZOME_TRY(at, number<commit_number>(call, 5, "the commit"));
    }
    RHIZOME_TRY(value data, s->held.property(l, source, target, key, at));
    give_value(call, std::move(data));
    return {};
  });
}

/// history(snapshot, u label, u source, u target) -> c begin, end, valid_from, valid_to
karyon_status history(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(snapshot_object * s, object<snapshot_object>(call, 0));
    RHIZOME_TRY(const label l, label_at(call, 1));
    RHIZOME_TRY(const vertex source, vertex_at(call, 2, s->held));
    RHIZOME_TRY(const vertex target, vertex_at(call, 3, s->held));
    const std::vector<arc_version> versions = s->held.history(l, source, target);
    std::vector<commit_number> begins, ends;
    std::vector<moment> from, to;
    for (const arc_version& v : versions) {
      begins.push_back(v.begin);
      ends.push_back(v.end);
      from.push_back({v.valid.from});
      to.push_back({v.valid.to});
    }
    arrow_table table;
    table.add("begin", std::move(begins));
    table.add("end", std::move(ends));
    table.add("valid_from", std::move(from));
    table.add("valid_to", std::move(to));
    return give_columns(call, table);
  });
}

/// history_of(snapshot, u label, u vertex, U direction) -> c neighbour, begin, end, valid_from, valid_to: the versions of the vertex' arcs,
/// the oldest first; u begin, u end: the commits between which the vertex was there (end 4294967295: it still is)
karyon_status history_of(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(snapshot_object * s, object<snapshot_object>(call, 0));
    RHIZOME_TRY(const label l, label_at(call, 1));
    RHIZOME_TRY(const vertex v, vertex_at(call, 2, s->held));
    RHIZOME_TRY(const direction way, direction_at(call, 3));
    const auto there = s->held.times_of(v);
    if (!there) {
      return fail(errc::not_found,
                  "vertex " + std::to_string(v) + " never was: its number is of a transaction that was given up");
    }
    std::vector<vertex> neighbours;
    std::vector<commit_number> begins, ends;
    std::vector<moment> from, to;
    for (const neighbour_version& n : s->held.history_of(v, l, way)) {
      neighbours.push_back(n.neighbour);
      begins.push_back(n.version.begin);
      ends.push_back(n.version.end);
      from.push_back({n.version.valid.from});
      to.push_back({n.version.valid.to});
    }
    arrow_table table;
    table.add("neighbour", std::move(neighbours));
    table.add("begin", std::move(begins));
    table.add("end", std::move(ends));
    table.add("valid_from", std::move(from));
    table.add("valid_to", std::move(to));
    RHIZOME_CHECK(give_columns(call, table));
    give(call, std::uint64_t{there->begin});
    give(call, std::uint64_t{there->end});
    return {};
  });
}

/// property_history(snapshot, u vertex, u key) -> c begin, valid_from, valid_to: `property` at each has the values
karyon_status property_history(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(snapshot_object * s, object<snapshot_object>(call, 0));
    RHIZOME_TRY(const vertex v, vertex_at(call, 1, s->held));
    RHIZOME_TRY(const property_key key, number<property_key>(call, 2, "the property's key"));
    std::vector<commit_number> begins;
    std::vector<moment> from, to;
    for (const property_version& p : s->held.history(v, key)) {
      begins.push_back(p.begin);
      from.push_back({p.valid.from});
      to.push_back({p.valid.to});
    }
    arrow_table table;
    table.add("begin", std::move(begins));
    table.add("valid_from", std::move(from));
    table.add("valid_to", std::move(to));
    return give_columns(call, table);
  });
}

/// diff(snapshot, u from, u to) -> c kind, label, source, target
karyon_status diff(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(snapshot_object * s, object<snapshot_object>(call, 0));
    RHIZOME_TRY(const commit_number from, number<commit_number>(call, 1, "the first commit"));
    RHIZOME_TRY(const commit_number to, number<commit_number>(call, 2, "the second commit"));
    RHIZOME_TRY(const std::vector<difference> found, s->held.diff(from, to));
    std::vector<std::uint32_t> kinds, labels;
    std::vector<vertex> sources, targets;
    for (const difference& d : found) {
      kinds.push_back(static_cast<std::uint32_t>(d.kind));
      labels.push_back(d.arc_label);
      sources.push_back(d.source);
      targets.push_back(d.target);
    }
    arrow_table table;
    table.add("kind", std::move(kinds));
    table.add("label", std::move(labels));
    table.add("source", std::move(sources));
    table.add("target", std::move(targets));
    return give_columns(call, table);
  });
}

/// find_label(snapshot, v name) -> U
karyon_status find_label(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(snapshot_object * s, object<snapshot_object>(call, 0));
    if (const auto l = s->held.find_label(text(call, 1))) {
      give(call, std::uint64_t{*l});
    } else {
      give_none(call);
    }
    return {};
  });
}

/// find_property(snapshot, v name) -> U
karyon_status find_property(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(snapshot_object * s, object<snapshot_object>(call, 0));
    if (const auto key = s->held.find_property(text(call, 1))) {
      give(call, std::uint64_t{*key});
    } else {
      give_none(call);
    }
    return {};
  });
}

/// The arcs of a vertex, for what depends on them.
std::uint64_t arcs_of(const karyon_call* call) {
  return estimated([call]() -> std::uint64_t {
    const auto s = object<snapshot_object>(call, 0);
    const auto l = label_at(call, 1);
    if (!s || !l || call->arguments[2].as.u64 >= (*s)->held.vertices()) return 0;
    const auto v = static_cast<vertex>(call->arguments[2].as.u64);
    // Some of them take the arcs out and some the arcs in: the more of the two.
    return std::max((*s)->held.newest(*l).positions(v), (*s)->held.newest(*l, direction::in).positions(v));
  });
}
/// The versions of the arcs of a vertex. Some functions look at those of the arcs out and some at those of the arcs in: the more of the
/// two.
std::uint64_t versions_of(const karyon_call* call) {
  return estimated([call]() -> std::uint64_t {
    const auto s = object<snapshot_object>(call, 0);
    const auto l = label_at(call, 1);
    const auto v = number<vertex>(call, 2, "the vertex");
    if (!s || !l || !v) return 0;
    return std::max((*s)->held.versions(*v, *l), (*s)->held.versions(*v, *l, direction::in));
  });
}
/// 1 for a property whose newest version does not answer.
std::uint64_t looks_back(const karyon_call* call) {
  return estimated([call]() -> std::uint64_t {
    const auto s = object<snapshot_object>(call, 0);
    const auto v = number<vertex>(call, 1, "the vertex");
    const auto key = number<property_key>(call, 2, "the property's key");
    if (!s || !v || !key) return 0;
    const auto at = point_at(call, 3, (*s)->held);
    return at && !(*s)->held.newest_answers(*v, *key, at->commit, at->moment) ? 1 : 0;
  });
}
/// Changes in the log between two commits, whichever comes first.
std::uint64_t changes_between(const karyon_call* call) {
  return estimated([call]() -> std::uint64_t {
    const auto s = object<snapshot_object>(call, 0);
    const auto a = number<commit_number>(call, 1, "the first commit");
    const auto b = number<commit_number>(call, 2, "the second commit");
    if (!s || !a || !b) return 0;
    const auto slice = (*s)->held.log(std::min(*a, *b), std::max(*a, *b));
    return slice ? slice->entries().size() : 0;
  });
}

constexpr karyon_cost short_one{200, 0, KARYON_NO_ARGUMENT, 0, nullptr};
constexpr karyon_cost by_degree{300, 1'000, KARYON_NO_ARGUMENT, 0, &arcs_of};
constexpr karyon_cost by_versions{300, 2'000, KARYON_NO_ARGUMENT, 0, &versions_of};
constexpr karyon_cost by_versions_given{1'000, 100'000, KARYON_NO_ARGUMENT, 0, &versions_of};  // sorted, and in columns
// A look back takes as long as the chain of versions behind the one that is asked for, which nobody counts. It is declared to take longer
// than a read of the newest version, so that a call site learns the two apart.
constexpr karyon_cost by_look_back{200, 400'000, KARYON_NO_ARGUMENT, 0, &looks_back};
constexpr karyon_cost by_log{2'000, 100'000, KARYON_NO_ARGUMENT, 0, &changes_between};

constexpr std::array read_rows{
    karyon_function{"degree", "ruuUUII", "u", &degree, by_degree, KARYON_RUN_AUTO, 0},
    karyon_function{"neighbours", "ruuUUII", "v", &neighbours, by_degree, KARYON_RUN_AUTO, 0},
    karyon_function{"contains", "ruuuU", "b", &contains, by_degree, KARYON_RUN_AUTO, 0},
    karyon_function{"vertices", "r", "uu", &vertices, short_one, KARYON_RUN_INLINE, 0},
    karyon_function{"arcs", "ru", "u", &arcs, short_one, KARYON_RUN_INLINE, 0},
    karyon_function{"commit_of", "r", "u", &commit_of, short_one, KARYON_RUN_INLINE, 0},
    karyon_function{"commit_at", "ri", "u", &commit_at, short_one, KARYON_RUN_INLINE, 0},
    karyon_function{"time_of", "ru", "i", &time_of, short_one, KARYON_RUN_INLINE, 0},
    karyon_function{"property", "ruuUI", "U", &property, by_look_back, KARYON_RUN_AUTO, 0},
    karyon_function{"arc_property", "ruuuuU", "U", &arc_property, by_degree, KARYON_RUN_AUTO, 0},
    karyon_function{"history", "ruuu", "c", &history, by_versions, KARYON_RUN_AUTO, 0},
    karyon_function{"history_of", "ruuU", "cuu", &history_of, by_versions_given, KARYON_RUN_AUTO, 0},
    karyon_function{"property_history", "ruu", "c", &property_history, short_one, KARYON_RUN_AUTO, 0},
    karyon_function{"diff", "ruu", "c", &diff, by_log, KARYON_RUN_AUTO, 0},
    karyon_function{"find_label", "rv", "U", &find_label, short_one, KARYON_RUN_INLINE, 0},
    karyon_function{"find_property", "rv", "U", &find_property, short_one, KARYON_RUN_INLINE, 0},
};

}  // namespace

std::span<const karyon_function> read_functions() noexcept { return read_rows; }

}  // namespace rhizome::module
