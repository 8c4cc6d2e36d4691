// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

#include "algo/budget.hpp"

namespace rhizome {

/// Threads that work on one pass of an algorithm together. Starting threads takes longer than many a pass, so a team keeps
/// its threads, which sleep (after a short spin) while there is nothing to do. A team belongs to one thread, which calls `run`
/// and is itself the team's member 0; a team of one has no threads and costs nothing.
class team {
public:
  explicit team(unsigned members = 1);
  ~team();
  team(const team&) = delete;
  team& operator=(const team&) = delete;

  [[nodiscard]] unsigned size() const noexcept { return size_; }

  /// Calls work(member) once on each member, and returns when all have returned. What members write is visible to the caller
  /// after it, and what the caller wrote before to them. The first exception of a member is thrown to the caller.
  template <class F>
  void run(F&& work) {
    if (size_ == 1) {
      work(0U);
      return;
    }
    dispatch([](void* context, unsigned member) { (*static_cast<std::remove_reference_t<F>*>(context))(member); },
             const_cast<void*>(static_cast<const void*>(std::addressof(work))));
  }

private:
  using task = void (*)(void*, unsigned);
  void dispatch(task call, void* context);
  void serve(unsigned member);
  void call_guarded(unsigned member) noexcept;

  unsigned size_;
  task call_ = nullptr;      // written by the owner before round_ grows, read by members after they saw it grow
  void* context_ = nullptr;  // the same
  std::exception_ptr failure_;
  std::atomic<bool> failed_{false};
  alignas(64) std::atomic<std::uint32_t> round_{0};  // released by the owner, acquired by members
  alignas(64) std::atomic<std::uint32_t> busy_{0};   // released by members, acquired by the owner
  bool ending_ = false;                              // as call_
  std::vector<std::thread> threads_;
};

/// The numbers [0, count) in chunks, taken by the members of a team until all are done or a budget is spent; the next `run` goes
/// on where the last one ended. Chunks that were taken are finished before `run` returns.
class pass {
public:
  void start(std::uint64_t count, std::uint64_t chunk) noexcept {
    count_ = count;
    chunk_ = chunk;
    next_.store(0, std::memory_order_relaxed);
  }

  /// work(member, begin, end) returns what it took, in arcs. Does at least a chunk, unless the budget has paid for others before.
  /// Returns whether all of [0, count) is done.
  template <class F>
  bool run(team& workers, budget& allowed, F&& work) {
    if (!allowed.may_begin()) {
      return false;
    }
    auto const count = count_;
    auto const member_loop = [&](unsigned member) {
      for (;;) {
        // Relaxed: chunks are disjoint, and the team's own hand-over orders what they write.
        auto const begin = next_.fetch_add(chunk_, std::memory_order_relaxed);
        if (begin >= count) {
          break;
        }
        auto const taken = work(member, begin, begin + chunk_ < count ? begin + chunk_ : count);
        if (!allowed.spend(taken)) {
          break;
        }
      }
    };
    if (count <= chunk_) {
      member_loop(0U);  // not worth waking anyone
    } else {
      workers.run(member_loop);
    }
    return next_.load(std::memory_order_relaxed) >= count;
  }

private:
  std::uint64_t count_ = 0;
  std::uint64_t chunk_ = 1;
  alignas(64) std::atomic<std::uint64_t> next_{0};
};

/// A number for each member of a team, on a cache line of its own.
template <class T>
struct alignas(64) padded {
  T value{};
};

}  // namespace rhizome
