// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include <karyon/cell/broadcast.hpp>

#include "unit/cell/cell_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

struct hold {};

/// A payload whose living ones are counted.
class weight {
public:
  explicit weight(int n) noexcept : n_(n) { grow(); }
  weight(const weight& other) noexcept : n_(other.n_) { grow(); }
  weight(weight&& other) noexcept : n_(other.n_) { grow(); }
  weight& operator=(const weight&) noexcept = default;
  weight& operator=(weight&&) noexcept = default;
  ~weight() { living.fetch_sub(1); }
  [[nodiscard]] int number() const noexcept { return n_; }

  static inline std::atomic<int> living{0};
  static inline std::atomic<int> most{0};

private:
  void grow() noexcept {
    const int now = living.fetch_add(1) + 1;
    int seen = most.load();
    while (seen < now && !most.compare_exchange_weak(seen, now)) {
    }
  }
  int n_;
};

struct load {
  weight w;
};
struct price {
  int symbol;
  int value;
};
struct order {
  int value;
};
struct heavy_price {
  int symbol;
  weight value;
};

/// What its cell handled, and the doors that hold it within a handler.
struct scene {
  door held;
  door go_on;
  diary handled;
};

template <overflow Policy, std::size_t Limit>
class full_house : public cell {
public:
  using accepts = signals<hold, number, load, get, price, order, heavy_price>;
  static constexpr std::size_t mailbox_limit = Limit;
  static constexpr overflow mailbox_overflow = Policy;
  static int conflation_key(const price& p) noexcept { return p.symbol; }
  static std::string conflation_key(const heavy_price& p) { return std::to_string(p.symbol); }

  explicit full_house(scene& s) : scene_(&s) {}
  void on(hold) {
    scene_->held.open();
    scene_->go_on.pass();
  }
  void on(number n) { write(std::to_string(n.value)); }
  void on(const load& l) { write(std::to_string(l.w.number())); }
  void on(const price& p) { write(std::to_string(p.symbol) + ":" + std::to_string(p.value)); }
  void on(const heavy_price& p) { write(std::to_string(p.symbol) + ":" + std::to_string(p.value.number())); }
  void on(order o) { write("order " + std::to_string(o.value)); }
  int on(get) {
    write("asked");
    return 1;
  }

private:
  void write(std::string line) { scene_->handled.write(std::move(line)); }
  scene* scene_;
};

/// The last value by sender, to see the order.
struct sequence {
  std::atomic<int> out_of_order{0};
  int last[3] = {-1, -1, -1};
};
class reader : public cell {
public:
  using accepts = signals<price>;
  static constexpr std::size_t mailbox_limit = 8;
  static constexpr overflow mailbox_overflow = overflow::drop_oldest;
  explicit reader(sequence& s) : seen_(&s) {}
  void on(price p) {
    int& last = seen_->last[static_cast<std::size_t>(p.symbol)];
    if (p.value <= last) seen_->out_of_order.fetch_add(1);
    last = p.value;
  }

private:
  sequence* seen_;
};

/// A cell that is in a handler until its scene lets it go on.
template <class C>
ref<C> held_cell(runtime& rt, scene& s) {
  const auto c = rt.spawn_at<C>(placement::on_worker(0), s);
  REQUIRE(c.send(hold{}) == send_result::accepted);
  s.held.pass();
  return c;
}

/// All that was accepted has been handled, or dropped.
template <class C>
lines handled_by(runtime& rt, const ref<C>& c, scene& s) {
  s.go_on.open();
  REQUIRE(eventually([&] { return rt.inspect(c, long_time).value().mailbox == 0; }));
  return s.handled.lines();
}

lines numbers(int from, int to) {
  lines out;
  for (int i = from; i <= to; ++i) out.push_back(std::to_string(i));
  return out;
}

}  // namespace

TEST_CASE("a mailbox that drops the newest keeps what came first, and tells each sender") {
  scene s;
  runtime rt(quiet());
  const auto c = held_cell<full_house<overflow::drop_newest, 4>>(rt, s);
  const auto before = rt.metrics();
  for (int i = 1; i <= 4; ++i) CHECK(c.send(number{i}) == send_result::accepted);
  for (int i = 5; i <= 10; ++i) CHECK(c.send(number{i}) == send_result::dropped);
  CHECK_FALSE(ok(send_result::dropped));
  const auto asked = rt.ask(c, get{}, 24h);
  REQUIRE_FALSE(asked.has_value());
  CHECK(asked.error().code() == errc::mailbox_full);
  CHECK(rt.metrics().dropped_newest - before.dropped_newest == 7);
  CHECK(rt.metrics().refused_full == before.refused_full);
  CHECK(handled_by(rt, c, s) == numbers(1, 4));
}

TEST_CASE("a mailbox that drops the oldest takes every signal, and keeps what came last") {
  scene s;
  runtime rt(quiet());
  const auto c = held_cell<full_house<overflow::drop_oldest, 4>>(rt, s);
  const auto before = rt.metrics();
  const auto first_asked = rt.ask_async(c, get{});
  for (int i = 1; i <= 1'000; ++i) REQUIRE(c.send(number{i}) == send_result::accepted);
  // Nobody waits for the receiver: the question was dropped by a sender.
  CHECK(first_asked.ready());
  CHECK(handled_by(rt, c, s) == numbers(997, 1'000));
  CHECK(rt.metrics().dropped_oldest - before.dropped_oldest == 997);
  CHECK(eventually([&] { return rt.metrics().handled - before.handled == 4 + 1; }));  // and `hold`, which was under way
}

TEST_CASE("a question that a full mailbox drops is answered with mailbox_full") {
  scene s;
  runtime rt(quiet());
  const auto c = held_cell<full_house<overflow::drop_oldest, 2>>(rt, s);
  auto lost = rt.ask_async(c, get{});
  auto answered = rt.ask_async(c, get{});
  REQUIRE(c.send(number{1}) == send_result::accepted);
  CHECK(handled_by(rt, c, s) == lines{"asked", "1"});
  CHECK(answered.get(long_time).value() == 1);
  const auto refused = lost.get(long_time);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code() == errc::mailbox_full);
}

TEST_CASE(
    "signals to a receiver that stays in a handler take bounded memory, and the newest wait, however many are sent") {
  constexpr int each = 200'000;
  constexpr std::size_t limit = 100;
  scene s;
  runtime rt(quiet());
  const auto c = held_cell<full_house<overflow::drop_oldest, limit>>(rt, s);
  weight::most = 0;
  const auto before = rt.metrics();
  std::atomic<std::uint64_t> accepted{0};
  std::atomic<std::uint64_t> full{0};
  std::vector<std::thread> senders;
  for (int t = 0; t < 3; ++t) {
    senders.emplace_back([&] {
      for (int i = 0; i < each; ++i) {
        const send_result r = c.send(load{weight(i)});
        if (r == send_result::accepted) accepted.fetch_add(1);
        if (r == send_result::full) full.fetch_add(1);
      }
    });
  }
  for (auto& t : senders) t.join();
  CHECK(accepted + full == 3 * each);
  CHECK(weight::most <= static_cast<int>(3 * limit + 3 * 3));  // and what each sender holds in its hands
  for (int i = 1; i <= static_cast<int>(limit); ++i) REQUIRE(c.send(number{i}) == send_result::accepted);
  CHECK(handled_by(rt, c, s) == numbers(1, static_cast<int>(limit)));
  CHECK(eventually([&] {
    const auto after = rt.metrics();
    return accepted + limit + 1 == after.handled - before.handled + after.dropped_oldest - before.dropped_oldest;
  }));
  CHECK(rt.metrics().refused_full - before.refused_full == full);
  CHECK(weight::living == 0);
}

TEST_CASE(
    "senders that shorten a mailbox while its cell handles lose nothing that is not counted, and keep their order") {
  constexpr int each = 100'000;
  runtime rt(quiet());
  const auto before = rt.metrics();
  sequence seen;
  const auto c = rt.spawn<reader>(seen);
  std::atomic<std::uint64_t> accepted{0};
  std::vector<std::thread> senders;
  for (int t = 0; t < 3; ++t) {
    senders.emplace_back([&, t] {
      for (int i = 0; i < each; ++i) {
        if (ok(c.send(price{t, i}))) accepted.fetch_add(1);
      }
    });
  }
  for (auto& t : senders) t.join();
  REQUIRE(eventually([&] {
    const auto now = rt.metrics();
    return now.handled - before.handled + now.dropped_oldest - before.dropped_oldest == accepted;
  }));
  CHECK(seen.out_of_order == 0);
}

TEST_CASE("of waiting signals with one key the newest value is handled, in the place of the oldest") {
  scene s;
  runtime rt(quiet());
  const auto c = held_cell<full_house<overflow::conflate, 100>>(rt, s);
  const auto before = rt.metrics();
  c.send(price{1, 10});
  c.send(price{2, 20});
  c.send(order{7});
  c.send(price{1, 11});
  c.send(price{3, 30});
  c.send(order{7});
  c.send(price{1, 12});
  c.send(price{2, 21});
  CHECK(handled_by(rt, c, s) == lines{"1:12", "2:21", "order 7", "3:30", "order 7"});
  CHECK(rt.metrics().conflated - before.conflated == 3);
  // What is handled waits no more: the next of its key is a signal of its own.
  c.send(price{1, 13});
  CHECK(handled_by(rt, c, s).back() == "1:13");
}

TEST_CASE("a million values for three keys take bounded memory, and each key's last value is seen") {
  constexpr int values = 1'000'000;
  constexpr std::size_t limit = 10;
  scene s;
  runtime rt(quiet());
  const auto c = held_cell<full_house<overflow::conflate, limit>>(rt, s);
  weight::most = 0;
  const auto before = rt.metrics();
  c.send(order{1});
  for (int i = 0; i < values; ++i) REQUIRE(c.send(heavy_price{i % 3, weight(i)}) == send_result::accepted);
  CHECK(weight::most <= static_cast<int>(3 * limit + 3));
  CHECK(handled_by(rt, c, s) == lines{"order 1", "0:999999", "1:999997", "2:999998"});
  const auto after = rt.metrics();
  CHECK(after.conflated - before.conflated == values - 3);
  CHECK(after.dropped_oldest == before.dropped_oldest);
  CHECK(weight::living == 0);
}

TEST_CASE("more keys than a mailbox has places lose the oldest") {
  scene s;
  runtime rt(quiet());
  const auto c = held_cell<full_house<overflow::conflate, 3>>(rt, s);
  for (int i = 0; i < 50; ++i) REQUIRE(c.send(price{i, i}) == send_result::accepted);
  CHECK(handled_by(rt, c, s) == lines{"47:47", "48:48", "49:49"});
}

TEST_CASE("broadcast values are conflated as others are") {
  scene s;
  runtime rt(quiet());
  const auto c = held_cell<full_house<overflow::conflate, 10>>(rt, s);
  const std::vector<ref<full_house<overflow::conflate, 10>>> all{c};
  for (int i = 0; i < 5; ++i) CHECK(broadcast(all, heavy_price{1, weight(i)}).accepted == 1);
  CHECK(handled_by(rt, c, s) == lines{"1:4"});
}

TEST_CASE("a cell that is killed while its mailbox overflows leaves no signal uncounted") {
  runtime rt(quiet());
  for (std::uint64_t round = 0; round < 100; ++round) {
    scene s;
    s.go_on.open();
    const auto c = rt.spawn<full_house<overflow::conflate, 4>>(s);
    const auto before = rt.metrics();
    std::uint64_t accepted = 0;
    for (std::uint64_t sent = 0; c.alive(); ++sent) {
      if (sent == round) rt.exit(c, exit_reason::killed());
      if (ok(c.send(heavy_price{static_cast<int>(accepted % 7), weight(1)}))) ++accepted;
    }
    REQUIRE(eventually([&] { return rt.metrics().cells == 0; }));
    const auto after = rt.metrics();
    REQUIRE(accepted == after.handled - before.handled + after.dropped_oldest - before.dropped_oldest +
                            after.conflated - before.conflated + after.dropped_dead - before.dropped_dead);
    REQUIRE(weight::living == 0);
  }
}
