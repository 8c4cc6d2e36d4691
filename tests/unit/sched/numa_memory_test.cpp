// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <karyon/sched/topology.hpp>

#include "sched/numa_memory.hpp"
#include "support/catch.hpp"

using karyon::errc;
using karyon::detail::allocate_region;
using karyon::detail::huge_page_bytes;
using karyon::detail::page_kind;
using karyon::detail::release_region;

namespace {

std::uintptr_t address(const std::byte* p) { return reinterpret_cast<std::uintptr_t>(p); }

bool all_zero(const karyon::detail::memory_region& region) {
  return std::all_of(region.data, region.data + region.bytes, [](std::byte b) { return b == std::byte{0}; });
}

// How much address space this process has, without allocating any to ask.
std::size_t mapped_bytes() {
  char text[64] = {};
  const int file = ::open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  const auto got = ::read(file, text, sizeof text - 1);
  ::close(file);
  return got > 0 ? std::strtoull(text, nullptr, 10) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) : 0;
}

}  // namespace

TEST_CASE("a region is zeroed, writable, of whole pages and aligned to one") {
  for (std::size_t bytes :
       {std::size_t{1}, std::size_t{4095}, std::size_t{4096}, std::size_t{4097}, std::size_t{1} << 20U}) {
    const auto region = allocate_region(bytes, std::nullopt, page_kind::standard).value();
    CHECK(region.bytes >= bytes);
    CHECK(region.bytes % 4096 == 0);
    CHECK(address(region.data) % 4096 == 0);
    CHECK_FALSE(region.on_preferred_node);
    CHECK_FALSE(region.huge_advised);
    CHECK(all_zero(region));
    std::fill(region.data, region.data + region.bytes, std::byte{0x5a});
    CHECK(region.data[region.bytes - 1] == std::byte{0x5a});
    release_region(region);
  }
}

TEST_CASE("a region of huge pages is aligned to them, and the ones beside it stay apart") {
  const auto first = allocate_region(1, std::nullopt, page_kind::huge).value();
  const auto second = allocate_region(huge_page_bytes + 1, std::nullopt, page_kind::huge).value();
  CHECK(first.bytes == huge_page_bytes);
  CHECK(second.bytes == 2 * huge_page_bytes);
  CHECK(address(first.data) % huge_page_bytes == 0);
  CHECK(address(second.data) % huge_page_bytes == 0);
  std::fill(first.data, first.data + first.bytes, std::byte{1});
  CHECK(all_zero(second));
  release_region(first);
  std::fill(second.data, second.data + second.bytes, std::byte{2});
  CHECK(second.data[0] == std::byte{2});
  release_region(second);
}

TEST_CASE("a region takes no more address space than it has bytes, and gives it all back") {
  release_region(allocate_region(1, std::nullopt, page_kind::huge).value());  // What is made once is made now.
  std::vector<karyon::detail::memory_region> shifts;
  shifts.reserve(3);
  for (int shift = 0; shift < 3; ++shift) {
    // The system maps below what is there: a page in between changes where the next region lies within 2 MiB.
    shifts.push_back(allocate_region(1, std::nullopt, page_kind::standard).value());
    const std::size_t before = mapped_bytes();
    const auto region = allocate_region(5 * huge_page_bytes, std::nullopt, page_kind::huge).value();
    const std::size_t held = mapped_bytes();
    release_region(region);
    const std::size_t after = mapped_bytes();
    REQUIRE(before > 0);
    CHECK(held - before == region.bytes);
    CHECK(after == before);
  }
  for (const auto& shift : shifts) release_region(shift);
}

TEST_CASE("memory is had on every node of this machine, and the region says whether the node was accepted") {
  const auto machine = karyon::topology::detect().value();
  for (const auto& node : machine.nodes()) {
    const auto region = allocate_region(100'000, node.os_index, page_kind::standard).value();
    if (machine.nodes().size() == 1) CHECK(region.on_preferred_node);
    std::fill(region.data, region.data + region.bytes, std::byte{7});
    CHECK(region.data[99'999] == std::byte{7});
    release_region(region);
  }
}

TEST_CASE("a node that this machine does not have is no reason to refuse memory") {
  const auto region = allocate_region(4096, 1'000'000U, page_kind::standard).value();
  CHECK_FALSE(region.on_preferred_node);
  CHECK(all_zero(region));
  release_region(region);
}

TEST_CASE("no bytes and more bytes than there can be are refused with typed errors") {
  constexpr auto most = std::numeric_limits<std::size_t>::max();
  CHECK(allocate_region(0, std::nullopt, page_kind::standard).error().code() == errc::invalid_argument);
  CHECK(allocate_region(most, std::nullopt, page_kind::standard).error().code() == errc::invalid_argument);
  CHECK(allocate_region(most - huge_page_bytes, std::nullopt, page_kind::huge).error().code() ==
        errc::invalid_argument);
  CHECK(allocate_region(most / 4, std::nullopt, page_kind::huge).error().code() == errc::out_of_memory);
  release_region({});
}

// Run by ctest with HWLOC_SYNTHETIC set; hidden otherwise, since this machine's view is made once in a process.
TEST_CASE("memory for a machine that the environment pretends is had, but on no node", "[.pretended]") {
  const auto region = allocate_region(1, 0U, page_kind::standard).value();
  CHECK_FALSE(region.on_preferred_node);
  CHECK(all_zero(region));
  release_region(region);
}
