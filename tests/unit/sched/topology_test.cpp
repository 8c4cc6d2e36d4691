// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include <sched.h>
#include <unistd.h>

#include <karyon/sched/topology.hpp>

#include "machines.hpp"
#include "support/catch.hpp"

using karyon::distance;
using karyon::errc;
using karyon::topology;
using karyon::tests::code_of;
using karyon::tests::data;
using karyon::tests::shapes;

// hwloc 2.9 forgets the objects that it had read from an XML file which ends early. A topology that we forget still
// shows, by its outermost allocation.
extern "C" __attribute__((visibility("default"))) const char* __lsan_default_suppressions();
extern "C" __attribute__((visibility("default"))) const char* __lsan_default_suppressions() {
  return "leak:hwloc_alloc_setup_object\n";
}

namespace {

class temporary_file {
public:
  explicit temporary_file(const std::string& content)
      : path_(std::filesystem::temp_directory_path() / ("karyon_topology_" + std::to_string(::getpid()) + ".xml")) {
    std::ofstream(path_) << content;
  }
  ~temporary_file() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  temporary_file(const temporary_file&) = delete;
  temporary_file& operator=(const temporary_file&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

private:
  std::filesystem::path path_;
};

std::set<std::uint32_t> allowed_os_indices(const topology& machine) {
  std::set<std::uint32_t> found;
  for (const auto& unit : machine.units())
    if (unit.allowed) found.insert(unit.os_index);
  return found;
}

}  // namespace

TEST_CASE("a 64-core machine with 4 nodes and 8 last-level caches is read as such") {
  const auto machine = topology::from_synthetic("pack:1 numa:4 l3:2 core:8 pu:2").value();
  CHECK(machine.units().size() == 128);
  CHECK(machine.cores() == 64);
  CHECK(machine.cache_groups() == 8);
  CHECK(machine.nodes().size() == 4);
  CHECK(machine.packages() == 1);
  for (const auto& node : machine.nodes()) CHECK(node.units == 32);
  CHECK(machine.describe() == "1 package, 4 nodes, 8 last-level caches, 64 cores, 128 hardware threads");
}

TEST_CASE("the same machine from XML keeps the system's numbering, in which siblings are 64 apart") {
  const auto machine = topology::from_xml(data / "epyc_nps4.xml").value();
  REQUIRE(machine.units().size() == 128);
  CHECK(machine.units()[0].os_index == 0);
  CHECK(machine.units()[1].os_index == 64);
  CHECK(machine.units()[0].core == machine.units()[1].core);
  CHECK(machine.units()[1].thread == 1);
  CHECK(machine.units()[127].os_index == 127);
  CHECK(machine.cores() == 64);
  CHECK(machine.cache_groups() == 8);
  CHECK(machine.nodes().size() == 4);
}

TEST_CASE("distance is by the nearest thing that two units share") {
  const auto machine = topology::from_synthetic("pack:1 numa:4 l3:2 core:8 pu:2").value();
  CHECK(machine.between(0, 0) == distance::same_unit);
  CHECK(machine.between(0, 1) == distance::same_core);
  CHECK(machine.between(0, 2) == distance::same_cache);
  CHECK(machine.between(0, 15) == distance::same_cache);
  CHECK(machine.between(0, 16) == distance::same_node);
  CHECK(machine.between(31, 0) == distance::same_node);
  CHECK(machine.between(0, 32) == distance::other_node);
  CHECK(machine.between(127, 0) == distance::other_node);
}

TEST_CASE("in every shape the numbers are dense, distance is symmetric and the counts agree") {
  for (const auto& shape : shapes) {
    INFO(shape);
    const auto machine = topology::from_synthetic(shape).value();
    std::set<std::uint32_t> cores;
    std::set<std::uint32_t> packages;
    std::set<std::uint32_t> caches;
    std::vector<std::uint32_t> per_node(machine.nodes().size());
    for (const auto& unit : machine.units()) {
      cores.insert(unit.core);
      packages.insert(unit.package);
      caches.insert(unit.cache_group);
      ++per_node.at(unit.node);
    }
    CHECK(cores.size() == machine.cores());
    CHECK(*cores.rbegin() + 1 == machine.cores());
    CHECK(*packages.rbegin() + 1 == machine.packages());
    CHECK(*caches.rbegin() + 1 == machine.cache_groups());
    for (std::size_t n = 0; n < per_node.size(); ++n) CHECK(machine.nodes()[n].units == per_node[n]);
    CHECK(machine.allowed_units() == machine.units().size());
    CHECK(machine.allowed_cores() == machine.cores());
    bool symmetric = true;
    bool layered = true;
    for (std::size_t a = 0; a < machine.units().size(); ++a)
      for (std::size_t b = 0; b < machine.units().size(); ++b) {
        symmetric = symmetric && machine.between(a, b) == machine.between(b, a);
        const bool together = machine.units()[a].node == machine.units()[b].node;
        layered = layered && together == (machine.between(a, b) < distance::other_node);
      }
    CHECK(symmetric);
    CHECK(layered);
  }
}

TEST_CASE("a machine that tells no caches counts one a package") {
  const auto machine = topology::from_synthetic("pack:2 core:3 pu:2").value();
  CHECK(machine.cache_groups() == 2);
  CHECK(machine.nodes().size() == 1);
  CHECK(machine.between(0, 2) == distance::same_cache);
  CHECK(machine.between(0, 6) == distance::same_node);
}

TEST_CASE("a machine that tells no cores has one a unit") {
  const auto machine = topology::from_synthetic("pu:3").value();
  CHECK(machine.cores() == 3);
  CHECK(machine.packages() == 1);
  for (const auto& unit : machine.units()) CHECK(unit.thread == 0);
}

TEST_CASE("a last-level cache that spans two nodes does not make them near") {
  const auto machine = topology::from_synthetic("pack:1 l3:1 numa:2 core:2 pu:1").value();
  REQUIRE(machine.nodes().size() == 2);
  CHECK(machine.cache_groups() == 2);
  CHECK(machine.between(0, 1) == distance::same_cache);
  CHECK(machine.between(0, 2) == distance::other_node);
}

TEST_CASE("caches of different levels are not taken for one, though both are the first of their level") {
  const auto machine = topology::from_xml(data / "uneven_caches.xml").value();
  REQUIRE(machine.units().size() == 4);
  CHECK(machine.cache_groups() == 2);
  CHECK(machine.between(0, 1) == distance::same_cache);
  CHECK(machine.between(1, 2) == distance::same_node);
  CHECK(machine.between(2, 3) == distance::same_cache);
}

TEST_CASE("units that a container may not use are listed as not allowed") {
  const auto machine = topology::from_xml(data / "container_allowed.xml").value();
  CHECK(machine.units().size() == 32);
  CHECK(machine.allowed_units() == 9);
  CHECK(machine.cores() == 16);
  CHECK(machine.allowed_cores() == 7);
  CHECK(allowed_os_indices(machine) == std::set<std::uint32_t>{1, 2, 3, 9, 10, 11, 17, 18, 20});
  CHECK(machine.describe() == "2 packages, 2 nodes, 4 last-level caches, 16 cores, 32 hardware threads (9 allowed)");
}

TEST_CASE("a machine cut down to its allowed units keeps their non-contiguous numbers") {
  const auto machine = topology::from_xml(data / "container_restricted.xml").value();
  CHECK(machine.units().size() == 9);
  CHECK(machine.allowed_units() == 9);
  CHECK(machine.cores() == 7);
  CHECK(allowed_os_indices(machine) == std::set<std::uint32_t>{1, 2, 3, 9, 10, 11, 17, 18, 20});
}

TEST_CASE("a node without processors belongs to nobody") {
  const auto machine = topology::from_xml(data / "memory_expander.xml").value();
  REQUIRE(machine.nodes().size() == 3);
  std::size_t without = 0;
  for (const auto& node : machine.nodes()) {
    CHECK(node.memory_bytes > 0);
    if (node.units == 0) {
      ++without;
      CHECK(node.os_index == 2);
    }
  }
  CHECK(without == 1);
}

TEST_CASE("memory that serves the whole machine is farther than a package's own") {
  const auto machine = topology::from_synthetic("[numa] pack:2 [numa] l3:1 core:2 pu:1").value();
  REQUIRE(machine.nodes().size() == 3);
  CHECK(machine.units()[0].node != machine.units()[2].node);
  for (const auto& unit : machine.units()) CHECK(machine.nodes()[unit.node].units == 2);
}

TEST_CASE("a node without memory takes it from a node of its package, or else from any") {
  using karyon::numa_node;
  using karyon::processing_unit;
  const auto unit = [](std::uint32_t os_index, std::uint32_t package, std::uint32_t node) {
    return processing_unit{.os_index = os_index, .core = os_index, .package = package, .node = node};
  };
  const auto machine =
      topology::from_units(
          {unit(0, 0, 0), unit(1, 1, 1), unit(2, 1, 2), unit(3, 2, 3)},
          {{.os_index = 0, .memory_bytes = 1}, {.os_index = 1}, {.os_index = 2, .memory_bytes = 1}, {.os_index = 3}})
          .value();
  CHECK(machine.memory_node_of(0) == 0);
  CHECK(machine.memory_node_of(1) == 2);
  CHECK(machine.memory_node_of(2) == 2);
  CHECK(machine.memory_node_of(3) == 0);
}

TEST_CASE("units given by hand may number the cores of each package from 0") {
  using karyon::processing_unit;
  const auto machine = topology::from_units({processing_unit{.os_index = 7, .core = 0, .package = 5},
                                             processing_unit{.os_index = 3, .core = 0, .package = 9}},
                                            {})
                           .value();
  CHECK(machine.cores() == 2);
  CHECK(machine.packages() == 2);
  CHECK(machine.nodes().size() == 1);
  CHECK(machine.units()[1].core == 1);
  CHECK(machine.units()[1].package == 1);
}

TEST_CASE("units given by hand are refused when they can be no machine") {
  using karyon::processing_unit;
  CHECK(code_of(topology::from_units({}, {})) == errc::invalid_argument);
  CHECK(code_of(topology::from_units({processing_unit{.os_index = 1}, processing_unit{.os_index = 1}}, {})) ==
        errc::invalid_argument);
  CHECK(code_of(topology::from_units({processing_unit{.node = 1}}, {karyon::numa_node{}})) == errc::invalid_argument);
  CHECK(code_of(topology::from_units({processing_unit{.allowed = false}}, {})) == errc::unsupported);
}

TEST_CASE("an XML file that is no topology is refused with a typed error") {
  CHECK(code_of(topology::from_xml(data / "absent.xml")) == errc::not_found);
  CHECK(code_of(topology::from_xml(data)) == errc::not_found);
  CHECK(code_of(topology::from_xml("")) == errc::not_found);
  CHECK(code_of(topology::from_xml(temporary_file("").path())) == errc::invalid_argument);
  CHECK(code_of(topology::from_xml(temporary_file("no topology at all\n").path())) == errc::invalid_argument);
  CHECK(code_of(topology::from_xml(temporary_file("<?xml version=\"1.0\"?><colony/>").path())) ==
        errc::invalid_argument);
}

TEST_CASE("a truncated XML file is refused, wherever it ends") {
  std::ifstream whole(data / "container_restricted.xml");
  const std::string text((std::istreambuf_iterator<char>(whole)), std::istreambuf_iterator<char>());
  REQUIRE(text.size() > 1000);
  for (std::size_t tenth = 1; tenth < 10; ++tenth) {
    const temporary_file part(text.substr(0, text.size() * tenth / 10));
    CHECK(code_of(topology::from_xml(part.path())) == errc::invalid_argument);
  }
}

TEST_CASE("a synthetic description that means nothing is refused with a typed error") {
  for (const char* wrong : {"", " ", "what", "pu:0", "pu:-1", "core:2 pack:2", "pack:1 numa:", "pack:2 core"}) {
    INFO(wrong);
    CHECK(code_of(topology::from_synthetic(wrong)) == errc::invalid_argument);
  }
  CHECK(code_of(topology::from_synthetic(std::string_view("pu:2\0core:3", 11))) == errc::invalid_argument);
}

TEST_CASE("a synthetic description of absurd size is refused at once") {
  for (const char* absurd : {"pu:4097", "pu:99999999999999999999999", "pack:100000 pu:100000", "64 64 2",
                             "pack:64 [numa(memory=1)] core:33 pu:2"}) {
    INFO(absurd);
    const auto refused = topology::from_synthetic(absurd);
    CHECK(code_of(refused) == errc::invalid_argument);
    CHECK(refused.error().message().find("more than 4096") != std::string::npos);
  }
  CHECK(topology::from_synthetic("pack:2 [numa(memory=64000000000)] core:2 pu:2(indexes=2*4:4*1)").has_value());
}

TEST_CASE("this machine has at least the units that the process may use") {
  const auto machine = topology::detect().value();
  cpu_set_t mask;
  CPU_ZERO(&mask);
  REQUIRE(::sched_getaffinity(0, sizeof mask, &mask) == 0);
  CHECK(machine.allowed_units() == static_cast<std::size_t>(CPU_COUNT(&mask)));
  for (auto os_index : allowed_os_indices(machine)) CHECK(CPU_ISSET(os_index, &mask));
  CHECK(machine == topology::detect().value());
}

TEST_CASE("a process that was confined to one unit sees that one as allowed") {
  cpu_set_t before;
  CPU_ZERO(&before);
  REQUIRE(::sched_getaffinity(0, sizeof before, &before) == 0);
  const auto whole = topology::detect().value();
  const auto last = *allowed_os_indices(whole).rbegin();
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(last, &one);
  REQUIRE(::sched_setaffinity(0, sizeof one, &one) == 0);
  const auto confined = topology::detect();
  REQUIRE(::sched_setaffinity(0, sizeof before, &before) == 0);
  CHECK(allowed_os_indices(confined.value()) == std::set<std::uint32_t>{last});
  CHECK(confined.value().units().size() == whole.units().size());
}

TEST_CASE("names of distances are those of the enumeration") {
  CHECK(std::string(to_string(distance::same_unit)) == "same_unit");
  CHECK(std::string(to_string(distance::other_node)) == "other_node");
}
