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

/// A peer in the middle of a measurement: its rows, and for each its entry, what was measured and what is reported.
struct candidate {
  struct part {
    measurement const* row;
    entrant const* who;
    std::vector<double> values;
  };
  std::vector<part> parts;
  shape const* chosen = nullptr;
  std::string failure;
  bool not_here = false;  // so it is the machine's
  std::uint64_t resident_bytes_max = 0;

  [[nodiscard]] entrant const& who() const { return *parts.front().who; }
  [[nodiscard]] measurement const& row() const { return *parts.front().row; }
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
void touch_memory(candidate const& one) {
  auto const& row = one.row();
  constexpr std::uint64_t bytes_per_cell_min = 512;
  auto const free_bytes =
      static_cast<std::uint64_t>(sysconf(_SC_AVPHYS_PAGES)) * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  auto const wanted = std::min(std::max(row.cells * bytes_per_cell_min, one.resident_bytes_max), free_bytes / 4);
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

/// One run in a fresh process: what it measured of each part. On failure nothing, and the reason is left in `one`.
std::vector<double> run_once(shape const& how, run_options const& options, candidate& one) {
  std::string scenarios;
  std::string operations;
  std::vector<std::string> units;
  for (auto const& part : one.parts) {
    auto const* const between = scenarios.empty() ? "" : "+";
    scenarios += between + part.row->scenario;
    operations += between + std::to_string(part.row->operations);
    units.push_back(part.row->unit);
  }
  std::vector<std::string> command{(options.programs / how.program).string(), scenarios,
                                   std::to_string(one.row().cells), operations};
  command.insert(command.end(), how.words.begin(), how.words.end());
  touch_memory(one);
  auto const ended = run_process(command, std::max(options.timeout, std::chrono::seconds{one.row().timeout_s}));
  one.resident_bytes_max = std::max(one.resident_bytes_max, ended.resident_bytes_max);
  one.failure = ended.failure;
  one.not_here = ended.not_here;
  if (!one.failure.empty()) {
    return {};
  }
  try {
    return parse_figures(ended.output, units);
  } catch (std::runtime_error const& error) {
    one.failure = error.what();
    return {};
  }
}

/// Tries each shape once and chooses the best. A shape that fails is out; a peer whose shapes all fail has failed.
void choose_shape(run_options const& options, candidate& one) {
  one.chosen = &one.who().shapes.front();
  if (one.who().shapes.size() == 1) {
    return;
  }
  auto const& row = one.row();
  shape const* best = nullptr;
  double best_value = 0;
  std::string failure;
  for (auto const& how : one.who().shapes) {
    options.progress(row.name + ": " + one.who().peer + " tries " + how.text);
    auto const values = run_once(how, options, one);
    if (values.empty()) {
      failure = one.failure;
      continue;
    }
    auto const value = spread_of(values).median;
    if (best == nullptr || (row.larger_is_better ? value > best_value : value < best_value)) {
      best = &how;
      best_value = value;
    }
  }
  if (best != nullptr) {
    one.chosen = best;
    one.failure.clear();
  } else {
    one.failure = failure;
  }
}

/// The peers of all rows, each with those that it takes part in.
std::vector<candidate> gather(std::span<measurement const> rows) {
  std::vector<candidate> all;
  for (auto const& row : rows) {
    for (auto const& who : row.entrants) {
      auto const known =
          std::find_if(all.begin(), all.end(), [&](candidate const& one) { return one.who().peer == who.peer; });
      auto& one = known != all.end() ? *known : all.emplace_back();
      one.parts.push_back({&row, &who, {}});
    }
  }
  return all;
}

void run_round(std::uint64_t round, std::uint64_t rounds, run_options const& options, candidate& one) {
  auto const most = one.who().runs_max;
  if (!one.failure.empty() || (most != 0 && round > most)) {
    return;
  }
  options.progress(one.row().name + ": run " + std::to_string(round) + " of " + std::to_string(rounds) + ", " +
                   one.who().peer);
  auto const values = run_once(*one.chosen, options, one);
  for (std::size_t i = 0; i < values.size(); ++i) {
    one.parts[i % one.parts.size()].values.push_back(values[i]);
  }
}

result finish(candidate const& one, candidate::part const& part) {
  result reported;
  reported.name = part.row->name;
  reported.peer = part.who->peer;
  reported.unit = part.row->unit;
  reported.shape = one.chosen->text;
  reported.resident_bytes_max = one.resident_bytes_max;
  reported.failure = one.failure;
  reported.not_here = one.not_here && !one.failure.empty();
  if (reported.failure.empty()) {
    auto const spread = spread_of(part.values);
    reported.median = spread.median;
    reported.min = spread.min;
    reported.max = spread.max;
    reported.runs = part.values.size();
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

std::vector<double> parse_figures(std::string const& output, std::vector<std::string> const& units) {
  std::vector<double> found;
  std::istringstream lines{output};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words{line};
    std::string tag;
    std::string found_unit;
    double value = 0;
    if (words >> tag >> found_unit >> value && tag == "value") {
      auto const& unit = units[found.size() % units.size()];
      if (found_unit != unit) {
        throw std::runtime_error("the driver measured " + found_unit + " instead of " + unit);
      }
      found.push_back(value);
    }
  }
  if (found.empty()) {
    throw std::runtime_error("the driver printed no value");
  }
  if (found.size() % units.size() != 0) {
    throw std::runtime_error("the driver printed " + std::to_string(found.size()) + " values for " +
                             std::to_string(units.size()) + " scenarios");
  }
  return found;
}

double parse_figure(std::string const& output, std::string const& unit) {
  return parse_figures(output, {unit}).front();
}

std::vector<result> measure(std::span<measurement const> rows, run_options const& options) {
  auto candidates = gather(rows);
  for (auto& one : candidates) {
    choose_shape(options, one);
  }
  auto const rounds = options.runs > 0 ? options.runs : rows.front().runs;
  for (std::uint64_t round = 1; round <= rounds; ++round) {
    for (auto& one : candidates) {
      run_round(round, rounds, options, one);
    }
  }
  std::vector<result> results;
  for (auto const& row : rows) {
    for (auto const& one : candidates) {
      for (auto const& part : one.parts) {
        if (part.row == &row) {
          results.push_back(finish(one, part));
        }
      }
    }
  }
  return results;
}

std::vector<result> measure(measurement const& row, run_options const& options) {
  return measure(std::span{&row, 1}, options);
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
