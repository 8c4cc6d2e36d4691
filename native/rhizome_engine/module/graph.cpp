// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "module/functions.hpp"
#include "module/objects.hpp"

namespace rhizome::module {
namespace {

/// limit_bytes U, symmetric B, unique B, from argument `i` on.
store_options options_at(const karyon_call* call, std::uint32_t i) {
  store_options options;
  if (has(call, i)) options.memory_limit_bytes = call->arguments[i].as.u64;
  if (has(call, i + 1)) options.arcs = call->arguments[i + 1].as.u64 != 0 ? arcs_kind::symmetric : arcs_kind::directed;
  if (has(call, i + 2)) options.unique_arcs = call->arguments[i + 2].as.u64 != 0;
  return options;
}

/// make(limit_bytes U, symmetric B, unique B) -> graph
karyon_status make(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(store made, store::make(options_at(call, 0)));
    give_resource(call, make_resource<graph_object>(std::move(made)));
    return {};
  });
}

/// open(v directory, limit_bytes U, symmetric B, unique B) -> graph, u newest commit, u commits taken from the log
karyon_status open(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    durable_options options;
    options.store = options_at(call, 1);
    RHIZOME_TRY(durable_store opened, durable_store::open(std::string(text(call, 0)), options));
    const recovery_report found = opened.recovery();
    give_resource(call, make_resource<graph_object>(std::move(opened)));
    give(call, std::uint64_t{found.newest});
    give(call, found.replayed);
    return {};
  });
}

result<durable_store*> durable_at(const karyon_call* call, std::uint32_t i) {
  RHIZOME_TRY(graph_object * graph, object<graph_object>(call, i));
  if (graph->durable() == nullptr) return fail(errc::invalid_argument, "the graph is in memory alone: see open");
  return graph->durable();
}

/// checkpoint(graph) -> u commit
karyon_status checkpoint(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(durable_store * graph, durable_at(call, 0));
    RHIZOME_TRY(const commit_number written, graph->checkpoint());
    give(call, std::uint64_t{written});
    return {};
  });
}

/// close(graph)
karyon_status close(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(durable_store * graph, durable_at(call, 0));
    return graph->close();
  });
}

/// begin(graph) -> transaction
karyon_status begin(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(graph_object * graph, object<graph_object>(call, 0));
    RHIZOME_TRY(transaction begun, graph->graph().begin());
    give_resource(call, make_resource<transaction_object>(std::move(begun), graph));
    return {};
  });
}

/// snapshot(graph) -> snapshot
karyon_status take_snapshot(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(graph_object * graph, object<graph_object>(call, 0));
    RHIZOME_TRY(snapshot now, graph->graph().now());
    give_resource(call, make_resource<snapshot_object>(std::move(now), graph->graph().options().arcs));
    return {};
  });
}

/// newest(graph) -> u commit
karyon_status newest(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(graph_object * graph, object<graph_object>(call, 0));
    give(call, std::uint64_t{graph->graph().newest()});
    return {};
  });
}

/// compact(graph, budget_bytes u) -> u moved, u left
karyon_status compact(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(graph_object * graph, object<graph_object>(call, 0));
    RHIZOME_TRY(const compaction done, graph->graph().compact(call->arguments[1].as.u64));
    give(call, std::uint64_t{done.moved_bytes});
    give(call, std::uint64_t{done.left_bytes});
    return {};
  });
}

/// trim(graph, before u) -> u commit
karyon_status trim(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(graph_object * graph, object<graph_object>(call, 0));
    RHIZOME_TRY(const commit_number before, number<commit_number>(call, 1, "the commit"));
    RHIZOME_TRY(const commit_number done, graph->graph().trim(before));
    give(call, std::uint64_t{done});
    return {};
  });
}

/// memory(graph) -> newest, history, valid, property, index, log, retired, free, limit: bytes
karyon_status memory(karyon_call* call) {
  return guarded(call, [call]() -> result<void> {
    RHIZOME_TRY(graph_object * graph, object<graph_object>(call, 0));
    const memory_report m = graph->graph().memory();
    for (const std::size_t bytes :
         {m.newest, m.history, m.valid, m.property, m.index, m.log, m.retired, m.free, m.limit}) {
      give(call, std::uint64_t{bytes});
    }
    return {};
  });
}

constexpr karyon_cost copying{20'000, 1'000, 1, 0, nullptr};

constexpr std::array graph_rows{
    // A store reserves addresses and touches its first tables.
    karyon_function{"make", "UBB", "r", &make, some_ms, KARYON_RUN_AUTO, 0},
    karyon_function{"open", "vUBB", "ruu", &open, some_ms, KARYON_RUN_DIRTY_IO, 0},
    karyon_function{"checkpoint", "r", "u", &checkpoint, some_ms, KARYON_RUN_DIRTY_IO, 0},
    karyon_function{"close", "r", "", &close, some_ms, KARYON_RUN_DIRTY_IO, 0},
    karyon_function{"begin", "r", "r", &begin, few_us, KARYON_RUN_INLINE, 0},
    karyon_function{"snapshot", "r", "r", &take_snapshot, few_us, KARYON_RUN_INLINE, 0},
    karyon_function{"newest", "r", "u", &newest, few_us, KARYON_RUN_INLINE, 0},
    karyon_function{"compact", "ru", "uu", &compact, copying, KARYON_RUN_DIRTY_CPU, 0},
    karyon_function{"trim", "ru", "u", &trim, some_ms, KARYON_RUN_DIRTY_CPU, 0},
    karyon_function{"memory", "r", "uuuuuuuuu", &memory, few_us, KARYON_RUN_DIRTY_IO, 0},
};

}  // namespace

std::span<const karyon_function> graph_functions() noexcept { return graph_rows; }

}  // namespace rhizome::module
