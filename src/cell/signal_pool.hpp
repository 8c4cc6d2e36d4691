#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <new>

#include "sched/cpu.hpp"

namespace karyon::detail {

/// Where signals of up to 128 bytes come from: a process-wide pool with a cache a thread.
///
/// A signal is born on one thread and dies on another. A general allocator pays for that with an atomic operation on a
/// contended line for each; here the receiver keeps what it frees, and only whole batches of 64 travel back through a
/// depot (Bonwick and Adams, "Magazines and Vmem", USENIX 2001). Measured, scatter to 500,000 cells: half of the time of
/// sender and receiver was the allocator before.
///
/// Free signals are kept in groups, the first of which has the addresses of the others: their lines are in the cache of the
/// core that has freed them, and whoever takes them can ask for several at once, ahead, and not learn of each from the one
/// before. Measured likewise: half of the sender's time was the waiting for these lines.
///
/// Memory is first touched by the thread that carves it, so it lies on the node of that (pinned) worker; batches go back
/// to the depot of the node that their thread runs on. Where a node has none left, it takes
/// one from another node before it carves. It is never returned to the system: the pool's size is the most
/// signals that ever were in flight.
class signal_cache {
public:
  static constexpr std::size_t step = 16;
  static constexpr std::size_t bytes_max = 128;
  static constexpr std::uint32_t batch = 64;  // or what makes its last group full

  signal_cache() noexcept;
  signal_cache(const signal_cache&) = delete;
  signal_cache& operator=(const signal_cache&) = delete;
  /// Gives everything to the depot.
  ~signal_cache();

  /// 0 < bytes <= bytes_max. Throws std::bad_alloc.
  [[nodiscard]] void* allocate(std::size_t bytes) {
    magazine& m = magazines_[size_class(bytes)];
    if (m.members != 0) return members_of(m.loaded)[--m.members];
    return pop_first(m, size_class(bytes));
  }

  void release(void* memory, std::size_t bytes) noexcept {
    magazine& m = magazines_[size_class(bytes)];
    if (m.members < m.room) {
      ::new (members_of(m.loaded) + m.members++) void*(memory);
      return;
    }
    push_group(m, size_class(bytes), memory);
  }

  /// Asks for the first two lines of what the next call for so many bytes will get, for those who get what others, long ago, have
  /// used. 0 < bytes <= bytes_max.
  void fetch_next(std::size_t bytes) const noexcept {
    const magazine& m = magazines_[size_class(bytes)];
    if (m.loaded == nullptr) return;
    const auto* n = static_cast<const std::byte*>(m.members != 0 ? members_of(m.loaded)[m.members - 1] : m.loaded);
    prefetch_of_own(n);
    prefetch_of_own(n + 64);
  }

  /// For threads that have no cache (any more): one lock each.
  [[nodiscard]] static void* allocate_uncached(std::size_t bytes);
  static void release_uncached(void* memory, std::size_t bytes) noexcept;

  /// The first of a group of free signals. Behind it, as far as it has bytes, the addresses of the group's others follow, whose
  /// memory is not touched: so who takes a group that another core has freed waits for one line, and can ask for the rest.
  struct free_signal_group {
    free_signal_group* next;
    free_signal_group* next_batch;  // of the first group of a batch in the depot
  };

private:
  // Two words are the least: a batch is linked through both.
  static constexpr std::size_t classes = bytes_max / step + 1;
  [[nodiscard]] static constexpr std::size_t size_class(std::size_t bytes) noexcept {
    return (bytes + step - 1) / step;
  }

  /// All groups but the first are full, and in a batch that one is, too.
  struct magazine {
    free_signal_group* loaded = nullptr;
    free_signal_group* spare = nullptr;  // a whole batch, or nothing
    std::uint32_t members = 0;           // of the first group in `loaded`, beside itself
    std::uint32_t room = 0;              // for members in each group; 0 if there is none
    std::uint32_t groups = 0;            // in `loaded`
  };

  /// No more than the first line of a group has room for.
  [[nodiscard]] static constexpr std::uint32_t members_max(std::size_t size_class) noexcept {
    const std::size_t bytes = size_class * step < 64 ? size_class * step : 64;
    return static_cast<std::uint32_t>((bytes - sizeof(free_signal_group)) / sizeof(void*));
  }
  [[nodiscard]] static constexpr std::uint32_t groups_of_batch(std::size_t size_class) noexcept {
    return (batch + members_max(size_class)) / (members_max(size_class) + 1);
  }
  [[nodiscard]] static void** members_of(free_signal_group* g) noexcept { return reinterpret_cast<void**>(g + 1); }

  [[nodiscard]] void* pop_first(magazine& m, std::size_t size_class) {
    if (m.loaded == nullptr) [[unlikely]] {
      refill(size_class);
      if (m.members != 0) return members_of(m.loaded)[--m.members];
    }
    free_signal_group* const g = m.loaded;
    m.loaded = g->next;
    --m.groups;
    if (m.loaded == nullptr) [[unlikely]] {
      m.room = 0;
    } else {
      m.members = m.room;
      look_ahead(m.loaded->next, m.members);
    }
    return g;
  }
  void push_group(magazine& m, std::size_t size_class, void* memory) noexcept {
    if (m.groups == groups_of_batch(size_class)) [[unlikely]]
      make_room(size_class);
    m.loaded = ::new (memory) free_signal_group{m.loaded, nullptr};
    ++m.groups;
    m.members = 0;
    m.room = members_max(size_class);
  }
  /// The lines of the group after the one that is begun now: its own was asked for when the one before was begun.
  static void look_ahead(free_signal_group* g, std::uint32_t members) noexcept {
    if (g == nullptr) return;
    prefetch_for_write(g->next);
    for (std::uint32_t i = 0; i < members; ++i) prefetch_for_write(members_of(g)[i]);
  }

  /// Fills `loaded`, which is empty.
  void refill(std::size_t size_class);
  void make_room(std::size_t size_class) noexcept;
  static void load_batch(magazine& m, std::size_t size_class, free_signal_group* first) noexcept;

  const std::uint32_t node_;
  std::array<magazine, classes> magazines_;
};

/// As allocate_signal, for what lives long: the memory that the next call will get is asked for as well. Of what such things leave
/// behind no line is in a cache.
[[nodiscard]] void* allocate_lasting(std::size_t bytes);

}  // namespace karyon::detail
