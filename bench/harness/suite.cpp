// SPDX-License-Identifier: Apache-2.0
#include "harness/suite.hpp"

#include <nlohmann/json.hpp>

#include <fstream>
#include <sstream>
#include <stdexcept>

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

entrant parse_entrant(json const& file, json const& row, std::string const& peer) {
  entrant parsed{peer, {}};
  auto const& program = file.at("peers").at(peer).get_ref<std::string const&>();
  for (auto const& text : row.at("shapes").at(peer)) {
    parsed.shapes.push_back(parse_shape(program, text.get<std::string>()));
  }
  if (parsed.shapes.empty()) {
    throw std::runtime_error("no shape for " + peer);
  }
  return parsed;
}

measurement parse_measurement(json const& file, json const& row, std::uint64_t cells, bool peers) {
  measurement parsed;
  parsed.name = row.at("name").get<std::string>();
  parsed.scenario = row.at("scenario").get<std::string>();
  parsed.unit = row.at("unit").get<std::string>();
  parsed.operations = row.at("operations").get<std::uint64_t>();
  parsed.memory_grows = row.at("cells") == "all";
  auto const better = row.value("better", "smaller");
  if (better != "smaller" && better != "larger") {
    throw std::runtime_error("\"better\" is \"smaller\" or \"larger\", not \"" + better + "\"");
  }
  parsed.larger_is_better = better == "larger";
  parsed.runs = row.value("runs", parsed.runs);
  if (parsed.runs == 0) {
    throw std::runtime_error("\"runs\" is at least 1");
  }
  parsed.cells = parsed.memory_grows ? cells : row.at("cells").get<std::uint64_t>();
  parsed.entrants.push_back(parse_entrant(file, row, "karyon"));
  if (peers) {
    for (auto const& [peer, shapes] : row.at("shapes").items()) {
      if (peer != "karyon") {
        parsed.entrants.push_back(parse_entrant(file, row, peer));
      }
    }
  }
  return parsed;
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
    for (auto const& row : parsed.at("scenarios")) {
      loaded.measurements.push_back(parse_measurement(parsed, row, loaded.cells, peers));
    }
    return loaded;
  } catch (std::exception const& error) {
    throw std::runtime_error(file.string() + ": " + error.what());
  }
}

}  // namespace karyon::bench
