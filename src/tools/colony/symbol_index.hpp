// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include <karyon/matrix/table.hpp>

#include "tools/colony/use.hpp"

namespace karyon::tools {

/// Finds the one symbol cell of a name, from any number of eyes at once: two eyes that meet a new name at the same time
/// get the same cell.
///
/// A matrix table from names to handles. `Handle` is what reaches a symbol cell (a `karyon::child<symbol>`, in tests a number). The key is
/// the name's hash, so that it fits the table's leaves; where two names have the same hash, the second one has the next free key.
/// As nothing is ever removed, a look-up that goes from key to key until there is none finds each of them. Look-ups take no lock; who
/// brings a new name holds one of 64 locks while its cell is made. An id is dense, lasts as long as the index, and whoever holds one
/// may read its hash and its handle, which for that lie by id as well: without a walk through the table. Thread-safe throughout.
template <class Handle>
class symbol_index {
public:
  struct found {
    Handle handle{};
    symbol_id id = 0;
    std::uint32_t text = 0;  // where its name is kept: in what would be padding, which spares look-ups a line of memory
  };

  symbol_index() = default;
  symbol_index(const symbol_index&) = delete;
  symbol_index& operator=(const symbol_index&) = delete;
  ~symbol_index() {
    for (auto& block : records_) {
      delete[] block.load(std::memory_order_relaxed);
    }
    for (auto& piece : texts_) {
      delete[] piece.load(std::memory_order_relaxed);
    }
  }

  /// The cell of `name`, whose `name_hash` is `hash`. If the name is new, `make(id)` is called once to get its handle, under
  /// a lock: it must not call the index. What `make` throws is passed on, and the name is then still unknown.
  template <class Make>
  found find_or_create(std::string_view name, std::uint64_t hash, Make&& make) {
    std::uint64_t key = hash;
    const auto is_it = [&](const found& f) { return name_of(f) == name; };
    if (const auto known = probe(key, is_it)) {
      return *known;
    }
    maker& m = makers_[hash % maker_count];
    const std::lock_guard lock(m.mutex);
    if (const auto known = probe(key, is_it)) {  // on from the key that was free
      return *known;
    }
    found fresh;
    fresh.id = next_.fetch_add(1, std::memory_order_relaxed);
    record& r = reserve(fresh.id);
    r.hash = hash;
    fresh.text = keep(m, name);
    fresh.handle = make(fresh.id);
    r.handle = fresh.handle;
    r.now.store(&r.handle, std::memory_order_release);  // partner: for_each; who has the id from the table has this too
    try {
      while (!entries_.insert_new(key, fresh).value()) {
        static_cast<void>(probe(key, is_it));  // another name has just got this key
      }
    } catch (...) {
      r.now.store(nullptr, std::memory_order_relaxed);
      throw;
    }
    return fresh;
  }

  /// The name's cell, if it is known.
  [[nodiscard]] std::optional<found> find(std::string_view name, std::uint64_t hash) const {
    return probe(hash, [&](const found& f) { return name_of(f) == name; });
  }

  /// The caller has the id from find, find_or_create or for_each, or from a cell that has it from there.
  [[nodiscard]] Handle handle(symbol_id id) const noexcept {
    return *at(id).now.load(std::memory_order_acquire);  // partner: move
  }
  /// Of what was found here.
  [[nodiscard]] std::string_view name_of(const found& f) const noexcept {
    // Relaxed: it was found in the table, where it was put, with release, after its text was kept.
    const char* const text =
        texts_[f.text / units_a_piece].load(std::memory_order_relaxed) + f.text % units_a_piece * text_unit_bytes;
    std::uint32_t size = 0;
    std::memcpy(&size, text, sizeof size);
    return {text + sizeof size, size};
  }
  [[nodiscard]] std::uint64_t hash(symbol_id id) const noexcept { return at(id).hash; }

  /// Another cell is the name's from now on, unless none could be made. Who has found the handle before may go on to use it. Also
  /// for an id that `make` has just been given: waits until it is known.
  void move(symbol_id id, const Handle& to) {
    std::uint64_t key = hash(id);
    maker& m = makers_[key % maker_count];
    const std::lock_guard lock(m.mutex);
    if (const auto known = probe(key, [id](const found& f) { return f.id == id; })) {
      m.moved.push_back(to);  // those before stay, for who is just reading one
      static_cast<void>(entries_.insert(key, found{to, id, known->text}).value());
      reserve(id).now.store(&m.moved.back(), std::memory_order_release);  // partner: handle
    }
  }

  struct known_cell {
    symbol_id id = 0;
    Handle handle{};
  };
  /// `visit(known_cell)` for each cell that was known when it began, and for some of those that come meanwhile; ordered by id.
  template <class Visit>
  void for_each(Visit&& visit) const {
    const std::size_t count = std::min(std::size_t{size()}, blocks_max * block_ids);  // beyond there is no record
    for (symbol_id id = 0; id < count; ++id) {
      const record* const block = records_[id / block_ids].load(std::memory_order_acquire);  // partner: reserve
      // Partners: the stores in find_or_create and move; the handle is there.
      const Handle* const now = block == nullptr ? nullptr : block[id % block_ids].now.load(std::memory_order_acquire);
      if (now != nullptr) {
        visit(known_cell{id, *now});
      }
    }
  }

  /// One more than the greatest id given out. While eyes are at work, the newest ids may not be known yet; an id whose
  /// `make` threw never will be. Orders nothing: what an id leads to is acquired with its record.
  [[nodiscard]] symbol_id size() const noexcept { return next_.load(std::memory_order_relaxed); }

private:
  /// What is found by an id alone. Where there is none of this id, its block may be missing.
  struct record {
    std::uint64_t hash = 0;                   // written before `now`, then constant
    Handle handle{};                          // the first one; likewise
    std::atomic<const Handle*> now{nullptr};  // null: not known, or not yet
  };

  /// Of the names whose hashes have the same remainder: makes them known one at a time.
  struct alignas(64) maker {
    std::mutex mutex;
    // The room for text that is left; mutex:
    char* text = nullptr;
    std::uint32_t position = 0;
    std::uint32_t units_left = 0;
    std::deque<Handle> moved;  // mutex; what lies in it stays
  };

  static constexpr std::size_t maker_count = 64;
  static constexpr std::size_t text_unit_bytes = 4;
  static constexpr std::uint32_t units_a_piece = 16'384;
  static constexpr std::size_t pieces_max = 65'536;
  static constexpr std::size_t block_ids = 4096;
  static constexpr std::size_t blocks_max = 16384;

  /// Where the text is kept: its size, in 4 bytes, and its characters. Under the maker's lock.
  [[nodiscard]] std::uint32_t keep(maker& m, std::string_view name) {
    const auto size = static_cast<std::uint32_t>(name.size());
    const auto units = static_cast<std::uint32_t>((sizeof size + name.size() + text_unit_bytes - 1) / text_unit_bytes);
    if (m.units_left < units) {
      const std::uint32_t piece = next_piece_.fetch_add(1, std::memory_order_relaxed);
      if (piece >= pieces_max) {
        throw std::length_error("more than 4 GiB of distinct identifiers");
      }
      m.units_left = 0;
      const std::uint32_t fresh =
          units > units_a_piece ? units : units_a_piece;  // one that is longer has a piece to itself
      m.text = std::make_unique_for_overwrite<char[]>(fresh * text_unit_bytes).release();
      texts_[piece].store(m.text, std::memory_order_relaxed);  // the table releases it (name_of)
      m.position = piece * units_a_piece;
      m.units_left = fresh;
    }
    std::memcpy(m.text, &size, sizeof size);
    std::memcpy(m.text + sizeof size, name.data(), size);
    m.text += units * text_unit_bytes;
    m.units_left -= units;
    return std::exchange(m.position, m.position + units);
  }

  /// From key to key until `is_it(entry)`, or until there is none: then `key` is free.
  template <class IsIt>
  [[nodiscard]] std::optional<found> probe(std::uint64_t& key, const IsIt& is_it) const {
    for (;; ++key) {
      const std::optional<found> entry = entries_.lookup(key);
      if (!entry || is_it(*entry)) {
        return entry;
      }
    }
  }

  // Relaxed would do for who got the id through the table; acquire pairs with reserve's release for who has it from elsewhere.
  [[nodiscard]] const record& at(symbol_id id) const noexcept {
    return records_[id / block_ids].load(std::memory_order_acquire)[id % block_ids];
  }

  /// Where the id's record is. Written before the id's entry is put into the table, whose slots are stored with release and read
  /// with acquire; its hash before `make` is called.
  [[nodiscard]] record& reserve(symbol_id id) {
    if (id / block_ids >= blocks_max) {
      throw std::length_error("more than 67,108,864 distinct identifiers");
    }
    std::atomic<record*>& block = records_[id / block_ids];
    // Acquire pairs with the release below: who finds the block finds its records made.
    record* records = block.load(std::memory_order_acquire);
    if (records == nullptr) {
      auto fresh = std::make_unique<record[]>(block_ids);
      // Release pairs with the acquire of whoever finds the block made; on failure the winner's block is acquired here.
      if (block.compare_exchange_strong(records, fresh.get(), std::memory_order_release, std::memory_order_acquire)) {
        records = fresh.release();
      }
    }
    return records[id % block_ids];
  }

  karyon::table<std::uint64_t, found> entries_;
  std::array<maker, maker_count> makers_;
  std::atomic<symbol_id> next_{0};
  std::atomic<std::uint32_t> next_piece_{0};
  std::vector<std::atomic<record*>> records_ = std::vector<std::atomic<record*>>(blocks_max);
  std::vector<std::atomic<char*>> texts_ = std::vector<std::atomic<char*>>(pieces_max);
};

}  // namespace karyon::tools
