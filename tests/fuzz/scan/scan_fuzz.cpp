// SPDX-License-Identifier: Apache-2.0
//
// Any bytes at all: all paths of the structural scanner must say what the slow model says, and slices must lie in the text.
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "structure_model.hpp"
#include "text/pieces.hpp"
#include "text/structure.hpp"

namespace {

using namespace rhizome;

void hold(bool held, const char* sentence) {
  if (!held) {
    std::fprintf(stderr, "scan_fuzz: %s\n", sentence);
    std::abort();
  }
}

void walk_json(std::string_view text, structure_scanner::marks marks) {
  for (std::size_t i = 0; i < marks.size(); ++i) {
    const auto slice = json_slice(text, marks, i);
    hold(slice.from < slice.to && slice.to <= text.size(), "a slice of JSON leaves the text");
    hold(i == 0 || marks[i - 1] < marks[i], "marks do not ascend");
  }
}

void walk_c(std::string_view text, structure_scanner::marks marks) {
  c_pieces pieces(text, marks);
  std::uint32_t end = 0;
  while (const auto piece = pieces.next()) {
    hold(piece->where.from >= end && piece->where.from < piece->where.to && piece->where.to <= text.size(),
         "pieces of C overlap or leave the text");
    end = piece->where.to;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t one_chunk = 16 * 1024;  // beyond it, which of two faults is met first depends on the chunks
  if (size > one_chunk) {
    return 0;
  }
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto json = model::json(text);
  const c_scan_options options{size % 2 == 0};
  const auto c = model::c(text, options);
  for (const auto path : {scan_path::portable, scan_path::avx2, scan_path::avx512}) {
    structure_scanner scanner(path);
    const auto json_scanned = scanner.json(text);
    hold(model::same(json_scanned, json), "JSON: not what the model says");
    if (json_scanned) {
      walk_json(text, *json_scanned);
    }
    const auto c_scanned = scanner.c(text, options);
    hold(model::same(c_scanned, c), "C: not what the model says");
    if (c_scanned) {
      walk_c(text, *c_scanned);
    }
  }
  return 0;
}
