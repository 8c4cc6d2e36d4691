// SPDX-License-Identifier: Apache-2.0
#include "report/report.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ostream>
#include <string>

namespace karyon::bench {
namespace {

/// Three significant digits at least, and no more decimals than they need.
std::string number(double value) {
  auto const magnitude = std::abs(value);
  int const decimals = magnitude >= 100 || magnitude == 0 ? 0 : magnitude >= 10 ? 1 : 2;
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return text;
}

result const* find(std::vector<result> const& results, std::string const& name, std::string const& peer) {
  auto const found = std::find_if(results.begin(), results.end(),
                                  [&](result const& one) { return one.name == name && one.peer == peer; });
  return found == results.end() ? nullptr : &*found;
}

/// The words of a peer's cell: figure, spread, how many figures if not the usual number, and its ratio to Karyon's.
std::string cell_text(result const* one, result const* ours, std::uint64_t usual_runs) {
  if (one == nullptr) {
    return "-";
  }
  if (!one->failure.empty()) {
    return one->not_here ? "not here" : "failed";
  }
  auto text = number(one->median) + " (" + number(one->min) + " to " + number(one->max);
  text += one->runs == usual_runs ? ")" : "; of " + std::to_string(one->runs) + ")";
  if (ours != nullptr && ours != one && ours->failure.empty() && ours->median > 0) {
    text += "  " + number(one->median / ours->median) + "x";
  }
  return text;
}

using grid = std::vector<std::vector<std::string>>;

void print_grid(std::ostream& out, grid const& rows) {
  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (auto const& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  for (auto const& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i] + std::string(widths[i] - row[i].size() + 3, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out << line << '\n';
  }
}

void collect_unique(std::vector<std::string>& into, std::string const& value) {
  if (std::find(into.begin(), into.end(), value) == into.end()) {
    into.push_back(value);
  }
}

/// How far the cores are from each other, before and after: figures of several threads can not be compared where that differs.
std::string between_cores(nlohmann::ordered_json const& context) {
  auto const found = context.find("core_to_core_ns");
  if (found == context.end() || found->empty()) {
    return {};
  }
  return ", " + number(found->front().get<double>()) + " and " + number(found->back().get<double>()) +
         " ns from core to core before and after";
}

}  // namespace

void print_table(std::ostream& out, std::vector<result> const& results, nlohmann::ordered_json const& context) {
  std::vector<std::string> names;
  std::vector<std::string> peers;
  for (auto const& one : results) {
    collect_unique(names, one.name);
    collect_unique(peers, one.peer);
  }
  grid rows;
  rows.push_back({"name", "unit"});
  rows.back().insert(rows.back().end(), peers.begin(), peers.end());
  for (auto const& name : names) {
    auto const* const ours = find(results, name, "karyon");
    rows.push_back({name, find(results, name, peers.front())->unit});
    for (auto const& peer : peers) {
      rows.back().push_back(cell_text(find(results, name, peer), ours, context.at("runs").get<std::uint64_t>()));
    }
  }
  out << "\nsuite " << context.at("suite").get<std::string>() << " at " << context.at("cells") << " cells, "
      << context.at("runs") << " runs, on " << context.at("cpu_model").get<std::string>() << " ("
      << context.at("topology").get<std::string>() << ")" << between_cores(context) << "\n\n";
  print_grid(out, rows);
  out << "\nmedian (min to max)";
  if (peers.size() > 1) {
    out << "; 3.0x: the peer's median is 3 times Karyon's";
  }
  std::uint64_t most = 0;
  for (auto const& one : results) {
    most = one.peer == "karyon" ? std::max(most, one.resident_bytes_max) : most;
  }
  out << "; most memory held by a run of Karyon: " << number(static_cast<double>(most) / (1 << 20)) << " MiB\n";
  for (auto const& one : results) {
    if (!one.failure.empty()) {
      out << (one.not_here ? "not here: " : "failed: ") << one.name << " of " << one.peer << ": " << one.failure
          << '\n';
    }
  }
}

nlohmann::ordered_json to_json(std::vector<result> const& results, nlohmann::ordered_json context) {
  auto shapes = nlohmann::ordered_json::object();
  auto memory = nlohmann::ordered_json::object();
  auto failures = nlohmann::ordered_json::array();
  auto rows = nlohmann::ordered_json::array();
  for (auto const& one : results) {
    auto const measured = one.failure.empty();
    auto const figure = [&](double value) {
      return measured ? nlohmann::ordered_json(value) : nlohmann::ordered_json();
    };
    rows.push_back({{"name", one.name},
                    {"peer", one.peer},
                    {"unit", one.unit},
                    {"median", figure(one.median)},
                    {"min", figure(one.min)},
                    {"max", figure(one.max)},
                    {"runs", one.runs}});
    shapes[one.name][one.peer] = one.shape;
    memory[one.name][one.peer] = one.resident_bytes_max;
    if (!measured) {
      failures.push_back({{"name", one.name}, {"peer", one.peer}, {"reason", one.failure}, {"not_here", one.not_here}});
    }
  }
  context["shapes"] = std::move(shapes);
  context["resident_bytes_max"] = std::move(memory);
  context["failures"] = std::move(failures);
  return {{"schema", 1}, {"context", std::move(context)}, {"results", std::move(rows)}};
}

}  // namespace karyon::bench
