// SPDX-License-Identifier: Apache-2.0
#include <karyon/matrix/replicated_table.hpp>
#include <karyon/sim/testing.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <stdexcept>
#include <utility>

#include "support/catch.hpp"
#include "unit/matrix/choice.hpp"

namespace {

using namespace karyon;
using namespace std::chrono_literals;

/// Notes which comparison object was used: each table has one of its own, so it tells which of them was read.
struct marked_less {
  std::shared_ptr<const void*> last;
  std::shared_ptr<bool> throws;
  std::shared_ptr<const void*> spared;  // the one that never does
  bool operator()(int a, int b) const {
    if (*throws && this != *spared) throw std::runtime_error("can not tell");
    *last = this;
    return a < b;
  }
};
using settings = replicated_table<int, int, marked_less>;

/// Puts one in before it looks, if it is told to.
struct look_up {
  int key;
  int put = -1;
};
struct seen_here {
  const void* table = nullptr;
  int value = 0;
};
class reader : public cell {
public:
  using accepts = signals<look_up>;
  reader(settings& s, std::shared_ptr<const void*> last, seen_here& seen)
      : settings_(&s), last_(std::move(last)), seen_(&seen) {}
  void on(look_up l) {
    if (l.put >= 0) static_cast<void>(settings_->insert(l.key, l.put));
    seen_->value = settings_->lookup(l.key).value_or(-1);
    seen_->table = *last_;
  }

private:
  settings* settings_;
  std::shared_ptr<const void*> last_;
  seen_here* seen_;
};

testing::world_options on_nodes(std::uint32_t nodes, std::uint64_t seed) {
  testing::world_options options;
  options.seed = seed;
  options.workers = 4;
  options.nodes = nodes;
  return options;
}

struct scene {
  explicit scene(std::uint32_t nodes, std::uint64_t seed = 1)
      : world(on_nodes(nodes, seed)),
        t(std::make_unique<settings>(world.runtime(), table_options{}, marked_less{last, throws, spared})) {
    world.run();
  }
  seen_here look(std::uint32_t node, int key, int put = -1) {
    seen_here& seen = world.keep<seen_here>();
    const auto r = world.runtime().spawn_at<reader>(placement::on_node(node), *t, last, seen);
    r.send(look_up{key, put});
    world.run();
    world.kill(r);
    world.run();
    return seen;
  }
  testing::world world;
  std::shared_ptr<const void*> last = std::make_shared<const void*>(nullptr);
  std::shared_ptr<bool> throws = std::make_shared<bool>(false);
  std::shared_ptr<const void*> spared = std::make_shared<const void*>(nullptr);
  std::unique_ptr<settings> t;
};

TEST_CASE("cells of two nodes read each the copy of its node, and other threads the table") {
  scene s(2);
  REQUIRE(s.t->insert(1, 10).value());
  REQUIRE(s.t->insert(2, 20).value());
  s.world.run();
  REQUIRE(s.t->copies() == 2);
  REQUIRE(s.t->in_step());
  const seen_here first = s.look(0, 1);
  const seen_here second = s.look(1, 1);
  REQUIRE(s.t->lookup(1) == 10);
  REQUIRE(first.value == 10);
  REQUIRE(second.value == 10);
  REQUIRE(std::set<const void*>{first.table, second.table, *s.last}.size() == 3);
}

TEST_CASE("what a cell has put in it finds at once, in the table, and all find it in their copies later") {
  scene s(2);
  const seen_here at_once = s.look(1, 7, 70);
  REQUIRE(at_once.value == 70);
  REQUIRE(s.t->lookup(7) == 70);
  REQUIRE(at_once.table == *s.last);
  REQUIRE(s.t->in_step());
  REQUIRE(s.look(1, 7).value == 70);
  REQUIRE(s.look(1, 7).table != at_once.table);
  REQUIRE(s.t->erase(7).value());
  REQUIRE_FALSE(s.t->in_step());
  s.world.run();
  REQUIRE(s.look(0, 7).value == -1);
  REQUIRE(s.look(1, 7).value == -1);
}

/// Changes and reads in turns; what it reads must be what was last written by any of them: a simulation does one turn after the other.
struct go_on {
  int left;
};
struct truth {
  std::array<int, 8> values;
  int wrong = 0;
  int read = 0;
};
class inhabitant : public cell {
public:
  using accepts = signals<go_on>;
  inhabitant(settings& s, truth& known, std::uint64_t seed) : settings_(&s), known_(&known), choice_{seed} {}
  void on(go_on g) {
    const auto k = static_cast<int>(choice_.below(8));
    int& value = known_->values[static_cast<std::size_t>(k)];
    switch (choice_.below(12)) {
      case 0:
        value = static_cast<int>(choice_.below(1000));
        static_cast<void>(settings_->insert(k, value));
        break;
      case 1:
        value = -1;
        static_cast<void>(settings_->erase(k));
        break;
      case 2:
        if (settings_->update(k, [](int v) { return v + 1; }).value()) ++value;
        break;
      default:
        ++known_->read;
        if (settings_->lookup(k).value_or(-1) != value) ++known_->wrong;
    }
    if (g.left > 0) self(this).send(go_on{g.left - 1});
  }

private:
  settings* settings_;
  truth* known_;
  tests::choice choice_;
};

TEST_CASE("cells of all nodes read what was written last, whichever of them wrote it") {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    scene s(4, seed);
    truth& known = s.world.keep<truth>();
    known.values.fill(-1);
    for (std::uint32_t i = 0; i < 8; ++i) {
      s.world.runtime().spawn_at<inhabitant>(placement::on_node(i % 4), *s.t, known, seed * 100 + i).send(go_on{60});
    }
    s.world.run();
    REQUIRE(known.read > 200);
    REQUIRE(known.wrong == 0);
    REQUIRE(s.t->in_step());
  }
}

TEST_CASE("a copy that can not be changed is not read until it was") {
  scene s(2);
  REQUIRE(s.t->insert(1, 10).value());
  REQUIRE(s.t->insert(2, 20).value());
  *s.throws = true;
  s.world.advance(100ms);
  REQUIRE_FALSE(s.t->in_step());
  *s.throws = false;
  REQUIRE(s.t->lookup(2) == 20);
  const void* const original = *s.last;
  REQUIRE(s.look(1, 2).value == 20);
  s.world.advance(100ms);
  REQUIRE(s.t->in_step());
  REQUIRE(s.look(1, 2).value == 20);
  REQUIRE(s.look(1, 2).table != original);
}

TEST_CASE("a copy that can not be changed, though the table can, is tried again after a while and not at once") {
  scene s(2);
  REQUIRE(s.t->insert(1, 10).value());
  s.world.run();
  REQUIRE(s.t->lookup(1) == 10);
  *s.spared = *s.last;
  *s.throws = true;
  REQUIRE(s.t->insert(2, 20).value());
  s.world.run();  // throws if the keepers never rest
  REQUIRE_FALSE(s.t->in_step());
  *s.throws = false;
  s.world.advance(100ms);
  REQUIRE(s.t->in_step());
  REQUIRE(s.look(1, 2).value == 20);
}

TEST_CASE("what an update function does to its replicated table is refused, and what it throws changes nothing") {
  scene s(2);
  REQUIRE(s.t->insert(1, 10).value());
  errc inner{};
  REQUIRE(s.t->update(1,
                      [&](int v) {
                        inner = s.t->insert(2, 5).error().code();
                        return v + 1;
                      })
              .value());
  REQUIRE(inner == errc::refused);
  REQUIRE(s.t->update(1, [](int) -> int { throw std::runtime_error("no"); }).error().code() == errc::cell_failed);
  s.world.run();
  REQUIRE(s.t->in_step());
  REQUIRE(s.look(0, 1).value == 11);
  REQUIRE(s.look(1, 2).value == -1);
}

TEST_CASE("a replicated table refuses what its quota does not allow") {
  testing::world world(on_nodes(2, 1));
  replicated_table<int, int> t(world.runtime(), {.quota_bytes = 8192});
  int kept = 0;
  while (t.insert(kept, kept)) ++kept;
  REQUIRE(t.insert(kept, 1).error().code() == errc::refused);
  world.run();
  REQUIRE(t.in_step());
  REQUIRE(static_cast<int>(t.original().size()) == kept);
}

TEST_CASE("on one node there is no copy") {
  scene one(1);
  REQUIRE(one.t->insert(1, 10).value());
  REQUIRE(one.t->copies() == 0);
  REQUIRE(one.look(0, 1).value == 10);
}

TEST_CASE("a table whose runtime has ended reads itself, and keeps no notes for copies that nobody keeps") {
  auto world = std::make_unique<testing::world>(on_nodes(2, 1));
  replicated_table<int, int> t(world->runtime());
  REQUIRE(t.insert(1, 10).value());
  world->run();
  REQUIRE(t.in_step());
  world.reset();
  REQUIRE_FALSE(t.in_step());
  REQUIRE(t.insert(1, 11).has_value());
  REQUIRE(t.insert(2, 20).value());
  REQUIRE(t.lookup(1) == 11);
  REQUIRE(t.lookup(2) == 20);
}

TEST_CASE("copies end with their table") {
  scene two(2);
  REQUIRE(two.t->insert(1, 10).value());
  two.world.run();
  two.t.reset();
  two.world.run();
  REQUIRE(two.last.use_count() == 1);
}

}  // namespace
