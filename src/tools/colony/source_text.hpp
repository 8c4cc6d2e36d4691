// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "tools/colony/outcome.hpp"

namespace karyon::tools {

/// A file's bytes, or why there are none: `what` is `scanned` if and only if `text` is the whole file.
struct source_text {
  outcome what = outcome::unreadable;
  std::string text;
  std::string reason;
};

/// Reads a file that may be anything: it can have vanished, be a pipe by now, never end or hold no text. Reads at most
/// `bytes_max` + 1 bytes, never waits for a writer, and reports every failure in the result; only memory can run out
/// (std::bad_alloc). Blocks on the disk.
[[nodiscard]] source_text read_source(const std::string& path, std::uint64_t bytes_max);

}  // namespace karyon::tools
