// SPDX-License-Identifier: Apache-2.0
#include <karyon/matrix/owned_table.hpp>
#include <karyon/sim/testing.hpp>

#include <string>
#include <vector>

#include "support/catch.hpp"

namespace {

using namespace karyon;
using names = table_ref<std::string, int>;
using inherited = table_inherited<std::string, int>;

struct quit {};
struct make_one {
  cell_ref heir;
  bool operator==(const make_one&) const = default;
};

/// Has tables of its own, and keeps those that come to it.
class holder : public cell {
public:
  using accepts = signals<make_one, inherited, quit>;
  struct log {
    std::vector<std::string> lines;
    names table;
  };
  explicit holder(log& l) : log_(&l) {}
  void on(const make_one& m) {
    const auto made = make_table<std::string, int>(host(), self(), {.heir = m.heir, .heir_data = "take care"});
    log_->lines.push_back(made ? "made" : to_string(made.error().code()));
    if (made) log_->table = *made;
  }
  void on(const inherited& i) {
    log_->lines.push_back("inherited: " + i.data);
    log_->table = i.table;
  }
  void on(quit) { exit(); }

private:
  log* log_;
};

struct scene {
  explicit scene(std::uint64_t seed = 1) : world(seed) {}
  testing::world world;
  holder::log& owner_log = world.keep<holder::log>();
  holder::log& heir_log = world.keep<holder::log>();
  ref<holder> owner = world.runtime().spawn<holder>(owner_log);
  ref<holder> heir = world.runtime().spawn<holder>(heir_log);
};

TEST_CASE("a table ends with its owner, and says so to those who still name it") {
  scene s;
  s.owner.send(make_one{});
  s.world.run();
  const names t = s.owner_log.table;
  REQUIRE(t.insert("a", 1).value());
  REQUIRE(*t.lookup("a").value() == 1);
  s.world.kill(s.owner);
  s.world.run();
  REQUIRE_FALSE(t.alive());
  REQUIRE(t.lookup("a").error().code() == errc::dead);
  REQUIRE(t.insert("b", 1).error().code() == errc::dead);
  REQUIRE(t.give_away(s.heir).error().code() == errc::dead);
}

TEST_CASE("a table goes to its heir when its owner ends, with all that is in it, and the heir is told") {
  scene s;
  s.owner.send(make_one{s.heir});
  s.world.run();
  const names t = s.owner_log.table;
  REQUIRE(t.insert("a", 1).value());
  s.owner.send(quit{});
  s.world.run();
  REQUIRE(s.heir_log.lines == std::vector<std::string>{"inherited: take care"});
  REQUIRE(s.heir_log.table == t);
  REQUIRE(*t.lookup("a").value() == 1);
  s.heir.send(quit{});
  s.world.run();
  REQUIRE_FALSE(t.alive());
}

TEST_CASE("a table whose heir has ended before its owner ends as well") {
  scene s;
  s.owner.send(make_one{s.heir});
  s.world.run();
  s.world.kill(s.heir);
  s.world.run();
  REQUIRE(s.owner_log.table.alive());
  s.world.kill(s.owner);
  s.world.run();
  REQUIRE_FALSE(s.owner_log.table.alive());
}

TEST_CASE("a table with an heir that has ended already is refused") {
  scene s;
  s.world.kill(s.heir);
  s.world.run();
  s.owner.send(make_one{s.heir});
  s.world.run();
  REQUIRE(s.owner_log.lines == std::vector<std::string>{"dead"});
}

TEST_CASE("a table that was given away belongs to the new owner alone") {
  scene s;
  s.owner.send(make_one{});
  s.world.run();
  const names t = s.owner_log.table;
  REQUIRE(t.give_away(s.heir, "a gift").has_value());
  s.world.run();
  REQUIRE(s.heir_log.lines == std::vector<std::string>{"inherited: a gift"});
  s.world.kill(s.owner);
  s.world.run();
  REQUIRE(t.alive());
  s.world.kill(s.heir);
  s.world.run();
  REQUIRE_FALSE(t.alive());
}

TEST_CASE("a table that is given to a cell that has ended ends") {
  scene s;
  s.owner.send(make_one{});
  s.world.run();
  s.world.kill(s.heir);
  s.world.run();
  const names t = s.owner_log.table;
  REQUIRE(t.insert("a", 1).value());
  REQUIRE(t.give_away(s.heir).has_value());
  s.world.run();
  REQUIRE_FALSE(t.alive());
  REQUIRE(t.lookup("a").error().code() == errc::dead);
}

TEST_CASE("a table whose heir is named when that has ended already ends with its owner") {
  scene s;
  s.owner.send(make_one{});
  s.world.run();
  s.world.kill(s.heir);
  s.world.run();
  REQUIRE(s.owner_log.table.set_heir(s.heir).has_value());
  s.world.run();
  REQUIRE(s.owner_log.table.alive());
  s.world.kill(s.owner);
  s.world.run();
  REQUIRE_FALSE(s.owner_log.table.alive());
}

TEST_CASE("an owned table refuses what its quota does not allow, and what its update function does to it") {
  scene s;
  const auto made = make_table<std::string, int>(s.world.runtime(), s.owner, {.quota_bytes = 8192});
  int kept = 0;
  while (made->insert(std::to_string(kept), kept)) ++kept;
  REQUIRE(made->insert("one more", 1).error().code() == errc::refused);
  REQUIRE(static_cast<int>(made->size().value()) == kept);
  errc inner{};
  REQUIRE(made->update("0",
                       [&](int v) {
                         inner = made->insert("0", 5).error().code();
                         return v + 1;
                       })
              .value());
  REQUIRE(inner == errc::refused);
  REQUIRE(*made->lookup("0").value() == 1);
}

TEST_CASE("the last heir that was named inherits") {
  scene s;
  holder::log& other_log = s.world.keep<holder::log>();
  const auto other = s.world.runtime().spawn<holder>(other_log);
  s.owner.send(make_one{s.heir});
  s.world.run();
  REQUIRE(s.owner_log.table.set_heir(other, "yours").has_value());
  s.world.run();
  s.world.kill(s.owner);
  s.world.run();
  REQUIRE(s.heir_log.lines.empty());
  REQUIRE(other_log.lines == std::vector<std::string>{"inherited: yours"});
}

TEST_CASE("a name of an ended table does not reach the one that has its place") {
  scene s;
  s.owner.send(make_one{});
  s.world.run();
  const names old = s.owner_log.table;
  REQUIRE(old.end().has_value());
  s.world.run();
  REQUIRE_FALSE(old.alive());
  s.owner.send(make_one{});
  s.world.run();
  REQUIRE(s.owner_log.table.alive());
  REQUIRE_FALSE(old.alive());
  REQUIRE(old.insert("a", 1).error().code() == errc::dead);
  REQUIRE(s.owner_log.table.size().value() == 0);
}

TEST_CASE("a stopping runtime ends its tables") {
  holder::log log;
  runtime_options options;
  options.scheduler.binding.workers = 1;
  runtime rt(options);
  const auto owner = rt.spawn<holder>(log);
  const auto made = make_table<std::string, int>(rt, owner);
  REQUIRE(made->insert("a", 1).value());
  rt.shutdown(std::chrono::seconds(20));
  REQUIRE_FALSE(made->alive());
  REQUIRE(make_table<std::string, int>(rt, owner).error().code() == errc::dead);
}

/// Counts its living copies.
struct tracked {
  static inline int living = 0;
  std::string text = "some words that are longer than a small string";
  tracked() { ++living; }
  tracked(const tracked& other) : text(other.text) { ++living; }
  tracked& operator=(const tracked&) = default;
  ~tracked() { --living; }
};
struct work_on {
  int left;
};
class traveller : public cell {
public:
  using accepts = signals<work_on>;
  traveller(table<int, tracked>& t, int key) : table_(&t), key_(key) {}
  void on(work_on w) {
    static_cast<void>(table_->insert(key_, tracked()));
    static_cast<void>(table_->lookup(key_ + 1));
    if (w.left % 3 == 0) static_cast<void>(migrate_to(static_cast<std::uint32_t>(w.left % 2)));
    if (w.left > 0) self(this).send(work_on{w.left - 1});
  }

private:
  table<int, tracked>* table_;
  int key_;
};

TEST_CASE("cells that move between workers and nodes leave no pin behind that would keep memory from being freed") {
  testing::world_options options;
  options.workers = 4;
  options.nodes = 2;
  testing::world world(options);
  auto& t = world.keep<table<int, tracked>>();
  for (int k = 0; k < 20; ++k) world.runtime().spawn<traveller>(t, k).send(work_on{100});
  world.run();
  REQUIRE(t.size() == 20);
  detail::collect_all_retired();
  REQUIRE(tracked::living == 20);
}

}  // namespace
