// SPDX-License-Identifier: Apache-2.0
//
// The suite `organelle` with structures passed as JSON, by nlohmann's library.
#include "peers/encoded_handoff.hpp"

#include <nlohmann/json.hpp>

namespace {

using namespace karyon::bench;

struct json_codec {
  static std::string encode(edge_columns const& edges) {
    return nlohmann::json{{"source", edges.source}, {"target", edges.target}, {"time", edges.time}}.dump();
  }
  static edge_columns decode(std::string const& text) {
    auto const all = nlohmann::json::parse(text);
    edge_columns edges;
    all.at("source").get_to(edges.source);
    all.at("target").get_to(edges.target);
    all.at("time").get_to(edges.time);
    return edges;
  }
};

constexpr scenario scenarios[] = {{"handoff", encoded_handoff<json_codec>}};

}  // namespace

int main(int argc, char** argv) { drive(argc, argv, scenarios); }
