#include <filesystem>

#include "support/log_capture.hpp"
#include "support/temporary_tree.hpp"
#include "unit/nerve/nerve_testing.hpp"
#include "unit/nerve/node_cells.hpp"

using namespace nerve_tests;
using karyon::node_options;
using karyon::send_result;
using karyon::tests::adds_up;
using karyon::tests::caught_up;
using karyon::tests::diary;
using karyon::tests::eventually;
using karyon::tests::long_time;
using karyon::tests::watch;
using karyon::tests::watcher;

TEST_CASE("two nodes speak by ZeroMQ: found, told, asked, monitored, lost") {
  const karyon::tests::temporary_tree folder;
  const std::string at_a = "ipc://" + folder.path("a") + "/node";
  const std::string at_b = "ipc://" + folder.path("b") + "/node";
  karyon::runtime rt_a(karyon::tests::quiet());
  karyon::runtime rt_b(karyon::tests::quiet());
  node_options for_b{.name = "b"};
  for_b.synapse.listen = {at_b};
  node_options for_a{.name = "a"};
  for_a.synapse.listen = {at_a};
  for_a.synapse.peers = {{at_b, ""}};

  auto b = std::make_unique<karyon::node>(rt_b, for_b);
  b->publish("counter", rt_b.spawn<counter>());
  karyon::node a(rt_a, for_a);
  CHECK(a.endpoints() == std::vector<std::string>{at_a});
  REQUIRE(a.wait_connected("b", long_time));
  const auto c = a.find<counter>("b", "counter", long_time).value();
  for (int i = 0; i < 1000; ++i) REQUIRE(c.send(add{1}) == send_result::accepted);
  CHECK(rt_a.ask(c, total{}, long_time).value() == 1000);

  diary d;
  const auto w = rt_a.spawn<watcher>(d);
  CHECK(w.send(watch{c.get()}) == send_result::accepted);
  CHECK(rt_a.ask(w, caught_up{}, long_time).value());
  b.reset();
  REQUIRE(d.has(1));
  CHECK(d.lines().front().starts_with("down: node_down"));
  CHECK(eventually([&] { return c.send(add{1}) == send_result::peer_down; }));
  CHECK(adds_up(a.stats()));
}

TEST_CASE("the log names two nodes that have one name, and what to do") {
  const karyon::tests::temporary_tree folder;
  const auto options_at = [&](const char* place) {
    node_options o{.name = "twin"};
    o.synapse.listen = {"ipc://" + folder.path(place) + "/node"};
    return o;
  };
  karyon::runtime rt(karyon::tests::quiet());
  karyon::runtime other_rt(karyon::tests::quiet());
  const karyon::tests::log_capture log;
  const karyon::node one(rt, options_at("one"));
  node_options calls = options_at("other");
  calls.synapse.peers = {{options_at("one").synapse.listen.front(), ""}};
  const karyon::node other(other_rt, calls);
  REQUIRE(eventually([&] { return !log.with("\"twin\"").empty(); }));
  const std::string line = log.with("\"twin\"").front();
  CHECK(line.find(folder.path("one")) != std::string::npos);
  CHECK(line.find(folder.path("other")) != std::string::npos);
  CHECK(line.find("node_options::name") != std::string::npos);
}

TEST_CASE("a node that can not listen where it is told to says why") {
  karyon::runtime rt(karyon::tests::quiet(1));
  node_options o{.name = "a"};
  o.synapse.listen = {"nonsense"};
  CHECK_THROWS_AS(karyon::node(rt, o), karyon::runtime_error);
  CHECK_THROWS_AS(karyon::node(rt, {}), karyon::runtime_error);
}
