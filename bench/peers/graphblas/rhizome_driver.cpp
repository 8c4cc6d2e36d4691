// SPDX-License-Identifier: Apache-2.0
extern "C" {
#include <GraphBLAS.h>
}

#include <cmath>
#include <string>

#include "suites/rhizome_kron.hpp"

/// The suite `rhizome` in SuiteSparse GraphBLAS. bench/README.md defines each scenario.
namespace {

using namespace karyon::bench;
using rhizome::csr;
using rhizome::vertex;

void check(GrB_Info status) {
  if (status < 0) {
    throw std::runtime_error("GraphBLAS answered " + std::to_string(status));
  }
}

/// The graph as a symmetric matrix of booleans that all have one value, by rows.
GrB_Matrix matrix_of(csr const& graph) {
  std::vector<GrB_Index> rows;
  std::vector<GrB_Index> columns;
  rows.reserve(graph.arcs());
  columns.reserve(graph.arcs());
  for (vertex v = 0; v < graph.vertices(); ++v) {
    for (auto const to : graph.neighbours(v)) {
      rows.push_back(v);
      columns.push_back(to);
    }
  }
  GrB_Matrix matrix = nullptr;
  check(GrB_Matrix_new(&matrix, GrB_BOOL, graph.vertices(), graph.vertices()));
  GrB_Scalar one = nullptr;
  check(GrB_Scalar_new(&one, GrB_BOOL));
  check(GrB_Scalar_setElement_BOOL(one, true));
  check(GxB_Matrix_build_Scalar(matrix, rows.data(), columns.data(), one, rows.size()));
  check(GrB_Matrix_wait(matrix, GrB_MATERIALIZE));
  return matrix;
}

GrB_Matrix begin(work const& asked, csr const& graph) {
  check(GrB_init(GrB_NONBLOCKING));
  check(GxB_Global_Option_set(GxB_GLOBAL_NTHREADS, static_cast<int>(kron::threads(asked))));
  return matrix_of(graph);
}

/// PageRank as the GAP benchmark defines it: vertices without arcs lose their rank, up to 20 iterations, until scores change by less than
/// 1e-4 in sum.
unsigned pagerank_once(GrB_Matrix matrix, GrB_Vector degrees, GrB_Index vertices) {
  auto const damping = 0.85F;
  auto const teleport = (1 - damping) / static_cast<float>(vertices);
  GrB_Vector scores = nullptr;
  GrB_Vector before = nullptr;
  GrB_Vector shares = nullptr;
  check(GrB_Vector_new(&scores, GrB_FP32, vertices));
  check(GrB_Vector_new(&before, GrB_FP32, vertices));
  check(GrB_Vector_new(&shares, GrB_FP32, vertices));
  check(GrB_Vector_assign_FP32(scores, nullptr, nullptr, 1 / static_cast<float>(vertices), GrB_ALL, vertices, nullptr));
  unsigned iterations = 0;
  for (float change = 1; change > 1e-4F && iterations < 20; ++iterations) {
    std::swap(scores, before);
    check(GrB_Vector_eWiseMult_BinaryOp(shares, nullptr, nullptr, GrB_DIV_FP32, before, degrees, nullptr));
    check(GrB_Vector_assign_FP32(scores, nullptr, nullptr, teleport, GrB_ALL, vertices, nullptr));
    check(GrB_mxv(scores, nullptr, GrB_PLUS_FP32, GxB_PLUS_SECOND_FP32, matrix, shares, nullptr));
    check(GrB_Vector_eWiseAdd_BinaryOp(before, nullptr, nullptr, GrB_MINUS_FP32, before, scores, nullptr));
    check(GrB_Vector_apply(before, nullptr, nullptr, GrB_ABS_FP32, before, nullptr));
    check(GrB_Vector_reduce_FP32(&change, nullptr, GrB_PLUS_MONOID_FP32, before, nullptr));
  }
  GrB_Vector_free(&scores);
  GrB_Vector_free(&before);
  GrB_Vector_free(&shares);
  return iterations;
}

/// For each vertex that has arcs, their number over the damping: a score divided by it is what each arc hands on.
GrB_Vector damped_degrees(csr const& graph) {
  GrB_Vector degrees = nullptr;
  check(GrB_Vector_new(&degrees, GrB_FP32, graph.vertices()));
  for (vertex v = 0; v < graph.vertices(); ++v) {
    if (graph.degree(v) > 0) {
      check(GrB_Vector_setElement_FP32(degrees, static_cast<float>(graph.degree(v)) / 0.85F, v));
    }
  }
  check(GrB_Vector_wait(degrees, GrB_MATERIALIZE));
  return degrees;
}

figure pagerank(work const& asked) {
  auto const graph = kron::graph(kron::scale_of(asked));
  auto* const matrix = begin(asked, graph);
  auto* const degrees = damped_degrees(graph);
  std::vector<double> times;
  for (std::uint64_t i = 0; i < kron::repeats(asked); ++i) {
    times.push_back(kron::timed_ms([&] { pagerank_once(matrix, degrees, graph.vertices()); }));
  }
  return {"ms", kron::median(asked, times)};
}

/// Direction-optimising, by the rules that LAGraph's breadth-first search has: pushes while the front is small, pulls while it is large.
/// Gives how many vertices were reached.
GrB_Index search_once(GrB_Matrix matrix, csr const& graph, vertex source) {
  auto const vertices = static_cast<GrB_Index>(graph.vertices());
  GrB_Vector parents = nullptr;
  GrB_Vector front = nullptr;
  check(GrB_Vector_new(&parents, GrB_INT64, vertices));
  check(GrB_Vector_new(&front, GrB_INT64, vertices));
  check(GxB_Vector_Option_set(parents, GxB_SPARSITY_CONTROL, GxB_BITMAP + GxB_FULL));
  check(GrB_Vector_setElement_INT64(parents, source, source));
  check(GrB_Vector_setElement_INT64(front, source, source));
  auto unexplored = static_cast<double>(graph.arcs());
  GrB_Index reached = 1;
  GrB_Index last = 0;
  bool pushing = true;
  for (GrB_Index size = 1; size > 0;) {
    if (pushing) {
      GrB_Index index = 0;
      double arcs = 0;
      GxB_Iterator at = nullptr;
      check(GxB_Iterator_new(&at));
      check(GxB_Vector_Iterator_attach(at, front, nullptr));
      for (auto state = GxB_Vector_Iterator_seek(at, 0); state != GxB_EXHAUSTED; state = GxB_Vector_Iterator_next(at)) {
        index = (GxB_Vector_Iterator_getIndex)(at);  // the function: its macro mixes signs
        arcs += graph.degree(static_cast<vertex>(index));
      }
      GxB_Iterator_free(&at);
      unexplored -= arcs;
      pushing = !(size > last && arcs * 8 > unexplored);
    } else {
      pushing = size < last && size <= vertices / 512;
    }
    last = size;
    check(GxB_Vector_Option_set(front, GxB_SPARSITY_CONTROL, pushing ? GxB_SPARSE : GxB_BITMAP));
    if (pushing) {
      check(GrB_vxm(front, parents, nullptr, GxB_ANY_SECONDI_INT64, front, matrix, GrB_DESC_RSC));
    } else {
      check(GrB_mxv(front, parents, nullptr, GxB_ANY_SECONDI_INT64, matrix, front, GrB_DESC_RSC));
    }
    check(GrB_Vector_nvals(&size, front));
    check(GrB_Vector_assign(parents, front, nullptr, front, GrB_ALL, vertices, GrB_DESC_S));
    reached += size;
  }
  GrB_Vector_free(&parents);
  GrB_Vector_free(&front);
  return reached;
}

figure bfs(work const& asked) {
  auto const graph = kron::graph(kron::scale_of(asked));
  auto* const matrix = begin(asked, graph);
  std::vector<double> times;
  for (auto const source : kron::sources(graph, kron::repeats(asked))) {
    times.push_back(kron::timed_ms([&] {
      auto const reached = search_once(matrix, graph, source);
      verify(reached > 1, "nothing was reached from a vertex that has arcs");
    }));
  }
  return {"ms", kron::median(asked, times)};
}

constexpr scenario scenarios[] = {{"pagerank", pagerank}, {"bfs", bfs}};

}  // namespace

int main(int argc, char** argv) { karyon::bench::drive(argc, argv, scenarios); }
