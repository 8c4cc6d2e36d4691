// SPDX-License-Identifier: Apache-2.0
#include "unit/supervise/supervised.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

enum class ending { normal, shutdown, error, killed };

void end(runtime& rt, const child<ward>& c, ending how) {
  switch (how) {
    case ending::normal: c.send(die{exit_reason::normal()}); return;
    case ending::shutdown: rt.exit(c.get(), exit_reason::shutdown()); return;
    case ending::error: c.send(fail_hard{}); return;
    case ending::killed: rt.exit(c.get(), exit_reason::killed()); return;
  }
}

/// Whether a child of this type is there again after such an end.
bool comes_back(restart_type type, ending how) {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise(generous());
  const auto c = s.start_with<ward>({.restart = type, .where = {}}, std::ref(r), 5);
  const auto first = c.get();
  end(rt, c, how);
  if (!eventually([&] { return !first.alive(); })) FAIL("it has not ended");
  // Either it comes back or its role ends.
  if (!eventually([&] { return !c.alive() || c.get(); })) FAIL("neither back nor gone");
  if (!c.alive()) {
    CHECK(c.send(ping{}) == send_result::dead);
    CHECK(eventually([&] { return s.children() == 0; }));
    CHECK(r.born == 1);
    CHECK(s.restarts() == 0);
    return false;
  }
  CHECK(rt.ask(c, get{}, long_time).value() == 5);
  CHECK(c.get() != first);
  CHECK(first.send(ping{}) == send_result::dead);
  CHECK(s.children() == 1);
  CHECK(r.born == 2);
  CHECK(s.restarts() == 1);
  return true;
}

}  // namespace

TEST_CASE("a permanent child is always restarted") {
  for (const ending e : {ending::normal, ending::shutdown, ending::error, ending::killed}) {
    CHECK(comes_back(restart_type::permanent, e));
  }
}

TEST_CASE("a transient child is restarted unless it ended as expected") {
  CHECK_FALSE(comes_back(restart_type::transient, ending::normal));
  CHECK_FALSE(comes_back(restart_type::transient, ending::shutdown));
  CHECK(comes_back(restart_type::transient, ending::error));
  CHECK(comes_back(restart_type::transient, ending::killed));
}

TEST_CASE("a temporary child is never restarted") {
  for (const ending e : {ending::normal, ending::shutdown, ending::error, ending::killed}) {
    CHECK_FALSE(comes_back(restart_type::temporary, e));
  }
}

TEST_CASE("a supervisor gives up at one restart more than its intensity, and ends all its children") {
  registry r;
  runtime rt(quiet());
  for (const std::uint32_t restarts : {0u, 1u, 3u}) {
    auto s = rt.supervise({.strategy = one_for_one, .intensity = {restarts, 24h}});
    const auto failing = s.start<ward>(std::ref(r), 0);
    const auto other = s.start<ward>(std::ref(r), 1);
    for (std::uint32_t i = 0; i < restarts; ++i) {
      const auto now = failing.get();
      failing.send(fail_hard{});
      REQUIRE(eventually([&] { return !now.alive() && failing.get(); }));
      CHECK_FALSE(s.ended().has_value());
      CHECK(s.restarts() == i + 1);
    }
    CHECK(rt.ask(other, get{}, long_time).value() == 1);
    failing.send(fail_hard{});
    REQUIRE(eventually([&] { return s.ended().has_value(); }));
    CHECK(s.ended()->why() == exit_reason::kind::shutdown);
    CHECK(s.restarts() == restarts);
    CHECK(s.children() == 0);
    CHECK_FALSE(other.alive());
    CHECK(failing.send(ping{}) == send_result::dead);
    CHECK(other.send(ping{}) == send_result::dead);
    CHECK_THROWS_AS(s.start<ward>(std::ref(r), 2), runtime_error);
    s.stop();
  }
  CHECK(eventually([&] { return r.living == 0; }));
}

TEST_CASE("the intensity is one for all children, on whichever worker") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise({.strategy = one_for_one, .intensity = {4, 24h}});
  const auto children = s.start_many<ward>(6, std::ref(r), 0);
  for (int i = 0; i < 4; ++i) children[static_cast<std::size_t>(i)].send(fail_hard{});
  REQUIRE(eventually([&] { return s.restarts() == 4; }));
  CHECK_FALSE(s.ended().has_value());
  children[5].send(fail_hard{});
  REQUIRE(eventually([&] { return s.ended().has_value(); }));
  CHECK(s.restarts() == 4);
}

TEST_CASE("restarts that are further apart than the period do not add up") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise({.strategy = one_for_one, .intensity = {1, 1ns}});
  const auto c = s.start<ward>(std::ref(r), 0);
  for (int i = 0; i < 100; ++i) {
    const auto now = c.get();
    c.send(fail_hard{});
    REQUIRE(eventually([&] { return !now.alive() && c.get(); }));
  }
  CHECK_FALSE(s.ended().has_value());
}

TEST_CASE("a child whose constructor fails at a restart is tried again until it succeeds") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise(generous());
  const auto c = s.start<ward>(std::ref(r), 9);
  r.refuse_births = 10;
  c.send(fail_hard{});
  REQUIRE(eventually([&] { return r.born == 2 && c.get(); }));
  CHECK(rt.ask(c, get{}, long_time).value() == 9);
  CHECK(s.restarts() == 11);
  CHECK(rt.metrics().failures == 11);
  CHECK(r.living == 1);
}

TEST_CASE("a child whose constructor keeps failing exhausts the intensity") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise({.strategy = one_for_one, .intensity = {5, 24h}});
  const auto c = s.start<ward>(std::ref(r), 9);
  const auto other = s.start<ward>(std::ref(r), 10);
  r.refuse_births = 1'000'000;
  c.send(fail_hard{});
  REQUIRE(eventually([&] { return s.ended().has_value(); }));
  CHECK(s.restarts() == 5);
  CHECK(s.children() == 0);
  CHECK_FALSE(c.alive());
  CHECK_FALSE(other.alive());
  CHECK(r.living == 0);
  CHECK(rt.metrics().cells == 0);
}

TEST_CASE("a child's handle says restarting or accepts while its role lasts, whatever happens to incarnations") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise(generous());
  const auto c = s.start<ward>(std::ref(r), 1);
  std::atomic<bool> stop{false};
  std::atomic<int> odd{0};
  std::thread sender([&] {
    while (!stop) {
      const send_result got = c.send(ping{});
      if (got != send_result::accepted && got != send_result::restarting) odd.fetch_add(1);
      if (!c.alive()) odd.fetch_add(1);
    }
  });
  for (int i = 0; i < 2'000; ++i) {
    const auto now = c.get();
    rt.exit(now, exit_reason::killed());
    REQUIRE(eventually([&] { return !now.alive() && c.get(); }));
  }
  stop = true;
  sender.join();
  CHECK(odd == 0);
  CHECK(r.born == 2'001);
  CHECK(rt.ask(c, get{}, long_time).value() == 1);
  CHECK(s.terminate(c));
  REQUIRE(eventually([&] { return !c.alive(); }));
  CHECK(c.send(ping{}) == send_result::dead);
  CHECK_FALSE(c.get());
}

namespace {

class bounded_ward : public cell {
public:
  using accepts = signals<ping, get>;
  static constexpr std::size_t mailbox_limit = 4;
  void on(ping) {}
  int on(get) { return 1; }
};

}  // namespace

TEST_CASE("a bounded child accepts signals again after each restart, however its senders raced its end") {
  runtime rt(quiet());
  auto s = rt.supervise(generous());
  const auto c = s.start<bounded_ward>();
  std::atomic<bool> stop{false};
  std::vector<std::thread> senders;
  for (int t = 0; t < 3; ++t) {
    senders.emplace_back([&] {
      while (!stop) c.send(ping{});
    });
  }
  for (int i = 0; i < 300; ++i) {
    const auto now = c.get();
    rt.exit(now, exit_reason::killed());
    REQUIRE(eventually([&] { return !now.alive() && c.get(); }));
  }
  stop = true;
  for (auto& t : senders) t.join();
  REQUIRE(eventually([&] { return rt.ask(c, get{}, long_time).has_value(); }));
  // All four places are free again.
  const auto full = rt.metrics().refused_full;
  CHECK(rt.ask(c, get{}, long_time).has_value());
  CHECK(rt.metrics().refused_full == full);
}

TEST_CASE("a hundred thousand children that are killed at once all come back, each exactly once") {
  constexpr std::size_t n = 100'000;
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise(generous());
  const auto children =
      s.start_each<ward>(n, [&r](std::uint32_t i) { return std::tuple<registry&, int>(r, static_cast<int>(i)); });
  REQUIRE(children.size() == n);
  CHECK(r.born == static_cast<int>(n));
  for (const auto& c : children) rt.exit(c.get(), exit_reason::killed());
  REQUIRE(eventually([&] { return s.restarts() == n && r.born == 2 * static_cast<int>(n); }));
  CHECK(r.living == static_cast<int>(n));
  CHECK(s.children() == n);
  CHECK(rt.metrics().restarts == n);
  bool all_themselves = true;
  for (std::size_t i = 0; i < n; i += 97) {
    all_themselves = all_themselves && rt.ask(children[i], get{}, long_time) == static_cast<int>(i);
  }
  CHECK(all_themselves);
  s.stop();
  CHECK(r.living == 0);
  CHECK(r.born == 2 * static_cast<int>(n));
  CHECK(rt.metrics().cells == 0);
}
