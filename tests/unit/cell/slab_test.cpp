// SPDX-License-Identifier: Apache-2.0
#include "cell/slab.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <new>
#include <optional>
#include <random>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include <sys/mman.h>

#include "sched/numa_memory.hpp"
#include "support/catch.hpp"

// The memory that the store gets in these tests: real pages, but counted, and refused on demand. So this binary links
// no library that was compiled without ThreadSanitizer. slab_system_test.cpp has the system's memory.
namespace {

struct request {
  std::size_t bytes;
  std::optional<std::uint32_t> node;
};
std::mutex requests_mutex;
std::vector<request> requests;
std::atomic<bool> refuse_memory{false};

}  // namespace

namespace karyon::detail {

result<memory_region> allocate_region(std::size_t bytes, std::optional<std::uint32_t> node_os_index, page_kind pages) {
  if (refuse_memory) return fail(errc::out_of_memory, "the test refuses memory");
  const std::lock_guard lock(requests_mutex);
  requests.push_back({bytes, node_os_index});
  const std::size_t alignment = pages == page_kind::huge ? huge_page_bytes : 4096;
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* mapped = ::mmap(nullptr, bytes + alignment, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (mapped == MAP_FAILED) return fail(errc::out_of_memory, "mmap");
  const auto start = (reinterpret_cast<std::uintptr_t>(mapped) + alignment - 1) / alignment * alignment;
  return memory_region{reinterpret_cast<std::byte*>(start), bytes, true, false};
}

}  // namespace karyon::detail

namespace {

using karyon::detail::slab_batch_slots;
using karyon::detail::slab_cache;
using karyon::detail::slab_store;

constexpr std::size_t word_offset = 56;  // where cells have the word that stale handles look at

std::atomic<std::uint64_t>& word_of(void* slot) {
  return *reinterpret_cast<std::atomic<std::uint64_t>*>(static_cast<std::byte*>(slot) + word_offset);
}

// A context that counts how often each store has prepared a slot.
struct context {
  std::atomic<std::uint64_t> prepared{0};
};
void prepare(void* slot, void* c) {
  static_cast<context*>(c)->prepared.fetch_add(1);
  word_of(slot).fetch_add(1);  // survives: what the last use left is added to
}

std::vector<slab_store::node> nodes(std::size_t n) { return std::vector<slab_store::node>(n); }

std::size_t mapped_regions() {
  const std::lock_guard lock(requests_mutex);
  return requests.size();
}

std::vector<void*> take(slab_store& store, std::size_t n, std::size_t slot_bytes, std::uint32_t node,
                        slab_cache* cache) {
  std::vector<void*> slots(n);
  for (void*& slot : slots) slot = store.allocate(slot_bytes, node, cache);
  return slots;
}
void give(slab_store& store, const std::vector<void*>& slots, slab_cache* cache) {
  for (void* slot : slots) store.release(slot, cache);
}

// Each test has slot sizes of its own where it counts chunks, since the process keeps chunks for every later store.
std::size_t fresh_slot_bytes() {
  static std::size_t next = 1024;
  return next += 64;
}

}  // namespace

TEST_CASE("slots are distinct, aligned to a cache line and as large as asked for") {
  context c;
  slab_store store(nodes(1), &prepare, &c);
  slab_cache cache;
  store.attach(cache, 0);
  for (const std::size_t bytes : {256U, 320U, 1024U, 8192U}) {
    std::vector<void*> slots = take(store, 500, bytes, 0, &cache);
    // Written in full but for the word, then read again: an overlap would show.
    for (std::size_t i = 0; i < slots.size(); ++i) {
      REQUIRE(reinterpret_cast<std::uintptr_t>(slots[i]) % 64 == 0);
      std::memset(static_cast<std::byte*>(slots[i]) + 64, static_cast<int>(i % 251), bytes - 64);
    }
    for (std::size_t i = 0; i < slots.size(); ++i) {
      const auto* bytes_of = static_cast<const unsigned char*>(slots[i]);
      REQUIRE(std::all_of(bytes_of + 64, bytes_of + bytes, [&](unsigned char b) { return b == i % 251; }));
    }
    std::sort(slots.begin(), slots.end());
    CHECK(std::adjacent_find(slots.begin(), slots.end()) == slots.end());
    give(store, slots, &cache);
  }
  store.flush(cache);
}

TEST_CASE("a released slot is the next one allocated, and is prepared once") {
  context c;
  slab_store store(nodes(1), &prepare, &c);
  slab_cache cache;
  store.attach(cache, 0);
  void* const first = store.allocate(256, 0, &cache);
  const std::uint64_t prepared = c.prepared;
  for (int i = 0; i < 1000; ++i) {
    store.release(first, &cache);
    REQUIRE(store.allocate(256, 0, &cache) == first);
  }
  CHECK(c.prepared == prepared);
  store.release(first, &cache);
  store.flush(cache);
}

TEST_CASE("release and reuse change nothing of a slot but its link") {
  context c;
  slab_store store(nodes(1), &prepare, &c);
  slab_cache cache;
  store.attach(cache, 0);
  const std::size_t bytes = fresh_slot_bytes();
  std::vector<void*> slots = take(store, 1000, bytes, 0, &cache);
  for (void* slot : slots) std::memset(slot, 0x5a, bytes);
  const std::set<void*> before(slots.begin(), slots.end());
  give(store, slots, &cache);
  for (void* slot : take(store, 1000, bytes, 0, &cache)) {
    REQUIRE(before.count(slot) == 1);
    const auto* b = static_cast<const unsigned char*>(slot);
    const auto untouched = [](unsigned char x) { return x == 0x5a; };
    REQUIRE(std::all_of(b, b + karyon::detail::free_link_offset, untouched));
    REQUIRE(std::all_of(b + karyon::detail::free_link_offset + sizeof(void*), b + bytes, untouched));
    store.release(slot, nullptr);
  }
  store.flush(cache);
}

TEST_CASE("memory grows with what is in use at once, not with what was ever allocated") {
  context c;
  slab_store store(nodes(1), &prepare, &c);
  slab_cache cache;
  store.attach(cache, 0);
  const std::size_t bytes = fresh_slot_bytes();
  std::uint64_t carved = 0;
  for (int round = 0; round < 20; ++round) {
    const std::vector<void*> slots = take(store, 3000, bytes, 0, &cache);
    if (round == 0) carved = store.slots_carved();
    give(store, slots, &cache);
  }
  CHECK(store.slots_carved() == carved);
  CHECK(carved < 3000 + slab_batch_slots(bytes));
  CHECK(store.bytes_mapped() == (3000 * bytes / (2U << 20U) + 1) * (2U << 20U));
  store.flush(cache);
}

TEST_CASE("a store counts the slots in use, whoever took and gave them") {
  context c;
  slab_store store(nodes(2), &prepare, &c);
  slab_cache cache;
  store.attach(cache, 0);
  const std::vector<void*> a = take(store, 300, 256, 0, &cache);
  const std::vector<void*> b = take(store, 200, 256, 1, &cache);
  const std::vector<void*> d = take(store, 100, 512, 0, nullptr);
  CHECK(store.slots_in_use() == 600);
  give(store, a, nullptr);
  give(store, d, &cache);
  CHECK(store.slots_in_use() == 200);
  store.flush(cache);
  CHECK(store.slots_in_use() == 200);
  give(store, b, nullptr);
  CHECK(store.slots_in_use() == 0);
}

TEST_CASE("a slot returns to its own node, and is never handed out for another") {
  context c;
  slab_store store(nodes(2), &prepare, &c);
  slab_cache on_0;
  slab_cache on_1;
  store.attach(on_0, 0);
  store.attach(on_1, 1);
  const std::size_t bytes = fresh_slot_bytes();
  std::vector<void*> mine = take(store, 400, bytes, 0, &on_0);
  give(store, mine, &on_1);  // died on the other node
  std::vector<void*> theirs = take(store, 400, bytes, 1, &on_1);
  std::sort(mine.begin(), mine.end());
  for (void* slot : theirs) REQUIRE_FALSE(std::binary_search(mine.begin(), mine.end(), slot));
  std::vector<void*> again = take(store, 400, bytes, 0, &on_0);
  std::sort(again.begin(), again.end());
  CHECK(std::includes(again.begin(), again.end(), mine.begin(), mine.begin() + 300));
  give(store, theirs, &on_1);
  give(store, again, &on_0);
  store.flush(on_0);
  store.flush(on_1);
}

TEST_CASE("memory is asked for on the node that the slots are for, where that is to be bound") {
  context c;
  slab_store store({{7U, true}, {3U, true}, {5U, false}}, &prepare, &c);
  const std::size_t bytes = fresh_slot_bytes();
  const std::size_t before = mapped_regions();
  for (std::uint32_t node = 0; node < 3; ++node) store.release(store.allocate(bytes, node, nullptr), nullptr);
  REQUIRE(mapped_regions() == before + 3);
  CHECK(requests[before].node == 7U);
  CHECK(requests[before + 1].node == 3U);
  CHECK(requests[before + 2].node == std::nullopt);
  CHECK(requests[before].bytes == 2U << 20U);
}

TEST_CASE("flushed caches give all their slots to the others of the node") {
  context c;
  slab_store store(nodes(1), &prepare, &c);
  slab_cache gone;
  slab_cache heir;
  store.attach(gone, 0);
  store.attach(heir, 0);
  const std::size_t bytes = fresh_slot_bytes();
  give(store, take(store, 1000, bytes, 0, &gone), &gone);
  const std::uint64_t carved = store.slots_carved();
  store.flush(gone);
  const std::vector<void*> slots = take(store, carved, bytes, 0, &heir);
  CHECK(store.slots_carved() == carved);
  give(store, slots, &heir);
  store.flush(heir);
}

TEST_CASE("every slot is visited once, taken or free, and knows its context") {
  context c;
  slab_store store(nodes(2), &prepare, &c);
  slab_cache cache;
  store.attach(cache, 0);
  std::set<void*> all;
  for (const std::size_t bytes : {256U, 448U, 8192U}) {
    for (std::uint32_t node = 0; node < 2; ++node) {
      for (void* slot : take(store, 900, bytes, node, &cache)) all.insert(slot);
    }
  }
  std::uint64_t visits = 0;
  std::set<void*> visited;
  store.for_each_slot([&](void* slot) {
    ++visits;
    visited.insert(slot);
    CHECK(slab_store::context_of(slot) == &c);
  });
  CHECK(visits == visited.size());
  CHECK(visits == store.slots_carved());
  CHECK(visits == c.prepared);
  CHECK(std::includes(visited.begin(), visited.end(), all.begin(), all.end()));
  for (void* slot : all) store.release(slot, &cache);
  store.flush(cache);
}

TEST_CASE("a later store takes the slots of one that ended, as they were, and prepares them anew") {
  const std::size_t bytes = fresh_slot_bytes();
  constexpr std::size_t count = 4000;
  std::set<void*> before;
  {
    context first;
    slab_store store(nodes(1), &prepare, &first);
    for (void* slot : take(store, count, bytes, 0, nullptr)) {
      before.insert(slot);
      word_of(slot).store(1000);
      store.release(slot, nullptr);
    }
  }
  for (void* slot : before) {
    REQUIRE(word_of(slot).load() == 1000);  // a stale handle's look
    REQUIRE(slab_store::context_of(slot) == nullptr);
  }
  const std::size_t regions = mapped_regions();
  context second;
  slab_store store(nodes(1), &prepare, &second);
  std::uint64_t seen = 0;
  store.for_each_slot([&](void*) { ++seen; });
  CHECK(seen == 0);
  const std::vector<void*> slots = take(store, count, bytes, 0, nullptr);
  CHECK(mapped_regions() == regions);
  CHECK(second.prepared == store.slots_carved());
  for (void* slot : slots) {
    if (before.count(slot) == 1) REQUIRE(word_of(slot).load() == 1001);
  }
  give(store, slots, nullptr);
}

TEST_CASE("without memory an allocation throws, loses nothing, and works again when there is some") {
  context c;
  slab_store store(nodes(1), &prepare, &c);
  slab_cache cache;
  store.attach(cache, 0);
  const std::size_t bytes = fresh_slot_bytes();
  slab_cache* const with = GENERATE(true, false) ? &cache : nullptr;
  std::vector<void*> slots = take(store, 10, bytes, 0, with);
  refuse_memory = true;
  bool refused = false;
  while (!refused) {
    try {
      slots.push_back(store.allocate(bytes, 0, with));
    } catch (const std::bad_alloc&) {
      refused = true;
    }
  }
  CHECK(slots.size() == store.slots_carved());
  CHECK(slots.size() == store.slots_in_use());
  CHECK(store.bytes_mapped() == 2U << 20U);
  // All of the chunk was handed out, and all of it can be again.
  const std::size_t all = slots.size();
  give(store, slots, with);
  slots = take(store, all, bytes, 0, with);
  CHECK_THROWS_AS(store.allocate(bytes, 0, with), std::bad_alloc);
  refuse_memory = false;
  slots.push_back(store.allocate(bytes, 0, with));
  CHECK(store.slots_in_use() == all + 1);
  give(store, slots, with);
  store.flush(cache);
}

TEST_CASE("workers may birth, hand over and bury slots at once, beside visitors and threads without a cache") {
  constexpr unsigned workers = 4;
  constexpr int steps = 20000;
  context c;
  slab_store store(nodes(2), &prepare, &c);

  // Slots go from worker to worker through mailboxes, as cells that die elsewhere do.
  struct mailbox {
    std::mutex mutex;
    std::vector<void*> slots;
  };
  std::vector<mailbox> mailboxes(workers);
  std::atomic<bool> wrong{false};

  const auto work = [&](unsigned self) {
    slab_cache own;
    const std::uint32_t home = self % 2;
    const bool cached = self != 3;
    if (cached) store.attach(own, home);
    slab_cache* const cache = cached ? &own : nullptr;
    std::mt19937 random(self);
    std::vector<void*> live;
    for (int i = 0; i < steps; ++i) {
      if (random() % 2 == 0 || live.empty()) {
        const std::uint32_t node = random() % 8 == 0 ? 1 - home : home;
        const std::size_t bytes = random() % 2 == 0 ? 256 : 640;
        void* const slot = store.allocate(bytes, node, cache);
        // Whoever owns a slot is alone with it: a plain field, written and checked. ThreadSanitizer looks on.
        auto* const mark = reinterpret_cast<std::uint64_t*>(static_cast<std::byte*>(slot) + 192);
        *mark = reinterpret_cast<std::uintptr_t>(slot) + self;
        live.push_back(slot);
        if (*mark != reinterpret_cast<std::uintptr_t>(slot) + self) wrong = true;
      } else {
        std::swap(live[random() % live.size()], live.back());
        void* const slot = live.back();
        live.pop_back();
        if (random() % 4 == 0) {
          mailbox& other = mailboxes[random() % workers];
          const std::lock_guard lock(other.mutex);
          other.slots.push_back(slot);
        } else {
          store.release(slot, cache);
        }
      }
      if (i % 64 == 0) {
        std::vector<void*> come;
        {
          const std::lock_guard lock(mailboxes[self].mutex);
          come.swap(mailboxes[self].slots);
        }
        give(store, come, cache);
      }
    }
    give(store, live, cache);
    if (cached) store.flush(own);
  };

  std::vector<std::thread> threads;
  for (unsigned i = 0; i < workers; ++i) threads.emplace_back(work, i);
  std::uint64_t last = 0;
  for (int i = 0; i < 20; ++i) {
    std::uint64_t ready = 0;
    store.for_each_slot([&](void* slot) {
      if (word_of(slot).load(std::memory_order_relaxed) != 0) ++ready;  // only prepared slots are shown
    });
    if (ready < last) wrong = true;
    last = ready;
    static_cast<void>(store.slots_in_use());
  }
  for (std::thread& t : threads) t.join();
  for (mailbox& m : mailboxes) give(store, m.slots, nullptr);

  CHECK_FALSE(wrong);
  CHECK(store.slots_in_use() == 0);
  CHECK(store.slots_carved() == c.prepared);
  std::uint64_t visits = 0;
  store.for_each_slot([&](void*) { ++visits; });
  CHECK(visits == store.slots_carved());
  // Nothing was lost on the way: all that was carved for a node can be had again, once each, without carving more.
  std::set<void*> all;
  for (std::uint32_t node = 0; node < 2; ++node) {
    for (const std::size_t bytes : {256U, 640U}) {
      std::uint64_t carved = 0;
      store.for_each_slot([&](void* slot) {
        const auto& chunk = karyon::detail::slab_chunk::of(slot);
        carved += chunk.node == node && chunk.slot_bytes == bytes ? 1 : 0;
      });
      for (void* slot : take(store, carved, bytes, node, nullptr)) all.insert(slot);
    }
  }
  CHECK(all.size() == visits);
  CHECK(store.slots_carved() == visits);
  for (void* slot : all) store.release(slot, nullptr);
}
