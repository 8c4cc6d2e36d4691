#include "cell/signal_pool.hpp"

#include <mimalloc.h>
#include <sched.h>

#include <atomic>
#include <mutex>
#include <new>
#include <utility>

#include <karyon/cell/detail/signal.hpp>

#include "sched/numa_memory.hpp"

namespace karyon::detail {

namespace {

using group = signal_cache::free_signal_group;

constexpr std::uint32_t depot_nodes = 64;  // NUMA nodes told apart; beyond that they share
constexpr std::size_t classes = signal_cache::bytes_max / signal_cache::step + 1;

/// Free signals of one size on one NUMA node that no thread's cache has.
struct depot {
  std::mutex mutex;
  group* batches = nullptr;  // full ones, linked by next_batch
  group* loose = nullptr;    // single ones, from threads that ended
};

depot& depot_of(std::uint32_t numa_node, std::size_t size_class) noexcept {
  static std::array<std::array<depot, classes>, depot_nodes> depots;
  return depots[numa_node][size_class];
}

/// Fresh memory, cut into batches on demand.
class chunk_source {
public:
  [[nodiscard]] std::byte* take(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    if (left_ < bytes) {
      // The first megabytes of a small program are not worth a huge page.
      const page_kind pages = regions_++ == 0 ? page_kind::standard : page_kind::huge;
      const auto region = allocate_region(region_bytes, std::nullopt, pages);
      if (!region) throw std::bad_alloc();
      at_ = region->data;
      left_ = region->bytes;
    }
    std::byte* out = at_;
    at_ += bytes;
    left_ -= bytes;
    return out;
  }

private:
  static constexpr std::size_t region_bytes = std::size_t{2} << 20u;
  std::mutex mutex_;
  std::byte* at_ = nullptr;
  std::size_t left_ = 0;
  std::size_t regions_ = 0;
};

chunk_source& chunks_of(std::uint32_t numa_node) noexcept {
  static std::array<chunk_source, depot_nodes> sources;
  return sources[numa_node];
}

std::uint32_t node_of_this_thread() noexcept {
  unsigned cpu = 0;
  unsigned numa_node = 0;
  return getcpu(&cpu, &numa_node) == 0 ? numa_node % depot_nodes : 0;
}

/// The highest node that any cache was made on; on a machine with one node there are no others to look at.
std::atomic<std::uint32_t> highest_node{0};

/// A steady flow from one node to another leaves its memory there: before fresh memory is carved it is fetched back.
bool take_batch_of_other_node(std::uint32_t mine, std::size_t size_class, group*& out) noexcept {
  for (std::uint32_t n = 0; n <= highest_node.load(std::memory_order_relaxed); ++n) {
    if (n == mine) continue;
    depot& d = depot_of(n, size_class);
    const std::lock_guard lock(d.mutex);
    if (d.batches == nullptr) continue;
    out = d.batches;
    d.batches = out->next_batch;
    return true;
  }
  return false;
}

/// The calling thread's cache: made at its first signal, emptied when it ends. A pointer beside the object, because
/// signals may still be freed by destructors that run after the object's own.
thread_local constinit signal_cache* cache = nullptr;
thread_local constinit bool cache_gone = false;

signal_cache* make_cache() {
  if (cache_gone) return nullptr;
  struct holder {
    signal_cache mine;
    ~holder() {
      cache = nullptr;
      cache_gone = true;
    }
  };
  static thread_local holder held;
  cache = &held.mine;
  return cache;
}

inline signal_cache* my_cache() { return cache != nullptr ? cache : make_cache(); }

// AddressSanitizer sees a use after free only if each signal is a block of its own.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool pooled = false;
#elif defined(__has_feature)
constexpr bool pooled = !__has_feature(address_sanitizer);
#else
constexpr bool pooled = true;
#endif

}  // namespace

signal_cache::signal_cache() noexcept : node_(node_of_this_thread()) {
  std::uint32_t seen = highest_node.load(std::memory_order_relaxed);
  while (seen < node_ && !highest_node.compare_exchange_weak(seen, node_, std::memory_order_relaxed)) {
  }
}

signal_cache::~signal_cache() {
  for (std::size_t c = 0; c < classes; ++c) {
    magazine& m = magazines_[c];
    depot& d = depot_of(node_, c);
    const std::lock_guard lock(d.mutex);
    if (m.spare != nullptr) {
      m.spare->next_batch = d.batches;
      d.batches = m.spare;
    }
    while (m.loaded != nullptr) {
      void* const one = m.members != 0 ? members_of(m.loaded)[--m.members] : pop_first(m, c);
      d.loose = ::new (one) group{d.loose, nullptr};
    }
    m = {};
  }
}

void signal_cache::load_batch(magazine& m, std::size_t size_class, group* first) noexcept {
  m.loaded = first;
  m.groups = groups_of_batch(size_class);
  m.members = m.room = members_max(size_class);
}

void signal_cache::refill(std::size_t size_class) {
  magazine& m = magazines_[size_class];
  if (m.spare != nullptr) return load_batch(m, size_class, std::exchange(m.spare, nullptr));
  const std::size_t bytes = size_class * step;
  depot& d = depot_of(node_, size_class);
  {
    const std::lock_guard lock(d.mutex);
    if (group* const first = d.batches; first != nullptr) {
      d.batches = first->next_batch;
      return load_batch(m, size_class, first);
    }
    for (std::uint32_t i = 0; d.loose != nullptr && i < batch; ++i) {
      group* const one = d.loose;
      d.loose = one->next;
      release(one, bytes);
    }
  }
  if (m.loaded != nullptr) return;
  if (group* first = nullptr; take_batch_of_other_node(node_, size_class, first)) {
    return load_batch(m, size_class, first);
  }
  const std::uint32_t all = groups_of_batch(size_class) * (members_max(size_class) + 1);
  std::byte* memory = chunks_of(node_).take(bytes * all);
  for (std::uint32_t i = all; i-- > 0;) release(memory + i * bytes, bytes);
}

void signal_cache::make_room(std::size_t size_class) noexcept {
  magazine& m = magazines_[size_class];
  if (m.spare != nullptr) {
    depot& d = depot_of(node_, size_class);
    const std::lock_guard lock(d.mutex);
    m.spare->next_batch = d.batches;
    d.batches = m.spare;
  }
  m.spare = m.loaded;
  m.loaded = nullptr;
  m.groups = 0;
}

void* signal_cache::allocate_uncached(std::size_t bytes) {
  const std::size_t c = size_class(bytes);
  depot& d = depot_of(0, c);
  {
    const std::lock_guard lock(d.mutex);
    if (group* const one = d.loose; one != nullptr) {
      d.loose = one->next;
      return one;
    }
  }
  return chunks_of(0).take(c * step);
}

void signal_cache::release_uncached(void* memory, std::size_t bytes) noexcept {
  depot& d = depot_of(0, size_class(bytes));
  const std::lock_guard lock(d.mutex);
  d.loose = ::new (memory) group{d.loose, nullptr};
}

void* allocate_signal(std::size_t bytes) {
  if (pooled && bytes <= signal_cache::bytes_max) [[likely]] {
    signal_cache* mine = my_cache();
    return mine != nullptr ? mine->allocate(bytes) : signal_cache::allocate_uncached(bytes);
  }
  // mimalloc aligns a block to 16 once it has 16 bytes, and a signal's header alone has as many.
  void* memory = pooled ? mi_malloc(bytes) : ::operator new(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void* allocate_lasting(std::size_t bytes) {
  void* memory = allocate_signal(bytes);
  if (pooled && bytes <= signal_cache::bytes_max && cache != nullptr) cache->fetch_next(bytes);
  return memory;
}

void free_signal(void* memory, std::size_t bytes) noexcept {
  if (pooled && bytes <= signal_cache::bytes_max) [[likely]] {
    signal_cache* mine = my_cache();
    return mine != nullptr ? mine->release(memory, bytes) : signal_cache::release_uncached(memory, bytes);
  }
  if (pooled) {
    mi_free(memory);
  } else {
    ::operator delete(memory);
  }
}

}  // namespace karyon::detail
