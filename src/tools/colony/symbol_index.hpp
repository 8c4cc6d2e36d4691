// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/colony/use.hpp"

namespace karyon::tools {

/// Finds the one symbol cell of a name, from any number of eyes at once: two eyes that meet a new name at the same time
/// get the same cell.
///
/// `Handle` is what reaches a symbol cell (a `karyon::child<symbol>`, in tests a number). Names are spread over shards by
/// hash; a shard's lock is held for one look-up, and for the creation of a cell when the name is new. Everything else is
/// free of locks: an id is dense, lasts as long as the index, and whoever holds one may read its record. An entry is never
/// removed. Thread-safe throughout.
template <class Handle>
class symbol_index {
public:
  symbol_index() = default;
  symbol_index(const symbol_index&) = delete;
  symbol_index& operator=(const symbol_index&) = delete;
  ~symbol_index() {
    for (auto& block : blocks_) {
      delete[] block.load(std::memory_order_relaxed);
    }
  }

  /// The id of `name`, whose `name_hash` is `hash`. If the name is new, `make(id)` is called once to get its handle, under
  /// the shard's lock: it must not call the index. What `make` throws is passed on, and the name is then still unknown.
  template <class Make>
  symbol_id find_or_create(std::string_view name, std::uint64_t hash, Make&& make) {
    shard& s = shard_of(hash);
    const std::lock_guard lock(s.mutex);
    std::size_t slot = 0;
    if (find_slot(s, name, hash, slot)) {
      return s.slots[slot].id_plus_1 - 1;
    }
    const symbol_id id = next_.fetch_add(1, std::memory_order_relaxed);
    record& r = reserve(id);
    r.name = s.keep(name);
    r.hash = hash;
    try {
      r.handle = make(id);
    } catch (...) {
      r.name = {};
      throw;
    }
    s.slots[slot] = {static_cast<std::uint32_t>(hash >> 32U), id + 1};
    if (++s.used * 3 > s.slots.size() * 2) {
      grow(s);
    }
    return id;
  }

  /// Whether the name is known; if so, its id.
  [[nodiscard]] bool find(std::string_view name, std::uint64_t hash, symbol_id& id) {
    shard& s = shard_of(hash);
    const std::lock_guard lock(s.mutex);
    std::size_t slot = 0;
    if (!find_slot(s, name, hash, slot)) {
      return false;
    }
    id = s.slots[slot].id_plus_1 - 1;
    return true;
  }

  /// The caller has the id from find or find_or_create, or from a cell that has it from there.
  [[nodiscard]] const Handle& handle(symbol_id id) const noexcept {
    const record& r = at(id);
    const Handle* const moved = r.moved.load(std::memory_order_acquire);  // partner: move
    return moved != nullptr ? *moved : r.handle;
  }
  [[nodiscard]] std::string_view name(symbol_id id) const noexcept { return at(id).name; }
  [[nodiscard]] std::uint64_t hash(symbol_id id) const noexcept { return at(id).hash; }

  /// Another cell is the name's from now on. The handle before stays readable for who is just using it.
  void move(symbol_id id, Handle to) {
    const std::lock_guard lock(moves_mutex_);
    moves_.push_back(std::move(to));
    reserve(id).moved.store(&moves_.back(), std::memory_order_release);
  }

  /// One more than the greatest id given out. While eyes are at work, the newest ids may not be readable yet; an id whose
  /// `make` threw has an empty name for ever.
  [[nodiscard]] symbol_id size() const noexcept { return next_.load(std::memory_order_acquire); }

private:
  struct record {
    Handle handle{};
    std::atomic<const Handle*> moved{nullptr};
    std::string_view name;
    std::uint64_t hash = 0;
  };

  struct slot_entry {
    std::uint32_t hash_high = 0;
    std::uint32_t id_plus_1 = 0;  // 0: free
  };

  struct alignas(64) shard {
    std::mutex mutex;
    std::vector<slot_entry> slots = std::vector<slot_entry>(64);
    std::size_t used = 0;
    std::deque<std::unique_ptr<char[]>> text;
    std::size_t text_left = 0;
    char* text_end = nullptr;

    std::string_view keep(std::string_view name) {
      if (text_left < name.size()) {
        const std::size_t bytes = name.size() > text_block_bytes ? name.size() : text_block_bytes;
        text_end = text.emplace_back(std::make_unique_for_overwrite<char[]>(bytes)).get();
        text_left = bytes;
      }
      char* const place = text_end;
      std::memcpy(place, name.data(), name.size());
      text_end += name.size();
      text_left -= name.size();
      return {place, name.size()};
    }
  };

  static constexpr std::size_t shard_count = 64;
  static constexpr std::size_t text_block_bytes = 16384;
  static constexpr std::size_t block_records = 4096;
  static constexpr std::size_t blocks_max = 16384;

  shard& shard_of(std::uint64_t hash) noexcept { return shards_[hash % shard_count]; }

  // The slot of the name, or the free slot where it belongs.
  bool find_slot(const shard& s, std::string_view name, std::uint64_t hash, std::size_t& slot) const noexcept {
    const std::size_t mask = s.slots.size() - 1;
    const auto high = static_cast<std::uint32_t>(hash >> 32U);
    for (slot = (hash / shard_count) & mask; s.slots[slot].id_plus_1 != 0; slot = (slot + 1) & mask) {
      const slot_entry& e = s.slots[slot];
      if (e.hash_high == high && at(e.id_plus_1 - 1).name == name) {
        return true;
      }
    }
    return false;
  }

  void grow(shard& s) {
    std::vector<slot_entry> slots(s.slots.size() * 2);
    const std::size_t mask = slots.size() - 1;
    for (const slot_entry& e : s.slots) {
      if (e.id_plus_1 != 0) {
        std::size_t slot = (at(e.id_plus_1 - 1).hash / shard_count) & mask;
        while (slots[slot].id_plus_1 != 0) {
          slot = (slot + 1) & mask;
        }
        slots[slot] = e;
      }
    }
    s.slots = std::move(slots);
  }

  record& reserve(symbol_id id) {
    if (id / block_records >= blocks_max) {
      throw std::length_error("more than 67,108,864 distinct identifiers");
    }
    std::atomic<record*>& block = blocks_[id / block_records];
    record* records = block.load(std::memory_order_acquire);
    if (records == nullptr) {
      auto fresh = std::make_unique<record[]>(block_records);
      // Release pairs with the acquire of whoever finds the block made; on failure the winner's block is acquired here.
      if (block.compare_exchange_strong(records, fresh.get(), std::memory_order_acq_rel, std::memory_order_acquire)) {
        records = fresh.release();
      }
    }
    return records[id % block_records];
  }

  // Relaxed would do for who got the id through a shard's lock; acquire pairs with reserve for who counted up to size().
  [[nodiscard]] const record& at(symbol_id id) const noexcept {
    return blocks_[id / block_records].load(std::memory_order_acquire)[id % block_records];
  }

  std::array<shard, shard_count> shards_;
  std::mutex moves_mutex_;
  std::deque<Handle> moves_;  // moves_mutex_; what lies in it stays
  std::atomic<symbol_id> next_{0};
  std::vector<std::atomic<record*>> blocks_ = std::vector<std::atomic<record*>>(blocks_max);
};

}  // namespace karyon::tools
