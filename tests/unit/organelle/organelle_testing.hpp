// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <karyon/organelle/organelle.hpp>

#include "organelle/digest.hpp"
#include "support/catch.hpp"
#include "support/temporary_tree.hpp"

namespace karyon::tests {

inline const std::string tally_path = TALLY_DIRECTORY "/tally.so";
/// The same, of another version, and such that the system's loader never lets go of it.
inline const std::string tally_stays_path = TALLY_DIRECTORY "/tally_stays.so";
/// The same, but it needs something of its host that there is not, or has two functions of one name.
inline const std::string tally_demands_path = TALLY_DIRECTORY "/tally_demands.so";
inline const std::string tally_twice_path = TALLY_DIRECTORY "/tally_twice.so";

inline organelle load_tally() {
  auto loaded = organelle::load(tally_path);
  if (!loaded) throw std::runtime_error(loaded.error().message());
  return std::move(*loaded);
}

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline std::string sha256_of(std::string_view bytes) {
  return detail::hex(*detail::sha256(std::as_bytes(std::span(bytes))));
}

/// A number that the tally keeps: 0 living objects, 1 ends of cells that it was told of, 2 calls that saw that they were cancelled.
inline std::int64_t seen(const organelle_function& f, std::size_t i) { return f().now()->get<std::int64_t>(i).value(); }

}  // namespace karyon::tests
