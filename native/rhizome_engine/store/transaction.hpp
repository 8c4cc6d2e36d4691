// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/change.hpp"
#include "base/types.hpp"
#include "store/log.hpp"
#include "store/options.hpp"
#include "store/snapshot.hpp"

namespace rhizome {

/// An arc for add_arcs and remove_arcs.
struct arc {
  vertex source;
  vertex target;
};

/// What add_arcs does with an arc that is there already, or twice in the list.
enum class on_duplicate : std::uint8_t { refuse, skip };

/// What remove_arcs does with an arc that is not there.
enum class on_missing : std::uint8_t { refuse, skip };

/// Many changes that become visible together or not at all.
///
/// It reads the snapshot that it began with, and its own changes on top; changes are kept in it until `commit`, which refuses them all
/// (errc::conflict) where another transaction committed a change of the same arc, vertex or property after this one began: the first
/// committer wins, and the loser begins again. Adding the same arc twice conflicts only in a store of unique arcs; adding an arc to a
/// vertex conflicts with its removal, not with other arcs of it. Reads are not checked: this is snapshot isolation.
///
/// One thread at a time uses it. Any number of transactions may be open; holding one open costs what holding a snapshot costs. Dropped
/// without a commit, it has done nothing, but for ids of vertices that are never used.
///
/// Every change can be refused with errc::invalid_argument (a vertex or label out of range, an empty interval), errc::not_found (a vertex
/// that is not there, an arc that is not there) and errc::read_only (a finished transaction); the transaction stays as it was before.
class transaction {
public:
  transaction(transaction&&) noexcept;
  transaction& operator=(transaction&&) noexcept;
  transaction(const transaction&) = delete;
  transaction& operator=(const transaction&) = delete;
  ~transaction();

  /// The snapshot that it reads; only until it is finished.
  [[nodiscard]] const snapshot& reads() const noexcept;

  /// A new vertex, or `count` of them with ids in a row (the first is given). errc::limit: store_options::vertices_max.
  [[nodiscard]] result<vertex> add_vertex() { return add_vertices(1); }
  [[nodiscard]] result<vertex> add_vertices(vertex count);
  /// Ends v and all its arcs. Costs its degree in all labels.
  [[nodiscard]] result<void> remove_vertex(vertex v);

  /// errc::already_there, in a store of unique arcs. Otherwise a look at neither end: O(1).
  [[nodiscard]] result<void> add_arc(label arcs, vertex source, vertex target, interval valid = {});
  /// The way for millions of arcs. In a store of unique arcs, those that are there before the transaction are found at its commit: with `refuse`
  /// the commit is refused (errc::already_there), with `skip` they are left out. Room is made at once for all of them.
  [[nodiscard]] result<void> add_arcs(label arcs, std::span<const arc> list, on_duplicate then = on_duplicate::refuse);
  [[nodiscard]] result<void> remove_arc(label arcs, vertex source, vertex target);
  /// The way for many. In a store of unique arcs, whether they are there is found at the commit alone, by one look at each: with `refuse` the
  /// commit is refused (errc::not_found) where one is not, with `skip` those are left out. An arc that this transaction changed before,
  /// or that the list names twice, is removed as by remove_arc, at once: where that is refused (errc::not_found), the arcs
  /// before it in the list are removed and those after it are not.
  [[nodiscard]] result<void> remove_arcs(label arcs, std::span<const arc> list, on_missing then = on_missing::refuse);
  /// Corrects when the arc is true in the world: a new version of it begins with this commit. Its properties stay.
  [[nodiscard]] result<void> set_valid(label arcs, vertex source, vertex target, interval valid);

  /// Sets a property from this commit on, for the time `valid`; std::monostate takes it away. Properties of an arc go with the arc, and
  /// belong to the pair of vertices where arcs are not unique. errc::invalid_argument: a key out of range.
  [[nodiscard]] result<void> set_property(vertex v, property_key key, value data, interval valid = {});
  [[nodiscard]] result<void> set_property(label arcs, vertex source, vertex target, property_key key, value data);

  /// The number of a name: that it has, or the next one from now on (recorded with this commit). errc::limit: labels_max,
  /// property_keys_max. A store uses either names or numbers of its own choice, not both. Takes a lock for a moment.
  [[nodiscard]] result<label> name_label(std::string_view name);
  [[nodiscard]] result<property_key> name_property(std::string_view name);

  /// What the transaction sees: its snapshot and its own changes.
  [[nodiscard]] bool alive(vertex v) const;
  [[nodiscard]] bool contains(label arcs, vertex source, vertex target) const;
  void for_each(label arcs, vertex v, direction way, const std::function<void(vertex)>& f) const;
  [[nodiscard]] result<value> property(vertex v, property_key key) const;
  [[nodiscard]] result<value> property(label arcs, vertex source, vertex target, property_key key) const;

  /// The labels that some arc has, or had: of the store's and of its own.
  [[nodiscard]] std::vector<label> labels() const;
  /// About how many arcs a change of this one looks at, and how many ends with a vertex, in all labels; for estimates. Both are 0 of what is
  /// not there, and do not count the transaction's own changes. The first is O(1), the second looks at each label in use.
  [[nodiscard]] std::size_t scan_length(label arcs, vertex source, vertex target) const noexcept;
  [[nodiscard]] std::size_t arcs_of(vertex v) const noexcept;

  /// The number of changes so far.
  [[nodiscard]] std::size_t size() const noexcept;

  /// Makes the changes durable (where the store has a sink) and then visible, and gives their number; blocks while another thread commits. Without
  /// any change: the number that it reads, and nothing is written. It is finished afterwards, whatever the outcome.
  /// errc::conflict, already_there (see add_arcs), limit (memory, commits), and what the sink says: then, and on out_of_memory, the store takes
  /// no more writes (errc::read_only) and what was visible stays readable.
  [[nodiscard]] result<commit_number> commit();
  /// Gives the changes up.
  void abort() noexcept;

private:
  friend class store;
  friend class sharded_transaction;
  friend struct detail::core;
  struct state;
  explicit transaction(std::unique_ptr<state> s) noexcept;

  std::unique_ptr<state> state_;
};

}  // namespace rhizome
