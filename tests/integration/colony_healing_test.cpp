// SPDX-License-Identifier: Apache-2.0

#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/temporary_tree.hpp"
#include "tools/colony/colony.hpp"
#include "tools/colony/name_hash.hpp"
#include "tools/colony/progress.hpp"
#include "tools/colony/walker.hpp"

namespace {

using karyon::tests::temporary_tree;
using namespace karyon::tools;

using places = std::set<std::pair<std::string, std::uint32_t>>;
using cross_reference = std::map<std::string, places>;

progress& quiet() {
  static progress p(progress::style::silent);
  return p;
}

// Files of some lines with words from one vocabulary, and what a reader must find in them.
cross_reference plant(const temporary_tree& tree, int files, int lines) {
  cross_reference expected;
  std::uint64_t random = 1;
  for (int f = 0; f < files; ++f) {
    const std::string name = "d" + std::to_string(f % 7) + "/f" + std::to_string(f) + ".h";
    std::string text;
    for (int l = 1; l <= lines; ++l) {
      for (int w = 0; w < 4; ++w) {
        random = mix(random + 1);
        // Few words are in every file, most in one or two. They are some hundred, because each is asked for alone, and a
        // question from outside waits for its turn of a processor twice: a loaded machine takes milliseconds for that.
        const std::uint64_t rank = random % 3 == 0 ? random / 8 % 10 : random / 8 % 800;
        const std::string word = "w" + std::to_string(rank);
        text += (w == 0 ? "" : " + ") + word;
        expected[word].insert({tree.path(name), static_cast<std::uint32_t>(l)});
      }
      text += "; // comment\n";
    }
    tree.write(name, text);
  }
  return expected;
}

cross_reference answers(colony& c, const cross_reference& names) {
  cross_reference found;
  for (const auto& [name, unused] : names) {
    const auto uses = c.who_uses(name);
    REQUIRE(uses.has_value());
    for (const location& place : *uses) found[name].insert({std::string(place.file), place.line});
    REQUIRE(uses->size() == found[name].size());  // each place once
  }
  return found;
}

colony::settings settings_of(std::uint32_t workers) { return {.workers = workers, .file_bytes_max = 1U << 20U}; }

}  // namespace

TEST_CASE("a colony answers as its files say, before and after a third of it is killed") {
  const std::uint32_t workers = GENERATE(1U, 2U, 5U);
  temporary_tree tree;
  const cross_reference expected = plant(tree, 60, 10);
  colony c(walk({tree.path()}).files, settings_of(workers));
  REQUIRE(c.learn(quiet()));
  const census before = c.take_census();
  CHECK(before.eyes == 60);
  CHECK(before.symbols == expected.size());
  CHECK(before.restarts == 0);
  CHECK(before.is_exact());
  CHECK((answers(c, expected) == expected));

  const auto healed = c.kill(0.3, 42, quiet());
  REQUIRE(healed);
  CHECK(healed->is_exact());
  CHECK(healed->eyes_killed + healed->symbols_killed ==
        static_cast<std::uint64_t>(0.3 * static_cast<double>(before.cells()) + 0.5));
  CHECK(healed->eyes_killed > 0);
  CHECK(healed->restarts == healed->eyes_killed + healed->symbols_killed);
  CHECK(c.take_census().symbols_know == before.symbols_know);
  CHECK((answers(c, expected) == expected));
}

TEST_CASE("a colony survives the death of all its cells, again and again") {
  temporary_tree tree;
  const cross_reference expected = plant(tree, 30, 10);
  colony c(walk({tree.path()}).files, settings_of(2));
  REQUIRE(c.learn(quiet()));
  const census before = c.take_census();
  for (std::uint64_t round = 1; round <= 10; ++round) {
    const auto healed = c.kill(round % 2 == 0 ? 1.0 : 0.5, round, quiet());
    REQUIRE(healed);
    REQUIRE(healed->is_exact());
    REQUIRE(c.take_census().is_exact());
  }
  const census after = c.take_census();
  CHECK(after.cells() == before.cells());
  CHECK(after.restarts >= 7 * before.cells());
  CHECK((answers(c, expected) == expected));
}

TEST_CASE("killing nobody changes nothing") {
  temporary_tree tree;
  plant(tree, 3, 3);
  colony c(walk({tree.path()}).files, settings_of(2));
  REQUIRE(c.learn(quiet()));
  const auto healed = c.kill(0, 1, quiet());
  REQUIRE(healed);
  CHECK(healed->is_exact());
  CHECK(healed->restarts == 0);
}

TEST_CASE("knowledge whose file is gone is not claimed to be healed") {
  temporary_tree tree;
  plant(tree, 5, 5);
  tree.write("last.h", "only_here");
  colony c(walk({tree.path()}).files, settings_of(2));
  REQUIRE(c.learn(quiet()));
  std::filesystem::remove(tree.path("last.h"));
  const auto healed = c.kill(1, 1, quiet());
  REQUIRE(healed);
  CHECK_FALSE(healed->is_exact());
  CHECK(healed->before.uses == healed->after.uses + 1);
  CHECK(c.take_census().outcomes.of(outcome::vanished) == 1);
  CHECK(c.who_uses("only_here")->empty());
}

TEST_CASE("a symbol keeps what it was told of a file that has changed since, and the census says so") {
  temporary_tree tree;
  tree.write("a.h", "old_name shared");
  colony c(walk({tree.path()}).files, settings_of(2));
  REQUIRE(c.learn(quiet()));
  tree.write("a.h", "new_name shared");
  std::uint64_t seed = 0;  // one that kills the eye and not both symbols
  for (;;) {
    const auto healed = c.kill(1.0 / 3, ++seed, quiet());
    REQUIRE(healed);
    if (healed->eyes_killed == 1) break;
  }
  CHECK_FALSE(c.take_census().is_exact());
  CHECK(c.who_uses("new_name")->size() == 1);
  CHECK(c.who_uses("shared")->size() == 1);
}

TEST_CASE("a name that nobody uses is not found") {
  temporary_tree tree;
  tree.write("a.h", "alpha");
  colony c(walk({tree.path()}).files, settings_of(1));
  REQUIRE(c.learn(quiet()));
  const auto places = c.who_uses("beta");
  REQUIRE_FALSE(places.has_value());
  CHECK(places.error().code() == karyon::errc::not_found);
  CHECK_FALSE(c.who_uses("").has_value());
}

TEST_CASE("a colony that is dropped while it learns nothing more leaves nothing behind") {
  temporary_tree tree;
  plant(tree, 10, 10);
  { colony never_asked(walk({tree.path()}).files, settings_of(2)); }
  {
    colony c(walk({tree.path()}).files, settings_of(2));
    REQUIRE(c.learn(quiet()));
  }
  colony empty({}, settings_of(2));
  REQUIRE(empty.learn(quiet()));
  CHECK(empty.take_census().cells() == 0);
  CHECK(empty.kill(1, 1, quiet())->is_exact());
}
