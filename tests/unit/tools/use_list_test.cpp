// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/use_list.hpp"

#include <set>
#include <vector>

#include "support/catch.hpp"
#include "tools/colony/name_hash.hpp"

namespace {

using karyon::tools::use;
using karyon::tools::use_list;

std::vector<use> content(use_list& list) {
  const auto sorted = list.sorted();
  return {sorted.begin(), sorted.end()};
}

}  // namespace

TEST_CASE("uses come back in order, and each once") {
  use_list list;
  CHECK(content(list).empty());
  for (const use u : {use{2, 7}, use{1, 9}, use{2, 7}, use{1, 3}, use{2, 7}}) list.add(u);
  CHECK(list.size() == 5);
  CHECK(content(list) == std::vector<use>{{1, 3}, {1, 9}, {2, 7}});
  CHECK(list.size() == 3);
}

TEST_CASE("one use lives in the list itself, and returns there when its doubles are dropped") {
  use_list list;
  list.add({1, 1});
  CHECK(list.heap_bytes() == 0);
  list.add({1, 1});
  CHECK(list.heap_bytes() > 0);
  CHECK(content(list) == std::vector<use>{{1, 1}});
  CHECK(list.heap_bytes() == 0);
}

TEST_CASE("sorting gives spare room back") {
  use_list list;
  for (std::uint32_t i = 0; i < 1000; ++i) list.add({i, 1});
  CHECK(content(list).size() == 1000);
  CHECK(list.heap_bytes() == 1000 * sizeof(use));
  list.add({5, 1});
  CHECK(content(list).size() == 1000);
}

TEST_CASE("a moved list takes its uses along") {
  use_list one;
  one.add({1, 1});
  use_list many;
  for (std::uint32_t i = 0; i < 10; ++i) many.add({i, 1});
  use_list moved(std::move(many));
  CHECK(content(moved).size() == 10);
  moved = std::move(one);
  CHECK(content(moved) == std::vector<use>{{1, 1}});
  CHECK(one.size() == 0);
  one.add({3, 3});
  CHECK(content(one) == std::vector<use>{{3, 3}});
}

TEST_CASE("a list agrees with a set under any mix of additions and reads") {
  std::uint64_t random = GENERATE(1U, 2U, 3U, 4U, 5U);
  use_list list;
  std::set<use> model;
  for (int step = 0; step < 5000; ++step) {
    random = karyon::tools::mix(random + 1);
    const use u{static_cast<std::uint32_t>(random % 17), static_cast<std::uint32_t>(random / 64 % 23)};
    list.add(u);
    model.insert(u);
    if (random % 97 == 0) REQUIRE(content(list) == std::vector<use>(model.begin(), model.end()));
  }
  CHECK(content(list) == std::vector<use>(model.begin(), model.end()));
}
