// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/change.hpp"
#include "durable/disk.hpp"
#include "durable/wal_format.hpp"

namespace rhizome {

struct log_segment {
  std::uint64_t index = 0;
  commit_number first = 0;
};

/// What there is of a log.
struct log_scan {
  std::vector<log_segment> segments;  ///< In order; empty: there is no log.
  store_identity store;
  commit_number last = 0;           ///< The last whole transaction.
  std::uint64_t commits = 0;        ///< Of these visited, that is after the one asked for.
  std::uint64_t bytes = 0;          ///< Read as valid.
  segment_header end_header;        ///< Of the segment where that is,
  std::uint64_t end_offset = 0;     ///< and where in it the next one goes.
  std::uint64_t cut_bytes = 0;      ///< Behind that: a transaction that was never acknowledged, as far as one can tell.
  std::uint64_t ignored_bytes = 0;  ///< Unreadable ends of segments before the last: nothing is missing there.
  /// The log is not what was written: what was acknowledged is lost after `last`. Everything up to it was visited.
  std::optional<error> damage;
};

/// Which log is wanted, and from where on.
struct wanted_log {
  std::optional<store_id> id = std::nullopt;  ///< nothing: any store's.
  std::optional<std::uint32_t>
      kind;                 ///< A log of another is refused with invalid_argument, before anything is visited.
  commit_number after = 0;  ///< What comes after it is visited.
  /// What comes after it is cut, whole or not: of a shard, whose last transaction other shards have not got.
  commit_number until = newest_commit;
};

/// Called with each transaction in turn; an error ends the scan, as damage.
using commit_visitor = std::function<result<void>(const commit_record&)>;

/// Reads the log in a directory, visits the transactions that are wanted, and judges where it ends:
///
/// - What can not be read at the end of the last segment is a torn tail, to be cut, unless something behind it was written when it
///   was durable already (each frame says up to which commit that was): then it is damage, as is anything elsewhere.
/// - Frames behind an unreadable one that were part of the same unsynced group prove nothing: a device may write in any order.
///
/// Before the last segment is read, it is synced and dropped from the page cache,
/// so that what is seen is what the device has. An error is one of the disk (io); damage is in the result. Blocks on the disk;
/// memory for the longest transaction.
[[nodiscard]] result<log_scan> scan_log(disk& on, const std::string& directory, const wanted_log& wanted,
                                        const commit_visitor& visit);

}  // namespace rhizome
