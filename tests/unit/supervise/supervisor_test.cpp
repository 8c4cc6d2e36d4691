// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <optional>

#include "unit/supervise/supervised.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

/// Constructor of number `bad` throws.
class picky : public cell {
public:
  using accepts = signals<get>;
  picky(registry& r, int number, int bad) : number_(number), alive_(r.living) {
    if (number == bad) throw std::invalid_argument("not " + std::to_string(bad));
  }
  int on(get) { return number_; }

private:
  int number_;
  counted alive_;
};

auto picky_args(registry& r, int bad) {
  return [&r, bad](std::uint32_t i) { return std::tuple<registry&, int, int>(r, static_cast<int>(i), bad); };
}

class trapper : public cell {
public:
  using accepts = signals<ping>;
  explicit trapper(std::atomic<int>& asked) : asked_(&asked) {}
  void on_start() { trap_exit(true); }
  bool on(ping) { return true; }
  void on(const exit_signal&) { asked_->fetch_add(1); }

private:
  std::atomic<int>* asked_;
};

}  // namespace

TEST_CASE("a started child accepts signals, and its arguments are kept for its restarts") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise();
  const auto c = s.start<ward>(std::ref(r), 42);
  CHECK(c);
  CHECK(c.alive());
  CHECK(rt.ask(c, get{}, long_time).value() == 42);
  c.send(fail_hard{});
  REQUIRE(eventually([&] { return s.restarts() == 1 && c.get(); }));
  CHECK(rt.ask(c, get{}, long_time).value() == 42);
  CHECK(rt.inspect(c.get(), long_time).value().restarts == 1);
}

TEST_CASE("a start whose constructor throws throws the same, and leaves no child") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise(generous());
  CHECK_THROWS_AS(s.start<picky>(std::ref(r), 3, 3), std::invalid_argument);
  CHECK(r.living == 0);
  CHECK(s.children() == 0);
  CHECK(s.restarts() == 0);
  CHECK(rt.metrics().cells == 0);
  const auto fine = s.start<picky>(std::ref(r), 4, 3);
  CHECK(rt.ask(fine, get{}, long_time).value() == 4);
}

TEST_CASE("children started together are in order of their index, and keep their arguments through restarts") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise(generous());
  const auto children = s.start_each<picky>(1'000, picky_args(r, -1));
  REQUIRE(children.size() == 1'000);
  CHECK(s.children() == 1'000);
  for (int i = 0; i < 1'000; ++i) {
    REQUIRE(rt.ask(children[static_cast<std::size_t>(i)], get{}, long_time).value() == i);
  }
  for (const auto& c : children) rt.exit(c.get(), exit_reason::killed());
  REQUIRE(eventually([&] { return s.restarts() == 1'000; }));
  for (int i = 0; i < 1'000; ++i) {
    REQUIRE(eventually([&] { return bool(children[static_cast<std::size_t>(i)].get()); }));
    REQUIRE(rt.ask(children[static_cast<std::size_t>(i)], get{}, long_time).value() == i);
  }
  CHECK(s.start_many<ward>(0, std::ref(r), 1).empty());
}

TEST_CASE("if one of many children can not be started, those already started are ended") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise(generous());
  const auto before = s.start<picky>(std::ref(r), 5, -1);
  CHECK_THROWS_AS(s.start_each<picky>(10'000, picky_args(r, 7'777)), std::invalid_argument);
  CHECK(eventually([&] { return s.children() == 1; }));
  CHECK(eventually([&] { return r.living == 1; }));
  CHECK(rt.ask(before, get{}, long_time).value() == 5);
  CHECK_FALSE(s.ended().has_value());
  CHECK(s.restarts() == 0);
}

TEST_CASE("children spread over all workers, or go where they are placed") {
  registry r;
  runtime rt(quiet(2));
  auto s = rt.supervise(generous());
  std::map<std::uint32_t, int> spread;
  for (const auto& c : s.start_many<ward>(100, std::ref(r), 0)) ++spread[rt.ask(c, where_am_i{}, long_time).value()];
  CHECK(spread == std::map<std::uint32_t, int>{{0, 50}, {1, 50}});
  spread.clear();
  for (int i = 0; i < 10; ++i) ++spread[rt.ask(s.start<ward>(std::ref(r), 0), where_am_i{}, long_time).value()];
  CHECK(spread == std::map<std::uint32_t, int>{{0, 5}, {1, 5}});
  const auto args = [&r](std::uint32_t) { return std::tuple<registry&, int>(r, 0); };
  const child_options on_one{.restart = restart_type::permanent, .where = placement::on_worker(1)};
  spread.clear();
  for (const auto& c : s.start_each<ward>(10, args, on_one)) ++spread[rt.ask(c, where_am_i{}, long_time).value()];
  ++spread[rt.ask(s.start_with<ward>(on_one, std::ref(r), 0), where_am_i{}, long_time).value()];
  CHECK(spread == std::map<std::uint32_t, int>{{1, 11}});
}

TEST_CASE("a placement that does not exist is refused") {
  registry r;
  runtime rt(quiet(2));
  auto s = rt.supervise(generous());
  const auto args = [&r](std::uint32_t) { return std::tuple<registry&, int>(r, 0); };
  for (const placement bad : {placement::on_worker(2), placement::on_node(99)}) {
    const child_options nowhere{.restart = restart_type::permanent, .where = bad};
    CHECK_THROWS_AS(s.start_with<ward>(nowhere, std::ref(r), 0), runtime_error);
    CHECK_THROWS_AS(s.start_each<ward>(3, args, nowhere), runtime_error);
  }
  CHECK(s.children() == 0);
}

TEST_CASE("a terminated child does not come back, and is no child any more") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise(generous());
  auto other = rt.supervise(generous());
  const auto c = s.start<ward>(std::ref(r), 1);
  CHECK_FALSE(other.terminate(c));
  CHECK(c.alive());
  CHECK(s.terminate(c));
  REQUIRE(eventually([&] { return s.children() == 0 && !c.alive(); }));
  CHECK_FALSE(s.terminate(c));
  CHECK_FALSE(s.terminate(child<ward>()));
  CHECK(s.restarts() == 0);
  CHECK(r.living == 0);
  CHECK(r.born == 1);
}

TEST_CASE("stop ends all children, may be called twice and by many, and then nothing starts") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise(generous());
  const auto children = s.start_many<ward>(1'000, std::ref(r), 0);
  CHECK_FALSE(s.ended().has_value());
  std::vector<std::thread> stoppers;
  for (int i = 0; i < 3; ++i) {
    stoppers.emplace_back([copy = s]() mutable { copy.stop(); });
  }
  for (auto& t : stoppers) t.join();
  CHECK(r.living == 0);
  CHECK(s.children() == 0);
  REQUIRE(s.ended().has_value());
  CHECK(s.ended()->why() == exit_reason::kind::shutdown);
  s.stop();
  for (const auto& c : children) REQUIRE(c.send(ping{}) == send_result::dead);
  try {
    s.start<ward>(std::ref(r), 0);
    FAIL("started after the end");
  } catch (const runtime_error& e) {
    CHECK(e.why().code() == errc::closed);
  }
  CHECK_THROWS_AS(s.start_many<ward>(10, std::ref(r), 0), runtime_error);
  CHECK(r.living == 0);
}

TEST_CASE("stop asks first, and kills children that will not end at the deadline") {
  std::atomic<int> asked{0};
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise({.strategy = one_for_one, .intensity = {1, 5s}, .shutdown_deadline = 50ms});
  const auto stubborn = s.start_many<trapper>(10, std::ref(asked));
  const auto tame = s.start_many<ward>(10, std::ref(r), 0);
  for (const auto& c : stubborn) REQUIRE(rt.ask(c, ping{}, long_time).has_value());
  s.stop();
  CHECK(asked == 10);
  CHECK(s.children() == 0);
  CHECK(rt.metrics().cells == 0);
}

namespace {

struct stop_it {};
struct start_some {
  int n = 0;
};
/// Uses a supervisor from a handler.
class manager : public cell {
public:
  using accepts = signals<stop_it, start_some>;
  manager(supervisor s, registry& r) : supervisor_(std::move(s)), registry_(&r) {}
  void on(stop_it) { supervisor_.stop(); }
  int on(start_some m) {
    const auto one = supervisor_.start<ward>(std::ref(*registry_), -1);
    const auto many = supervisor_.start_many<ward>(static_cast<std::size_t>(m.n), std::ref(*registry_), 0);
    const child_options nowhere{.restart = restart_type::permanent, .where = placement::on_worker(1'000)};
    try {
      supervisor_.start_each<ward>(
          2, [r = registry_](std::uint32_t) { return std::tuple<registry&, int>(*r, 0); }, nowhere);
    } catch (const runtime_error&) {
      return static_cast<int>(many.size()) + (one.alive() ? 1 : 0);
    }
    return -1;
  }

private:
  supervisor supervisor_;
  registry* registry_;
};

}  // namespace

TEST_CASE("a cell can start children, and begin to stop a supervisor without blocking") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise(generous());
  const auto m = rt.spawn<manager>(s, r);
  CHECK(rt.ask(m, start_some{1'000}, long_time).value() == 1'001);
  CHECK(eventually([&] { return s.children() == 1'001; }));
  CHECK(rt.ask(m, stop_it{}, long_time).has_value());
  CHECK(eventually([&] { return s.ended().has_value(); }));
  CHECK(r.living == 0);
}

TEST_CASE("a supervisor may be held beyond its runtime, and says that it has ended") {
  registry r;
  supervisor s;
  CHECK_FALSE(s);
  child<ward> c;
  {
    runtime rt(quiet());
    s = rt.supervise(generous());
    c = s.start<ward>(std::ref(r), 1);
  }
  CHECK(r.living == 0);
  CHECK(s.ended().has_value());
  CHECK(s.children() == 0);
  s.stop();
  CHECK_FALSE(s.terminate(c));
  CHECK(c.send(ping{}) == send_result::dead);
  CHECK_THROWS_AS(s.start<ward>(std::ref(r), 1), runtime_error);
  CHECK_THROWS_AS(
      (s.start_with<ward>({.restart = restart_type::permanent, .where = placement::on_worker(0)}, std::ref(r), 1)),
      runtime_error);
}

TEST_CASE("options of a supervisor that can not work are refused") {
  runtime rt(quiet());
  CHECK_THROWS_AS(rt.supervise({.strategy = one_for_one, .intensity = {1, 0s}}), runtime_error);
  CHECK_THROWS_AS(rt.supervise({.strategy = one_for_one, .intensity = {1, -1s}}), runtime_error);
  rt.shutdown(long_time);
  CHECK_THROWS_AS(rt.supervise(), runtime_error);
}

TEST_CASE("a runtime may go while its children are being restarted") {
  for (int round = 0; round < 20; ++round) {
    registry r;
    {
      runtime rt(quiet());
      auto s = rt.supervise(generous());
      const auto children = s.start_many<ward>(500, std::ref(r), 0);
      for (const auto& c : children) rt.exit(c.get(), exit_reason::killed());
    }
    REQUIRE(r.living == 0);
  }
}

TEST_CASE("starting and stopping at the same time loses no child") {
  for (int round = 0; round < 50; ++round) {
    registry r;
    {
      runtime rt(quiet());
      auto s = rt.supervise(generous());
      std::thread starter([&] {
        try {
          while (true) s.start<ward>(std::ref(r), 0);
        } catch (const runtime_error& e) {
          if (e.why().code() != errc::closed) throw;
        }
      });
      REQUIRE(eventually([&] { return r.born > 10; }));
      s.stop();
      starter.join();
      REQUIRE(eventually([&] { return r.living == 0; }));
      REQUIRE(eventually([&] { return s.children() == 0; }));
    }
  }
}
