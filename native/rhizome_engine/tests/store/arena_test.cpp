// SPDX-License-Identifier: Apache-2.0
//
// Marks, which the arena keeps apart from its other blocks.
#include "store/detail/arena.hpp"

#include <algorithm>
#include <vector>

#include "support/catch.hpp"

using rhizome::detail::arena;
using rhizome::detail::chunk_bytes;
using rhizome::detail::memory_use;
using rhizome::detail::ref;
using rhizome::detail::unit_bytes;

namespace {

constexpr std::size_t marks_of_chunk = chunk_bytes / arena::mark_bytes;

std::size_t chunk_of(ref r) { return std::size_t{r} * unit_bytes / chunk_bytes; }

std::vector<ref> some_marks(arena& blocks, std::size_t count) {
  std::vector<ref> marks;
  for (std::size_t i = 0; i < count; ++i) marks.push_back(blocks.allocate_mark());
  return marks;
}

}  // namespace

TEST_CASE("marks follow each other, do not overlap, and are counted one by one") {
  arena blocks;
  REQUIRE(blocks.reserve(16 * chunk_bytes, {}));
  const std::vector<ref> marks = some_marks(blocks, 5'000);
  CHECK(blocks.used(memory_use::mark) == 5'000 * arena::mark_bytes);
  CHECK(blocks.in_use() == 5'000 * arena::mark_bytes);
  std::size_t followed = 0;
  for (std::size_t i = 1; i < marks.size(); ++i)
    followed += marks[i] == marks[i - 1] + arena::mark_bytes / unit_bytes ? 1U : 0U;
  CHECK(followed > 4'900);
  std::vector<ref> sorted = marks;
  std::sort(sorted.begin(), sorted.end());
  for (std::size_t i = 1; i < sorted.size(); ++i) REQUIRE(sorted[i] - sorted[i - 1] >= arena::mark_bytes / unit_bytes);
}

TEST_CASE("a mark that is retired is given out again once no pin of its epoch is left") {
  arena blocks;
  REQUIRE(blocks.reserve(16 * chunk_bytes, {}));
  const ref mark = blocks.allocate_mark();
  blocks.retire(mark, arena::mark_bytes, memory_use::mark, 5);
  blocks.collect(5);
  CHECK(blocks.used(memory_use::mark) == arena::mark_bytes);
  CHECK(blocks.allocate_mark() != mark);
  blocks.collect(6);
  CHECK(blocks.used(memory_use::mark) == arena::mark_bytes);
  CHECK(blocks.allocate_mark() == mark);
}

TEST_CASE(
    "a chunk that had marks alone is given back when all of them are free, and none of them is given out after that") {
  arena blocks;
  REQUIRE(blocks.reserve(16 * chunk_bytes, {}));
  for (const ref mark : some_marks(blocks, 2 * marks_of_chunk)) blocks.free(mark, arena::mark_bytes, memory_use::mark);
  CHECK(blocks.in_use() == 0);
  CHECK(blocks.free_bytes() == 2 * chunk_bytes);
  blocks.sweep();
  CHECK(blocks.free_bytes() == 2 * chunk_bytes);
  const ref large = blocks.allocate(2 * chunk_bytes, memory_use::newest);
  CHECK(chunk_of(large) == 1);  // where the marks were
  CHECK(blocks.free_bytes() == 0);
  for (const ref mark : some_marks(blocks, 10)) REQUIRE(chunk_of(mark) > 2);
}
