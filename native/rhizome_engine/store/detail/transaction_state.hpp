// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "store/detail/core.hpp"
#include "store/view.hpp"

namespace rhizome {
namespace detail {

/// What a change carries besides its numbers.
struct change_datum {
  interval valid;
  value value_;
};

/// What one large transaction leaves to the next, which else has the system clear fresh pages for it.
struct transaction_room {
  std::vector<log_entry> ops;
  std::vector<change_datum> data;
};

}  // namespace detail

/// What a transaction holds. Changes are log entries; `commit` is the number of their data, 0: none. Kind 0: taken back.
struct transaction::state {
  explicit state(snapshot s);
  using datum = detail::change_datum;
  struct own_arc {
    std::uint32_t any = 0;   ///< Some op + 1 with its key; 0: a free place.
    std::uint32_t base = 0;  ///< op + 1 that removed or corrected what the snapshot has; 0: none.
    std::uint32_t add = 0;   ///< op + 1 of the living arc that the transaction added (the last one); 0: none.
    std::uint32_t removals = 0;
  };
  struct vertex_range {
    vertex first, count;
  };

  snapshot reads;
  detail::core* c;
  bool open = true;
  vertex bound = 0;
  bool all_alive = false;
  std::unique_ptr<detail::transaction_room> room_left;  ///< Whose vectors these are, if they are another transaction's.
  std::vector<log_entry> ops;
  std::size_t live_ops = 0;
  std::vector<datum> data;
  std::vector<detail::bulk_changes> bulks;
  bool closes = false;  ///< Some op removed or corrected an arc of the snapshot.
  std::vector<vertex_range> created;
  std::unordered_set<vertex> removed;
  std::vector<std::uint16_t> named_labels, named_keys;
  bool sets_arc_property = false;

  // What the snapshot shows of the label that was last asked for.
  mutable std::optional<view> seen_out, seen_in;
  mutable label seen_label = 0;

  // Own changes by arc: a table of ops, built when first asked.
  mutable std::vector<own_arc> own;
  mutable std::size_t own_used = 0;
  mutable std::size_t indexed = 0;

  mutable std::unordered_map<vertex, std::vector<std::uint32_t>> by_vertex;  // ops that add an arc there
  mutable std::unordered_set<label> own_labels;
  mutable std::size_t walked = 0;

  [[nodiscard]] bool alive(vertex v) const noexcept;
  [[nodiscard]] bool is_own(vertex v) const noexcept;
  [[nodiscard]] const own_arc* find_own(label l, vertex s, vertex t) const;
  [[nodiscard]] own_arc& place_own(std::size_t op) const;
  void index_own() const;
  void index_by_vertex() const;
  /// Room for so many more.
  void grow_own(std::size_t more) const;
  /// Takes the last own add of the arc back.
  void drop_add(own_arc& mine);
  void take_back(std::size_t op);
  std::size_t push(change_kind kind, label l, property_key key, vertex s, vertex t);
  void attach(std::size_t op, interval valid, value datum_value);
  void drop_properties(std::size_t op);
  [[nodiscard]] const datum* datum_of(const log_entry& op) const noexcept {
    return op.commit == 0 ? nullptr : &data[op.commit - 1];
  }
  /// Gives up the pin of a finished transaction, and leaves its room to a later one.
  void let_go() noexcept;
  [[nodiscard]] result<void> check(label l, vertex s, vertex t) const;
  [[nodiscard]] result<void> check(label l, std::span<const arc> list) const;
  /// How many of the arc the snapshot has: 0 or 1 where arcs are unique.
  [[nodiscard]] std::uint32_t base_count(label l, vertex s, vertex t) const;
  /// Whether the arc, or one of several in parallel, is there with what the transaction has done so far.
  [[nodiscard]] bool has_arc(label l, vertex s, vertex t) const;
  [[nodiscard]] bool added_in_bulk(std::uint32_t op) const noexcept;
  [[nodiscard]] result<void> close(label l, vertex s, vertex t, const interval* corrected);
};

}  // namespace rhizome
