// SPDX-License-Identifier: Apache-2.0
#include "unit/cell/cell_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

struct hold {};
struct urge {
  int value;
};
struct question {};

struct scene {
  door held;
  door go_on;
  diary handled;
};

class desk : public cell {
public:
  using accepts = signals<hold, number, urge, question>;
  using high_priority = signals<urge, question>;
  explicit desk(scene& s) : scene_(&s) {}
  void on(hold) {
    scene_->held.open();
    scene_->go_on.pass();
  }
  void on(number n) { scene_->handled.write(std::to_string(n.value)); }
  void on(urge u) { scene_->handled.write("!" + std::to_string(u.value)); }
  std::size_t on(question) { return scene_->handled.size(); }

private:
  scene* scene_;
};

/// One worker that nobody takes over from the handler that holds it.
runtime_options one_to_hold() {
  runtime_options options = quiet(1);
  options.scheduler.watch.take_over = false;
  return options;
}

ref<desk> held_desk(runtime& rt, scene& s) {
  const auto c = rt.spawn_at<desk>(placement::on_worker(0), s);
  c.send(hold{});
  s.held.pass();
  return c;
}

}  // namespace

TEST_CASE("signals of high priority overtake others, in their own order, and let one of them through for eight") {
  scene s;
  runtime rt(quiet());
  const auto c = held_desk(rt, s);
  for (int i = 1; i <= 4; ++i) c.send(number{i});
  for (int i = 1; i <= 20; ++i) c.send(urge{i});
  c.send(number{5});
  s.go_on.open();
  REQUIRE(s.handled.has(25));
  CHECK(s.handled.lines() == lines{"!1",  "!2",  "!3",  "!4",  "!5",  "!6",  "!7",  "!8",  "1",
                                   "!9",  "!10", "!11", "!12", "!13", "!14", "!15", "!16", "2",
                                   "!17", "!18", "!19", "!20", "3",   "4",   "5"});
}

TEST_CASE("a signal that wakes a cell keeps its place among those of its priority") {
  scene s;
  runtime rt(one_to_hold());
  scene busy;
  const auto c = rt.spawn<desk>(s);
  REQUIRE(rt.ask(c, question{}, long_time).has_value());
  held_desk(rt, busy);  // the only worker is busy: the first signal makes the desk runnable, and it waits
  c.send(urge{1});
  c.send(number{1});
  c.send(urge{2});
  busy.go_on.open();
  REQUIRE(s.handled.has(3));
  CHECK(s.handled.lines() == lines{"!1", "!2", "1"});
}

TEST_CASE("a question of high priority is answered before what waits, and what waits is counted") {
  scene s;
  runtime rt(quiet());
  const auto c = held_desk(rt, s);
  for (int i = 0; i < 100; ++i) c.send(number{i});
  c.send(urge{0});
  auto asked = rt.ask_async(c, question{});
  auto stats = std::thread([&] { CHECK(rt.inspect(c, long_time).value().mailbox <= 102); });
  s.go_on.open();
  CHECK(asked.get(long_time).value() == 1);
  stats.join();
}

TEST_CASE("a request to end overtakes signals of high priority, and none of them is lost uncounted") {
  scene s;
  runtime rt(quiet());
  const auto c = held_desk(rt, s);
  const auto before = rt.metrics();
  for (int i = 0; i < 10; ++i) c.send(urge{i});
  for (int i = 0; i < 10; ++i) c.send(number{i});
  rt.exit(c, exit_reason::killed());
  s.go_on.open();
  REQUIRE(eventually([&] { return rt.metrics().cells == 0; }));
  CHECK(s.handled.size() == 0);
  CHECK(rt.metrics().dropped_dead - before.dropped_dead == 20);
}

// ---- cells ---------------------------------------------------------------------------------------------------------

namespace {

struct step {};

/// Counts the turns of cells, which take one signal each; one worker.
struct race {
  std::uint64_t high_turns = 0;
  std::uint64_t high_turns_at_end = 0;
  bool over = false;
  door finished;
};

/// Always has something to do.
template <priority Of>
class runner : public cell {
public:
  using accepts = signals<step>;
  static constexpr priority run_priority = Of;
  explicit runner(race& r) : race_(&r) {}
  void on(step) {
    ++race_->high_turns;
    if (!race_->over) self(this).send(step{});
  }

private:
  race* race_;
};

class commoner : public cell {
public:
  using accepts = signals<step>;
  commoner(race& r, int rounds) : race_(&r), rounds_(rounds) {}
  void on(step) {
    if (--rounds_ > 0) {
      self(this).send(step{});
      return;
    }
    race_->high_turns_at_end = race_->high_turns;
    race_->over = true;
    race_->finished.open();
  }

private:
  race* race_;
  int rounds_;
};

class starter : public cell {
public:
  using accepts = signals<step>;
  starter(race& r, std::vector<ref<runner<priority::high>>> high, ref<commoner> normal)
      : race_(&r), high_(std::move(high)), normal_(normal) {}
  void on(step) {
    for (const auto& h : high_) h.send(step{});
    normal_.send(step{});
  }

private:
  race* race_;
  std::vector<ref<runner<priority::high>>> high_;
  ref<commoner> normal_;
};

/// Counts what has run on the one worker.
struct mixed {
  scene s;
  std::atomic<int> normal_before{0};
  std::atomic<int> high_done{0};
  std::atomic<int> normal_done{0};
};
class plain : public cell {
public:
  using accepts = signals<step>;
  explicit plain(mixed& m) : all_(&m) {}
  void on(step) { all_->normal_done.fetch_add(1); }

private:
  mixed* all_;
};
class eager : public cell {
public:
  using accepts = signals<step>;
  static constexpr priority run_priority = priority::high;
  explicit eager(mixed& m) : all_(&m) {}
  void on(step) {
    all_->normal_before.store(all_->normal_done);
    all_->high_done.fetch_add(1);
  }

private:
  mixed* all_;
};

}  // namespace

TEST_CASE("under 100,000 cells of high priority that never rest a normal one gets every fourth turn") {
  constexpr int cells = 100'000;
  constexpr int rounds = 1'000;
  race r;
  runtime_options options = one_to_hold();
  options.scheduler.signals_per_turn = 1;
  runtime rt(options);
  std::vector<ref<runner<priority::high>>> high;
  for (int i = 0; i < cells; ++i) high.push_back(rt.spawn<runner<priority::high>>(r));
  const auto normal = rt.spawn<commoner>(r, rounds);
  rt.spawn<starter>(r, std::move(high), normal).send(step{});
  REQUIRE(eventually([&] { return r.finished.is_open(); }));
  CHECK(r.high_turns_at_end >= 2 * rounds);  // they do come first
  CHECK(r.high_turns_at_end <= 4 * rounds + 100);
}

TEST_CASE("cells of high priority that others make runnable do not wait for normal ones") {
  mixed all;
  runtime rt(one_to_hold());
  held_desk(rt, all.s);
  std::vector<ref<plain>> normal;
  for (int i = 0; i < 1'000; ++i) normal.push_back(rt.spawn<plain>(all));
  const auto e = rt.spawn<eager>(all);
  const auto pinned = rt.spawn_at<eager>(placement::on_worker(0), all);
  for (const auto& n : normal) n.send(step{});
  e.send(step{});
  pinned.send(step{});
  all.s.go_on.open();
  REQUIRE(eventually([&] { return all.normal_done == 1'000 && all.high_done == 2; }));
  CHECK(all.normal_before <= 4);
}
