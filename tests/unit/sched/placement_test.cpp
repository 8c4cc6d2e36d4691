// SPDX-License-Identifier: Apache-2.0
#include "sched/placement.hpp"

#include <fstream>
#include <sstream>
#include <string>

#include <sys/mman.h>

#include <karyon/sched/topology.hpp>

#include "sched/numa_memory.hpp"
#include "sched/page_moves.hpp"
#include "support/catch.hpp"

using karyon::detail::donation_balance;
namespace kd = karyon::detail;

namespace {

constexpr std::uint64_t window = donation_balance::window_ticks;

/// Lets windows pass in which a worker that runs 100 tasks gives `gives` away in two donations; how many get a new home.
std::size_t moved_in(donation_balance& b, unsigned windows, std::size_t gives, std::size_t gets, std::uint64_t& now,
                     std::uint64_t& turns) {
  std::size_t moved = 0;
  for (unsigned i = 0; i < windows; ++i) {
    moved += b.gave(gives / 2, now, turns);
    moved += b.gave(gives - gives / 2, now + window / 2, turns + 50);
    b.received(gets);
    now += window;
    turns += 100;
  }
  return moved;
}

/// How many bytes of the mapping that has this address are in huge pages.
std::uint64_t huge_bytes_at(const void* address) {
  std::ifstream maps("/proc/self/smaps");
  const auto wanted = reinterpret_cast<std::uintptr_t>(address);
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    std::istringstream words(line);
    std::string first;
    words >> first;
    if (const auto dash = first.find('-'); dash != std::string::npos) {
      inside = std::stoull(first.substr(0, dash), nullptr, 16) <= wanted &&
               wanted < std::stoull(first.substr(dash + 1), nullptr, 16);
    } else if (inside && first == "AnonHugePages:") {
      std::uint64_t kib = 0;
      words >> kib;
      return kib * 1024;
    }
  }
  return 0;
}

}  // namespace

TEST_CASE("homes move from the third window of a one-sided flow on, half of one donation a window") {
  donation_balance b;
  std::uint64_t now = window;
  std::uint64_t turns = 0;
  CHECK(moved_in(b, 2, 40, 0, now, turns) == 0);
  CHECK(moved_in(b, 1, 40, 0, now, turns) == 10);
  CHECK(moved_in(b, 3, 40, 0, now, turns) == 30);
}

TEST_CASE("homes stay where as much comes back as goes away, or hardly anything goes") {
  donation_balance b;
  std::uint64_t now = window;
  std::uint64_t turns = 0;
  CHECK(moved_in(b, 20, 40, 35, now, turns) == 0);
  CHECK(moved_in(b, 20, 12, 0, now, turns) == 0);
}

TEST_CASE("homes stop moving in the first window whose flow is not one-sided, and need two more to move again") {
  donation_balance b;
  std::uint64_t now = window;
  std::uint64_t turns = 0;
  REQUIRE(moved_in(b, 5, 40, 0, now, turns) > 0);
  static_cast<void>(moved_in(b, 1, 40, 40, now, turns));
  CHECK(moved_in(b, 2, 40, 0, now, turns) == 0);
  CHECK(moved_in(b, 1, 40, 0, now, turns) == 10);
}

TEST_CASE("an overload of long ago moves nothing") {
  donation_balance b;
  std::uint64_t now = window;
  std::uint64_t turns = 0;
  REQUIRE(moved_in(b, 5, 40, 0, now, turns) > 0);
  now += window * (donation_balance::stale_windows + 1);
  CHECK(moved_in(b, 2, 40, 0, now, turns) == 0);
}

TEST_CASE("a page tells its node, and moving it to where it is changes nothing") {
  const auto region = kd::allocate_region(4 * kd::page_bytes(), std::nullopt, kd::page_kind::standard);
  REQUIRE(region.has_value());
  auto* const first = region->data;
  void* const pages[] = {first, first + kd::page_bytes()};
  CHECK_FALSE(kd::node_of_page(first + kd::page_bytes()).has_value());
  *first = std::byte{7};
  const auto node = kd::node_of_page(first);
  if (!node) {  // a sandbox forbids the call: then nothing is moved, and that is said
    const kd::page_counts counts = kd::move_pages_to(pages, 0);
    CHECK(counts.refused == 2);
  } else {
    const kd::page_counts counts = kd::move_pages_to(pages, *node);
    CHECK(counts.there == 1);
    CHECK(counts.absent == 1);
    CHECK(counts.moved + counts.refused == 0);
    const kd::page_counts nowhere = kd::move_pages_to(pages, 777);
    CHECK(nowhere.refused == 1);
    CHECK(nowhere.moved == 0);
  }
  CHECK(*first == std::byte{7});
  kd::release_region(*region);
}

TEST_CASE("pages can be moved to nodes of this machine only, and only if it has several") {
  const auto machine = karyon::topology::detect().value();
  CHECK_FALSE(kd::can_move_pages_to(777));
  for (const auto& node : machine.nodes()) {
    const bool several = machine.nodes().size() > 1;
    CHECK(kd::can_move_pages_to(node.os_index) == (several && std::getenv("HWLOC_SYNTHETIC") == nullptr));
  }
}

TEST_CASE("a huge page is split, with what is on it, when its parts are to move alone") {
  const auto region = kd::allocate_region(kd::huge_page_bytes, std::nullopt, kd::page_kind::huge);
  REQUIRE(region.has_value());
  for (std::size_t i = 0; i < region->bytes; i += 4096) region->data[i] = static_cast<std::byte>(i / 4096);
  const std::uint64_t before = huge_bytes_at(region->data);
  ::madvise(region->data, region->bytes, MADV_NOHUGEPAGE);
  if (kd::split_huge_pages(region->data, region->bytes)) {
    INFO("huge before: " << before);
    CHECK(huge_bytes_at(region->data) == 0);
  }
  bool same = true;
  for (std::size_t i = 0; i < region->bytes; i += 4096) {
    same = same && region->data[i] == static_cast<std::byte>(i / 4096);
  }
  CHECK(same);
  kd::release_region(*region);
}

TEST_CASE("a thread tells the units that it may run on") {
  const auto units = kd::units_of_current_thread();
  if (!units) {
    CHECK(std::getenv("HWLOC_SYNTHETIC") != nullptr);
    return;
  }
  CHECK(units->size() >= 1);
  CHECK(units->size() <= karyon::topology::detect().value().units().size());
}
