// SPDX-License-Identifier: Apache-2.0
#include <new>
#include <stdexcept>

#include "unit/cell/cell_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace app {
struct odd_type {};
struct own_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};
}  // namespace app

namespace {

enum class missile : int { runtime_error, own_error, number, text, string, no_memory, custom, null_text };

struct fling {
  missile what;
};

[[noreturn]] void throw_it(missile what) {
  switch (what) {
    case missile::runtime_error: throw std::runtime_error("no such file");
    case missile::own_error: throw app::own_error("mine");
    case missile::number: throw 42;
    case missile::text: throw "plain words";
    case missile::string: throw std::string("words");
    case missile::no_memory: throw std::bad_alloc();
    case missile::custom: throw app::odd_type();
    case missile::null_text: break;
  }
  throw static_cast<const char*>(nullptr);
}

class thrower : public cell {
public:
  using accepts = signals<fling, ping>;
  void on(fling f) { throw_it(f.what); }
  bool on(ping) { return true; }
};

std::string end_after(missile what) {
  runtime rt(quiet());
  const auto c = rt.spawn<thrower>();
  const auto bystander = rt.spawn<thrower>();
  const witness w(rt, c);
  c.send(fling{what});
  std::string end = w.end();
  if (!rt.ask(bystander, ping{}, long_time).has_value()) end += " and a bystander";
  if (rt.metrics().failures != 1) end += " but not one failure";
  return end;
}

}  // namespace

TEST_CASE("whatever a handler throws ends its cell, with type and text in the reason, and no other cell") {
  CHECK(end_after(missile::runtime_error) == "down: error: std::runtime_error: no such file");
  CHECK(end_after(missile::own_error) == "down: error: app::own_error: mine");
  CHECK(end_after(missile::number) == "down: error: int: 42");
  CHECK(end_after(missile::text) == "down: error: const char*: plain words");
  CHECK(end_after(missile::string) == "down: error: std::string: words");
  CHECK(end_after(missile::no_memory) == "down: error: std::bad_alloc: std::bad_alloc");
  CHECK(end_after(missile::custom) == "down: error: app::odd_type");
  CHECK(end_after(missile::null_text) == "down: error: const char*: (null)");
}

namespace {

/// Fails in its constructor after it has members and an attachment to the runtime.
class stillborn : public cell {
public:
  using accepts = signals<ping>;
  stillborn(std::atomic<int>& living, const cell_ref& other) : member_(living), more_(1'000, 7) {
    link(other);
    monitor(other);
    static_cast<void>(memory()->allocate(100));
    send_after(self(this), ping{}, 1h);
    self(this).send(ping{});
    throw app::own_error("not today");
  }
  void on(ping) {}

private:
  counted member_;
  std::vector<int> more_;
};

class parent : public cell {
public:
  using accepts = signals<ping, get>;
  explicit parent(std::atomic<int>& living) : living_(&living) {}
  std::string on(ping) {
    try {
      spawn<stillborn>(*living_, cell_ref());
    } catch (const app::own_error& e) {
      return e.what();
    }
    return "nothing";
  }
  int on(get) { return 1; }

private:
  std::atomic<int>* living_;
};

}  // namespace

TEST_CASE("a constructor that throws makes spawn throw the same, and leaves nothing behind") {
  std::atomic<int> living{0};
  runtime rt(quiet());
  const auto other = rt.spawn<parent>(living);
  const auto before = rt.metrics();
  for (int i = 0; i < 100; ++i) {
    bool thrown = false;
    try {
      rt.spawn<stillborn>(living, cell_ref());
    } catch (const app::own_error& e) {
      thrown = std::string(e.what()) == "not today";
    }
    REQUIRE(thrown);
  }
  CHECK(living == 0);
  CHECK(rt.metrics().cells == before.cells);
  CHECK(rt.metrics().failures == before.failures + 100);
  CHECK(rt.ask(other, ping{}, long_time).value() == "not today");
  CHECK(rt.ask(other, get{}, long_time).value() == 1);
  CHECK(living == 0);
  CHECK(rt.metrics().cells == before.cells);
}

TEST_CASE("a cell that was linked to by a constructor that then throws gets its exit signal") {
  std::atomic<int> living{0};
  runtime rt(quiet());
  const auto other = rt.spawn<parent>(living);
  const witness w(rt, other);
  CHECK_THROWS_AS(rt.spawn<stillborn>(living, other), app::own_error);
  const std::string end = w.end();
  CHECK(end.find("start_failed") != std::string::npos);
}

namespace {

class tells : public cell {
public:
  using accepts = signals<ping, quit, fling>;
  enum class fails { nowhere, in_start, in_exit };
  tells(diary& d, fails where) : diary_(&d), fails_(where) { diary_->write("constructed"); }
  ~tells() { diary_->write("destroyed"); }
  tells(const tells&) = delete;
  tells& operator=(const tells&) = delete;
  void on_start() {
    diary_->write("started");
    if (fails_ == fails::in_start) throw std::runtime_error("no fuel");
  }
  void on_exit(const exit_reason& why) {
    diary_->write("exiting: " + to_string(why));
    if (fails_ == fails::in_exit) throw std::runtime_error("will not go quietly");
  }
  void on(ping) { diary_->write("ping"); }
  void on(quit) { exit(); }
  void on(fling f) { throw_it(f.what); }

private:
  diary* diary_;
  fails fails_;
};

}  // namespace

TEST_CASE("a cell is constructed, started, handles, exits and is destroyed, in this order") {
  diary d;
  runtime rt(quiet());
  const auto c = rt.spawn<tells>(d, tells::fails::nowhere);
  c.send(ping{});
  c.send(ping{});
  c.send(quit{});
  REQUIRE(d.has(6));
  CHECK(d.lines() == lines{"constructed", "started", "ping", "ping", "exiting: normal", "destroyed"});
}

TEST_CASE("on_start runs without a signal, and on_exit whatever the reason") {
  std::vector<diary> diaries(3);
  runtime rt(quiet());
  for (const bool kill : {false, true}) {
    diary& d = diaries[kill ? 1 : 0];
    const auto c = rt.spawn<tells>(d, tells::fails::nowhere);
    REQUIRE(d.has(2));
    rt.exit(c, kill ? exit_reason::killed() : exit_reason::shutdown());
    REQUIRE(d.has(4));
    CHECK(d.lines()[2] == (kill ? "exiting: killed" : "exiting: shutdown"));
    CHECK(d.lines()[3] == "destroyed");
  }
  diary& d = diaries[2];
  const auto c = rt.spawn<tells>(d, tells::fails::nowhere);
  c.send(fling{missile::number});
  REQUIRE(d.has(4));
  CHECK(d.lines()[2] == "exiting: error: int: 42");
}

TEST_CASE("a start hook that throws ends the cell before its first signal, with start_failed, type and text") {
  diary d;
  runtime rt(quiet());
  const auto c = rt.spawn<tells>(d, tells::fails::in_start);
  c.send(ping{});
  REQUIRE(d.has(4));
  CHECK(d.lines() ==
        lines{"constructed", "started", "exiting: start_failed: std::runtime_error: no fuel", "destroyed"});
  REQUIRE(eventually([&] { return !c.alive() && rt.metrics().cells == 0; }));
  CHECK(rt.metrics().failures == 1);
}

TEST_CASE("an exit hook that throws gives the reason that links and monitors see") {
  diary d;
  runtime rt(quiet());
  const auto c = rt.spawn<tells>(d, tells::fails::in_exit);
  const witness w(rt, c);
  c.send(quit{});
  CHECK(w.end() == "down: error: std::runtime_error: will not go quietly");
  CHECK(d.lines().back() == "destroyed");
}

namespace {

class last_words : public cell {
public:
  using accepts = signals<quit>;
  explicit last_words(ref<thrower> heir, diary& d) : heir_(heir), diary_(&d) {}
  void on(quit) { exit(); }
  void on_exit(const exit_reason&) {
    heir_.send(ping{});
    ask(heir_, ping{}, 1h, [this](const result<bool>&) { diary_->write("answered after the end"); });
    send_after(heir_, ping{}, 1h);
    send_every(heir_, ping{}, 1h);
    monitor(heir_);
    link(heir_);
    diary_->write("done");
  }

private:
  ref<thrower> heir_;
  diary* diary_;
};

}  // namespace

TEST_CASE("what an exit hook starts ends with the cell") {
  diary d;
  runtime rt(quiet());
  const auto heir = rt.spawn<thrower>();
  const auto c = rt.spawn<last_words>(heir, d);
  c.send(quit{});
  REQUIRE(eventually([&] { return rt.metrics().cells == 1; }));
  CHECK(rt.ask(heir, ping{}, long_time).has_value());
  CHECK(d.lines() == lines{"done"});
}

namespace {

class early : public cell {
public:
  using accepts = signals<ping>;
  early(int where, diary& d) : where_(where), diary_(&d) {
    if (where_ == 0) exit();
    diary_->write("constructed");
  }
  void on_start() {
    if (where_ == 1) exit(exit_reason::shutdown());
    diary_->write("started");
  }
  void on(ping) {
    if (where_ == 2) exit({exit_reason::kind::error, "tired", "of it"});
    diary_->write("ping");
  }
  void on_exit(const exit_reason& why) { diary_->write(to_string(why)); }

private:
  int where_;
  diary* diary_;
};

}  // namespace

TEST_CASE("ending oneself in the constructor, in the start hook or in a handler takes effect after it") {
  runtime rt(quiet());
  const std::vector<lines> expected{{"constructed", "started", "normal"},
                                    {"constructed", "started", "shutdown"},
                                    {"constructed", "started", "ping", "error: tired: of it"}};
  for (int where = 0; where < 3; ++where) {
    diary d;
    const auto c = rt.spawn<early>(where, d);
    if (where == 2) c.send(ping{});
    REQUIRE(eventually([&] { return !c.alive() && rt.metrics().cells == 0; }));
    CHECK(d.lines() == expected[static_cast<std::size_t>(where)]);
  }
}

TEST_CASE("a storm of failures leaves every other cell at work and is counted to the last one") {
  runtime rt(quiet());
  const auto bystander = rt.spawn<thrower>();
  constexpr int storm = 5'000;
  for (int i = 0; i < storm; ++i) {
    const auto c = rt.spawn<thrower>();
    c.send(fling{static_cast<missile>(i % 8)});
    if (i % 500 == 0) CHECK(rt.ask(bystander, ping{}, long_time).has_value());
  }
  REQUIRE(eventually([&] { return rt.metrics().cells == 1; }));
  CHECK(rt.metrics().failures == storm);
  CHECK(rt.metrics().crash_reports_suppressed > 0);
}
