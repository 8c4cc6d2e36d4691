// SPDX-License-Identifier: Apache-2.0
// Where the pages of cells really are, asked from the kernel page by page. On a machine with one node there is only one
// answer; it says more on one with several, or in an emulated one.
#include <algorithm>
#include <cstdio>
#include <map>

#include "sched/page_moves.hpp"
#include "unit/cell/cell_testing.hpp"

using namespace karyon;
using namespace karyon::tests;

namespace kd = karyon::detail;

namespace {

struct lies_at {};
struct fill {
  std::size_t bytes = 0;
};
struct own_pages {};

/// Nearly two pages, so that whole ones are its own.
class large : public cell {
public:
  using accepts = signals<lies_at, fill, own_pages>;
  std::uint64_t on(lies_at) { return reinterpret_cast<std::uint64_t>(this); }
  void on(fill f) {
    auto* const all = static_cast<std::byte*>(memory()->allocate(f.bytes));
    std::fill_n(all, f.bytes, std::byte{42});
    begin_ = reinterpret_cast<std::uint64_t>(all);
    bytes_ = f.bytes;
  }
  std::vector<std::uint64_t> on(own_pages) {
    std::vector<std::uint64_t> pages;
    const std::uint64_t page = kd::page_bytes();
    for (std::uint64_t at = (begin_ + page - 1) / page * page; at + page <= begin_ + bytes_; at += page) {
      pages.push_back(at);
    }
    return pages;
  }

private:
  std::uint64_t begin_ = 0;
  std::uint64_t bytes_ = 0;
  std::array<std::byte, 7000> state_{};
};

class small : public cell {
public:
  using accepts = signals<lies_at>;
  std::uint64_t on(lies_at) { return reinterpret_cast<std::uint64_t>(this); }
};

std::int64_t node_of(std::uint64_t address) {
  const std::uint64_t page = kd::page_bytes();
  const auto node = kd::node_of_page(reinterpret_cast<const void*>(address / page * page));
  return node ? std::int64_t{*node} : -1;
}

/// Whether this machine is itself, and tells where pages are.
bool kernel_tells() {
  const int local = 1;
  return std::getenv("HWLOC_SYNTHETIC") == nullptr && node_of(reinterpret_cast<std::uint64_t>(&local)) >= 0;
}

std::uint32_t os_node(const runtime& rt, std::uint32_t node) {
  const node_binding& n = rt.plan().nodes[node];
  return n.memory_os_index.value_or(n.os_index);
}

template <class C>
std::map<std::int64_t, int> nodes_of(runtime& rt, const std::vector<ref<C>>& cells) {
  std::map<std::int64_t, int> found;
  for (const auto& c : cells) ++found[node_of(rt.ask(c, lies_at{}, long_time).value())];
  return found;
}

template <class C>
std::vector<ref<C>> cells_on(runtime& rt, std::uint32_t node, int count) {
  std::vector<ref<C>> cells;
  for (int i = 0; i < count; ++i) cells.push_back(rt.spawn_at<C>(placement::on_node(node)));
  return cells;
}

}  // namespace

TEST_CASE("the memory of each node's cells is on that node") {
  if (!kernel_tells()) return;
  runtime rt(quiet(0));
  for (std::uint32_t n = 0; n < rt.nodes(); ++n) {
    const auto few = nodes_of(rt, cells_on<small>(rt, n, 500));
    CHECK(few == std::map<std::int64_t, int>{{os_node(rt, n), 500}});
  }
}

TEST_CASE("cells that migrate take their pages along, and the last to go takes the rest") {
  if (!kernel_tells()) return;
  runtime rt(quiet(0));
  std::printf("migration between %u NUMA nodes%s\n", rt.nodes(), rt.nodes() == 1 ? ": only what one can show" : "");
  const std::uint32_t to = rt.nodes() - 1;
  const auto cells = cells_on<large>(rt, 0, 40);
  for (const auto& c : cells) c.send(fill{300'000});
  std::uint64_t moved = 0;
  std::uint64_t refused = 0;
  std::uint64_t shared_by_last = 0;
  for (const auto& c : cells) {
    const auto report = rt.migrate(c, to).get(long_time);
    REQUIRE(report.has_value());
    CHECK(report->node == to);
    moved += report->pages_moved;
    refused += report->pages_refused;
    shared_by_last = report->pages_shared;
  }
  if (rt.nodes() == 1) {
    CHECK(moved + refused == 0);
    CHECK_FALSE(rt.migrate(cells.front(), 1).get(long_time).has_value());
    return;
  }
  CHECK(refused == 0);
  CHECK(shared_by_last <= 2);  // with cells of an earlier test, or the chunk's header
  CHECK(moved >= 40 * 70);
  CHECK(rt.metrics().migration_pages_moved == moved);
  for (const auto& c : cells) {
    const auto pages = rt.ask(c, own_pages{}, long_time).value();
    for (const std::uint64_t page : pages) CHECK(node_of(page) == os_node(rt, to));
  }
  // The whole page within each: nobody else has a part in it.
  for (const auto& c : cells) {
    const std::uint64_t inside = rt.ask(c, lies_at{}, long_time).value() + kd::page_bytes();
    CHECK(node_of(inside) == os_node(rt, to));
  }

  // What lay in the slots comes back when the cells are gone: new cells there are where they belong.
  for (const auto& c : cells) rt.exit(c, exit_reason::killed());
  REQUIRE(eventually([&] { return rt.metrics().cells == 0; }));
  const auto again = nodes_of(rt, cells_on<large>(rt, 0, 40));
  CHECK(again == std::map<std::int64_t, int>{{os_node(rt, 0), 40}});
}

TEST_CASE("a crowd of small cells takes its pages along, huge ones split, and others keep theirs") {
  if (!kernel_tells()) return;
  runtime rt(quiet(0));
  if (rt.nodes() == 1) return;
  const std::uint32_t to = rt.nodes() - 1;
  // Beyond the first chunk, which has no huge pages.
  const auto cells = cells_on<small>(rt, 0, 30'000);
  const std::size_t half = cells.size() / 2;
  std::uint64_t refused = 0;
  for (std::size_t i = half; i < cells.size(); ++i) refused += rt.migrate(cells[i], to).get(long_time)->pages_refused;
  CHECK(refused == 0);
  const auto stayed = nodes_of(rt, std::vector(cells.begin(), cells.begin() + static_cast<std::ptrdiff_t>(half)));
  const auto went = nodes_of(rt, std::vector(cells.begin() + static_cast<std::ptrdiff_t>(half), cells.end()));
  // But for the pages at the border, and those of the chunks' headers.
  CHECK(stayed.at(os_node(rt, 0)) >= static_cast<int>(half) - 100);
  CHECK(went.at(os_node(rt, to)) >= static_cast<int>(half) - 100);
}
