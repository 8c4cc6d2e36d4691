// SPDX-License-Identifier: Apache-2.0
//
// The part of the suite `rhizome` that reads programs: text to syntax tree to the vertices and arcs of a store. OPERATIONS is how
// many files of 64 KiB are read. threads=2 parses on one thread and writes the graph on another; threads=1 does all on one.

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>

#include "harness/driver.hpp"
#include "suites/scan_input.hpp"
#include "text/code_graph.hpp"

namespace {

using namespace karyon::bench;
using namespace rhizome;

constexpr std::size_t file_bytes = 64 * 1024;

/// A few trees between the thread that makes them and the one that stores them.
class handover {
public:
  void put(std::optional<syntax> one) {
    std::unique_lock guard{lock_};
    changed_.wait(guard, [&] { return waiting_.size() < 4; });
    waiting_.push_back(std::move(one));
    changed_.notify_all();
  }
  std::optional<syntax> take() {
    std::unique_lock guard{lock_};
    changed_.wait(guard, [&] { return !waiting_.empty(); });
    auto one = std::move(waiting_.front());
    waiting_.pop_front();
    changed_.notify_all();
    return one;
  }

private:
  std::mutex lock_;
  std::condition_variable changed_;
  std::deque<std::optional<syntax>> waiting_;
};

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
    handover between;
    std::thread reader{[&] {
      for (auto& text : texts) {
        between.put(read(text));
      }
      between.put(std::nullopt);
    }};
    std::uint64_t i = 0;
    while (auto one = between.take()) {
      store_one(std::move(*one), i++);
    }
    reader.join();
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
