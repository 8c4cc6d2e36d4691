// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace karyon::tools {

/// Numbers the distinct names of one file in the order of their first use, so that the colony's index is asked once a
/// name and file, not once a use.
///
/// Keeps views: the names' text must outlive the table. One thread at a time.
class name_table {
public:
  struct entry {
    std::string_view name;
    std::uint64_t hash;
  };

  name_table();

  /// The number of `name`; `is_new` tells whether this call gave it. Amortised O(1).
  [[nodiscard]] std::uint32_t number_of(std::string_view name, bool& is_new);

  [[nodiscard]] const std::vector<entry>& entries() const noexcept { return entries_; }

private:
  void grow();

  std::vector<entry> entries_;
  std::vector<std::uint32_t> slots_;  // a power of two of them: 0 is free, n is entries_[n - 1]
};

}  // namespace karyon::tools
