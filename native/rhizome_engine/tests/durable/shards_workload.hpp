// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "durable/durable_shards.hpp"
#include "workload.hpp"

namespace rhizome::tests {

inline constexpr unsigned workload_shards = 3;
inline constexpr vertex workload_shard_ids = 1 << 10;

inline sharded_options small_shards() {
  sharded_options options;
  options.each = small_store();
  options.each.vertices_max = workload_shard_ids - 1;
  options.count = workload_shards;
  return options;
}

inline durable_shards_options small_durable_shards() {
  durable_shards_options options;
  options.each.store = small_shards().each;
  options.each.log = {.segment_bytes = 2'000, .allocate_bytes = 1'500, .buffer_bytes = 1'000};
  options.count = workload_shards;
  return options;
}

/// Everything that the shards show at one instant, as text.
inline std::string dump(const sharded_snapshot& from) {
  std::ostringstream out;
  for (unsigned k = 0; k < workload_shards; ++k) out << "shard " << k << ": " << dump(from.shard(k)) << '\n';
  for (const direction way : {direction::out, direction::in}) {
    const sharded_view arcs = from.newest(0, way);
    out << "all: " << arcs.arcs();
    for (vertex v = 0; v < arcs.vertices(); ++v) {
      std::vector<vertex> all;
      arcs.for_each(v, [&](vertex w) { all.push_back(w); });
      std::sort(all.begin(), all.end());
      for (const vertex w : all) out << ' ' << v << '>' << w;
    }
  }
  for (int i = 0; i < 4; ++i) {
    if (const auto number = from.find_property("key " + std::to_string(i))) out << " key " << i << '=' << *number;
  }
  return out.str();
}

/// The transaction that makes step `n` of the history `seed`: what it does depends on these and on the graph alone. It changes two shards
/// or three; each of them keeps the number of the last step that changed it, at its first vertex.
inline result<void> shards_step(sharded_store& on, std::uint64_t seed, std::uint64_t n) {
  std::mt19937_64 random(seed * 1'000'003 + n);
  const auto below = [&](std::uint64_t bound) { return static_cast<vertex>(random() % bound); };
  auto begun = on.begin();
  if (!begun) return tl::unexpected(begun.error());
  sharded_transaction tx = std::move(*begun);
  std::vector<vertex> ids(workload_shards);
  for (unsigned k = 0; k < workload_shards; ++k) ids[k] = tx.reads().shard(k).vertices();
  for (unsigned k = 0; k < workload_shards; ++k) {
    if (n != 1 && below(6) != 0) continue;
    const vertex more = n == 1 ? 5 : 1;
    if (auto done = tx.add_vertices(k, more); !done) return tl::unexpected(done.error());
    ids[k] += more;
  }
  const auto any = [&](vertex from) {
    const auto k = below(workload_shards);
    return k * workload_shard_ids + from + below(ids[k] - from);
  };
  for (vertex i = 0, steps = 2 + below(8); i < steps; ++i) {
    const auto l = static_cast<label>(below(workload_labels));
    const vertex v = any(0);
    const vertex w = any(0);
    // What is refused (not there, there already) is left out: the same each time.
    switch (below(9)) {
      case 0: static_cast<void>(tx.remove_arc(l, v, w)); break;
      case 1: static_cast<void>(tx.set_valid(l, v, w, {5, 50})); break;
      case 2: static_cast<void>(tx.set_property(l, v, w, 1, static_cast<std::int64_t>(n))); break;
      case 3: static_cast<void>(tx.name_property("key " + std::to_string(below(4)))); break;
      case 4:
        if (below(6) == 0) static_cast<void>(tx.remove_vertex(any(1)));
        break;
      default: static_cast<void>(tx.add_arc(l, v, w)); break;
    }
  }
  const vertex left_alone = below(workload_shards + 1);
  for (vertex k = 0; k < workload_shards; ++k) {
    if (k == left_alone) continue;
    const vertex first = k * workload_shard_ids;
    if (auto done = tx.set_property(first, 0, static_cast<std::int64_t>(n)); !done) return done;
  }
  return tx.commit();
}

/// The last step that any shard says it has had.
inline std::uint64_t last_step(sharded_store& of) {
  std::int64_t last = 0;
  const sharded_snapshot now = of.now().value();
  for (vertex k = 0; k < workload_shards; ++k) {
    const auto said = now.property(k * workload_shard_ids, 0);
    if (!said) continue;
    if (const auto* step = std::get_if<std::int64_t>(&*said)) last = std::max(last, *step);
  }
  return static_cast<std::uint64_t>(last);
}

/// That history in shards without a disk, up to step `n`, as text.
inline std::string expected_shards(std::uint64_t seed, std::uint64_t n) {
  auto made = sharded_store::make(small_shards());
  for (std::uint64_t i = 1; i <= n; ++i) static_cast<void>(shards_step(*made, seed, i));
  return dump(*made->now());
}

}  // namespace rhizome::tests
