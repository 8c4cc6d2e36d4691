// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace karyon::tools {

/// What became of a path that the colony met. None of them stops the job: each is counted and reported.
enum class outcome : std::uint8_t {
  scanned,       ///< A source file that was read and scanned.
  binary,        ///< It has a NUL byte near its start: no text.
  enormous,      ///< Longer than --max-file-bytes.
  unreadable,    ///< The system refused to open, list or read it, or a scan of it failed.
  vanished,      ///< Not there any more when its turn came, or a symbolic link to nothing.
  not_regular,   ///< A device, pipe or socket; it is never opened.
  duplicate,     ///< A file or directory that was already met under another path.
  symlink_loop,  ///< A symbolic link that leads back to a directory it is in, or to itself.
  not_source,    ///< A file whose name is not that of C or C++ source.
};

inline constexpr std::size_t outcome_count = 9;

/// The outcome's name in reports and JSON; never null.
[[nodiscard]] const char* to_string(outcome o) noexcept;

/// True where a user should hear of the single path: something was to be read and was not.
[[nodiscard]] constexpr bool is_problem(outcome o) noexcept {
  return o != outcome::scanned && o != outcome::duplicate && o != outcome::not_source;
}

/// How many paths came out which way. A plain value.
class outcome_counts {
public:
  void add(outcome o) noexcept { ++counts_[static_cast<std::size_t>(o)]; }
  void remove(outcome o) noexcept { --counts_[static_cast<std::size_t>(o)]; }
  [[nodiscard]] std::uint64_t of(outcome o) const noexcept { return counts_[static_cast<std::size_t>(o)]; }

private:
  std::array<std::uint64_t, outcome_count> counts_{};
};

/// A path that was not read as hoped, and the system's or our own reason.
struct problem {
  std::string path;
  outcome what = outcome::unreadable;
  std::string reason;
};

}  // namespace karyon::tools
