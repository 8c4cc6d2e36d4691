// SPDX-License-Identifier: Apache-2.0
#include <karyon/supervise/ordered_supervisor.hpp>

#include "unit/supervise/supervised.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

child_spec ward_spec(const std::string& id, registry& r, const child_options& options = {}) {
  return child_spec::of<ward>(id, std::ref(r), 1).with(options);
}

/// The ordered supervisor above gives up at the first failure.
supervisor_spec strict(registry& r) { return {.intensity = {0, 24h}, .children = {ward_spec("w", r)}}; }

}  // namespace

TEST_CASE("a tree is a child like others: counted, and ended with its supervisor") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise();
  const auto tree = s.start_tree({.children = {ward_spec("a", r), ward_spec("b", r)}});
  REQUIRE(tree.has_value());
  CHECK(rt.ask(tree->find<ward>("b"), get{}, long_time).value() == 1);
  CHECK(s.children() == 1);
  CHECK(r.living == 2);
  s.stop();
  CHECK(tree->ended() == exit_reason::shutdown());
  CHECK(r.living == 0);
  CHECK(s.children() == 0);
}

TEST_CASE("a tree that gives up is restarted as its restart type says, and its handles live on") {
  for (const restart_type type : {restart_type::permanent, restart_type::transient, restart_type::temporary}) {
    registry r;
    runtime rt(quiet());
    auto s = rt.supervise(generous());
    const auto tree = s.start_tree(strict(r), {.restart = type});
    REQUIRE(tree.has_value());
    const auto c = tree->find<ward>("w");
    c.send(fail_hard{});
    if (type == restart_type::permanent) {  // giving up is `shutdown`, which is expected
      REQUIRE(eventually([&] { return r.born == 2; }));
      CHECK(eventually([&] { return rt.ask(c, get{}, long_time) == 1; }));
      CHECK(s.restarts() == 1);
      CHECK(s.children() == 1);
    } else {
      REQUIRE(eventually([&] { return s.children() == 0; }));
      CHECK(tree->ended().has_value());
      CHECK(r.born == 1);
      CHECK(s.restarts() == 0);
    }
  }
}

TEST_CASE("a transient tree that ends with an error is restarted") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise(generous());
  auto tree = s.start_tree(strict(r), {.restart = restart_type::transient}).value();
  tree.exit(exit_reason::error("a", "b"));
  REQUIRE(eventually([&] { return r.born == 2 && s.restarts() == 1; }));
  CHECK(eventually([&] { return rt.ask(tree.find<ward>("w"), get{}, long_time) == 1; }));
}

TEST_CASE("trees and cells share one budget") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise({.intensity = {1, 24h}});
  const auto tree = s.start_tree(strict(r)).value();
  const auto c = s.start<ward>(std::ref(r), 2);
  c.send(fail_hard{});
  REQUIRE(eventually([&] { return s.restarts() == 1; }));
  tree.find<ward>("w").send(fail_hard{});
  REQUIRE(s.wait_ended(long_time));
  CHECK(r.living == 0);
  CHECK(tree.ended().has_value());
}

TEST_CASE("a tree that can not start gives its error, and is no child") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise();
  r.refuse_births = 1;
  const auto tree = s.start_tree(strict(r));
  REQUIRE_FALSE(tree.has_value());
  CHECK(tree.error().code() == errc::start_failed);
  CHECK(eventually([&] { return s.children() == 0; }));
  const auto faulty = s.start_tree({.children = {ward_spec("", r)}});
  REQUIRE_FALSE(faulty.has_value());
  CHECK(faulty.error().code() == errc::invalid_argument);
  s.stop();
  CHECK(s.start_tree(strict(r)).error().code() == errc::closed);
}

TEST_CASE("a tree whose restart fails is tried again until it starts") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise(generous());
  const auto tree = s.start_tree(strict(r)).value();
  r.refuse_births = 5;
  tree.find<ward>("w").send(fail_hard{});
  REQUIRE(eventually([&] { return r.born == 2; }));
  CHECK(s.restarts() == 6);
}

TEST_CASE("max_children counts trees, too") {
  registry r;
  runtime rt(quiet());
  auto s = rt.supervise({.max_children = 1});
  REQUIRE(s.start_tree(strict(r)).has_value());
  CHECK(s.start_tree(strict(r)).error().code() == errc::refused);
  CHECK_THROWS_AS(s.start<ward>(std::ref(r), 1), runtime_error);
}

TEST_CASE("a supervisor of many children is restarted by an ordered one, empty, with its handle and a fresh budget") {
  registry r;
  runtime rt(quiet());
  auto app =
      rt.start({.intensity = {10, 24h}, .children = {child_spec::dynamic("many", {.intensity = {1, 24h}})}}).value();
  auto many = app.find_any("many").as_dynamic();
  REQUIRE(many);
  for (std::uint64_t life = 0; life < 5; ++life) {
    REQUIRE(eventually([&] { return !many.ended(); }));
    const auto c = many.start<ward>(std::ref(r), 1);
    const auto first = c.get();
    c.send(fail_hard{});
    REQUIRE(eventually([&] { return !first.alive() && c.get(); }));
    CHECK_FALSE(many.ended().has_value());
    c.send(fail_hard{});
    REQUIRE(eventually([&] { return app.restarts() == life + 1; }));
    CHECK_FALSE(c.alive());
    REQUIRE(eventually([&] { return !many.ended() && many.children() == 0; }));
  }
  app.stop();
  CHECK(many.ended() == exit_reason::shutdown());
  CHECK_THROWS_AS(many.start<ward>(std::ref(r), 1), runtime_error);
}

TEST_CASE("a tree may end while its supervisor is stopped, started and killed from all sides") {
  for (int round = 0; round < 30; ++round) {
    registry r;
    runtime rt(quiet());
    auto app = rt.start({.intensity = {1'000'000, 1s}, .children = {child_spec::dynamic("many", generous())}}).value();
    auto many = app.find_any("many").as_dynamic();
    std::atomic<bool> over{false};
    std::vector<std::thread> others;
    others.emplace_back([&] {
      while (!over) static_cast<void>(many.try_start<ward>({}, std::ref(r), 1));
    });
    others.emplace_back([&] {
      while (!over) many.stop();
    });
    others.emplace_back([&] {
      while (!over) {
        static_cast<void>(many.start_tree(strict(r)));
        many.exit(exit_reason::killed());
      }
    });
    REQUIRE(eventually([&] { return app.restarts() > static_cast<std::uint64_t>(5 + round); }));
    over = true;
    for (auto& t : others) t.join();
    app.stop();
    REQUIRE(r.living == 0);
    REQUIRE(many.children() == 0);
    REQUIRE(rt.metrics().cells == 0);
  }
}
