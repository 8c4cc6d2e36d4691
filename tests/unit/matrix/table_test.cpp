// SPDX-License-Identifier: Apache-2.0
#include <karyon/matrix/table.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "unit/matrix/choice.hpp"

namespace {

using karyon::table;
using karyon::table_entry;
using karyon::tests::choice;
using numbers = table<std::uint64_t, std::uint64_t>;
using words = table<std::string, std::string>;

struct wide {
  std::uint64_t a, b, c;
  friend bool operator==(const wide&, const wide&) = default;
};

std::uint64_t make(std::uint64_t n, const std::uint64_t*) { return n; }
std::string make(std::uint64_t n, const std::string*) { return "value number " + std::to_string(n); }
wide make(std::uint64_t n, const wide*) { return {n, n * 3, n * 7}; }
template <class T>
T made(std::uint64_t n) {
  return make(n, static_cast<const T*>(nullptr));
}

/// Whatever is asked of it, the answers are those of a std::map.
template <class Key, class Value>
void behave_like_a_map(std::uint64_t keys, int steps) {
  table<Key, Value> t;
  std::map<Key, Value> m;
  choice c{keys};
  for (int i = 0; i < steps; ++i) {
    const Key k = made<Key>(c.below(keys));
    const Value v = made<Value>(c.below(1000));
    const auto at = m.find(k);
    const bool there = at != m.end();
    // Grows for a while, then shrinks.
    const std::uint64_t what = c.below(10) < (i / 4000 % 2 == 0 ? 6U : 2U) ? c.below(3) : 3 + c.below(5);
    switch (what) {
      case 0:
        REQUIRE(t.insert(k, v).value() == !there);
        m.insert_or_assign(k, v);
        break;
      case 1:
        REQUIRE(t.insert_new(k, v).value() == !there);
        m.insert({k, v});
        break;
      case 2: REQUIRE(t.compare_and_set(k, v, v).value() == (there && at->second == v)); break;
      case 3:
        REQUIRE(t.erase(k).value() == there);
        m.erase(k);
        break;
      case 4: {
        const auto taken = t.take(k).value();
        REQUIRE(taken.has_value() == there);
        if (there) REQUIRE(*taken == at->second);
        m.erase(k);
        break;
      }
      case 5: {
        const auto found = t.lookup(k);
        REQUIRE(found.has_value() == there);
        if (there) REQUIRE(*found == at->second);
        break;
      }
      case 6: {
        const auto next = t.next(k);
        const auto above = m.upper_bound(k);
        REQUIRE(next.has_value() == (above != m.end()));
        if (next) REQUIRE((next->key == above->first && next->value == above->second));
        break;
      }
      default: {
        const auto prev = t.prev(k);
        auto below = m.lower_bound(k);
        REQUIRE(prev.has_value() == (below != m.begin()));
        if (prev) REQUIRE(prev->key == (--below)->first);
      }
    }
    REQUIRE(t.size() == m.size());
  }
  std::vector<table_entry<Key, Value>> all;
  for (const auto& [k, v] : m) all.push_back({k, v});
  REQUIRE(t.snapshot() == all);
  REQUIRE((all.empty() ? !t.first() : *t.first() == all.front()));
  REQUIRE((all.empty() ? !t.last() : *t.last() == all.back()));
}

TEST_CASE("a table of small plain values answers as a map does") {
  behave_like_a_map<std::uint64_t, std::uint64_t>(5000, 40000);
}
TEST_CASE("a table of strings answers as a map does") { behave_like_a_map<std::string, std::string>(2000, 20000); }
TEST_CASE("a table of numbers to strings answers as a map does") {
  behave_like_a_map<std::uint64_t, std::string>(1000, 10000);
}
TEST_CASE("a table of values of several words answers as a map does") {
  behave_like_a_map<std::uint64_t, wide>(3000, 20000);
}

TEST_CASE("a range has the entries from its first key up to its last, without that") {
  numbers t;
  for (std::uint64_t k = 0; k < 1000; ++k) REQUIRE(t.insert(2 * k, k).value());
  const auto some = t.range(100, 300);
  REQUIRE(some.size() == 100);
  REQUIRE(some.front().key == 100);
  REQUIRE(some.back().key == 298);
  REQUIRE(t.range(101, 103).front().key == 102);
  REQUIRE(t.range(100, 300, 7).size() == 7);
  REQUIRE(t.range(300, 100).empty());
  REQUIRE(t.range_from(1990).size() == 5);
}

TEST_CASE("keys are in the order of the table's comparison") {
  table<int, int, std::greater<int>> t;
  for (int k = 0; k < 500; ++k) REQUIRE(t.insert(k, k).value());
  REQUIRE(t.first()->key == 499);
  REQUIRE(t.next(100)->key == 99);
  REQUIRE(t.last()->key == 0);
}

TEST_CASE("a counter begins at its initial value and is added to") {
  table<int, std::int32_t> t;
  REQUIRE(t.update_counter(1, 5, 100).value() == 105);
  REQUIRE(t.update_counter(1, -6).value() == 99);
  REQUIRE(t.update_counter(2, 2147483647).value() == 2147483647);
  REQUIRE(t.update_counter(2, 1).value() == -2147483647 - 1);
}

TEST_CASE("an update replaces a value by what the function makes of it, and says where there is none") {
  words t;
  REQUIRE(t.insert("a", "x").value());
  REQUIRE(t.update("a", [](const std::string& v) { return v + "y"; }).value());
  REQUIRE(t.lookup("a") == "xy");
  REQUIRE_FALSE(t.update("b", [](const std::string& v) { return v; }).value());
}

TEST_CASE("a table that is filled at once has the entries, whether or not they were in order") {
  const std::uint64_t n = GENERATE(0U, 1U, 56U, 57U, 5000U, 200000U);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> entries;
  for (std::uint64_t i = 0; i < n; ++i) entries.emplace_back((i * 7919) % (n == 0 ? 1 : n), i);
  numbers t;
  const auto fresh = t.load(entries);
  REQUIRE(fresh.has_value());
  REQUIRE(*fresh == t.size());
  REQUIRE(t.size() == t.snapshot().size());
  for (std::uint64_t i = n > 100 ? n - 100 : 0; i < n; ++i) REQUIRE(t.lookup((i * 7919) % n) == i);
  for (std::uint64_t k = 0; k < n; k += 3) REQUIRE(t.insert(k, k).has_value());
  REQUIRE(t.size() == t.snapshot().size());
}

TEST_CASE("of several entries for one key the last one is loaded") {
  table<int, std::string> t;
  REQUIRE(t.load({{1, "a"}, {2, "b"}, {1, "c"}}).value() == 2);
  REQUIRE(t.lookup(1) == "c");
  REQUIRE(t.load({{2, "d"}, {3, "e"}}).value() == 1);
  REQUIRE(t.lookup(2) == "d");
}

TEST_CASE("a table that was emptied has given its memory back") {
  numbers t;
  const auto empty_bytes = t.stats().bytes;
  for (std::uint64_t k = 0; k < 20000; ++k) REQUIRE(t.insert(k, k).value());
  const auto full_bytes = t.stats().bytes;
  REQUIRE(full_bytes > 20000 * 16);
  REQUIRE(full_bytes < 20000 * 32);  // in order, so nodes are nearly full
  for (std::uint64_t k = 0; k < 20000; ++k) REQUIRE(t.erase(k).value());
  REQUIRE(t.size() == 0);
  REQUIRE(t.stats().joins > 0);
  REQUIRE(t.stats().bytes < full_bytes / 8);
  REQUIRE(t.stats().bytes >= empty_bytes);
}

TEST_CASE("a table whose keys go up while the old ones are erased stays as small as what is in it") {
  numbers t;
  constexpr std::uint64_t all = 600000;
  constexpr std::uint64_t present = 10000;  // three levels
  std::uint64_t wrong = 0;
  for (std::uint64_t k = 0; k < all; ++k) {
    if (!t.insert(k, k).value()) ++wrong;
    if (k >= present && !t.erase(k - present).value()) ++wrong;
  }
  REQUIRE(wrong == 0);
  REQUIRE(t.size() == present);
  REQUIRE(t.stats().bytes < present * 40);
  REQUIRE(t.first()->key == all - present);
  REQUIRE(t.snapshot().size() == present);
}

}  // namespace
