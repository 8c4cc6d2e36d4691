// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "durable/checkpoint.hpp"
#include "durable/disk.hpp"
#include "durable/wal.hpp"
#include "store/store.hpp"

namespace rhizome {

/// What a store is that is one shard of several; durable_shards sets it.
struct shard_role {
  std::uint32_t kind = 0;               ///< Which shard of how many: a part of what all files of the store say.
  std::optional<store_id> id;           ///< That all shards have; nothing: a store by itself.
  bool must_exist = false;              ///< Refused (errc::corrupt) where there is none.
  commit_number until = newest_commit;  ///< What the log has after it is cut off: other shards have not got it.
  /// With `salvage`: the last commit that each shard has got. The log ends, as damaged, before a transaction that one of them lacks.
  std::vector<commit_number> ends;
};

struct durable_options {
  /// `sink` and `commit_base` are set here. `arcs` and `unique_arcs` belong to the store for life: opened with others, it is refused.
  store_options store;
  wal_options log;
  /// How many checkpoints stay, at least 1; the log goes back to the oldest, so that a damaged one costs time and nothing else.
  std::size_t checkpoints_kept = 2;
  /// Opens what is there of a damaged store, up to the damage, and changes no file: it takes no writes (errc::read_only).
  bool salvage = false;
  disk* on = nullptr;  ///< nullptr: the system's. Outlives the store.
  shard_role shard;
};

/// What commits of a shard are in other shards, as its log and its checkpoint say.
struct other_shards {
  std::vector<commit_part> last;  ///< Of the last commit.
  commit_number number = 0;       ///< That commit, if `last` is not empty.
  std::map<std::uint32_t, commit_number>
      settled;  ///< The highest of those before it. It went on after them: they were durable.

  /// The next commit. May throw std::bad_alloc.
  void take(const commit_record& record);
  /// The highest of all up to `commit`, which is not before the last but one; ascending by shard.
  [[nodiscard]] std::vector<commit_part> as_of(commit_number commit) const;
};

/// What `open` found.
struct recovery_report {
  bool created = false;                          ///< There was nothing.
  commit_number checkpoint = 0;                  ///< That it began with; 0: none.
  std::vector<std::string> refused_checkpoints;  ///< Newer ones that could not be used, and why: one sentence each.
  commit_number newest = 0;                      ///< The last commit that is there.
  std::uint64_t replayed = 0;                    ///< Commits taken from the log.
  std::uint64_t log_bytes = 0;
  std::uint64_t cut_bytes = 0;      ///< A torn tail, never acknowledged as far as one can tell.
  std::uint64_t ignored_bytes = 0;  ///< See log_scan.
  other_shards others;          ///< Of a shard. A checkpoint's are all settled: it was written after they were durable.
  std::optional<error> damage;  ///< With `salvage` only: what was lost after `newest`.
};

/// A new store's. errc::io: the system gave no random numbers.
[[nodiscard]] result<store_id> random_store_id();

/// A store that survives its process: a directory with a log and checkpoints, and the store made from them. A commit returns when it is
/// on the disk.
///
///     auto d = rhizome::durable_store::open("/var/lib/graph").value();
///     auto tx = d.graph().begin().value();  ...  tx.commit().value();       // on the disk
///     d.checkpoint();                                                      // from time to time: shortens the next open
///     d.close();
///
/// Commits, `checkpoint`, `close` and `open` wait for the disk: a host calls them where blocking is allowed (dirty I/O). The store's own
/// rules hold for threads; `checkpoint` may run beside commits, one at a time. When the disk fails, the commit says so (no_space, io),
/// what was visible stays readable, and all later writes are refused (read_only): open it again when there is room.
///
/// What was trimmed from the store's history is back after an open that replays its log, until the next trim.
class durable_store {
public:
  /// One process at a time has a directory (errc::conflict); it is made where there is none. Finds the newest checkpoint that is whole, and
  /// repeats the log after it. errc::corrupt, wrong_version: what was acknowledged can not be had; the text says where it ends and
  /// what can be read, and no file was changed. invalid_argument: another kind of store.
  [[nodiscard]] static result<durable_store> open(const std::string& directory, const durable_options& options = {});
  durable_store(durable_store&&) noexcept;
  durable_store& operator=(durable_store&&) noexcept;
  /// As if the process had been killed; nothing that was acknowledged is lost. Snapshots may outlive it.
  ~durable_store();

  [[nodiscard]] store& graph() noexcept;
  [[nodiscard]] const recovery_report& recovery() const noexcept;
  [[nodiscard]] const store_id& id() const noexcept;
  [[nodiscard]] std::vector<log_segment> log_segments() const;

  /// Writes what is committed now into one file, and removes the checkpoints and the log that are not needed any more. Gives its
  /// commit. Writers go on meanwhile, and it waits for none of them. After an error the old ones are as they were, and the store goes on.
  [[nodiscard]] result<commit_number> checkpoint();
  /// Marks the log's end, so that every changed bit is found by the next open. No more writes then; nobody may be committing.
  [[nodiscard]] result<void> close();

private:
  struct parts;
  explicit durable_store(std::unique_ptr<parts> p) noexcept;

  std::unique_ptr<parts> parts_;
};

}  // namespace rhizome
