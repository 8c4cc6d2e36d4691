// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace karyon::detail {

/// A bounded queue from any number of threads to one; refuses when full. After D. Vyukov's bounded queue: a place's number says whose
/// turn it is.
///
///   turn of place i      meaning
///   n                    free for the push number n (n mod size = i)
///   n + 1                holds what the push n brought
///   n + size             taken out again
///
/// Orders: push stores n + 1 with release, which pairs with pop's acquire: the value is there. pop stores n + size with release, which
/// pairs with push's acquire: the value has been taken out.
///
/// A pusher that is stopped between its claim and its store hides what is behind it until it goes on; it delays no other pusher.
template <class T>
class bounded_ring {
public:
  /// Room for `size_min` at least.
  explicit bounded_ring(std::size_t size_min)
      : mask_(std::bit_ceil(size_min < 2 ? std::size_t{2} : size_min) - 1),
        places_(std::make_unique<place[]>(mask_ + 1)) {
    for (std::size_t i = 0; i <= mask_; ++i) places_[i].turn.store(i, std::memory_order_relaxed);
  }
  bounded_ring(const bounded_ring&) = delete;
  bounded_ring& operator=(const bounded_ring&) = delete;

  /// Any thread. False, and `value` is as it was, if it is full.
  [[nodiscard]] bool push(T&& value) noexcept {
    std::uint64_t n = pushed_.load(std::memory_order_relaxed);
    while (true) {
      place& p = places_[n & mask_];
      const std::uint64_t turn = p.turn.load(std::memory_order_acquire);
      if (turn == n) {
        if (pushed_.compare_exchange_weak(n, n + 1, std::memory_order_relaxed)) {
          p.value = std::move(value);
          p.turn.store(n + 1, std::memory_order_release);
          return true;
        }
      } else if (turn < n) {
        return false;
      } else {
        n = pushed_.load(std::memory_order_relaxed);
      }
    }
  }
  /// The one consumer.
  [[nodiscard]] bool pop(T& to) noexcept {
    place& p = places_[popped_ & mask_];
    if (p.turn.load(std::memory_order_acquire) != popped_ + 1) return false;
    to = std::move(p.value);
    p.turn.store(popped_ + mask_ + 1, std::memory_order_release);
    ++popped_;
    return true;
  }
  /// The one consumer.
  [[nodiscard]] bool has_any() const noexcept {
    return places_[popped_ & mask_].turn.load(std::memory_order_relaxed) == popped_ + 1;  // nothing of it is looked at
  }

private:
  struct place {
    std::atomic<std::uint64_t> turn{0};
    T value{};
  };
  const std::size_t mask_;
  const std::unique_ptr<place[]> places_;
  alignas(64) std::atomic<std::uint64_t> pushed_{0};
  alignas(64) std::uint64_t popped_ = 0;
};

}  // namespace karyon::detail
