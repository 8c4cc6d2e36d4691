// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <stdexcept>

#include "unit/supervise/supervised.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

struct crash_once {
  int id = 0;
};
struct crash_move_only {
  std::unique_ptr<int> n;
};
struct crash_hidden {
  std::vector<std::unique_ptr<int>> n;
};
struct put_aside {
  int id = 0;
};
struct question {
  int id = 0;
};
struct hold {};

/// Writes what it handles. The first handling of each crash throws; what follows it waits behind a door.
struct shared_state {
  diary handled;
  door go;
  std::atomic<int> crashes_left{1};
  std::atomic<int> born{0};
};

class recorder : public cell {
public:
  using accepts = signals<number, word, crash_once, crash_move_only, crash_hidden, put_aside, question, hold, quit>;
  explicit recorder(shared_state& s) : state_(&s) { s.born.fetch_add(1); }
  void on(hold) { state_->go.pass(); }
  void on(number n) { write("number " + std::to_string(n.value)); }
  void on(word w) { write("word " + w.text); }
  void on(crash_once c) { crash("crash " + std::to_string(c.id)); }
  void on(crash_move_only c) { crash(c.n ? "moved" : "empty"); }
  void on(crash_hidden) { crash("hidden"); }
  void on(put_aside p) {
    if (state_->born == 1) return stash(this, p);
    write("aside " + std::to_string(p.id));
  }
  int on(question q) {
    crash("question " + std::to_string(q.id));
    return q.id;
  }
  void on(quit) { exit(exit_reason::error("quit", "")); }

private:
  void write(std::string line) { state_->handled.write(std::move(line)); }
  void crash(std::string what) {
    if (state_->crashes_left.fetch_sub(1) > 0) throw std::runtime_error(what);
    write(std::move(what));
  }
  shared_state* state_;
};

class bounded_recorder : public recorder {
public:
  using recorder::recorder;
  static constexpr std::size_t mailbox_limit = 4;
};

/// So many constructions to come fail.
class picky_recorder : public recorder {
public:
  picky_recorder(shared_state& s, std::atomic<int>& refuse) : recorder(s) {
    if (refuse.fetch_sub(1) > 0) throw std::runtime_error("not yet");
  }
};

class summing : public cell {
public:
  using accepts = signals<number, crash_once>;
  explicit summing(std::atomic<int>& sum) : sum_(&sum) {}
  void on(number n) { sum_->fetch_add(n.value); }
  void on(crash_once) { throw 1; }

private:
  std::atomic<int>* sum_;
};

template <class C>
child<C> start(supervisor& s, shared_state& state, mailbox_policy policy, restart_type type = restart_type::permanent) {
  return s.start_with<C>({.restart = type, .mailbox = policy}, std::ref(state));
}

}  // namespace

TEST_CASE("a dropped mailbox is counted, and its questions fail with the reason") {
  shared_state state;
  runtime rt(quiet());
  auto s = rt.supervise(generous());
  const auto c = start<recorder>(s, state, mailbox_policy::dropped);
  c.send(hold{});
  c.send(crash_once{1});
  c.send(number{2});
  auto answer = rt.ask_async(c, question{3});
  state.go.open();
  const auto got = answer.get(long_time);
  REQUIRE_FALSE(got.has_value());
  CHECK(got.error().message().find("crash 1") != std::string::npos);
  REQUIRE(eventually([&] { return state.born == 2; }));
  CHECK(rt.metrics().dropped_dead == 2);
  CHECK(state.handled.lines().empty());
}

TEST_CASE("a kept mailbox is handled by the next incarnation, in order, the signal that killed the cell first") {
  shared_state state;
  runtime rt(quiet());
  auto s = rt.supervise(generous());
  const auto c = start<recorder>(s, state, mailbox_policy::kept);
  c.send(hold{});
  c.send(put_aside{1});
  c.send(crash_once{2});
  c.send(number{3});
  c.send(word{std::string(100, 'x')});
  auto answer = rt.ask_async(c, question{4});
  c.send(number{5});
  state.go.open();
  CHECK(answer.get(long_time).value() == 4);
  REQUIRE(state.handled.has(6));
  CHECK(state.handled.lines() ==
        lines{"crash 2", "aside 1", "number 3", "word " + std::string(100, 'x'), "question 4", "number 5"});
  CHECK(state.born == 2);
  CHECK(rt.metrics().dropped_dead == 0);
}

TEST_CASE("a question that killed the cell is asked again, and answered by the next incarnation") {
  shared_state state;
  runtime rt(quiet());
  auto s = rt.supervise(generous());
  const auto c = start<recorder>(s, state, mailbox_policy::kept);
  CHECK(rt.ask(c, question{7}, long_time).value() == 7);
  CHECK(state.born == 2);
}

TEST_CASE("kept_without_last keeps all but the signal that killed the cell") {
  shared_state state;
  runtime rt(quiet());
  auto s = rt.supervise(generous());
  const auto c = start<recorder>(s, state, mailbox_policy::kept_without_last);
  c.send(hold{});
  auto fatal = rt.ask_async(c, question{1});
  c.send(number{2});
  c.send(number{3});
  state.go.open();
  const auto got = fatal.get(long_time);
  REQUIRE_FALSE(got.has_value());
  CHECK(got.error().message().find("question 1") != std::string::npos);
  REQUIRE(state.handled.has(2));
  CHECK(state.handled.lines() == lines{"number 2", "number 3"});
  CHECK(rt.metrics().dropped_dead == 0);
}

TEST_CASE("a signal that can only be moved is spent when it kills the cell, and counts as dropped") {
  shared_state state;
  state.crashes_left = 2;
  runtime rt(quiet());
  auto s = rt.supervise(generous());
  const auto c = start<recorder>(s, state, mailbox_policy::kept);
  c.send(hold{});
  c.send(crash_move_only{std::make_unique<int>(1)});
  c.send(crash_hidden{});
  c.send(number{2});
  state.go.open();
  REQUIRE(state.handled.has(1));
  CHECK(state.handled.lines() == lines{"number 2"});
  CHECK(state.born == 3);
  CHECK(rt.metrics().dropped_dead == 2);
}

TEST_CASE("a cell that ends by itself has handled its last signal") {
  shared_state state;
  runtime rt(quiet());
  auto s = rt.supervise(generous());
  const auto c = start<recorder>(s, state, mailbox_policy::kept);
  c.send(hold{});
  c.send(quit{});
  c.send(number{1});
  state.go.open();
  REQUIRE(state.handled.has(1));
  CHECK(state.handled.lines() == lines{"number 1"});
  CHECK(state.born == 2);
}

TEST_CASE("a kept mailbox is dropped and counted after all if the child is not restarted") {
  for (const bool terminated : {true, false}) {
    shared_state state;
    runtime rt(quiet());
    auto s = rt.supervise({.intensity = {0, 24h}});
    const auto c = start<recorder>(s, state, mailbox_policy::kept);
    c.send(hold{});
    c.send(crash_once{1});
    c.send(number{2});
    auto answer = rt.ask_async(c, question{3});
    if (terminated) s.terminate(c);
    state.go.open();
    REQUIRE(eventually([&] { return !c.alive(); }));
    const auto got = answer.get(long_time);
    REQUIRE_FALSE(got.has_value());
    CHECK(got.error().code() == errc::cell_failed);
    REQUIRE(eventually([&] { return s.children() == 0; }));
    // The signal that killed it is one of them, if it did.
    CHECK(rt.metrics().dropped_dead >= 2);
    CHECK(rt.metrics().dropped_dead <= 3);
    CHECK(state.handled.lines().empty());
  }
}

TEST_CASE("a kept mailbox outlasts restarts that fail") {
  shared_state state;
  std::atomic<int> refuse{0};
  runtime rt(quiet());
  auto s = rt.supervise(generous());
  const auto c = s.start_with<picky_recorder>({.mailbox = mailbox_policy::kept}, std::ref(state), std::ref(refuse));
  c.send(hold{});
  c.send(crash_once{1});
  c.send(number{2});
  refuse = 5;
  state.go.open();
  REQUIRE(state.handled.has(2));
  CHECK(state.handled.lines() == lines{"crash 1", "number 2"});
  CHECK(state.born == 7);
}

TEST_CASE(
    "a bounded mailbox that is kept counts exactly: it is full with what was kept, and has its places again after") {
  shared_state state;
  runtime rt(quiet());
  auto s = rt.supervise(generous());
  const auto c = start<bounded_recorder>(s, state, mailbox_policy::kept);
  for (int round = 0; round < 20; ++round) {
    state.crashes_left = 1;
    REQUIRE(c.send(crash_once{round}) == send_result::accepted);
    REQUIRE(eventually([&] { return state.handled.size() == static_cast<std::size_t>(2 * round + 1); }));
    REQUIRE(eventually([&] { return ok(c.send(number{round})); }));
    REQUIRE(state.handled.has(static_cast<std::size_t>(2 * round + 2)));
  }
  const auto refused = rt.metrics().refused_full;
  c.send(hold{});
  REQUIRE(eventually([&] { return rt.metrics().handled > 0; }));
  int accepted = 0;
  for (int i = 0; i < 10; ++i) accepted += ok(c.send(number{i})) ? 1 : 0;
  // Four places; the signal being handled has given its place back, or is about to.
  CHECK(accepted >= 3);
  CHECK(accepted <= 4);
  CHECK(rt.metrics().refused_full - refused == static_cast<std::uint64_t>(10 - accepted));
  state.go.open();
}

TEST_CASE("under many senders and kills no signal is lost or doubled but the one that kills") {
  std::atomic<int> sum{0};
  runtime rt(quiet());
  auto s = rt.supervise(generous());
  const auto c = s.start_with<summing>({.mailbox = mailbox_policy::kept_without_last}, std::ref(sum));
  std::atomic<int> sent{0};
  std::vector<std::thread> senders;
  for (int i = 0; i < 3; ++i) {
    senders.emplace_back([&] {
      for (int n = 0; n < 5'000; ++n) {
        if (n % 50 == 0) c.send(crash_once{});
        if (ok(c.send(number{1}))) sent.fetch_add(1);
      }
    });
  }
  for (auto& th : senders) th.join();
  CHECK(eventually([&] { return sum == sent; }));
  CHECK(rt.metrics().dropped_dead == 0);
}
