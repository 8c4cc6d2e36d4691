// SPDX-License-Identifier: Apache-2.0
// The rhizome engine's store against its slow model, over many seeds: cells write, read, trim and die in an order that follows from the
// seed, transactions of several cells are open at once, and the clock of the world is the clock of the commits. KARYON_SIM_SEEDS says how
// many: `KARYON_SIM_SEEDS=10000 ctest -R sim_rhizome` in a build folder runs ten thousand.
#include <array>
#include <chrono>
#include <set>

#include "sim/chosen_seeds.hpp"
#include "store/model.hpp"
#include "store/store.hpp"
#include "store/view.hpp"
#include "support/catch.hpp"

using namespace karyon;
using karyon::testing::for_each_seed;
using karyon::testing::world;

namespace rz = rhizome;

namespace {

constexpr testing::seeds quick{.first = 1, .count = 400};
constexpr rz::label labels = 2;
constexpr rz::property_key key_of_vertex = 1;
constexpr rz::property_key key_of_arc = 2;

thread_local const world* clock_of_commits = nullptr;

rz::time_us simulated_now() {
  return std::chrono::duration_cast<std::chrono::microseconds>(clock_of_commits->now()).count();
}

rz::store_options options(rz::arcs_kind kind) {
  rz::store_options o;
  o.memory_limit_bytes = std::size_t{64} << 20;
  o.vertices_max = 1 << 12;
  o.arcs = kind;
  o.huge_pages = false;
  o.clock = simulated_now;
  return o;
}

/// One change of a transaction, as it is asked of the store and of the model.
struct wanted {
  enum class kind : std::uint8_t { add_vertex, remove_vertex, add, remove, correct, set, set_on_arc };
  kind what = kind::add;
  rz::label l = 0;
  rz::vertex s = 0;
  rz::vertex t = 0;
  rz::interval valid;
  rz::value data;
};

/// False where the model says that it can not be; then nothing has changed.
bool done_to(rz::model& m, const wanted& c, rz::commit_number n) {
  if (c.what == wanted::kind::add_vertex) {
    m.add_vertex(c.s, n);
    return true;
  }
  const bool of_arc = c.what != wanted::kind::remove_vertex && c.what != wanted::kind::set;
  if (!m.alive(c.s, n) || (of_arc && !m.alive(c.t, n))) return false;
  rz::model::version* const there = of_arc ? m.find(c.l, c.s, c.t) : nullptr;
  if (of_arc && (there == nullptr) != (c.what == wanted::kind::add)) return false;
  switch (c.what) {
    case wanted::kind::remove_vertex: m.remove_vertex(c.s, n); break;
    case wanted::kind::add: m.add_arc(c.l, c.s, c.t, c.valid, n); break;
    case wanted::kind::remove: m.remove_arc(c.l, c.s, c.t, n); break;
    case wanted::kind::set: m.set_property(c.s, key_of_vertex, c.data, c.valid, n); break;
    case wanted::kind::set_on_arc: m.set_property(c.l, c.s, c.t, key_of_arc, c.data, n); break;
    default:
      if (there->begin == n) {
        there->valid = c.valid;  // it never was anything else
      } else {
        m.set_valid(c.l, c.s, c.t, c.valid, n);
      }
  }
  return true;
}

/// What the cells of one world share: all of it runs on one thread.
struct ground {
  ground(world& in, rz::arcs_kind kind)
      : w(in),
        graph((clock_of_commits = &in, rz::store::make(options(kind)).value())),
        truth(kind == rz::arcs_kind::symmetric) {}

  world& w;
  rz::store graph;
  rz::model truth;
  std::vector<rz::time_us> times{0};              // of the commits, by number
  std::vector<std::set<rz::vertex>> touched{{}};  // by them
  std::vector<rz::vertex> vertices;               // of all commits, removed ones too
  std::multiset<rz::commit_number> held;          // by snapshots and leases that cells have
  rz::commit_number horizon = 0;
  std::uint64_t conflicts = 0;
  std::uint64_t trims = 0;
  std::uint64_t looks_at_the_past = 0;
  std::string violation;

  void expect(bool holds, const char* what) {
    if (!holds && violation.empty()) violation = what;
  }
  [[nodiscard]] rz::commit_number newest() const { return static_cast<rz::commit_number>(times.size() - 1); }
  rz::vertex any_vertex() { return w.random().pick(vertices); }
  rz::interval any_interval() {
    if (!w.random().one_in(3)) return {};
    const auto from = simulated_now() + static_cast<rz::time_us>(w.random().below(4'000'000)) - 2'000'000;
    return {from, from + 1 + static_cast<rz::time_us>(w.random().below(2'000'000))};
  }
};

struct act {};

/// Keeps a transaction open over many turns, while others commit.
class writer : public cell {
public:
  using accepts = signals<act>;
  explicit writer(ground& g) : g_(g) {}

  void on(act) {
    testing::random& dice = g_.w.random();
    if (!tx_) {
      begin();
    } else if (dice.one_in(30)) {
      tx_.reset();
    } else if (dice.one_in(6)) {
      commit();
    } else {
      change(any_change());
    }
  }

private:
  void begin() {
    auto begun = g_.graph.begin();
    g_.expect(begun.has_value(), "a transaction was refused");
    if (!begun) return;
    tx_.emplace(std::move(*begun));
    seen_ = g_.truth;
    number_ = tx_->reads().commit() + 1;
    changes_.clear();
    vertices_.clear();
    g_.expect(number_ == g_.newest() + 1, "a transaction reads something else than the newest commit");
  }

  wanted any_change() {
    testing::random& dice = g_.w.random();
    wanted c;
    if (g_.vertices.size() + vertices_.size() < 6 || dice.one_in(12)) {
      c.what = wanted::kind::add_vertex;
      return c;
    }
    const auto any = [&] { return vertices_.empty() || !dice.one_in(3) ? any_known() : dice.pick(vertices_); };
    static constexpr std::array kinds{wanted::kind::add,     wanted::kind::add,    wanted::kind::add,
                                      wanted::kind::remove,  wanted::kind::remove, wanted::kind::correct,
                                      wanted::kind::correct, wanted::kind::set,    wanted::kind::set_on_arc};
    c.what = dice.one_in(40) ? wanted::kind::remove_vertex : dice.pick(kinds);
    c.l = static_cast<rz::label>(dice.below(labels));
    c.s = any();
    c.t = any();
    if (c.what != wanted::kind::add && !seen_.versions.empty() && !dice.one_in(4)) {
      const auto& some = dice.pick(seen_.versions);  // that is there, as a rule
      c.l = some.arc_label;
      c.s = some.source;
      c.t = some.target;
    }
    c.valid = g_.any_interval();
    c.data = static_cast<std::int64_t>(dice.below(1000));
    return c;
  }
  rz::vertex any_known() { return g_.vertices.empty() ? vertices_.front() : g_.any_vertex(); }

  void change(wanted c) {
    if (c.what == wanted::kind::add_vertex) {
      auto made = tx_->add_vertex();
      g_.expect(made.has_value(), "a vertex was refused");
      if (!made) return;
      c.s = *made;
      vertices_.push_back(c.s);
    }
    const bool never_was = forget_own(c);
    const bool can_be = done_to(seen_, c, number_);
    if (c.what != wanted::kind::add_vertex) {
      g_.expect(asked(c) == can_be, "a transaction took what its snapshot does not have, or refused what it has");
    }
    if (can_be && !never_was) changes_.push_back(c);
    const rz::vertex v = c.s;
    std::vector<rz::vertex> found;
    tx_->for_each(c.l, v, rz::direction::out, [&](rz::vertex to) { found.push_back(to); });
    std::sort(found.begin(), found.end());
    g_.expect(found == seen_.neighbours(c.l, v, rz::direction::out, number_, std::nullopt),
              "a transaction does not see its snapshot with its own changes");
  }

  /// What the transaction added itself and now removes never was: others may have added the same meanwhile.
  /// Whether that is all there is to it.
  bool forget_own(const wanted& c) {
    if (c.what != wanted::kind::remove && c.what != wanted::kind::remove_vertex) return false;
    bool own_arc = false;
    for (const auto& x : seen_.versions) {
      const bool meant = c.what == wanted::kind::remove ? x.arc_label == c.l && same_ends(x.source, x.target, c)
                                                        : x.source == c.s || x.target == c.s;
      if (!meant || !x.added || x.begin != number_ || x.end != rz::newest_commit) continue;
      own_arc = c.what == wanted::kind::remove;
      for (auto at = changes_.size(); at-- > 0;) {
        const wanted was = changes_[at];
        const bool of_it = (was.what == wanted::kind::add || was.what == wanted::kind::correct ||
                            was.what == wanted::kind::set_on_arc) &&
                           was.l == x.arc_label && same_ends(x.source, x.target, was);
        if (!of_it) continue;
        changes_.erase(changes_.begin() + static_cast<std::ptrdiff_t>(at));
        if (was.what == wanted::kind::add) break;
      }
    }
    return own_arc;
  }
  [[nodiscard]] bool same_ends(rz::vertex s, rz::vertex t, const wanted& c) const {
    const bool symmetric = g_.graph.options().arcs == rz::arcs_kind::symmetric;
    return (c.s == s && c.t == t) || (symmetric && c.s == t && c.t == s);
  }

  bool asked(const wanted& c) {
    switch (c.what) {
      case wanted::kind::remove_vertex: return tx_->remove_vertex(c.s).has_value();
      case wanted::kind::add: return tx_->add_arc(c.l, c.s, c.t, c.valid).has_value();
      case wanted::kind::remove: return tx_->remove_arc(c.l, c.s, c.t).has_value();
      case wanted::kind::correct: return tx_->set_valid(c.l, c.s, c.t, c.valid).has_value();
      case wanted::kind::set: return tx_->set_property(c.s, key_of_vertex, c.data, c.valid).has_value();
      default: return tx_->set_property(c.l, c.s, c.t, key_of_arc, c.data).has_value();
    }
  }

  void commit() {
    const bool changes_something = tx_->size() > 0;
    const auto done = tx_->commit();
    tx_.reset();
    std::set<rz::vertex> mine;
    for (const wanted& c : changes_) {
      mine.insert(c.s);
      if (c.what != wanted::kind::remove_vertex && c.what != wanted::kind::set) mine.insert(c.t);
      if (c.what == wanted::kind::remove_vertex) {  // and all that it had arcs to
        for (const auto& x : seen_.versions) {
          if (x.end == number_ && (x.source == c.s || x.target == c.s)) mine.insert({x.source, x.target});
        }
      }
    }
    if (!done) {
      ++g_.conflicts;
      g_.expect(done.error().code == rz::errc::conflict, "a commit was refused for another reason than a conflict");
      bool met = false;
      for (auto n = number_; n <= g_.newest(); ++n) {
        for (const rz::vertex v : g_.touched[n]) met = met || mine.contains(v);
      }
      g_.expect(met, "a commit was refused though nobody had changed anything near it");
    } else if (changes_something) {
      g_.expect(*done == g_.newest() + 1, "commits are not numbered in a row");
      // The first committer wins: all of it must still be possible on top of what the others did meanwhile.
      for (const wanted& c : changes_)
        g_.expect(done_to(g_.truth, c, *done), "a lost update: two commits undid each other");
      g_.times.push_back(simulated_now());
      g_.touched.push_back(std::move(mine));
      g_.vertices.insert(g_.vertices.end(), vertices_.begin(), vertices_.end());
    } else {
      g_.expect(*done == number_ - 1, "a commit of nothing has a number of its own");
    }
  }

  ground& g_;
  std::optional<rz::transaction> tx_;
  rz::model seen_{false};         // its snapshot and its own changes
  rz::commit_number number_ = 0;  // of these, in seen_
  std::vector<wanted> changes_;
  std::vector<rz::vertex> vertices_;  // that it has made
};

/// A snapshot or a lease that a cell has, noted for as long as it has it: until the cell's end at the latest.
template <class T>
struct noted {
  noted(ground& in, T what, rz::commit_number from) : g(&in), it(std::move(what)), at(from) { g->held.insert(at); }
  noted(const noted&) = delete;
  noted& operator=(const noted&) = delete;
  ~noted() { g->held.erase(g->held.find(at)); }
  ground* g;
  T it;
  rz::commit_number at;
};

template <class View>
std::vector<rz::vertex> seen_by(const View& graph, rz::vertex v) {
  std::vector<rz::vertex> out;
  if (v < graph.vertices()) graph.for_each(v, [&](rz::vertex to) { out.push_back(to); });
  std::sort(out.begin(), out.end());
  return out;
}

/// What a snapshot shows of itself or of the past, by chance, and what the model says.
void look(ground& g, const rz::snapshot& s, rz::commit_number t) {
  testing::random& dice = g.w.random();
  const auto l = static_cast<rz::label>(dice.below(labels));
  const auto way = dice.one_in(2) ? rz::direction::out : rz::direction::in;
  const auto moment = simulated_now() + static_cast<rz::time_us>(dice.below(6'000'000)) - 4'000'000;
  const auto past = s.as_of(t, l, way);
  if (t < g.horizon) {
    g.expect(!past && past.error().code == rz::errc::trimmed, "what was trimmed is shown");
    return;
  }
  g.expect(past.has_value(), "what is retained is not shown");
  if (!past || g.vertices.empty()) return;
  g.looks_at_the_past += t < s.commit() ? 1 : 0;
  const rz::valid_view valid = s.as_of_valid_at(t, moment, l, way).value();
  for (int i = 0; i < 3; ++i) {
    const rz::vertex v = g.any_vertex();
    const auto known = g.truth.neighbours(l, v, way, t, std::nullopt);
    g.expect(seen_by(*past, v) == known, "other neighbours than the model's");
    g.expect(seen_by(valid, v) == g.truth.neighbours(l, v, way, t, moment),
             "other neighbours at a moment than the model's");
    g.expect(s.alive(v, t) == g.truth.alive(v, t), "another life than the model's");
    if (!g.truth.alive(v, t)) continue;
    g.expect(s.property(v, key_of_vertex, t, moment).value() == g.truth.property(v, key_of_vertex, t, moment),
             "another property than the model's");
    if (known.empty() || way == rz::direction::in) continue;
    g.expect(s.property(l, v, known[0], key_of_arc, t).value() == g.truth.property(l, v, known[0], key_of_arc, t),
             "another property of an arc than the model's");
  }
  if (t > 0) g.expect(s.time_of(t).value() == g.times[t], "a commit was not made when the world's clock says");
  const auto when = g.times[t] + static_cast<rz::time_us>(dice.below(3));
  auto last = s.commit();
  while (last > 0 && g.times[last] > when) --last;
  g.expect(s.commit_at(when) == last, "another commit at a time than the world's clock says");
}

/// Takes snapshots, keeps them while the graph goes on, and looks at what they show of now and of the past.
class reader : public cell {
public:
  using accepts = signals<act>;
  explicit reader(ground& g) : g_(g) {}

  void on(act) {
    testing::random& dice = g_.w.random();
    if (snapshots_.size() < 2 || dice.one_in(5)) {
      auto now = g_.graph.now();
      g_.expect(now && now->commit() == g_.newest(), "a snapshot does not show the newest commit");
      if (now) snapshots_.push_back(std::make_unique<noted<rz::snapshot>>(g_, *now, now->commit()));
    }
    if (snapshots_.size() > 4) snapshots_.erase(snapshots_.begin() + static_cast<std::ptrdiff_t>(dice.below(4)));
    if (dice.one_in(6)) {
      const auto from = static_cast<rz::commit_number>(dice.below(g_.newest() + 1));
      auto kept = g_.graph.keep(from);
      g_.expect(kept.has_value() == (from >= g_.horizon), "history was kept that is gone, or refused that is there");
      if (kept) lease_ = std::make_unique<noted<rz::lease>>(g_, *kept, from);
    }
    if (dice.one_in(10)) lease_.reset();
    const rz::snapshot& some = dice.pick(snapshots_)->it;
    look(g_, some, some.commit());
    look(g_, some, static_cast<rz::commit_number>(dice.below(some.commit() + 1)));
  }

private:
  ground& g_;
  std::vector<std::unique_ptr<noted<rz::snapshot>>> snapshots_;
  std::unique_ptr<noted<rz::lease>> lease_;
};

/// Packs blocks and forgets history, but for what somebody holds.
class keeper : public cell {
public:
  using accepts = signals<act>;
  explicit keeper(ground& g) : g_(g) {}

  void on(act) {
    testing::random& dice = g_.w.random();
    if (!dice.one_in(3)) {
      g_.expect(g_.graph.compact(1 + dice.below(4000)).has_value(), "a compaction was refused");
      return;
    }
    const auto wanted_horizon = static_cast<rz::commit_number>(dice.below(g_.newest() + 1));
    const auto done = g_.graph.trim(wanted_horizon);
    g_.expect(done.has_value(), "a trim was refused");
    if (!done) return;
    g_.expect(*done >= g_.horizon, "the horizon went back");
    g_.expect(*done == g_.horizon || g_.held.empty() || *done <= *g_.held.begin(), "what a cell holds was trimmed");
    g_.trims += *done > g_.horizon ? 1 : 0;
    g_.horizon = *done;
  }

private:
  ground& g_;
};

struct totals {
  std::uint64_t commits = 0;
  std::uint64_t conflicts = 0;
  std::uint64_t trims = 0;
  std::uint64_t looks_at_the_past = 0;
};

void history_of_cells(world& w, rz::arcs_kind kind, totals& all) {
  auto& g = w.keep<ground>(w, kind);
  testing::random& dice = w.random();
  std::array<ref<writer>, 3> writers;
  std::array<ref<reader>, 2> readers;
  for (auto& one : writers) one = w.runtime().spawn<writer>(g);
  for (auto& one : readers) one = w.runtime().spawn<reader>(g);
  const auto tidy = w.runtime().spawn<keeper>(g);
  for (int event = 0; event < 250 && g.violation.empty(); ++event) {
    for (auto n = 1 + dice.below(4); n > 0; --n) dice.pick(writers).send(act{});
    if (dice.one_in(3)) dice.pick(readers).send(act{});
    if (dice.one_in(15)) tidy.send(act{});
    if (dice.one_in(40)) {  // with its open transaction, or its snapshots
      auto& doomed_writer = dice.pick(writers);
      auto& doomed_reader = dice.pick(readers);
      if (dice.one_in(2)) {
        w.kill(doomed_writer);
        doomed_writer = w.runtime().spawn<writer>(g);
      } else {
        w.kill(doomed_reader);
        doomed_reader = w.runtime().spawn<reader>(g);
      }
    }
    for (auto n = dice.below(8); n > 0; --n) w.step();
    if (dice.one_in(3)) w.advance(std::chrono::microseconds(dice.below(900'000)));
  }
  w.run();
  if (g.violation.empty()) {  // all that is left of the past
    const rz::snapshot now = g.graph.now().value();
    for (auto t = g.horizon; t <= now.commit(); ++t) look(g, now, t);
  }
  if (!g.violation.empty()) throw std::runtime_error(g.violation);
  for (auto& one : writers) w.kill(one);
  for (auto& one : readers) w.kill(one);
  w.run();
  if (!g.held.empty()) throw std::runtime_error("a cell that has ended still holds a snapshot");
  if (g.graph.trim(g.newest()).value() != g.newest()) throw std::runtime_error("nobody holds the past, and it stays");
  g.graph.collect();
  if (g.graph.memory().retired != 0) throw std::runtime_error("nobody looks at replaced blocks, and they stay");
  all.commits += g.newest();
  all.conflicts += g.conflicts;
  all.trims += g.trims;
  all.looks_at_the_past += g.looks_at_the_past;
}

}  // namespace

TEST_CASE("what cells write, read, hold and trim of a graph in any order is what the model says, at every time") {
  totals all;
  for_each_seed(quick, [&](world& w) {
    history_of_cells(w, w.seed() % 2 == 0 ? rz::arcs_kind::directed : rz::arcs_kind::symmetric, all);
  });
  if (karyon::tests::seeds_are_chosen()) return;
  CHECK(all.commits > 100 * quick.count / 10);
  CHECK(all.conflicts > quick.count);
  CHECK(all.trims > quick.count / 2);
  CHECK(all.looks_at_the_past > quick.count * 10);
}
