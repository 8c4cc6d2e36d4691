// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <sched.h>

#include <karyon/sched/binding.hpp>

#include "binding_orders.hpp"
#include "machines.hpp"
#include "support/catch.hpp"

using karyon::bind_order;
using karyon::binding_options;
using karyon::binding_plan;
using karyon::distance;
using karyon::errc;
using karyon::make_binding_plan;
using karyon::processing_unit;
using karyon::topology;
using karyon::tests::code_of;
using karyon::tests::data;
using karyon::tests::shapes;

namespace {

using binding_orders::expected_orders;
using binding_orders::unit_list;

const std::vector<bind_order> bound_orders = {
    bind_order::no_spread,
    bind_order::thread_spread,
    bind_order::processor_spread,
    bind_order::spread,
    bind_order::no_node_thread_spread,
    bind_order::no_node_processor_spread,
    bind_order::thread_no_node_processor_spread,
};

// A machine unit by unit, each unit's place computed from its number. Cores are numbered within their package.
topology by_number(std::uint32_t units, std::uint32_t nodes,
                   const std::function<processing_unit(std::uint32_t)>& place) {
  std::vector<processing_unit> list;
  for (std::uint32_t i = 0; i < units; ++i) {
    list.push_back(place(i));
    list.back().os_index = i;
  }
  std::vector<karyon::numa_node> node_list(nodes);
  for (std::uint32_t n = 0; n < nodes; ++n) node_list[n] = {.os_index = n, .memory_bytes = 1};
  return topology::from_units(list, node_list).value();
}

// Blocks of eight units: a node of two packages, or a package of two nodes, in turn.
topology mixed(bool node_first) {
  return by_number(32, 6, [node_first](std::uint32_t i) {
    const std::uint32_t block = i / 8;
    const std::uint32_t half = i % 8 / 4;
    const bool node_is_outer = (block % 2 == 0) == node_first;
    processing_unit unit;
    unit.core = node_is_outer ? i / 2 % 2 : i / 2 % 4;
    // Each pair of blocks has three nodes and three packages.
    const std::uint32_t before = block / 2 * 3 + (block % 2 == 0 ? 0 : node_is_outer ? 2U : 1U);
    const std::uint32_t others_before = block / 2 * 3 + (block % 2 == 0 ? 0 : node_is_outer ? 1U : 2U);
    unit.node = before + (node_is_outer ? 0 : half);
    unit.package = others_before + (node_is_outer ? half : 0);
    return unit;
  });
}

unit_list bound_units(const binding_plan& plan) {
  unit_list units;
  for (const auto& worker : plan.workers) units.push_back(worker.unit_os_index.value());
  return units;
}

binding_plan every_thread(const topology& machine, bind_order order) {
  return make_binding_plan(machine, {.use_hardware_threads = true, .order = order}).value();
}

void check_orders(const topology& machine, const expected_orders& expected) {
  REQUIRE(expected.size() == bound_orders.size());
  for (const auto& [order, units] : expected) {
    INFO(to_string(order));
    CHECK(bound_units(every_thread(machine, order)) == units);
  }
}

const processing_unit& unit_numbered(const topology& machine, std::uint32_t os_index) {
  const auto& units = machine.units();
  return *std::find_if(units.begin(), units.end(), [&](const auto& u) { return u.os_index == os_index; });
}

// How many different things of one kind the first `count` workers are on.
std::size_t different(const topology& machine, const binding_plan& plan, std::size_t count,
                      std::uint32_t processing_unit::*kind) {
  std::set<std::uint32_t> seen;
  for (std::size_t w = 0; w < count; ++w) seen.insert(unit_numbered(machine, *plan.workers[w].unit_os_index).*kind);
  return seen.size();
}

// What holds for every plan whatever its options.
void check_plan(const topology& machine, const binding_plan& plan, bool across_nodes) {
  const auto count = plan.workers.size();
  REQUIRE(count > 0);
  std::vector<int> times_listed(count);
  for (std::uint32_t n = 0; n < plan.nodes.size(); ++n) {
    CHECK_FALSE(plan.nodes[n].workers.empty());
    CHECK(std::is_sorted(plan.nodes[n].workers.begin(), plan.nodes[n].workers.end()));
    for (auto w : plan.nodes[n].workers) {
      ++times_listed.at(w);
      CHECK(plan.workers.at(w).node == n);
    }
  }
  CHECK(times_listed == std::vector<int>(count, 1));

  bool stealing_holds = true;
  for (std::uint32_t self = 0; self < count; ++self) {
    const auto& worker = plan.workers[self];
    const auto& own = plan.nodes[worker.node].workers;
    auto victims = worker.steal_order;
    std::sort(victims.begin(), victims.end());
    unit_list expected;
    std::copy_if(own.begin(), own.end(), std::back_inserter(expected), [&](auto w) { return w != self; });
    stealing_holds = stealing_holds && victims == expected;
    stealing_holds = stealing_holds && worker.steal_remote.size() == (across_nodes ? count - own.size() : 0);
    for (auto w : worker.steal_remote) stealing_holds = stealing_holds && plan.workers.at(w).node != worker.node;
    for (std::size_t i = 0; i < worker.steal_order.size(); ++i) {
      const auto& other = plan.workers[worker.steal_order[i]];
      stealing_holds = stealing_holds && (other.cache_group == worker.cache_group) == (i < worker.steal_same_cache);
    }
  }
  CHECK(stealing_holds);
  for (const auto& worker : plan.workers) {
    if (!worker.unit_os_index) continue;
    const auto& unit = unit_numbered(machine, *worker.unit_os_index);
    CHECK(unit.allowed);
    CHECK(unit.core == worker.core);
    CHECK(unit.cache_group == worker.cache_group);
    CHECK(machine.nodes()[unit.node].os_index == plan.nodes[worker.node].os_index);
  }
}

}  // namespace

TEST_CASE("nodes that hold packages are bound in Erlang's orders") {
  const auto machine = by_number(
      16, 2, [](std::uint32_t i) { return processing_unit{.core = i / 2 % 2, .package = i / 4, .node = i / 8}; });
  check_orders(machine, binding_orders::two_nodes_of_two_packages);
  check_orders(topology::from_synthetic("numa:2 pack:2 core:2 pu:2").value(),
               binding_orders::two_nodes_of_two_packages);
}

TEST_CASE("packages that hold nodes are bound in Erlang's orders") {
  const auto machine = by_number(
      16, 4, [](std::uint32_t i) { return processing_unit{.core = i / 2 % 4, .package = i / 8, .node = i / 4}; });
  check_orders(machine, binding_orders::two_packages_of_two_nodes);
  check_orders(topology::from_synthetic("pack:2 numa:2 core:2 pu:2").value(),
               binding_orders::two_packages_of_two_nodes);
}

TEST_CASE("nodes that are packages are bound in Erlang's orders") {
  const auto machine = by_number(
      16, 2, [](std::uint32_t i) { return processing_unit{.core = i / 2 % 4, .package = i / 8, .node = i / 8}; });
  check_orders(machine, binding_orders::two_nodes_of_one_package);
  check_orders(topology::from_synthetic("pack:2 [numa] core:4 pu:2").value(), binding_orders::two_nodes_of_one_package);
}

TEST_CASE("one package of four nodes is bound in Erlang's orders") {
  const auto machine = by_number(32, 4, [](std::uint32_t i) { return processing_unit{.core = i / 2, .node = i / 8}; });
  check_orders(machine, binding_orders::one_package_of_four_nodes);
  check_orders(topology::from_synthetic("pack:1 numa:4 core:4 pu:2").value(),
               binding_orders::one_package_of_four_nodes);
}

TEST_CASE("a machine of mixed nesting is bound in Erlang's orders") {
  check_orders(mixed(true), binding_orders::mixed_node_first);
  check_orders(mixed(false), binding_orders::mixed_package_first);
  const auto two_runs = by_number(6, 5, [](std::uint32_t i) {
    return processing_unit{.core = i, .package = i < 4 ? i / 2 : i - 2, .node = std::min(i, 4U)};
  });
  check_orders(two_runs, binding_orders::two_runs);
}

TEST_CASE("a machine with uneven packages or uneven hardware threads is bound in Erlang's orders") {
  check_orders(by_number(4, 1, [](std::uint32_t i) { return processing_unit{.core = i, .package = i / 3}; }),
               binding_orders::uneven_packages);
  const auto unit = [](std::uint32_t os_index, std::uint32_t core, std::uint32_t package) {
    return processing_unit{.os_index = os_index, .core = core, .package = package};
  };
  check_orders(topology::from_units(
                   {unit(0, 0, 0), unit(4, 0, 0), unit(1, 1, 0), unit(5, 1, 0), unit(2, 0, 1), unit(3, 1, 1)}, {})
                   .value(),
               binding_orders::uneven_threads);
}

TEST_CASE("binding orders are read by their long names and by the letters of +sbt") {
  const std::map<std::string, bind_order> letters = {
      {"u", bind_order::unbound},
      {"ns", bind_order::no_spread},
      {"ts", bind_order::thread_spread},
      {"ps", bind_order::processor_spread},
      {"s", bind_order::spread},
      {"nnts", bind_order::no_node_thread_spread},
      {"nnps", bind_order::no_node_processor_spread},
      {"tnnps", bind_order::thread_no_node_processor_spread},
      {"db", bind_order::thread_no_node_processor_spread},
      {"default_bind", bind_order::thread_no_node_processor_spread},
  };
  for (const auto& [text, order] : letters) {
    CHECK(karyon::parse_bind_order(text).value() == order);
    CHECK(karyon::parse_bind_order(to_string(order)).value() == order);
  }
  CHECK(std::string(to_string(bind_order::default_bind)) == "thread_no_node_processor_spread");
  for (const char* wrong : {"", "x", "Spread", "spread ", "tnnp"}) {
    const auto refused = karyon::parse_bind_order(wrong);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code() == errc::invalid_argument);
    CHECK(refused.error().message().find("no_node_thread_spread (nnts)") != std::string::npos);
  }
}

TEST_CASE("a 64-core machine gets 64 workers, each on the first thread of its own core") {
  for (const auto& machine : {topology::from_synthetic("pack:1 numa:4 l3:2 core:8 pu:2").value(),
                              topology::from_xml(data / "epyc_nps4.xml").value()}) {
    const auto plan = make_binding_plan(machine).value();
    REQUIRE(plan.workers.size() == 64);
    CHECK(plan.order == bind_order::thread_no_node_processor_spread);
    check_plan(machine, plan, false);
    CHECK(different(machine, plan, 64, &processing_unit::core) == 64);
    REQUIRE(plan.nodes.size() == 4);
    for (std::uint32_t w = 0; w < 64; ++w) {
      CHECK(plan.workers[w].node == w / 16);
      CHECK(plan.workers[w].cache_group == w / 8);
      CHECK(unit_numbered(machine, *plan.workers[w].unit_os_index).thread == 0);
      CHECK(plan.workers[w].steal_order.size() == 15);
      CHECK(plan.workers[w].steal_same_cache == 7);
      CHECK(plan.workers[w].steal_remote.empty());
    }
    for (const auto& node : plan.nodes) CHECK(node.memory_os_index == node.os_index);
  }
}

TEST_CASE("with its hardware threads a 64-core machine gets 128 workers, and siblings steal from each other first") {
  const auto machine = topology::from_xml(data / "epyc_nps4.xml").value();
  const auto plan = every_thread(machine, bind_order::default_bind);
  REQUIRE(plan.workers.size() == 128);
  check_plan(machine, plan, false);
  for (std::uint32_t w = 0; w < 128; ++w) {
    CHECK(plan.workers[w].unit_os_index == w);  // Linux numbers the second threads after all first ones, as tnnps does.
    CHECK(plan.workers[w].steal_order.front() == (w + 64) % 128);
    CHECK(plan.workers[w].steal_same_cache == 15);
  }
}

TEST_CASE("a machine of two sockets with 28 cores each gets 28 workers a node, alternating only when told to") {
  const auto machine = topology::from_synthetic("pack:2 [numa] l3:1 core:28 pu:2").value();
  const auto plan = make_binding_plan(machine).value();
  REQUIRE(plan.workers.size() == 56);
  check_plan(machine, plan, false);
  REQUIRE(plan.nodes.size() == 2);
  CHECK(plan.nodes[0].workers.size() == 28);
  CHECK(plan.nodes[0].workers.back() == 27);
  const auto spread = make_binding_plan(machine, {.order = bind_order::spread}).value();
  for (std::uint32_t w = 0; w < 56; ++w) CHECK(spread.workers[w].node == w % 2);
}

TEST_CASE("a worker steals from the nearest first, and among equals from those after itself") {
  const auto machine = topology::from_synthetic("pack:2 [numa] l3:2 core:2 pu:1").value();
  const auto plan = make_binding_plan(machine, {.steal_across_nodes = true}).value();
  REQUIRE(plan.workers.size() == 8);
  CHECK(plan.workers[1].steal_order == unit_list{0, 2, 3});
  CHECK(plan.workers[1].steal_same_cache == 1);
  CHECK(plan.workers[1].steal_remote == unit_list{4, 5, 6, 7});
  CHECK(plan.workers[6].steal_order == unit_list{7, 4, 5});
  CHECK(plan.workers[6].steal_remote == unit_list{0, 1, 2, 3});
  CHECK(make_binding_plan(machine).value().workers[1].steal_remote.empty());
}

TEST_CASE("a container gets one worker for each core that it may use, and never leaves its units") {
  const auto machine = topology::from_xml(data / "container_allowed.xml").value();
  for (auto order : bound_orders) {
    INFO(to_string(order));
    const auto plan = make_binding_plan(machine, {.order = order}).value();
    CHECK(plan.workers.size() == 7);
    CHECK(different(machine, plan, 7, &processing_unit::core) == 7);
    check_plan(machine, plan, false);
  }
  // Core 4 has only its second thread left (20), which then counts as its first.
  CHECK(bound_units(make_binding_plan(machine).value()) == unit_list{1, 2, 3, 20, 9, 10, 11});
  CHECK(bound_units(every_thread(machine, bind_order::default_bind)) == unit_list{1, 2, 3, 20, 9, 10, 11, 17, 18});
}

TEST_CASE("a restricted machine is planned the same whether the units that it lost are listed or not") {
  const auto listed = topology::from_xml(data / "container_allowed.xml").value();
  const auto lost = topology::from_xml(data / "container_restricted.xml").value();
  for (auto order : bound_orders)
    for (bool threads : {false, true}) {
      const binding_options options{.use_hardware_threads = threads, .order = order};
      const auto a = make_binding_plan(listed, options).value();
      const auto b = make_binding_plan(lost, options).value();
      CHECK(bound_units(a) == bound_units(b));
      for (std::size_t w = 0; w < a.workers.size(); ++w) CHECK(a.workers[w].steal_order == b.workers[w].steal_order);
    }
}

TEST_CASE("in every shape and order each unit has one worker before any has two") {
  for (const auto& shape : shapes) {
    const auto machine = topology::from_synthetic(shape).value();
    const auto units = static_cast<std::uint32_t>(machine.units().size());
    const auto cores = static_cast<std::uint32_t>(machine.cores());
    for (auto order : bound_orders)
      for (bool threads : {false, true})
        for (std::uint32_t workers : {std::uint32_t{1}, cores, cores + 1, units, units + 1, 2 * units + 3}) {
          INFO(shape << ", " << to_string(order) << ", threads " << threads << ", workers " << workers);
          const auto plan =
              make_binding_plan(machine, {.workers = workers, .use_hardware_threads = threads, .order = order}).value();
          REQUIRE(plan.workers.size() == workers);
          CHECK(different(machine, plan, workers, &processing_unit::os_index) == std::min(workers, units));
          if (!threads) CHECK(different(machine, plan, workers, &processing_unit::core) == std::min(workers, cores));
          for (std::uint32_t w = units; w < workers; ++w)
            CHECK(plan.workers[w].unit_os_index == plan.workers[w - units].unit_os_index);
        }
  }
}

TEST_CASE("every plan is consistent in every shape, order and stealing option") {
  for (const auto& shape : shapes) {
    const auto machine = topology::from_synthetic(shape).value();
    for (auto order : bound_orders)
      for (bool across : {false, true})
        for (std::uint32_t workers : {0U, 1U, 5U}) {
          INFO(shape << ", " << to_string(order) << ", across " << across << ", workers " << workers);
          const auto plan =
              make_binding_plan(machine, {.workers = workers, .order = order, .steal_across_nodes = across}).value();
          check_plan(machine, plan, across);
        }
  }
}

TEST_CASE("spread takes a new node with each of the first workers, and no_spread leaves none half used") {
  for (const auto& shape : shapes) {
    INFO(shape);
    const auto machine = topology::from_synthetic(shape).value();
    std::size_t inhabited = 0;
    for (const auto& node : machine.nodes()) inhabited += node.units > 0 ? 1U : 0U;
    const auto spread = every_thread(machine, bind_order::spread);
    CHECK(different(machine, spread, inhabited, &processing_unit::node) == inhabited);
    if (machine.nodes().size() == 1)
      CHECK(different(machine, spread, machine.packages(), &processing_unit::package) == machine.packages());
    for (auto order :
         {bind_order::no_spread, bind_order::no_node_thread_spread, bind_order::no_node_processor_spread}) {
      const auto packed = every_thread(machine, order);
      std::uint32_t changes = 0;
      for (std::size_t w = 1; w < packed.workers.size(); ++w)
        changes += packed.workers[w].node != packed.workers[w - 1].node ? 1U : 0U;
      CHECK(changes + 1 == inhabited);
    }
    for (auto order : {bind_order::thread_spread, bind_order::processor_spread, bind_order::spread,
                       bind_order::thread_no_node_processor_spread})
      CHECK(different(machine, every_thread(machine, order), machine.cores(), &processing_unit::core) ==
            machine.cores());
  }
}

TEST_CASE("a plan keeps to the nodes that were asked for") {
  const auto machine = topology::from_synthetic("pack:1 numa:4 l3:2 core:8 pu:2").value();
  const auto plan = make_binding_plan(machine, {.nodes = {3, 1, 3}}).value();
  CHECK(plan.workers.size() == 32);
  check_plan(machine, plan, false);
  REQUIRE(plan.nodes.size() == 2);
  CHECK(plan.nodes[0].os_index == 1);
  CHECK(plan.nodes[1].os_index == 3);
  CHECK(code_of(make_binding_plan(machine, {.nodes = {4}})) == errc::invalid_argument);
}

TEST_CASE("a node without processors gets no worker and can not be asked for alone") {
  const auto machine = topology::from_xml(data / "memory_expander.xml").value();
  const auto plan = make_binding_plan(machine).value();
  CHECK(plan.workers.size() == 4);
  CHECK(plan.nodes.size() == 2);
  check_plan(machine, plan, false);
  CHECK(code_of(make_binding_plan(machine, {.nodes = {2}})) == errc::unsupported);
  CHECK(make_binding_plan(machine, {.nodes = {2, 0}}).value().nodes.size() == 1);
}

TEST_CASE("workers of a node without memory take it from a neighbour") {
  const auto machine = by_number(2, 2, [](std::uint32_t i) { return processing_unit{.core = i, .node = i}; });
  auto nodes = machine.nodes();
  nodes[0].memory_bytes = 0;
  const auto plan = make_binding_plan(topology::from_units(machine.units(), nodes).value()).value();
  REQUIRE(plan.nodes.size() == 2);
  CHECK(plan.nodes[0].os_index == 0);
  CHECK(plan.nodes[0].memory_os_index == 1U);
  CHECK(plan.nodes[1].memory_os_index == 1U);
}

TEST_CASE("a machine of one unit has one worker, one node and nobody to steal from") {
  const auto machine = topology::from_synthetic("pu:1").value();
  const auto plan = make_binding_plan(machine).value();
  REQUIRE(plan.workers.size() == 1);
  CHECK(plan.workers[0].steal_order.empty());
  REQUIRE(plan.nodes.size() == 1);
  CHECK_FALSE(plan.nodes[0].memory_os_index.has_value());
  const auto three = make_binding_plan(machine, {.workers = 3}).value();
  CHECK(bound_units(three) == unit_list{0, 0, 0});
  CHECK(three.workers[1].steal_order == unit_list{2, 0});
  CHECK(three.workers[1].steal_same_cache == 2);
}

TEST_CASE("an unbound plan has one node in which everybody is near") {
  const auto machine = topology::from_synthetic("pack:1 numa:4 l3:2 core:8 pu:2").value();
  const auto plan = make_binding_plan(machine, {.order = bind_order::unbound}).value();
  CHECK(plan.workers.size() == 64);
  REQUIRE(plan.nodes.size() == 1);
  CHECK_FALSE(plan.nodes[0].memory_os_index.has_value());
  check_plan(machine, plan, false);
  for (const auto& worker : plan.workers) {
    CHECK_FALSE(worker.unit_os_index.has_value());
    CHECK(worker.steal_same_cache == 63);
  }
}

TEST_CASE("an absurd number of workers is refused") {
  const auto machine = topology::from_synthetic("pu:2").value();
  CHECK(make_binding_plan(machine, {.workers = karyon::workers_max}).value().workers.size() == karyon::workers_max);
  CHECK(code_of(make_binding_plan(machine, {.workers = karyon::workers_max + 1})) == errc::invalid_argument);
  CHECK(code_of(make_binding_plan(machine, {.workers = ~std::uint32_t{0}})) == errc::invalid_argument);
}

TEST_CASE("a thread bound by this machine's plan runs there and no other thread moves, or the refusal says why") {
  const auto plan = make_binding_plan(topology::detect().value(), {.use_hardware_threads = true}).value();
  cpu_set_t others_before;
  REQUIRE(::sched_getaffinity(0, sizeof others_before, &others_before) == 0);
  for (const auto& worker : plan.workers) {
    karyon::result<void> bound;
    cpu_set_t mask;
    CPU_ZERO(&mask);
    std::thread([&] {
      bound = karyon::bind_current_thread(worker);
      REQUIRE(::sched_getaffinity(0, sizeof mask, &mask) == 0);
    }).join();
    cpu_set_t others;
    REQUIRE(::sched_getaffinity(0, sizeof others, &others) == 0);
    CHECK(CPU_EQUAL(&others, &others_before));
    if (bound.has_value()) {
      CHECK(CPU_COUNT(&mask) == 1);
      CHECK(CPU_ISSET(*worker.unit_os_index, &mask));
    } else {
      WARN(bound.error().message());
      CHECK((bound.error().code() == errc::refused || bound.error().code() == errc::unsupported));
      CHECK_FALSE(bound.error().message().empty());
    }
  }
}

TEST_CASE("binding to a unit that this machine does not have is refused, and the thread stays where it was") {
  karyon::worker_binding nowhere;
  for (std::uint32_t absent : {4095U, 1U << 20U, ~std::uint32_t{0}}) {
    nowhere.unit_os_index = absent;
    cpu_set_t before;
    cpu_set_t after;
    REQUIRE(::sched_getaffinity(0, sizeof before, &before) == 0);
    const auto bound = karyon::bind_current_thread(nowhere);
    REQUIRE(::sched_getaffinity(0, sizeof after, &after) == 0);
    REQUIRE_FALSE(bound.has_value());
    CHECK(bound.error().code() == errc::refused);
    CHECK(bound.error().message().find("has no such unit") != std::string::npos);
    CHECK(CPU_EQUAL(&before, &after));
  }
}

TEST_CASE("a worker without a unit is left where it is") {
  cpu_set_t before;
  cpu_set_t after;
  REQUIRE(::sched_getaffinity(0, sizeof before, &before) == 0);
  CHECK(karyon::bind_current_thread(karyon::worker_binding{}).has_value());
  REQUIRE(::sched_getaffinity(0, sizeof after, &after) == 0);
  CHECK(CPU_EQUAL(&before, &after));
}

// Run by ctest with HWLOC_SYNTHETIC set; hidden otherwise, since this machine's view is made once in a process.
TEST_CASE("a machine that the environment pretends is planned for, but not bound to", "[.pretended]") {
  const auto machine = topology::detect().value();
  REQUIRE(machine.units().size() == 2);
  REQUIRE(machine.units()[1].os_index == 3000);
  const auto plan = make_binding_plan(machine, {.order = bind_order::no_spread}).value();
  const auto bound = karyon::bind_current_thread(plan.workers.back());
  REQUIRE_FALSE(bound.has_value());
  CHECK(bound.error().code() == errc::unsupported);
  CHECK(bound.error().message().find("pretends") != std::string::npos);
}
