// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include <karyon/core/export.hpp>

namespace karyon::detail {

inline constexpr std::size_t slot_bytes_step = 64;  ///< A slot is a multiple of a cache line, and aligned to one.
inline constexpr std::size_t slot_bytes_min = 256;
inline constexpr std::size_t slot_bytes_max = 8192;
/// Where a free slot has the link to the next one: the owner's task link. Nothing else of a free slot is written to.
inline constexpr std::size_t free_link_offset = 128;

inline constexpr std::size_t slab_chunk_bytes = std::size_t{2} << 20U;
inline constexpr std::size_t slab_classes = slot_bytes_max / slot_bytes_step + 1;  ///< Indexed by lines; few are used.

/// Whether there are slots of this size.
[[nodiscard]] constexpr bool is_slot_size(std::size_t bytes) noexcept {
  return bytes >= slot_bytes_min && bytes <= slot_bytes_max && bytes % slot_bytes_step == 0;
}

/// How many free slots of a size move between a worker and its node at once: 64, or fewer of the large ones.
[[nodiscard]] constexpr std::uint32_t slab_batch_slots(std::size_t slot_bytes) noexcept {
  constexpr std::size_t batch_bytes_max = 64 * 1024;
  return static_cast<std::uint32_t>(slot_bytes * 64 <= batch_bytes_max ? 64 : batch_bytes_max / slot_bytes);
}

class slab_store;
struct slab_rest;

/// What one must know of a slot, found from its address alone. Read-only while a store has the chunk.
struct alignas(64) slab_chunk {
  std::atomic<void*> context;  // the store's; stale readers may look while the chunk changes hands
  slab_rest* rest;             // what is written to while slots are carved, on other lines
  std::uint32_t slot_bytes;
  std::uint32_t node;        // the store's number for it
  std::uint32_t first_slot;  // offset
  std::uint32_t slots;

  // The chunks' addresses differ in high bits only, which choose no cache set: were these lines all at the same offset,
  // a machine full of cells would look them up through the few ways of one set. So they are spread over 64 lines.
  [[nodiscard]] static std::size_t offset_in(std::uintptr_t chunk) noexcept {
    return ((chunk / slab_chunk_bytes) % 64) * sizeof(slab_chunk);
  }
  [[nodiscard]] static slab_chunk& of(const void* slot) noexcept {
    const std::uintptr_t base = reinterpret_cast<std::uintptr_t>(slot) & ~(slab_chunk_bytes - 1);
    return *reinterpret_cast<slab_chunk*>(base + offset_in(base));
  }
};

/// A worker's free slots of each size, so that most births and deaths take neither lock nor atomic operation.
///
/// Two magazines a size (Bonwick and Adams, "Magazines and Vmem", 2001): `loaded` is popped and pushed, `spare` is
/// full or empty; only when both are exhausted, or both full, a whole batch is exchanged with the node. So a worker
/// that wavers around a batch's border stays off the lock.
///
/// One worker's thread uses it, but for the counter. `slab_store::attach` before the first use, `flush` after the last.
class slab_cache {
public:
  slab_cache() noexcept = default;
  slab_cache(const slab_cache&) = delete;
  slab_cache& operator=(const slab_cache&) = delete;

private:
  friend class slab_store;
  static constexpr std::uint32_t no_node = ~std::uint32_t{0};

  struct magazine {
    void* loaded = nullptr;
    void* spare = nullptr;    // a whole batch, or nothing
    std::uint32_t count = 0;  // in `loaded`, at most `batch`
    std::uint32_t batch = 0;
  };

  void count(std::int64_t n) noexcept {
    in_use_.store(in_use_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }

  std::uint32_t node_ = no_node;
  std::atomic<std::int64_t> in_use_{0};  // taken minus given back here; anyone reads; negative where cells migrate
  std::array<magazine, slab_classes> magazines_;
};

/// Where the slots of a runtime's cells come from: places, by size and NUMA node, that stay what they are forever.
///
/// A handle to a cell is the slot's address and a number; whoever holds one may look into the slot long after the
/// cell's death. So slots are type-stable: their memory is never unmapped, zeroed or cut into other sizes while the
/// process lives. A store that ends gives its chunks to a pool of the process, from where the next one takes them.
///
/// Threads: every function may be called by any thread, with a cache only by the cache's own. Ownership: a slot belongs
/// to whoever allocated it until it is released, on whatever thread. The store must outlive all use of its slots but
/// stale looks. docs/internals/slabs.md has the design and its reasons.
class KARYON_API slab_store {
public:
  struct node {
    std::optional<std::uint32_t> memory_os_index;  ///< Where to take memory from, by the system's number.
    bool bind = false;                             ///< Whether to; otherwise it comes from where it is first touched.
  };
  /// Prepares a slot for this store's context: called once for each, before it is first handed out. The memory is zero,
  /// or what the last store's use left behind. Must not throw. Runs on the allocating thread, without a lock held.
  using initialise_function = void (*)(void* slot, void* context);

  slab_store(std::vector<node> nodes, initialise_function prepare, void* context);
  /// All slots must be free, and no thread may be inside the store.
  ~slab_store();
  slab_store(const slab_store&) = delete;
  slab_store& operator=(const slab_store&) = delete;

  /// Makes a cache ready for a worker that runs on this node (a position in the constructor's list). The cache must
  /// stay where it is until it is flushed. Cost: one lock.
  void attach(slab_cache& cache, std::uint32_t node_index);
  /// Gives all of a cache's slots back to its node, once its thread is done with it. Attach it before another use.
  void flush(slab_cache& cache) noexcept;

  /// A slot of this size (see `is_slot_size`) on this node. `cache` is the calling worker's, or null on other threads.
  /// Throws std::bad_alloc where the system has no more memory; nothing is lost then.
  /// Cost: a few instructions from the cache; else one lock a batch, and a system call a chunk. Without a cache of this
  /// node: one lock.
  [[nodiscard]] void* allocate(std::size_t slot_bytes, std::uint32_t node_index, slab_cache* cache) {
    assert(is_slot_size(slot_bytes) && "a slot has 256 to 8,192 bytes, in steps of 64");
    if (cache != nullptr && cache->node_ == node_index && slot_bytes <= slot_bytes_max) [[likely]] {
      slab_cache::magazine& m = cache->magazines_[slot_bytes / slot_bytes_step];
      if (void* slot = m.loaded; slot != nullptr) [[likely]] {
        m.loaded = next_of(slot);
        // The next birth would wait for memory here: its slot's line is long gone from the caches where cells die in
        // another order than they were born in.
        __builtin_prefetch(static_cast<std::byte*>(m.loaded) + free_link_offset, 1);
        --m.count;
        cache->count(1);
        return slot;
      }
    }
    return allocate_slow(slot_bytes, node_index, cache);
  }

  /// Gives a slot of this store back, on whatever worker; it returns to its own node. Cost: as `allocate`, without the
  /// system call.
  void release(void* slot, slab_cache* cache) noexcept {
    const slab_chunk& chunk = slab_chunk::of(slot);
    if (cache != nullptr && cache->node_ == chunk.node) [[likely]] {
      slab_cache::magazine& m = cache->magazines_[chunk.slot_bytes / slot_bytes_step];
      if (m.count < m.batch) [[likely]] {
        set_next(slot, m.loaded);
        m.loaded = slot;
        ++m.count;
        cache->count(-1);
        return;
      }
    }
    release_slow(slot, cache);
  }

  /// The context of the store that this slot belongs to; null when that one has ended and no other has the slot yet.
  [[nodiscard]] static void* context_of(const void* slot) noexcept {
    return slab_chunk::of(slot).context.load(std::memory_order_acquire);  // partner: add_chunk; the context is made
  }

  /// Calls `visit(void*)` for every slot that was initialised before the call, taken or free, and perhaps for some that
  /// are initialised meanwhile. Any thread, beside any other use; no lock is held during a visit. Cost: O(slots).
  template <class Visitor>
  void for_each_slot(Visitor&& visit) const;

  /// Calls `visit(void*)` for every initialised slot of the slot's own chunk that has a byte in [begin, end). Any thread.
  template <class Visitor>
  static void for_each_neighbour(const void* slot, const std::byte* begin, const std::byte* end, Visitor&& visit);
  /// The node that the slot belongs to, and goes back to when it is released.
  [[nodiscard]] static std::uint32_t node_of(const void* slot) noexcept { return slab_chunk::of(slot).node; }
  /// Where the first slot of the slot's chunk is: before it lies the chunk's header.
  [[nodiscard]] static const std::byte* first_of(const void* slot) noexcept;

  [[nodiscard]] std::uint64_t bytes_mapped() const noexcept { return bytes_mapped_.load(std::memory_order_relaxed); }
  /// How many slots were ever carved; they stay.
  [[nodiscard]] std::uint64_t slots_carved() const noexcept { return slots_carved_.load(std::memory_order_relaxed); }
  /// How many are allocated: a sum over the caches, exact while nobody allocates or releases.
  [[nodiscard]] std::uint64_t slots_in_use() const;

private:
  struct depot;
  struct carved;

  // Through memcpy: the owner of a taken slot has an object of its own type there, which the compiler must not take for
  // something that these stores leave alone.
  [[nodiscard]] static void* next_of(const void* slot) noexcept {
    void* next;
    std::memcpy(&next, static_cast<const std::byte*>(slot) + free_link_offset, sizeof next);
    return next;
  }
  static void set_next(void* slot, void* next) noexcept {
    std::memcpy(static_cast<std::byte*>(slot) + free_link_offset, &next, sizeof next);
  }

  [[nodiscard]] void* allocate_slow(std::size_t slot_bytes, std::uint32_t node_index, slab_cache* cache);
  void release_slow(void* slot, slab_cache* cache) noexcept;
  [[nodiscard]] void* refill(slab_cache::magazine& m, std::size_t slot_bytes, std::uint32_t node_index);
  [[nodiscard]] carved claim(depot& d, std::size_t slot_bytes, std::uint32_t node_index);
  void add_chunk(depot& d, std::size_t slot_bytes, std::uint32_t node_index);
  void initialise(const carved& c) noexcept;
  static void give_batch(depot& d, void* first) noexcept;
  static void give_one(depot& d, void* slot) noexcept;
  [[nodiscard]] depot& depot_of(std::size_t slot_bytes, std::uint32_t node_index) const noexcept;
  [[nodiscard]] const slab_chunk* first_chunk(std::size_t depot_index) const noexcept;

  const std::vector<node> nodes_;
  const initialise_function initialise_;
  void* const context_;
  std::unique_ptr<depot[]> depots_;  // by node, then size
  std::atomic<std::uint64_t> bytes_mapped_{0};
  std::atomic<std::uint64_t> slots_carved_{0};
  std::atomic<std::int64_t> in_use_outside_{0};  // by threads without a cache, and by flushed caches
  mutable std::mutex caches_mutex_;
  std::vector<const slab_cache*> caches_;  // caches_mutex_
};

/// The part of a chunk's header that changes.
struct slab_rest {
  static constexpr std::size_t words = slab_chunk_bytes / slot_bytes_min / 64;

  slab_chunk* next;               // of the same depot, or of the pool; set before the chunk is seen there
  std::uint32_t claimed;          // slots given out for carving, from the front; the depot's lock
  std::atomic<bool> small_pages;  // no huge page in the chunk; once true it stays so (migration.cpp)
  std::array<std::atomic<std::uint64_t>, words> initialised;  // one bit a slot; set by its carver, read by anyone
};

inline const std::byte* slab_store::first_of(const void* slot) noexcept {
  const std::uintptr_t base = reinterpret_cast<std::uintptr_t>(slot) & ~(slab_chunk_bytes - 1);
  return reinterpret_cast<const std::byte*>(base) + slab_chunk::of(slot).first_slot;
}

template <class Visitor>
void slab_store::for_each_neighbour(const void* slot, const std::byte* begin, const std::byte* end, Visitor&& visit) {
  const slab_chunk& chunk = slab_chunk::of(slot);
  const std::byte* const first = first_of(slot);
  const std::size_t from = begin > first ? static_cast<std::size_t>(begin - first) / chunk.slot_bytes : 0;
  for (std::size_t i = from; i < chunk.slots; ++i) {
    const std::byte* const at = first + i * chunk.slot_bytes;
    if (at >= end) return;
    // Acquire pairs with initialise's release: the slot is ready.
    if ((chunk.rest->initialised[i / 64].load(std::memory_order_acquire) >> (i % 64) & 1u) != 0) {
      visit(const_cast<std::byte*>(at));
    }
  }
}

template <class Visitor>
void slab_store::for_each_slot(Visitor&& visit) const {
  for (std::size_t d = 0; d < nodes_.size() * slab_classes; ++d) {
    for (const slab_chunk* chunk = first_chunk(d); chunk != nullptr; chunk = chunk->rest->next) {
      const std::uintptr_t base = reinterpret_cast<std::uintptr_t>(chunk) & ~(slab_chunk_bytes - 1);
      for (std::size_t word = 0; word * 64 < chunk->slots; ++word) {
        // Acquire pairs with initialise's release: the slot is ready.
        std::uint64_t bits = chunk->rest->initialised[word].load(std::memory_order_acquire);
        for (; bits != 0; bits &= bits - 1) {
          const std::size_t slot = word * 64 + static_cast<std::size_t>(std::countr_zero(bits));
          visit(reinterpret_cast<void*>(base + chunk->first_slot + slot * chunk->slot_bytes));
        }
      }
    }
  }
}

}  // namespace karyon::detail
