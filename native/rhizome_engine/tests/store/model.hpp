// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "store/store.hpp"

namespace rhizome {

/// What the store should show, kept in the plainest way: a list of all versions there ever were, each with both of its intervals,
/// looked at one by one.
class model {
public:
  struct version {
    label arc_label;
    vertex source, target;
    commit_number begin;
    commit_number end = newest_commit;
    interval valid;
    bool added = true;  // and not a correction of one that was there
  };
  struct property_fact {
    vertex source, target;  // target: no_vertex for a vertex' property
    label arc_label;
    property_key key;
    commit_number begin;
    interval valid;
    value data;
  };
  struct life {
    commit_number born = 0;
    commit_number died = newest_commit;
  };

  explicit model(bool symmetric) : symmetric_(symmetric) {}

  void add_vertex(vertex v, commit_number n) { lives[v].born = n; }
  void remove_vertex(vertex v, commit_number n) {
    for (version& x : versions)
      if (x.end == newest_commit && (x.source == v || x.target == v)) close(x, n);
    lives[v].died = n;
  }
  void add_arc(label l, vertex s, vertex t, interval valid, commit_number n) {
    versions.push_back({l, s, t, n, newest_commit, valid, true});
  }
  void remove_arc(label l, vertex s, vertex t, commit_number n) { close(*find(l, s, t), n); }
  void set_valid(label l, vertex s, vertex t, interval valid, commit_number n) {
    version* old = find(l, s, t);
    old->end = n;
    version corrected{l, old->source, old->target, n, newest_commit, valid, false};
    versions.push_back(corrected);
  }
  void set_property(vertex v, property_key key, value data, interval valid, commit_number n) {
    facts.push_back({v, no_vertex, 0, key, n, valid, std::move(data)});
  }
  void set_property(label l, vertex s, vertex t, property_key key, value data, commit_number n) {
    auto [a, b] = ends(s, t);
    facts.push_back({a, b, l, key, n, {}, std::move(data)});
  }

  /// The last living version of the arc, from either end where it is symmetric.
  [[nodiscard]] version* find(label l, vertex s, vertex t) {
    for (auto it = versions.rbegin(); it != versions.rend(); ++it)
      if (it->arc_label == l && it->end == newest_commit && same(*it, s, t)) return &*it;
    return nullptr;
  }
  [[nodiscard]] bool alive(vertex v, commit_number t) const {
    auto it = lives.find(v);
    return it != lives.end() && it->second.born <= t && t < it->second.died;
  }

  /// The neighbours of v at t (and at `moment`), sorted.
  [[nodiscard]] std::vector<vertex> neighbours(label l, vertex v, direction way, commit_number t,
                                               std::optional<time_us> moment) const {
    return neighbours_if(l, v, way, t, [&](const interval& valid) { return !moment || valid.contains(*moment); });
  }
  /// The same at some moment of [from, to), looked at one by one.
  [[nodiscard]] std::vector<vertex> neighbours_during(label l, vertex v, direction way, commit_number t, time_us from,
                                                      time_us to) const {
    return neighbours_if(l, v, way, t, [&](const interval& valid) {
      bool there = false;
      for (time_us m = from; m < to; ++m) there = there || valid.contains(m);
      return there;
    });
  }
  template <class F>
  [[nodiscard]] std::vector<vertex> neighbours_if(label l, vertex v, direction way, commit_number t, F&& shown) const {
    std::vector<vertex> out;
    for (const version& x : versions) {
      if (x.arc_label != l || x.begin > t || t >= x.end || !shown(x.valid)) continue;
      bool from = x.source == v && (symmetric_ || way == direction::out);
      bool to = x.target == v && (symmetric_ || way == direction::in);
      if (symmetric_ && from && to) {
        out.push_back(v);  // a loop, once
      } else {
        if (from) out.push_back(x.target);
        if (to) out.push_back(x.source);
      }
    }
    std::sort(out.begin(), out.end());
    return out;
  }
  [[nodiscard]] std::vector<arc_version> history(label l, vertex s, vertex t) const {
    std::vector<arc_version> out;
    for (const version& x : versions)
      if (x.arc_label == l && same(x, s, t) && x.begin != x.end) out.push_back({x.begin, x.end, x.valid});
    std::sort(out.begin(), out.end(), [](const arc_version& a, const arc_version& b) {
      return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
    });
    return out;
  }
  [[nodiscard]] value property(vertex v, property_key key, commit_number t, std::optional<time_us> moment) const {
    value out;
    for (const property_fact& f : facts)
      if (f.source == v && f.target == no_vertex && f.key == key && f.begin <= t &&
          (!moment || f.valid.contains(*moment)))
        out = f.data;
    return out;
  }
  [[nodiscard]] value property(label l, vertex s, vertex t, property_key key, commit_number at) const {
    auto [a, b] = ends(s, t);
    value out;
    for (const property_fact& f : facts)
      if (f.source == a && f.target == b && f.arc_label == l && f.key == key && f.begin <= at) out = f.data;
    return out;
  }

  std::vector<version> versions;
  std::vector<property_fact> facts;
  std::map<vertex, life> lives;

private:
  [[nodiscard]] std::pair<vertex, vertex> ends(vertex s, vertex t) const {
    return symmetric_ && t < s ? std::pair{t, s} : std::pair{s, t};
  }
  [[nodiscard]] bool same(const version& x, vertex s, vertex t) const { return ends(x.source, x.target) == ends(s, t); }
  void close(version& x, commit_number n) {
    x.end = n;
    // What a transaction adds and removes itself never was: then a parallel arc keeps the properties.
    if (x.added && x.begin == n && find(x.arc_label, x.source, x.target) != nullptr) return;
    // The arc's properties end with it.
    auto [a, b] = ends(x.source, x.target);
    std::set<property_key> keys;
    for (const property_fact& f : facts)
      if (f.source == a && f.target == b && f.arc_label == x.arc_label) keys.insert(f.key);
    for (property_key key : keys) facts.push_back({a, b, x.arc_label, key, n, {}, {}});
  }

  bool symmetric_;
};

}  // namespace rhizome
