// SPDX-License-Identifier: Apache-2.0
// Names and paths of one node.
#include <karyon/discover/registry.hpp>

#include <set>
#include <thread>

#include <karyon/discover/paths.hpp>
#include <karyon/sim/random.hpp>

#include "support/catch.hpp"
#include "unit/discover/discover_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using names = std::vector<std::string>;

namespace {

/// Gives itself a name while it is constructed.
class named : public cell {
public:
  using accepts = signals<ping>;
  explicit named(registry r, std::string name) { added = r.add(name, self(this)).has_value(); }
  void on(ping) {}
  bool added = false;
};

/// Dies of its own constructor, with a name.
class failing : public cell {
public:
  using accepts = signals<ping>;
  explicit failing(registry r) {
    static_cast<void>(r.add("heart", self(this)));
    throw std::runtime_error("no");
  }
  void on(ping) {}
};

}  // namespace

TEST_CASE("a name resolves to the cell that has it, as a handle of its class") {
  runtime rt(quiet());
  auto r = *registry::open(rt);
  const auto a = rt.spawn<resident>();
  REQUIRE(r.add("heart", a));
  CHECK(*r.find("heart") == member(a));
  CHECK(r.find_ref<resident>("heart") == a);
  CHECK_FALSE(r.find_ref<watcher>("heart"));
  CHECK_FALSE(r.find_child<resident>("heart"));
  CHECK(ok(r.find("heart")->send(ping{})));
  CHECK(r.find("liver").error().code() == errc::not_found);
  CHECK(r.size() == 1);
}

TEST_CASE("a name belongs to one cell, a cell may have several, and giving one again changes nothing") {
  runtime rt(quiet());
  auto r = *registry::open(rt);
  const auto a = rt.spawn<resident>();
  const auto b = rt.spawn<resident>();
  REQUIRE(r.add("heart", a));
  CHECK(r.add("heart", b).error().code() == errc::already_present);
  CHECK(r.add("heart", a));
  REQUIRE(r.add("brain", a));
  CHECK(r.names_of(a) == names{"brain", "heart"});
  CHECK(r.names_of(b).empty());
}

TEST_CASE("a name is removed from its cell, and from no other") {
  runtime rt(quiet());
  auto r = *registry::open(rt);
  const auto a = rt.spawn<resident>();
  const auto b = rt.spawn<resident>();
  REQUIRE(r.add("heart", a));
  CHECK(r.remove("heart", b).error().code() == errc::not_found);
  REQUIRE(r.remove("heart", a));
  CHECK(r.remove("heart").error().code() == errc::not_found);
  REQUIRE(r.add("heart", b));
  REQUIRE(r.remove("heart"));
  CHECK(r.size() == 0);
}

TEST_CASE("of names that come and go in any order exactly those are found that somebody has, to the registry's end") {
  runtime rt(quiet());
  auto r = *registry::open(rt);
  const auto a = rt.spawn<resident>();
  karyon::testing::random dice(1);
  // Few that come back soon, and many that come back late: a free name waits for others to be freed before it is forgotten.
  for (const std::uint64_t many : {3u, 2000u}) {
    std::set<std::string> had;
    for (int i = 0; i < 20'000; ++i) {
      const std::string name = "name " + std::to_string(dice.below(many));
      if (had.erase(name) != 0) {
        REQUIRE(r.remove(name, a));
        REQUIRE_FALSE(r.find(name));
      } else {
        had.insert(name);
        REQUIRE(r.add(name, a));
        REQUIRE(*r.find(name) == member(a));
      }
    }
    REQUIRE(r.size() == had.size());
    REQUIRE(r.names_of(a) == names(had.begin(), had.end()));
    for (const std::string& name : had) {
      REQUIRE(*r.find(name) == member(a));
      if (many == 3) REQUIRE(r.remove(name, a));
    }
  }
  r.stop();
  CHECK(r.size() == 0);
  CHECK(registry::open(rt)->size() == 0);
}

TEST_CASE("the names of a cell are free when its end is known") {
  runtime rt(quiet());
  auto r = *registry::open(rt);
  const auto a = rt.spawn<resident>();
  const auto b = rt.spawn<resident>();
  REQUIRE(r.add("heart", a));
  REQUIRE(r.add("brain", a));
  end(rt, a);
  CHECK_FALSE(r.find("heart"));
  CHECK(r.size() == 0);
  CHECK(r.add("heart", b));
  CHECK(r.add("brain", a).error().code() == errc::dead);
}

TEST_CASE("a child registers itself in each of its incarnations") {
  runtime rt(quiet());
  auto r = *registry::open(rt);
  auto over = rt.supervise({.intensity = {1000, std::chrono::seconds(5)}});
  const auto c = over.start<named>(r, std::string("heart"));
  for (int i = 0; i < 20; ++i) {
    const auto now = c.get();
    CHECK(r.find_ref<named>("heart") == now);
    end(rt, now);
    REQUIRE(eventually([&] {
      const auto next = c.get();
      return next && !(next == now) && r.find_ref<named>("heart") == next;
    }));
  }
  over.stop();
  CHECK(r.size() == 0);
}

TEST_CASE("the name of a role resolves at every moment of its restarts") {
  runtime rt(quiet(2));
  auto r = *registry::open(rt);
  auto over = rt.supervise({.intensity = {100'000, std::chrono::seconds(5)}});
  const auto c = over.start<resident>();
  REQUIRE(r.add("heart", c));
  std::atomic<bool> done{false};
  std::atomic<int> missed{0};
  std::thread looking([&] {
    while (!done) {
      if (!(r.find_child<resident>("heart") == c)) missed.fetch_add(1);
    }
  });
  for (int i = 0; i < 50; ++i) {
    const auto now = c.get();
    rt.exit(now, exit_reason::killed());
    if (!eventually([&] { return c.get() && !(c.get() == now); })) missed.fetch_add(1);
  }
  done = true;
  looking.join();
  CHECK(missed == 0);
  over.stop();
  CHECK_FALSE(r.find("heart"));
}

TEST_CASE("a constructor that throws leaves no name behind") {
  runtime rt(quiet());
  auto r = *registry::open(rt);
  CHECK_THROWS(rt.spawn<failing>(r));
  CHECK(r.size() == 0);
}

TEST_CASE("of threads that want one name at the same time one gets it") {
  runtime rt(quiet());
  auto r = *registry::open(rt);
  for (int round = 0; round < 100; ++round) {
    std::atomic<int> won{0};
    std::vector<std::thread> threads;
    std::vector<ref<resident>> cells(3);
    for (auto& c : cells) {
      c = rt.spawn<resident>();
      threads.emplace_back([&, c] { won += r.add("heart", c) ? 1 : 0; });
    }
    for (auto& t : threads) t.join();
    REQUIRE(won == 1);
    REQUIRE(r.find("heart"));
    for (auto& c : cells) rt.exit(c, exit_reason::killed());
    REQUIRE(eventually([&] { return !r.find("heart"); }));
  }
}

TEST_CASE("what can be nobody's name, or nobody's at all, is refused with a reason") {
  runtime rt(quiet());
  auto r = *registry::open(rt);
  const auto a = rt.spawn<resident>();
  CHECK(r.add("", a).error().code() == errc::invalid_argument);
  CHECK(r.add(std::string(1'000'000, 'x'), a).error().code() == errc::invalid_argument);
  CHECK(r.add("\xf5heart", a).error().code() == errc::invalid_argument);
  CHECK(r.add("heart", member()).error().code() == errc::invalid_argument);
  CHECK(r.remove("\xff").error().code() == errc::invalid_argument);
  CHECK_FALSE(r.find("\xff"));
  CHECK_THROWS(registry().add("heart", a));
}

TEST_CASE("a registry that is stopped knows no names, and one that is opened again begins with none") {
  runtime rt(quiet());
  auto r = *registry::open(rt, "organs");
  const auto a = rt.spawn<resident>();
  REQUIRE(r.add("heart", a));
  r.stop();
  CHECK(r.size() == 0);
  CHECK(r.add("heart", a).error().code() == errc::closed);
  auto again = *registry::open(rt, "organs");
  CHECK(again.size() == 0);
  CHECK(again.add("heart", a));
}

// ---- paths ---------------------------------------------------------------------------------------------------------

TEST_CASE("a path leads from parent to child, to cells, trees and places in a row") {
  runtime rt(quiet());
  supervisor_spec eyes;
  eyes.children.push_back(child_spec::of<resident>("left"));
  supervisor_spec root;
  root.children.push_back(child_spec::of<resident>("heart"));
  root.children.push_back(child_spec::tree("eyes", eyes));
  auto tree = *rt.start(root);
  auto over = rt.supervise();
  const auto hairs = over.start_many<resident>(50);
  paths p;
  REQUIRE(p.mount("colony", tree));
  REQUIRE(p.mount_row("/colony/hairs", hairs));
  CHECK(p.find_child<resident>("/colony/heart") == tree.find<resident>("heart"));
  CHECK(p.find_child<resident>("/colony/eyes/left"));
  CHECK(p.find("/colony/eyes")->as_tree() == tree.find_any("eyes").as_tree());
  CHECK(p.find("/colony")->as_tree() == tree);
  CHECK(p.find_child<resident>("/colony/hairs/42") == hairs[42]);
  CHECK_FALSE(p.find_child<watcher>("/colony/hairs/42"));
  REQUIRE(p.unmount("/colony/hairs"));
  CHECK_FALSE(p.find("/colony/hairs/42"));
  tree.stop();
  over.stop();
}

TEST_CASE("a path that leads nowhere says where it ends, and one that is none is refused") {
  runtime rt(quiet());
  supervisor_spec root;
  root.children.push_back(child_spec::of<resident>("heart"));
  auto tree = *rt.start(root);
  paths p;
  REQUIRE(p.mount("colony", tree));
  CHECK(p.mount("colony", tree).error().code() == errc::already_present);
  CHECK(p.mount("a/b", tree).error().code() == errc::invalid_argument);
  CHECK(p.mount("b", {}).error().code() == errc::invalid_argument);
  REQUIRE(p.mount_row("/colony/row", std::vector<child<resident>>(3)));
  CHECK(p.find("/colony/liver/x").error().message() == "nothing stands at /colony/liver");
  CHECK(p.find("/colony/heart/x").error().message() == "nothing stands at /colony/heart/x");
  CHECK(p.find("/nobody").error().code() == errc::not_found);
  for (const char* bad : {"", "colony", "/", "/colony/", "/colony//heart", "/colony/\xff"}) {
    CHECK(p.find(bad).error().code() == errc::invalid_argument);
  }
  for (const char* none : {"/colony/row/3", "/colony/row/x", "/colony/row/1x", "/colony/row/99999999999999999999"}) {
    CHECK(p.find(none).error().code() == errc::not_found);
  }
  tree.stop();
}
