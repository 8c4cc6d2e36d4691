// SPDX-License-Identifier: Apache-2.0
#include "organelle/estimator.hpp"

#include "support/catch.hpp"

using karyon::detail::call_estimator;

TEST_CASE("without calls the estimate is what is declared") {
  const call_estimator e;
  CHECK(e.estimate_ns(0) == 0);
  CHECK(e.estimate_ns(1000) == 1000);
}

TEST_CASE("the estimate follows what calls took, up quickly and down slowly") {
  call_estimator e;
  e.observe(1000, 100'000);
  e.observe(1000, 100'000);
  CHECK(e.estimate_ns(1000) > 99'000);
  CHECK(e.estimate_ns(1000) < 101'000);
  e.observe(1000, 100);
  CHECK(e.estimate_ns(1000) > 80'000);
  for (int i = 0; i < 200; ++i) e.observe(1000, 100);
  CHECK(e.estimate_ns(1000) < 200);
}

TEST_CASE("one time that is far too long is taken for chance, a second one soon after is not") {
  call_estimator e;
  e.observe(1000, 1000);
  CHECK_FALSE(e.suspects(1000));
  e.observe(1000, 1'000'000);
  CHECK(e.suspects(1000));
  CHECK(e.estimate_ns(1000) < 1100);
  SECTION("soon after") {
    for (int i = 0; i < 20; ++i) e.observe(1000, 1000);
    e.observe(1000, 1'000'000);
    CHECK(e.estimate_ns(1000) > 200'000);
  }
  SECTION("long after") {
    for (int i = 0; i < 40; ++i) e.observe(1000, 1000);
    CHECK_FALSE(e.suspects(1000));
    e.observe(1000, 1'000'000);
    CHECK(e.estimate_ns(1000) < 1100);
  }
}

TEST_CASE("calls of other declared lengths have a correction of their own") {
  call_estimator e;
  for (int i = 0; i < 10; ++i) {
    e.observe(100, 100);
    e.observe(1'000'000, 10'000'000);
  }
  CHECK(e.estimate_ns(100) < 200);
  CHECK(e.estimate_ns(1'000'000) > 9'000'000);
  CHECK(e.estimate_ns(10'000) < 20'000);  // none of that length yet: as the shorter ones
  CHECK(e.estimate_ns(100'000'000) > 900'000'000);
}

TEST_CASE("lengths at the ends of what a number holds do no harm") {
  call_estimator e;
  e.observe(0, 0);
  e.observe(~0ULL >> 13, ~0ULL >> 13);
  CHECK(e.estimate_ns(~0ULL >> 13) > 0);
  CHECK(e.estimate_ns(0) == 0);
}
