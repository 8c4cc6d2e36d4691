// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace karyon::detail {

/// Corrects what an organelle declares its calls to take by what they took.
///
/// For each class of declared lengths (a power of two of nanoseconds) it keeps the ratio of the time taken to the time declared, as an
/// exponentially weighted moving average (as TCP's round-trip estimate): the classes let it follow a model that is right for short
/// calls and wrong for long ones. A class without samples takes the ratio of the nearest that has some, a shorter one first.
///
/// The average rises faster than it falls (1/4 and 1/8): a call that turns out long has held a worker, one that turns out short has
/// only paid for a switch.
///
/// A single time beyond eight times what was expected counts for nothing: most often the system has run somebody else meanwhile, and a
/// call of nanoseconds that seemed to take milliseconds would send hundreds of its kind away. But it makes the class suspected: its
/// calls are all measured then, and a second such time among the next 32 counts in full.
///
/// Any number of threads at once. Relaxed all through: each ratio is a hint of its own; of two observations at one moment one may be
/// lost.
class call_estimator {
public:
  [[nodiscard]] std::uint64_t estimate_ns(std::uint64_t declared_ns) const noexcept {
    const float ratio = ratio_near(class_of(declared_ns));
    return static_cast<std::uint64_t>(static_cast<double>(declared_ns) * static_cast<double>(ratio));
  }

  /// Whether the next calls of this declared length should be measured, however short they are expected to be.
  [[nodiscard]] bool suspects(std::uint64_t declared_ns) const noexcept {
    return suspicions_[class_of(declared_ns)].load(std::memory_order_relaxed) != 0;
  }

  void observe(std::uint64_t declared_ns, std::uint64_t took_ns) noexcept {
    constexpr float too_long = 8;
    constexpr std::uint8_t calls_suspected = 32;
    const std::size_t at = class_of(declared_ns);
    const float seen =
        static_cast<float>(static_cast<double>(took_ns + 1) / static_cast<double>(declared_ns > 0 ? declared_ns : 1));
    const std::uint8_t suspicion = suspicions_[at].load(std::memory_order_relaxed);
    if (seen > too_long * ratio_near(at)) {
      suspicions_[at].store(calls_suspected, std::memory_order_relaxed);
      if (suspicion == 0) return;
    } else if (suspicion != 0) {
      suspicions_[at].store(static_cast<std::uint8_t>(suspicion - 1), std::memory_order_relaxed);
    }
    std::atomic<float>& known = ratios_[at];
    const float old = known.load(std::memory_order_relaxed);
    if (old == 0.0F) return known.store(seen, std::memory_order_relaxed);
    const float weight = seen > old ? 0.25F : 0.125F;
    const float next = old + (seen - old) * weight;
    // Readers on other cores need not fetch the line for what changes nothing.
    if (next > old * 1.01F || next < old * 0.99F) known.store(next, std::memory_order_relaxed);
  }

private:
  static constexpr std::size_t classes = 40;

  [[nodiscard]] static std::size_t class_of(std::uint64_t declared_ns) noexcept {
    const auto width = static_cast<std::size_t>(std::bit_width(declared_ns));
    return width < classes ? width : classes - 1;
  }
  [[nodiscard]] float ratio_near(std::size_t at) const noexcept {
    const float own = ratios_[at].load(std::memory_order_relaxed);
    if (own != 0.0F) return own;
    for (std::size_t i = at; i-- > 0;) {
      if (const float r = ratios_[i].load(std::memory_order_relaxed); r != 0.0F) return r;
    }
    for (std::size_t i = at + 1; i < classes; ++i) {
      if (const float r = ratios_[i].load(std::memory_order_relaxed); r != 0.0F) return r;
    }
    return 1.0F;
  }

  std::array<std::atomic<float>, classes> ratios_{};             // 0: no sample
  std::array<std::atomic<std::uint8_t>, classes> suspicions_{};  // for how many more calls
};

}  // namespace karyon::detail
