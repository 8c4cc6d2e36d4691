// SPDX-License-Identifier: Apache-2.0
#include "unit/cell/dirty_testing.hpp"

// Mailboxes that overflow, senders that slow down and priorities, where handlers are heavy, hold their workers, or where it is
// timers that send.

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

struct price {
  int symbol;
  int value;
};
struct price_later {
  int value;
  std::chrono::milliseconds in;
};
struct tell_later {
  std::chrono::milliseconds in;
};
struct flood {
  int signals;
};

/// Heavy, but for `ping` and what it conflates on a worker.
template <overflow Policy>
class heavy_house : public cell {
public:
  using accepts = signals<hold, number, price, get, ping>;
  using dirty_cpu = signals<hold, number, price, get>;
  using high_priority = signals<ping>;
  static constexpr std::size_t mailbox_limit = 4;
  static constexpr overflow mailbox_overflow = Policy;
  static int conflation_key(const price& p) noexcept { return p.symbol; }

  heavy_house(const door& d, diary& said) : door_(&d), diary_(&said) {}
  void on(hold) {
    diary_->write("in");
    door_->pass();
  }
  void on(number n) { diary_->write((is_cpu(thread_name()) ? "" : "here ") + std::to_string(n.value)); }
  void on(price p) { diary_->write(std::to_string(p.symbol) + ":" + std::to_string(p.value)); }
  void on(ping) { diary_->write(is_worker(thread_name()) ? "ping" : "ping away"); }
  int on(get) { return 1; }

private:
  const door* door_;
  diary* diary_;
};

/// Conflates prices while it is held.
class board : public cell {
public:
  using accepts = signals<hold, price>;
  static constexpr std::size_t mailbox_limit = 100;
  static constexpr overflow mailbox_overflow = overflow::conflate;
  static int conflation_key(const price& p) noexcept { return p.symbol; }
  board(const door& d, diary& said) : door_(&d), diary_(&said) {}
  void on(hold) {
    diary_->write("in");
    door_->pass();
  }
  void on(price p) { diary_->write(std::to_string(p.symbol) + ":" + std::to_string(p.value)); }

private:
  const door* door_;
  diary* diary_;
};

/// Has timers send prices.
class clock_of_prices : public cell {
public:
  using accepts = signals<price_later, tell_later, ping>;
  clock_of_prices(ref<board> to, diary& said) : to_(to), diary_(&said) {}
  void on(price_later p) { send_after(to_, price{1, p.value}, p.in); }
  void on(tell_later t) { send_after(self(this), ping{}, t.in); }
  void on(ping) { diary_->write("all sent"); }

private:
  ref<board> to_;
  diary* diary_;
};

class narrow_sink : public cell {
public:
  using accepts = signals<number, get>;
  static constexpr std::size_t mailbox_limit = 4;
  static constexpr overflow mailbox_overflow = overflow::drop_oldest;
  void on(number) {}
  int on(get) { return 1; }
};

/// Of high priority.
class prompt : public cell {
public:
  using accepts = signals<get, ping>;
  static constexpr priority run_priority = priority::high;
  explicit prompt(std::atomic<int>& pings) : pings_(&pings) {}
  void on(ping) { pings_->fetch_add(1); }
  bool on(get) { return true; }

private:
  std::atomic<int>* pings_;
};

/// What a handler has done whose worker was taken over.
struct account {
  std::atomic<bool> in{false};
  std::atomic<std::uint64_t> sent{0};
  std::atomic<std::uint64_t> full{0};
  std::atomic<int> answers{0};
  std::atomic<int> pings{0};
};

/// Waits in its handler until its worker is somebody else's, and floods a mailbox then.
template <bool Heavy>
class slowed_flooder : public cell {
public:
  using accepts = signals<flood, get>;
  using dirty_cpu = std::conditional_t<Heavy, signals<flood>, signals<>>;
  static constexpr bool slow_when_full = true;
  slowed_flooder(const runtime& rt, ref<narrow_sink> to, ref<prompt> urgent, account& a)
      : rt_(&rt), to_(to), urgent_(urgent), account_(&a) {}
  void on(flood f) {
    account_->in = true;
    while (!Heavy && rt_->metrics().take_overs == 0) {
    }
    for (int i = 0; i < f.signals; ++i) {
      ++account_->sent;
      if (i % 10 == 0) {
        ask(to_, get{}, long_time, [this](const result<int>&) { account_->answers.fetch_add(1); });
        continue;
      }
      if (to_.send(number{i}) == send_result::full) ++account_->full;
    }
    urgent_.send(ping{});
  }
  bool on(get) { return true; }

private:
  const runtime* rt_;
  ref<narrow_sink> to_;
  ref<prompt> urgent_;
  account* account_;
};

template <bool Heavy>
void flood_and_settle(runtime& rt) {
  constexpr int signals = 10'000;
  account a;
  const auto before = rt.metrics();
  const auto to = rt.spawn<narrow_sink>();
  const auto urgent = rt.spawn<prompt>(a.pings);
  const auto f = rt.spawn<slowed_flooder<Heavy>>(rt, to, urgent, a);
  f.send(flood{signals});
  REQUIRE(eventually([&] { return a.in.load(); }));
  CHECK(rt.ask(urgent, get{}, long_time).has_value());  // held up by nobody
  CHECK(rt.ask(f, get{}, long_time).has_value());       // slowed down, but not for ever
  CHECK(eventually([&] { return a.answers == signals / 10; }));
  CHECK(eventually([&] { return a.pings == 1; }));
  CHECK(rt.metrics().slowed - before.slowed >= 1);
  // The flood, the two questions of this test, the ping, and the flooder's own signal.
  CHECK(eventually([&] {
    const auto now = rt.metrics();
    return a.sent + 4 == now.handled - before.handled + now.dropped_oldest - before.dropped_oldest + now.refused_full -
                             before.refused_full;
  }));
}

}  // namespace

TEST_CASE("a mailbox of heavy signals that drops the oldest keeps the one that waits for a thread, and the newest") {
  door busy;
  door unused;
  diary said;
  diary first;
  runtime rt(one_cpu_thread());
  const auto blocker = rt.spawn<clerk>(busy, first);
  blocker.send(hold{});
  REQUIRE(first.has(1));
  const auto c = rt.spawn<heavy_house<overflow::drop_oldest>>(unused, said);
  const auto before = rt.metrics();
  auto asked = rt.ask_async(c, get{});
  REQUIRE(eventually([&] { return rt.metrics().dirty_cpu.queued == 1; }));
  for (int i = 1; i <= 1'000; ++i) REQUIRE(c.send(number{i}) == send_result::accepted);
  busy.open();
  REQUIRE(said.has(4));
  CHECK(said.lines() == lines{"997", "998", "999", "1000"});
  CHECK(asked.get(long_time).value_or(0) == 1);
  CHECK(rt.metrics().dropped_oldest - before.dropped_oldest == 996);
}

TEST_CASE("a heavy signal that waits for its thread has the newest value of its key") {
  door busy;
  door unused;
  diary said;
  diary first;
  runtime rt(one_cpu_thread());
  const auto before = rt.metrics();
  const auto blocker = rt.spawn<clerk>(busy, first);
  blocker.send(hold{});
  REQUIRE(first.has(1));
  const auto c = rt.spawn<heavy_house<overflow::conflate>>(unused, said);
  for (int i = 1; i <= 500; ++i) {
    // It refuses for the moment in which its worker holds what waited, and makes room.
    for (const int key : {1, 2}) {
      REQUIRE(eventually([&] { return c.send(price{key, i}) == send_result::accepted; }));
    }
  }
  busy.open();
  REQUIRE(said.has(2));
  CHECK(said.lines() == lines{"1:500", "2:500"});
  CHECK(rt.metrics().conflated - before.conflated == 998);
}

TEST_CASE("after a heavy signal a cell's signals of high priority come before its others, on its worker") {
  door open;
  diary said;
  runtime rt(one_cpu_thread());
  const auto c = rt.spawn<heavy_house<overflow::refuse>>(open, said);
  c.send(hold{});
  REQUIRE(said.has(1));
  c.send(number{1});
  c.send(number{2});
  c.send(ping{});
  open.open();
  REQUIRE(said.has(4));
  CHECK(said.lines() == lines{"in", "ping", "1", "2"});
}

TEST_CASE("what timers send is conflated as other signals are") {
  door open;
  diary said;
  diary told;
  runtime rt(quiet());
  const auto before = rt.metrics();
  const auto b = rt.spawn_at<board>(placement::on_worker(0), open, said);
  const auto c = rt.spawn_at<clock_of_prices>(placement::on_worker(1), b, told);
  b.send(hold{});
  REQUIRE(said.has(1));
  for (int i = 1; i <= 5; ++i) c.send(price_later{i, std::chrono::milliseconds(i)});
  c.send(tell_later{10ms});
  REQUIRE(told.has(1));
  b.send(price{2, 7});
  open.open();
  REQUIRE(said.has(3));
  CHECK(said.lines() == lines{"in", "1:5", "2:7"});
  CHECK(rt.metrics().conflated - before.conflated == 4);
}

TEST_CASE("a handler that has lost its worker drops, slows down and wakes by priority, and all is counted") {
  runtime rt(quiet(1));
  flood_and_settle<false>(rt);
  CHECK(rt.metrics().take_overs >= 1);
}

TEST_CASE("a heavy handler drops, slows its cell down and wakes by priority, and all is counted") {
  runtime rt(one_cpu_thread());
  flood_and_settle<true>(rt);
}
