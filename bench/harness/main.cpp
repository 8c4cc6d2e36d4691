// SPDX-License-Identifier: Apache-2.0
//
// karyon-bench: runs a suite, prints its table, and writes its JSON report. bench/run builds it and calls it.

#include "build_info.hpp"
#include "harness/context.hpp"
#include "harness/core_to_core.hpp"
#include "harness/runner.hpp"
#include "harness/suite.hpp"
#include "report/report.hpp"

#include <CLI/CLI.hpp>

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <span>

namespace {

using namespace karyon::bench;

struct arguments {
  std::string suite_name;
  std::string json_file;
  std::uint64_t cells = 0;
  std::uint64_t runs = 0;  // as the suite says
  std::uint64_t timeout_s = 0;
  bool peers = false;
  std::vector<std::string> only;
  std::string suites_directory = build_info::suites;
};

/// A run may take 30 seconds, and 60 microseconds for every cell: several times what the slowest peer needs.
std::chrono::seconds timeout_of(arguments const& asked, suite const& chosen) {
  return std::chrono::seconds{asked.timeout_s > 0 ? asked.timeout_s : 30 + chosen.cells * 60 / 1'000'000};
}

/// A line that is overwritten on a terminal, and nothing elsewhere.
void show_progress(std::string const& text) {
  if (isatty(STDERR_FILENO) != 0) {
    std::cerr << "\r\033[K" << text << std::flush;
  }
}

/// Leaves the rows that `only` names; all when it names none. Throws CLI::ValidationError for a name that is not there.
void keep(suite& chosen, std::vector<std::string> const& only) {
  for (auto const& name : only) {
    if (std::none_of(chosen.measurements.begin(), chosen.measurements.end(),
                     [&](measurement const& row) { return row.name == name; })) {
      throw CLI::ValidationError("--only", "suite " + chosen.name + " has no " + name);
    }
  }
  std::erase_if(chosen.measurements, [&](measurement const& row) {
    return !only.empty() && std::find(only.begin(), only.end(), row.name) == only.end();
  });
}

/// What the report says of all rows: the most runs that any has. Each row says how many it has had.
std::uint64_t most_runs(arguments const& asked, suite const& chosen) {
  std::uint64_t most = 0;
  for (auto const& row : chosen.measurements) {
    most = std::max(most, row.runs);
  }
  return asked.runs > 0 ? asked.runs : most;
}

int run(arguments const& asked) {
  auto const file = std::filesystem::path{asked.suites_directory} / (asked.suite_name + ".json");
  if (!std::filesystem::exists(file)) {
    std::cerr << "karyon-bench: no such suite: " << asked.suite_name << '\n';
    return 2;
  }
  auto chosen = load_suite(file, asked.cells, asked.peers);
  keep(chosen, asked.only);
  run_options options;
  options.runs = asked.runs;
  options.timeout = timeout_of(asked, chosen);
  options.programs = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  options.progress = show_progress;

  // Opened first: an hour of measuring must not end with a report that can not be written.
  std::ofstream json;
  if (!asked.json_file.empty()) {
    json.open(asked.json_file);
    if (!json) {
      std::cerr << "karyon-bench: can not write " << asked.json_file << '\n';
      return 2;
    }
  }
  auto context = describe_context();
  context["suite"] = chosen.name;
  context["cells"] = chosen.cells;
  context["runs"] = most_runs(asked, chosen);
  context["clock_overhead_ns"] =
      clock_overhead_ns(options.programs / chosen.measurements.front().entrants.front().shapes.front().program);

  auto between = nlohmann::ordered_json::array();
  auto const look_between = [&] {
    if (auto const ns = core_to_core_ns()) {
      between.push_back(*ns);
    }
  };
  look_between();

  std::vector<result> results;
  std::span<measurement const> left{chosen.measurements};
  while (!left.empty()) {
    std::size_t rows = 1;
    while (left.front().together != 0 && rows < left.size() && left[rows].together == left.front().together) {
      ++rows;
    }
    auto measured = measure(left.first(rows), options);
    results.insert(results.end(), measured.begin(), measured.end());
    left = left.subspan(rows);
  }
  look_between();
  context["core_to_core_ns"] = between;
  show_progress("");
  print_table(std::cout, results, context);
  if (json.is_open()) {
    json << karyon::bench::to_json(results, context).dump(2) << '\n';
    json.close();
    if (!json) {
      std::cerr << "karyon-bench: can not write " << asked.json_file << '\n';
      return 1;
    }
  }
  return std::any_of(results.begin(), results.end(),
                     [](result const& one) { return !one.failure.empty() && !one.not_here; })
             ? 1
             : 0;
}

}  // namespace

int main(int argc, char** argv) {
  arguments asked;
  CLI::App app{"Measures a suite and prints its table", "bench/run"};
  app.add_option("SUITE", asked.suite_name, "a file in bench/suites, without .json")->required();
  app.add_option("--json", asked.json_file, "write the report for programs to this file");
  app.add_option("--cells", asked.cells, "cells, where the suite leaves it open")->check(CLI::Range(1, 1'000'000'000));
  app.add_option("--runs", asked.runs, "measured runs of each peer (5, or what the row says)")
      ->check(CLI::Range(5, 1000));
  app.add_option("--only", asked.only, "measure this name alone (may be given again)")->allow_extra_args(false);
  app.add_option("--timeout", asked.timeout_s, "seconds that one run may take")->check(CLI::Range(1, 86'400));
  app.add_flag("--peers", asked.peers, "run the same work in the peers as well, interleaved");
  app.add_option("--suites", asked.suites_directory, "where the suites' files are");
  try {
    app.parse(argc, argv);
  } catch (CLI::CallForHelp const& help) {
    return app.exit(help);
  } catch (CLI::ParseError const& error) {
    std::cerr << "bench/run: " << error.what() << " (bench/run --help lists the options)\n";
    return 2;
  }
  try {
    return run(asked);
  } catch (CLI::ParseError const& error) {
    std::cerr << "bench/run: " << error.what() << '\n';
    return 2;
  } catch (std::exception const& error) {
    std::cerr << "bench/run: " << error.what() << '\n';
    return 1;
  }
}
