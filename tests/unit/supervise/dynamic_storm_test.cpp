// SPDX-License-Identifier: Apache-2.0
#include "unit/supervise/supervised.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

auto numbered(registry& r) {
  return [&r](std::uint32_t i) { return std::tuple<registry&, int>(r, static_cast<int>(i)); };
}

/// Answers from all, each by its own number.
bool all_are_themselves(runtime& rt, const std::vector<child<ward>>& children) {
  std::vector<future<int>> answers;
  for (const auto& c : children) answers.push_back(rt.ask_async(c, get{}));
  for (std::size_t i = 0; i < children.size(); ++i) {
    if (answers[i].get(long_time) != static_cast<int>(i)) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("fifty mass kills of twenty thousand children lose none and double none") {
  constexpr std::size_t n = 20'000;
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise({.intensity = {0xffff'ffff, 1s}});
  const auto children = s.start_each<ward>(n, numbered(r));
  for (std::size_t round = 1; round <= 50; ++round) {
    if (round % 2 == 0) {
      s.exit_children(exit_reason::killed());
    } else {
      for (const auto& c : children) rt.exit(c.get(), exit_reason::killed());
    }
    REQUIRE(eventually([&] { return s.restarts() == round * n; }));
    REQUIRE(eventually([&] { return r.living == static_cast<int>(n) && rt.metrics().cells == n; }));
    REQUIRE(r.born == static_cast<int>((round + 1) * n));
    REQUIRE(s.children() == n);
  }
  CHECK(all_are_themselves(rt, children));
}

TEST_CASE("fifty thousand children start and stop, some busy, and none is left") {
  registry r;
  runtime rt(quiet());
  for (int round = 0; round < 3; ++round) {
    auto s = rt.supervise(generous());
    const auto children = s.start_each<ward>(50'000, numbered(r));
    for (std::size_t i = 0; i < children.size(); i += 3) children[i].send(ping{});
    s.stop();
    REQUIRE(r.living == 0);
    REQUIRE(s.children() == 0);
    REQUIRE(rt.metrics().cells == 0);
    REQUIRE(children.back().send(ping{}) == send_result::dead);
  }
  CHECK(r.born == 150'000);
}

TEST_CASE("a supervisor can be stopped at every moment of a restart storm") {
  constexpr int n = 300;
  for (int moment = 0; moment < 60; ++moment) {
    registry r;
    runtime rt(quiet());
    auto s = rt.supervise(generous());
    const auto children = s.start_each<ward>(n, numbered(r));
    std::atomic<bool> over{false};
    std::thread storm([&] {
      while (!over) s.exit_children(exit_reason::killed());
    });
    const int seen = r.born;
    REQUIRE(eventually([&] { return r.born > seen + moment * 10; }));
    if (moment % 2 == 0) {
      s.stop();
    } else {
      s.exit(exit_reason::killed());
      REQUIRE(s.wait_ended(long_time));
    }
    // Nothing is left, and nothing comes any more.
    REQUIRE(r.living == 0);
    REQUIRE(s.children() == 0);
    const int born = r.born;
    over = true;
    storm.join();
    REQUIRE(r.born == born);
    for (const auto& c : children) REQUIRE_FALSE(c.alive());
  }
}

TEST_CASE("a supervisor whose children never start again answers, and stops") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise({.intensity = {0xffff'ffff, 1s}});
  const auto looping = s.start_many<ward>(1'000, std::ref(r), 1);
  r.refuse_births = 2'000'000'000;
  for (const auto& c : looping) c.send(fail_hard{});
  REQUIRE(eventually([&] { return s.restarts() > 10'000; }));
  CHECK(s.children() == 1'000);
  CHECK(s.terminate(looping.front()));
  CHECK(eventually([&] { return s.children() == 999; }));
  s.stop();
  CHECK(s.children() == 0);
  CHECK(r.living == 0);
}

TEST_CASE("the budget of all shards together is exactly what is configured, whoever dies where") {
  for (const std::uint32_t allowed : {0U, 1U, 10U, 99U}) {
    registry r;
    runtime rt(quiet(3));
    auto s = rt.supervise({.intensity = {allowed, 24h}});
    s.start_each<ward>(200, numbered(r));
    s.exit_children(exit_reason::killed());
    REQUIRE(s.wait_ended(long_time));
    CHECK(s.restarts() == allowed);
    CHECK(r.born == 200 + static_cast<int>(allowed));
    CHECK(r.living == 0);
  }
}

TEST_CASE("starts, ends, kills and a stop at the same time leave nothing behind") {
  for (int round = 0; round < 40; ++round) {
    registry r;
    runtime rt(quiet());
    auto s = rt.supervise(generous());
    std::atomic<bool> over{false};
    std::vector<std::thread> others;
    for (int t = 0; t < 2; ++t) {
      others.emplace_back([&] {
        while (!over) {
          const auto got = s.try_start<ward>({.restart = restart_type::temporary}, std::ref(r), 0);
          if (!got) break;
          if (r.born % 3 == 0) s.terminate(got->child);
        }
      });
    }
    others.emplace_back([&] {
      while (!over) s.exit_children(exit_reason::killed());
    });
    REQUIRE(eventually([&] { return r.born > round * 7; }));
    s.stop();
    // What was being started when it ended has ended, too.
    CHECK(s.children() == 0);
    CHECK(r.living == 0);
    over = true;
    for (auto& t : others) t.join();
    REQUIRE(r.living == 0);
    REQUIRE(rt.metrics().cells == 0);
  }
}

namespace {

/// Does as it is told while it is constructed.
struct trouble {
  supervisor s;
  door leave;
  std::atomic<int> constructed{0};
  enum { nothing, stop, kill, wait, die_at_once } what = nothing;
};

class troublesome : public cell {
public:
  using accepts = signals<get, fail_hard>;
  troublesome(trouble& t, registry& r) : trouble_(&t), alive_(r.living) {
    t.constructed.fetch_add(1);
    switch (t.what) {
      case trouble::stop: t.s.stop(); break;
      case trouble::kill: t.s.exit(exit_reason::killed()); break;
      case trouble::wait: t.leave.pass(); break;
      default: break;
    }
  }
  void on_start() {
    if (trouble_->what == trouble::die_at_once) throw 1;
  }
  int on(get) { return 1; }
  void on(fail_hard) { throw 2; }

private:
  trouble* trouble_;
  counted alive_;
};

}  // namespace

TEST_CASE(
    "a constructor may stop or kill the supervisor that starts it: it is constructed, and ended with the others") {
  for (const auto what : {trouble::stop, trouble::kill}) {
    for (const bool at_restart : {false, true}) {
      trouble t;
      registry r;
      runtime rt(quiet());
      t.s = rt.supervise(generous());
      const auto other = t.s.start<ward>(std::ref(r), 1);
      if (!at_restart) t.what = what;
      const auto c = t.s.start<troublesome>(std::ref(t), std::ref(r));
      if (at_restart) {
        t.what = what;
        c.send(fail_hard{});
      }
      REQUIRE(t.s.wait_ended(long_time));
      CHECK(t.s.ended() == (what == trouble::stop ? exit_reason::shutdown() : exit_reason::killed()));
      CHECK(t.constructed == (at_restart ? 2 : 1));
      CHECK_FALSE(c.alive());
      CHECK_FALSE(other.alive());
      CHECK(r.living == 0);
      CHECK(t.s.children() == 0);
      t.s = {};
    }
  }
}

TEST_CASE("a constructor that does not return holds up its own shard alone, and the end waits for it") {
  trouble t;
  registry r;
  runtime rt(quiet(2));
  t.s = rt.supervise(generous());
  const auto stuck = t.s.start_with<troublesome>({.where = placement::on_worker(0)}, std::ref(t), std::ref(r));
  const auto other = t.s.start_with<ward>({.where = placement::on_worker(1)}, std::ref(r), 1);
  t.what = trouble::wait;
  stuck.send(fail_hard{});
  REQUIRE(eventually([&] { return t.constructed == 2; }));
  const auto first = other.get();
  other.send(fail_hard{});
  REQUIRE(eventually([&] { return !first.alive() && other.get(); }));
  CHECK(rt.ask(other, get{}, long_time).value() == 1);
  t.s.exit(exit_reason::shutdown());
  REQUIRE(eventually([&] { return !other.alive(); }));
  CHECK_FALSE(t.s.wait_ended(10ms));
  t.leave.open();
  CHECK(t.s.wait_ended(long_time));
  CHECK(r.living == 0);
  t.s = {};
}

TEST_CASE("a child that dies in its first moment again and again exhausts the intensity") {
  trouble t;
  registry r;
  t.what = trouble::die_at_once;
  runtime rt(quiet());
  t.s = rt.supervise({.intensity = {7, 24h}});
  const auto c = t.s.start<troublesome>(std::ref(t), std::ref(r));
  REQUIRE(t.s.wait_ended(long_time));
  CHECK(t.s.restarts() == 7);
  CHECK(t.constructed == 8);
  CHECK_FALSE(c.alive());
  CHECK(r.living == 0);
  t.s = {};
}
