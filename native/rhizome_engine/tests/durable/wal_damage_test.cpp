// SPDX-License-Identifier: Apache-2.0
//
// Every way in which bytes of a log can be missing or changed: what is read is then what was written up to some commit, and
// whatever of the acknowledged is gone is reported.
#include <numeric>
#include <string>
#include <vector>

#include "durable/wal.hpp"
#include "histories.hpp"
#include "memory_disk.hpp"
#include "support/catch.hpp"

using namespace rhizome;
using namespace rhizome::tests;

namespace {

const std::string first_segment = home + "/0000000001.wal";

struct written_log {
  memory_disk disk;
  std::vector<kept_commit> commits;
  std::vector<std::uint64_t> ends;  // of each commit, in bytes since the log's beginning
};

// `group` commits to a sync; `closed` seals the log.
void write_log(written_log& to, commit_number count, commit_number group, bool closed, wal_options options = {}) {
  std::mt19937_64 random(3);
  auto log = wal::create(to.disk, home, some_store, 0, 1'700'000'000'000'000, options);
  REQUIRE(log);
  for (commit_number number = 1; number <= count; ++number) {
    to.commits.push_back(random_commit(random, number, 3));
    REQUIRE((*log)->append(to.commits.back().record()));
    if (number % group == 0) REQUIRE((*log)->sync());
    to.ends.push_back(sizeof(segment_header) + (*log)->bytes_appended());
  }
  REQUIRE((*log)->sync());
  if (closed) REQUIRE((*log)->close());
}

}  // namespace

TEST_CASE("a log that ends at any byte is read up to its last whole transaction") {
  written_log log;
  write_log(log, 12, 1, false, {.allocate_bytes = 0});
  const auto whole = log.disk.content(first_segment);
  for (const bool zeros : {false, true}) {  // as an append leaves it, or with the room that was asked for before
    for (std::size_t size = 0; size < whole.size(); ++size) {
      auto& bytes = log.disk.content(first_segment) = whole;
      bytes.resize(size);
      if (zeros) bytes.resize(whole.size());
      const auto seen = see(log.disk, home);
      REQUIRE(seen);
      if (size < sizeof(segment_header)) {
        REQUIRE(seen->scan.damage);
        REQUIRE(seen->scan.damage->code == errc::corrupt);
        continue;
      }
      std::size_t expected = 0;
      while (expected < log.ends.size() && log.ends[expected] <= size) ++expected;
      // Where the bytes that are gone were zeros, nothing is.
      while (zeros && expected < log.ends.size() && bytes == whole) ++expected;
      const std::uint64_t end = expected == 0 ? sizeof(segment_header) : log.ends[expected - 1];
      INFO("cut to " << size << (zeros ? " bytes and zeros" : " bytes"));
      REQUIRE(!seen->scan.damage);
      REQUIRE(seen->commits.size() >= expected);
      REQUIRE(is_prefix(seen->commits, log.commits));
      if (!zeros && bytes.back() != std::byte{0}) REQUIRE(seen->scan.cut_bytes == size - end);
      REQUIRE(seen->scan.end_offset >= end);

      const auto resumed = wal::resume(log.disk, home, seen->scan, {.allocate_bytes = 700});
      REQUIRE(resumed);
      const auto next = static_cast<commit_number>(seen->commits.size() + 1);
      REQUIRE((*resumed)->append(arcs_commit(next, 1).record()));
      REQUIRE((*resumed)->sync());
      const auto again = see(log.disk, home);
      REQUIRE(again);
      REQUIRE(!again->scan.damage);
      REQUIRE(again->commits.size() == next);
    }
  }
}

TEST_CASE("each changed bit of a log that was closed is found") {
  written_log log;
  write_log(log, 12, 4, true);
  auto& bytes = log.disk.content(first_segment);
  const std::size_t seal = bytes.size() - sizeof(frame_header);
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      bytes[at] ^= static_cast<std::byte>(1U << bit);
      const auto seen = see(log.disk, home);
      INFO("byte " << at << ", bit " << bit);
      REQUIRE(seen);
      REQUIRE(is_prefix(seen->commits, log.commits));
      if (at < seal) {
        REQUIRE(seen->scan.damage);
        REQUIRE((seen->scan.damage->code == errc::corrupt));
        REQUIRE(seen->commits.size() < log.commits.size());
      } else {  // the seal itself: nothing is lost
        REQUIRE(!seen->scan.damage);
        REQUIRE(seen->commits.size() == log.commits.size());
        REQUIRE(seen->scan.cut_bytes > 0);
        REQUIRE(seen->scan.cut_bytes <= sizeof(frame_header));
      }
      bytes[at] ^= static_cast<std::byte>(1U << bit);
    }
  }
}

TEST_CASE("a changed bit before the last sync of a log that was killed is damage, and behind it a torn tail") {
  const commit_number group = 4;
  written_log log;
  write_log(log, 12, group, false, {.allocate_bytes = 3'000});
  auto& bytes = log.disk.content(first_segment);
  const std::uint64_t last_group = log.ends[12 - group - 1];
  const std::uint64_t end = log.ends.back();
  for (std::size_t at = 0; at < end; ++at) {
    bytes[at] ^= std::byte{0x10};
    const auto seen = see(log.disk, home);
    INFO("byte " << at);
    REQUIRE(seen);
    REQUIRE(is_prefix(seen->commits, log.commits));
    REQUIRE(seen->commits.size() < log.commits.size());
    if (at < last_group) {
      REQUIRE(seen->scan.damage);
      REQUIRE(seen->scan.damage->code == errc::corrupt);
    } else {
      REQUIRE(!seen->scan.damage);
      REQUIRE(seen->commits.size() >= 12 - group);
      REQUIRE(seen->scan.cut_bytes > 0);
    }
    bytes[at] ^= std::byte{0x10};
  }
}

TEST_CASE("each changed byte of a segment that is not the last is damage, or in the mark at its end") {
  written_log log;
  write_log(log, 20, 1, true, {.segment_bytes = 300});
  const auto files = log.disk.files();
  REQUIRE(files.size() > 2);
  const auto check = [&](bool mark) {
    const auto seen = see(log.disk, home);
    REQUIRE(seen);
    REQUIRE(is_prefix(seen->commits, log.commits));
    REQUIRE(seen->scan.damage.has_value() == !mark);
    if (mark) REQUIRE(seen->commits.size() == log.commits.size());
    return seen->scan.ignored_bytes;
  };
  for (std::size_t i = 0; i + 1 < files.size(); ++i) {
    auto& bytes = log.disk.content(files[i]);
    const auto whole = bytes;
    const std::size_t mark = whole.size() - sizeof(frame_header);
    for (std::size_t at = 0; at < whole.size(); ++at) {
      INFO(files[i] << ", byte " << at);
      bytes[at] ^= std::byte{0x40};
      const auto ignored = check(at >= mark);
      if (at >= mark) REQUIRE(ignored > 0);
      bytes.resize(at);
      check(at >= mark);
      bytes = whole;
    }
  }
}

TEST_CASE("a segment that is gone is missed, whichever it is") {
  written_log log;
  write_log(log, 20, 1, true, {.segment_bytes = 300});
  const auto files = log.disk.files();
  REQUIRE(files.size() > 2);
  for (const std::string& gone : files) {
    const auto left = log.disk.copy();
    left->erase(gone);
    const auto seen = see(*left, home);
    REQUIRE(seen);
    INFO(gone);
    REQUIRE(seen->scan.damage);
    CHECK(seen->scan.damage->code == errc::corrupt);
    CHECK(is_prefix(seen->commits, log.commits));
  }
}

TEST_CASE("frames that lie where others were written are not taken for them") {
  written_log log;
  write_log(log, 2, 1, true);
  auto& bytes = log.disk.content(first_segment);
  const auto first_end = static_cast<std::ptrdiff_t>(log.ends[0]);
  const std::vector<std::byte> second(bytes.begin() + first_end,
                                      bytes.begin() + static_cast<std::ptrdiff_t>(log.ends[1]));
  bytes.erase(bytes.begin() + sizeof(segment_header), bytes.end());
  bytes.insert(bytes.end(), second.begin(), second.end());
  const auto seen = see(log.disk, home);
  REQUIRE(seen);
  CHECK(seen->commits.empty());
}
