// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/change.hpp"
#include "base/types.hpp"
#include "store/options.hpp"
#include "store/snapshot.hpp"
#include "store/transaction.hpp"
#include "store/view.hpp"

/// The store of the rhizome engine: an in-memory graph that keeps its past on two time axes.
///
///     auto s = rhizome::store::make({}).value();
///     auto tx = s.begin().value();
///     auto knows = tx.name_label("knows").value();
///     auto a = tx.add_vertices(2).value(), b = a + 1;
///     tx.add_arc(knows, a, b).value();
///     rhizome::commit_number first = tx.commit().value();
///     rhizome::snapshot now = s.now().value();                 // a handle: copy it, pass it to other threads
///     now.newest(knows).for_each(a, [](rhizome::vertex w) { ... });
///     now.as_of(first, knows).value().for_each(a, ...);          // the past
///
/// The parts:
///   store.hpp        store: begin, now, commit_group, compact, trim, memory            store_options in options.hpp
///   transaction.hpp  transaction: changes, its own reads, commit
///   snapshot.hpp     snapshot: as_of, properties, history, log, diff; lease
///   view.hpp         view, prepared_view, valid_view: what algorithms read (`adjacency`)
///   log.hpp          log_entry and the plain results of diff and history
///   image.hpp        saving a snapshot, opening what was saved (for checkpoints)
///
/// Threads: one writer at a time (a lock inside `commit`, `compact` and `trim`), any number of readers, which wait for nobody. See
/// docs/internals/rhizome-blocks.md for the layout and rhizome-epochs.md for the reclamation.
///
/// A store has one writer at a time. sharded.hpp makes one graph of several.
namespace rhizome {

/// Bytes by what they are for.
struct memory_report {
  std::size_t newest = 0;    ///< Blocks of living arcs with their begins (slack included), and the entry tables.
  std::size_t history = 0;   ///< Closed versions, and marks of deletions.
  std::size_t valid = 0;     ///< Columns of valid times.
  std::size_t property = 0;  ///< Properties and vertices' lives.
  std::size_t index = 0;     ///< Of hubs.
  std::size_t log = 0;       ///< The commit log and the commit table.
  std::size_t retired = 0;   ///< Of the above: replaced, but readers may still look at it.
  std::size_t free = 0;      ///< Not in use, ready for use.
  std::size_t limit = 0;

  [[nodiscard]] std::size_t in_use() const noexcept { return newest + history + valid + property + index + log; }
};

struct compaction {
  std::size_t moved_bytes = 0;  ///< Written by this call.
  std::size_t left_bytes = 0;   ///< What a whole pass has still to look at; 0: done.
};

/// See above. Movable; its snapshots, views and leases may outlive it, its transactions then refuse to commit.
class store {
public:
  /// errc::invalid_argument: options that can not be; out_of_memory: no addresses.
  [[nodiscard]] static result<store> make(const store_options& options);
  store(store&& other) noexcept;
  store& operator=(store&& other) noexcept;
  ~store();

  [[nodiscard]] const store_options& options() const noexcept;

  /// The graph as of the newest commit. Any thread, lock-free. errc::out_of_memory: no room for one more pin.
  [[nodiscard]] result<snapshot> now() const;
  /// A transaction that reads the newest commit. Any thread. errc::out_of_memory, read_only.
  [[nodiscard]] result<transaction> begin();
  /// Commits each of the transactions in order, with one sync of the sink for all of them: each has an outcome of its own, but where the
  /// sink fails none of them has happened. A later one conflicts with an earlier one as if they were committed by themselves.
  [[nodiscard]] std::vector<result<commit_number>> commit_group(std::span<transaction> group);

  /// Repeats a commit of a log: its number has to be the next one. Not told to the sink, visible at once, checked as little as a change by
  /// itself needs: errc::corrupt where the record can not be (then the store is as before it), limit, out_of_memory, read_only.
  [[nodiscard]] result<void> replay(const commit_record& record);

  /// The number and the time of the newest commit.
  [[nodiscard]] commit_number newest() const noexcept;
  /// Whether a compaction or a trim is under way, for which a commit would wait. An estimate: it may be over, or have begun, since.
  [[nodiscard]] bool busy() const noexcept;
  [[nodiscard]] commit_number horizon() const noexcept;  ///< Times before this one were trimmed.

  /// Writes blocks anew, one after the other in the order of vertices, with a little slack and without dead positions: at most about `budget_bytes`
  /// of them (at least one). Goes on where the last call ended; call it until left_bytes is 0. Holds the writer's lock, not readers; needs room
  /// for the new blocks until readers of the old ones are gone.
  [[nodiscard]] result<compaction> compact(std::size_t budget_bytes);

  /// Forgets what ended at or before commit `before` and the log up to it, as far as leases, snapshots and views of the past allow; gives
  /// the commit up to which it was done. Costs the vertices with history. errc::invalid_argument: later than the newest.
  [[nodiscard]] result<commit_number> trim(commit_number before);
  /// Keeps history from commit `t` on until it is dropped (errc::trimmed, invalid_argument).
  [[nodiscard]] result<lease> keep(commit_number t) const;

  /// Frees what no reader looks at any more, as every commit does on its way.
  void collect();
  [[nodiscard]] memory_report memory() const;
  /// Whether writes are refused since an error of the sink or of memory; the error.
  [[nodiscard]] result<void> writable() const;

  [[nodiscard]] detail::core& inside() noexcept { return *core_; }

private:
  explicit store(detail::core* c) noexcept : core_(c) {}
  detail::core* core_;
};

}  // namespace rhizome
