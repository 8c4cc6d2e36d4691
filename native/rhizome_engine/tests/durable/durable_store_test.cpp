// SPDX-License-Identifier: Apache-2.0
#include "durable/durable_store.hpp"

#include <cerrno>
#include <string>
#include <vector>

#include "durable/crc32c.hpp"
#include "memory_disk.hpp"
#include "store/image.hpp"
#include "support/catch.hpp"
#include "support/temporary_tree.hpp"
#include "workload.hpp"

using namespace rhizome;
using namespace rhizome::tests;

namespace {

constexpr std::uint64_t seed = 11;

durable_options on_disk(disk& on) {
  durable_options options;
  options.store = small_store();
  options.log = {.segment_bytes = 1'500, .allocate_bytes = 1'000, .buffer_bytes = 1'000};
  options.on = &on;
  return options;
}

// Commits on to `last`; the commits so far are those of the workload.
void write_to(durable_store& store, commit_number last) {
  for (commit_number n = store.graph().newest() + 1; n <= last; ++n) {
    const auto done = workload_step(store.graph(), seed, n);
    REQUIRE(done);
    REQUIRE(*done == n);
  }
}

void check_content(durable_store& store, commit_number newest) {
  REQUIRE(store.graph().newest() == newest);
  REQUIRE(dump(*store.graph().now()) == expected_dump(seed, newest));
}

std::string path_of(commit_number checkpoint) { return home + '/' + checkpoint_name(checkpoint); }

}  // namespace

TEST_CASE("a store is after an open what it was before, from its log alone") {
  memory_disk disk;
  {
    auto made = durable_store::open(home, on_disk(disk));
    REQUIRE(made);
    CHECK(made->recovery().created);
    write_to(*made, 60);
    CHECK(made->log_segments().size() > 2);
  }
  auto again = durable_store::open(home, on_disk(disk));
  REQUIRE(again);
  CHECK(!again->recovery().created);
  CHECK(again->recovery().replayed == 60);
  CHECK(again->recovery().checkpoint == 0);
  check_content(*again, 60);
  write_to(*again, 80);
  REQUIRE(again->close());
  again = fail(errc::io, "closed");
  again = durable_store::open(home, on_disk(disk));
  REQUIRE(again);
  CHECK(again->recovery().cut_bytes == 0);
  check_content(*again, 80);
}

TEST_CASE("a store is after an open what it was before, from a checkpoint and the log after it") {
  for (const auto kind : {arcs_kind::directed, arcs_kind::symmetric}) {
    memory_disk disk;
    auto options = on_disk(disk);
    options.store.arcs = kind;
    options.checkpoints_kept = 1;
    {
      auto made = durable_store::open(home, options);
      REQUIRE(made);
      write_to(*made, 40);
      const auto segments = made->log_segments().size();
      CHECK(made->checkpoint() == 40U);
      CHECK(made->log_segments().size() < segments);
      write_to(*made, 70);
    }
    std::string before;
    for (int round = 0; round < 2; ++round) {
      auto again = durable_store::open(home, options);
      REQUIRE(again);
      CHECK(again->recovery().checkpoint == 40);
      CHECK(again->recovery().replayed == 30 + 20U * static_cast<unsigned>(round));
      const commit_number newest = 70 + 20U * static_cast<unsigned>(round);
      REQUIRE(dump(*again->graph().now()) == expected_dump(seed, newest, options.store));
      write_to(*again, newest + 20);
    }
    auto last = durable_store::open(home, options);
    REQUIRE(last);
    CHECK(last->checkpoint() == 110U);
    last = fail(errc::io, "closed");
    last = durable_store::open(home, options);
    REQUIRE(last);
    CHECK(last->recovery().replayed == 0);
    REQUIRE(dump(*last->graph().now()) == expected_dump(seed, 110, options.store));
    while (last->graph().compact(1 << 20)->left_bytes > 0) {
    }
    REQUIRE(dump(*last->graph().now()) == expected_dump(seed, 110, options.store));
  }
}

TEST_CASE("a checkpoint holds what was committed when it began, whatever is committed while it is written") {
  memory_disk disk;
  auto made = durable_store::open(home, on_disk(disk));
  REQUIRE(made);
  write_to(*made, 30);
  const auto then = made->graph().now();
  write_to(*made, 60);  // removes, closes and moves what the snapshot shows
  while (made->graph().compact(1 << 20)->left_bytes > 0) {
  }
  auto writer = checkpoint_writer::create(disk, home, {made->id(), 2}, 30);
  REQUIRE(writer);
  REQUIRE(save(*then, **writer));
  REQUIRE((*writer)->finish(0));
  const auto mapped = mapped_checkpoint::open(disk, path_of(30));
  REQUIRE(mapped);
  auto loaded = load(**mapped, small_store());
  REQUIRE(loaded);
  CHECK(dump(*loaded->now()) == expected_dump(seed, 30));
  for (commit_number n = 31; n <= 50; ++n) REQUIRE(workload_step(*loaded, seed, n));
  CHECK(dump(*loaded->now()) == expected_dump(seed, 50));
}

TEST_CASE("a store that was trimmed is trimmed after an open from its checkpoint") {
  memory_disk disk;
  auto options = on_disk(disk);
  std::string before;
  {
    auto made = durable_store::open(home, options);
    REQUIRE(made);
    write_to(*made, 40);
    CHECK(made->graph().trim(25) == 25U);
    REQUIRE(made->checkpoint());
    before = dump(*made->graph().now());
  }
  auto again = durable_store::open(home, options);
  REQUIRE(again);
  CHECK(again->graph().horizon() == 25);
  CHECK(dump(*again->graph().now()) == before);
  CHECK(again->graph().trim(40) == 40U);
  for (commit_number n = 41; n <= 60; ++n) REQUIRE(workload_step(again->graph(), seed, n));
}

TEST_CASE("a checkpoint that takes the place of a damaged one stays") {
  memory_disk disk;
  auto options = on_disk(disk);
  {
    auto made = durable_store::open(home, options);
    REQUIRE(made);
    for (const commit_number n : {40U, 60U}) {
      write_to(*made, n);
      CHECK(made->checkpoint() == n);
    }
  }
  disk.content(path_of(60))[5'000] ^= std::byte{1};
  options.checkpoints_kept = 1;
  {
    auto again = durable_store::open(home, options);
    REQUIRE(again);
    CHECK(again->recovery().checkpoint == 40);
    CHECK(again->checkpoint() == 60U);
  }
  CHECK(disk.exists(path_of(60)));
  auto third = durable_store::open(home, options);
  if (!third) FAIL(third.error().text);
  check_content(*third, 60);
}

TEST_CASE("a damaged checkpoint costs time and nothing else, while the one before it is kept") {
  memory_disk disk;
  auto options = on_disk(disk);
  {
    auto made = durable_store::open(home, options);
    REQUIRE(made);
    for (const commit_number n : {20U, 40U, 60U}) {
      write_to(*made, n);
      CHECK(made->checkpoint() == n);
    }
    write_to(*made, 70);
  }
  CHECK(disk.exists(path_of(40)));
  CHECK(!disk.exists(path_of(20)));
  disk.content(path_of(60))[5'000] ^= std::byte{1};
  {
    auto again = durable_store::open(home, options);
    REQUIRE(again);
    CHECK(again->recovery().checkpoint == 40);
    CHECK(again->recovery().refused_checkpoints.size() == 1);
    check_content(*again, 70);
    CHECK(again->checkpoint() == 70U);  // and the damaged one is gone
    CHECK(!disk.exists(path_of(60)));
  }
  disk.content(path_of(40))[5'000] ^= std::byte{1};
  disk.content(path_of(70))[5'000] ^= std::byte{1};
  const auto files = disk.files();
  const auto refused = durable_store::open(home, options);
  REQUIRE(!refused);
  CHECK(refused.error().code == errc::corrupt);
  CHECK(disk.files() == files);
}

TEST_CASE("a damaged store is refused, and what is there can be looked at") {
  memory_disk disk;
  auto options = on_disk(disk);
  {
    auto made = durable_store::open(home, options);
    REQUIRE(made);
    write_to(*made, 60);
    REQUIRE(made->close());
  }
  disk.content(home + "/0000000002.wal")[700] ^= std::byte{4};
  const auto refused = durable_store::open(home, options);
  REQUIRE(!refused);
  CHECK(refused.error().code == errc::corrupt);
  options.salvage = true;
  auto looked = durable_store::open(home, options);
  REQUIRE(looked);
  REQUIRE(looked->recovery().damage);
  CHECK(refused.error().text == looked->recovery().damage->text);
  const commit_number newest = looked->recovery().newest;
  CHECK(newest > 0);
  CHECK(newest < 60);
  check_content(*looked, newest);
  const auto written = workload_step(looked->graph(), seed, newest + 1);
  REQUIRE(!written);
  CHECK(written.error().code == errc::read_only);
  CHECK(!looked->checkpoint());
  check_content(*looked, newest);
}

TEST_CASE("a directory is one process's, and one kind of store's") {
  const karyon::tests::temporary_tree tree;
  durable_options options;
  options.store = small_store();
  const std::string directory = tree.path("new");
  auto made = durable_store::open(directory, options);
  REQUIRE(made);
  const auto second = durable_store::open(directory, options);
  REQUIRE(!second);
  CHECK(second.error().code == errc::conflict);
  write_to(*made, 3);
  made = fail(errc::io, "closed");

  auto other = options;
  other.store.arcs = arcs_kind::symmetric;
  const auto different = durable_store::open(directory, other);
  REQUIRE(!different);
  CHECK(different.error().code == errc::invalid_argument);
  made = durable_store::open(directory, options);
  REQUIRE(made);
  check_content(*made, 3);
  CHECK(made->checkpoint() == 3U);
  made = fail(errc::io, "closed");
  CHECK(durable_store::open(directory, other).error().code == errc::invalid_argument);
  made = durable_store::open(directory, options);
  REQUIRE(made);
  check_content(*made, 3);
  write_to(*made, 9);
  check_content(*made, 9);
}

TEST_CASE("each change of the disk that fails is told by the commit, and the store stays readable") {
  for (const auto& [number, code] : {std::pair{ENOSPC, errc::no_space}, std::pair{EIO, errc::io}}) {
    for (std::uint64_t change = 1;; change += 1 + change / 8) {
      memory_disk disk;
      auto options = on_disk(disk);
      options.checkpoints_kept = 1;
      commit_number acknowledged = 0;
      disk.fail_at(change, number);
      bool reached = false;
      {
        auto made = durable_store::open(home, options);
        std::optional<error> failure;
        if (!made) failure = made.error();
        while (!failure && acknowledged < 30) {
          const auto done = workload_step(made->graph(), seed, acknowledged + 1);
          if (done) acknowledged = *done;
          if (!done) failure = done.error();
          if (done && *done % 10 == 0) {
            const auto checkpoint = made->checkpoint();
            if (!checkpoint) CHECK(checkpoint.error().code == code);  // and the store goes on
          }
        }
        reached = disk.changes() >= change;
        INFO("change " << change);
        if (failure) REQUIRE(failure->code == code);
        if (failure && made) {
          check_content(*made, acknowledged);
          const auto later = workload_step(made->graph(), seed, acknowledged + 1);
          REQUIRE(!later);
          REQUIRE(later.error().code == errc::read_only);
        }
      }
      disk.fail_at(0, 0);
      auto again = durable_store::open(home, options);
      REQUIRE(again);
      REQUIRE(again->recovery().newest >= acknowledged);
      REQUIRE(again->recovery().newest <= acknowledged + 1);
      check_content(*again, again->recovery().newest);
      if (!reached) break;
    }
  }
}

TEST_CASE("a store survives a loss of power at any change of the disk") {
  for (unsigned round = 1; round <= 60; ++round) {
    std::mt19937_64 random(round);
    memory_disk disk;
    auto options = on_disk(disk);
    options.checkpoints_kept = 1 + round % 2;
    commit_number acknowledged = 0;
    for (int life = 0; life < 3; ++life) {
      disk.fail_at(1 + random() % 120, EIO, true);
      {
        auto made = durable_store::open(home, options);
        for (bool going = made.has_value(); going && acknowledged < 45;) {
          const commit_number next = made->graph().newest() + 1;
          const auto done = workload_step(made->graph(), seed, next);
          going = done.has_value();
          if (going) acknowledged = *done;
          if (going && random() % 8 == 0) static_cast<void>(made->checkpoint());
        }
      }
      disk.lose_power(random);
      INFO("round " << round << ", life " << life);
      auto again = durable_store::open(home, options);
      REQUIRE(again);
      REQUIRE(again->recovery().newest >= acknowledged);
      check_content(*again, again->recovery().newest);
      acknowledged = again->recovery().newest;
    }
  }
}

TEST_CASE("an image whose numbers are changed is refused, or is a graph that can be read") {
  memory_disk disk;
  auto made = store::make(small_store());
  REQUIRE(made);
  for (commit_number n = 1; n <= 25; ++n) REQUIRE(workload_step(*made, seed, n));
  auto writer = checkpoint_writer::create(disk, home, {}, 25);
  REQUIRE(writer);
  REQUIRE(save(*made->now(), **writer));
  REQUIRE((*writer)->finish(0));
  const auto whole = disk.content(path_of(25));
  std::mt19937_64 random(1);
  int refused = 0;
  for (int i = 0; i < 800; ++i) {
    auto& bytes = disk.content(path_of(25));
    checkpoint_header header;
    std::memcpy(&header, bytes.data(), sizeof header);
    auto* const table = reinterpret_cast<checkpoint_entry*>(bytes.data() + header.table_offset);
    checkpoint_entry& entry = table[random() % header.sections];
    if (entry.bytes < 8) continue;
    const std::uint64_t number = random() >> (random() % 64);
    std::memcpy(bytes.data() + entry.offset + 4 * (random() % (entry.bytes / 4)), &number, 4);
    entry.crc = crc32c(0, bytes.data() + entry.offset, (entry.bytes + 4'095) / 4'096 * 4'096);
    header.table_crc = crc32c(0, bytes.data() + header.table_offset, bytes.size() - header.table_offset);
    header.crc = crc32c(0, &header, sizeof header - 4);
    std::memcpy(bytes.data(), &header, sizeof header);
    const auto mapped = mapped_checkpoint::open(disk, path_of(25));
    REQUIRE(mapped);
    auto loaded = load(**mapped, small_store());
    if (!loaded) ++refused;
    if (loaded) {
      static_cast<void>(dump(*loaded->now()));
      for (commit_number n = 26; n <= 28; ++n) static_cast<void>(workload_step(*loaded, seed, n));
    }
    bytes = whole;
  }
  CHECK(refused > 300);
}

namespace {

struct forgery {
  std::uint32_t section;
  std::size_t at;
  std::uint32_t number;
};

// The checkpoint of commit 3 with other numbers, under sums that hold; what `load` says against it.
std::string refused_for(memory_disk& disk, const std::vector<forgery>& all) {
  auto& bytes = disk.content(path_of(3));
  const auto whole = bytes;
  checkpoint_header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  auto* const table = reinterpret_cast<checkpoint_entry*>(bytes.data() + header.table_offset);
  for (const forgery& one : all) {
    for (std::uint32_t i = 0; i < header.sections; ++i) {
      checkpoint_entry& entry = table[i];
      if (entry.id != one.section) continue;
      REQUIRE(one.at + 4 <= entry.bytes);
      std::memcpy(bytes.data() + entry.offset + one.at, &one.number, 4);
      entry.crc = crc32c(0, bytes.data() + entry.offset, (entry.bytes + 4'095) / 4'096 * 4'096);
    }
  }
  header.table_crc = crc32c(0, bytes.data() + header.table_offset, bytes.size() - header.table_offset);
  header.crc = crc32c(0, &header, sizeof header - 4);
  std::memcpy(bytes.data(), &header, sizeof header);
  const auto mapped = mapped_checkpoint::open(disk, path_of(3));
  REQUIRE(mapped);
  const auto loaded = load(**mapped, small_store());
  bytes = whole;
  return loaded ? "" : loaded.error().text;
}

}  // namespace

TEST_CASE("an image in which an arc was there before the vertex that it leads to is refused") {
  for (const bool closed : {false, true}) {
    memory_disk disk;
    auto made = store::make(small_store());
    REQUIRE(made);
    const auto change = [&](auto&& what) {
      transaction tx = made->begin().value();
      what(tx);
      REQUIRE(tx.commit());
    };
    change([](transaction& tx) { REQUIRE(tx.add_vertices(2)); });
    change([](transaction& tx) {
      REQUIRE(tx.add_vertices(1));
      REQUIRE(tx.add_arc(0, 0, 2));
    });
    change([closed](transaction& tx) {
      if (closed) REQUIRE(tx.remove_arc(0, 0, 2));
      REQUIRE(tx.add_arc(0, 1, 0));
    });
    auto writer = checkpoint_writer::create(disk, home, {}, 3);
    REQUIRE(writer);
    REQUIRE(save(*made->now(), **writer));
    REQUIRE((*writer)->finish(0));
    const std::string why = closed ? "a history" : "a block's arcs";
    const forgery born_later{2, 2 * 8, 3};       // vertex 2, by its life: in commit 3
    const forgery fewer_ids{3, 2 * 24 + 16, 2};  // after commit 2 there are ids 0 and 1
    const forgery never_born{2, 2 * 8, 0};       // and so one less is there,
    const forgery one_less{3, 3 * 24 + 20, 2};   // after commit 3
    const forgery one_less_in_all{1, 5 * 4, 2};  // and in the image's state
    CHECK(refused_for(disk, {}).empty());
    CHECK(refused_for(disk, {fewer_ids}).ends_with("when a vertex came to be"));
    CHECK(refused_for(disk, {born_later}).ends_with(why));
    CHECK(refused_for(disk, {born_later, fewer_ids}).ends_with(why));
    CHECK(refused_for(disk, {never_born, one_less, one_less_in_all}).ends_with(why));
  }
}
