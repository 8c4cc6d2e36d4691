// SPDX-License-Identifier: Apache-2.0
//
// The suite `matrix` with a std::map under a shared mutex.

#include "suites/matrix_work.hpp"

#include <map>
#include <mutex>
#include <shared_mutex>

namespace {

using namespace karyon::bench;

struct guarded_map {
  explicit guarded_map(work const& /*asked*/) {}
  void put(std::uint64_t key, std::uint64_t value) {
    std::unique_lock const guard{mutex};
    entries.insert_or_assign(key, value);
  }
  bool look_up(std::uint64_t key, std::uint64_t& value) {
    std::shared_lock const guard{mutex};
    auto const found = entries.find(key);
    if (found == entries.end()) {
      return false;
    }
    value = found->second;
    return true;
  }
  std::uint64_t range(std::uint64_t from, std::uint64_t n) {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> copied;
    copied.reserve(n);
    std::shared_lock const guard{mutex};
    for (auto at = entries.lower_bound(from); at != entries.end() && at->first < from + n; ++at) {
      copied.emplace_back(*at);
    }
    return copied.size();
  }
  std::shared_mutex mutex;
  std::map<std::uint64_t, std::uint64_t> entries;
};

}  // namespace

int main(int argc, char** argv) { matrix::drive_all<guarded_map>(argc, argv); }
