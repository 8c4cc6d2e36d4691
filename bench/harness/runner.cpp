// SPDX-License-Identifier: Apache-2.0
#include "harness/runner.hpp"

#include "harness/process.hpp"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <sstream>
#include <stdexcept>

namespace karyon::bench {
namespace {

/// A peer in the middle of a measurement.
struct candidate {
  entrant const* who;
  shape const* chosen;
  std::vector<double> values;
  result reported;
};

/// Memory of this process whose every page has been touched.
class touched_memory {
public:
  touched_memory(std::uint64_t bytes, bool huge) : bytes_(bytes) {
    memory_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory_ == MAP_FAILED) {
      return;
    }
    if (huge) {
      madvise(memory_, bytes_, MADV_HUGEPAGE);  // refused where there are none, and then no driver gets any either
    }
    auto const page_bytes = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
    for (std::uint64_t at = 0; at < bytes_; at += page_bytes) {
      static_cast<volatile char*>(memory_)[at] = 1;
    }
  }
  touched_memory(touched_memory const&) = delete;
  touched_memory& operator=(touched_memory const&) = delete;
  ~touched_memory() {
    if (memory_ != MAP_FAILED) {
      munmap(memory_, bytes_);
    }
  }

private:
  void* memory_;
  std::uint64_t bytes_;
};

/// Makes sure that the host has given this machine the memory that the next run touches.
///
/// On a virtual machine the first touch of a page that the host has taken back costs many times what a later one costs, and
/// the peer that happens to get such pages would pay for all. So before every run of a measurement that fills memory the
/// harness touches as much as the peer's runs have held so far, and gives it back. It does so once in small and once in huge
/// pages, both at the same time: a driver may use either, and the kernel serves them from different places.
void touch_memory(measurement const& row, candidate const& one) {
  constexpr std::uint64_t bytes_per_cell_min = 512;
  auto const free_bytes =
      static_cast<std::uint64_t>(sysconf(_SC_AVPHYS_PAGES)) * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  auto const wanted =
      std::min(std::max(row.cells * bytes_per_cell_min, one.reported.resident_bytes_max), free_bytes / 4);
  if (!row.memory_grows || wanted == 0) {
    return;
  }
  // In a process of its own: the kernel counts what this one has held toward the peak of every driver that it starts.
  auto const toucher = fork();
  if (toucher == 0) {
    {
      touched_memory const small{wanted, false};
      touched_memory const huge{wanted, true};
    }
    _exit(0);
  }
  while (toucher > 0 && waitpid(toucher, nullptr, 0) < 0 && errno == EINTR) {
  }
}

/// One run in a fresh process. On failure the reason is left in `one.reported`.
double run_once(measurement const& row, shape const& how, run_options const& options, candidate& one) {
  std::vector<std::string> command{(options.programs / how.program).string(), row.scenario, std::to_string(row.cells),
                                   std::to_string(row.operations)};
  command.insert(command.end(), how.words.begin(), how.words.end());
  touch_memory(row, one);
  auto const ended = run_process(command, options.timeout);
  one.reported.resident_bytes_max = std::max(one.reported.resident_bytes_max, ended.resident_bytes_max);
  if (!ended.failure.empty()) {
    one.reported.failure = ended.failure;
    return 0;
  }
  try {
    return parse_figure(ended.output, row.unit);
  } catch (std::runtime_error const& error) {
    one.reported.failure = error.what();
    return 0;
  }
}

/// Tries each shape once and chooses the best. A shape that fails is out; a peer whose shapes all fail has failed.
void choose_shape(measurement const& row, run_options const& options, candidate& one) {
  one.chosen = &one.who->shapes.front();
  if (one.who->shapes.size() == 1) {
    return;
  }
  shape const* best = nullptr;
  double best_value = 0;
  std::string failure;
  for (auto const& how : one.who->shapes) {
    options.progress(row.name + ": " + one.who->peer + " tries " + how.text);
    one.reported.failure.clear();
    auto const value = run_once(row, how, options, one);
    if (!one.reported.failure.empty()) {
      failure = one.reported.failure;
    } else if (best == nullptr || (row.larger_is_better ? value > best_value : value < best_value)) {
      best = &how;
      best_value = value;
    }
  }
  if (best != nullptr) {
    one.chosen = best;
    one.reported.failure.clear();
  } else {
    one.reported.failure = failure;
  }
}

result finish(candidate& one) {
  auto& reported = one.reported;
  reported.shape = one.chosen->text;
  if (reported.failure.empty()) {
    auto const spread = spread_of(one.values);
    reported.median = spread.median;
    reported.min = spread.min;
    reported.max = spread.max;
    reported.runs = one.values.size();
  }
  return reported;
}

}  // namespace

spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  auto const middle = values.size() / 2;
  auto const median = values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {median, values.front(), values.back()};
}

double parse_figure(std::string const& output, std::string const& unit) {
  std::istringstream lines{output};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words{line};
    std::string tag;
    std::string found_unit;
    double value = 0;
    if (words >> tag >> found_unit >> value && tag == "value") {
      if (found_unit != unit) {
        throw std::runtime_error("the driver measured " + found_unit + " instead of " + unit);
      }
      return value;
    }
  }
  throw std::runtime_error("the driver printed no value");
}

std::vector<result> measure(measurement const& row, run_options const& options) {
  std::vector<candidate> candidates;
  for (auto const& who : row.entrants) {
    candidates.push_back({&who, nullptr, {}, {}});
    auto& one = candidates.back();
    one.reported.name = row.name;
    one.reported.peer = who.peer;
    one.reported.unit = row.unit;
    choose_shape(row, options, one);
  }
  auto const rounds = options.runs > 0 ? options.runs : row.runs;
  for (std::uint64_t round = 1; round <= rounds; ++round) {
    for (auto& one : candidates) {
      if (!one.reported.failure.empty()) {
        continue;
      }
      options.progress(row.name + ": run " + std::to_string(round) + " of " + std::to_string(rounds) + ", " +
                       one.who->peer);
      auto const value = run_once(row, *one.chosen, options, one);
      if (one.reported.failure.empty()) {
        one.values.push_back(value);
      }
    }
  }
  std::vector<result> results;
  for (auto& one : candidates) {
    results.push_back(finish(one));
  }
  return results;
}

double clock_overhead_ns(std::filesystem::path const& program) {
  auto const ended = run_process({program.string(), "clock", "0", "1000000"}, std::chrono::seconds{10});
  try {
    return ended.failure.empty() ? parse_figure(ended.output, "ns") : -1;
  } catch (std::runtime_error const&) {
    return -1;
  }
}

}  // namespace karyon::bench
