// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace karyon::bench {

/// How one process ended, and what it left.
struct outcome {
  /// Empty for exit status 0; otherwise a sentence part, such as "timed out after 30 s".
  std::string failure;
  /// The process ended with driver_not_here: the machine has not got what it takes, and `failure` says what.
  bool not_here = false;
  std::string output;
  std::uint64_t resident_bytes_max = 0;
  std::int64_t wall_ns = 0;
};

/// Runs a program to its end in a process group of its own and collects what it prints.
///
/// When `timeout` has passed the whole group is killed, and so it is when this process gets SIGINT or SIGTERM, which then
/// ends it as if the signal had not been caught. If memory runs out the kernel is told to take the driver first. Blocks;
/// call it from one thread.
outcome run_process(std::vector<std::string> const& command, std::chrono::seconds timeout);

}  // namespace karyon::bench
