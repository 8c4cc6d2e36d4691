// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cassert>
#include <cstdint>
#include <utility>
#include <vector>

#include "store/detail/arena.hpp"
#include "store/detail/layout.hpp"

namespace rhizome::detail {

/// Where the targets of one vertex of high degree stand: target -> position, for those that are alive. The writer's alone. (And where
/// the indexes of such vertices stand: vertex -> number.)
///
/// The slots lie in the arena: in its huge pages a look at one of hundreds of megabytes of them costs one walk of the page tables less.
/// It is handed to each call (always the same one): an index itself is 12 bytes, a plain value. Where the arena has no room,
/// std::bad_alloc is thrown. What is not released goes with the arena.
class hub_index {
public:
  static constexpr std::uint32_t none = 0xffff'ffffU;

  /// Whether it has slots.
  [[nodiscard]] bool there() const noexcept { return mask_ != 0; }
  /// Room for `count`, at least.
  void reserve(arena& blocks, std::size_t count);
  void insert(arena& blocks, vertex target, std::uint32_t position);
  /// The last inserted position of `target`; none.
  [[nodiscard]] std::uint32_t find(const arena& blocks, vertex target) const noexcept;
  /// The same where it has been inserted once: a look at fewer slots.
  [[nodiscard]] std::uint32_t find_only(const arena& blocks, vertex target) const noexcept {
    if (!there()) return none;
    const std::uint64_t* all = slots(blocks);
    for (std::size_t i = home(target); all[i] != 0; i = (i + 1) & mask_)
      if (static_cast<vertex>(all[i] >> 32) == target) return static_cast<std::uint32_t>(all[i]) - 1;
    return none;
  }
  void erase(arena& blocks, vertex target, std::uint32_t position) noexcept;
  /// Empty, and without slots.
  void release(arena& blocks);
  void prefetch(const arena& blocks, vertex target) const noexcept {
    if (there()) __builtin_prefetch(slots(blocks) + home(target), 1);
  }
  /// Asks for what erase() reads, which goes on to the next free slot: further than find_only() mostly does.
  void prefetch_run(const arena& blocks, vertex target) const noexcept {
    if (!there()) return;
    __builtin_prefetch(slots(blocks) + home(target), 1);
    __builtin_prefetch(slots(blocks) + ((home(target) + run) & mask_), 1);
  }

private:
  static constexpr std::size_t run = 5;  // slots to the next free one: most have fewer
  [[nodiscard]] std::size_t size() const noexcept { return there() ? std::size_t{mask_} + 1 : 0; }
  [[nodiscard]] std::size_t home(vertex target) const noexcept {
    return ((std::uint64_t{target} * 0x9e37'79b9'7f4a'7c15ULL) >> 32) & mask_;
  }
  [[nodiscard]] std::uint64_t* slots(const arena& blocks) const noexcept { return blocks.at<std::uint64_t>(at_); }
  void place(std::uint64_t* all, std::uint64_t slot) const noexcept;
  static constexpr std::uint64_t slot_of(vertex target, std::uint32_t position) noexcept {
    return (std::uint64_t{target} << 32) | (position + 1);
  }

  ref at_ = 0;              // the slots: target in the high half, position + 1 in the low one; 0: free
  std::uint32_t mask_ = 0;  // one less than their number, a power of two; 0: none yet
  std::uint32_t used_ = 0;
};

/// What a dirty block has in the arena besides its ends: a change of it looks here and neither at the block nor for its index, which
/// lie in as many pages as there are hubs.
struct marked_block {
  ends_head seen;  // all that readers know of it
  std::uint32_t shape = 0;
  hub_index index;
  std::uint32_t unused[2] = {};
};
static_assert(sizeof(marked_block) == arena::mark_bytes);

/// Where an arc stands: good as long as its vertex has that block, since what is in a block does not move.
struct arc_place {
  ref block = 0;
  std::uint32_t at = hub_index::none;  ///< A position; none: there is no such arc.

  [[nodiscard]] bool there() const noexcept { return at != hub_index::none; }
};

/// The arcs of one label in one direction: an entry for each vertex, and its block. All of it is the writer's but the entries and
/// what they lead to, which any reader may read that holds a pin.
class table {
public:
  /// What a vertex of this degree or more is looked up in by an index; below, its targets are scanned, which is as fast.
  static constexpr std::uint32_t hub_degree = 128;
  /// A block of up to so many positions is written anew without the closed one; a larger one marks it until a quarter is dead.
  static constexpr std::uint32_t rewritten_max = 64;
  /// From this capacity on compaction puts begins apart: two cache lines.
  static constexpr std::uint32_t apart_min = 16;
  static constexpr std::uint32_t none = hub_index::none;

  /// `unique`: an arc is there once at a time.
  table(arena& blocks, pins& readers, bool unique) : arena_(blocks), pins_(readers), unique_(unique) {}
  [[nodiscard]] bool reserve(vertex vertices_max, paging pages);
  [[nodiscard]] bool ensure(vertex vertices) { return entries_.ensure(vertices); }
  [[nodiscard]] const vertex_entry* entries() const noexcept { return entries_.data(); }
  [[nodiscard]] vertex_entry& entry(vertex v) const noexcept { return entries_[v]; }

  // Each of these is false where memory has run out: then the store takes no more writes, but what readers see is right.

  /// Adds `target` to v's arcs in commit `n`.
  [[nodiscard]] bool append(vertex v, vertex target, commit_number n, const interval& valid);
  /// Ends the arc to `target`, which is at `position`, in commit `n`.
  [[nodiscard]] bool close(vertex v, vertex target, std::uint32_t position, commit_number n);
  /// Writes v's block anew, packed, with a little slack and without dead positions. Gives the bytes written to `moved`.
  [[nodiscard]] bool pack(vertex v, std::size_t& moved);
  /// Drops v's closed versions that ended at or before `horizon`.
  [[nodiscard]] bool trim(vertex v, commit_number horizon);
  /// What ends at or before it is not put into histories any more.
  void set_horizon(commit_number horizon) noexcept { horizon_ = horizon; }

  /// Entries and blocks were put in their place from an image: what the writer knows besides them.
  void adopted(std::vector<vertex> with_history, bool has_valid) {
    with_history_ = std::move(with_history);
    has_valid_ = has_valid;
  }

  /// The position of a living arc v -> target, the last one; none. The first look at a hub builds its index.
  [[nodiscard]] std::uint32_t find(vertex v, vertex target);
  /// The same, with the block that it is good for.
  [[nodiscard]] arc_place locate(vertex v, vertex target) {
    const std::uint32_t position = find(v, target);
    return {placed::of(entries_[v].where.load(std::memory_order_relaxed)).block, position};
  }
  /// find() where locate() may have found it, and nothing has closed it since: of unique arcs a transaction closes each once. No block is freed
  /// within a commit, so one with the same reference is the same.
  [[nodiscard]] std::uint32_t find_again(vertex v, vertex target, const arc_place& known) {
    const placed p = placed::of(entries_[v].where.load(std::memory_order_relaxed));
    if (!known.there() || p.block != known.block) return find(v, target);
    assert(known.at < p.count && block(p)->targets()[known.at] == target);
    assert(!p.dirty || load_end(ends_of_entry(entries_[v], p)[known.at]) == newest_commit);
    return known.at;
  }
  /// How many living arcs v -> target there are. Costs the degree.
  [[nodiscard]] std::uint32_t count_of(vertex v, vertex target) const;
  /// Whether an arc v -> target began or ended after `since`.
  [[nodiscard]] bool changed_since(vertex v, vertex target, commit_number since) const;
  [[nodiscard]] interval valid_at(vertex v, std::uint32_t position) const;
  [[nodiscard]] commit_number begin_at(vertex v, std::uint32_t position) const;
  [[nodiscard]] std::uint32_t live(vertex v) const;
  /// The positions of v's block that are filled, dead ones included.
  [[nodiscard]] std::uint32_t positions(vertex v) const noexcept {
    return placed::of(entries_[v].where.load(std::memory_order_relaxed)).count;
  }
  /// Whether pack() would change anything that matters.
  [[nodiscard]] bool wants_packing(vertex v) const;

  /// The capacity that fills the size class of a block for `count` arcs and some more.
  [[nodiscard]] static constexpr std::uint32_t roomy(std::uint32_t count) noexcept {
    std::size_t bytes = arena::size_class(block_bytes(count + count / 8 + 1));
    return static_cast<std::uint32_t>((bytes - sizeof(block_header)) / (sizeof(vertex) + sizeof(commit_number)));
  }
  /// What a packed block of `count` arcs has room for.
  [[nodiscard]] static constexpr std::uint32_t slack(std::uint32_t count) noexcept {
    return (count + count / 16 + 1) / 2 * 2;
  }

  void prefetch_entry(vertex v) const noexcept {
    __builtin_prefetch(&entries_[v], 1);
    hub_numbers_.prefetch(arena_, v);
  }
  void prefetch_mark(vertex v) const noexcept {
    const vertex_entry& e = entries_[v];
    if (placed::of(e.where.load(std::memory_order_relaxed)).dirty) __builtin_prefetch(&marked(e), 1);
  }
  /// Asks for what append(v, target, ...) writes.
  void prefetch_tail(vertex v, vertex target) const noexcept;
  void prefetch_block(vertex v) const noexcept {
    const block_header* b = block(placed::of(entries_[v].where.load(std::memory_order_relaxed)));
    __builtin_prefetch(b);
    __builtin_prefetch(reinterpret_cast<const std::byte*>(b) + 64);
  }
  /// Asks for what find(v, target) reads.
  void prefetch_find(vertex v, vertex target) const noexcept;
  /// Asks for what close(v, target, ...) reads and writes, where the arc is known to be at `place`.
  void prefetch_close(vertex v, vertex target, const arc_place& place) const noexcept;
  /// Asks for the history that v's block is added to where it is written anew, once the block is there.
  void prefetch_history(vertex v) const noexcept {
    placed p = placed::of(entries_[v].where.load(std::memory_order_relaxed));
    if (p.count > rewritten_max) return;
    const ref history = block(p)->history.load(std::memory_order_relaxed);
    if (history != 0) __builtin_prefetch(arena_.at<history_batch>(history));
  }

  [[nodiscard]] bool has_history(vertex v) const noexcept {
    return block(placed::of(entries_[v].where.load(std::memory_order_relaxed)))
               ->history.load(std::memory_order_relaxed) != 0;
  }
  [[nodiscard]] std::vector<vertex>& with_history() noexcept { return with_history_; }

private:
  struct dead_list {
    std::vector<closed_version> versions;
    std::vector<interval> valid;
  };

  [[nodiscard]] block_header* block(const placed& p) const noexcept { return arena_.at<block_header>(p.block); }
  /// Of a dirty block.
  [[nodiscard]] marked_block& marked(const vertex_entry& e) const noexcept { return *arena_.at<marked_block>(e.shape); }
  [[nodiscard]] std::uint32_t shape_of(const vertex_entry& e, const placed& p) const noexcept {
    return p.dirty ? marked(e).shape : e.shape;
  }
  /// Null: no position is dead.
  [[nodiscard]] commit_number* ends_of_entry(const vertex_entry& e, const placed& p) const noexcept {
    return p.dirty ? arena_.at<commit_number>(marked(e).seen.ends) : nullptr;
  }
  [[nodiscard]] bool relocate(vertex v, std::uint32_t capacity, bool packed, std::uint32_t closing, commit_number n);
  [[nodiscard]] bool grow(vertex v);
  [[nodiscard]] bool mark(vertex v, vertex target, std::uint32_t position, commit_number n);
  [[nodiscard]] bool make_marked(vertex v, placed& p);
  [[nodiscard]] ref make_valid(std::uint32_t capacity, std::uint32_t filled);
  [[nodiscard]] bool append_valid(block_header& b, std::uint32_t position, const interval& valid);
  /// A batch of `dead` (sorted by end) before `previous`, merged with those of `previous` that are no larger. 0: no memory.
  [[nodiscard]] ref make_history(ref previous, dead_list& dead);
  /// Copies what lives and is not at `closing` (which ends at n) and puts the dead into dead_. Gives the number copied.
  std::uint32_t copy_living(const block_header& from, const placed& old, block_header& to, std::uint32_t closing,
                            commit_number n);
  [[nodiscard]] bool copy_valid(const block_header& from, const placed& old, block_header& to, std::uint32_t count,
                                std::uint32_t closing);
  static void widen(valid_column& column, const interval& valid) noexcept;
  void retire_block(const placed& p);
  void retire_batch(ref batch);
  /// Where `target` is, by the index of a hub.
  [[nodiscard]] std::uint32_t position_in(const hub_index& hub, vertex target) const noexcept {
    return unique_ ? hub.find_only(arena_, target) : hub.find(arena_, target);
  }
  /// v's index, where it has one and `p` is its word.
  [[nodiscard]] const hub_index* hub_of(vertex v, const placed& p) const noexcept;
  [[nodiscard]] hub_index* hub_of(vertex v, const placed& p) noexcept {
    return const_cast<hub_index*>(std::as_const(*this).hub_of(v, p));
  }
  [[nodiscard]] hub_index& make_index(vertex v, const placed& p);
  /// v's index out of those of clean blocks; one without slots where it has none there.
  [[nodiscard]] hub_index take_index(vertex v);
  static std::uint32_t scan(const vertex* targets, std::uint32_t count, vertex target,
                            const commit_number* ends) noexcept;

  arena& arena_;
  pins& pins_;
  const bool unique_;
  growing_array<vertex_entry> entries_;
  hub_index hub_numbers_;        // vertex -> number in hubs_
  std::vector<hub_index> hubs_;  // of blocks without a dead position; the others have theirs in their marked_block
  std::vector<std::uint32_t> free_hubs_;  // those numbers that no vertex has
  commit_number horizon_ = 0;
  bool has_valid_ = false;            // some block has a valid column
  std::vector<vertex> with_history_;  // vertices that got a first history batch since the last trim
  std::vector<bool> packed_;          // vertices whose block lies where compaction put it
  dead_list dead_;                    // scratch
  std::vector<std::uint32_t> order_;  // scratch of make_history
  std::vector<ref> merged_;           // the same
};

}  // namespace rhizome::detail
