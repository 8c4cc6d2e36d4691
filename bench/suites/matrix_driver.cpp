// SPDX-License-Identifier: Apache-2.0
//
// The suite `matrix` in Karyon. The scenarios' definitions are in bench/README.md.

#include "suites/matrix_work.hpp"

#include <karyon/matrix/table.hpp>

namespace {

using namespace karyon::bench;

struct karyon_table {
  explicit karyon_table(work const& /*asked*/) {}
  void put(std::uint64_t key, std::uint64_t value) { verify(entries.insert(key, value).has_value(), "not put in"); }
  bool look_up(std::uint64_t key, std::uint64_t& value) {
    auto const found = entries.lookup(key);
    value = found.value_or(0);
    return found.has_value();
  }
  std::uint64_t range(std::uint64_t from, std::uint64_t n) { return entries.range(from, from + n).size(); }
  karyon::table<std::uint64_t, std::uint64_t> entries;
};

}  // namespace

int main(int argc, char** argv) { matrix::drive_all<karyon_table>(argc, argv); }
