// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <span>
#include <thread>

#include "algo/bfs.hpp"
#include "algo/pagerank.hpp"
#include "algo/snapshot_graph.hpp"
#include "algo/temporal.hpp"
#include "durable/durable_store.hpp"
#include "store/store.hpp"
#include "suites/rhizome_kron.hpp"

/// The suite `rhizome` over the engine's store. bench/README.md defines each scenario.
namespace {

using namespace karyon::bench;
using rhizome::csr;
using rhizome::vertex;

constexpr rhizome::label edges_label = 0;
constexpr std::size_t setup_batch = 65'536;

/// What a result holds, or the end of the run with the engine's own sentence.
template <class T>
T must(rhizome::result<T> outcome) {
  if (!outcome) {
    throw std::runtime_error(outcome.error().text);
  }
  if constexpr (!std::is_void_v<T>) {
    return *std::move(outcome);
  }
}

std::vector<rhizome::arc> arcs_over_time(csr const& graph) {
  auto const edges = kron::edges_over_time(graph);
  std::vector<rhizome::arc> arcs;
  arcs.reserve(edges.size());
  for (auto const& one : edges) {
    arcs.push_back({one.source, one.target});
  }
  return arcs;
}

rhizome::store_options options_for(vertex vertices) {
  rhizome::store_options options;
  options.arcs = rhizome::arcs_kind::symmetric;
  options.vertices_max = vertices;
  return options;
}

void add_vertices(rhizome::store& store, vertex vertices) {
  auto change = must(store.begin());
  must(change.add_vertices(vertices));
  must(change.commit());
}

rhizome::store empty_store(vertex vertices) {
  auto store = must(rhizome::store::make(options_for(vertices)));
  add_vertices(store, vertices);
  return store;
}

void insert(rhizome::store& store, std::span<rhizome::arc const> arcs, std::size_t batch) {
  for (std::size_t at = 0; at < arcs.size(); at += batch) {
    auto change = must(store.begin());
    must(change.add_arcs(edges_label, arcs.subspan(at, std::min(batch, arcs.size() - at))));
    must(change.commit());
  }
}

void remove(rhizome::store& store, std::span<rhizome::arc const> arcs, std::size_t batch) {
  for (std::size_t at = 0; at < arcs.size(); at += batch) {
    auto change = must(store.begin());
    must(change.remove_arcs(edges_label, arcs.subspan(at, std::min(batch, arcs.size() - at))));
    must(change.commit());
  }
}

void compact(rhizome::store& store) {
  while (must(store.compact(std::size_t{64} << 20)).left_bytes > 0) {
  }
}

template <class View>
double pagerank_ms(View const& view, rhizome::team& workers) {
  return kron::timed_ms([&] {
    rhizome::pagerank<View, View> ranks(view, view);
    kron::finish(ranks, workers);
  });
}

/// The median of one's times over the median of the other's, each taken `repeats` times by turns.
template <class Measured, class Base>
figure ratio(work const& asked, Measured&& measured, Base&& base) {
  std::vector<double> times;
  std::vector<double> base_times;
  for (std::uint64_t i = 0; i < kron::repeats(asked); ++i) {
    base_times.push_back(base(i));
    times.push_back(measured(i));
  }
  return {"ratio", kron::median(asked, times) / kron::median(asked, base_times)};
}

rhizome::store filled_store(csr const& graph, bool compacted) {
  auto store = empty_store(graph.vertices());
  insert(store, arcs_over_time(graph), setup_batch);
  if (compacted) {
    compact(store);
  }
  return store;
}

figure pagerank_ratio(work const& asked) {
  auto const graph = kron::graph(kron::scale_of(asked));
  auto const store = filled_store(graph, asked.option("compacted", 1) != 0);
  auto const view = must(store.now()).newest(edges_label);
  verify(view.arcs() == graph.arcs(), "the store has not the arcs of the graph");
  rhizome::team workers(kron::threads(asked));
  return ratio(
      asked, [&](auto) { return pagerank_ms(view, workers); }, [&](auto) { return pagerank_ms(graph, workers); });
}

figure pagerank(work const& asked) {
  auto const graph = kron::graph(kron::scale_of(asked));
  auto const store = filled_store(graph, true);
  auto const view = must(store.now()).newest(edges_label);
  rhizome::team workers(kron::threads(asked));
  std::vector<double> times;
  for (std::uint64_t i = 0; i < kron::repeats(asked); ++i) {
    times.push_back(pagerank_ms(view, workers));
  }
  return {"ms", kron::median(asked, times)};
}

template <class View>
double bfs_ms(View const& view, vertex source, rhizome::team& workers) {
  return kron::timed_ms([&] {
    rhizome::bfs<View, View> search(view, view, source);
    kron::finish(search, workers);
  });
}

figure bfs_ratio(work const& asked) {
  auto const graph = kron::graph(kron::scale_of(asked));
  auto const store = filled_store(graph, true);
  auto const view = must(store.now()).newest(edges_label);
  auto const from = kron::sources(graph, kron::repeats(asked));
  rhizome::team workers(kron::threads(asked));
  return ratio(
      asked, [&](auto i) { return bfs_ms(view, from[i], workers); },
      [&](auto i) { return bfs_ms(graph, from[i], workers); });
}

figure bfs(work const& asked) {
  auto const graph = kron::graph(kron::scale_of(asked));
  auto const store = filled_store(graph, true);
  auto const view = must(store.now()).newest(edges_label);
  rhizome::team workers(kron::threads(asked));
  std::vector<double> times;
  for (auto const source : kron::sources(graph, kron::repeats(asked))) {
    times.push_back(bfs_ms(view, source, workers));
  }
  return {"ms", kron::median(asked, times)};
}

/// What is read about the past, all told: the view is made within the time.
double pagerank_of_the_past_ms(rhizome::snapshot const& now, rhizome::commit_number at, rhizome::team& workers) {
  return kron::timed_ms([&] {
    auto const past = must(now.as_of(at, edges_label)).prepare();
    rhizome::pagerank<rhizome::prepared_view, rhizome::prepared_view> ranks(past, past);
    kron::finish(ranks, workers);
  });
}

/// As of the middle of the log, next to the newest snapshot of a store that has no more than that.
figure asof_ratio(work const& asked) {
  auto const graph = kron::graph(kron::scale_of(asked));
  auto const arcs = arcs_over_time(graph);
  auto const first_half = std::span(arcs).first(arcs.size() / 2);
  auto store = empty_store(graph.vertices());
  insert(store, first_half, setup_batch);
  auto const middle = store.newest();
  insert(store, std::span(arcs).subspan(first_half.size()), setup_batch);
  compact(store);
  auto half_store = empty_store(graph.vertices());
  insert(half_store, first_half, setup_batch);
  compact(half_store);
  auto const now = must(store.now());
  auto const half = must(half_store.now()).newest(edges_label);
  verify(must(now.as_of(middle, edges_label)).arcs() == half.arcs(), "the past has not the arcs that it had");
  rhizome::team workers(kron::threads(asked));
  return ratio(
      asked, [&](auto) { return pagerank_of_the_past_ms(now, middle, workers); },
      [&](auto) { return pagerank_ms(half, workers); });
}

/// As of the moment before a fifth of the edges were deleted and added again, next to the newest: the same graph, with and
/// without a past to look up.
figure asof_churn_ratio(work const& asked) {
  auto const graph = kron::graph(kron::scale_of(asked));
  auto const arcs = arcs_over_time(graph);
  auto store = empty_store(graph.vertices());
  insert(store, arcs, setup_batch);
  auto const before = store.newest();
  auto const changing = std::span(arcs).first(arcs.size() / 5);
  remove(store, changing, setup_batch);
  insert(store, changing, setup_batch);
  compact(store);
  auto const now = must(store.now());
  auto const newest = now.newest(edges_label);
  verify(must(now.as_of(before, edges_label)).arcs() == newest.arcs(), "the past has not the arcs that it had");
  rhizome::team workers(kron::threads(asked));
  return ratio(
      asked, [&](auto) { return pagerank_of_the_past_ms(now, before, workers); },
      [&](auto) { return pagerank_ms(newest, workers); });
}

double millions_a_second(double count, double ms) { return count / ms / 1e3; }

/// What writes is done so many times, each time to a store of its own; the median counts.
constexpr int write_passes = 3;

/// The median of the milliseconds that pass() says it took.
template <class F>
double median_ms(work const& asked, F&& pass) {
  std::vector<double> times;
  for (int i = 0; i < write_passes; ++i) {
    times.push_back(pass());
  }
  return kron::median(asked, times);
}

figure insert_rate(work const& asked) {
  auto const graph = kron::graph(kron::scale_of(asked));
  auto const arcs = arcs_over_time(graph);
  auto const ms = median_ms(asked, [&] {
    auto store = empty_store(graph.vertices());
    auto const taken = kron::timed_ms([&] { insert(store, arcs, std::max<std::uint64_t>(1, asked.operations)); });
    verify(must(store.now()).newest(edges_label).arcs() == graph.arcs(), "the store has not the arcs of the graph");
    return taken;
  });
  return {"marcs", millions_a_second(static_cast<double>(graph.arcs()), ms)};
}

/// A folder on a disk (/tmp may be memory) that is gone at the end.
class disk_folder {
public:
  disk_folder() : path_("/var/tmp/karyon-bench-" + std::to_string(getpid())) {
    std::filesystem::create_directory(path_);
  }
  disk_folder(disk_folder const&) = delete;
  disk_folder& operator=(disk_folder const&) = delete;
  ~disk_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::string const& path() const { return path_; }

private:
  std::string path_;
};

/// A change each, `group` of them made durable by one sync.
void insert_in_groups(rhizome::store& store, std::span<rhizome::arc const> arcs, std::size_t group) {
  for (std::size_t at = 0; at < arcs.size(); at += group) {
    std::vector<rhizome::transaction> changes;
    for (auto const& one : arcs.subspan(at, std::min(group, arcs.size() - at))) {
      changes.push_back(must(store.begin()));
      must(changes.back().add_arc(edges_label, one.source, one.target));
    }
    for (auto& outcome : store.commit_group(changes)) {
      must(std::move(outcome));
    }
  }
}

/// `single=1`: each edge is a transaction of its own. A sixteenth of the edges then, or a slow disk takes minutes.
figure durable_insert_rate(work const& asked) {
  auto const graph = kron::graph(kron::scale_of(asked));
  bool const single = asked.option("single", 0) != 0;
  auto arcs = arcs_over_time(graph);
  arcs.resize(single ? arcs.size() / 16 : arcs.size());
  rhizome::durable_options options;
  options.store = options_for(graph.vertices());
  auto const group = std::max<std::uint64_t>(1, asked.operations);
  auto const ms = median_ms(asked, [&] {
    disk_folder const folder;
    auto durable = must(rhizome::durable_store::open(folder.path(), options));
    auto& store = durable.graph();
    add_vertices(store, graph.vertices());
    auto const taken =
        kron::timed_ms([&] { single ? insert_in_groups(store, arcs, group) : insert(store, arcs, group); });
    verify(must(store.now()).newest(edges_label).arcs() == 2 * arcs.size(), "the store has not the arcs of the graph");
    return taken;
  });
  return {"marcs", millions_a_second(2 * static_cast<double>(arcs.size()), ms)};
}

figure delete_rate(work const& asked) {
  auto const graph = kron::graph(kron::scale_of(asked));
  auto const arcs = arcs_over_time(graph);
  auto const doomed = std::span(arcs).first(arcs.size() / 5);
  auto const ms = median_ms(asked, [&] {
    auto store = empty_store(graph.vertices());
    insert(store, arcs, setup_batch);
    auto const taken = kron::timed_ms([&] { remove(store, doomed, std::max<std::uint64_t>(1, asked.operations)); });
    verify(must(store.now()).newest(edges_label).arcs() == graph.arcs() - 2 * doomed.size(),
           "not all edges were deleted");
    return taken;
  });
  return {"medges", millions_a_second(static_cast<double>(doomed.size()), ms)};
}

figure bytes_per_arc(work const& asked) {
  auto const graph = kron::graph(kron::scale_of(asked));
  auto store = filled_store(graph, true);
  store.collect();
  auto const used = store.memory();
  if (asked.option("verbose", 0) != 0) {
    std::fprintf(stderr, "newest %zu history %zu index %zu log %zu retired %zu free %zu bytes\n", used.newest,
                 used.history, used.index, used.log, used.retired, used.free);
  }
  return {"bytes", static_cast<double>(used.newest) / static_cast<double>(graph.arcs())};
}

/// How much of its speed a reader keeps while a writer inserts: arcs that a PageRank passes in a second, on snapshots taken anew, beside
/// the second half of the inserts, in percent of that beside nothing.
figure mixed_reader(work const& asked) {
  auto const graph = kron::graph(kron::scale_of(asked));
  auto const arcs = arcs_over_time(graph);
  auto const half = arcs.size() / 2;
  auto store = empty_store(graph.vertices());
  insert(store, std::span(arcs).first(half), setup_batch);
  compact(store);
  rhizome::team alone(1);
  auto const speed = [&] {
    auto const view = must(store.now()).newest(edges_label);
    double passed = 0;
    auto const ms = kron::timed_ms([&] {
      rhizome::pagerank<rhizome::view, rhizome::view> ranks(view, view);
      kron::finish(ranks, alone);
      passed = static_cast<double>(ranks.iterations()) * static_cast<double>(view.arcs());
    });
    return passed / ms;
  };
  std::vector<double> quiet;
  for (int i = 0; i < 5; ++i) {
    quiet.push_back(speed());
  }
  std::atomic<bool> inserted{false};
  std::thread writer([&] {
    insert(store, std::span(arcs).subspan(half), std::max<std::uint64_t>(1, asked.operations));
    inserted.store(true);
  });
  std::vector<double> beside;
  for (;;) {
    auto const one = speed();
    if (inserted.load()) {
      break;
    }
    beside.push_back(one);
  }
  writer.join();
  verify(!beside.empty(), "the writer was through before the reader");
  return {"percent", 100 * kron::median(asked, beside) / kron::median(asked, quiet)};
}

figure temporal_reach(work const& asked) {
  auto const graph = kron::graph(kron::scale_of(asked));
  auto const store = filled_store(graph, false);
  auto const now = must(store.now());
  rhizome::commit_contacts const contacts(now, must(now.log(0, now.commit())), edges_label, true);
  std::vector<double> times;
  for (auto const source : kron::sources(graph, kron::repeats(asked))) {
    times.push_back(kron::timed_ms([&] {
      rhizome::earliest_arrival<rhizome::commit_contacts> search(contacts, source, 0);
      rhizome::budget whole;
      verify(search.step(whole) == rhizome::progress::done, "a pass without a limit did not end");
    }));
  }
  return {"ms", kron::median(asked, times)};
}

constexpr scenario scenarios[] = {
    {"pagerank_ratio", pagerank_ratio},
    {"pagerank", pagerank},
    {"bfs_ratio", bfs_ratio},
    {"bfs", bfs},
    {"asof_ratio", asof_ratio},
    {"asof_churn_ratio", asof_churn_ratio},
    {"insert", insert_rate},
    {"insert_wal", durable_insert_rate},
    {"delete", delete_rate},
    {"bytes_per_arc", bytes_per_arc},
    {"mixed_reader", mixed_reader},
    {"temporal_reach", temporal_reach},
};

}  // namespace

int main(int argc, char** argv) { karyon::bench::drive(argc, argv, scenarios); }
