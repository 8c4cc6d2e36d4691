// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <span>

#include "base/types.hpp"

namespace rhizome {

/// What one step of a transaction did, as the log keeps it and a recovery repeats it.
enum class change_kind : std::uint8_t {
  add_vertex = 1,       ///< `source` came to be.
  remove_vertex,        ///< `source` and all its arcs ended (the arcs' ends are changes of their own, before it).
  add_arc,              ///< `source` -> `target` under `arc_label`, true in the world during `valid`.
  remove_arc,           ///< The arc's current version ended.
  set_valid,            ///< The arc's valid interval was corrected to `valid`: its old version ended, a new one began.
  set_vertex_property,  ///< `key` of `source` became `*data` during `valid`.
  set_arc_property,     ///< `key` of the arc became `*data`.
  name_label,           ///< `arc_label` stands for the string `*data` from now on.
  name_property,        ///< `key` stands for the string `*data` from now on.
};

struct change {
  change_kind kind{};
  label arc_label = 0;
  property_key key = 0;
  vertex source = no_vertex;
  vertex target = no_vertex;
  interval valid;
  const value* data = nullptr;  ///< Set for the kinds that carry one; owned by the transaction, good during the call.
};

/// What a transaction of several shards is called in one of them.
struct commit_part {
  std::uint32_t shard = 0;
  commit_number number = 0;

  friend constexpr bool operator==(const commit_part&, const commit_part&) = default;
};

/// One transaction, as it is handed to the log.
struct commit_record {
  commit_number number = 0;
  time_us time = 0;  ///< Wall-clock time of the commit; not smaller than the one before.
  std::span<const change> changes;
  std::span<const commit_part> others =
      {};  ///< Of a transaction of several shards: what it is in the others. It is there whole if all have theirs.
};

/// Where a store sends each transaction before it becomes visible. Called by one thread at a time (the store's writer), in the order of
/// commit numbers. `append` may keep the record in memory; after `sync` returns well all that was appended before it survives the
/// process and the machine. When one of them fails, the transactions since the last successful `sync` are refused, and the store
/// takes no more writes.
class commit_sink {
public:
  virtual ~commit_sink() = default;
  [[nodiscard]] virtual result<void> append(const commit_record& record) = 0;
  [[nodiscard]] virtual result<void> sync() = 0;
};

}  // namespace rhizome
