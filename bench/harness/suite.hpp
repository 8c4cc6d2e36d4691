// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace karyon::bench {

/// One way to run a scenario with a peer: the words that its driver gets, and which build of the driver.
struct shape {
  std::string program;
  std::vector<std::string> words;

  /// As it stands in the suite's file: what a report names.
  std::string text;
};

/// A peer's part in a scenario. With several shapes the harness tries each once and measures the fastest.
struct entrant {
  std::string peer;
  std::vector<shape> shapes;

  /// No more runs than these, whatever is asked for; 0 for as many as that. For a peer that takes minutes over one.
  std::uint64_t runs_max = 0;
};

/// One row of the report.
struct measurement {
  std::string name;
  std::string scenario;
  std::string unit;
  std::uint64_t cells = 0;
  std::uint64_t operations = 0;
  bool memory_grows = false;
  std::vector<entrant> entrants;

  /// Most figures are times or bytes: smaller is better.
  bool larger_is_better = false;

  /// Measured runs of each peer where the command line says nothing of them. A row whose driver repeats the work in its process,
  /// because the setting up takes longer than the work, needs no more than one.
  std::uint64_t runs = 5;

  /// Rows of the same number other than 0 come from the same runs: what fills a table does so once for all of them.
  std::uint64_t together = 0;

  /// What one run may take, where that is more than others'; 0 for as much as those.
  std::uint64_t timeout_s = 0;
};

/// A suite is data: a file bench/suites/NAME.json, described in bench/README.md.
struct suite {
  std::string name;
  std::uint64_t cells = 0;
  std::vector<measurement> measurements;
};

/// Reads a suite; `cells` other than 0 replaces the number of cells that the file asks for. Throws std::runtime_error with a
/// sentence that names the file when it is not a suite. The first peer of every measurement is "karyon"; without `peers` it
/// is the only one.
suite load_suite(std::filesystem::path const& file, std::uint64_t cells, bool peers);

}  // namespace karyon::bench
