// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "tools/colony/name_hash.hpp"
#include "tools/colony/use.hpp"

namespace karyon::tools {

/// How much is known, and a digest of what: sums over (name, file, line), so that it can be added up in any order, from
/// the symbols' side (who knows their uses) or from the eyes' (who know their files). Equal knowledge gives equal
/// fingerprints; different knowledge gives different ones but for accidents of 64 bits.
struct fingerprint {
  std::uint64_t uses = 0;
  std::uint64_t digest = 0;

  /// Adds that the name with this `name_hash` is used there; each (name, file, line) is to be added once.
  constexpr void add(std::uint64_t name, use u) noexcept {
    ++uses;
    digest += mix(name ^ mix(std::uint64_t{u.file} << 32U | u.line));
  }
  constexpr fingerprint& operator+=(const fingerprint& other) noexcept {
    uses += other.uses;
    digest += other.digest;
    return *this;
  }
  friend constexpr bool operator==(const fingerprint&, const fingerprint&) = default;
};

/// Asks an eye or a symbol for its `self_description`.
struct describe_yourself {
  std::uint64_t name = 0;  // a symbol's, as name_hash; an eye knows the names that it has seen
};
KARYON_SIGNAL(describe_yourself, name)

/// What an eye or a symbol says of itself for the census.
struct self_description {
  fingerprint known;
  std::uint64_t knowledge_bytes = 0;  // allocated for what it knows, beside the cell itself
  std::uint32_t node = 0;
  std::uint32_t worker = 0;
  std::uint32_t member = 0;  // whose process it is in
};

}  // namespace karyon::tools
