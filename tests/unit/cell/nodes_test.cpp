// SPDX-License-Identifier: Apache-2.0
// A runtime planned for a machine that this one is not: two nodes of two cores. Workers of units that do not exist here run
// unbound, which the runtime says once.
#include <string>
#include <vector>

#include "cell_testing.hpp"

using namespace karyon;
using namespace karyon::tests;

namespace {

struct turn {};
struct where {};

/// Sends itself a signal again and again: always runnable.
class spinner : public cell {
public:
  using accepts = signals<turn, where>;
  void on(turn) { self(this).send(turn{}); }
  std::uint32_t on(where) { return stats().node; }
};

/// Starts spinners next to itself, all on one worker.
class seeder : public cell {
public:
  using accepts = signals<turn>;
  std::vector<ref<spinner>> on(turn) {
    std::vector<ref<spinner>> all;
    for (int i = 0; i < 200; ++i) {
      all.push_back(spawn<spinner>());
      all.back().send(turn{});
    }
    return all;
  }
};

topology two_nodes() { return topology::from_synthetic("pack:1 numa:2 l3:1 core:2 pu:1").value(); }

}  // namespace

TEST_CASE("work is given to idle workers of its node, and never to another node") {
  const topology machine = two_nodes();
  runtime_options options = quiet(0);
  options.machine = &machine;
  runtime rt(options);
  REQUIRE(rt.workers() == 4);
  REQUIRE(rt.nodes() == 2);
  // All begin on one worker of node 1, the other of which has nothing to do.
  const std::uint32_t node = 1;
  const auto all = rt.ask(rt.spawn_at<seeder>(placement::on_node(node)), turn{}, long_time).value();
  CHECK(eventually([&] {
    const auto m = rt.metrics();
    return m.given_same_cache + m.given_same_node > 0 && m.turns > 1'000;
  }));
  CHECK(rt.metrics().given_other_node == 0);
  for (std::size_t i = 0; i < all.size(); i += 50) CHECK(rt.ask(all[i], where{}, long_time).value() == node);
  CHECK(rt.shutdown(long_time).complete);
}

TEST_CASE("with steal_across_nodes work is given to idle workers of other nodes as well") {
  const topology machine = topology::from_synthetic("pack:1 numa:2 l3:1 core:1 pu:1").value();
  runtime_options options = quiet(0);
  options.machine = &machine;
  options.scheduler.binding.steal_across_nodes = true;
  runtime rt(options);
  REQUIRE(rt.nodes() == 2);
  // The only other worker is the other node's.
  const auto all = rt.ask(rt.spawn_at<seeder>(placement::on_node(0)), turn{}, long_time).value();
  CHECK(eventually([&] { return rt.metrics().given_other_node > 0; }));
  CHECK(rt.metrics().given_same_node == 0);
  CHECK(rt.shutdown(long_time).complete);
}

TEST_CASE("a machine that refuses a binding still runs, and says so once") {
  std::vector<std::string> said;
  std::mutex mutex;
  const topology machine = two_nodes();
  runtime_options options = quiet(0);
  options.machine = &machine;
  set_log_level(log_level::warn);
  set_log_sink([&](log_level, std::string_view line) {
    const std::lock_guard lock(mutex);
    said.emplace_back(line);
  });
  {
    // Units 2 and 3 may exist where this test runs: then nothing is refused, and nothing said.
    runtime rt(options);
    CHECK(rt.ask(rt.spawn<spinner>(), where{}, long_time).has_value());
  }
  set_log_sink({});
  set_log_level(log_level::off);
  std::size_t refusals = 0;
  for (const auto& line : said) refusals += line.find("unbound") != std::string::npos ? 1 : 0;
  CHECK(refusals <= 1);
  if (topology::detect().value().allowed_units() < 4) CHECK(refusals == 1);
}
