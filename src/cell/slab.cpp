// SPDX-License-Identifier: Apache-2.0
#include "cell/slab.hpp"

#include <algorithm>
#include <cassert>
#include <map>
#include <new>
#include <utility>

#include <sys/mman.h>

#include "core/programmer_error.hpp"
#include "sched/numa_memory.hpp"

namespace karyon::detail {

namespace {

// A chunk begins with the 64 lines of which one is its slab_chunk; the rest of its header follows, then the slots.
constexpr std::size_t rest_offset = 64 * sizeof(slab_chunk);
constexpr std::size_t first_slot_offset =
    (rest_offset + sizeof(slab_rest) + slot_bytes_step - 1) / slot_bytes_step * slot_bytes_step;
// One visit of the depot carves no more than this, so that a small runtime touches little memory.
constexpr std::size_t carve_bytes_max = 16 * 1024;

static_assert(slab_chunk_bytes == huge_page_bytes);
static_assert(slot_bytes_max + first_slot_offset < slab_chunk_bytes);
static_assert(std::atomic<void*>::is_always_lock_free);

// Chunks of stores that have ended, for those to come. Never destroyed: a runtime may end after the static objects did.
class chunk_pool {
public:
  struct key {
    std::size_t slot_bytes;
    std::int64_t memory_os_index;  // -1 for memory that is bound to no node
    friend auto operator<=>(const key&, const key&) = default;
  };
  static key key_of(std::size_t slot_bytes, const slab_store::node& n) noexcept {
    return {slot_bytes, n.bind && n.memory_os_index ? std::int64_t{*n.memory_os_index} : -1};
  }

  static chunk_pool& instance() {
    static chunk_pool& pool = *new chunk_pool;
    return pool;
  }

  // A chunk of this kind, or null. In either case room is made for the kind, so that `give` allocates nothing.
  slab_chunk* take(const key& k) {
    const std::lock_guard lock(mutex_);
    slab_chunk*& head = chunks_[k];
    slab_chunk* chunk = head;
    if (chunk != nullptr) head = chunk->rest->next;
    return chunk;
  }

  void give(const key& k, slab_chunk* chunk) noexcept {
    const std::lock_guard lock(mutex_);
    slab_chunk*& head = chunks_.find(k)->second;
    chunk->rest->next = head;
    head = chunk;
  }

private:
  std::mutex mutex_;
  std::map<key, slab_chunk*> chunks_;  // mutex_
};

slab_chunk* map_chunk(const chunk_pool::key& k, bool huge) {
  std::optional<std::uint32_t> memory_node;
  if (k.memory_os_index >= 0) memory_node = static_cast<std::uint32_t>(k.memory_os_index);
  const auto region = allocate_region(slab_chunk_bytes, memory_node, page_kind::huge);
  if (!region) throw std::bad_alloc();
  std::byte* const base = region->data;
  // A machine that backs everything by huge pages would make 2 MiB resident for a runtime's first cell.
  if (!huge) ::madvise(base, slab_chunk_bytes, MADV_NOHUGEPAGE);
  auto* rest = ::new (base + rest_offset) slab_rest{};
  rest->small_pages.store(!huge, std::memory_order_relaxed);
  auto* chunk = ::new (base + slab_chunk::offset_in(reinterpret_cast<std::uintptr_t>(base))) slab_chunk{};
  chunk->rest = rest;
  chunk->slot_bytes = static_cast<std::uint32_t>(k.slot_bytes);
  chunk->first_slot = first_slot_offset;
  chunk->slots = static_cast<std::uint32_t>((slab_chunk_bytes - first_slot_offset) / k.slot_bytes);
  return chunk;
}

std::byte* slot_at(const slab_chunk& chunk, std::size_t index) noexcept {
  const std::uintptr_t base = reinterpret_cast<std::uintptr_t>(&chunk) & ~(slab_chunk_bytes - 1);
  return reinterpret_cast<std::byte*>(base) + chunk.first_slot + index * chunk.slot_bytes;
}

}  // namespace

// What all workers of a node share for one size.
struct slab_store::depot {
  std::mutex mutex;
  std::vector<void*> batches;     // mutex; whole batches, by their first slot; has room for all that can be
  void* loose = nullptr;          // mutex; less than a batch
  std::uint32_t loose_count = 0;  // mutex
  std::uint32_t batch = 0;        // constant
  std::size_t slots = 0;          // mutex; of all chunks
  slab_chunk* chunks = nullptr;   // mutex; newest first; only the newest has slots left to carve
};

// Slots that are one thread's to initialise: `count` neighbours from the `first` on.
struct slab_store::carved {
  slab_chunk* chunk;
  std::uint32_t first;
  std::uint32_t count;
};

slab_store::slab_store(std::vector<node> nodes, initialise_function prepare, void* context)
    : nodes_(std::move(nodes)), initialise_(prepare), context_(context) {
  depots_ = std::make_unique<depot[]>(nodes_.size() * slab_classes);
  for (std::size_t i = 0; i < nodes_.size() * slab_classes; ++i) {
    const std::size_t slot_bytes = i % slab_classes * slot_bytes_step;
    if (is_slot_size(slot_bytes)) depots_[i].batch = slab_batch_slots(slot_bytes);
  }
}

slab_store::~slab_store() {
  for (std::size_t i = 0; i < nodes_.size() * slab_classes; ++i) {
    const node& n = nodes_[i / slab_classes];
    const chunk_pool::key key = chunk_pool::key_of(i % slab_classes * slot_bytes_step, n);
    for (slab_chunk* chunk = depots_[i].chunks; chunk != nullptr;) {
      slab_chunk* const next = chunk->rest->next;
      chunk->context.store(nullptr, std::memory_order_relaxed);
      chunk_pool::instance().give(key, chunk);
      chunk = next;
    }
  }
}

slab_store::depot& slab_store::depot_of(std::size_t slot_bytes, std::uint32_t node_index) const noexcept {
  return depots_[node_index * slab_classes + slot_bytes / slot_bytes_step];
}

const slab_chunk* slab_store::first_chunk(std::size_t depot_index) const noexcept {
  depot& d = depots_[depot_index];
  const std::lock_guard lock(d.mutex);
  return d.chunks;
}

void slab_store::attach(slab_cache& cache, std::uint32_t node_index) {
  if (node_index >= nodes_.size()) programmer_error("slab_store::attach: there is no node of this number");
  if (cache.node_ != slab_cache::no_node) programmer_error("slab_store::attach: flush the cache first");
  const std::lock_guard lock(caches_mutex_);
  caches_.push_back(&cache);
  cache.node_ = node_index;
  for (std::size_t i = 0; i < slab_classes; ++i) cache.magazines_[i].batch = depots_[i].batch;
}

void slab_store::flush(slab_cache& cache) noexcept {
  if (cache.node_ == slab_cache::no_node) return;
  for (std::size_t i = 0; i < slab_classes; ++i) {
    slab_cache::magazine& m = cache.magazines_[i];
    if (m.loaded == nullptr && m.spare == nullptr) continue;
    depot& d = depots_[cache.node_ * slab_classes + i];
    const std::lock_guard lock(d.mutex);
    if (m.spare != nullptr) give_batch(d, std::exchange(m.spare, nullptr));
    while (m.loaded != nullptr) {
      void* const slot = m.loaded;
      m.loaded = next_of(slot);
      give_one(d, slot);
    }
    m.count = 0;
  }
  cache.node_ = slab_cache::no_node;
  const std::lock_guard lock(caches_mutex_);
  std::erase(caches_, &cache);
  in_use_outside_.fetch_add(cache.in_use_.exchange(0, std::memory_order_relaxed), std::memory_order_relaxed);
}

void slab_store::give_batch(depot& d, void* first) noexcept { d.batches.push_back(first); }

void slab_store::give_one(depot& d, void* slot) noexcept {
  set_next(slot, d.loose);
  d.loose = slot;
  if (++d.loose_count < d.batch) return;
  give_batch(d, std::exchange(d.loose, nullptr));
  d.loose_count = 0;
}

// Under the depot's lock. Adds a chunk of the pool or of the system.
void slab_store::add_chunk(depot& d, std::size_t slot_bytes, std::uint32_t node_index) {
  const slab_store::node& n = nodes_[node_index];
  const chunk_pool::key key = chunk_pool::key_of(slot_bytes, n);
  const std::size_t slots = d.slots + (slab_chunk_bytes - first_slot_offset) / slot_bytes;
  const std::size_t batches = slots / d.batch + 1;
  if (d.batches.capacity() < batches) d.batches.reserve(std::max(batches, 2 * d.batches.capacity()));
  slab_chunk* chunk = chunk_pool::instance().take(key);
  if (chunk == nullptr) chunk = map_chunk(key, d.chunks != nullptr);
  chunk->node = node_index;
  chunk->rest->claimed = 0;
  for (auto& word : chunk->rest->initialised) word.store(0, std::memory_order_relaxed);
  chunk->rest->next = d.chunks;
  chunk->context.store(context_, std::memory_order_release);  // partner: context_of; the context is made
  d.chunks = chunk;
  d.slots = slots;
  bytes_mapped_.fetch_add(slab_chunk_bytes, std::memory_order_relaxed);
}

// Under the depot's lock.
slab_store::carved slab_store::claim(depot& d, std::size_t slot_bytes, std::uint32_t node_index) {
  if (d.chunks == nullptr || d.chunks->rest->claimed == d.chunks->slots) add_chunk(d, slot_bytes, node_index);
  slab_chunk& chunk = *d.chunks;
  const std::size_t fit = std::max<std::size_t>(1, carve_bytes_max / slot_bytes);
  const auto count =
      static_cast<std::uint32_t>(std::min({fit, std::size_t{d.batch}, std::size_t{chunk.slots - chunk.rest->claimed}}));
  const carved c{&chunk, chunk.rest->claimed, count};
  chunk.rest->claimed += count;
  slots_carved_.fetch_add(count, std::memory_order_relaxed);
  return c;
}

// Without a lock, since this touches the slots' pages for the first time. Links them in the order of their addresses.
void slab_store::initialise(const carved& c) noexcept {
  for (std::uint32_t i = 0; i < c.count; ++i) {
    std::byte* const slot = slot_at(*c.chunk, c.first + i);
    initialise_(slot, context_);
    set_next(slot, i + 1 < c.count ? slot + c.chunk->slot_bytes : nullptr);
  }
  for (std::uint32_t i = c.first; i < c.first + c.count;) {
    const std::uint32_t bit = i % 64;
    const std::uint32_t run = std::min(64 - bit, c.first + c.count - i);
    const std::uint64_t mask = (run == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << run) - 1) << bit;
    // Release pairs with the acquires in for_each_slot and for_each_neighbour: the slots are ready.
    c.chunk->rest->initialised[i / 64].fetch_or(mask, std::memory_order_release);
    i += run;
  }
}

// Loads an empty magazine, and takes a slot from it.
void* slab_store::refill(slab_cache::magazine& m, std::size_t slot_bytes, std::uint32_t node_index) {
  assert(m.loaded == nullptr && m.count == 0 && "what is counted is in the list");
  depot& d = depot_of(slot_bytes, node_index);
  if (m.spare != nullptr) {
    m.loaded = std::exchange(m.spare, nullptr);
    m.count = m.batch;
  } else {
    std::unique_lock lock(d.mutex);
    if (!d.batches.empty()) {
      m.loaded = d.batches.back();
      m.count = m.batch;
      d.batches.pop_back();
    } else if (d.loose != nullptr) {
      m.loaded = std::exchange(d.loose, nullptr);
      m.count = std::exchange(d.loose_count, 0);
    } else {
      const carved c = claim(d, slot_bytes, node_index);
      lock.unlock();
      initialise(c);
      m.loaded = slot_at(*c.chunk, c.first);
      m.count = c.count;
    }
  }
  void* const slot = m.loaded;
  m.loaded = next_of(slot);
  --m.count;
  return slot;
}

void* slab_store::allocate_slow(std::size_t slot_bytes, std::uint32_t node_index, slab_cache* cache) {
  if (!is_slot_size(slot_bytes)) programmer_error("a slab slot has 256 to 8,192 bytes, in steps of 64");
  if (node_index >= nodes_.size()) programmer_error("slab_store::allocate: there is no node of this number");
  if (cache != nullptr && cache->node_ == slab_cache::no_node) {
    programmer_error("a worker's slab_cache is used without slab_store::attach, which tells it its node");
  }
  if (cache != nullptr && cache->node_ == node_index) {
    void* const slot = refill(cache->magazines_[slot_bytes / slot_bytes_step], slot_bytes, node_index);
    cache->count(1);
    return slot;
  }
  depot& d = depot_of(slot_bytes, node_index);
  std::unique_lock lock(d.mutex);
  if (d.loose == nullptr) {
    if (!d.batches.empty()) {
      d.loose = d.batches.back();
      d.loose_count = d.batch;
      d.batches.pop_back();
    } else {
      const carved c = claim(d, slot_bytes, node_index);
      lock.unlock();
      initialise(c);
      lock.lock();
      // Back to front, so that they are handed out front to back.
      for (std::uint32_t i = c.count; i-- > 1;) give_one(d, slot_at(*c.chunk, c.first + i));
      in_use_outside_.fetch_add(1, std::memory_order_relaxed);
      return slot_at(*c.chunk, c.first);
    }
  }
  void* const slot = d.loose;
  d.loose = next_of(slot);
  --d.loose_count;
  in_use_outside_.fetch_add(1, std::memory_order_relaxed);
  return slot;
}

void slab_store::release_slow(void* slot, slab_cache* cache) noexcept {
  const slab_chunk& chunk = slab_chunk::of(slot);
  depot& d = depot_of(chunk.slot_bytes, chunk.node);
  if (cache != nullptr && cache->node_ == chunk.node) {
    // Both counts are those of a full `loaded`: it becomes the spare, and an older spare goes to the node.
    slab_cache::magazine& m = cache->magazines_[chunk.slot_bytes / slot_bytes_step];
    if (m.spare != nullptr) {
      const std::lock_guard lock(d.mutex);
      give_batch(d, m.spare);
    }
    m.spare = m.loaded;
    set_next(slot, nullptr);
    m.loaded = slot;
    m.count = 1;
    cache->count(-1);
    return;
  }
  in_use_outside_.fetch_sub(1, std::memory_order_relaxed);
  const std::lock_guard lock(d.mutex);
  give_one(d, slot);
}

std::uint64_t slab_store::slots_in_use() const {
  const std::lock_guard lock(caches_mutex_);
  std::int64_t sum = in_use_outside_.load(std::memory_order_relaxed);
  for (const slab_cache* cache : caches_) sum += cache->in_use_.load(std::memory_order_relaxed);
  return static_cast<std::uint64_t>(std::max<std::int64_t>(sum, 0));
}

}  // namespace karyon::detail
