#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>

namespace karyon::testing {

/// A test's own dice: the same sequence for the same seed, on every machine and with every compiler, which the standard
/// library's distributions do not promise.
///
/// xoshiro256** (Blackman and Vigna, 2018), seeded through splitmix64. A uniform random bit generator of the standard library.
/// Not thread-safe; a plain value: a copy goes on with the same sequence.
class random {
public:
  using result_type = std::uint64_t;

  explicit random(std::uint64_t seed) noexcept {
    for (std::uint64_t& word : state_) word = splitmix(seed);
  }

  std::uint64_t operator()() noexcept {
    const std::uint64_t out = rotated(state_[1] * 5, 7) * 9;
    const std::uint64_t t = state_[1] << 17u;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = rotated(state_[3], 45);
    return out;
  }
  static constexpr std::uint64_t min() noexcept { return 0; }
  static constexpr std::uint64_t max() noexcept { return ~std::uint64_t{0}; }

  /// 0 <= result < n; 0 for n = 0. Without bias that a test could see: n / 2^64 at most.
  std::uint64_t below(std::uint64_t n) noexcept { return n == 0 ? 0 : (*this)() % n; }
  /// first <= result <= last.
  std::uint64_t between(std::uint64_t first, std::uint64_t last) noexcept { return first + below(last - first + 1); }
  /// True once in so many calls, in the mean: one_in(4) is a quarter. Never for 0.
  bool one_in(std::uint64_t n) noexcept { return n != 0 && below(n) == 0; }
  /// True with this probability, 0 to 1.
  bool chance(double p) noexcept { return static_cast<double>((*this)() >> 11u) * 0x1.0p-53 < p; }
  /// One of a container or array that is not empty.
  template <class Container>
  auto& pick(Container& from) noexcept {
    return from[static_cast<std::size_t>(below(std::size(from)))];
  }

private:
  static constexpr std::uint64_t rotated(std::uint64_t x, unsigned by) noexcept { return (x << by) | (x >> (64 - by)); }
  static constexpr std::uint64_t splitmix(std::uint64_t& s) noexcept {
    std::uint64_t z = (s += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30u)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27u)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31u);
  }

  std::uint64_t state_[4];
};

}  // namespace karyon::testing
