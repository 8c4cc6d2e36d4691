#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include <karyon/core/export.hpp>

namespace karyon::detail {

/// What a table holds, counted without a word that all threads write: each thread has a stripe, readers add them up.
class KARYON_API table_account {
public:
  /// quota: bytes, 0 for none.
  explicit table_account(std::uint64_t quota_bytes);

  void add_entries(std::uint32_t thread, std::int64_t n) noexcept {
    stripes_[thread & mask_].entries.fetch_add(n, std::memory_order_relaxed);
  }
  void add_bytes(std::uint32_t thread, std::int64_t n) noexcept {
    stripes_[thread & mask_].bytes.fetch_add(n, std::memory_order_relaxed);
  }
  /// Takes the bytes if the quota allows it. Beside other threads that do the same it may be exceeded by what these take at
  /// the same moment.
  [[nodiscard]] bool take_bytes(std::uint32_t thread, std::size_t n) noexcept {
    if (quota_bytes_ != 0 && bytes() + n > quota_bytes_) return false;
    add_bytes(thread, static_cast<std::int64_t>(n));
    return true;
  }
  void note_split(std::uint32_t thread) noexcept {
    stripes_[thread & mask_].splits.fetch_add(1, std::memory_order_relaxed);
  }
  void note_join(std::uint32_t thread) noexcept {
    stripes_[thread & mask_].joins.fetch_add(1, std::memory_order_relaxed);
  }
  void note_contention_split(std::uint32_t thread) noexcept {
    stripes_[thread & mask_].contention_splits.fetch_add(1, std::memory_order_relaxed);
  }

  [[nodiscard]] std::uint64_t entries() const noexcept;
  [[nodiscard]] std::uint64_t bytes() const noexcept;
  [[nodiscard]] std::uint64_t splits() const noexcept;
  [[nodiscard]] std::uint64_t joins() const noexcept;
  [[nodiscard]] std::uint64_t contention_splits() const noexcept;
  [[nodiscard]] std::uint64_t quota_bytes() const noexcept { return quota_bytes_; }

private:
  struct alignas(64) stripe {
    std::atomic<std::int64_t> entries{0};
    std::atomic<std::int64_t> bytes{0};
    std::atomic<std::int64_t> splits{0};
    std::atomic<std::int64_t> contention_splits{0};
    std::atomic<std::int64_t> joins{0};
  };
  [[nodiscard]] std::uint64_t sum(std::atomic<std::int64_t> stripe::*which) const noexcept;

  std::uint32_t mask_;
  std::uint64_t quota_bytes_;
  std::unique_ptr<stripe[]> stripes_;
};

/// Between two looks at a node that another thread has locked: a pause, and after some of them the thread's turn to others.
KARYON_API void wait_for_node(unsigned attempt) noexcept;

}  // namespace karyon::detail
