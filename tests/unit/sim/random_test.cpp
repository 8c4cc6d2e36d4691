#include <karyon/sim/random.hpp>

#include <algorithm>
#include <array>
#include <set>
#include <vector>

#include "support/catch.hpp"

using karyon::testing::random;

TEST_CASE("equal seeds make equal sequences, other seeds other ones") {
  karyon::testing::random a(1);
  karyon::testing::random b(1);
  karyon::testing::random c(2);
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 100; ++i) {
    const std::uint64_t n = a();
    REQUIRE(n == b());
    seen.insert(n);
    seen.insert(c());
  }
  CHECK(seen.size() == 200);
}

TEST_CASE("the sequence is the same on every machine") {
  // Computed with the authors' reference programs of splitmix64 and xoshiro256**, seed 1.
  karyon::testing::random dice(1);
  CHECK(dice() == 0xb3f2af6d0fc710c5u);
  CHECK(dice() == 0x853b559647364ceau);
}

TEST_CASE("every number of a range comes up, and none beside it") {
  karyon::testing::random dice(3);
  std::array<int, 6> counts{};
  for (int i = 0; i < 6000; ++i) {
    const std::uint64_t n = dice.between(1, 6);
    REQUIRE(n >= 1);
    REQUIRE(n <= 6);
    ++counts[static_cast<std::size_t>(n - 1)];
  }
  CHECK(*std::min_element(counts.begin(), counts.end()) > 800);
  CHECK(*std::max_element(counts.begin(), counts.end()) < 1200);
  CHECK(dice.below(1) == 0);
  CHECK(dice.below(0) == 0);
}

TEST_CASE("chances come true as often as they say") {
  karyon::testing::random dice(4);
  int quarter = 0;
  int never = 0;
  int always = 0;
  int one_in_ten = 0;
  for (int i = 0; i < 10000; ++i) {
    quarter += dice.chance(0.25) ? 1 : 0;
    never += dice.chance(0) ? 1 : 0;
    always += dice.chance(1) ? 1 : 0;
    one_in_ten += dice.one_in(10) ? 1 : 0;
  }
  CHECK(quarter > 2300);
  CHECK(quarter < 2700);
  CHECK(never == 0);
  CHECK(always == 10000);
  CHECK(one_in_ten > 850);
  CHECK(one_in_ten < 1150);
  CHECK_FALSE(dice.one_in(0));
}

TEST_CASE("dice shuffle as a generator of the standard library") {
  karyon::testing::random dice(5);
  std::vector<int> cards{1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  std::vector<int> shuffled = cards;
  std::shuffle(shuffled.begin(), shuffled.end(), dice);
  CHECK(shuffled != cards);
  CHECK(std::is_permutation(shuffled.begin(), shuffled.end(), cards.begin()));
  CHECK(dice.pick(cards) >= 1);
}
