// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "harness/suite.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace karyon::bench {

/// A peer's figure for one measurement.
struct result {
  std::string name;
  std::string peer;
  std::string unit;
  double median = 0;
  double min = 0;
  double max = 0;

  /// Measured runs; 0 when the peer failed.
  std::uint64_t runs = 0;

  /// Why the peer has no figure; empty when it has one.
  std::string failure;

  /// The shape that was measured, and the most memory that a run of it held.
  std::string shape;
  std::uint64_t resident_bytes_max = 0;

  /// There is no figure because of the machine: `failure` says what it has not got.
  bool not_here = false;
};

struct run_options {
  /// Measured runs of each peer; 0: as the row says.
  std::uint64_t runs = 0;
  std::chrono::seconds timeout{120};

  /// Where the drivers are.
  std::filesystem::path programs;

  /// Told before each measurement and after each run; for progress.
  std::function<void(std::string const&)> progress = [](std::string const&) {};
};

struct spread {
  double median;
  double min;
  double max;
};

/// The median of an even number of values is the mean of the middle two. `values` must not be empty.
spread spread_of(std::vector<double> values);

/// Measures one row: every peer's shapes once, to choose the fastest, then the rounds in which each peer runs once, so
/// that drift of the machine falls on all peers alike. A run that fails ends the peer's part in this row and is reported.
std::vector<result> measure(measurement const& row, run_options const& options);

/// The same for rows that are measured together: a run gives a figure for each, or, from a driver that goes through them several
/// times, several for each. A peer takes part in those rows that name it. The results row by row.
std::vector<result> measure(std::span<measurement const> rows, run_options const& options);

/// What a driver printed as its figures, in order. Throws std::runtime_error when it printed none, or not those of these units
/// once or several times over.
std::vector<double> parse_figures(std::string const& output, std::vector<std::string> const& units);

/// What a driver printed as its figure. Throws std::runtime_error when it printed none, or one in another unit.
double parse_figure(std::string const& output, std::string const& unit);

/// The price of one reading of the clock inside a driver, as the driver `program` measures it, or a negative number.
double clock_overhead_ns(std::filesystem::path const& program);

}  // namespace karyon::bench
