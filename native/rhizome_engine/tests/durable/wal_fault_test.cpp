// SPDX-License-Identifier: Apache-2.0
//
// A disk that refuses or loses power at any change, from the log's first file on.
#include <cerrno>
#include <string>
#include <vector>

#include "durable/wal.hpp"
#include "histories.hpp"
#include "memory_disk.hpp"
#include "support/catch.hpp"

using namespace rhizome;
using namespace rhizome::tests;

namespace {

struct run_result {
  std::vector<kept_commit> appended;  // given to the log, whatever came of it
  commit_number acknowledged = 0;
  std::optional<error> failure;  // the first
};

// Fills segments of some hundred bytes by groups of random size, drops old ones, and stops at the first error.
run_result write_until_failure(disk& on, std::mt19937_64& random, commit_number count) {
  run_result run;
  const auto note = [&](const result<void>& done) {
    if (!done && !run.failure) run.failure = done.error();
    return done.has_value();
  };
  auto log = wal::create(on, home, some_store, 0, 1'700'000'000'000'000,
                         {.segment_bytes = 2'000, .allocate_bytes = 700, .buffer_bytes = 300});
  if (!log) {
    run.failure = log.error();
    return run;
  }
  for (commit_number number = 1; number <= count && !run.failure; ++number) {
    run.appended.push_back(random_commit(random, number));
    if (!note((*log)->append(run.appended.back().record()))) break;
    if (random() % 3 == 0 && note((*log)->sync())) run.acknowledged = number;
  }
  if (!run.failure && note((*log)->close())) run.acknowledged = count;
  if (run.failure) {  // and it stays so
    const auto next = static_cast<commit_number>(run.appended.size() + 1);
    const auto append = (*log)->append(arcs_commit(next, 1).record());
    const auto sync = (*log)->sync();
    REQUIRE(!append);
    REQUIRE(!sync);
    REQUIRE(append.error().code == errc::read_only);
    REQUIRE(sync.error().code == errc::read_only);
    REQUIRE(sync.error().text.find(run.failure->text) != std::string::npos);
  }
  return run;
}

}  // namespace

TEST_CASE("each change of the disk that fails is reported as what it was, and loses nothing that was acknowledged") {
  for (const auto& [number, code] : {std::pair{ENOSPC, errc::no_space}, std::pair{EIO, errc::io}}) {
    for (std::uint64_t change = 1;; ++change) {
      memory_disk disk;
      disk.fail_at(change, number);
      std::mt19937_64 random(5);
      const run_result run = write_until_failure(disk, random, 60);
      const bool reached = disk.changes() >= change;
      disk.fail_at(0, 0);
      INFO("change " << change);
      if (run.failure) REQUIRE(run.failure->code == code);
      // Room that can not be had beforehand is no failure; all else that fails is one.
      if (!reached) {
        REQUIRE(change > 60);
        break;
      }
      const auto seen = see(disk, home);
      REQUIRE(seen);
      REQUIRE(!seen->scan.damage);
      REQUIRE(seen->commits.size() >= run.acknowledged);
      REQUIRE(is_prefix(seen->commits, run.appended));
    }
  }
}

TEST_CASE("after a loss of power at any change all that was acknowledged is there, and nothing that was not written") {
  for (unsigned seed = 1; seed <= 400; ++seed) {
    std::mt19937_64 random(seed);
    memory_disk disk;
    disk.fail_at(1 + random() % 150, EIO, true);
    const run_result run = write_until_failure(disk, random, 60);
    disk.lose_power(random);
    const auto seen = see(disk, home);
    INFO("seed " << seed);
    REQUIRE(seen);
    if (seen->scan.damage) INFO(seen->scan.damage->text);
    REQUIRE(!seen->scan.damage);
    REQUIRE(seen->commits.size() >= run.acknowledged);
    REQUIRE(is_prefix(seen->commits, run.appended));

    if (seen->scan.segments.empty()) continue;  // power went before there was a log
    const auto resumed = wal::resume(disk, home, seen->scan, {.allocate_bytes = 700});
    REQUIRE(resumed);
    const auto next = static_cast<commit_number>(seen->commits.size() + 1);
    REQUIRE((*resumed)->append(arcs_commit(next, 1).record()));
    REQUIRE((*resumed)->sync());
    disk.lose_power(random);
    const auto again = see(disk, home);
    REQUIRE(again);
    REQUIRE(!again->scan.damage);
    REQUIRE(again->commits.size() == next);
  }
}
