// SPDX-License-Identifier: Apache-2.0
//
// The suite `matrix` with oneTBB: concurrent_map, and with KARYON_BENCH_HASH concurrent_hash_map. Values of a concurrent_map
// are not guarded by it, so they are atomics here; its ranges are of no one moment.

#include "suites/matrix_work.hpp"

#ifdef KARYON_BENCH_HASH
#include <oneapi/tbb/concurrent_hash_map.h>
#else
#include <oneapi/tbb/concurrent_map.h>
#endif

namespace {

using namespace karyon::bench;

#ifdef KARYON_BENCH_HASH

struct tbb_table {
  using map = oneapi::tbb::concurrent_hash_map<std::uint64_t, std::uint64_t>;
  explicit tbb_table(work const& asked) : entries(asked.cells) {}
  void put(std::uint64_t key, std::uint64_t value) {
    map::accessor at;
    entries.insert(at, key);
    at->second = value;
  }
  bool look_up(std::uint64_t key, std::uint64_t& value) {
    map::const_accessor at;
    if (!entries.find(at, key)) {
      return false;
    }
    value = at->second;
    return true;
  }
  std::uint64_t range(std::uint64_t, std::uint64_t) { throw std::runtime_error("a hash map has no ranges"); }
  map entries;
};

#else

struct tbb_table {
  struct atomic_value {
    explicit atomic_value(std::uint64_t v) : value(v) {}
    std::atomic<std::uint64_t> value;
  };
  explicit tbb_table(work const& /*asked*/) {}
  void put(std::uint64_t key, std::uint64_t value) {
    // emplace makes a node before it looks whether there is one: dear where the key is there, as it mostly is.
    auto at = entries.find(key);
    if (at == entries.end()) {
      auto const [made, is_new] = entries.emplace(key, value);
      if (is_new) {
        return;
      }
      at = made;
    }
    at->second.value.store(value, std::memory_order_release);
  }
  bool look_up(std::uint64_t key, std::uint64_t& value) {
    auto const found = entries.find(key);
    if (found == entries.end()) {
      return false;
    }
    value = found->second.value.load(std::memory_order_acquire);
    return true;
  }
  std::uint64_t range(std::uint64_t from, std::uint64_t n) {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> copied;
    copied.reserve(n);
    for (auto at = entries.lower_bound(from); at != entries.end() && at->first < from + n; ++at) {
      copied.emplace_back(at->first, at->second.value.load(std::memory_order_acquire));
    }
    return copied.size();
  }
  oneapi::tbb::concurrent_map<std::uint64_t, atomic_value> entries;
};

#endif

}  // namespace

int main(int argc, char** argv) { matrix::drive_all<tbb_table>(argc, argv); }
