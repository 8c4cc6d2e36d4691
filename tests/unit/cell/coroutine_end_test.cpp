// SPDX-License-Identifier: Apache-2.0
// Where coroutines lie, and what becomes of those that wait when their cell ends.
#include <karyon/cell/task.hpp>

#include <csignal>
#include <stdexcept>

#include "support/run_command.hpp"
#include "unit/cell/cell_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

struct later {};
struct answer_now {};

class mute : public cell {
public:
  using accepts = signals<later, answer_now>;
  deferred<int> on(later) {
    waiting_.push_back(defer<int>());
    return {};
  }
  int on(answer_now) {
    const auto asked = static_cast<int>(waiting_.size());
    for (auto& p : waiting_) p.answer(1);
    waiting_.clear();
    return asked;
  }

private:
  std::vector<promise<int>> waiting_;
};

/// Where a coroutine waits when its cell ends.
enum class place { ask, sleep, receive, receive_timed, part, deep_part, part_and_temporary };
constexpr place all_places[] = {place::ask,  place::sleep,     place::receive,           place::receive_timed,
                                place::part, place::deep_part, place::part_and_temporary};

struct wait_at {
  place where = place::ask;
};
struct fail_now {};
struct leave {};
struct leave_and_wait {};

/// Writes when it is destroyed, and whether the cell's object was still there then.
class mourner {
public:
  mourner(diary& d, std::string name, const std::string& state) : diary_(&d), name_(std::move(name)), state_(&state) {}
  mourner(const mourner&) = delete;
  mourner& operator=(const mourner&) = delete;
  ~mourner() { diary_->write(name_ + " of " + *state_); }

private:
  diary* diary_;
  std::string name_;
  const std::string* state_;
};

class waiter : public cell {
public:
  using accepts = signals<wait_at, fail_now, leave, leave_and_wait, number, get>;
  waiter(ref<mute> m, diary& d) : mute_(m), diary_(&d) {}
  waiter(const waiter&) = delete;
  waiter& operator=(const waiter&) = delete;
  ~waiter() { diary_->write("object"); }
  void on_exit(const exit_reason&) { diary_->write("on_exit"); }

  task<int> on(wait_at w) {
    const mourner here(*diary_, "handler", state_);
    switch (w.where) {
      case place::ask: co_return *co_await ask(mute_, later{}, 24h);
      case place::sleep: co_await sleep_for(24h); break;
      case place::receive: co_return (co_await receive<number>(this)).value;
      case place::receive_timed: co_return (co_await receive<number>(this, 24h))->value;
      case place::part: co_return co_await part(0);
      case place::deep_part: co_return co_await part(2);
      case place::part_and_temporary: co_return co_await part_with(mourner(*diary_, "temporary", state_));
    }
    co_return 0;
  }
  void on(fail_now) { throw std::runtime_error("enough"); }
  void on(leave) { exit(); }
  task<int> on(leave_and_wait) {
    const mourner here(*diary_, "leaver", state_);
    exit(exit_reason::shutdown());
    co_await sleep_for(0s);
    co_return 1;
  }
  void on(number) {}
  std::size_t on(get) { return stats().suspended; }

private:
  task<int> part(int deeper) {
    const mourner here(*diary_, "part " + std::to_string(deeper), state_);
    if (deeper > 0) co_return co_await part(deeper - 1);
    co_return (co_await ask(mute_, later{}, 24h)).value_or(0);
  }
  task<int> part_with(const mourner&) {
    const mourner here(*diary_, "part", state_);
    co_await sleep_for(24h);
    co_return 0;
  }

  ref<mute> mute_;
  diary* diary_;
  std::string state_ = "a cell that is there";
};

lines expected_at(place where) {
  const std::string of = " of a cell that is there";
  switch (where) {
    case place::part: return {"part 0" + of, "handler" + of};
    case place::deep_part: return {"part 0" + of, "part 1" + of, "part 2" + of, "handler" + of};
    case place::part_and_temporary: return {"part" + of, "temporary" + of, "handler" + of};
    default: return {"handler" + of};
  }
}

}  // namespace

TEST_CASE("a cell's end destroys its coroutines wherever they wait, the innermost first and all before the object") {
  for (const place where : all_places) {
    for (const bool killed : {true, false}) {
      CAPTURE(static_cast<int>(where), killed);
      diary d;
      runtime rt(quiet());
      const auto m = rt.spawn<mute>();
      const auto c = rt.spawn<waiter>(m, d);
      auto asked = rt.ask_async(c, wait_at{where});
      REQUIRE(rt.ask(c, get{}, long_time).value() == 1);
      if (killed) {
        rt.exit(c, exit_reason::killed());
      } else {
        c.send(fail_now{});
      }
      const auto answer = asked.get(24h);
      REQUIRE_FALSE(answer.has_value());
      CHECK(answer.error().code() == errc::cell_failed);
      CHECK(answer.error().message().find(killed ? "killed" : "enough") != std::string::npos);
      REQUIRE(eventually([&] { return rt.metrics().cells == 1; }));
      lines expected{"on_exit"};
      for (const auto& line : expected_at(where)) expected.push_back(line);
      expected.emplace_back("object");
      CHECK(d.lines() == expected);
    }
  }
}

TEST_CASE("of several coroutines that wait the newest is destroyed first") {
  diary d;
  runtime rt(quiet());
  const auto c = rt.spawn<waiter>(rt.spawn<mute>(), d);
  c.send(wait_at{place::sleep});
  c.send(wait_at{place::part});
  c.send(wait_at{place::receive});
  REQUIRE(rt.ask(c, get{}, long_time).value() == 3);
  c.send(number{1});  // the third ends, in the middle of nothing
  REQUIRE(rt.ask(c, get{}, long_time).value() == 2);
  c.send(leave{});
  REQUIRE(d.has(6));
  const std::string of = " of a cell that is there";
  CHECK(d.lines() == lines{"handler" + of, "on_exit", "part 0" + of, "handler" + of, "handler" + of, "object"});
}

TEST_CASE("a coroutine that ends its cell runs to its next wait and no further") {
  diary d;
  runtime rt(quiet());
  const auto c = rt.spawn<waiter>(rt.spawn<mute>(), d);
  const auto r = rt.ask(c, leave_and_wait{}, 24h);
  REQUIRE_FALSE(r.has_value());
  CHECK(r.error().code() == errc::cell_failed);
  REQUIRE(d.has(3));
  CHECK(d.lines() == lines{"on_exit", "leaver of a cell that is there", "object"});
}

TEST_CASE("the end of the runtime destroys the coroutines of its cells") {
  diary d;
  {
    runtime rt(quiet());
    const auto m = rt.spawn<mute>();
    for (const place where : all_places) {
      const auto c = rt.spawn<waiter>(m, d);
      c.send(wait_at{where});
      REQUIRE(rt.ask(c, get{}, long_time).value() == 1);
    }
  }
  std::size_t expected = 0;
  for (const place where : all_places) expected += 2 + expected_at(where).size();
  CHECK(d.size() == expected);
}

TEST_CASE("an answer to a coroutine that died is counted as late") {
  diary d;
  runtime rt(quiet());
  const auto m = rt.spawn<mute>();
  const auto c = rt.spawn<waiter>(m, d);
  c.send(wait_at{place::ask});
  REQUIRE(rt.ask(c, get{}, long_time).value() == 1);
  rt.exit(c, exit_reason::killed());
  REQUIRE(eventually([&] { return rt.metrics().cells == 1; }));
  CHECK(rt.metrics().late_answers == 0);
  CHECK(eventually([&] { return rt.ask(m, answer_now{}, long_time).value() == 1; }));
  CHECK(eventually([&] { return rt.metrics().late_answers == 1; }));
}

namespace {

struct hold {};
struct hold_large {};
struct release_all {};
struct usage {};
struct set_quota {
  std::size_t bytes = 0;
};
struct memory_use {
  std::uint64_t bytes = 0;
  std::uint64_t peak = 0;
};

class holder : public cell {
public:
  using accepts = signals<hold, hold_large, release_all, usage, set_quota>;
  task<> on(hold) { static_cast<void>(co_await receive<release_all>(this)); }
  task<> on(hold_large) {
    std::byte large[100'000] = {};
    static_cast<void>(co_await receive<release_all>(this));
    large[0] = std::byte{1};
    static_cast<void>(large);
  }
  void on(release_all) {}
  memory_use on(usage) {
    const auto s = stats();
    return {s.memory_bytes, s.memory_peak_bytes};
  }
  void on(set_quota q) { memory_quota(q.bytes); }
};

}  // namespace

TEST_CASE("a coroutine's frame is memory of its cell, given back when it has ended") {
  runtime rt(quiet());
  const auto c = rt.spawn<holder>();
  const auto used = [&] { return rt.ask(c, usage{}, long_time).value(); };
  CHECK(used().bytes == 0);
  c.send(hold{});
  const auto one = used().bytes;
  CHECK(one > 100);
  CHECK(one < 1000);
  c.send(hold{});
  CHECK(used().bytes == 2 * one);
  c.send(hold_large{});
  CHECK(used().bytes > 2 * one + 100'000);
  for (int i = 0; i < 3; ++i) c.send(release_all{});
  CHECK(used().bytes == 0);
  const auto peak = used().peak;
  for (int i = 0; i < 1000; ++i) {
    c.send(hold{});
    c.send(release_all{});
  }
  CHECK(used().bytes == 0);
  CHECK(used().peak == peak);
}

TEST_CASE("a coroutine for whose frame the quota has no room ends its cell with memory_limit") {
  runtime rt(quiet());
  const auto c = rt.spawn<holder>();
  const witness end(rt, c);
  c.send(set_quota{50'000});
  c.send(hold{});
  c.send(hold{});
  CHECK(rt.ask(c, usage{}, long_time).value().bytes > 0);
  const auto r = rt.ask(c, hold_large{}, 24h);
  REQUIRE_FALSE(r.has_value());
  CHECK(r.error().code() == errc::cell_failed);
  CHECK(end.end() == "down: memory_limit");
}

namespace {

task<int> nobodys() { co_return 1; }

struct misuse {
  int kind = 0;
};

class early : public cell {
public:
  using accepts = signals<misuse>;
  early() { static_cast<void>(nobodys()); }
  void on(misuse) {}
};

class misuser : public cell {
public:
  using accepts = signals<misuse>;
  task<> on(misuse m) {
    if (m.kind == 1) spawn<early>();
    if (m.kind == 2) {
      auto first = nobodys();
      const auto second = std::move(first);
      co_await std::move(first);
    }
    if (m.kind == 3) {
      auto work = offload([] {});
      static_cast<void>(co_await work);
      static_cast<void>(co_await work);
    }
  }
};

/// What a process of its own writes that does this, and how it ends.
command_result outcome_of(void (*f)()) {
  int out[2];
  REQUIRE(::pipe(out) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::dup2(out[1], 2);
    std::signal(SIGABRT, SIG_DFL);
    f();
    ::_exit(0);
  }
  ::close(out[1]);
  command_result r;
  char text[512];
  for (ssize_t n; (n = ::read(out[0], text, sizeof text)) > 0;) r.err.append(text, static_cast<std::size_t>(n));
  ::close(out[0]);
  r.status = karyon::tests::detail::exit_status(child);
  return r;
}

void misuse_in_cell(int kind) {
  runtime rt(quiet());
  static_cast<void>(rt.ask(rt.spawn<misuser>(), misuse{kind}, long_time));
}

}  // namespace

TEST_CASE("a task outside of a cell's handlers, or what is awaited twice, aborts with a sentence") {
  const auto outside = outcome_of([] { static_cast<void>(nobodys()); });
  CHECK(outside.status == 128 + SIGABRT);
  CHECK(outside.err.find("a task is called by a cell's handler") != std::string::npos);
  const auto constructor = outcome_of([] { misuse_in_cell(1); });
  CHECK(constructor.status == 128 + SIGABRT);
  CHECK(constructor.err.find("a task is called by a cell's handler") != std::string::npos);
  const auto twice = outcome_of([] { misuse_in_cell(2); });
  CHECK(twice.status == 128 + SIGABRT);
  CHECK(twice.err.find("is awaited once") != std::string::npos);
  const auto work_twice = outcome_of([] { misuse_in_cell(3); });
  CHECK(work_twice.status == 128 + SIGABRT);
  CHECK(work_twice.err.find("is awaited once") != std::string::npos);
}
