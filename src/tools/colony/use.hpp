// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>

#include <karyon/nerve/signal.hpp>

namespace karyon::tools {

/// Position of a file in the colony's list of files.
using file_id = std::uint32_t;

/// Dense number of a distinct identifier, given out by the symbol index.
using symbol_id = std::uint32_t;

/// "This file uses you on this line": the signal that an eye sends to a symbol. Lines count from 1.
struct use {
  file_id file = 0;
  std::uint32_t line = 0;

  friend constexpr auto operator<=>(const use&, const use&) = default;
};
KARYON_SIGNAL(use, file, line)

}  // namespace karyon::tools
