#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include <karyon/matrix/detail/slots.hpp>
#include <karyon/matrix/detail/version_lock.hpp>

namespace karyon::detail {

// OTP's constants of contention adaptation (Sagonas and Winblad, "A contention adapting approach to concurrent ordered sets",
// 2018): what a base node's statistic gains by a lock that had to be waited for, loses by one that had not, and where it splits
// or joins its neighbour.
inline constexpr std::int32_t contended_lock = 250;
inline constexpr std::int32_t free_lock = -1;
inline constexpr std::int32_t range_over_several = -10;
inline constexpr std::int32_t split_above = 1000;
inline constexpr std::int32_t join_below = -1000;

/// Gets a line for writing before it is known that it is written to. Fetched for reading first, it would be asked for twice where
/// another core has it. Not the builtin: compilers make a fetch for reading of it, unless told that the processor has the other one.
inline void fetch_for_write(const void* line) noexcept {
#if defined(__x86_64__)
  asm volatile("prefetchw %0"
               :
               : "m"(*static_cast<const char*>(line)));  // does nothing where there is no such instruction
#else
  __builtin_prefetch(line, 1);
#endif
}

/// What base nodes and route nodes have in common. The lock and the statistic are in a line of their own: writers of a base node write
/// to it, while its keys stay shared by all cores. The count, which only changes with the keys, is in the next line: where a key is found
/// without waiting for the lock's line, which another core may have, the value's line is asked for at the same time.
struct alignas(64) table_node : retired {
  version_lock lock;
  std::atomic<std::int32_t> statistic{0};  // base nodes; changed by whoever has the lock, or a little wrong
  const bool is_base;

  // Slots below the count are valid; written before the count that includes them, and read after it.
  //
  // Orders: what a node's lock guards (count, keys, values, children) is written with release: by set_child, move_child, move_slot,
  // insert_into, erase_from, move_entries, insert_child, erase_child and halve. Without the lock it is read with acquire: by link_to,
  // partition_slots, partition_flat and value_slots::load, and by the functions of the tree. Who sees an address sees the box or the
  // node there as it was made; who sees a count sees the slots below it; who sees any word sees the writer's lock, so that its
  // check of the version fails (version_lock).
  alignas(64) std::atomic<std::uint32_t> count{0};

protected:
  explicit table_node(bool base) noexcept : is_base(base) {}
};

/// Sorted keys and their values.
template <std::size_t ValueWords>
struct base_node final : table_node {
  static constexpr std::uint32_t capacity = ValueWords <= 2 ? 64 : 32;

  base_node() noexcept : table_node(true) {
    destroy = [](retired* r) noexcept { delete static_cast<base_node*>(r); };
  }
  [[nodiscard]] node_slot* value_at(std::size_t i) noexcept { return &values[i * ValueWords]; }
  [[nodiscard]] const node_slot* value_at(std::size_t i) const noexcept { return &values[i * ValueWords]; }

  alignas(64) std::array<node_slot, capacity> keys{};
  alignas(64) std::array<node_slot, capacity * ValueWords> values{};
};

/// Leads to child i the keys from separator i - 1 on, below separator i.
struct route_node final : table_node {
  static constexpr std::uint32_t capacity = 63;

  route_node() noexcept : table_node(false) {
    destroy = [](retired* r) noexcept { delete static_cast<route_node*>(r); };
  }
  /// A child's address, and in the lowest bit whether it is a base node: so that is known before its line is touched.
  using link = std::uintptr_t;
  [[nodiscard]] static table_node* node_of(link l) noexcept {
    return reinterpret_cast<table_node*>(l & ~link{1});  // NOLINT: nodes are aligned to lines
  }
  [[nodiscard]] static bool leads_to_base(link l) noexcept { return (l & 1) != 0; }
  [[nodiscard]] link link_to(std::size_t i) const noexcept { return children[i].load(std::memory_order_acquire); }
  [[nodiscard]] table_node* child(std::size_t i) const noexcept { return node_of(link_to(i)); }
  void set_child(std::size_t i, table_node* n) noexcept {
    children[i].store(reinterpret_cast<link>(n) | (n->is_base ? 1U : 0U), std::memory_order_release);
  }
  /// Only by whoever has both nodes' locks.
  void move_child(std::size_t i, const route_node& from, std::size_t k) noexcept {
    children[i].store(from.children[k].load(std::memory_order_relaxed), std::memory_order_release);
  }

  alignas(64) std::array<node_slot, capacity + 1> keys{};  // the last one is not used: whole lines are searched
  alignas(64) std::array<std::atomic<link>, capacity + 1> children{};
};

inline void move_slot(node_slot& to, const node_slot& from) noexcept {
  to.store(from.load(std::memory_order_relaxed), std::memory_order_release);
}

/// How many slots `before` holds of, which are the first ones. Without a branch that the data decides.
template <class Before>
[[nodiscard]] std::uint32_t partition_slots(const node_slot* slots, std::uint32_t n, const Before& before) {
  const node_slot* at = slots;
  while (n > 1) {
    const std::uint32_t half = n / 2;
    at += before(at[half - 1].load(std::memory_order_acquire)) ? half : 0;
    n -= half;
  }
  const auto passed = static_cast<std::uint32_t>(at - slots);
  return n == 1 && before(at->load(std::memory_order_acquire)) ? passed + 1 : passed;
}

/// The same for keys whose comparison is an instruction: the last of each eight, then all of one eight. Twice as many comparisons as
/// in halves, but none waits for another one, nor for the memory that it needs. Looks at slots beyond the count as well.
template <std::size_t Size, class Before>
[[nodiscard]] std::uint32_t partition_flat(const std::array<node_slot, Size>& slots, std::uint32_t n,
                                           const Before& before) noexcept {
  constexpr std::uint32_t line = 8;
  static_assert(Size % line == 0);
  std::uint32_t lines = 0;
  for (std::uint32_t i = line - 1; i < Size; i += line) {
    lines += static_cast<std::uint32_t>(i < n) &
             static_cast<std::uint32_t>(before(slots[i].load(std::memory_order_acquire)));
  }
  const auto begin = std::min(lines * line, static_cast<std::uint32_t>(Size) - line);
  std::uint32_t passed = begin;
  for (std::uint32_t i = 0; i < line; ++i) {
    const node_slot& s = slots[begin + i];
    passed += static_cast<std::uint32_t>(begin + i < n) &
              static_cast<std::uint32_t>(before(s.load(std::memory_order_acquire)));
  }
  return passed;
}

// What follows is for whoever has the lock.

/// Makes room at `i` and puts a key and its value there.
template <std::size_t ValueWords>
void insert_into(base_node<ValueWords>& n, std::uint32_t i, slot_word key,
                 const std::array<slot_word, ValueWords>& value) noexcept {
  const std::uint32_t count = n.count.load(std::memory_order_relaxed);
  for (std::uint32_t k = count; k > i; --k) move_slot(n.keys[k], n.keys[k - 1]);
  for (std::size_t w = count * ValueWords; w > i * ValueWords; --w) {
    move_slot(n.values[w + ValueWords - 1], n.values[w - 1]);
  }
  n.keys[i].store(key, std::memory_order_release);
  for (std::size_t w = 0; w < ValueWords; ++w) n.value_at(i)[w].store(value[w], std::memory_order_release);
  n.count.store(count + 1, std::memory_order_release);
}

template <std::size_t ValueWords>
void erase_from(base_node<ValueWords>& n, std::uint32_t i) noexcept {
  const std::uint32_t count = n.count.load(std::memory_order_relaxed);
  for (std::uint32_t k = i; k + 1 < count; ++k) move_slot(n.keys[k], n.keys[k + 1]);
  for (std::size_t w = i * ValueWords; w + ValueWords < count * ValueWords; ++w) {
    move_slot(n.values[w], n.values[w + ValueWords]);
  }
  n.count.store(count - 1, std::memory_order_release);
}

/// The entries from `first` on go to the end of another node.
template <std::size_t ValueWords>
void move_entries(base_node<ValueWords>& from, std::uint32_t first, base_node<ValueWords>& to) noexcept {
  const std::uint32_t count = from.count.load(std::memory_order_relaxed);
  const std::uint32_t there = to.count.load(std::memory_order_relaxed);
  for (std::uint32_t k = first; k < count; ++k) {
    move_slot(to.keys[there + k - first], from.keys[k]);
    for (std::size_t w = 0; w < ValueWords; ++w) move_slot(to.value_at(there + k - first)[w], from.value_at(k)[w]);
  }
  to.count.store(there + count - first, std::memory_order_release);
  from.count.store(first, std::memory_order_release);
}

/// A separator behind child `i`, and the child behind it.
inline void insert_child(route_node& n, std::uint32_t i, slot_word separator, table_node* right) noexcept {
  const std::uint32_t count = n.count.load(std::memory_order_relaxed);
  for (std::uint32_t k = count; k > i; --k) {
    move_slot(n.keys[k], n.keys[k - 1]);
    n.move_child(k + 1, n, k);
  }
  n.keys[i].store(separator, std::memory_order_release);
  n.set_child(i + 1, right);
  n.count.store(count + 1, std::memory_order_release);
}

/// Takes separator `i` and the child behind it out.
inline void erase_child(route_node& n, std::uint32_t i) noexcept {
  const std::uint32_t count = n.count.load(std::memory_order_relaxed);
  for (std::uint32_t k = i; k + 1 < count; ++k) {
    move_slot(n.keys[k], n.keys[k + 1]);
    n.move_child(k + 1, n, k + 2);
  }
  n.count.store(count - 1, std::memory_order_release);
}

/// Halves a full node; returns the separator between the halves, which is in neither.
inline slot_word halve(route_node& n, route_node& right) noexcept {
  const std::uint32_t count = n.count.load(std::memory_order_relaxed);
  const std::uint32_t middle = count / 2;
  for (std::uint32_t k = middle + 1; k < count; ++k) move_slot(right.keys[k - middle - 1], n.keys[k]);
  for (std::uint32_t k = middle + 1; k <= count; ++k) {
    right.move_child(k - middle - 1, n, k);
  }
  right.count.store(count - middle - 1, std::memory_order_release);
  const slot_word separator = n.keys[middle].load(std::memory_order_relaxed);
  n.count.store(middle, std::memory_order_release);
  return separator;
}

}  // namespace karyon::detail
