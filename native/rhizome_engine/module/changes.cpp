// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "module/functions.hpp"
#include "module/objects.hpp"

namespace rhizome::module {
namespace {

/// An interval of valid time in two optional arguments.
interval valid_at(const karyon_call* call, std::uint32_t i) {
  interval valid;
  if (has(call, i)) valid.from = call->arguments[i].as.i64;
  if (has(call, i + 1)) valid.to = call->arguments[i + 1].as.i64;
  return valid;
}

/// A value of any kind that the engine keeps.
result<value> value_at(const karyon_call* call, std::uint32_t i) {
  if (!has(call, i)) return value{};
  const karyon_value& v = call->arguments[i];
  switch (v.kind) {
    case KARYON_I64: return value{v.as.i64};
    case KARYON_BOOLEAN: return value{static_cast<std::int64_t>(v.as.u64 != 0)};
    case KARYON_U64:
      if (v.as.u64 > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        return fail(errc::invalid_argument, "a property holds integers below 2^63");
      }
      return value{static_cast<std::int64_t>(v.as.u64)};
    case KARYON_F64: return value{v.as.f64};
    case KARYON_VIEW: return value{std::string(text(call, i))};
    default: return fail(errc::invalid_argument, "a property holds a number, a text, or nothing");
  }
}

struct ends {
  label arcs;
  vertex source;
  vertex target;
};
/// Label, source and target, in three arguments from `i` on.
result<ends> ends_at(const karyon_call* call, std::uint32_t i) {
  RHIZOME_TRY(const label arcs, label_at(call, i));
  RHIZOME_TRY(const vertex source, number<vertex>(call, i + 1, "the source"));
  RHIZOME_TRY(const vertex target, number<vertex>(call, i + 2, "the target"));
  return ends{arcs, source, target};
}

/// name_label(transaction, v name) -> u label
karyon_status name_label(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(const auto t, used_transaction::of(call, 0));
    RHIZOME_TRY(const label l, t->name_label(text(call, 1)));
    give(call, std::uint64_t{l});
    return {};
  });
}

/// name_property(transaction, v name) -> u key
karyon_status name_property(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(const auto t, used_transaction::of(call, 0));
    RHIZOME_TRY(const property_key key, t->name_property(text(call, 1)));
    give(call, std::uint64_t{key});
    return {};
  });
}

/// add_vertices(transaction, u count) -> u first
karyon_status add_vertices(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(const auto t, used_transaction::of(call, 0));
    RHIZOME_TRY(const vertex count, number<vertex>(call, 1, "the number of vertices"));
    RHIZOME_TRY(const vertex first, t->add_vertices(count));
    give(call, std::uint64_t{first});
    return {};
  });
}

/// remove_vertex(transaction, u vertex)
karyon_status remove_vertex(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(const auto t, used_transaction::of(call, 0));
    RHIZOME_TRY(const vertex v, number<vertex>(call, 1, "the vertex"));
    return t->remove_vertex(v);
  });
}

/// add_arc(transaction, u label, u source, u target, I valid_from, I valid_to)
karyon_status add_arc(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(const auto t, used_transaction::of(call, 0));
    RHIZOME_TRY(const ends e, ends_at(call, 1));
    return t->add_arc(e.arcs, e.source, e.target, valid_at(call, 4));
  });
}

/// add_arcs(transaction, u label, v pairs of 32-bit vertices, B skip those that are there)
karyon_status add_arcs(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(const auto t, used_transaction::of(call, 0));
    RHIZOME_TRY(const label arcs, label_at(call, 1));
    RHIZOME_TRY(const auto list, elements<arc>::of(call, 2, "the arcs"));
    const bool skip = has(call, 3) && call->arguments[3].as.u64 != 0;
    return t->add_arcs(arcs, list.list(), skip ? on_duplicate::skip : on_duplicate::refuse);
  });
}

/// remove_arcs(transaction, u label, v pairs of 32-bit vertices, B skip those that are not there)
karyon_status remove_arcs(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(const auto t, used_transaction::of(call, 0));
    RHIZOME_TRY(const label arcs, label_at(call, 1));
    RHIZOME_TRY(const auto list, elements<arc>::of(call, 2, "the arcs"));
    const bool skip = has(call, 3) && call->arguments[3].as.u64 != 0;
    return t->remove_arcs(arcs, list.list(), skip ? on_missing::skip : on_missing::refuse);
  });
}

/// remove_arc(transaction, u label, u source, u target)
karyon_status remove_arc(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(const auto t, used_transaction::of(call, 0));
    RHIZOME_TRY(const ends e, ends_at(call, 1));
    return t->remove_arc(e.arcs, e.source, e.target);
  });
}

/// set_valid(transaction, u label, u source, u target, I valid_from, I valid_to)
karyon_status set_valid(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(const auto t, used_transaction::of(call, 0));
    RHIZOME_TRY(const ends e, ends_at(call, 1));
    return t->set_valid(e.arcs, e.source, e.target, valid_at(call, 4));
  });
}

/// set_property(transaction, u vertex, u key, value, I valid_from, I valid_to)
karyon_status set_property(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(const auto t, used_transaction::of(call, 0));
    RHIZOME_TRY(const vertex v, number<vertex>(call, 1, "the vertex"));
    RHIZOME_TRY(const property_key key, number<property_key>(call, 2, "the property's key"));
    RHIZOME_TRY(value data, value_at(call, 3));
    for (std::uint32_t i = 4; i < 6; ++i) {
      if (has(call, i) && call->arguments[i].kind != KARYON_I64) {
        return fail(errc::invalid_argument, "a valid time is a signed integer: microseconds since 1970");
      }
    }
    return t->set_property(v, key, std::move(data), valid_at(call, 4));
  });
}

/// set_arc_property(transaction, u label, u source, u target, u key, value)
karyon_status set_arc_property(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(const auto t, used_transaction::of(call, 0));
    RHIZOME_TRY(const ends e, ends_at(call, 1));
    RHIZOME_TRY(const property_key key, number<property_key>(call, 4, "the property's key"));
    RHIZOME_TRY(value data, value_at(call, 5));
    return t->set_property(e.arcs, e.source, e.target, key, std::move(data));
  });
}

/// commit(transaction) -> u commit: of a graph in memory
karyon_status commit(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(const auto t, used_transaction::of(call, 0));
    if (t.is_durable()) {
      return fail(errc::invalid_argument, "this graph's commits wait for the disk: call commit_durable");
    }
    RHIZOME_TRY(const commit_number made, t->commit());
    give(call, std::uint64_t{made});
    return {};
  });
}

/// commit_durable(transaction) -> u commit: waits for the disk, where the graph has one
karyon_status commit_durable(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(const auto t, used_transaction::of(call, 0));
    RHIZOME_TRY(const commit_number made, t->commit());
    give(call, std::uint64_t{made});
    return {};
  });
}

/// How many changes a commit has to make; as many as take a while where it would wait for a compaction.
std::uint64_t changes_of(const karyon_call* call) {
  return estimated([call]() -> std::uint64_t {
    const auto t = object<transaction_object>(call, 0);
    if (!t) return 0;
    constexpr std::uint64_t a_while = 100'000;
    return (*t)->size.load(std::memory_order_relaxed) + ((*t)->graph->graph().busy() ? a_while : 0);
  });
}

/// What is scanned for an arc: the shorter of the two lists that it is in, or may be.
std::uint64_t shorter_list(const karyon_call* call) {
  return estimated([call]() -> std::uint64_t {
    const auto t = used_transaction::of(call, 0);
    const auto e = ends_at(call, 1);
    return t && e ? (*t)->scan_length(e->arcs, e->source, e->target) : 0;
  });
}

/// The arcs of a vertex that goes.
std::uint64_t arcs_there(const karyon_call* call) {
  return estimated([call]() -> std::uint64_t {
    const auto t = used_transaction::of(call, 0);
    const auto v = number<vertex>(call, 1, "the vertex");
    return t && v ? (*t)->arcs_of(*v) : 0;
  });
}

constexpr karyon_cost short_change{300, 0, KARYON_NO_ARGUMENT, 0, nullptr};
constexpr karyon_cost by_count{300, 6'000, 1, 0, nullptr};
constexpr karyon_cost by_bytes{500, 1'000, 2, 0, nullptr};
// Vectors of sixteen from memory; each arc of a vertex that goes is a change of its own.
constexpr karyon_cost by_scan{300, 500, KARYON_NO_ARGUMENT, 0, &shorter_list};
constexpr karyon_cost by_arcs{2'000, 150'000, KARYON_NO_ARGUMENT, 0, &arcs_there};
constexpr karyon_cost by_changes{2'000, 150'000, KARYON_NO_ARGUMENT, 0, &changes_of};

constexpr std::array change_rows{
    karyon_function{"name_label", "rv", "u", &name_label, short_change, KARYON_RUN_INLINE, 0},
    karyon_function{"name_property", "rv", "u", &name_property, short_change, KARYON_RUN_INLINE, 0},
    karyon_function{"add_vertices", "ru", "u", &add_vertices, by_count, KARYON_RUN_AUTO, 0},
    karyon_function{"remove_vertex", "ru", "", &remove_vertex, by_arcs, KARYON_RUN_AUTO, 0},
    karyon_function{"add_arc", "ruuuII", "", &add_arc, by_scan, KARYON_RUN_AUTO, 0},
    karyon_function{"add_arcs", "ruvB", "", &add_arcs, by_bytes, KARYON_RUN_AUTO, 0},
    karyon_function{"remove_arcs", "ruvB", "", &remove_arcs, by_bytes, KARYON_RUN_AUTO, 0},
    karyon_function{"remove_arc", "ruuu", "", &remove_arc, by_scan, KARYON_RUN_AUTO, 0},
    karyon_function{"set_valid", "ruuuII", "", &set_valid, by_scan, KARYON_RUN_AUTO, 0},
    karyon_function{"set_property", "ruu...", "", &set_property, short_change, KARYON_RUN_INLINE, 0},
    karyon_function{"set_arc_property", "ruuuu...", "", &set_arc_property, by_scan, KARYON_RUN_AUTO, 0},
    karyon_function{"commit", "r", "u", &commit, by_changes, KARYON_RUN_AUTO, 0},
    karyon_function{"commit_durable", "r", "u", &commit_durable, by_changes, KARYON_RUN_DIRTY_IO, 0},
};

}  // namespace

std::span<const karyon_function> change_functions() noexcept { return change_rows; }

}  // namespace rhizome::module
