// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/change.hpp"
#include "durable/wal.hpp"
#include "durable/wal_reader.hpp"

namespace rhizome::tests {

/// A transaction that owns what it says.
struct kept_commit {
  commit_number number = 0;
  time_us time = 0;
  std::vector<change> changes;
  std::deque<value> values;

  kept_commit() = default;
  explicit kept_commit(const commit_record& record)
      : number(record.number), time(record.time), changes(record.changes.begin(), record.changes.end()) {
    for (change& made : changes) {
      if (made.data != nullptr) made.data = &values.emplace_back(*made.data);
    }
  }
  kept_commit(const kept_commit& other) : kept_commit(other.record()) {}
  kept_commit(kept_commit&&) = default;
  kept_commit& operator=(kept_commit&&) = default;

  [[nodiscard]] commit_record record() const { return {number, time, changes}; }
  change& add(change_kind kind) {
    changes.emplace_back().kind = kind;
    return changes.back();
  }
  friend bool operator==(const kept_commit& a, const kept_commit& b) {
    const auto same = [](const change& x, const change& y) {
      return x.kind == y.kind && x.arc_label == y.arc_label && x.key == y.key && x.source == y.source &&
             x.target == y.target && x.valid == y.valid && (x.data == nullptr) == (y.data == nullptr) &&
             (x.data == nullptr || *x.data == *y.data);
    };
    return a.number == b.number && a.time == b.time &&
           std::equal(a.changes.begin(), a.changes.end(), b.changes.begin(), b.changes.end(), same);
  }
};

/// Changes of every kind with numbers of every size; what a log must keep, not what a store would do.
inline kept_commit random_commit(std::mt19937_64& random, commit_number number, std::size_t changes_max = 6) {
  const auto below = [&](std::uint64_t n) { return random() % n; };
  const auto number_of_any_size = [&] { return random() >> below(64); };
  kept_commit made;
  made.number = number;
  made.time = 1'700'000'000'000'000 + 1000 * static_cast<time_us>(number);
  for (std::size_t i = 0, n = below(changes_max + 1); i < n; ++i) {
    change& step = made.add(static_cast<change_kind>(1 + below(9)));
    const auto kind = step.kind;
    const bool naming = kind == change_kind::name_label || kind == change_kind::name_property;
    const bool property = kind == change_kind::set_vertex_property || kind == change_kind::set_arc_property;
    const bool arc = kind == change_kind::add_arc || kind == change_kind::remove_arc ||
                     kind == change_kind::set_valid || kind == change_kind::set_arc_property;
    if (!naming) step.source = static_cast<vertex>(number_of_any_size());
    if (naming) step.source = no_vertex;
    if (arc) step.target = static_cast<vertex>(number_of_any_size());
    if (arc || kind == change_kind::name_label) step.arc_label = static_cast<label>(number_of_any_size());
    if (property || kind == change_kind::name_property) step.key = static_cast<property_key>(number_of_any_size());
    if ((property || kind == change_kind::add_arc || kind == change_kind::set_valid) && below(2) == 0) {
      if (below(3) != 0) step.valid.from = static_cast<time_us>(number_of_any_size());
      if (below(3) != 0) step.valid.to = static_cast<time_us>(number_of_any_size());
    }
    if (!naming && !property) continue;
    switch (below(4)) {
      case 0: step.data = &made.values.emplace_back(); break;
      case 1: step.data = &made.values.emplace_back(static_cast<std::int64_t>(number_of_any_size())); break;
      case 2: step.data = &made.values.emplace_back(static_cast<double>(random()) / 3); break;
      default: step.data = &made.values.emplace_back(std::string(below(40), static_cast<char>('a' + below(26)))); break;
    }
  }
  return made;
}

/// A transaction whose only changes are `arcs` plain new arcs.
inline kept_commit arcs_commit(commit_number number, std::size_t arcs, vertex from = 0) {
  kept_commit made;
  made.number = number;
  made.time = 1'700'000'000'000'000 + number;
  for (std::size_t i = 0; i < arcs; ++i) {
    change& step = made.add(change_kind::add_arc);
    step.source = from + static_cast<vertex>(i);
    step.target = from + static_cast<vertex>(7 * i + 1);
  }
  return made;
}

inline constexpr store_identity some_store{{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, 3};

struct seen_log {
  log_scan scan;
  std::vector<kept_commit> commits;
};

inline result<seen_log> see(disk& on, const std::string& directory, commit_number after = 0) {
  seen_log seen;
  auto scanned = scan_log(on, directory, {some_store.id, some_store.kind, after},
                          [&](const commit_record& record) -> result<void> {
                            seen.commits.emplace_back(record);
                            return {};
                          });
  if (!scanned) return tl::unexpected(scanned.error());
  seen.scan = std::move(*scanned);
  return seen;
}

/// Whether `seen` is what `written` begins with, from commit `after` + 1 on.
inline bool is_prefix(const std::vector<kept_commit>& seen, const std::vector<kept_commit>& written,
                      std::size_t after = 0) {
  return seen.size() + after <= written.size() &&
         std::equal(seen.begin(), seen.end(), written.begin() + static_cast<std::ptrdiff_t>(after));
}

}  // namespace rhizome::tests
