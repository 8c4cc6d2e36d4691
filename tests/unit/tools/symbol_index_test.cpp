// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/symbol_index.hpp"

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "tools/colony/name_hash.hpp"
#include "tools/colony/name_table.hpp"

namespace {

using karyon::tools::name_hash;
using karyon::tools::name_table;
using karyon::tools::symbol_id;
using number_index = karyon::tools::symbol_index<int>;

}  // namespace

TEST_CASE("a name gets one id, one handle, and keeps both") {
  number_index names;
  CHECK(names.find_or_create("a", name_hash("a"), [](symbol_id id) { return static_cast<int>(id) + 10; }) == 0);
  CHECK(names.find_or_create("b", name_hash("b"), [](symbol_id id) { return static_cast<int>(id) + 10; }) == 1);
  CHECK(names.find_or_create("a", name_hash("a"), [](symbol_id) -> int { throw std::logic_error("made twice"); }) == 0);
  CHECK(names.size() == 2);
  CHECK(names.handle(1) == 11);
  CHECK(names.name(1) == "b");
  CHECK(names.hash(1) == name_hash("b"));
  symbol_id id = 7;
  CHECK(names.find("b", name_hash("b"), id));
  CHECK(id == 1);
  CHECK_FALSE(names.find("c", name_hash("c"), id));
}

TEST_CASE("the index keeps a copy of the name") {
  number_index names;
  std::string name(100000, 'x');
  const symbol_id id = names.find_or_create(name, name_hash(name), [](symbol_id) { return 1; });
  const std::string copy = name;
  name.assign(100000, 'y');
  CHECK((names.name(id) == copy));
}

TEST_CASE("names of one hash are told apart") {
  number_index names;
  CHECK(names.find_or_create("a", 5, [](symbol_id) { return 1; }) == 0);
  CHECK(names.find_or_create("b", 5, [](symbol_id) { return 2; }) == 1);
  CHECK(names.find_or_create("a", 5, [](symbol_id) { return 3; }) == 0);
  CHECK(names.handle(1) == 2);
}

TEST_CASE("a name whose cell can not be made stays unknown") {
  number_index names;
  const auto refuse = [](symbol_id) -> int { throw std::runtime_error("no more cells"); };
  CHECK_THROWS_AS(names.find_or_create("a", name_hash("a"), refuse), std::runtime_error);
  symbol_id id = 0;
  CHECK_FALSE(names.find("a", name_hash("a"), id));
  CHECK(names.find_or_create("a", name_hash("a"), [](symbol_id) { return 4; }) == 1);
  CHECK(names.name(0).empty());
  CHECK(names.handle(1) == 4);
}

TEST_CASE("threads that meet the same new names make each cell once and agree on its id") {
  constexpr std::size_t count = 20000;
  constexpr std::size_t threads = 4;
  number_index names;
  std::atomic<int> made{0};
  std::vector<std::vector<symbol_id>> ids(threads, std::vector<symbol_id>(count));
  std::vector<std::thread> workers;
  for (std::size_t t = 0; t < threads; ++t) {
    workers.emplace_back([&, t] {
      for (std::size_t i = 0; i < count; ++i) {
        const std::size_t which = t % 2 == 0 ? i : count - 1 - i;
        const std::string name = "name_" + std::to_string(which);
        ids[t][which] = names.find_or_create(name, name_hash(name), [&](symbol_id) { return made.fetch_add(1) + 1; });
        if (names.handle(ids[t][which]) == 0 || names.name(ids[t][which]) != name) std::abort();
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  CHECK(made.load() == count);
  CHECK(names.size() == count);
  for (std::size_t t = 1; t < threads; ++t) CHECK((ids[t] == ids[0]));
}

TEST_CASE("a name table numbers the names of a file in the order of their first use") {
  std::vector<std::string> text;
  for (int i = 0; i < 5000; ++i) text.push_back("n" + std::to_string(i % 2500));
  name_table table;
  for (std::size_t i = 0; i < text.size(); ++i) {
    bool is_new = false;
    REQUIRE(table.number_of(text[i], is_new) == i % 2500);
    REQUIRE(is_new == (i < 2500));
  }
  CHECK(table.entries().size() == 2500);
  CHECK(table.entries()[7].name == "n7");
  CHECK(table.entries()[7].hash == name_hash("n7"));
}
