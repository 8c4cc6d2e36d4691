#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "sched/cpu.hpp"

namespace karyon::detail {

/// Where signals of up to 128 bytes come from: a process-wide pool with a cache a thread.
///
/// A signal is born on one thread and dies on another. A general allocator pays for that with an atomic operation on a
/// contended line for each; here the receiver keeps what it frees, and only whole batches of 64 travel back through a
/// depot (Bonwick and Adams, "Magazines and Vmem", USENIX 2001). Measured, scatter to 500,000 cells: half of the time of
/// sender and receiver was the allocator before.
///
/// Memory is first touched by the thread that carves it, so it lies on the node of that (pinned) worker; batches go back
/// to the depot of the node that their thread runs on. Where a node has none left, it takes
/// one from another node before it carves. It is never returned to the system: the pool's size is the most
/// signals that ever were in flight.
class signal_cache {
public:
  static constexpr std::size_t step = 16;
  static constexpr std::size_t bytes_max = 128;
  static constexpr std::uint32_t batch = 64;

  signal_cache() noexcept;
  signal_cache(const signal_cache&) = delete;
  signal_cache& operator=(const signal_cache&) = delete;
  /// Gives everything to the depot.
  ~signal_cache();

  /// 0 < bytes <= bytes_max. Throws std::bad_alloc.
  [[nodiscard]] void* allocate(std::size_t bytes) {
    magazine& m = magazines_[size_class(bytes)];
    if (free_signal_node* n = m.loaded; n != nullptr) [[likely]] {
      m.loaded = n->next;
      --m.count;
      return n;
    }
    return refill(size_class(bytes));
  }

  void release(void* memory, std::size_t bytes) noexcept {
    magazine& m = magazines_[size_class(bytes)];
    if (m.count == batch) [[unlikely]]
      make_room(size_class(bytes));
    auto* n = static_cast<free_signal_node*>(memory);
    n->next = m.loaded;
    m.loaded = n;
    ++m.count;
  }

  /// Asks for the first two lines of what the next call for so many bytes will get, for those who get what others, long ago, have
  /// used. 0 < bytes <= bytes_max.
  void fetch_next(std::size_t bytes) const noexcept {
    const auto* n = reinterpret_cast<const std::byte*>(magazines_[size_class(bytes)].loaded);
    if (n == nullptr) return;
    prefetch_of_own(n);
    prefetch_of_own(n + 64);
  }

  /// For threads that have no cache (any more): one lock each.
  [[nodiscard]] static void* allocate_uncached(std::size_t bytes);
  static void release_uncached(void* memory, std::size_t bytes) noexcept;

  struct free_signal_node {
    free_signal_node* next;
    free_signal_node* next_batch;  // of the first node of a batch in the depot
  };

private:
  // Two words are the least: a batch is linked through both.
  static constexpr std::size_t classes = bytes_max / step + 1;
  [[nodiscard]] static constexpr std::size_t size_class(std::size_t bytes) noexcept {
    return (bytes + step - 1) / step;
  }

  struct magazine {
    free_signal_node* loaded = nullptr;
    free_signal_node* spare = nullptr;  // a whole batch, or nothing
    std::uint32_t count = 0;            // in `loaded`
  };

  [[nodiscard]] void* refill(std::size_t size_class);
  void make_room(std::size_t size_class) noexcept;

  const std::uint32_t node_;
  std::array<magazine, classes> magazines_;
};

/// As allocate_signal, for what lives long: the memory that the next call will get is asked for as well. Of what such things leave
/// behind no line is in a cache.
[[nodiscard]] void* allocate_lasting(std::size_t bytes);

}  // namespace karyon::detail
