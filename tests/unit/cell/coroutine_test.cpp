// SPDX-License-Identifier: Apache-2.0
#include <karyon/cell/broadcast.hpp>
#include <karyon/cell/task.hpp>

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
struct later {};
struct answer_now {
  int value = 0;
};
struct owned {
  std::unique_ptr<int> value;
};
struct marked {
  counted mark;
};

/// Halves what is even, and what it is asked for later when it is told to.
class oracle : public cell {
public:
  using accepts = signals<half, later, answer_now, word, owned, marked, quit>;
  result<int> on(half h) {
    if (h.of % 2 != 0) return fail(errc::invalid_argument, "odd");
    return h.of / 2;
  }
  deferred<int> on(later) {
    waiting_.push_back(defer<int>());
    return {};
  }
  int on(answer_now n) {
    const auto asked = static_cast<int>(waiting_.size());
    for (auto& p : waiting_) p.answer(n.value);
    waiting_.clear();
    return asked;
  }
  std::string on(word w) { return w.text + w.text; }
  owned on(owned o) { return o; }
  void on(const marked&) {}
  void on(quit) { exit(); }

private:
  std::vector<promise<int>> waiting_;
};

/// Answers those who asked `later` once so many have.
void answer_all(runtime& rt, ref<oracle> o, int value, int asked = 1) {
  int answered = 0;
  CHECK(eventually([&] {
    answered += rt.ask(o, answer_now{value}, long_time).value();
    return answered >= asked;
  }));
}

struct quarter {
  int of = 0;
};
struct wait_long {};
struct tell_half {
  int of = 0;
};
struct pair_of {
  int a = 0;
  int b = 0;
};
struct twice {
  std::string text;
};
struct fail_first {};
struct fail_later {};
struct nap {};
struct time_out {};
struct hand_over {};
struct ask_marked {};

class thinker : public cell {
public:
  using accepts = signals<quarter, wait_long, tell_half, pair_of, twice, fail_first, fail_later, nap, time_out,
                          hand_over, ask_marked, owned, number, get>;
  thinker(ref<oracle> o, diary& d) : oracle_(o), diary_(&d) {}

  task<result<int>> on(quarter q) {
    const auto first = co_await ask(oracle_, half{q.of}, long_time);
    if (!first) co_return fail(first.error().code(), "not even once");
    auto second = co_await ask(oracle_, half{*first}, long_time);
    co_return second;
  }
  task<int> on(wait_long) {
    const auto answer = co_await ask(oracle_, later{}, long_time);
    co_return *answer + number_;
  }
  task<> on(tell_half t) {
    const auto answer = co_await ask(oracle_, half{t.of}, long_time);
    diary_->write(answer ? "half " + std::to_string(*answer) : to_string(answer.error().code()));
  }
  task<int> on(pair_of p) {
    co_return (co_await ask(oracle_, half{p.a}, long_time)).value() +
        (co_await ask(oracle_, half{p.b}, long_time)).value();
  }
  task<std::string> on(twice t) {
    // Longer than any small buffer. In one expression only where the compiler can do that, see karyon/cell/task.hpp.
    auto asked = ask(oracle_, word{t.text + ", and so on, "}, long_time);
    const auto answer = co_await asked;
    const word again{*answer + t.text};
    co_return (co_await ask(oracle_, again, long_time)).value();
  }
  task<int> on(fail_first) {
    throw std::runtime_error("at once");
    co_return 1;
  }
  task<int> on(fail_later) {
    static_cast<void>(co_await ask(oracle_, half{2}, long_time));
    throw std::runtime_error("after a while");
  }
  task<bool> on(nap) {
    co_await sleep_for(1ms);
    co_await sleep_for(-1s);
    co_return true;
  }
  task<errc> on(time_out) {
    const auto answer = co_await ask(oracle_, later{}, 1ms);
    co_return answer.error().code();
  }
  task<int> on(hand_over) {
    co_await sleep_for(0s);
    auto taken = defer<int>();
    taken.answer(7);
    co_return 8;  // nobody's answer any more
  }
  task<owned> on(owned o) {
    auto asked = ask(oracle_, std::move(o), long_time);
    auto answer = co_await asked;
    co_return std::move(*answer);
  }
  task<int> on(ask_marked) {
    for (int i = 0; i < 3; ++i) {
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 14
      auto asked = ask(oracle_, marked{counted(living_)}, long_time);
      static_cast<void>(co_await asked);
#else
      static_cast<void>(co_await ask(oracle_, marked{counted(living_)}, long_time));
#endif
    }
    // The last question may be on its way out still.
    while (living_.load() > 0) co_await sleep_for(1ms);
    co_return living_.load();
  }
  void on(number n) { number_ = n.value; }
  std::size_t on(get) { return stats().suspended; }

private:
  ref<oracle> oracle_;
  diary* diary_;
  int number_ = 0;
  std::atomic<int> living_{0};
};

struct thinkers {
  diary d;
  runtime rt{quiet()};
  ref<oracle> o = rt.spawn<oracle>();
  ref<thinker> c = rt.spawn<thinker>(o, d);
};

}  // namespace

TEST_CASE("a handler that is a coroutine asks others and answers when it returns") {
  thinkers t;
  CHECK(t.rt.ask(t.c, quarter{40}, long_time).value() == 10);
  CHECK(t.rt.ask(t.c, quarter{7}, long_time).error() == error(errc::invalid_argument, "not even once"));
  CHECK(t.rt.ask(t.c, quarter{10}, long_time).error() == error(errc::invalid_argument, "odd"));
  CHECK(t.rt.ask(t.c, pair_of{6, 8}, long_time).value() == 7);
  CHECK(t.rt.ask(t.c, twice{"one, two, three"}, long_time).value() ==
        "one, two, three, and so on, one, two, three, and so on, one, two, threeone, two, three, and so on, one, two, "
        "three, "
        "and so on, one, two, three");
  CHECK(*t.rt.ask(t.c, owned{std::make_unique<int>(5)}, long_time).value().value == 5);
  CHECK(t.rt.ask(t.c, get{}, long_time).value() == 0);
}

TEST_CASE("a question that is made within the expression that awaits its answer is destroyed once") {
  thinkers t;
  CHECK(t.rt.ask(t.c, ask_marked{}, long_time).value() == 0);
}

TEST_CASE("a coroutine that is told and not asked answers nobody, and is asked for when it is through") {
  thinkers t;
  t.c.send(tell_half{12});
  REQUIRE(t.d.has(1));
  CHECK(t.rt.ask(t.c, tell_half{20}, long_time).has_value());
  CHECK(t.d.lines() == lines{"half 6", "half 10"});
}

TEST_CASE("while a coroutine waits its cell handles other signals, which may change its state") {
  thinkers t;
  auto first = t.rt.ask_async(t.c, wait_long{});
  auto second = t.rt.ask_async(t.c, wait_long{});
  REQUIRE(t.rt.ask(t.c, get{}, long_time).value() == 2);
  CHECK(t.rt.inspect(t.c, long_time).value().suspended == 2);
  t.c.send(number{100});
  REQUIRE(t.rt.ask(t.c, get{}, long_time).value() == 2);
  CHECK_FALSE(first.ready());
  answer_all(t.rt, t.o, 5, 2);
  CHECK(first.get(long_time).value() == 105);
  CHECK(second.get(long_time).value() == 105);
  CHECK(t.rt.ask(t.c, get{}, long_time).value() == 0);
}

TEST_CASE("a coroutine goes on with the failure of what it asked: the timeout, the refusal, the end") {
  thinkers t;
  CHECK(t.rt.ask(t.c, time_out{}, long_time).value() == errc::timeout);
  auto unanswered = t.rt.ask_async(t.c, wait_long{});
  REQUIRE(eventually([&] { return t.rt.ask(t.c, get{}, long_time).value() == 1; }));
  answer_all(t.rt, t.o, 1, 2);  // of the ask that has timed out, too
  CHECK(unanswered.get(long_time).value() == 1);
  CHECK(eventually([&] { return t.rt.metrics().late_answers == 1; }));
  t.o.send(quit{});
  REQUIRE(eventually([&] { return !t.o.alive(); }));
  t.c.send(tell_half{2});
  REQUIRE(t.d.has(1));
  CHECK(t.d.lines() == lines{"dead"});
}

TEST_CASE("a coroutine sleeps, for no time too") {
  thinkers t;
  CHECK(t.rt.ask(t.c, nap{}, long_time).value());
}

TEST_CASE("an exception that leaves a coroutine ends its cell, before its first wait and after it") {
  thinkers t;
  const auto at_once = t.rt.ask(t.c, fail_first{}, 24h);
  REQUIRE_FALSE(at_once.has_value());
  CHECK(at_once.error().code() == errc::cell_failed);
  CHECK(at_once.error().message().find("runtime_error: at once") != std::string::npos);
  REQUIRE(eventually([&] { return !t.c.alive(); }));

  const auto other = t.rt.spawn<thinker>(t.o, t.d);
  const witness end(t.rt, other);
  const auto later_on = t.rt.ask(other, fail_later{}, 24h);
  REQUIRE_FALSE(later_on.has_value());
  CHECK(later_on.error().code() == errc::cell_failed);
  CHECK(later_on.error().message().find("after a while") != std::string::npos);
  CHECK(end.end() == "down: error: std::runtime_error: after a while");
}

TEST_CASE("a coroutine may hand its question over after it has waited") {
  thinkers t;
  CHECK(t.rt.ask(t.c, hand_over{}, long_time).value() == 7);
}

namespace {

struct add_up {
  int depth = 0;
};
struct repeat {
  int times = 0;
};
struct forget_it {};
struct move_about {};
struct throw_deep {};

/// Its handlers are made of parts that are tasks, too.
class nested : public cell {
public:
  using accepts = signals<add_up, repeat, forget_it, move_about, throw_deep, get>;
  explicit nested(ref<oracle> o) : oracle_(o) {}

  task<int> on(add_up a) { co_return co_await sum(a.depth); }
  task<int> on(repeat r) {
    int n = 0;
    for (int i = 0; i < r.times; ++i) n += co_await one();
    co_return n;
  }
  task<> on(forget_it) {
    const auto never = sum(3);
    static_cast<void>(never);
    co_return;
  }
  task<std::string> on(move_about) {
    auto first = text_of("the one that is awaited later, and longer than a small buffer");
    auto second = std::move(first);
    const auto owner = co_await boxed(5);
    co_return co_await std::move(second) + std::to_string(*owner);
  }
  task<int> on(throw_deep) {
    try {
      co_await throwing();
    } catch (const std::runtime_error& e) {
      co_return std::string(e.what()) == "deep" ? 1 : 2;
    }
    co_return 3;
  }
  std::size_t on(get) { return stats().memory_bytes; }

private:
  task<int> sum(int depth) {
    if (depth == 0) co_return (co_await ask(oracle_, half{2}, long_time)).value();
    co_return 1 + co_await sum(depth - 1);
  }
  task<int> one() { co_return 1; }
  task<std::string> text_of(std::string text) {
    co_await sleep_for(0s);
    co_return text;
  }
  task<std::unique_ptr<int>> boxed(int n) {
    const std::string& kept = co_await text_of("a temporary that lives as long as this expression");
    co_return std::make_unique<int>(kept.empty() ? 0 : n);
  }
  task<> throwing() {
    co_await one();
    co_await sleep_for(0s);
    throw std::runtime_error("deep");
  }
  ref<oracle> oracle_;
};

}  // namespace

TEST_CASE("a coroutine is made of others, which pass on what they return and throw") {
  runtime rt(quiet());
  const auto c = rt.spawn<nested>(rt.spawn<oracle>());
  CHECK(rt.ask(c, add_up{5}, long_time).value() == 6);
  CHECK(rt.ask(c, move_about{}, long_time).value() == "the one that is awaited later, and longer than a small buffer5");
  CHECK(rt.ask(c, throw_deep{}, long_time).value() == 1);
  CHECK(rt.ask(c, forget_it{}, long_time).has_value());
  CHECK(rt.ask(c, get{}, long_time).value() == 0);
}

TEST_CASE("tasks that await tasks need no stack: a hundred thousand deep, a hundred thousand times") {
  runtime rt(quiet());
  const auto c = rt.spawn<nested>(rt.spawn<oracle>());
  CHECK(rt.ask(c, add_up{100'000}, long_time).value() == 100'001);
  CHECK(rt.ask(c, repeat{100'000}, long_time).value() == 100'000);
  CHECK(rt.ask(c, get{}, long_time).value() == 0);
}

namespace {

struct order {
  int number = 0;
};
struct collect {
  int count = 0;
};
struct collect_soon {};

/// Collects orders in coroutines; writes those that no coroutine waits for.
class shop : public cell {
public:
  using accepts = signals<order, collect, collect_soon, get>;
  explicit shop(diary& d) : diary_(&d) {}
  int on(order o) {
    diary_->write("order " + std::to_string(o.number));
    return o.number;
  }
  task<int> on(collect c) {
    int sum = 0;
    for (int i = 0; i < c.count; ++i) sum = 10 * sum + (co_await receive<order>(this)).number;
    co_return sum;
  }
  task<result<int>> on(collect_soon) {
    const auto in_time = co_await receive<order>(this, 1ms);
    if (!in_time) co_return tl::unexpected<error>(in_time.error());
    co_return in_time->number;
  }
  std::size_t on(get) { return stats().suspended; }

private:
  diary* diary_;
};

}  // namespace

TEST_CASE("a signal goes to the coroutine that has waited for it longest, and to the handler if none does") {
  diary d;
  runtime rt(quiet());
  const auto c = rt.spawn<shop>(d);
  c.send(order{1});
  auto first = rt.ask_async(c, collect{2});
  auto second = rt.ask_async(c, collect{1});
  REQUIRE(rt.ask(c, get{}, long_time).value() == 2);
  for (int n = 2; n <= 5; ++n) c.send(order{n});
  CHECK(first.get(long_time).value() == 24);  // behind the second again for its second one
  CHECK(second.get(long_time).value() == 3);
  REQUIRE(rt.ask(c, get{}, long_time).value() == 0);
  CHECK(d.lines() == lines{"order 1", "order 5"});
}

TEST_CASE("a question is for its handler, also while a coroutine waits for such a signal; a broadcast is not") {
  diary d;
  runtime rt(quiet());
  const auto c = rt.spawn<shop>(d);
  auto waiting = rt.ask_async(c, collect{1});
  REQUIRE(rt.ask(c, get{}, long_time).value() == 1);
  CHECK(rt.ask(c, order{4}, long_time).value() == 4);
  CHECK_FALSE(waiting.ready());
  CHECK(broadcast(std::vector<ref<shop>>{c}, order{6}).accepted == 1);
  CHECK(waiting.get(long_time).value() == 6);
}

TEST_CASE("a coroutine waits for a signal for a time; what comes later is the handler's") {
  diary d;
  runtime rt(quiet());
  const auto c = rt.spawn<shop>(d);
  const auto none = rt.ask(c, collect_soon{}, long_time);
  REQUIRE_FALSE(none.has_value());
  CHECK(none.error().code() == errc::timeout);
  c.send(order{8});
  REQUIRE(d.has(1));
  CHECK(d.lines() == lines{"order 8"});
  // In time, if the machine lets it; else a timeout. Either way each order is somewhere, once.
  auto soon = rt.ask_async(c, collect_soon{});
  c.send(order{9});
  const auto one = soon.get(long_time);
  CHECK((one ? *one == 9 : d.has(2) && d.lines().back() == "order 9"));
}

namespace {

struct transfer {
  int amount = 0;
};
struct balance {};

/// One transfer at a time: what comes while it waits for its partner is put aside.
class account : public cell {
public:
  using accepts = signals<transfer, balance>;
  account(ref<oracle> o, diary& d) : oracle_(o), diary_(&d) {}
  task<int> on(transfer t) {
    become<transferring>(this);
    const int before = balance_;
    const auto fee = co_await ask(oracle_, half{t.amount}, long_time);
    balance_ = before + t.amount + *fee;
    diary_->write("balance " + std::to_string(balance_));
    unbecome();
    unstash();
    co_return balance_;
  }
  int on(balance) { return balance_; }

  struct transferring {
    static int on(account& a, transfer t) {
      a.stash(&a, t);
      return 0;
    }
    static task<int> on(account& a, balance) {
      co_await a.sleep_for(0s);
      a.diary_->write("asked meanwhile");
      co_return -1;
    }
  };
  using behaviors = karyon::behaviors<transferring>;

private:
  ref<oracle> oracle_;
  diary* diary_;
  int balance_ = 0;
};

}  // namespace

TEST_CASE("a coroutine holds signals back with a behaviour and the stash; a behaviour's handler may be one, too") {
  diary d;
  runtime rt(quiet());
  const auto c = rt.spawn<account>(rt.spawn<oracle>(), d);
  auto a = rt.ask_async(c, transfer{10});
  auto b = rt.ask_async(c, transfer{20});
  CHECK(a.get(long_time).value() == 15);
  CHECK(b.get(long_time).value() == 45);
  CHECK(rt.ask(c, balance{}, long_time).value() == 45);

  const auto o = rt.spawn<oracle>();
  const auto other = rt.spawn_at<account>(placement::on_worker(0), o, d);
  // Until the transfer is through the balance is the behaviour's; which of them comes first is for the workers to say.
  auto t = rt.ask_async(other, transfer{2});
  const int seen = rt.ask(other, balance{}, long_time).value();
  CHECK(t.get(long_time).value() == 3);
  CHECK((seen == -1 || seen == 3));
}

namespace {

class starter : public cell {
public:
  using accepts = signals<watch, get>;
  starter(ref<oracle> o, diary& d) : oracle_(o), diary_(&d) {}
  task<> on_start() {
    diary_->write("starts");
    const auto answer = co_await ask(oracle_, half{4}, long_time);
    diary_->write("started with " + std::to_string(answer.value_or(0)));
  }
  void on(watch w) { monitor(w.whom); }
  task<> on(down d) {
    co_await sleep_for(0s);
    diary_->write("down: " + to_string(d.why));
  }
  bool on(get) { return true; }

private:
  ref<oracle> oracle_;
  diary* diary_;
};

class false_starter : public cell {
public:
  using accepts = signals<get>;
  task<> on_start() {
    throw std::runtime_error("no");
    co_return;
  }
  void on(get) {}
};

}  // namespace

TEST_CASE("on_start and the handler of a down may be coroutines") {
  diary d;
  runtime rt(quiet());
  const auto o = rt.spawn<oracle>();
  const auto c = rt.spawn<starter>(o, d);
  REQUIRE(d.has(2));
  CHECK(rt.ask(c, watch{o}, long_time).has_value());
  o.send(quit{});
  REQUIRE(d.has(3));
  CHECK(d.lines() == lines{"starts", "started with 2", "down: normal"});
  const auto f = rt.spawn<false_starter>();
  const auto r = rt.ask(f, get{}, 24h);
  REQUIRE_FALSE(r.has_value());
  CHECK(eventually([&] { return rt.metrics().failures == 1; }));
}
