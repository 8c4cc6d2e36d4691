// SPDX-License-Identifier: Apache-2.0
#include "durable/wal.hpp"

#include <limits>
#include <string>
#include <vector>

#include "histories.hpp"
#include "memory_disk.hpp"
#include "support/catch.hpp"

using namespace rhizome;
using namespace rhizome::tests;

namespace {

std::unique_ptr<wal> new_log(disk& on, wal_options options = {}) {
  auto made = wal::create(on, home, some_store, 0, 1'700'000'000'000'000, options);
  REQUIRE(made);
  return std::move(*made);
}

}  // namespace

TEST_CASE("transactions come back from the log as they were") {
  std::mt19937_64 random(1);
  memory_disk disk;
  std::vector<kept_commit> written;
  {
    const auto log = new_log(disk);
    for (commit_number number = 1; number <= 2'000; ++number) {
      written.push_back(random_commit(random, number));
      REQUIRE(log->append(written.back().record()));
    }
    REQUIRE(log->sync());
    CHECK(log->durable() == 2'000);
  }
  const auto seen = see(disk, home);
  REQUIRE(seen);
  CHECK(!seen->scan.damage);
  CHECK(seen->scan.last == 2'000);
  CHECK(seen->scan.store == some_store);
  CHECK(seen->scan.cut_bytes == 0);
  CHECK(seen->commits == written);
}

TEST_CASE("only what comes after a commit is visited when that is asked for") {
  memory_disk disk;
  std::vector<kept_commit> written;
  const auto log = new_log(disk);
  for (commit_number number = 1; number <= 10; ++number) {
    written.push_back(arcs_commit(number, 2));
    REQUIRE(log->append(written.back().record()));
  }
  REQUIRE(log->sync());
  const auto seen = see(disk, home, 7);
  REQUIRE(seen);
  CHECK(!seen->scan.damage);
  REQUIRE(seen->commits.size() == 3);
  CHECK(is_prefix(seen->commits, written, 7));
}

TEST_CASE("a plain new arc takes at most 16 bytes, and one among small ids at most 9") {
  for (const auto& [from, most] :
       {std::pair{vertex{1} << 20, 9.0}, std::pair{std::numeric_limits<vertex>::max() - 80'000, 16.0}}) {
    memory_disk disk;
    const auto log = new_log(disk);
    REQUIRE(log->append(arcs_commit(1, 10'000, from).record()));
    REQUIRE(log->sync());
    CHECK(static_cast<double>(log->bytes_appended()) / 10'000 <= most);
  }
}

TEST_CASE("a transaction longer than the buffer and than a segment is one") {
  memory_disk disk;
  std::vector<kept_commit> written;
  const auto log = new_log(disk, {.segment_bytes = 1 << 16, .allocate_bytes = 1 << 14, .buffer_bytes = 1 << 12});
  written.push_back(arcs_commit(1, 300'000));
  kept_commit& second = written.emplace_back(arcs_commit(2, 3));
  change& text = second.add(change_kind::set_vertex_property);
  text.source = 4;
  text.data = &second.values.emplace_back(std::string(3'000'000, 'x'));
  written.push_back(arcs_commit(3, 1));
  for (const kept_commit& made : written) REQUIRE(log->append(made.record()));
  REQUIRE(log->sync());
  const auto seen = see(disk, home);
  REQUIRE(seen);
  CHECK(!seen->scan.damage);
  CHECK(seen->commits == written);
}

TEST_CASE("a log that was left goes on where it ended") {
  memory_disk disk;
  std::vector<kept_commit> written;
  const auto options = wal_options{.segment_bytes = 400, .allocate_bytes = 100};
  const auto append_some = [&](wal& log) {
    for (int i = 0; i < 7; ++i) {
      written.push_back(arcs_commit(static_cast<commit_number>(written.size() + 1), 3));
      REQUIRE(log.append(written.back().record()));
      REQUIRE(log.sync());
    }
  };
  append_some(*new_log(disk, options));
  for (int again = 0; again < 6; ++again) {
    const auto seen = see(disk, home);
    REQUIRE(seen);
    REQUIRE(!seen->scan.damage);
    const auto log = wal::resume(disk, home, seen->scan, options);
    REQUIRE(log);
    append_some(**log);
    if (again % 2 == 0) REQUIRE((*log)->close());
  }
  const auto seen = see(disk, home);
  REQUIRE(seen);
  CHECK(!seen->scan.damage);
  CHECK(seen->scan.segments.size() > 3);
  CHECK(seen->commits == written);
}

TEST_CASE("segments are removed when nothing in them comes after a commit") {
  memory_disk disk;
  const auto log = new_log(disk, {.segment_bytes = 300, .allocate_bytes = 0});
  for (commit_number number = 1; number <= 50; ++number) {
    REQUIRE(log->append(arcs_commit(number, 3).record()));
    REQUIRE(log->sync());
  }
  const auto before = log->segments();
  REQUIRE(before.size() > 4);
  const commit_number kept_from = before[2].first;
  REQUIRE(log->remove_before(kept_from - 2));
  CHECK(log->segments().front().first == before[1].first);
  REQUIRE(log->remove_before(kept_from - 1));
  CHECK(log->segments().front().first == kept_from);
  CHECK(disk.files().size() == log->segments().size());

  const auto seen = see(disk, home, kept_from - 1);
  REQUIRE(seen);
  CHECK(!seen->scan.damage);
  CHECK(seen->scan.last == 50);
  const auto too_early = see(disk, home, kept_from - 2);  // a commit between the two is missing
  REQUIRE(too_early);
  REQUIRE(too_early->scan.damage);
  CHECK(too_early->scan.damage->code == errc::corrupt);
  CHECK(too_early->commits.empty());

  REQUIRE(log->remove_before(newest_commit - 1));  // the open one stays
  CHECK(log->segments().size() == 1);
}

TEST_CASE("a log is refused when it is another store's, or of another version") {
  memory_disk disk;
  REQUIRE(new_log(disk)->close());
  const auto nothing = [](const commit_record&) -> result<void> { return {}; };
  store_id other = some_store.id;
  ++other[15];
  const auto foreign = scan_log(disk, home, {other, std::nullopt, 0}, nothing);
  REQUIRE(foreign);
  REQUIRE(foreign->damage);
  CHECK(foreign->damage->code == errc::corrupt);
  const auto different = scan_log(disk, home, {some_store.id, some_store.kind + 1, 0}, nothing);
  REQUIRE(different);
  REQUIRE(different->damage);
  CHECK(different->damage->code == errc::invalid_argument);

  auto& bytes = disk.content(home + "/0000000001.wal");
  segment_header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  header.version = wal_version + 1;
  header.crc = crc32c(0, &header, sizeof header - sizeof header.crc);
  std::memcpy(bytes.data(), &header, sizeof header);
  const auto newer = scan_log(disk, home, {}, nothing);
  REQUIRE(newer);
  REQUIRE(newer->damage);
  CHECK(newer->damage->code == errc::wrong_version);
}

TEST_CASE("a commit out of turn is refused, and the log with it") {
  memory_disk disk;
  const auto log = new_log(disk);
  REQUIRE(log->append(arcs_commit(1, 1).record()));
  const auto skipped = log->append(arcs_commit(3, 1).record());
  REQUIRE(!skipped);
  CHECK(skipped.error().code == errc::invalid_argument);
  const auto later = log->append(arcs_commit(2, 1).record());
  REQUIRE(!later);
  CHECK(later.error().code == errc::read_only);
}

TEST_CASE("what a visitor can not take ends the reading there") {
  memory_disk disk;
  const auto log = new_log(disk);
  for (commit_number number = 1; number <= 5; ++number) REQUIRE(log->append(arcs_commit(number, 1).record()));
  REQUIRE(log->sync());
  const auto scan = scan_log(disk, home, {}, [](const commit_record& record) -> result<void> {
    if (record.number == 4) return fail(errc::not_found, "no such vertex");
    return {};
  });
  REQUIRE(scan);
  REQUIRE(scan->damage);
  CHECK(scan->damage->code == errc::not_found);
  CHECK(scan->last == 3);
}
