// SPDX-License-Identifier: Apache-2.0
#include "algo/bfs.hpp"
#include "algo/pagerank.hpp"
#include "algo/temporal.hpp"
#include "suites/rhizome_kron.hpp"

/// The limit of the suite `rhizome`: the same algorithms on arrays that can not be changed. bench/README.md defines each scenario.
namespace {

using namespace karyon::bench;
using rhizome::csr;
using rhizome::vertex;

figure pagerank(work const& asked) {
  auto const graph = kron::graph(kron::scale_of(asked));
  rhizome::team workers(kron::threads(asked));
  std::vector<double> times;
  for (std::uint64_t i = 0; i < kron::repeats(asked); ++i) {
    times.push_back(kron::timed_ms([&] {
      rhizome::pagerank<csr, csr> ranks(graph, graph);
      kron::finish(ranks, workers);
    }));
  }
  return {"ms", kron::median(asked, times)};
}

figure bfs(work const& asked) {
  auto const graph = kron::graph(kron::scale_of(asked));
  rhizome::team workers(kron::threads(asked));
  std::vector<double> times;
  for (auto const source : kron::sources(graph, kron::repeats(asked))) {
    times.push_back(kron::timed_ms([&] {
      rhizome::bfs<csr, csr> search(graph, graph, source);
      kron::finish(search, workers);
    }));
  }
  return {"ms", kron::median(asked, times)};
}

/// A log that can be passed in either direction.
struct undirected_log {
  using time_type = std::uint32_t;
  std::vector<kron::edge> const& edges;
  vertex count;

  [[nodiscard]] vertex vertices() const { return count; }
  [[nodiscard]] std::uint64_t size() const { return edges.size(); }
  template <class F>
  void for_each(std::uint64_t first, std::uint64_t last, F&& f) const {
    auto const* const all = edges.data();
    for (auto i = first; i < last; ++i) {
      f(all[i].source, all[i].target, static_cast<std::uint32_t>(i));
      f(all[i].target, all[i].source, static_cast<std::uint32_t>(i));
    }
  }
};

figure temporal_reach(work const& asked) {
  auto const graph = kron::graph(kron::scale_of(asked));
  auto const edges = kron::edges_over_time(graph);
  std::vector<double> times;
  for (auto const source : kron::sources(graph, kron::repeats(asked))) {
    times.push_back(kron::timed_ms([&] {
      rhizome::earliest_arrival<undirected_log> search({edges, graph.vertices()}, source, 0);
      rhizome::budget whole;
      verify(search.step(whole) == rhizome::progress::done, "a pass without a limit did not end");
    }));
  }
  return {"ms", kron::median(asked, times)};
}

constexpr scenario scenarios[] = {{"pagerank", pagerank}, {"bfs", bfs}, {"temporal_reach", temporal_reach}};

}  // namespace

int main(int argc, char** argv) { karyon::bench::drive(argc, argv, scenarios); }
