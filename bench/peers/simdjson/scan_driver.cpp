// SPDX-License-Identifier: Apache-2.0
//
// The scenario scan_json with simdjson: its first stage alone, which is the index that rhizome's scanner makes (marks of the
// structure, and a check of UTF-8), with the memory of the first time. simdjson picks its widest implementation; haswell=1, and
// the scenario scan_json_avx2, take that for AVX2.

#include <simdjson.h>

#include "harness/driver.hpp"
#include "suites/scan_input.hpp"

namespace {

using namespace karyon::bench;

figure scan_json(work const& asked, bool avx2) {
  simdjson::padded_string const text{scan_json_text()};
  auto const* implementation = simdjson::get_active_implementation().operator->();
  if (avx2) {
    implementation = simdjson::get_available_implementations()["haswell"];
  }
  verify(implementation != nullptr && implementation->supported_by_runtime_system(),
         "this machine has no such instructions");
  std::unique_ptr<simdjson::internal::dom_parser_implementation> parser;
  verify(implementation->create_dom_parser_implementation(text.size(), simdjson::DEFAULT_MAX_DEPTH, parser) ==
             simdjson::SUCCESS,
         "simdjson makes no parser");
  auto const scan_once = [&] {
    verify(parser->stage1(reinterpret_cast<std::uint8_t const*>(text.data()), text.size(),
                          simdjson::stage1_mode::regular) == simdjson::SUCCESS,
           "simdjson refuses the text");
    return parser->n_structural_indexes;
  };
  auto const marks = scan_once();
  std::uint64_t found = 0;
  auto const begin = now_ns();
  for (std::uint64_t i = 0; i < asked.operations; ++i) {
    found += scan_once();
  }
  auto const elapsed = now_ns() - begin;
  verify(marks > 1000 && found == marks * asked.operations, "two scans of one text differ");
  return {"GB/s", static_cast<double>(text.size() * asked.operations) / static_cast<double>(elapsed)};
}

constexpr scenario scenarios[] = {
    {"scan_json", [](work const& asked) { return scan_json(asked, asked.option("haswell", 0) != 0); }},
    {"scan_json_avx2", [](work const& asked) { return scan_json(asked, true); }},
};

}  // namespace

int main(int argc, char** argv) { drive(argc, argv, scenarios); }
