// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <stdexcept>

#include "unit/cell/cell_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

struct half {
  int of = 0;
};
struct later {
  int id = 0;
};
struct answer_now {};
struct forget {};
struct blow_up {};
struct put_aside {};
struct bring_back {};
struct wait_at_door {};

class oracle : public cell {
public:
  using accepts = signals<half, ping, later, answer_now, forget, blow_up, quit, wait_at_door>;
  oracle() = default;
  explicit oracle(door& d) : door_(&d) {}
  result<int> on(half h) {
    if (h.of % 2 != 0) return fail(errc::invalid_argument, "odd");
    return h.of / 2;
  }
  void on(ping) { ++pings_; }
  deferred<int> on(later) {
    waiting_.push_back(defer<int>());
    return {};
  }
  int on(answer_now) {
    int n = 0;
    for (auto& p : waiting_) p.answer(100 + n++);
    waiting_.clear();
    return n;
  }
  void on(forget) { waiting_.clear(); }
  int on(blow_up) { throw std::runtime_error("the pythia has fainted"); }
  int on(quit) {
    exit();
    return 1;
  }
  bool on(wait_at_door) {
    door_->pass();
    return true;
  }

private:
  std::vector<promise<int>> waiting_;
  int pings_ = 0;
  door* door_ = nullptr;
};

}  // namespace

TEST_CASE("a thread asks and gets the answer, or the error that the handler returns") {
  runtime rt(quiet());
  const auto c = rt.spawn<oracle>();
  CHECK(rt.ask(c, half{84}, long_time).value() == 42);
  const auto odd = rt.ask(c, half{7}, long_time);
  REQUIRE_FALSE(odd.has_value());
  CHECK(odd.error() == error(errc::invalid_argument, "odd"));
}

TEST_CASE("asking a handler that returns nothing waits until it has run") {
  runtime rt(quiet());
  const auto c = rt.spawn<oracle>();
  CHECK(rt.ask(c, ping{}, long_time).has_value());
}

TEST_CASE("an ask that is not answered in time fails with timeout") {
  runtime rt(quiet());
  const auto c = rt.spawn<oracle>();
  const auto r = rt.ask(c, later{}, 1ms);
  REQUIRE_FALSE(r.has_value());
  CHECK(r.error().code() == errc::timeout);
  const auto none = rt.ask(c, later{}, 0ms);
  REQUIRE_FALSE(none.has_value());
  CHECK(none.error().code() == errc::timeout);
  const auto negative = rt.ask(c, later{}, -5ms);
  REQUIRE_FALSE(negative.has_value());
  CHECK(negative.error().code() == errc::timeout);
}

TEST_CASE("the answer to a thread that has given up is counted as late") {
  runtime rt(quiet());
  const auto c = rt.spawn<oracle>();
  REQUIRE_FALSE(rt.ask(c, later{}, 1ms).has_value());
  REQUIRE(rt.ask(c, answer_now{}, long_time).value() == 1);
  CHECK(eventually([&] { return rt.metrics().late_answers == 1; }));
}

TEST_CASE("asking a cell that has ended fails at once") {
  runtime rt(quiet());
  const auto c = rt.spawn<oracle>();
  CHECK(rt.ask(c, quit{}, long_time).value() == 1);
  REQUIRE(eventually([&] { return !c.alive(); }));
  const auto r = rt.ask(c, half{2}, 24h);
  REQUIRE_FALSE(r.has_value());
  CHECK(r.error().code() == errc::dead);
  const auto i = rt.inspect(c, 24h);
  REQUIRE_FALSE(i.has_value());
  CHECK(i.error().code() == errc::dead);
  const auto empty = rt.ask(ref<oracle>(), half{2}, 24h);
  REQUIRE_FALSE(empty.has_value());
  CHECK(empty.error().code() == errc::dead);
}

TEST_CASE("asking a cell that throws while it handles the question fails at once, with the type and the text") {
  runtime rt(quiet());
  const auto c = rt.spawn<oracle>();
  const auto r = rt.ask(c, blow_up{}, 24h);
  REQUIRE_FALSE(r.has_value());
  CHECK(r.error().code() == errc::cell_failed);
  CHECK(r.error().message().find("the pythia has fainted") != std::string::npos);
  CHECK(r.error().message().find("runtime_error") != std::string::npos);
}

TEST_CASE("questions that wait in the mailbox of a cell that ends fail at once") {
  door closed;
  runtime rt(quiet());
  const auto c = rt.spawn_at<oracle>(placement::on_worker(0), closed);
  auto first = rt.ask_async(c, wait_at_door{});
  auto failing = rt.ask_async(c, blow_up{});
  auto behind = rt.ask_async(c, half{2});
  auto deferred_one = rt.ask_async(c, later{});
  closed.open();
  CHECK(first.get(long_time).value());
  for (auto* f : {&failing, &deferred_one}) {
    const auto r = f->get(24h);
    REQUIRE_FALSE(r.has_value());
    CHECK(r.error().code() == errc::cell_failed);
  }
  const auto r = behind.get(24h);
  REQUIRE_FALSE(r.has_value());
  CHECK(r.error().code() == errc::cell_failed);
  CHECK(r.error().message().find("fainted") != std::string::npos);
}

TEST_CASE("a deferred question is answered later, and by the end of its cell at the latest") {
  runtime rt(quiet());
  const auto c = rt.spawn<oracle>();
  auto a = rt.ask_async(c, later{1});
  auto b = rt.ask_async(c, later{2});
  CHECK_FALSE(a.ready());
  CHECK(rt.ask(c, answer_now{}, long_time).value() == 2);
  CHECK(a.get(long_time).value() == 100);
  CHECK(b.get(long_time).value() == 101);
  auto dropped = rt.ask_async(c, later{3});
  CHECK(rt.ask(c, forget{}, long_time).has_value());
  const auto r = dropped.get(24h);
  REQUIRE_FALSE(r.has_value());
  CHECK(r.error().code() == errc::cell_failed);
  auto at_death = rt.ask_async(c, later{4});
  rt.exit(c, exit_reason::killed());
  const auto end = at_death.get(24h);
  REQUIRE_FALSE(end.has_value());
  CHECK(end.error().code() == errc::cell_failed);
}

TEST_CASE("a future has its answer once, may be dropped unread, and an empty one says so") {
  runtime rt(quiet());
  const auto c = rt.spawn<oracle>();
  auto f = rt.ask_async(c, half{4});
  CHECK(eventually([&] { return f.ready(); }));
  CHECK(f.get(0ms).value() == 2);
  CHECK_FALSE(f.ready());
  CHECK(f.get(long_time).error().code() == errc::invalid_argument);
  { const auto ignored = rt.ask_async(c, half{4}); }
  future<int> empty;
  CHECK(empty.get(long_time).error().code() == errc::invalid_argument);
  auto slow = rt.ask_async(c, later{});
  CHECK(slow.get(1ms).error().code() == errc::timeout);
  REQUIRE(rt.ask(c, answer_now{}, long_time).has_value());
  CHECK(slow.get(long_time).value() == 100);  // a later look may still find it
}

namespace {

/// Asks an oracle on command and writes what it is told.
struct ask_half {
  int of = 0;
};
struct ask_later {
  std::int64_t timeout_ns = 0;
};
struct ask_blow_up {};
struct ask_ping {};
struct block {};

class client : public cell {
public:
  using accepts = signals<ask_half, ask_later, ask_blow_up, ask_ping, block, caught_up>;
  client(ref<oracle> whom, diary& d) : whom_(whom), diary_(&d) {}
  void on(ask_half q) {
    ask(whom_, half{q.of}, long_time, [this](const result<int>& r) { write("half", r); });
  }
  void on(ask_later q) {
    ask(whom_, later{}, std::chrono::nanoseconds(q.timeout_ns), [this](result<int> r) { write("later", r); });
  }
  void on(ask_blow_up) {
    ask(whom_, blow_up{}, long_time,
        [this, keep = std::make_unique<int>(1)](const result<int>& r) { write("blow_up", r); });
  }
  void on(ask_ping) {
    ask(whom_, ping{}, long_time, [this](const result<void>& r) { diary_->write(r ? "pinged" : "not pinged"); });
  }
  void on(block) {
    const auto r = host().ask(whom_, half{2}, long_time);
    diary_->write(r ? "answered" : to_string(r.error().code()));
    const auto i = host().inspect(whom_, long_time);
    diary_->write(i ? "inspected" : to_string(i.error().code()));
  }
  bool on(caught_up) { return true; }

private:
  void write(const std::string& what, const result<int>& r) {
    diary_->write(what + " " + (r ? std::to_string(*r) : std::string(to_string(r.error().code()))));
  }
  ref<oracle> whom_;
  diary* diary_;
};

}  // namespace

TEST_CASE("a cell asks another and its continuation gets the answer or the failure") {
  diary d;
  runtime rt(quiet());
  const auto o = rt.spawn<oracle>();
  const auto c = rt.spawn<client>(o, d);
  c.send(ask_half{10});
  REQUIRE(d.has(1));
  c.send(ask_half{11});
  REQUIRE(d.has(2));
  c.send(ask_ping{});
  REQUIRE(d.has(3));
  c.send(ask_blow_up{});
  REQUIRE(d.has(4));
  REQUIRE(eventually([&] { return !o.alive(); }));
  c.send(ask_half{12});
  REQUIRE(d.has(5));
  CHECK(d.lines() == lines{"half 5", "half invalid_argument", "pinged", "blow_up cell_failed", "half dead"});
}

TEST_CASE("a cell's ask times out, and the answer that comes after is counted and not delivered") {
  diary d;
  runtime rt(quiet());
  const auto o = rt.spawn<oracle>();
  const auto c = rt.spawn<client>(o, d);
  c.send(ask_later{std::chrono::nanoseconds(1ms).count()});
  REQUIRE(d.has(1));
  CHECK(d.lines() == lines{"later timeout"});
  CHECK(rt.metrics().late_answers == 0);
  REQUIRE(rt.ask(o, answer_now{}, long_time).value() == 1);
  CHECK(eventually([&] { return rt.metrics().late_answers == 1; }));
  CHECK(rt.ask(c, caught_up{}, long_time).has_value());
  CHECK(d.size() == 1);
}

TEST_CASE("a cell's ask without an end waits for its answer") {
  diary d;
  runtime rt(quiet());
  const auto o = rt.spawn<oracle>();
  const auto c = rt.spawn<client>(o, d);
  c.send(ask_later{std::chrono::nanoseconds::max().count()});
  REQUIRE(rt.ask(c, caught_up{}, long_time).has_value());
  REQUIRE(eventually([&] { return rt.ask(o, answer_now{}, long_time).value() == 1; }));
  REQUIRE(d.has(1));
  CHECK(d.lines() == lines{"later 100"});
}

TEST_CASE("an answer to a cell that has ended reaches nobody, and its continuation goes with it") {
  diary d;
  runtime rt(quiet());
  const auto o = rt.spawn<oracle>();
  const auto c = rt.spawn<client>(o, d);
  c.send(ask_later{std::chrono::nanoseconds(24h).count()});
  REQUIRE(rt.ask(c, caught_up{}, long_time).has_value());
  rt.exit(c, exit_reason::killed());
  REQUIRE(eventually([&] { return !c.alive(); }));
  REQUIRE(eventually([&] { return rt.ask(o, answer_now{}, long_time).value() == 1; }));
  CHECK(d.size() == 0);
}

TEST_CASE("a cell that would block its worker is refused") {
  diary d;
  runtime rt(quiet());
  const auto c = rt.spawn<client>(rt.spawn<oracle>(), d);
  c.send(block{});
  REQUIRE(d.has(2));
  CHECK(d.lines() == lines{"would_block", "would_block"});
}

namespace {

class procrastinator : public cell {
public:
  using accepts = signals<half, bring_back>;
  int on(half h) {
    if (!ready_) {
      stash(this, h);
      return -1;  // reaches nobody: the question went aside with its right to an answer
    }
    return h.of / 2;
  }
  void on(bring_back) {
    ready_ = true;
    unstash();
  }

private:
  bool ready_ = false;
};

struct pass_on {
  promise<int> to;
};
class second : public cell {
public:
  using accepts = signals<pass_on>;
  void on(pass_on p) { p.to.answer(7); }
};
class first : public cell {
public:
  using accepts = signals<get>;
  explicit first(ref<second> s) : second_(s) {}
  deferred<int> on(get) {
    second_.send(pass_on{defer<int>()});
    return {};
  }

private:
  ref<second> second_;
};

class giver : public cell {
public:
  using accepts = signals<get>;
  explicit giver(promise<int>& p) : out_(&p) {}
  deferred<int> on(get) {
    *out_ = defer<int>();
    return {};
  }

private:
  promise<int>* out_;
};

class forgetful : public cell {
public:
  using accepts = signals<get>;
  deferred<int> on(get) { return {}; }
};

}  // namespace

TEST_CASE("a question that was put aside is answered when it is brought back, or when its cell ends") {
  runtime rt(quiet());
  const auto c = rt.spawn<procrastinator>();
  auto a = rt.ask_async(c, half{10});
  auto b = rt.ask_async(c, half{12});
  CHECK(rt.ask(c, bring_back{}, long_time).has_value());
  CHECK(a.get(long_time).value() == 5);
  CHECK(b.get(long_time).value() == 6);
  const auto d = rt.spawn<procrastinator>();
  auto lost = rt.ask_async(d, half{10});
  REQUIRE(eventually([&] { return rt.inspect(d, long_time).value().stashed == 1; }));
  rt.exit(d, exit_reason::shutdown());
  const auto r = lost.get(24h);
  REQUIRE_FALSE(r.has_value());
  CHECK(r.error().code() == errc::cell_failed);
}

TEST_CASE("another cell may answer in the place of the one asked") {
  runtime rt(quiet());
  const auto c = rt.spawn<first>(rt.spawn<second>());
  CHECK(rt.ask(c, get{}, long_time).value() == 7);
}

TEST_CASE("a handler that defers and forgets tells the asker at once") {
  runtime rt(quiet());
  const auto r = rt.ask(rt.spawn<forgetful>(), get{}, 24h);
  REQUIRE_FALSE(r.has_value());
  CHECK(r.error().code() == errc::cell_failed);
}

TEST_CASE("a promise to a thread outlives the runtime it came from") {
  promise<int> kept;
  future<int> f;
  {
    runtime rt(quiet());
    f = rt.ask_async(rt.spawn<giver>(kept), get{});
  }
  CHECK_FALSE(f.ready());
  REQUIRE(kept.pending());
  kept.answer(3);
  CHECK_FALSE(kept.pending());
  CHECK(f.get(0ms).value() == 3);
}
