// SPDX-License-Identifier: Apache-2.0
#include "durable/durable_shards.hpp"

#include <cerrno>
#include <random>
#include <string>

#include "memory_disk.hpp"
#include "shards_workload.hpp"
#include "support/catch.hpp"

using namespace rhizome;
using namespace rhizome::tests;

namespace {

const std::string home = "/graph";
constexpr std::uint64_t seed = 7;

durable_shards_options on_disk(disk& on) {
  durable_shards_options options = small_durable_shards();
  options.each.on = &on;
  return options;
}

void write_steps(durable_shards& to, std::uint64_t first, std::uint64_t last) {
  for (std::uint64_t n = first; n <= last; ++n) {
    const auto done = shards_step(to.graph(), seed, n);
    INFO("step " << n);
    if (!done) FAIL(done.error().text);
  }
}

void check_content(durable_shards& opened, std::uint64_t steps) {
  REQUIRE(last_step(opened.graph()) == steps);
  REQUIRE(dump(*opened.graph().now()) == expected_shards(seed, steps));
}

errc refusal(memory_disk& disk, const durable_shards_options& options) {
  durable_shards_options other = options;
  other.each.on = &disk;
  const auto opened = durable_shards::open(home, other);
  REQUIRE(!opened);
  return opened.error().code;
}

}  // namespace

TEST_CASE("a graph of several shards is after an open what it was before, from its logs and from checkpoints") {
  memory_disk disk;
  {
    auto made = durable_shards::open(home, on_disk(disk));
    REQUIRE(made);
    write_steps(*made, 1, 30);
  }
  {
    auto again = durable_shards::open(home, on_disk(disk));
    REQUIRE(again);
    CHECK(again->cut() == 0);
    check_content(*again, 30);
    REQUIRE(again->checkpoint());
    write_steps(*again, 31, 40);
    REQUIRE(again->close());
  }
  auto third = durable_shards::open(home, on_disk(disk));
  REQUIRE(third);
  CHECK(third->recovery(0).checkpoint > 0);
  check_content(*third, 40);
  write_steps(*third, 41, 45);
  check_content(*third, 45);
}

TEST_CASE("when the disk goes at any moment, a transaction of several shards is in all of them or in none") {
  unsigned cut = 0;
  for (unsigned life = 0; life < 120; ++life) {
    std::mt19937_64 random(life);
    memory_disk disk;
    std::uint64_t acknowledged = 0;
    {
      if (life % 2 == 0) REQUIRE(durable_shards::open(home, on_disk(disk)));
      disk.fail_at(1 + random() % 90, EIO, true);
      auto made = durable_shards::open(home, on_disk(disk));
      while (made && shards_step(made->graph(), seed, acknowledged + 1)) {
        ++acknowledged;
        if (acknowledged % 5 == 0) static_cast<void>(made->checkpoint());
      }
      // Nothing of what failed is shown, and nothing is taken any more.
      if (made && acknowledged > 0) check_content(*made, acknowledged);
      if (made) CHECK(!shards_step(made->graph(), seed, acknowledged + 1));
    }
    disk.lose_power(random);
    INFO("life " << life << ", acknowledged " << acknowledged);
    auto opened = durable_shards::open(home, on_disk(disk));
    if (!opened) FAIL(opened.error().text);
    const std::uint64_t there = last_step(opened->graph());
    REQUIRE(there >= acknowledged);
    REQUIRE(there <= acknowledged + 1);
    check_content(*opened, there);
    cut += opened->cut();
    write_steps(*opened, there + 1, there + 3);
    check_content(*opened, there + 3);
  }
  CHECK(cut > 5);  // else the lives above end elsewhere than between two logs
}

TEST_CASE("shards that are missing, of another graph, or of another number are refused") {
  memory_disk disk;
  {
    auto made = durable_shards::open(home, on_disk(disk));
    REQUIRE(made);
    write_steps(*made, 1, 3);
    CHECK(refusal(disk, small_durable_shards()) == errc::conflict);
    REQUIRE(made->close());
  }
  const std::string log = "/0000000001.wal";
  durable_shards_options more = small_durable_shards();
  more.count = 4;
  CHECK(refusal(disk, more) == errc::invalid_argument);
  durable_shards_options larger = small_durable_shards();
  larger.each.store.vertices_max = 1 << 12;
  CHECK(refusal(disk, larger) == errc::invalid_argument);

  auto swapped = disk.copy();
  std::swap(swapped->content(home + "/shard-0" + log), swapped->content(home + "/shard-1" + log));
  CHECK(refusal(*swapped, small_durable_shards()) == errc::invalid_argument);

  memory_disk other;
  { REQUIRE(durable_shards::open(home, on_disk(other))); }
  auto mixed = disk.copy();
  mixed->content(home + "/shard-2" + log) = other.content(home + "/shard-2" + log);
  CHECK(refusal(*mixed, small_durable_shards()) == errc::corrupt);

  auto missing = disk.copy();
  missing->erase(home + "/shard-1" + log);
  CHECK(refusal(*missing, small_durable_shards()) == errc::corrupt);

  auto headless = disk.copy();
  headless->erase(home + "/shards");
  CHECK(refusal(*headless, small_durable_shards()) == errc::corrupt);

  auto flipped = disk.copy();
  flipped->content(home + "/shards")[20] ^= std::byte{1};
  CHECK(refusal(*flipped, small_durable_shards()) == errc::corrupt);

  auto untouched = durable_shards::open(home, on_disk(disk));
  REQUIRE(untouched);
  check_content(*untouched, 3);
}

TEST_CASE("a shard that is older than the others is refused, and with salvage all end where it does") {
  memory_disk disk;
  {
    auto made = durable_shards::open(home, on_disk(disk));
    REQUIRE(made);
    write_steps(*made, 1, 3);
    REQUIRE(made->close());
  }
  const auto older = disk.copy();
  {
    auto again = durable_shards::open(home, on_disk(disk));
    REQUIRE(again);
    write_steps(*again, 4, 20);
    REQUIRE(again->close());
  }
  for (const std::string& path : disk.files()) {
    if (!path.starts_with(home + "/shard-1/")) continue;
    if (older->exists(path)) {
      disk.content(path) = older->content(path);
    } else {
      disk.erase(path);
    }
  }
  CHECK(refusal(disk, small_durable_shards()) == errc::corrupt);
  durable_shards_options options = on_disk(disk);
  options.each.salvage = true;
  auto opened = durable_shards::open(home, options);
  if (!opened) FAIL(opened.error().text);
  const std::uint64_t there = last_step(opened->graph());
  CHECK(there >= 3);
  CHECK(there < 20);
  check_content(*opened, there);
}
