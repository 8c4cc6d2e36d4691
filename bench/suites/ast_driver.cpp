// SPDX-License-Identifier: Apache-2.0
//
// The part of the suite `rhizome` that reads programs: text to syntax tree to the vertices and arcs of a store. OPERATIONS is how
// many files of 64 KiB are read. threads=2: two threads each parse one file after the other, and take turns to write the graph, as cells that
// call the engine do; threads=1 does all on one.

#include <atomic>
#include <mutex>

#include "harness/driver.hpp"
#include "suites/scan_input.hpp"
#include "text/code_graph.hpp"

namespace {

using namespace karyon::bench;
using namespace rhizome;

constexpr std::size_t file_bytes = 64 * 1024;

/// Million nodes of syntax trees a second, tokens included, from texts in memory to named nodes in the graph.
figure ingest(work const& asked, language const& grammar) {
  std::vector<std::string> texts;
  for (std::uint64_t i = 0; i < asked.operations; ++i) {
    texts.push_back(scan_c_text(file_bytes, i + 1));
  }
  store_options options;
  options.memory_limit_bytes = std::size_t{8} << 30;
  options.unique_arcs = false;  // none is there twice, so none need be looked for
  auto graph = store::make(options).value();
  auto code = code_graph::over(graph).value();
  std::uint64_t walked = 0;
  std::uint64_t stored = 0;
  auto const store_one = [&](syntax version, std::uint64_t i) {
    walked += version.walked();
    stored += code.put("file" + std::to_string(i) + ".c", std::move(version), 1).value().begun;
  };
  auto const read = [&](std::string& text) {
    return syntax::of(parse(std::move(text), grammar).value(), syntax_detail::tree);
  };
  auto const begin = now_ns();
  if (asked.option("threads", 1) == 1) {
    for (std::uint64_t i = 0; i < texts.size(); ++i) {
      store_one(read(texts[i]), i);
    }
  } else {
    std::atomic<std::uint64_t> next{0};
    std::mutex storing;
    auto const take_turns = [&] {
      for (std::uint64_t i = 0; (i = next.fetch_add(1)) < texts.size();) {
        auto version = read(texts[i]);
        std::lock_guard guard{storing};
        store_one(std::move(version), i);
      }
    };
    std::thread other{take_turns};
    take_turns();
    other.join();
  }
  auto const elapsed = now_ns() - begin;
  verify(stored * 4 > walked && graph.now()->alive() > stored, "nodes are missing in the graph");
  return {"M/s", static_cast<double>(walked) * 1000 / static_cast<double>(elapsed)};
}

constexpr scenario scenarios[] = {
    {"ast_c", [](work const& asked) { return ingest(asked, language::c().value()); }},
    {"ast_cpp", [](work const& asked) { return ingest(asked, language::cpp().value()); }},
};

}  // namespace

int main(int argc, char** argv) { drive(argc, argv, scenarios); }
