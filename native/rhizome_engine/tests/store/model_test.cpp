// SPDX-License-Identifier: Apache-2.0
//
// The store against the model on random histories. A history is made of transactions of random changes, some given up, with packing,
// trimming and snapshots held in between; after each of them some times and moments are compared, and all of them at the end.
#include "model.hpp"

#include <random>

#include "support/catch.hpp"

using namespace rhizome;

namespace {

class history {
public:
  history(std::uint64_t seed, arcs_kind kind, bool unique, bool hubs)
      : random_(seed),
        symmetric_(kind == arcs_kind::symmetric),
        unique_(unique),
        hubs_(hubs),
        store_(store::make(options(kind, unique)).value()),
        model_(symmetric_) {}

  void run(int transactions) {
    for (int i = 0; i < transactions; ++i) {
      one_transaction();
      if (pick(8) == 0) held_.push_back(store_.now().value());
      if (pick(8) == 0 && !held_.empty()) held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(pick(held_.size())));
      if (pick(6) == 0) REQUIRE(store_.compact(1 + pick(4000)).has_value());
      if (pick(25) == 0) trim();
      snapshot now = store_.now().value();
      compare_at(now, now.commit(), 6);
      if (horizon_ < now.commit())
        compare_at(now, horizon_ + static_cast<commit_number>(pick(now.commit() - horizon_ + 1)), 6);
      if (!held_.empty()) {
        const snapshot& old = held_[pick(held_.size())];
        compare_at(old, old.commit(), 6);
      }
    }
    snapshot now = store_.now().value();
    for (commit_number t = horizon_; t <= now.commit(); ++t) compare_at(now, t, vertices_.size());
    compare_diffs(now);
    compare_history(now);
  }

private:
  static store_options options(arcs_kind kind, bool unique) {
    store_options o;
    o.memory_limit_bytes = std::size_t{64} << 20;
    o.vertices_max = 1 << 16;
    o.arcs = kind;
    o.unique_arcs = unique;
    o.huge_pages = false;
    return o;
  }

  std::size_t pick(std::size_t below) { return below == 0 ? 0 : random_() % below; }
  vertex any_vertex() {
    // Most changes at few vertices, so that blocks grow, die and become hubs.
    if (hubs_ && pick(2) == 0) return vertices_[pick(std::min<std::size_t>(2, vertices_.size()))];
    return vertices_[pick(vertices_.size())];
  }
  interval any_interval() {
    if (pick(3) != 0) return {};
    auto from = static_cast<time_us>(pick(20));
    return {from, from + 1 + static_cast<time_us>(pick(10))};
  }
  value any_value() {
    switch (pick(4)) {
      case 0: return static_cast<std::int64_t>(pick(100));
      case 1: return static_cast<double>(pick(100)) / 4;
      case 2: return std::string(pick(40), 'x');
      default: return {};
    }
  }

  void one_transaction() {
    transaction tx = store_.begin().value();
    // A commit that fails or is given up leaves the model as it was: all is done to a copy.
    model next = model_;
    std::vector<vertex> vertices = vertices_;
    commit_number n = store_.newest() + 1;
    if (vertices_.empty() || pick(6) == 0) {
      vertex count = vertices_.empty() ? (hubs_ ? 700 : 12) : 1 + static_cast<vertex>(pick(3));
      vertex first = tx.add_vertices(count).value();
      for (vertex v = first; v < first + count; ++v) {
        next.add_vertex(v, n);
        vertices_.push_back(v);
      }
    }
    std::size_t changes = pick(hubs_ ? 300 : 12);
    for (std::size_t i = 0; i < changes; ++i) change(tx, next, n);
    check_own(tx, next, n);
    bool give_up = pick(10) == 0;
    if (give_up) {
      vertices_ = vertices;
      tx.abort();
      return;
    }
    commit_number made = tx.commit().value();
    REQUIRE((made == n || tx.size() == 0));
    model_ = std::move(next);
  }

  void change(transaction& tx, model& m, commit_number n) {
    label l = static_cast<label>(pick(2));
    vertex s = any_vertex();
    vertex t = pick(12) == 0 ? s : any_vertex();
    bool both = m.alive(s, n) && m.alive(t, n);
    model::version* there = m.find(l, s, t);
    switch (pick(12)) {
      case 0: {
        interval valid = any_interval();
        bool done = tx.set_valid(l, s, t, valid).has_value();
        REQUIRE(done == (both && there != nullptr));
        if (done) correct(m, l, s, t, valid, n);
        break;
      }
      case 1: {
        value data = any_value();
        interval valid = any_interval();
        bool done = tx.set_property(s, 1, data, valid).has_value();
        REQUIRE(done == m.alive(s, n));
        if (done) m.set_property(s, 1, data, valid, n);
        break;
      }
      case 2: {
        value data = any_value();
        bool done = tx.set_property(l, s, t, 2, data).has_value();
        REQUIRE(done == (both && there != nullptr));
        if (done) m.set_property(l, s, t, 2, data, n);
        break;
      }
      case 3:
        if (pick(hubs_ ? 200 : 12) == 0) {
          bool done = tx.remove_vertex(s).has_value();
          REQUIRE(done == m.alive(s, n));
          if (done) m.remove_vertex(s, n);
        }
        break;
      case 4:
      case 5:
      case 6: {
        // Those that are not there, or twice in the list, are left out: at once or at the commit.
        std::vector<arc> list{{s, t}, {any_vertex(), any_vertex()}, {t, any_vertex()}, {s, t}};
        bool all = true;
        for (const arc& a : list) all = all && m.alive(a.source, n) && m.alive(a.target, n);
        REQUIRE(tx.remove_arcs(l, list, on_missing::skip).has_value() == all);
        for (const arc& a : list)
          if (all && m.find(l, a.source, a.target) != nullptr) m.remove_arc(l, a.source, a.target, n);
        break;
      }
      case 7: {
        bool done = tx.remove_arc(l, s, t).has_value();
        REQUIRE(done == (both && there != nullptr));
        if (done) m.remove_arc(l, s, t, n);
        break;
      }
      default: {
        interval valid = any_interval();
        auto done = tx.add_arc(l, s, t, valid);
        REQUIRE(done.has_value() == (both && (there == nullptr || !unique_)));
        if (!done) REQUIRE(done.error().code == (both ? errc::already_there : errc::not_found));
        if (done) m.add_arc(l, s, t, valid, n);
      }
    }
  }

  // A version that began in this transaction is corrected in place: it never was anything else.
  static void correct(model& m, label l, vertex s, vertex t, interval valid, commit_number n) {
    model::version* old = m.find(l, s, t);
    if (old->begin == n) {
      old->valid = valid;
    } else {
      m.set_valid(l, s, t, valid, n);
    }
  }

  void check_own(const transaction& tx, const model& m, commit_number n) {
    for (int i = 0; i < 4; ++i) {
      vertex v = any_vertex();
      label l = static_cast<label>(pick(2));
      direction way = pick(2) == 0 ? direction::out : direction::in;
      std::vector<vertex> seen;
      tx.for_each(l, v, way, [&seen](vertex w) { seen.push_back(w); });
      std::sort(seen.begin(), seen.end());
      REQUIRE(seen == m.neighbours(l, v, way, n, std::nullopt));
      vertex w = any_vertex();
      auto out = m.neighbours(l, v, direction::out, n, std::nullopt);
      REQUIRE(tx.contains(l, v, w) == std::binary_search(out.begin(), out.end(), w));
      if (m.alive(v, n)) REQUIRE(tx.property(v, 1).value() == m.property(v, 1, n, std::nullopt));
    }
  }

  template <class G>
  std::vector<vertex> seen_by(const G& graph, vertex v) {
    std::vector<vertex> out;
    if (v >= graph.vertices()) return out;
    graph.for_each(v, [&out](vertex w) { out.push_back(w); });
    REQUIRE(out.size() == graph.degree(v));
    std::sort(out.begin(), out.end());
    if constexpr (placed_adjacency<G>) {
      if (const arcs_place p = graph.place_of(v); p != no_place) {
        std::vector<vertex> there(graph.targets_at(p).begin(), graph.targets_at(p).end());
        std::sort(there.begin(), there.end());
        REQUIRE(there == out);
      }
    }
    return out;
  }

  void compare_at(const snapshot& s, commit_number t, std::size_t looks) {
    if (vertices_.empty()) return;
    for (label l = 0; l < 2; ++l) {
      for (direction way : {direction::out, direction::in}) {
        view graph = s.as_of(t, l, way).value();
        prepared_view prepared = graph.prepare();
        time_us moment = static_cast<time_us>(pick(32)) - 1;
        valid_view valid = s.as_of_valid_at(t, moment, l, way).value();
        auto length = 1 + static_cast<time_us>(pick(8));
        valid_view window = s.as_of_valid_during(t, {moment, moment + length}, l, way).value();
        std::uint64_t arcs = 0;
        for (std::size_t i = 0; i < looks; ++i) {
          vertex v = looks == vertices_.size() ? vertices_[i] : any_vertex();
          auto wanted = model_.neighbours(l, v, way, t, std::nullopt);
          arcs += wanted.size();
          REQUIRE(seen_by(graph, v) == wanted);
          REQUIRE(seen_by(prepared, v) == wanted);
          REQUIRE(seen_by(valid, v) == model_.neighbours(l, v, way, t, moment));
          REQUIRE(seen_by(window, v) == model_.neighbours_during(l, v, way, t, moment, moment + length));
          REQUIRE(s.alive(v, t) == model_.alive(v, t));
          if (model_.alive(v, t)) {
            REQUIRE(s.property(v, 1, t).value() == model_.property(v, 1, t, std::nullopt));
            REQUIRE(s.property(v, 1, t, moment).value() == model_.property(v, 1, t, moment));
          }
          if (!wanted.empty() && way == direction::out)
            REQUIRE(s.property(l, v, wanted[0], 2, t).value() == model_.property(l, v, wanted[0], 2, t));
        }
        if (looks == vertices_.size()) REQUIRE(arcs == graph.arcs());
      }
    }
  }

  void compare_diffs(const snapshot& s) {
    for (int i = 0; i < 10; ++i) {
      commit_number from = horizon_ + static_cast<commit_number>(pick(s.commit() - horizon_ + 1));
      commit_number to = horizon_ + static_cast<commit_number>(pick(s.commit() - horizon_ + 1));
      // Counting what comes and goes gets from the one graph to the other.
      std::map<std::tuple<label, vertex, vertex>, int> balance;
      auto count = [&](commit_number t, int by) {
        for (const auto& x : model_.versions)
          if (x.begin <= t && t < x.end) balance[name_of(x)] += by;
      };
      count(to, 1);
      count(from, -1);
      const std::vector<difference> found = s.diff(from, to).value();
      for (const difference& d : found) {
        if (d.kind == change_kind::add_arc) --balance[{d.arc_label, d.source, d.target}];
        if (d.kind == change_kind::remove_arc) ++balance[{d.arc_label, d.source, d.target}];
      }
      for (const auto& [key, left] : balance) REQUIRE(left == 0);
      REQUIRE(corrections_in(found) == corrections_of(from, to));
    }
  }

  using arc_names = std::vector<std::tuple<label, vertex, vertex>>;
  static arc_names corrections_in(const std::vector<difference>& found) {
    arc_names out;
    for (const difference& d : found)
      if (d.kind == change_kind::set_valid) out.emplace_back(d.arc_label, d.source, d.target);
    std::sort(out.begin(), out.end());
    return out;
  }
  /// The arcs that are there both times and not true at the same times. Of parallel arcs nobody can tell which one was corrected.
  arc_names corrections_of(commit_number from, commit_number to) const {
    arc_names out;
    if (!unique_) return out;
    for (const auto& x : model_.versions) {
      for (const auto& y : model_.versions) {
        if (x.begin > from || from >= x.end || y.begin > to || to >= y.end || x.valid == y.valid) continue;
        if (name_of(x) == name_of(y)) out.push_back(name_of(x));
      }
    }
    std::sort(out.begin(), out.end());
    return out;
  }
  std::tuple<label, vertex, vertex> name_of(const model::version& x) const {
    return {x.arc_label, symmetric_ ? std::min(x.source, x.target) : x.source,
            symmetric_ ? std::max(x.source, x.target) : x.target};
  }

  void compare_history(const snapshot& s) {
    compare_estimates(s);
    if (horizon_ != 0 || vertices_.empty()) return;  // what was trimmed is not in it any more
    for (int i = 0; i < 40; ++i) {
      vertex a = any_vertex();
      vertex b = any_vertex();
      // Parallel arcs of one commit have no order.
      auto in_order = [](std::vector<arc_version> versions) {
        std::sort(versions.begin(), versions.end(), [](const arc_version& x, const arc_version& y) {
          return std::tie(x.begin, x.end, x.valid.from, x.valid.to) <
                 std::tie(y.begin, y.end, y.valid.from, y.valid.to);
        });
        return versions;
      };
      REQUIRE(in_order(s.history(0, a, b)) == in_order(model_.history(0, a, b)));
    }
  }

  /// What estimates count beforehand.
  void compare_estimates(const snapshot& s) {
    for (int i = 0; i < 20 && !vertices_.empty(); ++i) {
      vertex v = any_vertex();
      for (direction way : {direction::out, direction::in})
        REQUIRE(s.versions(v, 0, way) == s.history_of(v, 0, way).size());
      commit_number t = horizon_ + static_cast<commit_number>(pick(s.commit() - horizon_ + 1));
      std::optional<time_us> moment;
      if (pick(2) == 0) moment = static_cast<time_us>(pick(30));
      const std::vector<property_version> values = s.history(v, 1);
      bool told = values.empty() || (values.back().begin <= t && (!moment || values.back().valid.contains(*moment)));
      REQUIRE(s.newest_answers(v, 1, t, moment) == told);
    }
  }

  void trim() {
    commit_number wanted = static_cast<commit_number>(pick(store_.newest() + 1));
    commit_number done = store_.trim(wanted).value();
    for (const snapshot& old : held_) REQUIRE((done <= old.commit() || done == horizon_));
    horizon_ = done;
  }

  std::mt19937_64 random_;
  bool symmetric_, unique_, hubs_;
  store store_;
  model model_;
  std::vector<vertex> vertices_;
  std::vector<snapshot> held_;
  commit_number horizon_ = 0;
};

}  // namespace

TEST_CASE("random histories of small graphs read as the model at every time") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 41)));
  CAPTURE(seed);
  history(seed, seed % 2 == 0 ? arcs_kind::directed : arcs_kind::symmetric, seed % 4 < 2, false).run(60);
}

TEST_CASE("random histories with hubs that are indexed, marked and cleaned read as the model at every time") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 5)));
  CAPTURE(seed);
  history(seed, seed % 2 == 0 ? arcs_kind::directed : arcs_kind::symmetric, seed < 4, true).run(25);
}
