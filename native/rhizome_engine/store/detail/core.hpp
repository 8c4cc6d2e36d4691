// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/change.hpp"
#include "store/detail/arena.hpp"
#include "store/detail/cut.hpp"
#include "store/detail/layout.hpp"
#include "store/detail/pins.hpp"
#include "store/detail/properties.hpp"
#include "store/detail/region.hpp"
#include "store/detail/table.hpp"
#include "store/log.hpp"
#include "store/options.hpp"
#include "store/transaction.hpp"

namespace rhizome::detail {

/// Both directions of one label, and how many arcs there were after each commit that changed their number.
struct label_tables {
  label_tables(arena& blocks, pins& readers, bool unique) : out(blocks, readers, unique), in(blocks, readers, unique) {}

  table out;
  table in;  // unused in a symmetric store
  growing_array<arcs_row> counts;
  std::atomic<std::size_t> counts_size{0};  // released after a row is written
  std::uint64_t arcs = 0;                   // the writer's
  std::size_t counts_begin = 0;             // the writer's: rows before were trimmed

  [[nodiscard]] std::uint64_t arcs_at(commit_number t) const noexcept;
  /// The number of rows up to the one that says how many arcs there were at t. Of t at or after the horizon.
  [[nodiscard]] std::size_t rows_to(commit_number t) const noexcept;
  /// Forgets what the times before `horizon` need alone.
  void trim(commit_number horizon) noexcept;
};

/// Names with numbers in the order in which they were first asked for. A name is there once a commit says so.
class names {
public:
  explicit names(std::size_t limit) : limit_(limit) {}
  /// The number of `name`; where it has none yet the next one, not to be seen before set(). nullopt: no number is left.
  [[nodiscard]] std::optional<std::uint16_t> number(std::string_view name);
  [[nodiscard]] std::optional<std::uint16_t> find(std::string_view name, commit_number at) const;
  [[nodiscard]] bool seen(std::uint16_t number, commit_number at) const;
  /// Records that `number` stands for `name` since commit n; false: it stands for something else.
  [[nodiscard]] bool set(std::uint16_t number, std::string_view name, commit_number n);
  /// Names as of `at`, with their numbers and commits.
  struct entry {
    std::string name;
    commit_number since = newest_commit;
  };
  [[nodiscard]] std::vector<std::pair<std::uint16_t, entry>> list(commit_number at) const;

private:
  mutable std::mutex mutex_;
  std::size_t limit_;
  std::size_t next_ = 0;
  std::vector<entry> entries_;
  std::unordered_map<std::string, std::uint16_t> numbers_;
};

/// A call of add_arcs or remove_arcs, as a range of a transaction's changes. `skip`: those of its arcs that are there, or are not, are
/// left out at the commit; else the commit is refused.
struct bulk_changes {
  std::size_t first, last;
  bool skip;
};

struct transaction_room;

/// All of a store; kept alive by the store and by each pin and lease.
struct core {
  explicit core(const store_options& o);

  store_options options;
  pins readers;
  arena blocks;
  // Row n - options.commit_base is that of commit n. Those from the horizon up to the visible one may be read; before it they are zero, or
  // not yet.
  growing_array<commit_row> commits;
  growing_array<log_entry> log;
  growing_array<vertex_life> lives;
  growing_array<vertex_entry> nothing;                          // entries of labels without arcs
  std::array<std::atomic<label_tables*>, labels_max> labels{};  // published with release
  properties props;
  names label_names{labels_max};
  names property_names{property_keys_max};

  /// The newest commit that readers may see. Released after all of its changes; partner: the loads in pins::take.
  std::atomic<commit_number> visible;
  std::atomic<commit_number> horizon;
  std::atomic<vertex> next_vertex{0};
  std::atomic<bool> closed{false};
  /// Room of a finished transaction, for the next one; null: none. Whoever takes it owns it.
  std::atomic<transaction_room*> spare{nullptr};
  std::atomic<std::uint64_t> refs{1};  // the store, pins and leases

  /// Compactions and trims that hold the writer's lock or wait for it; for estimates.
  std::atomic<std::uint32_t> long_work{0};

  mutable std::mutex writer;  // all below
  commit_number last;         // the last commit that was applied: beyond `visible` within a group
  vertex vertices = 0;
  vertex alive = 0;
  std::uint64_t log_begin = 0;  // entries before were trimmed
  std::size_t rows_begin = 0;   // rows of `commits` before were trimmed
  std::uint64_t log_size = 0;
  commit_number last_removal = 0;  // the last commit that removed a vertex
  std::optional<error> broken;
  std::vector<label_tables*> used;  // those of `labels` that there are, in the order in which they came to be
  std::size_t compact_table = 0;    // where compaction goes on
  vertex compact_vertex = 0;

  mutable std::mutex lease_mutex;  // the map, and the decision how far to trim
  std::map<commit_number, std::size_t> leases;

  void keep() noexcept { refs.fetch_add(1, std::memory_order_relaxed); }
  static void drop(core* c) noexcept {
    // Pairs with itself in the other droppers: who is the last sees what all of them did with the core.
    if (c->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete c;
  }

  [[nodiscard]] const commit_row& row(commit_number n) const noexcept { return commits[n - options.commit_base]; }
  /// Whether a vertex is one of this store's, and so has its arcs here. All are, but in a shard.
  [[nodiscard]] bool has(vertex v) const noexcept { return v < options.vertices_max; }
  /// Whether a file may say that an arc ends at `v`, a vertex of another shard: there is such a shard. How far its vertices would have to go is
  /// noted, for whoever opens all shards. May throw std::bad_alloc.
  [[nodiscard]] bool may_end_at(vertex v);
  [[nodiscard]] bool symmetric() const noexcept { return options.arcs == arcs_kind::symmetric; }
  /// Acquire pairs with make_tables' release: who finds the tables sees them made.
  [[nodiscard]] label_tables* tables(label l) const noexcept { return labels[l].load(std::memory_order_acquire); }
  [[nodiscard]] label_tables* make_tables(label l);
  [[nodiscard]] const vertex_entry* entries(label l, direction way) const noexcept;
  [[nodiscard]] table* side(label l, direction way) const noexcept;
  [[nodiscard]] std::size_t in_use() const noexcept;
  [[nodiscard]] result<void> take_lease(commit_number t);
  void drop_lease(commit_number t) noexcept;
  /// What the log and the rows of commits take.
  [[nodiscard]] std::size_t log_bytes() const noexcept;

  // commit.cpp; with the writer's lock held
  [[nodiscard]] std::vector<result<commit_number>> commit(std::span<transaction::state* const> group);
  [[nodiscard]] result<void> validate(transaction::state& tx);
  [[nodiscard]] result<void> replay(const commit_record& record);
  [[nodiscard]] result<void> make_replay_room(const transaction::state& tx);
  [[nodiscard]] result<void> validate_removal(const transaction::state& tx, vertex v);
  [[nodiscard]] result<commit_number> commit_one(transaction::state& tx, bool& told, std::optional<error>& sink_error);
  [[nodiscard]] result<void> validate_arc(transaction::state& tx, log_entry& op, const bulk_changes* bulk);
  /// Leaves an arc of a bulk out, or refuses the commit with that error.
  [[nodiscard]] result<void> skip_or(transaction::state& tx, log_entry& op, bool skip, errc code, const char* text);
  /// Where the living arc is, at the ends where it was looked for.
  struct found_arc {
    arc_place at_source;
    arc_place at_target;

    [[nodiscard]] bool there() const noexcept { return at_source.there() || at_target.there(); }
  };
  /// Looks at the end that has fewer.
  [[nodiscard]] found_arc living(label l, vertex source, vertex target);
  /// When it began: a look at one more line.
  [[nodiscard]] commit_number begin_of(const log_entry& op, const found_arc& found) const noexcept;
  [[nodiscard]] result<void> tell_sink(const transaction::state& tx, commit_number n, time_us time,
                                       std::span<const commit_part> others = {});
  [[nodiscard]] bool apply(transaction::state& tx, commit_number n, time_us time);
  [[nodiscard]] bool apply_one(const log_entry& op, const interval& valid, const value& data, commit_number n,
                               const found_arc& hint);
  [[nodiscard]] bool add_arc(label l, vertex source, vertex target, const interval& valid, commit_number n);
  [[nodiscard]] bool remove_arc(label l, vertex source, vertex target, commit_number n, const found_arc& hint);
  [[nodiscard]] bool grow_tables();
  /// Asks for the entries that a change writes.
  void prefetch_entries(const log_entry& op) const noexcept;
  /// Asks for what the entries of dirty blocks lead to.
  void prefetch_marks(const log_entry& op) const noexcept;
  /// Asks for the parts of the blocks that it reads and writes; `hint`: where its arc is, if that is known.
  void prefetch_blocks(const log_entry& op, const found_arc& hint) const noexcept;
  [[nodiscard]] label_tables* tables_of_arc(const log_entry& op) const noexcept;
  void prefetch_living(const log_entry& op) const noexcept;
  void find_other_end(const log_entry& op, found_arc& found);
  void look_ahead(const transaction::state& tx, std::size_t i) const noexcept;
  void look_further_ahead(const transaction::state& tx, std::size_t i);
  void publish() noexcept;
  void show() noexcept;    // makes what was applied visible
  void settle() noexcept;  // what follows on it
  void shrink() noexcept;  // what follows on a commit, whatever came of it
  void collect() noexcept;
  [[nodiscard]] time_us now_us() const noexcept;
  ~core();

  std::vector<vertex> strangers;  // of each shard: one more than its highest vertex that a file named; see may_end_at
  std::vector<change> changes_;   // scratch of tell_sink
  // Of the transaction that is committed, by its changes: where the arcs are that it closes; or nothing.
  std::vector<found_arc> found_;
  std::vector<label> touched_;  // labels whose number of arcs the commit changes
};

/// A key of an arc, the same from both ends in a symmetric store.
[[nodiscard]] inline std::pair<vertex, vertex> arc_key(const core& c, vertex source, vertex target) noexcept {
  return c.symmetric() && target < source ? std::pair{target, source} : std::pair{source, target};
}

}  // namespace rhizome::detail
