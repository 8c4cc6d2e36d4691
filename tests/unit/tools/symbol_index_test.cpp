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
  const auto make = [](symbol_id id) { return static_cast<int>(id) + 10; };
  CHECK(names.find_or_create("a", name_hash("a"), make).id == 0);
  CHECK(names.find_or_create("b", name_hash("b"), make).handle == 11);
  const auto twice = [](symbol_id) -> int { throw std::logic_error("made twice"); };
  CHECK(names.find_or_create("a", name_hash("a"), twice).handle == 10);
  CHECK(names.size() == 2);
  CHECK(names.handle(1) == 11);
  CHECK(names.name_of(*names.find("b", name_hash("b"))) == "b");
  CHECK(names.hash(1) == name_hash("b"));
  CHECK(names.find("b", name_hash("b"))->id == 1);
  CHECK_FALSE(names.find("c", name_hash("c")).has_value());
}

TEST_CASE("the index keeps a copy of the name") {
  number_index names;
  std::string name(100000, 'x');
  const auto known = names.find_or_create(name, name_hash(name), [](symbol_id) { return 1; });
  const std::string copy = name;
  name.assign(100000, 'y');
  CHECK((names.name_of(known) == copy));
  CHECK(names.find(copy, name_hash(copy))->id == known.id);
}

TEST_CASE("names of one hash are told apart") {
  number_index names;
  const auto make = [](symbol_id id) { return static_cast<int>(id) + 1; };
  CHECK(names.find_or_create("a", 5, make).id == 0);
  CHECK(names.find_or_create("b", 5, make).id == 1);
  CHECK(names.find_or_create("c", 6, make).id == 2);  // whose own key b has got
  CHECK(names.find_or_create("a", 5, make).id == 0);
  CHECK(names.find_or_create("c", 6, make).id == 2);
  CHECK(names.handle(1) == 2);
  names.move(1, 20);
  CHECK(names.find("a", 5)->handle == 1);
  CHECK(names.find("b", 5)->handle == 20);
  CHECK(names.handle(1) == 20);
  CHECK(names.handle(0) == 1);
  CHECK(names.find("c", 6)->handle == 3);
  CHECK_FALSE(names.find("d", 5).has_value());
}

TEST_CASE("a name whose cell could not be made is not moved to another") {
  number_index names;
  CHECK_THROWS(names.find_or_create("a", 5, [](symbol_id) -> int { throw std::runtime_error("no more cells"); }));
  names.move(0, 7);
  CHECK_FALSE(names.find("a", 5).has_value());
}

TEST_CASE("hashes at the end of all numbers have room behind them") {
  number_index names;
  constexpr std::uint64_t last = ~std::uint64_t{0};
  CHECK(names.find_or_create("a", last, [](symbol_id) { return 1; }).id == 0);
  CHECK(names.find_or_create("b", last, [](symbol_id) { return 2; }).id == 1);
  CHECK(names.find("b", last)->handle == 2);
  int seen = 0;
  names.for_each([&seen](const auto& known) { seen += known.handle; });
  CHECK(seen == 3);
}

TEST_CASE("all names are visited, once each, whatever their number") {
  for (const int count : {0, 1, 1023, 1024, 1025, 2048, 5000}) {
    number_index names;
    for (int i = 0; i < count; ++i) {
      const std::string name = std::to_string(i);
      names.find_or_create(name, name_hash(name), [i](symbol_id) { return i; });
    }
    std::vector<int> times(static_cast<std::size_t>(count));
    names.for_each([&times](const auto& known) { ++times[known.id]; });
    CHECK((times == std::vector<int>(static_cast<std::size_t>(count), 1)));
  }
}

TEST_CASE("a name whose cell can not be made stays unknown") {
  number_index names;
  const auto refuse = [](symbol_id) -> int { throw std::runtime_error("no more cells"); };
  CHECK_THROWS_AS(names.find_or_create("a", name_hash("a"), refuse), std::runtime_error);
  CHECK_FALSE(names.find("a", name_hash("a")).has_value());
  names.for_each([](const auto&) { FAIL("there is none"); });
  CHECK(names.find_or_create("a", name_hash("a"), [](symbol_id) { return 4; }).id == 1);
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
        const auto known =
            names.find_or_create(name, name_hash(name), [&](symbol_id) { return made.fetch_add(1) + 1; });
        ids[t][which] = known.id;
        if (names.handle(known.id) != known.handle || names.name_of(known) != name) std::abort();
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
