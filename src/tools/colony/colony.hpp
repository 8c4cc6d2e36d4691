// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <karyon/core/result.hpp>

#include "tools/colony/census.hpp"
#include "tools/colony/use.hpp"

namespace karyon::tools {

class progress;

/// One place in the source code.
struct location {
  std::string_view file;  // lives as long as the colony
  std::uint32_t line = 0;
};

/// A live cross-reference of source files, made of supervised cells: an eye a file, a symbol a distinct identifier.
///
/// One ordinary thread uses it; its calls block until the cells have done what they ask, and draw progress meanwhile.
/// An error is an end of the whole job (a cell that the others need has ended, or the system has nothing left to give);
/// what single files do is counted in the census.
class colony {
public:
  struct settings {
    std::uint32_t workers = 0;  // 0: one a core
    std::uint64_t file_bytes_max = 0;
    std::string listen{};       // where other processes join that host symbols; empty: none do
    std::uint32_t members = 0;  // so many are waited for
  };

  /// Starts the runtime. Throws karyon::runtime_error, std::system_error or std::bad_alloc if it can not be had.
  colony(std::vector<std::string> files, const settings& s);
  ~colony();
  colony(const colony&) = delete;
  colony& operator=(const colony&) = delete;

  /// Waits until the members have joined; `timeout` if they do not. To be called before learn, where there are members.
  [[nodiscard]] result<void> gather(progress& shown);

  /// Starts an eye a file and waits until the symbols know what the eyes have seen. To be called once, first.
  [[nodiscard]] result<void> learn(progress& shown);

  /// The state at the end of the last `learn` or `kill`, with its numbers brought up to date.
  [[nodiscard]] census take_census() const;

  /// Kills that fraction of all eyes and symbols, chosen by seed and name alone, and waits until the colony has settled
  /// again. Compares what is known after it to what was known before.
  [[nodiscard]] result<healing> kill(double fraction, std::uint64_t seed, progress& shown);

  /// Where a name is used, by file and line; `not_found` for a name that no eye has seen. Where a member was lost, the colony settles
  /// first.
  [[nodiscard]] result<std::vector<location>> who_uses(std::string_view name);

private:
  struct parts;

  [[nodiscard]] result<void> settle(progress& shown);
  [[nodiscard]] result<void> audit();

  std::unique_ptr<parts> parts_;
};

}  // namespace karyon::tools
