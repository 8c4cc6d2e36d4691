// SPDX-License-Identifier: Apache-2.0
#include "algo/csr.hpp"

#include <algorithm>
#include <stdexcept>

namespace rhizome {
namespace {

/// Sorts each vertex's targets; where `drop`, moves them together without loops and repetitions.
void tidy(huge_array<std::uint64_t>& begins, huge_array<vertex>& targets, vertex vertices, bool drop) {
  std::uint64_t kept = 0;
  for (vertex v = 0; v < vertices; ++v) {
    auto* const first = targets.data() + begins[v];
    auto* last = targets.data() + begins[v + std::size_t{1}];
    std::sort(first, last);
    if (drop) {
      last = std::remove(first, std::unique(first, last), v);
      begins[v] = kept;  // the next one's begin is still the old one
      std::copy(first, last, targets.data() + kept);
      kept += static_cast<std::uint64_t>(last - first);
    }
  }
  if (drop) {
    begins[vertices] = kept;
  }
}

}  // namespace

csr::csr(vertex vertices, std::shared_ptr<const arrays> owned)
    : owned_(std::move(owned)), begins_(owned_->begins.data()), targets_(owned_->targets.data()), vertices_(vertices) {}

csr::csr(vertex vertices, std::span<const arc> all, duplicates equal_arcs) {
  auto made = std::make_shared<arrays>();
  made->begins = huge_array<std::uint64_t>(std::size_t{vertices} + 1);
  auto& begins = made->begins;
  for (auto const& one : all) {
    if (one.source >= vertices || one.target >= vertices) {
      throw std::out_of_range("an arc names a vertex that is not there");
    }
    ++begins[one.source + std::size_t{1}];
  }
  for (std::size_t v = 0; v < vertices; ++v) {
    begins[v + 1] += begins[v];
  }
  huge_array<vertex> targets(all.size());
  {
    huge_array<std::uint64_t> next(vertices);
    std::copy(begins.begin(), begins.begin() + vertices, next.begin());
    for (auto const& one : all) {
      targets[next[one.source]++] = one.target;
    }
  }
  tidy(begins, targets, vertices, equal_arcs == duplicates::dropped);
  if (auto const kept = begins[vertices]; kept < targets.size()) {
    made->targets = huge_array<vertex>(kept);
    std::copy(targets.begin(), targets.begin() + kept, made->targets.begin());
  } else {
    made->targets = std::move(targets);
  }
  *this = csr(vertices, std::move(made));
}

csr csr::transposed() const {
  auto made = std::make_shared<arrays>();
  made->begins = huge_array<std::uint64_t>(std::size_t{vertices_} + 1);
  made->targets = huge_array<vertex>(arcs());
  auto& begins = made->begins;
  auto const* const all = targets_;
  for (std::uint64_t i = 0; i < arcs(); ++i) {
    ++begins[all[i] + std::size_t{1}];
  }
  for (std::size_t v = 0; v < vertices_; ++v) {
    begins[v + 1] += begins[v];
  }
  huge_array<std::uint64_t> next(vertices_);
  std::copy(begins.begin(), begins.begin() + vertices_, next.begin());
  for (vertex v = 0; v < vertices_; ++v) {  // ascending, so each target's sources come out ascending
    for_each(v, [&](vertex target) { made->targets[next[target]++] = v; });
  }
  return csr(vertices_, std::move(made));
}

}  // namespace rhizome
