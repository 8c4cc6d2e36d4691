// SPDX-License-Identifier: Apache-2.0
// A colony with eyes in this process and symbols in others, of which one is killed.
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/child_program.hpp"
#include "support/temporary_tree.hpp"
#include "tools/colony/colony.hpp"
#include "tools/colony/progress.hpp"
#include "tools/colony/walker.hpp"

namespace {

using karyon::tests::child_program;
using karyon::tests::temporary_tree;
using namespace karyon::tools;

progress& quiet() {
  static progress p(progress::style::silent);
  return p;
}

void plant(const temporary_tree& tree, int files) {
  for (int f = 0; f < files; ++f) {
    std::string text;
    for (int l = 0; l < 200; ++l) {
      text += "int a" + std::to_string(l) + " = b" + std::to_string(f * 7 % 50 + l) + " + own_" + std::to_string(f) +
              "_" + std::to_string(l) + ";\n";
    }
    tree.write("f" + std::to_string(f) + ".h", text);
  }
}

std::unique_ptr<child_program> join(const std::string& endpoint) {
  return std::make_unique<child_program>(
      std::vector<std::string>{KARYON_COMMAND, "colony", "--join", endpoint, "--workers", "1"});
}

std::vector<std::pair<std::string, std::uint32_t>> places(colony& c, const char* name) {
  std::vector<std::pair<std::string, std::uint32_t>> all;
  const auto uses = c.who_uses(name);
  REQUIRE(uses.has_value());
  for (const location& place : *uses) all.emplace_back(place.file, place.line);
  return all;
}

struct spread_colony {
  explicit spread_colony(const temporary_tree& sources)
      : endpoint("ipc://" + folder.path("n/colony")),
        whole(walk({sources.path()}).files,
              {.workers = 2, .file_bytes_max = 1U << 20U, .listen = endpoint, .members = 2}),
        first(join(endpoint)),
        second(join(endpoint)) {
    REQUIRE(first->line().find("has joined") != std::string::npos);
    REQUIRE(second->line().find("has joined") != std::string::npos);
    REQUIRE(whole.gather(quiet()));
  }
  temporary_tree folder;
  const std::string endpoint;
  colony whole;
  std::unique_ptr<child_program> first;
  std::unique_ptr<child_program> second;
};

}  // namespace

TEST_CASE("a colony spread over processes knows what one alone knows, heals, and survives a member that is killed") {
  const temporary_tree sources;
  plant(sources, 60);
  colony alone(walk({sources.path()}).files, {.workers = 2, .file_bytes_max = 1U << 20U});
  REQUIRE(alone.learn(quiet()));
  const census known = alone.take_census();
  const auto b20 = places(alone, "b20");

  spread_colony s(sources);
  REQUIRE(s.whole.learn(quiet()));
  const census learned = s.whole.take_census();
  CHECK(learned.symbols_know == known.symbols_know);
  CHECK(learned.symbols == known.symbols);
  REQUIRE(learned.members.size() == 2);
  CHECK(learned.members[0].symbols + learned.members[1].symbols == learned.symbols);
  CHECK(learned.members[0].symbols > 0);
  CHECK(learned.members[1].symbols > 0);
  CHECK((places(s.whole, "b20") == b20));

  const auto healed = s.whole.kill(0.3, 7, quiet());
  REQUIRE(healed);
  CHECK(healed->is_exact());

  s.first->kill();
  CHECK((places(s.whole, "b20") == b20));
  const auto again = s.whole.kill(0.2, 8, quiet());
  INFO((again ? std::string() : again.error().message()));
  REQUIRE(again);
  CHECK(again->is_exact());
  const census after = s.whole.take_census();
  CHECK(after.symbols_know == known.symbols_know);
  CHECK(after.members[0].lost != after.members[1].lost);
  CHECK((places(s.whole, "b20") == b20));
}

TEST_CASE("a member that is killed while the colony learns costs no knowledge") {
  const temporary_tree sources;
  plant(sources, 200);
  colony alone(walk({sources.path()}).files, {.workers = 2, .file_bytes_max = 1U << 20U});
  REQUIRE(alone.learn(quiet()));
  const census known = alone.take_census();
  spread_colony s(sources);
  std::thread killer([&] { s.second->kill(); });
  const auto learned = s.whole.learn(quiet());
  killer.join();
  REQUIRE(learned);
  // However far it was: a last question finds the loss, if nothing else has.
  CHECK((places(s.whole, "b20") == places(alone, "b20")));
  const auto healed = s.whole.kill(0.1, 1, quiet());
  REQUIRE(healed);
  CHECK(healed->is_exact());
  CHECK(s.whole.take_census().symbols_know == known.symbols_know);
}

TEST_CASE("a member ends when its colony ends") {
  const temporary_tree sources;
  plant(sources, 1);
  std::unique_ptr<child_program> member;
  {
    spread_colony s(sources);
    member = std::move(s.first);
  }
  CHECK(member->wait() == 0);
}
