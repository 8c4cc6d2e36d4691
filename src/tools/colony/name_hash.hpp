// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

namespace karyon::tools {

/// Spreads a value over all 64 bits (the finaliser of SplitMix64): a bijection, the same on every machine.
constexpr std::uint64_t mix(std::uint64_t value) noexcept {
  value = (value ^ value >> 30U) * 0xBF58476D1CE4E5B9U;
  value = (value ^ value >> 27U) * 0x94D049BB133111EBU;
  return value ^ value >> 31U;
}

/// The hash of a name, the same in every run and on every machine (FNV-1a, mixed): digests and seeded choices rest on it.
constexpr std::uint64_t name_hash(std::string_view name) noexcept {
  std::uint64_t hash = 0xCBF29CE484222325U;
  for (const char c : name) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
  }
  return mix(hash);
}

}  // namespace karyon::tools
