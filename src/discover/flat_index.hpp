#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "sched/cpu.hpp"

namespace karyon::detail {

/// Spreads what differs in few bits, such as addresses, over all of them.
[[nodiscard]] constexpr std::uint64_t mixed_bits(std::uint64_t h) noexcept {
  h = (h ^ (h >> 32u)) * 0xd6e8'feb8'6659'fd93u;
  h = (h ^ (h >> 32u)) * 0xd6e8'feb8'6659'fd93u;
  return h ^ (h >> 32u);
}

/// Finds items by hash: open addressing, linear probing, backward-shift deletion, at most three quarters full. Holds pointers, so
/// items stay where they are; the hash lies beside the pointer, so a look rarely follows one that is not meant. One thread at a
/// time: its shard's lock.
template <class T>
class flat_index {
public:
  /// The item with this hash for which `is(item)`; null if there is none.
  template <class Is>
  [[nodiscard]] T* find(std::uint64_t hash, Is&& is) const noexcept {
    if (places_.empty()) return nullptr;
    for (std::size_t i = hash & mask();; i = (i + 1) & mask()) {
      const place& p = places_[i];
      if (p.item == nullptr) return nullptr;
      if (p.hash == hash && is(*p.item)) return p.item;
    }
  }
  /// So that what asks for this hash later finds its place in a cache.
  void fetch(std::uint64_t hash) const noexcept {
    if (!places_.empty()) prefetch_of_own(&places_[hash & mask()]);
  }
  /// Makes sure that the next add needs no memory. Throws std::bad_alloc.
  void make_room() {
    if ((size_ + 1) * 4 <= places_.size() * 3) return;
    std::vector<place> old(places_.empty() ? 16 : places_.size() * 2);
    old.swap(places_);
    for (const place& p : old) {
      if (p.item != nullptr) put(p.hash, p.item);
    }
  }
  /// After make_room; it is not there.
  void add(std::uint64_t hash, T& item) noexcept {
    put(hash, &item);
    ++size_;
  }
  /// It is there.
  void remove(std::uint64_t hash, const T& item) noexcept {
    std::size_t hole = hash & mask();
    while (places_[hole].item != &item) hole = (hole + 1) & mask();
    for (std::size_t i = (hole + 1) & mask(); places_[i].item != nullptr; i = (i + 1) & mask()) {
      // What stands between its own place and here would no longer be found over the hole.
      if (((i - (places_[i].hash & mask())) & mask()) < ((i - hole) & mask())) continue;
      places_[hole] = places_[i];
      hole = i;
    }
    places_[hole] = {};
    --size_;
  }
  /// The first item from this place on, and its place; null at the end, and 0. A removal may move others to earlier places.
  [[nodiscard]] T* next(std::size_t& from) const noexcept {
    for (; from < places_.size(); ++from) {
      if (places_[from].item != nullptr) return places_[from].item;
    }
    from = 0;
    return nullptr;
  }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  template <class F>
  void for_each(F&& f) const {
    for (const place& p : places_) {
      if (p.item != nullptr) f(*p.item);
    }
  }

private:
  struct place {
    std::uint64_t hash = 0;
    T* item = nullptr;
  };
  [[nodiscard]] std::size_t mask() const noexcept { return places_.size() - 1; }
  void put(std::uint64_t hash, T* item) noexcept {
    std::size_t i = hash & mask();
    while (places_[i].item != nullptr) i = (i + 1) & mask();
    places_[i] = {hash, item};
  }

  std::vector<place> places_;
  std::size_t size_ = 0;
};

/// Objects that come and go under one lock, without a visit to the heap for each. Freed with the pool; none is in use then that has
/// a destructor to run.
template <class T>
class object_pool {
public:
  object_pool() = default;
  object_pool(const object_pool&) = delete;
  object_pool& operator=(const object_pool&) = delete;

  /// Throws std::bad_alloc.
  template <class... Args>
  [[nodiscard]] T& make(Args&&... args) {
    if (free_ == nullptr) grow();
    cell* c = std::exchange(free_, free_->next);
    return *::new (static_cast<void*>(c)) T{std::forward<Args>(args)...};
  }
  void drop(T& object) noexcept {
    object.~T();
    free_ = ::new (static_cast<void*>(&object)) cell{free_};
  }

private:
  union cell {
    cell* next;
    alignas(T) std::byte room[sizeof(T)];
  };
  static constexpr std::size_t per_chunk = 64;
  void grow() {
    chunks_.push_back(std::make_unique<cell[]>(per_chunk));
    cell* const chunk = chunks_.back().get();
    for (std::size_t i = per_chunk; i-- > 0;) {
      chunk[i].next = free_;
      free_ = &chunk[i];
    }
  }
  cell* free_ = nullptr;
  std::vector<std::unique_ptr<cell[]>> chunks_;
};

}  // namespace karyon::detail
