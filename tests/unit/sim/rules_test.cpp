#include <karyon/cell/broadcast.hpp>
#include <karyon/sim/testing.hpp>
#include <karyon/supervise/supervisor.hpp>

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "unit/sim/failure_of.hpp"

using namespace std::chrono_literals;
using namespace karyon;
using testing::world;
using tests::failure_of;

namespace {

struct order {
  int number;
};
struct letter {
  std::string text;
};
struct sum {};

class shop : public cell {
public:
  using accepts = signals<order, letter, sum>;
  void on(order o) { orders_.push_back(o.number); }
  void on(const letter&) {}
  std::vector<int> on(sum) { return orders_; }

private:
  std::vector<int> orders_;
};

class tight : public cell {
public:
  using accepts = signals<order, sum>;
  static constexpr std::uint32_t mailbox_limit = 4;
  void on(order) { ++n_; }
  int on(sum) { return n_; }

private:
  int n_ = 0;
};

std::vector<int> orders_of(world& w, const ref<shop>& s) { return w.runtime().ask(s, sum{}, 1s).value(); }

}  // namespace

TEST_CASE("what is expected and happens is verified") {
  world w(1);
  auto s = w.runtime().spawn<shop>();
  const auto orders = w.expect<order>(testing::exactly(2));
  const auto letters = w.expect<letter>();
  s.send(order{1});
  s.send(order{2});
  s.send(letter{"hello"});
  w.run();
  CHECK(orders.count() == 2);
  CHECK(letters.count() == 1);
  CHECK_NOTHROW(w.verify());
}

TEST_CASE("what is expected and does not happen fails the verification") {
  world w(2);
  auto s = w.runtime().spawn<shop>();
  w.expect<order>(testing::at_least(3));
  w.expect<letter>();
  s.send(order{1});
  w.run();
  const std::string text = failure_of([&] { w.verify(); });
  CHECK(text.find("order was handled 1 times, expected were at least 3") != std::string::npos);
  CHECK(text.find("letter was handled 0 times") != std::string::npos);
  CHECK(text.find("seed 2") != std::string::npos);
}

TEST_CASE("one more than expected fails at once") {
  world w(3);
  auto s = w.runtime().spawn<shop>();
  w.expect<order>(testing::exactly(1));
  s.send(order{1});
  w.run();
  s.send(order{2});
  const std::string text = failure_of([&] { w.run(); });
  CHECK(text.find("one too many") != std::string::npos);
  CHECK(text.find("shop #1") != std::string::npos);
  CHECK(text.find("handles") != std::string::npos);
  CHECK_FALSE(failure_of([&] { w.verify(); }).empty());
}

TEST_CASE("a disallowed signal fails the run in which it is handled") {
  world w(4);
  auto s = w.runtime().spawn<shop>();
  const auto rule = w.disallow<letter>();
  s.send(order{1});
  CHECK_NOTHROW(w.run());
  s.send(letter{"no"});
  CHECK(failure_of([&] { w.run(); }).find("a disallowed") != std::string::npos);
  CHECK(rule.count() == 1);
  CHECK_FALSE(failure_of([&] { w.verify(); }).empty());
}

TEST_CASE("a rule can be for one receiver, and for some of its signals") {
  world w(5);
  auto a = w.runtime().spawn<shop>();
  auto b = w.runtime().spawn<shop>();
  w.disallow<order>().to(a);
  const auto even = w.expect<order>(testing::exactly(2)).to(b).when([](const order& o) { return o.number % 2 == 0; });
  for (int i = 1; i <= 4; ++i) b.send(order{i});
  w.run();
  CHECK(even.count() == 2);
  w.verify();
}

TEST_CASE("a rule that has ended applies no more") {
  world w(6);
  auto s = w.runtime().spawn<shop>();
  w.disallow<order>().end();
  const auto drop = w.drop<order>();
  s.send(order{1});
  w.run();
  drop.end();
  s.send(order{2});
  CHECK(orders_of(w, s) == std::vector<int>{2});
  CHECK(drop.count() == 1);
}

TEST_CASE("a dropped signal is not handled, and is counted") {
  world w(7);
  auto s = w.runtime().spawn<shop>();
  w.drop<order>().when([](const order& o) { return o.number == 2; });
  for (int i = 1; i <= 3; ++i) s.send(order{i});
  CHECK(orders_of(w, s) == std::vector<int>{1, 3});
  const testing::signal_accounts a = w.accounts();
  CHECK(a.dropped == 1);
  CHECK(a.handled == 3);  // two orders and the question
}

TEST_CASE("only the first signals are dropped where a rule says so") {
  world w(8);
  auto s = w.runtime().spawn<shop>();
  w.drop<order>().first(2);
  for (int i = 1; i <= 4; ++i) s.send(order{i});
  CHECK(orders_of(w, s) == std::vector<int>{3, 4});
}

TEST_CASE("signals are dropped by chance, and the chance follows from the seed") {
  const auto kept = [](std::uint64_t seed) {
    world w(seed);
    auto s = w.runtime().spawn<shop>();
    w.drop<order>().with_chance(0.5);
    for (int i = 0; i < 200; ++i) s.send(order{i});
    return orders_of(w, s);
  };
  const std::vector<int> some = kept(9);
  CHECK(some.size() > 60);
  CHECK(some.size() < 140);
  CHECK(kept(9) == some);
  CHECK(kept(10) != some);
}

TEST_CASE("a predicate that throws fails the run, and says so with the seed") {
  world w(19);
  auto s = w.runtime().spawn<shop>();
  w.drop<order>().when([](const order& o) -> bool {
    if (o.number == 2) throw std::runtime_error("no such order");
    return false;
  });
  s.send(order{1});
  CHECK_NOTHROW(w.run());
  s.send(order{2});
  const std::string text = failure_of([&] { w.run(); });
  CHECK(text.find("seed 19") != std::string::npos);
  CHECK(text.find("order has thrown: no such order") != std::string::npos);
  CHECK(failure_of([&] { w.verify(); }) == text);
}

TEST_CASE("a dropped question is not answered: its asker runs into its timeout") {
  world w(11);
  auto s = w.runtime().spawn<shop>();
  w.drop<sum>();
  const auto answer = w.runtime().ask(s, sum{}, 10s);
  REQUIRE_FALSE(answer.has_value());
  CHECK(answer.error().code() == errc::timeout);
  CHECK(w.now() == 10s);
}

TEST_CASE("a dropped signal leaves its place in a bounded mailbox") {
  world w(12);
  auto t = w.runtime().spawn<tight>();
  const auto drop = w.drop<order>();
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 4; ++i) CHECK(t.send(order{i}) == send_result::accepted);
    CHECK(t.send(order{5}) == send_result::full);
    w.run();
  }
  drop.end();
  CHECK(t.send(order{1}) == send_result::accepted);
  CHECK(w.runtime().ask(t, sum{}, 1s).value() == 1);
}

TEST_CASE("a delayed signal is handled after its time, once, and overtaken meanwhile") {
  world w(13);
  auto s = w.runtime().spawn<shop>();
  const auto delay = w.delay<order>(5s).when([](const order& o) { return o.number == 1; });
  s.send(order{1});
  s.send(order{2});
  CHECK(orders_of(w, s) == std::vector<int>{2});
  CHECK(w.accounts().still_delayed == 1);
  w.advance(4s);
  CHECK(orders_of(w, s) == std::vector<int>{2});
  w.advance(1s);
  CHECK(orders_of(w, s) == std::vector<int>{2, 1});
  CHECK(delay.count() == 1);
  CHECK(w.accounts().still_delayed == 0);
}

TEST_CASE("a delayed question is answered late") {
  world w(14);
  auto s = w.runtime().spawn<shop>();
  w.delay<sum>(5s);
  CHECK(w.runtime().ask(s, sum{}, 10s).has_value());
  CHECK(w.now() == 5s);
  CHECK(w.runtime().ask(s, sum{}, 1s).error().code() == errc::timeout);
}

TEST_CASE("a delayed signal that finds its receiver ended is refused then") {
  world w(15);
  auto s = w.runtime().spawn<shop>();
  w.delay<order>(1s);
  s.send(order{1});
  w.run();
  w.kill(s);
  w.advance(2s);
  const testing::signal_accounts a = w.accounts();
  CHECK(a.handled == 0);
  CHECK(a.refused == 1);
  CHECK(a.still_delayed == 0);
}

namespace {

/// Writes down what it reads, and dies of its first letter.
class reader : public cell {
public:
  using accepts = signals<letter>;
  explicit reader(std::vector<std::string>* read) : read_(read) {}
  void on(const letter& l) {
    read_->push_back(l.text);
    if (read_->size() == 1) throw std::runtime_error("too much");
  }

private:
  std::vector<std::string>* read_;
};

}  // namespace

TEST_CASE("a delayed signal is whole for a child that keeps its mailbox, and for its next incarnation") {
  std::vector<std::string> read;
  world w(18);
  auto tissue = w.runtime().supervise({.intensity = {10, 5s}});
  auto c = tissue.start_with<reader>({.mailbox = mailbox_policy::kept}, &read);
  const auto delay = w.delay<letter>(1s);
  const std::string text = "longer than what a string holds in itself";
  c.send(letter{text});
  w.run();
  CHECK(read.empty());
  w.advance(2s);
  CHECK(read == std::vector<std::string>{text, text});
  CHECK(delay.count() == 1);
  CHECK(w.accounts().still_delayed == 0);
}

namespace {

struct open_up {};

/// Puts orders aside until it opens.
class late_shop : public cell {
public:
  using accepts = signals<order, open_up>;
  void on(order o) {
    if (!open_) return stash(this, std::move(o));
    ++sold_;
  }
  void on(open_up) {
    open_ = true;
    unstash();
  }

private:
  bool open_ = false;
  int sold_ = 0;
};

}  // namespace

TEST_CASE("a stashed signal is seen by rules when it comes, and again when it is put back") {
  world w(20);
  auto s = w.runtime().spawn<late_shop>();
  const auto orders = w.expect<order>(testing::exactly(3));
  s.send(order{1});
  w.run();
  CHECK(orders.count() == 1);
  const auto drop = w.drop<order>().when([](const order& o) { return o.number == 2; });
  s.send(open_up{});
  w.run();
  CHECK(orders.count() == 2);
  s.send(order{2});
  s.send(order{3});
  w.run();
  CHECK(orders.count() == 3);
  CHECK(drop.count() == 1);
  w.verify();
}

TEST_CASE("rules see signals that were broadcast, small and shared") {
  world w(16);
  std::vector<ref<shop>> shops;
  for (int i = 0; i < 5; ++i) shops.push_back(w.runtime().spawn<shop>());
  const auto small = w.expect<order>(testing::exactly(5)).when([](const order& o) { return o.number == 7; });
  const auto large = w.drop<letter>().when([](const letter& l) { return l.text == "to all"; });
  broadcast(shops, order{7});
  broadcast(shops, letter{"to all"});
  w.run();
  CHECK(small.count() == 5);
  CHECK(large.count() == 5);
  w.verify();
}

TEST_CASE("a rule for a child follows its role through restarts; one for a ref does not") {
  world w(17);
  auto tissue = w.runtime().supervise({.intensity = {10, 5s}});
  auto c = tissue.start<shop>();
  const auto by_role = w.expect<order>(testing::exactly(2)).to(c);
  const auto by_incarnation = w.expect<order>(testing::exactly(1)).to(c.get());
  c.send(order{1});
  w.run();
  w.kill(c);
  w.run();
  c.send(order{2});
  w.run();
  CHECK(by_role.count() == 2);
  CHECK(by_incarnation.count() == 1);
  w.verify();
}

TEST_CASE("every signal sent is handled, refused, lost or dropped, and counted as one of these") {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    world w(seed);
    auto tissue = w.runtime().supervise({.intensity = {1000, 1s}});
    std::vector<child<shop>> shops;
    for (int i = 0; i < 4; ++i) shops.push_back(tissue.start<shop>());
    auto t = w.runtime().spawn<tight>();
    w.drop<order>().with_chance(0.1);
    w.delay<order>(50ms).with_chance(0.1);
    std::uint64_t sent = 0;
    for (int i = 0; i < 100; ++i) {
      w.random().pick(shops).send(order{i});
      t.send(order{i});
      sent += 2;
      if (w.random().one_in(5)) w.kill(w.random().pick(shops));
      if (w.random().one_in(3)) w.step();
      if (w.random().one_in(10)) w.advance(10ms);
    }
    w.advance(1s);
    const testing::signal_accounts a = w.accounts();
    REQUIRE(a.still_delayed == 0);
    REQUIRE(a.handled + a.refused + a.lost + a.dropped == sent);
  }
}
