// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <stdexcept>

#include "unit/cell/cell_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

struct after {
  int id = 0;
  std::chrono::nanoseconds delay{0};
};
struct every {
  std::chrono::nanoseconds period{0};
};
struct tick {};
struct due {
  int id = 0;
};
struct cancel_last {};

/// Starts timers on itself, and writes when one comes early.
class clockwork : public cell {
public:
  using accepts = signals<after, every, due, tick, cancel_last, caught_up, quit, get>;
  explicit clockwork(diary& d, int from_constructor = 0) : diary_(&d) {
    for (int i = 0; i < from_constructor; ++i) on(after{i, 1ms * (i + 1)});
  }
  void on(after a) {
    using clock = std::chrono::steady_clock;
    asked_.push_back(a.delay > std::chrono::hours(1) ? clock::time_point::max() : clock::now() + a.delay);
    id_.push_back(a.id);
    last_ = send_after(self(this), due{static_cast<int>(asked_.size()) - 1}, a.delay);
  }
  void on(every e) { last_ = send_every(self(this), tick{}, e.period); }
  void on(due d) {
    const auto at = static_cast<std::size_t>(d.id);
    const bool early = std::chrono::steady_clock::now() < asked_[at];
    diary_->write((early ? "early " : "due ") + std::to_string(id_[at]));
  }
  void on(tick) { diary_->write("tick"); }
  bool on(cancel_last) { return cancel(last_); }
  bool on(caught_up) { return true; }
  void on(quit) { exit(); }
  int on(get) { return cancel(timer_id{}) || cancel(timer_id{12345}) ? 1 : 0; }

private:
  diary* diary_;
  std::vector<std::chrono::steady_clock::time_point> asked_;
  std::vector<int> id_;
  timer_id last_;
};

}  // namespace

TEST_CASE("timers fire in the order of their times, none before its own") {
  diary d;
  runtime rt(quiet());
  const auto c = rt.spawn<clockwork>(d);
  for (const int id : {5, 3, 1, 4, 2, 0}) c.send(after{id, 10ms * id});
  REQUIRE(d.has(6));
  CHECK(d.lines() == lines{"due 0", "due 1", "due 2", "due 3", "due 4", "due 5"});
}

TEST_CASE("a delay of nothing or less fires at once") {
  diary d;
  runtime rt(quiet());
  const auto c = rt.spawn<clockwork>(d);
  c.send(after{1, 0ns});
  c.send(after{2, -5s});
  REQUIRE(d.has(2));
}

TEST_CASE("a constructor may start timers, on whatever thread it runs") {
  diary d;
  runtime rt(quiet());
  rt.spawn<clockwork>(d, 3);
  REQUIRE(d.has(3));
  CHECK(d.lines() == lines{"due 0", "due 1", "due 2"});
}

TEST_CASE("a cancelled timer does not fire, and a timer is cancelled once") {
  diary d;
  runtime rt(quiet());
  const auto c = rt.spawn<clockwork>(d);
  c.send(after{1, 20ms});
  CHECK(rt.ask(c, cancel_last{}, long_time).value());
  CHECK_FALSE(rt.ask(c, cancel_last{}, long_time).value());
  c.send(after{2, 40ms});
  REQUIRE(d.has(1));
  CHECK(d.lines() == lines{"due 2"});
  CHECK_FALSE(rt.ask(c, cancel_last{}, long_time).value());
  CHECK(rt.ask(c, get{}, long_time).value() == 0);
}

TEST_CASE("a periodic timer fires again and again until it is cancelled") {
  diary d;
  runtime rt(quiet());
  const auto c = rt.spawn<clockwork>(d);
  c.send(every{1ms});
  REQUIRE(d.has(20));
  CHECK(rt.ask(c, cancel_last{}, long_time).value());
  // What had fired before may still have been on its way; nothing follows what is sent after.
  REQUIRE(rt.ask(c, caught_up{}, long_time).has_value());
  const auto n = d.size();
  c.send(after{7, 20ms});
  REQUIRE(eventually([&] { return d.lines().back() == "due 7"; }));
  CHECK(d.size() == n + 1);
}

TEST_CASE("timers die with their cell, also many of them, also those of a cell that ends in its first handler") {
  diary d;
  runtime rt(quiet());
  for (int i = 0; i < 200; ++i) {
    const auto c = rt.spawn<clockwork>(d);
    for (int k = 0; k < 20; ++k) c.send(after{k, 1h});
    c.send(every{1h});
    c.send(quit{});
  }
  for (int i = 0; i < 200; ++i) rt.exit(rt.spawn<clockwork>(d, 20), exit_reason::killed());
  CHECK(eventually([&] { return rt.metrics().cells == 0; }));
}

TEST_CASE("a runtime goes with timers far in the future, and beyond all time") {
  diary d;
  runtime rt(quiet());
  const auto c = rt.spawn<clockwork>(d);
  c.send(after{1, 24h * 365 * 100});
  c.send(after{2, std::chrono::nanoseconds::max()});
  c.send(every{std::chrono::nanoseconds::max()});
  c.send(after{3, 1ms});
  REQUIRE(d.has(1));
  CHECK(rt.ask(c, caught_up{}, long_time).has_value());
  CHECK(d.lines() == lines{"due 3"});
}

namespace {

class sender : public clockwork {
public:
  sender(diary& d, const ref<clockwork>& other) : clockwork(d) { send_after(other, caught_up{}, 5ms); }
};

}  // namespace

TEST_CASE("a timer to a cell that has ended meanwhile is a refused signal and nothing more") {
  diary d;
  runtime rt(quiet());
  const auto other = rt.spawn<clockwork>(d);
  other.send(quit{});
  REQUIRE(eventually([&] { return !other.alive(); }));
  const auto before = rt.metrics().refused_dead;
  const auto c = rt.spawn<sender>(d, other);
  REQUIRE(eventually([&] { return rt.metrics().refused_dead == before + 1; }));
  CHECK(c.alive());
}

namespace {

/// Breaks when it is copied for the third time.
struct brittle {
  brittle() = default;
  brittle(const brittle& other) : copies(other.copies) {
    if (++*copies == 3) throw std::runtime_error("worn out");
  }
  brittle(brittle&&) noexcept = default;
  brittle& operator=(const brittle&) = default;
  brittle& operator=(brittle&&) noexcept = default;
  ~brittle() = default;
  int* copies = nullptr;
};

class copier : public cell {
public:
  using accepts = signals<brittle, ping>;
  explicit copier(diary& d) : diary_(&d) {}
  void on(ping) {
    brittle b;
    b.copies = &copies_;
    send_every(self(this), std::move(b), 1ms);
  }
  void on(const brittle&) { diary_->write("tick"); }

private:
  diary* diary_;
  int copies_ = 0;
};

}  // namespace

TEST_CASE("a periodic signal whose copy fails ends the cell whose timer it is, with what was thrown, and the timer") {
  diary d;
  runtime rt(quiet());
  const auto c = rt.spawn<copier>(d);
  {
    const witness w(rt, c);
    c.send(ping{});
    CHECK(w.end() == "down: error: std::runtime_error: worn out");
  }
  CHECK(d.lines() == lines{"tick", "tick"});
  CHECK(eventually([&] { return rt.metrics().cells == 0; }));
}

namespace {

struct heavy_load {
  std::string text;
  alignas(16) std::array<std::int64_t, 20> numbers{};
};
struct put_off {};

/// Writes how late it is told that its signals are.
class late_one : public cell {
public:
  using accepts = signals<ping, number, heavy_load, put_off, quit>;
  explicit late_one(diary& d) : diary_(&d) {}
  void on(ping) {
    began_ = std::chrono::steady_clock::now();
    write("ping");
    send_after(self(this), number{1}, 2ms);
  }
  void on(number n) {
    const auto told = lateness();
    const auto by_clock = std::chrono::steady_clock::now() - began_ - 2ms;
    write("number " + std::to_string(n.value) + (told <= by_clock ? "" : ", later than it can be"));
    heavy_load load{"long enough to be somewhere else in memory", {}};
    load.numbers.fill(7);
    send_after(self(this), std::move(load), 1ms);
    send_after(self(this), put_off{}, 3ms);
  }
  void on(heavy_load l) { write(l.numbers[19] == 7 ? l.text : "something else"); }
  void on(put_off) {
    write(put_off_ ? "put off" : "first");
    if (!put_off_) {
      stash(this, put_off{});
      unstash();
    } else {
      throw std::runtime_error("the handler of a timer's signal");
    }
    put_off_ = true;
  }
  void on(quit) {}

private:
  void write(const std::string& what) { diary_->write(what + (lateness() > 0ns ? ": late" : ": never due")); }
  diary* diary_;
  std::chrono::steady_clock::time_point began_;
  bool put_off_ = false;
};

}  // namespace

TEST_CASE("what a timer has sent is known for it in its handler, and how late it is; nothing else is") {
  diary d;
  runtime rt(quiet());
  const auto c = rt.spawn<late_one>(d);
  c.send(ping{});
  REQUIRE(d.has(5));
  CHECK(d.lines() == lines{"ping: never due", "number 1: late", "long enough to be somewhere else in memory: late",
                           "first: late", "put off: never due"});
  const auto m = rt.metrics();
  CHECK(m.timers_fired == 3);
  std::uint64_t classes = 0;
  for (const std::uint64_t n : m.timer_lateness) classes += n;
  CHECK(classes == 3);
  CHECK(m.timer_lateness_max > 0ns);
}

namespace {

/// A million timers of its own.
struct start_many {
  int count = 0;
};
struct cancel_many {};
class hoarder : public cell {
public:
  using accepts = signals<start_many, cancel_many, due>;
  void on(start_many s) {
    for (int i = 0; i < s.count; ++i) {
      timers_.push_back(send_after(self(this), due{i}, 1h + std::chrono::microseconds((i * 7919LL) % 3'600'000'000)));
    }
  }
  int on(cancel_many) {
    int cancelled = 0;
    // Every other one, from the last to the first; the others are left to the cell's end.
    for (std::size_t i = timers_.size(); i >= 2; i -= 2) cancelled += cancel(timers_[i - 1]) ? 1 : 0;
    for (std::size_t i = timers_.size(); i >= 2; i -= 2) cancelled -= cancel(timers_[i - 1]) ? 1 : 0;
    return cancelled;
  }
  void on(due) {}

private:
  std::vector<timer_id> timers_;
};

}  // namespace

TEST_CASE("a cell has a million timers, cancels half of them, and takes the others with it") {
  runtime rt(quiet());
  const auto c = rt.spawn<hoarder>();
  c.send(start_many{1'000'000});
  CHECK(rt.ask(c, cancel_many{}, long_time).value() == 500'000);
  rt.exit(c, exit_reason::killed());
  CHECK(eventually([&] { return rt.metrics().cells == 0; }));
  CHECK(rt.metrics().timers_fired == 0);
}

namespace {

struct cancel_when_due {};

/// Has many timers, which fall due while the handler runs that cancels them.
class procrastinator : public cell {
public:
  using accepts = signals<start_many, cancel_when_due, due, get>;
  void on(start_many s) {
    until_ = std::chrono::steady_clock::now() + 5ms;
    for (int i = 0; i < s.count; ++i) timers_.push_back(send_after(self(this), due{i}, 5ms));
  }
  int on(cancel_when_due) {
    while (std::chrono::steady_clock::now() < until_ + 2ms) {
    }
    // By then others may have got the worker, and fired them.
    for (const timer_id t : timers_) cancelled_ += cancel(t) ? 1 : 0;
    heard_before_ = heard_;
    return cancelled_;
  }
  void on(due) { ++heard_; }
  int on(get) { return heard_ == heard_before_ ? heard_ + cancelled_ : -1; }

private:
  std::vector<timer_id> timers_;
  std::chrono::steady_clock::time_point until_;
  int cancelled_ = 0;
  int heard_ = 0;
  int heard_before_ = 0;
};

}  // namespace

TEST_CASE(
    "of many timers each is either heard or cancelled, also of those that fire while the cancelling handler runs") {
  constexpr int count = 5'000;
  runtime rt(quiet());
  const auto c = rt.spawn<procrastinator>();
  c.send(start_many{count});
  CHECK(rt.ask(c, cancel_when_due{}, long_time).value() <= count);
  CHECK(rt.ask(c, get{}, long_time).value() == count);
  // Behind whatever has fired meanwhile.
  CHECK(rt.ask(c, get{}, long_time).value() == count);
  CHECK(rt.metrics().timers_fired <= count);
}
