// SPDX-License-Identifier: Apache-2.0
// Cells that change their home, and workers that are switched off and on.
#include <random>
#include <stdexcept>
#include <thread>

#include <karyon/supervise/supervisor.hpp>

#include "unit/cell/placement_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

struct where {};
struct node_here {};
struct move_yourself {
  std::uint32_t node = 0;
};
struct fail_now {};
struct tick {};
struct start_timer {};

class resident : public cell {
public:
  using accepts = signals<where, node_here, move_yourself, fail_now, tick, start_timer, get>;
  std::uint32_t on(where) { return here(); }
  std::uint32_t on(node_here) { return stats().node; }
  int on(move_yourself m) {
    const auto moved = migrate_to(m.node);
    return moved ? 0 : static_cast<int>(moved.error().code());
  }
  void on(fail_now) { throw std::runtime_error("as told"); }
  void on(start_timer) { send_after(self(this), tick{}, 1ms); }
  void on(tick) { ticked_on_ = here(); }
  std::uint32_t on(get) { return ticked_on_; }

private:
  std::uint32_t ticked_on_ = no_worker;
};

/// Starts cells whose home is its own worker, but which are not pinned to it.
struct bring_up {
  int count = 0;
};
template <class C>
class parent : public cell {
public:
  using accepts = signals<bring_up>;
  std::vector<ref<C>> on(bring_up n) {
    std::vector<ref<C>> all;
    for (int i = 0; i < n.count; ++i) all.push_back(spawn<C>());
    return all;
  }
};
template <class C>
std::vector<ref<C>> at_home_on(runtime& rt, std::uint32_t worker, int count) {
  return rt.ask(rt.spawn_at<parent<C>>(placement::on_worker(worker)), bring_up{count}, long_time).value();
}

runtime_options on(const topology& machine) {
  runtime_options options = quiet(0);
  options.machine = &machine;
  return options;
}

}  // namespace

// ---- how many workers ----------------------------------------------------------------------------------------------

namespace {

struct hop {
  std::uint64_t number = 0;  // of those from its sender
  std::uint32_t left = 0;
};
struct next_is {
  cell_ref next;
};
struct report_ring {};
struct ring_report {
  std::uint64_t handled = 0;
  std::uint64_t finished = 0;
  std::uint64_t disordered = 0;
};
struct outside {
  std::uint64_t number = 0;
};
struct begin {
  std::uint32_t hops = 0;
};

class ring_cell : public cell {
public:
  using accepts = signals<next_is, begin, hop, report_ring, outside>;
  void on(const next_is& n) { next_ = n.next; }
  void on(begin b) { next_.send(hop{sent_++, b.hops - 1}); }
  void on(hop h) {
    ++report_.handled;
    if (h.number != expected_++) ++report_.disordered;
    if (h.left == 0) {
      ++report_.finished;
    } else {
      next_.send(hop{sent_++, h.left - 1});
    }
  }
  void on(outside o) {
    ++report_.handled;
    if (o.number != outside_++) ++report_.disordered;
  }
  ring_report on(report_ring) { return report_; }

private:
  cell_ref next_;
  std::uint64_t sent_ = 0;
  std::uint64_t expected_ = 0;
  std::uint64_t outside_ = 0;
  ring_report report_;
};

}  // namespace

TEST_CASE("workers are switched off and on at random under a million signals, and none is lost, doubled or overtaken") {
  // Two nodes, so that cells are guests of the other node while all workers of their own are off.
  const topology machine = two_nodes();
  runtime rt(on(machine));
  REQUIRE(rt.workers() == 4);
  constexpr std::uint32_t cells = 64;
  constexpr std::uint32_t hops = 16'000;
  constexpr std::uint64_t rounds_outside = 2'000;
  std::vector<ref<ring_cell>> ring;
  for (std::uint32_t i = 0; i < cells; ++i) {
    ring.push_back(rt.spawn_at<ring_cell>(i % 8 == 7 ? placement::on_worker(i / 8 % 4) : placement::spread()));
  }
  for (std::uint32_t i = 0; i < cells; ++i) ring[i].send(next_is{ring[(i + 1) % cells]});
  for (const auto& c : ring) c.send(begin{hops});
  std::thread outsider([&] {
    for (std::uint64_t n = 0; n < rounds_outside; ++n) {
      for (const auto& c : ring) c.send(outside{n});
      std::this_thread::yield();
    }
  });
  std::mt19937 chance(4711);
  unsigned switches = 0;
  const auto finished = [&] {
    std::uint64_t n = 0;
    for (const auto& r : ask_each(rt, ring, report_ring{})) n += r.value().finished;
    return n == cells;
  };
  while (!finished()) {
    for (int i = 0; i < 20; ++i, ++switches) {
      REQUIRE(rt.set_workers(1 + static_cast<unsigned>(chance() % 4)).has_value());
      std::this_thread::yield();
    }
  }
  outsider.join();
  std::uint64_t handled = 0;
  std::uint64_t disordered = 0;
  for (const auto& r : ask_each(rt, ring, report_ring{})) {
    handled += r.value().handled;
    disordered += r.value().disordered;
  }
  INFO(switches << " switches, " << rt.metrics().forwarded << " forwarded");
  CHECK(handled == cells * (hops + rounds_outside));
  CHECK(disordered == 0);
  CHECK(rt.metrics().forwarded > 0);
  CHECK(rt.shutdown(long_time).complete);
}

TEST_CASE("a worker that is switched off runs only what is pinned to it, and its timers") {
  runtime rt(quiet(2));
  const auto pinned = rt.spawn_at<resident>(placement::on_worker(1));
  const auto cells = at_home_on<resident>(rt, 1, 50);
  const auto all_on = [&](std::uint32_t worker) {
    bool all = true;
    for (const auto& w : ask_each(rt, cells, where{})) all = w.value() == worker && all;
    return all;
  };
  REQUIRE(rt.set_workers(1).has_value());
  CHECK(rt.active_workers() == 1);
  CHECK(rt.workers() == 2);
  REQUIRE(eventually([&] { return all_on(0); }));
  for (int i = 0; i < 5; ++i) CHECK(all_on(0));  // it knows by now
  CHECK(rt.ask(pinned, where{}, long_time).value() == 1);
  pinned.send(start_timer{});
  CHECK(eventually([&] { return rt.ask(pinned, get{}, long_time).value() == 1; }));
  // What it spawns lives elsewhere.
  const auto more = at_home_on<resident>(rt, 1, 10);
  for (const auto& w : ask_each(rt, more, where{})) CHECK(w.value() == 0);
  for (int i = 0; i < 20; ++i) CHECK(rt.inspect(rt.spawn<resident>(), long_time).value().worker == 0);

  REQUIRE(rt.set_workers(2).has_value());
  CHECK(rt.active_workers() == 2);
  const auto fresh = at_home_on<resident>(rt, 1, 1);
  CHECK(eventually([&] { return rt.ask(fresh.front(), where{}, long_time).value() == 1; }));
}

TEST_CASE("cells of a node whose workers are all off run on another node, and go home when one is on again") {
  const topology machine = two_nodes();
  runtime rt(on(machine));
  const auto c = rt.spawn_at<resident>(placement::on_node(1));
  const auto node_of = [&](std::uint32_t worker) { return rt.plan().workers[worker].node; };
  REQUIRE(node_of(0) == 0);
  REQUIRE(eventually([&] { return node_of(rt.ask(c, where{}, long_time).value()) == 1; }));
  unsigned of_node_0 = 0;
  while (of_node_0 < rt.workers() && node_of(of_node_0) == 0) ++of_node_0;
  REQUIRE(rt.set_workers(of_node_0).has_value());
  CHECK(eventually([&] { return node_of(rt.ask(c, where{}, long_time).value()) == 0; }));
  CHECK(rt.ask(c, node_here{}, long_time).value() == 1);  // it is a guest there
  const auto born = rt.spawn_at<resident>(placement::on_node(1));
  CHECK(rt.ask(born, node_here{}, long_time).value() == 1);
  CHECK(node_of(rt.ask(born, where{}, long_time).value()) == 0);
  REQUIRE(rt.set_workers(rt.workers()).has_value());
  for (const auto& each : {c, born}) {
    CHECK(eventually([&] { return node_of(rt.ask(each, where{}, long_time).value()) == 1; }));
  }
}

TEST_CASE("the number of workers is at least one, and at most what the runtime has") {
  runtime rt(quiet(2));
  for (const unsigned n : {0u, 3u, ~0u}) {
    const auto r = rt.set_workers(n);
    REQUIRE_FALSE(r.has_value());
    CHECK(r.error().code() == errc::invalid_argument);
    CHECK(r.error().message().find("1 to 2") != std::string::npos);
  }
  CHECK(rt.active_workers() == 2);
}

TEST_CASE("supervisors go on, whichever workers are on") {
  runtime rt(quiet(4));
  supervisor_options options;
  options.intensity.restarts = 1'000'000;
  auto s = rt.supervise(options);
  std::vector<child<resident>> children;
  for (int i = 0; i < 40; ++i) children.push_back(s.start<resident>());
  for (const unsigned n : {1u, 3u, 2u, 4u, 1u}) {
    REQUIRE(rt.set_workers(n).has_value());
    for (const auto& c : children) c.send(fail_now{});
    for (const auto& c : children) {
      CHECK(eventually([&] { return rt.ask(c, where{}, long_time).has_value(); }));
    }
  }
  CHECK(rt.metrics().restarts == 200);
  CHECK(rt.shutdown(long_time).complete);
}

// ---- homes follow the load -----------------------------------------------------------------------------------------

namespace {

class labourer : public cell {
public:
  using accepts = signals<ping, get>;
  void on(ping) {
    const auto end = std::chrono::steady_clock::now() + 100us;
    while (std::chrono::steady_clock::now() < end) {
    }
  }
  std::uint32_t on(get) { return stats().worker; }
};

}  // namespace

TEST_CASE("busy cells that share one home get others on idle workers, and pinned ones do not") {
  runtime rt(quiet(2));
  const auto cells = at_home_on<labourer>(rt, 0, 60);
  std::vector<ref<labourer>> pinned;
  for (int i = 0; i < 4; ++i) pinned.push_back(rt.spawn_at<labourer>(placement::on_worker(0)));
  const auto homes_on_1 = [&](const std::vector<ref<labourer>>& of) {
    std::size_t n = 0;
    for (const auto& home : ask_each(rt, of, get{})) n += home.value();
    return n;
  };
  REQUIRE(homes_on_1(cells) == 0);
  CHECK(eventually([&] {
    for (const auto& c : cells) c.send(ping{});
    for (const auto& c : pinned) c.send(ping{});
    return homes_on_1(cells) >= 10;
  }));
  CHECK(rt.metrics().rehomed >= 10);
  CHECK(homes_on_1(pinned) == 0);
}

// ---- distances -----------------------------------------------------------------------------------------------------

namespace {

struct poke_all {
  std::vector<ref<resident>> whom;
};
class poker : public cell {
public:
  using accepts = signals<poke_all>;
  void on(const poke_all& p) {
    for (const auto& c : p.whom) c.send(tick{});
  }
};

}  // namespace

TEST_CASE("what makes cells runnable is counted by the distance it came") {
  const topology machine = topology::from_synthetic("pack:1 numa:2 l3:2 core:2 pu:1").value();
  runtime rt(on(machine));
  REQUIRE(rt.workers() == 8);
  const worker_binding& w = rt.plan().workers[0];
  REQUIRE(w.steal_order.size() == 3);
  REQUIRE(w.steal_same_cache == 1);
  std::uint32_t far = 0;
  while (rt.plan().workers[far].node == w.node) ++far;
  const std::vector<std::uint32_t> places{0, w.steal_order[0], w.steal_order[1], w.steal_order[2], far};
  std::vector<ref<resident>> whom;
  for (const auto p : places) whom.push_back(rt.spawn_at<resident>(placement::on_worker(p)));
  const auto from = rt.spawn_at<poker>(placement::on_worker(0));
  const auto before = rt.metrics();
  // One signal from outside, and then one to each from worker 0: all of them find their receiver idle.
  from.send(poke_all{whom});
  CHECK(eventually([&] {
    const auto m = rt.metrics();
    return m.handled - before.handled == 6 && m.woken_from_outside - before.woken_from_outside == 1 &&
           m.woken_same_worker - before.woken_same_worker == 1 && m.woken_same_cache - before.woken_same_cache == 1 &&
           m.woken_same_node - before.woken_same_node == 2 && m.woken_other_node - before.woken_other_node == 1;
  }));
}

// ---- migration -----------------------------------------------------------------------------------------------------

TEST_CASE("a cell migrates to another node, and runs there from then on") {
  const topology machine = two_nodes();
  runtime rt(on(machine));
  const auto c = rt.spawn_at<resident>(placement::on_node(0));
  REQUIRE(rt.ask(c, node_here{}, long_time).value() == 0);
  for (const std::uint32_t node : {1u, 0u, 1u}) {
    const auto report = rt.migrate(c, node).get(long_time);
    REQUIRE(report.has_value());
    CHECK(report->node == node);
    CHECK(rt.plan().workers[report->worker].node == node);
    CHECK(rt.ask(c, node_here{}, long_time).value() == node);
    CHECK(eventually([&] { return rt.plan().workers[rt.ask(c, where{}, long_time).value()].node == node; }));
    CHECK(rt.inspect(c, long_time).value().worker == report->worker);
  }
  CHECK(rt.metrics().migrations == 3);
  // Where it is already it may go as well.
  CHECK(rt.migrate(c, 1).get(long_time).value().node == 1);
  CHECK(rt.metrics().migrations == 3);
}

TEST_CASE("a cell migrates by its own decision after the handler") {
  const topology machine = two_nodes();
  runtime rt(on(machine));
  const auto c = rt.spawn_at<resident>(placement::on_node(0));
  CHECK(rt.ask(c, move_yourself{1}, long_time).value() == 0);
  CHECK(eventually([&] { return rt.ask(c, node_here{}, long_time).value() == 1; }));
  CHECK(rt.ask(c, move_yourself{2}, long_time).value() == static_cast<int>(errc::not_found));
  const auto pinned = rt.spawn_at<resident>(placement::on_worker(0));
  CHECK(rt.ask(pinned, move_yourself{1}, long_time).value() == static_cast<int>(errc::refused));
}

TEST_CASE("a migration that can not be says why") {
  const topology machine = two_nodes();
  runtime rt(on(machine));
  const auto c = rt.spawn<resident>();
  const auto nowhere = rt.migrate(c, 2).get(long_time);
  REQUIRE_FALSE(nowhere.has_value());
  CHECK(nowhere.error().code() == errc::not_found);
  CHECK(nowhere.error().message().find("2 nodes") != std::string::npos);
  const auto pinned = rt.migrate(rt.spawn_at<resident>(placement::on_worker(0)), 1).get(long_time);
  REQUIRE_FALSE(pinned.has_value());
  CHECK(pinned.error().code() == errc::refused);
  rt.exit(c, exit_reason::killed());
  REQUIRE(eventually([&] { return !c.alive(); }));
  CHECK(rt.migrate(c, 1).get(long_time).error().code() == errc::dead);
  CHECK(rt.migrate(cell_ref(), 1).get(long_time).error().code() == errc::dead);
  // A request that another runtime has checked, with more nodes than the cell's own.
  runtime small(quiet(1));
  CHECK(rt.migrate(small.spawn<resident>(), 1).get(long_time).error().code() == errc::not_found);
  CHECK(rt.metrics().migrations + small.metrics().migrations == 0);
}

TEST_CASE("on a machine with one node, migration there is a success without effect, and to others an error") {
  runtime_options options = quiet(2);
  options.scheduler.binding.order = bind_order::unbound;  // one node, whatever the machine
  runtime rt(options);
  const auto c = rt.spawn<resident>();
  const auto report = rt.migrate(c, 0).get(long_time);
  REQUIRE(report.has_value());
  CHECK(report->pages_moved + report->pages_there + report->pages_refused == 0);
  const auto error = rt.migrate(c, 1).get(long_time);
  REQUIRE_FALSE(error.has_value());
  CHECK(error.error().message().find("1 node, node 0") != std::string::npos);
}

TEST_CASE("a supervised cell migrates with its role: its next incarnation is at home there") {
  const topology machine = two_nodes();
  runtime rt(on(machine));
  auto s = rt.supervise();
  child_options of;
  of.where = placement::on_node(0);
  const auto c = s.start_with<resident>(of);
  REQUIRE(rt.ask(c, node_here{}, long_time).value() == 0);
  REQUIRE(rt.migrate(c, 1).get(long_time).has_value());
  const auto before = c.get();
  c.send(fail_now{});
  REQUIRE(eventually([&] {
    const auto now = c.get();  // asked once: it may be empty a moment later
    return now && now != before;
  }));
  CHECK(rt.ask(c, node_here{}, long_time).value() == 1);
}

TEST_CASE("a page that cells share is left until most that live on it are at home on the node") {
  const topology machine = two_nodes();
  runtime rt(on(machine));
  std::vector<ref<resident>> cells;
  for (int i = 0; i < 64; ++i) cells.push_back(rt.spawn_at<resident>(placement::on_node(0)));
  std::uint64_t shared = 0;
  std::uint64_t first = 0;
  for (const auto& c : cells) {
    const auto report = rt.migrate(c, 1).get(long_time).value();
    if (c == cells.front()) first = report.pages_shared;
    shared += report.pages_shared;
  }
  CHECK(first > 0);
  CHECK(shared < cells.size());  // about half of them
  CHECK(rt.metrics().migration_pages_shared == shared);
  for (const auto& c : cells) CHECK(rt.migrate(c, 1).get(long_time).value().pages_shared == 0);
  // The dead have no vote.
  const auto last = cells.back();
  for (const auto& c : cells) {
    if (c != last) rt.exit(c, exit_reason::killed());
  }
  REQUIRE(eventually([&] { return rt.metrics().cells == 1; }));
  CHECK(rt.migrate(last, 0).get(long_time).value().pages_shared == 0);
}

TEST_CASE("cells migrate to and fro while others send to them, and no signal is lost or overtaken") {
  const topology machine = two_nodes();
  runtime rt(on(machine));
  std::vector<ref<ring_cell>> ring;
  for (int i = 0; i < 8; ++i) ring.push_back(rt.spawn<ring_cell>());
  for (std::size_t i = 0; i < 8; ++i) ring[i].send(next_is{ring[(i + 1) % 8]});
  constexpr std::uint32_t hops = 30'000;
  ring[0].send(begin{hops});
  std::mt19937 chance(42);
  const auto sum = [&](auto what) {
    std::uint64_t n = 0;
    for (const auto& r : ask_each(rt, ring, report_ring{})) n += r.value().*what;
    return n;
  };
  do {
    for (int i = 0; i < 50; ++i) {
      static_cast<void>(rt.migrate(ring[chance() % 8], static_cast<std::uint32_t>(chance() % 2)));
    }
  } while (sum(&ring_report::finished) == 0);
  CHECK(sum(&ring_report::handled) == hops);
  CHECK(sum(&ring_report::disordered) == 0);
  CHECK(rt.metrics().migrations > 0);
}
