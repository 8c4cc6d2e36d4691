// SPDX-License-Identifier: Apache-2.0
#include "durable/durable_shards.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <future>
#include <memory>
#include <random>
#include <span>
#include <string>

#include "durable/checkpoint.hpp"
#include "memory_disk.hpp"
#include "shards_workload.hpp"
#include "store/detail/cut.hpp"
#include "store/image.hpp"
#include "support/catch.hpp"

using namespace rhizome;
using namespace rhizome::tests;

namespace {

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

/// A graph on `disk` that was made or went on, had the steps from `first` to `last`, and was closed.
void write_graph(disk& on, std::uint64_t first, std::uint64_t last, bool checkpoint = false) {
  auto opened = durable_shards::open(home, on_disk(on));
  REQUIRE(opened);
  write_steps(*opened, first, last);
  if (checkpoint) REQUIRE(opened->checkpoint());
  REQUIRE(opened->close());
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
  write_graph(disk, 1, 3);
  const auto older = disk.copy();
  write_graph(disk, 4, 20);
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

namespace {

/// The shards' folders on `disk`, but for shard 1's, which is what it was on `older`.
void put_back(memory_disk& disk, const memory_disk& older) {
  for (const std::string& path : disk.files()) {
    if (path.starts_with(home + "/shard-1/")) disk.erase(path);
  }
  for (const std::string& path : older.files()) {
    if (path.starts_with(home + "/shard-1/")) disk.place(path, older);
  }
}

/// What durable_shards opens shard 0 with, but for as many shards as one likes to say.
durable_options as_shard_0(memory_disk& disk, detail::cut& shared, unsigned said) {
  shared.how = {detail::make_sharding(workload_shard_ids - 1, workload_shards)->bits, said};
  durable_options each = small_durable_shards().each;
  each.on = &disk;
  each.store.shared = &shared;
  each.shard.kind = 4U | shared.how.bits << 3 | workload_shards << 8;
  each.shard.must_exist = true;
  std::copy_n(disk.content(home + "/shards").begin() + 16, sizeof(store_id),
              reinterpret_cast<std::byte*>(each.shard.id.emplace().data()));
  return each;
}

/// A checkpoint of shard 0 that names a commit of another one, or does not say whom it names.
void forge_checkpoint(memory_disk& disk, std::optional<commit_part> named) {
  detail::cut shared;
  const durable_options each = as_shard_0(disk, shared, workload_shards);
  auto one = durable_store::open(home + "/shard-0", each);
  if (!one) FAIL(one.error().text);
  {
    const bool symmetric = each.store.arcs == arcs_kind::symmetric;
    const store_identity identity{*each.shard.id,
                                  each.shard.kind | (symmetric ? 1U : 0U) | (each.store.unique_arcs ? 2U : 0U)};
    const snapshot now = one->graph().now().value();
    auto file = checkpoint_writer::create(disk, home + "/shard-0", identity, now.commit());
    REQUIRE(file);
    REQUIRE(save(now, **file));
    if (named) {
      REQUIRE((*file)->begin({256, sizeof *named}));
      REQUIRE((*file)->write(std::as_bytes(std::span(&*named, 1))));
    }
    REQUIRE((*file)->finish(0));
  }
  REQUIRE(one->close());
}

/// Opens one shard as durable_shards does, but with as many shards as one likes to say, and adds an arc in it.
void forge_arc(memory_disk& disk, vertex from, vertex to, unsigned said, bool checkpoint) {
  detail::cut shared;
  auto one = durable_store::open(home + "/shard-0", as_shard_0(disk, shared, said));
  if (!one) FAIL(one.error().text);
  auto tx = one->graph().begin();
  REQUIRE(tx->add_arc(0, from, to));
  REQUIRE(tx->commit());
  if (checkpoint) REQUIRE(one->checkpoint());
  REQUIRE(one->close());
}

}  // namespace

TEST_CASE("a shard that is older than another's checkpoint is refused, and salvage goes back behind that checkpoint") {
  memory_disk disk;
  write_graph(disk, 1, 5);
  const auto older = disk.copy();
  write_graph(disk, 6, 80, true);
  const auto with_two = disk.copy();
  put_back(disk, *older);
  CHECK(refusal(disk, small_durable_shards()) == errc::corrupt);
  durable_shards_options options = on_disk(disk);
  options.each.salvage = true;
  {
    auto opened = durable_shards::open(home, options);
    if (!opened) FAIL(opened.error().text);
    const std::uint64_t there = last_step(opened->graph());
    CHECK(there >= 5);
    CHECK(there < 80);
    check_content(*opened, there);
    CHECK(opened->recovery(0).refused_checkpoints.size() == 1);
  }
  // A second checkpoint lets go of the log before the first: what is behind both can not be had, and nothing of what is in them is shown.
  write_graph(*with_two, 81, 160, true);
  put_back(*with_two, *older);
  CHECK(refusal(*with_two, small_durable_shards()) == errc::corrupt);
  options.each.on = with_two.get();
  auto opened = durable_shards::open(home, options);
  if (!opened) FAIL(opened.error().text);
  CHECK(last_step(opened->graph()) == 0);
  REQUIRE(opened->recovery(0).damage);
  CHECK(opened->recovery(0).damage->code == errc::corrupt);
}

TEST_CASE(
    "a checkpoint that names what no shard has had is passed over by salvage, which loses nothing if the log has all") {
  for (const unsigned other : {2U, 7U}) {
    memory_disk disk;
    write_graph(disk, 1, 5);
    forge_checkpoint(disk, commit_part{other, 1'000'000});
    CHECK(refusal(disk, small_durable_shards()) == errc::corrupt);
    durable_shards_options options = on_disk(disk);
    options.each.salvage = true;
    auto opened = durable_shards::open(home, options);
    if (!opened) FAIL(opened.error().text);
    CHECK(opened->recovery(0).refused_checkpoints.size() == 1);
    CHECK(last_step(opened->graph()) == 5);
    check_content(*opened, 5);
  }
}

TEST_CASE("a shard's checkpoint that does not say whom it names is passed over where the log has all") {
  memory_disk disk;
  write_graph(disk, 1, 5);
  forge_checkpoint(disk, std::nullopt);
  {
    auto opened = durable_shards::open(home, on_disk(disk));
    if (!opened) FAIL(opened.error().text);
    CHECK(opened->recovery(0).checkpoint == 0);
    REQUIRE(opened->recovery(0).refused_checkpoints.size() == 1);
    CHECK(opened->recovery(0).refused_checkpoints[0].find("the version that wrote it") != std::string::npos);
    check_content(*opened, 5);
    REQUIRE(opened->checkpoint());
    REQUIRE(opened->close());
  }
  auto again = durable_shards::open(home, on_disk(disk));
  if (!again) FAIL(again.error().text);
  CHECK(again->recovery(0).checkpoint > 0);
  CHECK(again->recovery(0).refused_checkpoints.empty());
  check_content(*again, 5);
}

TEST_CASE("a shard's checkpoint that does not say whom it names is of another version where the log has not all") {
  memory_disk disk;
  write_graph(disk, 1, 80, true);
  write_graph(disk, 81, 160, true);
  forge_checkpoint(disk, std::nullopt);
  std::vector<std::string> whole;  // but for the one that was forged, which is the last
  for (const std::string& path : disk.files()) {
    if (path.starts_with(home + "/shard-0/checkpoint-")) whole.push_back(path);
  }
  REQUIRE(whole.size() == 2);
  disk.erase(whole.front());
  CHECK(refusal(disk, small_durable_shards()) == errc::wrong_version);
  durable_shards_options options = on_disk(disk);
  options.each.salvage = true;
  auto opened = durable_shards::open(home, options);
  if (!opened) FAIL(opened.error().text);
  CHECK(last_step(opened->graph()) == 0);
  REQUIRE(opened->recovery(0).damage);
  CHECK(opened->recovery(0).damage->code == errc::wrong_version);
}

TEST_CASE("a checkpoint waits for no commit of several shards whose logs are synced, and has none of it") {
  memory_disk disk;
  {
    auto made = durable_shards::open(home, on_disk(disk));
    REQUIRE(made);
    write_steps(*made, 1, 10);
    std::future<result<void>> beside;
    bool ended_first = false;
    disk.at_next_sync([&] {
      beside = std::async(std::launch::async, [&] { return made->checkpoint(); });
      ended_first =
          beside.wait_for(std::chrono::seconds(60)) == std::future_status::ready;  // a limit, so that it fails
    });
    write_steps(*made, 11, 11);
    CHECK(ended_first);
    REQUIRE(beside.valid());
    CHECK(beside.get());
    check_content(*made, 11);
  }
  auto again = durable_shards::open(home, on_disk(disk));
  if (!again) FAIL(again.error().text);
  CHECK(again->cut() == 0);
  std::uint64_t replayed = 0;
  for (unsigned k = 0; k < workload_shards; ++k) {
    CHECK(again->recovery(k).checkpoint > 0);
    replayed += again->recovery(k).replayed;
  }
  CHECK(replayed >= 2);  // the parts of the commit that was under way
  check_content(*again, 11);
}

TEST_CASE("a checkpoint says of other shards what the log up to it says, also of the last commit") {
  const auto said = [](std::uint64_t steps, bool checkpoint) {
    memory_disk disk;
    write_graph(disk, 1, steps, checkpoint);
    auto opened = durable_shards::open(home, on_disk(disk));
    REQUIRE(opened);
    std::vector<std::pair<unsigned, commit_number>> all;
    for (unsigned k = 0; k < workload_shards; ++k) {
      const recovery_report& found = opened->recovery(k);
      REQUIRE((checkpoint ? found.replayed : found.checkpoint) == 0);
      for (const commit_part& other : found.others.as_of(newest_commit)) all.emplace_back(other.shard, other.number);
    }
    return all;
  };
  for (std::uint64_t steps = 1; steps <= 12; ++steps) CHECK(said(steps, true) == said(steps, false));
}

TEST_CASE("a shard's checkpoint that names no other shard says so, and is used") {
  memory_disk disk;
  {
    auto made = durable_shards::open(home, on_disk(disk));
    REQUIRE(made);
    sharded_transaction tx = made->graph().begin().value();
    REQUIRE(tx.add_vertices(1, 3));
    REQUIRE(tx.commit());
    REQUIRE(made->checkpoint());
    REQUIRE(made->close());
  }
  auto opened = durable_shards::open(home, on_disk(disk));
  REQUIRE(opened);
  CHECK(opened->recovery(1).checkpoint == 1);
  CHECK(opened->recovery(1).refused_checkpoints.empty());
  CHECK(opened->recovery(1).others.settled.empty());
}

TEST_CASE(
    "a checkpoint that ends within a commit of several shards does not make it whole or lost when the disk goes") {
  unsigned failed = 0;
  unsigned cut = 0;
  for (unsigned life = 0; life < 80; ++life) {
    INFO("life " << life);
    std::mt19937_64 random(life);
    memory_disk disk;
    durable_shards_options options = on_disk(disk);
    options.each.checkpoints_kept = 1;  // so that the log goes up to the checkpoint
    options.each.log.segment_bytes = life % 2 == 0 ? 2'000 : 300;
    const std::uint64_t before = 3 + random() % 20;
    bool ended_first = false;
    bool whole = false;
    std::uint64_t acknowledged = before;
    {
      auto made = durable_shards::open(home, options);
      REQUIRE(made);
      write_steps(*made, 1, before);
      std::future<result<void>> beside;
      disk.at_next_sync(
          [&] {
            beside = std::async(std::launch::async, [&] { return made->checkpoint(); });
            ended_first = beside.wait_for(std::chrono::seconds(60)) == std::future_status::ready;
            disk.fail_at(1 + random() % 8, EIO, true);
          },
          random() % 3);
      for (std::uint64_t n = before + 1; !beside.valid(); ++n) {  // one of two shards may have had too few
        whole = shards_step(made->graph(), seed, n).has_value();
        acknowledged += whole ? 1 : 0;
      }
      check_content(*made, acknowledged);
      REQUIRE(ended_first);
      REQUIRE(beside.get());
    }
    disk.lose_power(random);
    auto opened = durable_shards::open(home, options);
    if (!opened) FAIL(opened.error().text);
    const std::uint64_t there = last_step(opened->graph());
    REQUIRE(there >= acknowledged);
    REQUIRE(there <= acknowledged + 1);
    check_content(*opened, there);
    for (unsigned k = 0; k < workload_shards; ++k) CHECK(opened->recovery(k).checkpoint > 0);
    failed += whole ? 0 : 1;
    cut += opened->cut();
    write_steps(*opened, there + 1, there + 3);
    check_content(*opened, there + 3);
  }
  CHECK(failed > 20);  // else the disk goes too late
  CHECK(cut > 5);
}

TEST_CASE("an arc of a shard or of a vertex that can not be is refused when it is read from a log or a checkpoint") {
  memory_disk whole;
  write_graph(whole, 1, 5);
  const vertex of_shard_2 = 2 * workload_shard_ids;
  for (const bool checkpoint : {false, true}) {
    INFO("checkpoint " << checkpoint);
    auto fine = whole.copy();
    forge_arc(*fine, 0, of_shard_2, workload_shards, checkpoint);
    CHECK(durable_shards::open(home, on_disk(*fine)));
    auto beyond = whole.copy();
    forge_arc(*beyond, 0, of_shard_2 + 900, workload_shards, checkpoint);
    CHECK(refusal(*beyond, small_durable_shards()) == errc::corrupt);
    auto fourth = whole.copy();
    forge_arc(*fourth, 3 * workload_shard_ids, 0, workload_shards + 1, checkpoint);
    CHECK(refusal(*fourth, small_durable_shards()) == errc::corrupt);
    // Its own range has ids that are no vertices.
    auto own = whole.copy();
    forge_arc(*own, 0, workload_shard_ids - 1, workload_shards, checkpoint);
    CHECK(refusal(*own, small_durable_shards()) == errc::corrupt);
  }
}

TEST_CASE("the folder of a store by itself is not opened as shards, nor the other way round") {
  memory_disk disk;
  durable_options alone = small_durable_shards().each;
  alone.on = &disk;
  { REQUIRE(durable_store::open(home, alone)); }
  CHECK(refusal(disk, small_durable_shards()) == errc::invalid_argument);
  CHECK(!disk.exists(home + "/shards"));
  CHECK(durable_store::open(home, alone));

  memory_disk sharded;
  { REQUIRE(durable_shards::open(home, on_disk(sharded))); }
  alone.on = &sharded;
  const auto opened = durable_store::open(home, alone);
  REQUIRE(!opened);
  CHECK(opened.error().code == errc::invalid_argument);
  CHECK(durable_shards::open(home, on_disk(sharded)));
}
