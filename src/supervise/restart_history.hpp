#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace karyon::detail {

/// Decides as restart_budget does, but with a limit that may be another each time: a share of children that come and go.
///
/// I/O-free: time comes in. Restart number k, counted from 0, is allowed with limit n if and only if k < n, or restart k - n lies more than the
/// period back. As n varies, the times of all restarts within the period are kept: in chunks, found through a ring of
/// pointers, and used again once all their times lie behind. Lock-free but for one lock in 8,192 restarts; any number of threads,
/// as all shards of a supervisor share one. Exact unless a thread is held up for a whole period, and up to 33 million restarts in a
/// period; more are never allowed (tests/model/history_model.cpp, which has chunks of two).
template <std::uint64_t ChunkSize, std::uint64_t ChunksMost, class Mutex>
class basic_restart_history {
public:
  static constexpr std::uint64_t chunk_size = ChunkSize;
  static constexpr std::uint64_t chunks_most = ChunksMost;
  static constexpr std::uint64_t limit_most = (chunks_most - 1) * chunk_size;

  explicit basic_restart_history(std::uint64_t period_ns)
      : period_ns_(period_ns), chunks_(std::make_unique<std::atomic<chunk*>[]>(chunks_most)) {}

  /// Counts one restart at the monotonic time `now_ns`; false if with it more than `limit` lie within the period. Throws
  /// std::bad_alloc.
  [[nodiscard]] bool add(std::uint64_t now_ns, std::uint64_t limit) {
    // Relaxed: the number alone matters.
    const std::uint64_t k = count_.fetch_add(1, std::memory_order_relaxed);
    chunk& mine = made(k / chunk_size, now_ns);
    mine.at[k % chunk_size].store(now_ns + 1, std::memory_order_release);  // partner: the load in is_behind
    limit = std::min(limit, limit_most);
    if (limit == 0) return false;
    if (k < limit) return true;
    return is_behind(k - limit, now_ns);
  }

  /// Chunks that were ever made; for tests.
  [[nodiscard]] std::size_t chunks_made() const {
    const std::lock_guard lock(mutex_);
    return all_.size();
  }

private:
  struct chunk {
    std::atomic<std::uint64_t> number{~std::uint64_t{0}};
    std::array<std::atomic<std::uint64_t>, chunk_size> at = {};  // time + 1; 0: not written yet
  };

  [[nodiscard]] bool lies_behind(std::uint64_t time_ns, std::uint64_t now_ns) const noexcept {
    return now_ns > time_ns && now_ns - time_ns > period_ns_;
  }
  /// Whether restart number `old` lies more than the period back.
  [[nodiscard]] bool is_behind(std::uint64_t old, std::uint64_t now_ns) const noexcept {
    const std::uint64_t number = old / chunk_size;
    if (const chunk* c = found(number)) {
      // Acquire, both: partners of the releases in `add`, `made` and `take_back`, so that a chunk that has been taken back
      // meanwhile, or is another one by now, is seen to be so, and counted in oldest_.
      const std::uint64_t before = c->at[old % chunk_size].load(std::memory_order_acquire);
      if (c->number.load(std::memory_order_acquire) == number) {
        // Not written yet: it is being decided right now, so it is not older than the period.
        return before != 0 && lies_behind(before - 1, now_ns);
      }
    }
    // Taken back, so all its times lie behind; or not made yet, by those who are deciding them right now.
    return number < oldest_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] chunk* found(std::uint64_t number) const noexcept {
    // Acquire: partners of the releases in `made` and `take_back`, so the chunk is seen empty or as written since, and a missing one
    // is known to be taken back.
    chunk* c = chunks_[number % chunks_most].load(std::memory_order_acquire);
    return c != nullptr && c->number.load(std::memory_order_acquire) == number ? c : nullptr;
  }
  [[nodiscard]] chunk& made(std::uint64_t number, std::uint64_t now_ns) {
    if (chunk* c = found(number)) return *c;
    const std::lock_guard lock(mutex_);
    if (chunk* c = found(number)) return *c;
    take_back(number, now_ns);
    if (free_.empty()) {
      all_.push_back(std::make_unique<chunk>());
      free_.reserve(all_.size());
      free_.push_back(all_.back().get());
    }
    chunk* c = free_.back();
    free_.pop_back();
    // Releases: partners of the acquires in `found` and `is_behind`, which see the chunk empty, and the one before it taken back.
    c->number.store(number, std::memory_order_release);
    chunks_[number % chunks_most].store(c, std::memory_order_release);
    return *c;
  }
  /// mutex_: frees the chunks whose times all lie behind, and the one whose place is needed.
  void take_back(std::uint64_t number, std::uint64_t now_ns) {
    for (std::uint64_t n = oldest_.load(std::memory_order_relaxed); n < number; ++n) {
      std::atomic<chunk*>& place = chunks_[n % chunks_most];
      chunk* c = place.load(std::memory_order_relaxed);
      if (c == nullptr || c->number.load(std::memory_order_relaxed) != n) return;  // a slow thread has yet to make it
      const bool needed = n + chunks_most <= number;
      if (!needed && !std::all_of(c->at.begin(), c->at.end(), [&](const std::atomic<std::uint64_t>& t) {
            const std::uint64_t time = t.load(std::memory_order_relaxed);
            return time != 0 && lies_behind(time - 1, now_ns);
          })) {
        return;
      }
      // In this order, and with releases that pair with the acquires in `found` and `is_behind`: whoever misses the chunk, or
      // what was in it, finds that it is taken back.
      oldest_.store(n + 1, std::memory_order_relaxed);
      place.store(nullptr, std::memory_order_release);
      c->number.store(~std::uint64_t{0}, std::memory_order_release);
      for (std::atomic<std::uint64_t>& t : c->at) t.store(0, std::memory_order_release);
      free_.push_back(c);
    }
  }

  const std::uint64_t period_ns_;
  std::atomic<std::uint64_t> count_{0};
  const std::unique_ptr<std::atomic<chunk*>[]> chunks_;
  std::atomic<std::uint64_t> oldest_{0};  // written under mutex_
  mutable Mutex mutex_;
  std::vector<std::unique_ptr<chunk>> all_;  // mutex_
  std::vector<chunk*> free_;                 // mutex_
};

using restart_history = basic_restart_history<8192, 4096, std::mutex>;

}  // namespace karyon::detail
