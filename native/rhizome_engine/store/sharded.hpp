// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <bit>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "store/detail/cut.hpp"
#include "store/store.hpp"

/// A graph whose vertices lie in several stores, so that several threads write at a time, each beside the memory that it writes:
///
///     sharded_options o;
///     o.count = 4;
///     o.nodes = {0, 1};                                       // by turns
///     auto s = rhizome::sharded_store::make(o).value();
///     auto tx = s.begin().value();
///     auto a = tx.add_vertices(0, 1).value();                 // of shard 0
///     auto b = tx.add_vertices(3, 1).value();
///     tx.add_arc(knows, a, b).value();                        // the arc out lies in shard 0, the arc in in shard 3
///     tx.commit().value();                                    // in both or in neither
///     s.now().value().newest(knows).for_each(a, ...);           // an adjacency, as any other
///
/// Each end of an arc lies with its vertex, so what is read of one vertex is in one shard. A transaction locks the writers of the shards
/// that it touched, in their order: those that touch one shard each commit side by side. Snapshots show one instant of all shards: the
/// moment of becoming visible is behind a lock that a commit holds for one store of a word a shard, and a snapshot for one pin a shard.
///
/// Names of labels and properties are kept by shard 0, for all. durable/durable_shards.hpp makes one that survives its process.
namespace rhizome {

struct sharded_options {
  /// How each shard is made. `vertices_max` is of each; ids take the next power of two above it, so one below a power of two wastes none.
  /// `sink` and `commit_base` have to be left out; `numa_node` is overridden by `nodes`.
  store_options each;
  unsigned count = 2;      ///< Of shards. Times the ids of each at most 2^32.
  std::vector<int> nodes;  ///< The NUMA nodes that their memory is to lie on, by turns; empty: as `each` says.
};

/// The arcs of one label in one direction over all shards: an `adjacency`, with the threads and lifetime of a `view`. Costs a look at the
/// shard's view more than a view does, and an addition an arc. Ids of one shard lie together, so there are holes of degree 0.
class sharded_view {
public:
  [[nodiscard]] vertex vertices() const noexcept { return vertices_; }
  [[nodiscard]] std::uint64_t arcs() const noexcept { return arcs_; }
  [[nodiscard]] std::uint32_t degree(vertex v) const noexcept {
    const view& part = parts_[v >> bits_];
    return local(v) < part.vertices() ? part.degree(local(v)) : 0;
  }
  void prefetch(vertex v) const noexcept {
    const view& part = parts_[v >> bits_];
    if (local(v) < part.vertices()) part.prefetch(local(v));
  }
  template <class F>
  void for_each(vertex v, F&& f) const {
    const view& part = parts_[v >> bits_];
    if (local(v) >= part.vertices()) return;
    const vertex first = (v >> bits_) << bits_;
    part.for_each(local(v), [&](vertex there) { return f(there + first); });  // modulo 2^32, as they are stored
  }

private:
  friend class sharded_snapshot;
  sharded_view(std::shared_ptr<const std::vector<view>> held, unsigned bits) noexcept;
  [[nodiscard]] vertex local(vertex v) const noexcept { return v & ((vertex{1} << bits_) - 1); }

  std::shared_ptr<const std::vector<view>> held_;
  const view* parts_;
  unsigned bits_;
  vertex vertices_ = 0;
  std::uint64_t arcs_ = 0;
};
static_assert(adjacency<sharded_view>);

/// All shards at one instant: a handle like `snapshot`, with its costs by shard.
class sharded_snapshot {
public:
  [[nodiscard]] bool alive(vertex v) const noexcept;
  [[nodiscard]] sharded_view newest(label arcs, direction way = direction::out) const;
  /// As of the last commits whose time is not after `t`, a commit of several shards in all of them or in none. errc::trimmed, invalid_argument.
  [[nodiscard]] result<sharded_view> as_of(time_us t, label arcs, direction way = direction::out) const;
  [[nodiscard]] result<value> property(vertex v, property_key key) const;
  [[nodiscard]] result<value> property(label arcs, vertex source, vertex target, property_key key) const;
  /// The number of a name, where it had one; see transaction::name_label.
  [[nodiscard]] std::optional<label> find_label(std::string_view name) const { return shard(0).find_label(name); }
  [[nodiscard]] std::optional<property_key> find_property(std::string_view name) const {
    return shard(0).find_property(name);
  }
  /// The shard's own, by its own numbers of vertices (an id less the shard's first).
  [[nodiscard]] const snapshot& shard(unsigned i) const noexcept { return (*parts_)[i]; }

private:
  friend class sharded_store;
  friend class sharded_transaction;
  sharded_snapshot(std::shared_ptr<const std::vector<snapshot>> parts, detail::sharding how) noexcept
      : parts_(std::move(parts)), how_(how) {}

  std::shared_ptr<const std::vector<snapshot>> parts_;
  detail::sharding how_;
};

/// Many changes of any shards that become visible together or not at all: what `transaction` is for one store, with its contract, but that
/// a bulk or a removal of a vertex that is refused half-way gives the whole transaction up. One thread at a time.
class sharded_transaction {
public:
  sharded_transaction(sharded_transaction&&) noexcept = default;
  sharded_transaction& operator=(sharded_transaction&&) noexcept = default;

  [[nodiscard]] const sharded_snapshot& reads() const noexcept { return reads_; }
  /// `count` vertices of one shard, with ids in a row. errc::invalid_argument: no such shard.
  [[nodiscard]] result<vertex> add_vertices(unsigned shard, vertex count);
  [[nodiscard]] result<void> remove_vertex(vertex v);
  [[nodiscard]] result<void> add_arc(label arcs, vertex source, vertex target, interval valid = {});
  [[nodiscard]] result<void> add_arcs(label arcs, std::span<const arc> list, on_duplicate then = on_duplicate::refuse);
  [[nodiscard]] result<void> remove_arc(label arcs, vertex source, vertex target);
  [[nodiscard]] result<void> remove_arcs(label arcs, std::span<const arc> list, on_missing then = on_missing::refuse);
  [[nodiscard]] result<void> set_valid(label arcs, vertex source, vertex target, interval valid);
  [[nodiscard]] result<void> set_property(vertex v, property_key key, value data, interval valid = {});
  [[nodiscard]] result<void> set_property(label arcs, vertex source, vertex target, property_key key, value data);

  /// As transaction's: one number for all shards. The commit of a new name is one of shard 0, too.
  [[nodiscard]] result<label> name_label(std::string_view name);
  [[nodiscard]] result<property_key> name_property(std::string_view name);

  [[nodiscard]] bool alive(vertex v) const;
  [[nodiscard]] bool contains(label arcs, vertex source, vertex target) const;

  /// As transaction::commit. Where one shard refuses it, none has it. Where the log of one fails, none shows it, and all that it touched
  /// take no more writes.
  [[nodiscard]] result<void> commit();
  void abort() noexcept;

private:
  friend class sharded_store;
  explicit sharded_transaction(sharded_snapshot reads, detail::cut* shared)
      : reads_(std::move(reads)), parts_(reads_.how_.count), cut_(shared) {}
  [[nodiscard]] result<transaction*> part(unsigned shard) const;
  [[nodiscard]] result<void> check(vertex source, vertex target) const;
  /// f(transaction, source, target) in the source's shard and then, where it is another one, in the target's, by their numbers.
  template <class F>
  [[nodiscard]] result<void> at_both(vertex source, vertex target, F&& f);
  template <class F>
  [[nodiscard]] result<void> in_bulk(std::span<const arc> list, F&& f);
  /// A transaction of one shard, with the shard's number.
  struct touched_part {
    unsigned shard;
    transaction* changes;
  };
  [[nodiscard]] result<void> commit_all(std::span<const touched_part> touched);
  [[nodiscard]] result<time_us> validate_all(std::span<const touched_part> touched) const;
  [[nodiscard]] static result<void> write_all(std::span<const touched_part> touched, time_us now);

  sharded_snapshot reads_;
  mutable std::vector<std::optional<transaction>> parts_;  // begun when a change first touches the shard
  detail::cut* cut_;
  bool open_ = true;
};

/// See above. Movable; outlives its transactions.
class sharded_store {
public:
  /// errc::invalid_argument: more ids than 2^32, no shard, or options that are not for shards; else as store::make.
  [[nodiscard]] static result<sharded_store> make(const sharded_options& options);
  /// Over stores that were made with `shared` (store_options::shared), each for its number, and outlive it.
  [[nodiscard]] static sharded_store over(std::vector<store*> parts, std::shared_ptr<detail::cut> shared,
                                          detail::sharding how);

  [[nodiscard]] unsigned count() const noexcept { return how_.count; }
  [[nodiscard]] unsigned shard_of(vertex v) const noexcept { return how_.shard_of(v); }
  /// One of the stores, to compact, trim, and measure. Not to be written to.
  [[nodiscard]] store& shard(unsigned i) noexcept { return *parts_[i]; }

  [[nodiscard]] result<sharded_snapshot> now() const;
  [[nodiscard]] result<sharded_transaction> begin() const;
  /// Trims each shard to its last commit whose time is not after `before`.
  [[nodiscard]] result<void> trim(time_us before);

private:
  sharded_store(std::vector<store*> parts, std::shared_ptr<detail::cut> shared, detail::sharding how) noexcept
      : cut_(std::move(shared)), parts_(std::move(parts)), how_(how) {}

  std::shared_ptr<detail::cut> cut_;
  std::vector<store> owned_;  // none, where somebody else has them
  std::vector<store*> parts_;
  detail::sharding how_;
};

}  // namespace rhizome
