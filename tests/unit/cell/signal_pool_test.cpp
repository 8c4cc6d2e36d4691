// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include <karyon/cell/detail/signal.hpp>

#include "support/catch.hpp"

namespace {

using karyon::detail::allocate_signal;
using karyon::detail::free_signal;

/// A signal's memory, filled to its last byte with its holder's number.
struct held {
  unsigned char* memory;
  std::size_t bytes;
  unsigned char number;

  static held take(std::size_t bytes, std::size_t number) {
    held h{static_cast<unsigned char*>(allocate_signal(bytes)), bytes, static_cast<unsigned char>(number % 251)};
    std::memset(h.memory, h.number, bytes);
    return h;
  }
  [[nodiscard]] bool is_aligned() const { return reinterpret_cast<std::uintptr_t>(memory) % 16 == 0; }
  [[nodiscard]] bool is_untouched() const {
    return std::all_of(memory, memory + bytes, [this](unsigned char b) { return b == number; });
  }
};

/// Takes signals of one size on this thread and frees them on another, in another order; some come back on the way.
bool circulate(std::size_t bytes, std::mt19937& random) {
  bool intact = true;
  std::vector<held> all;
  for (int round = 0; round < 4; ++round) {
    // More than some batches, and no multiple of one.
    while (all.size() < 1003) all.push_back(held::take(bytes, all.size()));
    intact &= std::all_of(all.begin(), all.end(), [](const held& h) { return h.is_aligned() && h.is_untouched(); });
    std::shuffle(all.begin(), all.end(), random);
    std::thread receiver([&all, bytes, &intact] {
      for (std::size_t i = 0; all.size() > 100; ++i) {
        intact &= all.back().is_untouched();
        free_signal(all.back().memory, bytes);
        all.pop_back();
        if (i % 7 == 0) all.insert(all.begin(), held::take(bytes, i));
      }
    });
    receiver.join();
  }
  for (const held& h : all) {
    intact &= h.is_untouched();
    free_signal(h.memory, bytes);
  }
  return intact;
}

}  // namespace

TEST_CASE("a signal's memory has one holder at a time, whatever threads it goes through") {
  std::mt19937 random{1};
  for (const std::size_t bytes : {16u, 24u, 40u, 64u, 72u, 128u, 136u}) {
    CAPTURE(bytes);
    REQUIRE(circulate(bytes, random));
  }
}
