// SPDX-License-Identifier: Apache-2.0
//
// The part of the suite `rhizome` that reads programs: text to syntax tree to the vertices and arcs of a store. OPERATIONS is how
// many files of 64 KiB are read. threads=2: two threads each parse one file after the other, and take turns to write the graph, as cells that
// call the engine do; threads=1 does all on one. only=1 stops when the trees are there, and is the limit: nothing but the parser runs. only=2
// stops when they lie flat.

#include <atomic>
#include <mutex>
#include <optional>

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
  constexpr std::uint64_t parse_only = 1;
  constexpr std::uint64_t parse_and_flatten = 2;
  auto const only = asked.option("only", 0);
  std::atomic<std::uint64_t> walked = 0;
  std::uint64_t stored = 0;
  auto const store_one = [&](syntax version, std::uint64_t i) {
    stored += code.put("file" + std::to_string(i) + ".c", std::move(version), 1).value().begun;
  };
  auto const read_one = [&](std::uint64_t i, auto&& store) {
    auto tree = std::make_optional(parse(std::move(texts[i]), grammar).value());
    if (only == parse_only) {
      return;
    }
    auto version = syntax::of(*tree, syntax_detail::tree);
    tree.reset();
    walked += version.walked();
    if (only != parse_and_flatten) {
      store(std::move(version), i);
    }
  };
  // How many nodes there are, where they are not walked within the time.
  if (only == parse_only) {
    for (auto const& text : texts) {
      walked += syntax::of(parse(text, grammar).value(), syntax_detail::tree).walked();
    }
  }
  auto const begin = now_ns();
  if (asked.option("threads", 1) == 1) {
    for (std::uint64_t i = 0; i < texts.size(); ++i) {
      read_one(i, store_one);
    }
  } else {
    std::atomic<std::uint64_t> next{0};
    std::mutex storing;
    auto const take_turns = [&] {
      for (std::uint64_t i = 0; (i = next.fetch_add(1)) < texts.size();) {
        read_one(i, [&](syntax version, std::uint64_t file) {
          std::lock_guard guard{storing};
          store_one(std::move(version), file);
        });
      }
    };
    std::thread other{take_turns};
    take_turns();
    other.join();
  }
  auto const elapsed = now_ns() - begin;
  verify(only != 0 || (stored * 4 > walked && graph.now()->alive() > stored), "nodes are missing in the graph");
  return {"M/s", static_cast<double>(walked) * 1000 / static_cast<double>(elapsed)};
}

constexpr scenario scenarios[] = {
    {"ast_c", [](work const& asked) { return ingest(asked, language::c().value()); }},
    {"ast_cpp", [](work const& asked) { return ingest(asked, language::cpp().value()); }},
};

}  // namespace

int main(int argc, char** argv) { drive(argc, argv, scenarios); }
