// SPDX-License-Identifier: Apache-2.0
// Groups of one node: the behaviours of Erlang's pg, a sentence each.
#include <karyon/discover/groups.hpp>

#include <random>
#include <thread>

#include "support/catch.hpp"
#include "unit/discover/discover_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using names = std::vector<std::string>;

namespace {

std::size_t count(const process_groups& g, std::string_view group) { return g.members(group).size(); }

/// So many cells that are members.
std::vector<ref<resident>> joined(runtime& rt, process_groups& scope, std::string_view group, int how_many) {
  std::vector<ref<resident>> cells;
  for (int i = 0; i < how_many; ++i) {
    cells.push_back(rt.spawn<resident>());
    REQUIRE(scope.join(group, cells.back()));
  }
  return cells;
}

/// Counts members as it is told of them.
class counting : public cell {
public:
  using accepts = signals<group_event, get>;
  explicit counting(std::atomic<long>& members) : members_(&members) {}
  void on(const group_event& e) {
    const auto n = static_cast<long>(e.members.size());
    members_->fetch_add(e.joined ? n : -n);
  }
  bool on(get) { return true; }

private:
  std::atomic<long>* members_;
};

/// A payload whose end calls the scope.
class last_word {
public:
  last_word(process_groups scope, std::atomic<int>& said) : scope_(scope), said_(&said) {}
  last_word(last_word&& other) noexcept : scope_(other.scope_), said_(std::exchange(other.said_, nullptr)) {}
  last_word& operator=(last_word&&) = delete;
  ~last_word() {
    if (said_ != nullptr && scope_.groups().size() == 1) said_->fetch_add(1);
  }

private:
  process_groups scope_;
  std::atomic<int>* said_;
};

/// Stays in a handler until it may go on, and keeps the newest two signals.
class crowded : public cell {
public:
  using accepts = signals<ping, last_word, group_event>;
  static constexpr std::size_t mailbox_limit = 2;
  static constexpr overflow mailbox_overflow = overflow::drop_oldest;
  crowded(door& held, door& go_on) : held_(&held), go_on_(&go_on) {}
  void on(ping) {
    held_->open();
    go_on_->pass();
  }
  void on(const last_word&) {}
  void on(const group_event&) {}

private:
  door* held_;
  door* go_on_;
};

}  // namespace

TEST_CASE("a cell that has joined a group is a member of it, and of no other") {
  runtime rt(quiet());
  auto scope = *process_groups::open(rt, "here");
  const auto a = rt.spawn<resident>();
  REQUIRE(scope.join("eyes", a));
  CHECK(scope.members("eyes") == std::vector<member>{a});
  CHECK(scope.local_members("eyes") == std::vector<member>{a});
  CHECK(scope.members("ears").empty());
  CHECK(scope.groups() == names{"eyes"});
}

TEST_CASE("a cell that joins twice is a member twice, and leaves as often as it has joined") {
  runtime rt(quiet());
  auto scope = *process_groups::open(rt);
  const auto a = rt.spawn<resident>();
  REQUIRE(scope.join("eyes", a));
  REQUIRE(scope.join("eyes", a));
  CHECK(count(scope, "eyes") == 2);
  REQUIRE(scope.leave("eyes", a));
  CHECK(count(scope, "eyes") == 1);
  REQUIRE(scope.leave("eyes", a));
  CHECK(scope.leave("eyes", a).error().code() == errc::not_found);
  CHECK(scope.groups().empty());
}

TEST_CASE("a cell's end takes it out of all its groups, however often it is in them, before anybody hears of the end") {
  runtime rt(quiet());
  auto scope = *process_groups::open(rt);
  auto other = *process_groups::open(rt, "other");
  const auto a = rt.spawn<resident>();
  const auto b = rt.spawn<resident>();
  for (const char* group : {"eyes", "ears", "eyes"}) REQUIRE(scope.join(group, a));
  REQUIRE(other.join("hands", a));
  REQUIRE(scope.join("eyes", b));
  end(rt, a);
  CHECK(scope.members("eyes") == std::vector<member>{b});
  CHECK(scope.groups() == names{"eyes"});
  CHECK(other.groups().empty());
}

TEST_CASE("a cell that has ended can not join, and what can not be a group's name is refused") {
  runtime rt(quiet());
  auto scope = *process_groups::open(rt);
  const auto a = rt.spawn<resident>();
  end(rt, a);
  CHECK(scope.join("eyes", a).error().code() == errc::dead);
  CHECK(scope.join("eyes", cell_ref(a)).error().code() == errc::dead);
  const auto b = rt.spawn<resident>();
  for (const std::string& bad : {std::string(), std::string(name_bytes_max + 1, 'x'), std::string("a\xffz"),
                                 std::string("\xc0\xaf"), std::string("\xed\xa0\x80")}) {
    CHECK(scope.join(bad, b).error().code() == errc::invalid_argument);
    CHECK(process_groups::open(rt, bad).error().code() == errc::invalid_argument);
  }
  CHECK(scope.join("eyes", member()).error().code() == errc::invalid_argument);
  CHECK(scope.groups().empty());
  CHECK(scope.join(std::string(name_bytes_max, 'x'), b));
  CHECK(scope.join("\xf0\x9f\x91\x81", b));
}

TEST_CASE("a cell of another runtime of the process can not join, and its end is not heard here") {
  runtime rt(quiet(1));
  runtime elsewhere(quiet(1));
  auto scope = *process_groups::open(rt);
  const auto a = elsewhere.spawn<resident>();
  CHECK(scope.join("eyes", a).error().code() == errc::invalid_argument);
  CHECK(scope.watch("eyes", a).error().code() == errc::invalid_argument);
  end(elsewhere, a);
  CHECK(scope.groups().empty());
}

TEST_CASE("many join together or not at all") {
  runtime rt(quiet());
  auto scope = *process_groups::open(rt);
  diary told;
  const auto watching = rt.spawn<resident>(told);
  REQUIRE(scope.watch("eyes", watching));
  std::vector<member> all;
  for (int i = 0; i < 100; ++i) all.emplace_back(rt.spawn<resident>());
  REQUIRE(scope.join("eyes", all));
  CHECK(scope.members("eyes") == all);
  const auto dead = rt.spawn<resident>();
  end(rt, dead);
  all.emplace_back(dead);
  CHECK(scope.join("ears", all).error().code() == errc::dead);
  CHECK(scope.groups() == names{"eyes"});
  REQUIRE(scope.leave("eyes", all));
  REQUIRE(told.has(2));
  CHECK(told.lines() == lines{"+100 eyes", "-100 eyes"});
}

TEST_CASE("members leave from any place, and the others stay") {
  runtime rt(quiet());
  auto scope = *process_groups::open(rt);
  const std::vector<ref<resident>> cells = joined(rt, scope, "eyes", 300);
  for (std::size_t i = 0; i < cells.size(); i += 3) REQUIRE(scope.leave("eyes", cells[i]));
  for (std::size_t i = 1; i < cells.size(); i += 3) rt.exit(cells[i], exit_reason::killed());
  REQUIRE(eventually([&] { return count(scope, "eyes") == 100; }));
  for (const member& m : scope.members("eyes")) CHECK(m.alive());
}

TEST_CASE("whoever joins, leaves and ends in whatever order, groups have the members that they should have") {
  runtime rt(quiet(1));
  auto scope = *process_groups::open(rt);
  auto over = rt.supervise();
  struct resident_of {
    ref<resident> cell;
    child<resident> role;  // or empty
    std::map<std::string, std::vector<member>> in;
  };
  std::vector<resident_of> all;
  std::mt19937 random(7);  // NOLINT: the same in each run
  const auto dice = [&] { return static_cast<unsigned>(random()); };
  const auto group_of = [](unsigned n) { return "group " + std::to_string(n * n % 7); };
  const auto check = [&] {
    for (unsigned n = 0; n < 7; ++n) {
      const std::string group = "group " + std::to_string(n);
      std::size_t should = 0;
      const auto found = scope.members(group);
      for (const auto& r : all) {
        for (const member& m : r.in.contains(group) ? r.in.at(group) : std::vector<member>()) {
          const auto times = std::count(r.in.at(group).begin(), r.in.at(group).end(), m);
          CHECK(std::count(found.begin(), found.end(), m) == times);
          ++should;
        }
      }
      CHECK(found.size() == should);
      CHECK(scope.size(group) == should);
      CHECK(scope.local_size(group) == should);
      CHECK(scope.pick(group).has_value() == (should != 0));
    }
  };
  for (int step = 0; step < 6000; ++step) {
    // Grows to some hundreds, shrinks to a few, twice.
    const bool grows = step / 1500 % 2 == 0;
    const unsigned what = dice() % 10;
    if (all.size() < 4 || what < (grows ? 3u : 1u)) {
      const bool supervised = dice() % 3 == 0;
      const auto role = supervised ? over.start<resident>() : child<resident>();
      all.push_back({supervised ? role.get() : rt.spawn<resident>(), role, {}});
    }
    const std::size_t at = dice() % all.size();
    resident_of& one = all[at];
    const std::string group = group_of(dice());
    const member who = one.role && dice() % 2 == 0 ? member(one.role) : member(one.cell);
    if (what < 6) {
      REQUIRE(scope.join(group, who));
      one.in[group].push_back(who);
    } else if (what < 8) {
      auto& joined = one.in[group];
      const auto found = std::find(joined.begin(), joined.end(), who);
      CHECK(scope.leave(group, who).has_value() == (found != joined.end()));
      if (found != joined.end()) joined.erase(found);
    } else if (!grows || what == 9) {
      if (one.role) {
        over.terminate(one.role);
        const child<resident> gone = one.role;
        REQUIRE(eventually([&] { return !gone.alive(); }));
        REQUIRE(eventually([&] { return !member(gone).alive() && !member(one.cell).alive(); }));
        // The handle is dead a moment before the memberships are.
        for (const auto& joined : one.in) {
          REQUIRE(eventually([&] {
            const auto found = scope.members(joined.first);
            return std::find(found.begin(), found.end(), member(gone)) == found.end();
          }));
        }
      }
      end(rt, one.cell);
      all.erase(all.begin() + static_cast<std::ptrdiff_t>(at));
    }
    if (step % 500 == 499) check();
  }
  over.stop();
}

TEST_CASE("of a group that most have left, each who stays is picked in his turn") {
  runtime rt(quiet());
  auto scope = *process_groups::open(rt);
  const std::vector<ref<resident>> cells = joined(rt, scope, "eyes", 2000);
  std::vector<member> stay;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    if (i % 200 == 150) {
      stay.emplace_back(cells[i]);
    } else if (i % 2 == 0) {
      REQUIRE(scope.leave("eyes", cells[i]));
    } else {
      rt.exit(cells[i], exit_reason::killed());
    }
  }
  REQUIRE(eventually([&] { return scope.size("eyes") == stay.size(); }));
  REQUIRE(scope.join("eyes", stay[0]));
  std::vector<member> picked;
  for (int i = 0; i < 22; ++i) picked.push_back(*scope.pick("eyes", pick_by::round_robin));
  for (const member& m : stay) CHECK(std::count(picked.begin(), picked.end(), m) == (m == stay[0] ? 4 : 2));
  for (int i = 0; i < 50; ++i) {
    for (const pick_by how : {pick_by::random, pick_by::least_loaded, pick_by::nearest}) {
      CHECK(std::count(stay.begin(), stay.end(), *scope.pick("eyes", how)) == 1);
    }
  }
  REQUIRE(scope.leave("eyes", stay));
  REQUIRE(scope.leave("eyes", stay[0]));
  CHECK(scope.groups().empty());
}

TEST_CASE("a scope that is stopped while its members end leaves nobody behind") {
  runtime rt(quiet(2));
  for (int round = 0; round < 20; ++round) {
    auto scope = *process_groups::open(rt);
    std::vector<ref<resident>> cells;
    for (int i = 0; i < 50; ++i) {
      cells.push_back(rt.spawn<resident>());
      REQUIRE(scope.join("eyes", cells.back()));
      if (i % 3 == 0) REQUIRE(scope.join("ears", cells.back()));
    }
    std::thread killer([&] {
      for (const auto& c : cells) rt.exit(c, exit_reason::killed());
    });
    scope.stop();
    killer.join();
    REQUIRE(eventually([&] { return scope.groups().empty(); }));
  }
}

TEST_CASE("a supervised role stays a member through restarts, and leaves when it is ended for good") {
  runtime rt(quiet());
  auto scope = *process_groups::open(rt);
  auto over = rt.supervise({.intensity = {1000, std::chrono::seconds(5)}});
  const auto c = over.start<resident>();
  REQUIRE(scope.join("eyes", c));
  const auto first = c.get();
  end(rt, first);
  CHECK(scope.members("eyes") == std::vector<member>{c});
  REQUIRE(eventually([&] { return c.get() && !(c.get() == first); }));
  CHECK(scope.members("eyes") == std::vector<member>{c});
  over.terminate(c);
  CHECK(eventually([&] { return scope.members("eyes").empty(); }));
  over.stop();
}

TEST_CASE("a child that joins by its incarnation leaves with it, and its next incarnation may join again") {
  runtime rt(quiet());
  auto scope = *process_groups::open(rt);
  auto over = rt.supervise({.intensity = {1000, std::chrono::seconds(5)}});
  const auto c = over.start<resident>();
  for (int i = 0; i < 20; ++i) {
    const auto now = c.get();
    REQUIRE(scope.join("eyes", now));
    CHECK(scope.members("eyes") == std::vector<member>{now});
    end(rt, now);
    CHECK(scope.members("eyes").empty());
    REQUIRE(eventually([&] { return static_cast<bool>(c.get()); }));
  }
  over.stop();
}

TEST_CASE("joining while the cell ends leaves no dead member behind") {
  runtime rt(quiet());
  auto scope = *process_groups::open(rt);
  for (int round = 0; round < 300; ++round) {
    const auto a = rt.spawn<resident>();
    std::thread killer([&] { rt.exit(a, exit_reason::killed()); });
    for (int i = 0; i < 5; ++i) static_cast<void>(scope.join("eyes", a));
    killer.join();
    REQUIRE(eventually([&] { return !a.alive() && scope.members("eyes").empty(); }));
  }
}

TEST_CASE("a cell that leaves while it ends leaves once, and is nobody's member then") {
  runtime rt(quiet());
  auto scope = *process_groups::open(rt);
  diary told;
  const auto watching = rt.spawn<resident>(told);
  REQUIRE(scope.watch("eyes", watching));
  for (int round = 0; round < 200; ++round) {
    const auto a = rt.spawn<resident>();
    for (const char* group : {"eyes", "eyes", "ears"}) REQUIRE(scope.join(group, a));
    std::thread killer([&] { rt.exit(a, exit_reason::killed()); });
    for (const char* group : {"eyes", "ears", "eyes"}) static_cast<void>(scope.leave(group, a));
    killer.join();
    REQUIRE(eventually([&] { return !a.alive() && scope.groups().empty(); }));
  }
  REQUIRE(told.has(800));
  CHECK(told.size() == 800);
}

TEST_CASE("cells on all workers join, leave and end at the same time, and those that live remain") {
  runtime rt(quiet(2));
  auto scope = *process_groups::open(rt);
  std::vector<std::thread> threads;
  std::array<std::vector<ref<resident>>, 4> kept;
  for (std::size_t t = 0; t < kept.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        const auto a = rt.spawn<resident>();
        static_cast<void>(scope.join(i % 2 == 0 ? "even" : "odd", a));
        static_cast<void>(scope.join("all", a));
        if (i % 5 == 0) {
          kept[t].push_back(a);
        } else if (i % 5 == 1) {
          static_cast<void>(scope.leave("all", a));
          rt.exit(a, exit_reason::killed());
        } else {
          rt.exit(a, exit_reason::killed());
        }
      }
    });
  }
  for (auto& t : threads) t.join();
  REQUIRE(eventually([&] { return count(scope, "all") == 400 && count(scope, "even") + count(scope, "odd") == 400; }));
  for (const member& m : scope.members("all")) CHECK(m.alive());
}

TEST_CASE("a watch begins with the members of its moment, and then tells of each change in order") {
  runtime rt(quiet());
  auto scope = *process_groups::open(rt);
  diary told;
  const auto watching = rt.spawn<resident>(told);
  const auto a = rt.spawn<resident>();
  const auto b = rt.spawn<resident>();
  REQUIRE(scope.join("eyes", a));
  const auto snapshot = scope.watch("eyes", watching);
  REQUIRE(snapshot);
  REQUIRE(snapshot->groups.size() == 1);
  CHECK(snapshot->groups[0].members == std::vector<member>{a});
  REQUIRE(scope.join("eyes", b));
  REQUIRE(scope.join("ears", b));
  REQUIRE(scope.leave("eyes", a));
  rt.exit(b, exit_reason::killed());
  REQUIRE(told.has(3));
  CHECK(told.lines() == lines{"+1 eyes", "-1 eyes", "-1 eyes"});
}

TEST_CASE(
    "a watch that begins while members come and go is told of each change once that its beginning does not have") {
  struct watch_of {
    std::atomic<long> members{0};
    ref<counting> by;
    bool whole_scope = false;
  };
  std::deque<watch_of> watches;  // they outlive the cells
  runtime rt(quiet(2));
  auto scope = *process_groups::open(rt);
  std::atomic<int> steps{0};
  std::vector<std::thread> movers;
  for (int t = 0; t < 2; ++t) {
    movers.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) {
        const auto a = rt.spawn<resident>();
        for (const char* group : {"eyes", "ears"}) static_cast<void>(scope.join(group, a));
        if (i % 3 == 0) static_cast<void>(scope.leave("eyes", a));
        if (i % 10 != 0) rt.exit(a, exit_reason::killed());
        steps.fetch_add(1);
      }
    });
  }
  bool begun = true;
  for (int i = 0; i < 60; ++i) {
    begun = begun && eventually([&] { return steps.load() >= 30 * i; });
    watch_of& w = watches.emplace_back();
    w.whole_scope = i % 2 == 0;
    w.by = rt.spawn<counting>(w.members);
    const auto snapshot = w.whole_scope ? scope.watch_all(w.by) : scope.watch("eyes", w.by);
    begun = begun && snapshot.has_value();
    if (!snapshot) break;
    for (const auto& g : snapshot->groups) w.members.fetch_add(static_cast<long>(g.members.size()));
  }
  for (std::thread& m : movers) m.join();
  REQUIRE(begun);
  // Of each thread's 1000 a tenth has stayed, of those in "eyes" not every third.
  REQUIRE(eventually([&] { return count(scope, "ears") == 200 && count(scope, "eyes") == 132; }));
  for (watch_of& w : watches) {
    REQUIRE(rt.ask(w.by, get{}, long_time));  // behind all that it was told
    CHECK(w.members.load() == (w.whole_scope ? 332 : 132));
  }
}

TEST_CASE("a watch of a group that does not exist begins empty, and tells of its first member") {
  runtime rt(quiet());
  auto scope = *process_groups::open(rt);
  diary told;
  const auto watching = rt.spawn<resident>(told);
  CHECK(scope.watch("eyes", watching)->groups.empty());
  CHECK(scope.groups().empty());
  REQUIRE(scope.join("eyes", watching));
  REQUIRE(told.has(1));
  CHECK(told.lines() == lines{"+1 eyes"});
}

TEST_CASE("a watch of the scope begins with all groups, and tells of each of them") {
  runtime rt(quiet());
  auto scope = *process_groups::open(rt);
  diary told;
  const auto watching = rt.spawn<resident>(told);
  const auto a = rt.spawn<resident>();
  REQUIRE(scope.join("eyes", a));
  REQUIRE(scope.join("ears", a));
  const auto snapshot = scope.watch_all(watching);
  REQUIRE(snapshot->groups.size() == 2);
  CHECK(snapshot->groups[0].name == "ears");
  REQUIRE(scope.join("hands", a));
  REQUIRE(told.has(1));
  rt.exit(a, exit_reason::killed());
  REQUIRE(told.has(4));
  CHECK(told.lines() == lines{"+1 hands", "-1 eyes", "-1 ears", "-1 hands"});
}

TEST_CASE("a watch that was ended, or whose cell has ended, tells nothing more and leaves no group behind") {
  runtime rt(quiet());
  auto scope = *process_groups::open(rt);
  diary told;
  const auto watching = rt.spawn<resident>(told);
  const auto a = rt.spawn<resident>();
  const auto one = scope.watch("eyes", watching);
  const auto all = scope.watch_all(watching);
  CHECK(scope.unwatch(a, one->watch).error().code() == errc::not_found);
  REQUIRE(scope.unwatch(watching, one->watch));
  REQUIRE(scope.unwatch(watching, all->watch));
  CHECK(scope.unwatch(watching, all->watch).error().code() == errc::not_found);
  REQUIRE(scope.join("eyes", a));
  REQUIRE(scope.watch("eyes", watching));
  REQUIRE(scope.watch_all(watching));
  REQUIRE(rt.ask(watching, get{}, long_time));
  CHECK(told.size() == 0);
  end(rt, watching);
  REQUIRE(scope.leave("eyes", a));
  CHECK(scope.groups().empty());
  CHECK(scope.watch("eyes", watching).error().code() == errc::dead);
}

TEST_CASE("what an event pushes out of a watcher's mailbox may call the scope when it is destroyed") {
  door held;
  door go_on;
  std::atomic<int> said{0};
  runtime rt(quiet());
  auto scope = *process_groups::open(rt);
  const auto watching = rt.spawn<crowded>(held, go_on);
  REQUIRE(watching.send(ping{}) == send_result::accepted);
  held.pass();
  for (int i = 0; i < 2; ++i) REQUIRE(watching.send(last_word(scope, said)) == send_result::accepted);
  REQUIRE(scope.watch("eyes", watching));
  for (int i = 0; i < 20; ++i) CHECK(scope.join("eyes", rt.spawn<resident>()));
  CHECK(said.load() == 2);
  go_on.open();
}

TEST_CASE("what is sent to a group reaches each member that accepts it") {
  runtime rt(quiet());
  auto scope = *process_groups::open(rt);
  diary unused;
  std::atomic<int> pings{0};
  for (int i = 0; i < 50; ++i) REQUIRE(scope.join("eyes", rt.spawn<resident>(unused, &pings)));
  REQUIRE(scope.join("eyes", rt.spawn<watcher>(unused)));
  const group_sent sent = scope.send("eyes", ping{});
  CHECK(sent.accepted == 50);
  CHECK(sent.refused == 1);
  CHECK(eventually([&] { return pings.load() == 50; }));
  CHECK(scope.send("ears", ping{}).accepted == 0);
}

TEST_CASE("one of a group is picked in turn, at random, by load or by place, and none of an empty one") {
  runtime rt(quiet());
  auto scope = *process_groups::open(rt);
  CHECK(scope.pick("eyes").error().code() == errc::not_found);
  std::vector<member> all;
  for (int i = 0; i < 4; ++i) all.emplace_back(rt.spawn<resident>());
  REQUIRE(scope.join("eyes", all));
  std::vector<member> picked;
  for (int i = 0; i < 8; ++i) picked.push_back(*scope.pick("eyes", pick_by::round_robin));
  for (const member& m : all) CHECK(std::count(picked.begin(), picked.end(), m) == 2);
  for (const pick_by how : {pick_by::random, pick_by::least_loaded, pick_by::nearest}) {
    for (int i = 0; i < 20; ++i) {
      CHECK(std::count(all.begin(), all.end(), *scope.pick("eyes", how)) == 1);
    }
  }
}

TEST_CASE("a scope that is stopped has no members, and one that is opened again starts empty") {
  runtime rt(quiet());
  auto scope = *process_groups::open(rt, "eyes");
  diary told;
  const auto watching = rt.spawn<resident>(told);
  const auto a = rt.spawn<resident>();
  REQUIRE(scope.join("all", a));
  REQUIRE(scope.watch("all", watching));
  REQUIRE(scope.watch_all(watching));
  scope.stop();
  scope.stop();
  CHECK(scope.groups().empty());
  CHECK(scope.join("all", a).error().code() == errc::closed);
  auto again = *process_groups::open(rt, "eyes");
  CHECK_FALSE(again == scope);
  CHECK(again.groups().empty());
  CHECK(again.join("all", a));
  end(rt, a);
  CHECK(again.groups().empty());
  CHECK(told.size() == 0);
}

TEST_CASE("a runtime ends with its groups full, and opens no scope while it does") {
  runtime rt(quiet());
  auto scope = *process_groups::open(rt);
  for (int i = 0; i < 100; ++i) REQUIRE(scope.join("eyes", rt.spawn<resident>()));
  REQUIRE(rt.shutdown(long_time).complete);
  CHECK(scope.members("eyes").empty());
  CHECK(process_groups::open(rt, "late").error().code() == errc::closed);
}
