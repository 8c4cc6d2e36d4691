// SPDX-License-Identifier: Apache-2.0
//
// The part of the suite `organelle` that scans text: rhizome's structural scanner. bench/README.md defines the scenarios.

#include "harness/driver.hpp"
#include "suites/scan_input.hpp"
#include "text/structure.hpp"

namespace {

using namespace karyon::bench;
using rhizome::scan_path;
using rhizome::structure_scanner;

/// Scans the text `operations` times with the memory of the first time, and gives gigabytes a second.
template <class Scan>
figure scan(work const& asked, std::string const& text, Scan const& scan_once) {
  auto const marks = scan_once(text);
  verify(marks > 1000, "the scanner has found no structure");
  std::uint64_t found = 0;
  auto const begin = now_ns();
  for (std::uint64_t i = 0; i < asked.operations; ++i) {
    found += scan_once(text);
  }
  auto const elapsed = now_ns() - begin;
  verify(found == marks * asked.operations, "two scans of one text differ");
  return {"GB/s", static_cast<double>(text.size() * asked.operations) / static_cast<double>(elapsed)};
}

figure scan_json(work const& asked, scan_path path) {
  structure_scanner scanner{path};
  return scan(asked, scan_json_text(), [&](std::string const& text) { return scanner.json(text).value().size(); });
}
figure scan_c(work const& asked, scan_path path) {
  structure_scanner scanner{path};
  return scan(asked, scan_c_text(), [&](std::string const& text) { return scanner.c(text).value().size(); });
}

constexpr scenario scenarios[] = {
    {"scan_json", [](work const& asked) { return scan_json(asked, scan_path::automatic); }},
    {"scan_json_avx2", [](work const& asked) { return scan_json(asked, scan_path::avx2); }},
    {"scan_json_portable", [](work const& asked) { return scan_json(asked, scan_path::portable); }},
    {"scan_c", [](work const& asked) { return scan_c(asked, scan_path::automatic); }},
    {"scan_c_avx2", [](work const& asked) { return scan_c(asked, scan_path::avx2); }},
    {"scan_c_portable", [](work const& asked) { return scan_c(asked, scan_path::portable); }},
};

}  // namespace

int main(int argc, char** argv) { drive(argc, argv, scenarios); }
