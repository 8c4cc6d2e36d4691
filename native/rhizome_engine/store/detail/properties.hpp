// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "store/detail/arena.hpp"
#include "store/log.hpp"
#include "store/options.hpp"

namespace rhizome::detail {

/// One recorded value, immutable but for `previous`, which trimming may cut. The interval (where has_valid) and then the payload follow: 8
/// bytes of a number, or `length` bytes of a string.
struct property_record {
  commit_number begin;
  std::atomic<ref> previous;  ///< The version before. Relaxed: what it leads to was published with the head.
  std::uint8_t kind;          ///< Index of the alternative in `value`.
  std::uint8_t has_valid;
  std::uint16_t unused;
  std::uint32_t length;

  [[nodiscard]] static std::size_t bytes(bool has_valid, std::size_t length) noexcept {
    return sizeof(property_record) + (has_valid ? sizeof(interval) : 0) + length;
  }
  [[nodiscard]] const std::byte* payload() const noexcept {
    return reinterpret_cast<const std::byte*>(this + 1) + (has_valid != 0 ? sizeof(interval) : 0);
  }
  [[nodiscard]] interval valid() const noexcept;
  /// Whether it says what the property is as recorded at t, and for that moment.
  [[nodiscard]] bool tells(commit_number t, std::optional<time_us> moment) const noexcept {
    return begin <= t && (!moment || valid().contains(*moment));
  }
  [[nodiscard]] value data() const;
};
static_assert(sizeof(property_record) == unit_bytes);

/// One property of all vertices: a column of the newest versions' places, read without a lock.
struct vertex_column {
  growing_array<std::atomic<ref>> heads;
  std::atomic<std::size_t> usable{0};  ///< heads below it may be read; only grows.
  std::size_t used = 0;                ///< the writer's: heads from it on were never set.
};

/// One property of the arcs of a label: a table of open addressing that the writer alone changes. When it grows, a copy is published.
struct arc_column {
  struct slot {
    std::atomic<std::uint64_t> key;  ///< (source << 32 | target) + 1; 0: free. Stored (release) after head.
    std::atomic<ref> head;
    std::uint32_t unused;
  };
  struct slots {
    std::uint64_t mask;
    std::uint64_t unused;
    [[nodiscard]] slot* at() noexcept { return reinterpret_cast<slot*>(this + 1); }
    [[nodiscard]] const slot* at() const noexcept { return reinterpret_cast<const slot*>(this + 1); }
    [[nodiscard]] static std::size_t bytes(std::size_t count) noexcept { return sizeof(slots) + count * sizeof(slot); }
  };

  property_key key = 0;
  std::atomic<ref> table{0};
  std::size_t used = 0;                    // the writer's
  std::unique_ptr<arc_column> owned_next;  // the writer's
  std::atomic<arc_column*> next{nullptr};

  [[nodiscard]] static std::uint64_t key_of(vertex source, vertex target) noexcept {
    return ((std::uint64_t{source} << 32) | target) + 1;
  }
};

/// The properties of a store. Versions are chained from the newest to the oldest.
class properties {
public:
  properties(arena& blocks, pins& readers, const store_options& options)
      : arena_(blocks), pins_(readers), options_(options) {}
  ~properties();
  properties(const properties&) = delete;
  properties& operator=(const properties&) = delete;

  // The writer. False: no memory.
  [[nodiscard]] bool set(vertex v, property_key key, const value& data, const interval& valid, commit_number n);
  [[nodiscard]] bool set(label arcs, vertex source, vertex target, property_key key, const value& data,
                         commit_number n);
  /// Ends all properties of an arc that ends in commit n.
  [[nodiscard]] bool end(label arcs, vertex source, vertex target, commit_number n);
  /// The commit of the newest version; 0: none.
  [[nodiscard]] commit_number changed(vertex v, property_key key) const;
  [[nodiscard]] commit_number changed(label arcs, vertex source, vertex target, property_key key) const;
  /// Bytes by which the vertices' columns will grow for a change that a commit is about to make, over what it has claimed before.
  [[nodiscard]] std::size_t claim(vertex v, property_key key);
  /// Another commit begins.
  void forget_claims() noexcept;
  /// What the columns of vertices take, beside the arena.
  [[nodiscard]] std::size_t column_bytes() const noexcept { return column_bytes_; }
  /// Drops versions that no time from `horizon` on shows.
  void trim(commit_number horizon, vertex vertices);

  // Readers with a pin.
  [[nodiscard]] value at(vertex v, property_key key, commit_number t, std::optional<time_us> moment) const;
  [[nodiscard]] value at(label arcs, vertex source, vertex target, property_key key, commit_number t) const;
  /// Whether `at` is told by the newest version (or there is none at all).
  [[nodiscard]] bool newest_answers(vertex v, property_key key, commit_number t,
                                    std::optional<time_us> moment) const noexcept;
  [[nodiscard]] std::vector<property_version> history(vertex v, property_key key, commit_number t) const {
    return history(head(v, key), t);
  }
  [[nodiscard]] std::vector<property_version> history(label arcs, vertex source, vertex target, property_key key,
                                                      commit_number t) const {
    return history(head(arcs, source, target, key), t);
  }

  [[nodiscard]] ref head(vertex v, property_key key) const noexcept;
  [[nodiscard]] ref head(label arcs, vertex source, vertex target, property_key key) const noexcept;
  [[nodiscard]] const vertex_column* column(property_key key) const noexcept {
    return vertices_[key].load(std::memory_order_acquire);  // pairs with set's release: the column is made
  }
  [[nodiscard]] const arc_column* columns(label arcs) const noexcept {
    return arcs_[arcs].load(std::memory_order_acquire);  // pairs with set's release: this column and those behind it
  }

private:
  [[nodiscard]] ref make(ref previous, const value& data, const interval& valid, commit_number n);
  [[nodiscard]] std::vector<property_version> history(ref newest, commit_number t) const;
  [[nodiscard]] value find(ref head, commit_number t, std::optional<time_us> moment) const;
  [[nodiscard]] static std::atomic<ref>* slot_of(const arc_column::slots& table, std::uint64_t key) noexcept;
  [[nodiscard]] std::atomic<ref>* place(arc_column& column, std::uint64_t key);
  [[nodiscard]] bool grow(arc_column& column);
  [[nodiscard]] const arc_column* column(label arcs, property_key key) const noexcept;
  void cut(std::atomic<ref>& head, commit_number horizon);

  arena& arena_;
  pins& pins_;
  const store_options& options_;
  // The writer's.
  std::size_t column_bytes_ = 0;
  std::vector<std::size_t> claims_;  // by key, once there was one: heads below it are claimed; 0: none
  std::vector<property_key> claimed_;
  // Published with release by the writer, loaded with acquire by readers; freed with the store.
  std::array<std::atomic<vertex_column*>, property_keys_max> vertices_{};
  std::array<std::atomic<arc_column*>, labels_max> arcs_{};
};

}  // namespace rhizome::detail
