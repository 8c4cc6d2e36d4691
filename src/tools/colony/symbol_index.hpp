// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <limits>
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
/// may read its hash. Thread-safe throughout.
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
    for (auto& block : hashes_) {
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
    reserve(fresh.id) = hash;
    fresh.text = keep(m, name);
    fresh.handle = make(fresh.id);
    while (!entries_.insert_new(key, fresh).value()) {
      static_cast<void>(probe(key, is_it));  // another name has just got this key
    }
    return fresh;
  }

  /// The name's cell, if it is known.
  [[nodiscard]] std::optional<found> find(std::string_view name, std::uint64_t hash) const {
    return probe(hash, [&](const found& f) { return name_of(f) == name; });
  }

  /// The caller has the id from find or find_or_create, or from a cell that has it from there. A look-up.
  [[nodiscard]] Handle handle(symbol_id id) const {
    std::uint64_t key = hash(id);
    return probe(key, [id](const found& f) { return f.id == id; }).value().handle;
  }
  /// Of what was found here.
  [[nodiscard]] std::string_view name_of(const found& f) const noexcept {
    const char* const text = texts_[f.text / units_a_piece].load(std::memory_order_acquire) +  // with keep
                             f.text % units_a_piece * text_unit_bytes;
    std::uint32_t size = 0;
    std::memcpy(&size, text, sizeof size);
    return {text + sizeof size, size};
  }
  [[nodiscard]] std::uint64_t hash(symbol_id id) const noexcept {
    // Relaxed would do for who got the id through the table; acquire pairs with reserve for who counted up to size().
    return hashes_[id / block_ids].load(std::memory_order_acquire)[id % block_ids];
  }

  /// Another cell is the name's from now on, unless none could be made. Who has found the handle before may go on to use it. Also
  /// for an id that `make` has just been given: waits until it is known.
  void move(symbol_id id, const Handle& to) {
    std::uint64_t key = hash(id);
    const std::lock_guard lock(makers_[key % maker_count].mutex);
    if (const auto known = probe(key, [id](const found& f) { return f.id == id; })) {
      static_cast<void>(entries_.insert(key, found{to, id, known->text}).value());
    }
  }

  /// `visit(found)` for each cell that was known when it began, and for some of those that come meanwhile; ordered by hash.
  template <class Visit>
  void for_each(Visit&& visit) const {
    constexpr std::size_t at_a_time = 1024;
    for (std::uint64_t from = 0;;) {
      const auto some = entries_.range_from(from, at_a_time);
      for (const auto& e : some) {
        visit(e.value);
      }
      if (some.size() < at_a_time || some.back().key == std::numeric_limits<std::uint64_t>::max()) {
        return;
      }
      from = some.back().key + 1;
    }
  }

  /// One more than the greatest id given out. While eyes are at work, the newest ids may not be known yet; an id whose
  /// `make` threw never will be.
  [[nodiscard]] symbol_id size() const noexcept { return next_.load(std::memory_order_acquire); }

private:
  /// Of the names whose hashes have the same remainder: makes them known one at a time.
  struct alignas(64) maker {
    std::mutex mutex;
    // The room for text that is left; mutex:
    char* text = nullptr;
    std::uint32_t position = 0;
    std::uint32_t units_left = 0;
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
      texts_[piece].store(m.text, std::memory_order_release);
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

  /// Where the id's hash goes. Written before `make` is called and before the id's entry is put into the table, whose slots are
  /// stored with release and read with acquire.
  [[nodiscard]] std::uint64_t& reserve(symbol_id id) {
    if (id / block_ids >= blocks_max) {
      throw std::length_error("more than 67,108,864 distinct identifiers");
    }
    std::atomic<std::uint64_t*>& block = hashes_[id / block_ids];
    std::uint64_t* hashes = block.load(std::memory_order_acquire);
    if (hashes == nullptr) {
      auto fresh = std::make_unique<std::uint64_t[]>(block_ids);
      // Release pairs with the acquire of whoever finds the block made; on failure the winner's block is acquired here.
      if (block.compare_exchange_strong(hashes, fresh.get(), std::memory_order_acq_rel, std::memory_order_acquire)) {
        hashes = fresh.release();
      }
    }
    return hashes[id % block_ids];
  }

  karyon::table<std::uint64_t, found> entries_;
  std::array<maker, maker_count> makers_;
  std::atomic<symbol_id> next_{0};
  std::atomic<std::uint32_t> next_piece_{0};
  std::vector<std::atomic<std::uint64_t*>> hashes_ = std::vector<std::atomic<std::uint64_t*>>(blocks_max);
  std::vector<std::atomic<char*>> texts_ = std::vector<std::atomic<char*>>(pieces_max);
};

}  // namespace karyon::tools
