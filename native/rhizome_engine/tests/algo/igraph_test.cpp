// SPDX-License-Identifier: Apache-2.0
// The algorithms next to igraph's, on a graph that every Debian machine has: what its packages depend on.
#include <igraph.h>

#include <cmath>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "algo/bfs.hpp"
#include "algo/components.hpp"
#include "algo/pagerank.hpp"
#include "algo/shortest_paths.hpp"
#include "algo/triangles.hpp"
#include "graphs.hpp"
#include "support/catch.hpp"

namespace rhizome {
namespace {

using arc = csr::arc;
using testing::finish;

/// Packages by name, and an arc from each to those that it names in Depends or Recommends.
std::vector<arc> package_arcs(vertex& count) {
  std::map<std::string, vertex> numbers;
  auto const number = [&](const std::string& name) {
    return numbers.try_emplace(name, static_cast<vertex>(numbers.size())).first->second;
  };
  std::vector<arc> arcs;
  std::ifstream file("/var/lib/dpkg/status");
  vertex current = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("Package: ", 0) == 0) {
      current = number(line.substr(9));
    } else if (line.rfind("Depends: ", 0) == 0 || line.rfind("Recommends: ", 0) == 0 ||
               line.rfind("Suggests: ", 0) == 0) {
      constexpr auto name_letters = "abcdefghijklmnopqrstuvwxyz0123456789+-.";
      for (std::size_t at = line.find(": ") + 2; at < line.size();) {
        auto const end = std::min(line.size(), line.find_first_of(",|", at));
        auto const first = line.find_first_of(name_letters, at);
        if (first < end) {
          arcs.push_back({current, number(line.substr(first, line.find_first_not_of(name_letters, first) - first))});
        }
        at = end + 1;
      }
    }
  }
  count = static_cast<vertex>(numbers.size());
  return arcs;
}

/// igraph's structures, given back at the end.
class igraph_copy {
public:
  igraph_copy(const csr& graph, bool directed) {
    igraph_vector_int_t edges;
    igraph_vector_int_init(&edges, 0);
    for (vertex v = 0; v < graph.vertices(); ++v) {
      for (auto const to : graph.neighbours(v)) {
        if (directed || v < to) {
          igraph_vector_int_push_back(&edges, v);
          igraph_vector_int_push_back(&edges, to);
        }
      }
    }
    igraph_create(&graph_, &edges, graph.vertices(), directed);
    igraph_vector_int_destroy(&edges);
  }
  ~igraph_copy() { igraph_destroy(&graph_); }
  igraph_copy(const igraph_copy&) = delete;
  igraph_copy& operator=(const igraph_copy&) = delete;
  const igraph_t* operator*() const { return &graph_; }

private:
  igraph_t graph_{};
};

struct packages {
  csr forth;
  csr back;
  csr both;
  packages() {
    vertex count = 0;
    auto const arcs = package_arcs(count);
    forth = csr(count, arcs, csr::duplicates::dropped);
    back = forth.transposed();
    both = csr(count, testing::both_ways(arcs), csr::duplicates::dropped);
  }
  [[nodiscard]] bool missing() const {
    if (forth.arcs() == 0) {
      WARN("left out: this machine has no package list of Debian's");
    }
    return forth.arcs() == 0;
  }
};

TEST_CASE("PageRank over package dependencies is igraph's") {
  packages const all;
  if (all.missing()) {
    return;
  }
  pagerank<csr, csr> ranks(all.forth, all.back, {0.85, 1e-7, 500, true});
  finish(ranks, 10'000);
  igraph_copy const copy(all.forth, true);
  igraph_vector_t scores;
  igraph_vector_init(&scores, 0);
  REQUIRE(igraph_pagerank(*copy, IGRAPH_PAGERANK_ALGO_PRPACK, &scores, nullptr, igraph_vss_all(), true, 0.85, nullptr,
                          nullptr) == IGRAPH_SUCCESS);
  double off = 0;
  for (vertex v = 0; v < all.forth.vertices(); ++v) {
    off += std::fabs(static_cast<double>(ranks.scores()[v]) - VECTOR(scores)[v]);
  }
  igraph_vector_destroy(&scores);
  CHECK(off < 1e-4);
}

TEST_CASE("Components and triangles of package dependencies are igraph's") {
  packages const all;
  if (all.missing()) {
    return;
  }
  components<csr, csr> parts(all.forth, all.back, false);
  finish(parts, 1'000);
  triangles<csr> count(all.both);
  finish(count, 1'000);
  igraph_copy const copy(all.both, false);
  igraph_integer_t parts_expected = 0;
  REQUIRE(igraph_connected_components(*copy, nullptr, nullptr, &parts_expected, IGRAPH_WEAK) == IGRAPH_SUCCESS);
  CHECK(parts.count() == static_cast<std::uint64_t>(parts_expected));
  igraph_vector_int_t corners;
  igraph_vector_int_init(&corners, 0);
  REQUIRE(igraph_list_triangles(*copy, &corners) == IGRAPH_SUCCESS);
  CHECK(count.count() == static_cast<std::uint64_t>(igraph_vector_int_size(&corners)) / 3);
  igraph_vector_int_destroy(&corners);
}

TEST_CASE("Distances over package dependencies are igraph's, by arcs and by weights") {
  packages const all;
  if (all.missing()) {
    return;
  }
  auto const weight = [](vertex from, vertex to) { return 1.0 + (from + to) % 7; };
  vertex source = 0;
  for (vertex v = 0; v < all.forth.vertices(); ++v) {
    source = all.forth.degree(v) > all.forth.degree(source) ? v : source;
  }
  bfs<csr, csr> search(all.forth, all.back, source);
  finish(search, 1'000);
  shortest_paths cheapest(all.forth, source, weight);
  finish(cheapest, 1'000);
  igraph_copy const copy(all.forth, true);
  igraph_vector_t weights;
  igraph_vector_init(&weights, 0);
  for (vertex v = 0; v < all.forth.vertices(); ++v) {
    for (auto const to : all.forth.neighbours(v)) {
      igraph_vector_push_back(&weights, weight(v, to));
    }
  }
  igraph_matrix_t levels;
  igraph_matrix_t costs;
  igraph_matrix_init(&levels, 0, 0);
  igraph_matrix_init(&costs, 0, 0);
  REQUIRE(igraph_distances(*copy, &levels, igraph_vss_1(source), igraph_vss_all(), IGRAPH_OUT) == IGRAPH_SUCCESS);
  REQUIRE(igraph_distances_dijkstra(*copy, &costs, igraph_vss_1(source), igraph_vss_all(), &weights, IGRAPH_OUT) ==
          IGRAPH_SUCCESS);
  for (vertex v = 0; v < all.forth.vertices(); ++v) {
    auto const level = MATRIX(levels, 0, v);
    REQUIRE(search.path_to(v).size() == (std::isfinite(level) ? static_cast<std::size_t>(level) + 1 : 0));
    REQUIRE(cheapest.distances()[v] == MATRIX(costs, 0, v));
  }
  igraph_matrix_destroy(&levels);
  igraph_matrix_destroy(&costs);
  igraph_vector_destroy(&weights);
}

}  // namespace
}  // namespace rhizome
