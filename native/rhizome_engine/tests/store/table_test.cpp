// SPDX-License-Identifier: Apache-2.0
//
// A table by itself, where there is no more memory.
#include "store/detail/table.hpp"

#include <vector>

#include "support/catch.hpp"

using namespace rhizome;
using namespace rhizome::detail;

TEST_CASE("a deletion that gets no memory for its ends or its mark leaves the block and the memory as they were") {
  arena blocks;
  pins readers(nullptr);
  REQUIRE(blocks.reserve(4 * chunk_bytes, {}));
  table arcs(blocks, readers, true);
  REQUIRE(arcs.reserve(16, {}));
  REQUIRE(arcs.ensure(16));
  for (vertex w = 1; w <= 100; ++w) REQUIRE(arcs.append(0, w, 1, {}));
  std::vector<ref> of_512, of_64k;
  const auto fill = [&](std::size_t bytes, std::vector<ref>& into) {
    while (const ref r = blocks.allocate(bytes, memory_use::log)) into.push_back(r);
  };
  fill(arena::pair_piece_max, of_64k);
  fill(512, of_512);
  std::vector<ref> rest;
  for (const std::size_t bytes : {256U, 128U, 64U, 32U}) fill(bytes, rest);
  REQUIRE(of_64k.size() > 1);
  REQUIRE(of_512.size() > 1);

  const std::uint64_t where = arcs.entry(0).where.load();
  const auto refused = [&] {
    const std::size_t before = blocks.in_use();
    CHECK(!arcs.close(0, 7, arcs.find(0, 7), 2));
    CHECK(arcs.entry(0).where.load() == where);
    CHECK(arcs.entry(0).changed.load() == 1);
    CHECK(arcs.live(0) == 100);
    CHECK(arcs.find(0, 7) == 6);
    CHECK(blocks.in_use() == before);
    CHECK(blocks.used(memory_use::history) == 0);
    CHECK(blocks.used(memory_use::mark) == 0);
  };
  refused();
  blocks.free(of_512.back(), 512, memory_use::log);  // enough for the ends
  refused();
  REQUIRE(blocks.allocate(512, memory_use::log) != 0);
  blocks.free(of_64k.back(), arena::pair_piece_max, memory_use::log);  // enough for marks
  refused();
  blocks.free(of_512.front(), 512, memory_use::log);
  REQUIRE(arcs.close(0, 7, arcs.find(0, 7), 2));
  CHECK(arcs.live(0) == 99);
  CHECK(arcs.find(0, 7) == table::none);
  CHECK(arcs.find(0, 8) == 7);
}
