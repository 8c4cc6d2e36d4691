// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "store/store.hpp"

namespace rhizome::tests {

inline constexpr label workload_labels = 3;
inline constexpr property_key workload_keys = 2;

inline store_options small_store() {
  store_options options;
  options.memory_limit_bytes = std::size_t{64} << 20;
  options.vertices_max = 1 << 16;
  options.huge_pages = false;
  return options;
}

/// Everything that a snapshot shows, as text: what is equal in it is the same graph with the same past.
inline std::string dump(const snapshot& from) {
  std::ostringstream out;
  const auto put = [&](const value& data) {
    if (const auto* number = std::get_if<std::int64_t>(&data)) out << *number;
    if (const auto* real = std::get_if<double>(&data)) out << *real << 'f';
    if (const auto* text = std::get_if<std::string>(&data)) out << '"' << *text << '"';
  };
  out << "commit " << from.commit() << ", " << from.alive() << " of " << from.vertices() << '\n';
  for (label l = 0; l < workload_labels; ++l) {
    for (const direction way : {direction::out, direction::in}) {
      const view arcs = from.newest(l, way);
      out << "label " << l << ": " << arcs.arcs() << '\n';
      for (vertex v = 0; v < from.vertices(); ++v) {
        std::vector<std::pair<vertex, commit_number>> all;
        arcs.for_each_begin(v, [&](vertex w, commit_number begin) { all.emplace_back(w, begin); });
        if (all.size() != arcs.degree(v)) out << "degree of " << v << " is wrong\n";
        std::sort(all.begin(), all.end());
        for (const auto& [w, begin] : all) out << ' ' << v << '>' << w << '@' << begin;
        if (way == direction::in) continue;
        for (vertex w = 0; w < from.vertices(); ++w) {
          for (const arc_version& was : from.history(l, v, w)) {
            out << " [" << v << '>' << w << ' ' << was.begin << ' ' << was.end << ' ' << was.valid.from << ' '
                << was.valid.to << ']';
          }
          for (property_key k = 0; k < workload_keys; ++k) {
            if (const auto data = from.property(l, v, w, k, from.commit()); data && data->index() != 0) put(*data);
          }
        }
      }
    }
  }
  for (vertex v = 0; v < from.vertices(); ++v) {
    if (!from.alive(v)) out << " -" << v;
    for (property_key k = 0; k < workload_keys; ++k) {
      for (const property_version& was : from.history(v, k)) {
        out << " {" << v << '.' << k << ' ' << was.begin << ' ' << was.valid.from << ' ';
        put(was.data);
        out << '}';
      }
    }
  }
  if (const auto log = from.log(0, from.commit())) {
    for (const log_entry& entry : log->entries()) {
      out << "\n"
          << entry.commit << ' ' << entry.kind_and_key << ' ' << entry.arc_label << ' ' << entry.source << ' '
          << entry.target;
    }
  }
  for (commit_number n = 1; n <= from.commit(); n += 5) {
    for (label l = 0; l < workload_labels; ++l) {
      const auto then = from.as_of(n, l);
      if (!then) continue;
      std::vector<std::pair<vertex, vertex>> all;
      for (vertex v = 0; v < then->vertices(); ++v) then->for_each(v, [&](vertex w) { all.emplace_back(v, w); });
      std::sort(all.begin(), all.end());
      out << "\nas of " << n << ": " << then->arcs();
      for (const auto& [v, w] : all) out << ' ' << v << '>' << w;
    }
  }
  out << "\nnames";
  for (int i = 0; i < 4; ++i) {
    if (const auto number = from.find_label("label " + std::to_string(i))) out << ' ' << i << '=' << *number;
  }
  return out.str();
}

/// The transaction that makes commit `n` of the history `seed`: what it does depends on these and on the graph alone.
inline result<commit_number> workload_step(store& on, std::uint64_t seed, commit_number n) {
  std::mt19937_64 random(seed * 1'000'003 + n);
  const auto below = [&](std::uint64_t bound) { return random() % bound; };
  auto begun = on.begin();
  if (!begun) return tl::unexpected(begun.error());
  transaction tx = std::move(*begun);
  const auto first = tx.add_vertices(n == 1 ? 12 : static_cast<vertex>(1 + below(2)));
  if (!first) return tl::unexpected(first.error());
  const vertex ids = *first + 1;
  for (std::uint64_t i = 0, steps = 2 + below(12); i < steps; ++i) {
    const auto l = static_cast<label>(below(workload_labels));
    const auto v = static_cast<vertex>(below(ids));
    const auto w = static_cast<vertex>(below(ids));
    const auto key = static_cast<property_key>(below(workload_keys));
    const interval when =
        below(3) == 0 ? interval{static_cast<time_us>(below(50)), static_cast<time_us>(60 + below(50))} : interval{};
    const value data = below(3) == 0   ? value(static_cast<std::int64_t>(below(1000)))
                       : below(2) == 0 ? value(std::string(below(30), 'x'))
                                       : value(static_cast<double>(below(100)) / 8);
    // What is refused (not there, there already) is left out: the same each time.
    switch (below(9)) {
      case 0: static_cast<void>(tx.remove_arc(l, v, w)); break;
      case 1: static_cast<void>(tx.set_valid(l, v, w, {5, 50})); break;
      case 2: static_cast<void>(tx.set_property(v, key, data, when)); break;
      case 3: static_cast<void>(tx.set_property(l, v, w, key, data)); break;
      case 4:
        if (below(12) == 0) static_cast<void>(tx.remove_vertex(v));
        break;
      default: static_cast<void>(tx.add_arc(l, v, w, when)); break;
    }
  }
  return tx.commit();
}

/// That history in a store without a disk, up to commit `n`, as text.
inline std::string expected_dump(std::uint64_t seed, commit_number n, const store_options& options = small_store()) {
  auto made = store::make(options);
  for (commit_number i = 1; i <= n; ++i) static_cast<void>(workload_step(*made, seed, i));
  return dump(*made->now());
}

}  // namespace rhizome::tests
