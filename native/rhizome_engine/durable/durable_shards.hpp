// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "durable/durable_store.hpp"
#include "store/sharded.hpp"

namespace rhizome {

struct durable_shards_options {
  /// How each shard is made and kept: a durable_store by itself, in a directory of its own. `vertices_max`, `arcs` and `unique_arcs` belong to
  /// the graph for life, as `count` does. `store.numa_node` is overridden by `nodes`; `shard` and `store.shared` are set here.
  durable_options each;
  unsigned count = 2;      ///< Of shards, at most 4,095.
  std::vector<int> nodes;  ///< See sharded_options.
};

/// A graph of several shards that survives its process: DIR/shards says how many there are, DIR/shard-0 and so on are durable stores.
///
///     auto d = rhizome::durable_shards::open("/var/lib/graph", {.count = 4}).value();
///     auto tx = d.graph().begin().value();  ...  tx.commit().value();           // on the disk, in all shards that it touched
///
/// A commit of one shard is as in a durable_store, with one log and one sync. A commit of several writes each its part, with the names of the
/// others, and returns when all of these logs are synced (one after the other). A process that ends in between may leave it in some of them: `open`
/// then finds a part that the others have not got, and cuts it off. It is the last one there, because the writers of all touched
/// shards are held until it is durable everywhere; so there is no second phase, and no log for all. A part of an earlier one that is missing
/// was lost after it had been on the disk: that is damage, and with `salvage` each shard ends before it. Checkpoints keep what is
/// needed to tell.
///
/// Threads, errors and waiting are as in durable_store; where the log of one shard fails within a commit, all shards that it touched take no
/// more writes until they are opened again.
class durable_shards {
public:
  /// errc::corrupt: a shard is missing, another graph's, or older than the others; invalid_argument: another number or kind of shards; else as durable_store::open.
  [[nodiscard]] static result<durable_shards> open(const std::string& directory, const durable_shards_options& options);
  durable_shards(durable_shards&&) noexcept;
  durable_shards& operator=(durable_shards&&) noexcept;
  ~durable_shards();

  [[nodiscard]] sharded_store& graph() noexcept;
  /// What `open` found in one shard.
  [[nodiscard]] const recovery_report& recovery(unsigned shard) const noexcept;
  /// How many shards had a part of a transaction that others had not got, which was cut off: none of it was acknowledged.
  [[nodiscard]] unsigned cut() const noexcept;

  /// A checkpoint of each shard in turn, while all of them are written to: it waits for no commit, also not for one of several shards whose
  /// logs are synced. The first error ends it.
  [[nodiscard]] result<void> checkpoint();
  /// Closes each, and gives the first error. No more writes then; nobody may be committing.
  [[nodiscard]] result<void> close();

private:
  struct parts;
  explicit durable_shards(std::unique_ptr<parts> p) noexcept;
  std::unique_ptr<parts> parts_;
};

}  // namespace rhizome
