// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tools/colony/outcome.hpp"

namespace karyon::tools {

/// What a walk found, in an order that depends on the names alone.
struct walk_result {
  std::vector<std::string> files;           ///< source files, each real file once
  std::vector<std::string> unusable_roots;  ///< "PATH: reason" of each root that can not be walked
  std::vector<problem> problems;            ///< of paths below the roots
  outcome_counts outcomes;                  ///< of every path that became no file in `files`
  std::uint64_t directories = 0;
};

/// True for the file names that C and C++ source goes by (`.h`, `.cpp`, `.ipp`, `.def` and their kin).
[[nodiscard]] bool has_source_name(std::string_view file_name) noexcept;

/// Lists the source files below the roots.
///
/// Symbolic links are followed, and a file or directory is taken once, however many paths lead to it. A root may be a
/// file: it is taken whatever its name. A name without an extension is source if its first line says so to editors
/// (`-*- C++ -*-`, as in the standard library's headers). Never throws for what it finds on the disk. Blocks on the disk;
/// call it from an ordinary thread. O(entries * log(entries in a directory)).
[[nodiscard]] walk_result walk(const std::vector<std::string>& roots);

/// Whether `walk` would take this root, as far as can be told now; the walk may still find it gone.
[[nodiscard]] bool can_walk(const std::string& root);

/// The directories that hold this machine's C and C++ headers: of the system, of locally installed packages and of the
/// compilers. Those that exist, sorted; may be empty.
[[nodiscard]] std::vector<std::string> header_directories();

}  // namespace karyon::tools
