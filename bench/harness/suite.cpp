// SPDX-License-Identifier: Apache-2.0
#include "harness/suite.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace karyon::bench {
namespace {

using json = nlohmann::ordered_json;  // peers are reported in the order of the file

/// "@VARIANT word=1 word=2": an optional other build of the peer's driver, then the driver's words.
shape parse_shape(std::string const& program, std::string const& text) {
  shape parsed{program, {}, text};
  std::istringstream words{text};
  for (std::string word; words >> word;) {
    if (word.front() == '@') {
      parsed.program = program + "-" + word.substr(1);
    } else {
      parsed.words.push_back(word);
    }
  }
  return parsed;
}

entrant parse_entrant(json const& file, json const& entry, std::string const& peer) {
  entrant parsed{peer, {}};
  auto const& program = file.at("peers").at(peer).get_ref<std::string const&>();
  for (auto const& text : entry.at("shapes").at(peer)) {
    parsed.shapes.push_back(parse_shape(program, text.get<std::string>()));
  }
  if (parsed.shapes.empty()) {
    throw std::runtime_error("no shape for " + peer);
  }
  if (entry.contains("runs_max")) {
    parsed.runs_max = entry.at("runs_max").value(peer, std::uint64_t{0});
  }
  return parsed;
}

/// `row` is one of the rows that are measured together, or the entry itself. A row may name its peers: not all do everything.
measurement parse_measurement(json const& file, json const& entry, json const& row, std::uint64_t cells, bool peers) {
  measurement parsed;
  parsed.name = row.at("name").get<std::string>();
  parsed.scenario = row.at("scenario").get<std::string>();
  parsed.unit = row.at("unit").get<std::string>();
  parsed.operations = row.at("operations").get<std::uint64_t>();
  parsed.memory_grows = entry.at("cells") == "all";
  parsed.timeout_s = entry.value("timeout_s", std::uint64_t{0});
  auto const better = row.value("better", "smaller");
  if (better != "smaller" && better != "larger") {
    throw std::runtime_error("\"better\" is \"smaller\" or \"larger\", not \"" + better + "\"");
  }
  parsed.larger_is_better = better == "larger";
  parsed.runs = entry.value("runs", parsed.runs);
  if (parsed.runs == 0) {
    throw std::runtime_error("\"runs\" is at least 1");
  }
  parsed.cells = parsed.memory_grows ? cells : entry.at("cells").get<std::uint64_t>();
  parsed.entrants.push_back(parse_entrant(file, entry, "karyon"));
  if (peers) {
    for (auto const& [peer, shapes] : entry.at("shapes").items()) {
      auto const named = !row.contains("peers") ||
                         std::find(row.at("peers").begin(), row.at("peers").end(), peer) != row.at("peers").end();
      if (peer != "karyon" && named) {
        parsed.entrants.push_back(parse_entrant(file, entry, peer));
      }
    }
  }
  return parsed;
}

/// What one entry of the file asks for: a row, or several that come from the same runs.
void parse_entry(json const& file, json const& entry, bool peers, suite& loaded) {
  if (!entry.contains("together")) {
    loaded.measurements.push_back(parse_measurement(file, entry, entry, loaded.cells, peers));
    return;
  }
  auto const number = loaded.measurements.size() + 1;
  for (auto const& row : entry.at("together")) {
    auto parsed = parse_measurement(file, entry, row, loaded.cells, peers);
    parsed.together = number;
    for (auto const& who : parsed.entrants) {
      if (who.shapes.size() != 1) {
        throw std::runtime_error(parsed.name + " is measured together with others, so " + who.peer + " has one shape");
      }
    }
    loaded.measurements.push_back(std::move(parsed));
  }
}

}  // namespace

suite load_suite(std::filesystem::path const& file, std::uint64_t cells, bool peers) {
  try {
    std::ifstream in{file};
    if (!in) {
      throw std::runtime_error("can not be read");
    }
    auto const parsed = json::parse(in);
    suite loaded;
    loaded.name = parsed.at("suite").get<std::string>();
    loaded.cells = cells > 0 ? cells : parsed.at("cells").get<std::uint64_t>();
    for (auto const& entry : parsed.at("scenarios")) {
      parse_entry(parsed, entry, peers, loaded);
    }
    return loaded;
  } catch (std::exception const& error) {
    throw std::runtime_error(file.string() + ": " + error.what());
  }
}

}  // namespace karyon::bench
