// SPDX-License-Identifier: Apache-2.0
//
// On which node the memory of cells lies, page by page.
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <memory_resource>
#include <mutex>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <karyon/supervise/partitioned_supervisor.hpp>

#include "cell/slab.hpp"
#include "placement_check.hpp"

namespace karyon::tests::numa {

namespace {

/// What a cell knows of itself, beside what the kernel says of the thread that runs it.
struct entry {
  const void* slot = nullptr;
  std::size_t slot_bytes = 0;
  std::uint32_t node = 0;  // a position in the plan
  spot seen;
};

class ledger {
public:
  void enter(const entry& e) {
    const std::lock_guard lock(mutex_);
    entries_.push_back(e);
  }
  /// All entries, once there are so many; fewer if there are not within a long time.
  [[nodiscard]] std::vector<entry> take(std::size_t n) {
    static_cast<void>(eventually([&] {
      const std::lock_guard lock(mutex_);
      return entries_.size() >= n;
    }));
    const std::lock_guard lock(mutex_);
    return std::exchange(entries_, {});
  }

private:
  std::mutex mutex_;
  std::vector<entry> entries_;  // mutex_
};

struct touch {};
struct fail_now {};

/// A cell that takes a slot of a given size, more or less, and enters itself when touched.
template <std::size_t Bytes>
class resident : public cell {
public:
  using accepts = signals<touch, fail_now>;
  explicit resident(ledger& l) noexcept : ledger_(&l) {}
  void on(touch) {
    const cell_stats s = stats();
    ledger_->enter({detail::cell_access::slot_of(*this), s.slot_bytes, s.node, here()});
  }
  void on(fail_now) { throw std::runtime_error("as it was told"); }

private:
  ledger* ledger_;
  [[maybe_unused]] std::array<std::byte, Bytes> body_{};
};
using small = resident<1>;
using large = resident<5000>;

/// So many small and as many large ones; from a cell as well.
void settle(runtime& rt, placement where, std::uint32_t cells, ledger& l) {
  for (std::uint32_t i = 0; i < cells; ++i) {
    rt.spawn_at<small>(where, l).send(touch{});
    rt.spawn_at<large>(where, l).send(touch{});
  }
}

struct colony {
  std::uint32_t cells = 0;
  placement where;
};

class settler : public cell {
public:
  using accepts = signals<colony>;
  explicit settler(ledger& l) noexcept : ledger_(&l) {}
  bool on(colony c) {
    settle(host(), c.where, c.cells, *ledger_);
    return true;
  }

private:
  ledger* ledger_;
};

/// Holds pages to the node of the plan that they belong to.
void expect_pages(const binding_plan& plan, std::uint32_t n, const page_set& pages, const std::string& whose,
                  report& r) {
  const node_binding& node = plan.nodes[n];
  std::size_t there = 0;
  std::string elsewhere;
  for (const auto& [where, count] : pages.by_node()) {
    if (where == static_cast<int>(node.os_index)) {
      there = count;
    } else {
      elsewhere += where >= 0 ? text("; ", count, " on node ", where) : text("; ", count, " with error ", -where);
    }
  }
  r.expect(there > 0 && elsewhere.empty(), text("node ", node.os_index, ": of ", pages.size(), " pages of ", whose,
                                                ", ", there, " lie there", elsewhere));
}

/// All that the kernel has given memory for in the chunks that these slots are from, headers included.
void expect_chunks(const binding_plan& plan, std::uint32_t n, const std::vector<entry>& entries, report& r) {
  page_set chunks;
  for (const entry& e : entries) {
    if (e.node != n) continue;
    const auto slot = reinterpret_cast<std::uintptr_t>(e.slot);
    chunks.add(reinterpret_cast<const void*>(slot / detail::slab_chunk_bytes * detail::slab_chunk_bytes),
               detail::slab_chunk_bytes);
  }
  std::map<int, std::size_t> found = chunks.by_node();
  found.erase(-ENOENT);  // not touched yet
  found.erase(-EFAULT);  // read, and never written to
  const int node = static_cast<int>(plan.nodes[n].os_index);
  std::size_t there = 0;
  std::size_t in_use = 0;
  for (const auto& [where, count] : found) {
    in_use += count;
    if (where == node) there = count;
  }
  r.expect(there > 0 && there == in_use,
           text("node ", node, ": of ", in_use, " pages in use of their chunks, ", there, " do"));
}

/// Holds all cells that entered themselves to their nodes: run there, and with their slots there.
void expect_at_home(const binding_plan& plan, const std::vector<entry>& entries, std::size_t expected,
                    const std::string& whose, report& r) {
  std::size_t strayed = 0;
  for (const entry& e : entries) strayed += e.seen.node != plan.nodes[e.node].os_index ? 1 : 0;
  r.expect(entries.size() == expected && strayed == 0,
           text(entries.size(), " of ", expected, " ", whose, " were run, ", strayed, " of them on another node"));
  for (std::uint32_t n = 0; n < plan.nodes.size(); ++n) {
    page_set pages;
    std::size_t cells = 0;
    for (const entry& e : entries) {
      if (e.node != n) continue;
      pages.add(e.slot, e.slot_bytes);
      ++cells;
    }
    expect_pages(plan, n, pages, text(cells, " ", whose), r);
    expect_chunks(plan, n, entries, r);
  }
}

/// The processors of another node of the machine than this one, or its own if there is no other.
const numbers& far_from(const ground& g, std::uint32_t node) {
  for (const auto& [other, cpus] : g.kernel_nodes) {
    if (other != node) return cpus;
  }
  return g.kernel_nodes.begin()->second;
}

bool can_be_checked(const ground& g, report& r) {
  if (!pages_are_told()) {
    r.not_checked("where pages lie: the kernel does not tell this process");
    return false;
  }
  if (!confine(affinity()) || pages_on(g.kernel_nodes.begin()->first, page_bytes) == nullptr) {
    r.not_checked("where pages lie: the kernel does not let this process choose");
    return false;
  }
  return true;
}

}  // namespace

// ---- slots ---------------------------------------------------------------------------------------------------------

void check_slots(const ground& g, report& r) {
  if (!can_be_checked(g, r)) return;
  ledger l;
  {
    runtime rt(options_for(g));
    for (std::uint32_t n = 0; n < rt.nodes(); ++n) {
      // From a thread on another node, which is the first to touch what it builds.
      static_cast<void>(confine(far_from(g, rt.plan().nodes[n].os_index)));
      settle(rt, placement::on_node(n), g.cells, l);
    }
    expect_at_home(rt.plan(), l.take(std::size_t{2} * g.cells * rt.nodes()), std::size_t{2} * g.cells * rt.nodes(),
                   "cells that a far thread started", r);
    for (std::uint32_t n = 0; n < rt.nodes(); ++n) {
      const auto near = placement::on_worker(rt.plan().nodes[n].workers.back());
      const auto far = placement::on_worker(rt.plan().nodes[(n + 1) % rt.nodes()].workers.front());
      const auto all_sent =
          rt.ask(rt.spawn_at<settler>(near, l), colony{g.cells, placement::near_parent()}, long_time).has_value() &&
          rt.ask(rt.spawn_at<settler>(far, l), colony{g.cells, placement::on_node(n)}, long_time).has_value();
      if (!all_sent) r.expect(false, "a cell starts others");
    }
    expect_at_home(rt.plan(), l.take(std::size_t{4} * g.cells * rt.nodes()), std::size_t{4} * g.cells * rt.nodes(),
                   "cells that a near or a far cell started", r);
  }
  // A later runtime gets what is left of the first. On some of the nodes its own numbers are not the system's.
  for (const auto& [node, cpus] : g.kernel_nodes) {
    static_cast<void>(confine(far_from(g, node)));
    runtime rt(options_for(g, {.nodes = {node}}));
    settle(rt, placement::on_node(0), g.cells, l);
    expect_at_home(rt.plan(), l.take(std::size_t{2} * g.cells), std::size_t{2} * g.cells,
                   text("cells of a runtime on node ", node, " alone"), r);
  }
}

// ---- signals, memory -----------------------------------------------------------------------------------------------

namespace {

/// No other signal here has one of these sizes.
template <std::size_t Bytes>
struct letter {
  std::array<std::byte, Bytes> text{};
};
struct begin {
  std::uint32_t letters = 0;
};

/// Sends itself letters, and keeps a note of the pages that they come on.
template <std::size_t Bytes>
class writer : public cell {
public:
  using accepts = signals<begin, letter<Bytes>>;
  writer(page_set& pages, std::atomic<std::size_t>& read) noexcept : pages_(&pages), read_(&read) {}
  void on(begin b) {
    for (std::uint32_t i = 0; i < b.letters; ++i) cell::self(this).send(letter<Bytes>{});
  }
  void on(const letter<Bytes>& l) {
    pages_->add(&l, sizeof l);
    read_->fetch_add(1);
  }

private:
  page_set* pages_;
  std::atomic<std::size_t>* read_;
};

struct fill {};

/// Takes memory of its own while it handles, and writes to all of it.
class keeper : public cell {
public:
  static constexpr std::size_t block_bytes = std::size_t{64} << 10U;

  using accepts = signals<fill>;
  explicit keeper(page_set& pages) noexcept : pages_(&pages) {}
  bool on(fill) {
    for (int i = 0; i < 4; ++i) {
      auto& block = blocks_.emplace_back(block_bytes, std::byte{1});
      // The pages that it shares with others may have been there before.
      const auto first = (reinterpret_cast<std::uintptr_t>(block.data()) + page_bytes - 1) / page_bytes * page_bytes;
      pages_->add(reinterpret_cast<const void*>(first), block_bytes - page_bytes);
    }
    return true;
  }

private:
  page_set* pages_;
  std::pmr::vector<std::pmr::vector<std::byte>> blocks_{memory()};
};

}  // namespace

// A node without free signals of a size takes those that another has left over, before it takes memory of its own
// (signal_pool). So each node gets a size of its own here, and all that is looked at has been carved by its workers.
void check_signals(const ground& g, report& r) {
  if (!can_be_checked(g, r)) return;
  // What this thread sends is carved from one node's memory then, and not from wherever it happens to be.
  static_cast<void>(confine(g.kernel_nodes.begin()->second));
  std::vector<page_set> pages(g.kernel_nodes.size());
  std::atomic<std::size_t> read{0};
  runtime_options options = options_for(g);
  // A spare thread that has served on another node before would bring free signals from there.
  options.scheduler.watch.take_over = false;
  runtime rt(options);
  using start_writer = void (*)(runtime&, std::uint32_t, page_set&, std::atomic<std::size_t>&, begin);
  constexpr auto start = []<std::size_t Bytes>(std::integral_constant<std::size_t, Bytes>) -> start_writer {
    return [](runtime& host, std::uint32_t w, page_set& p, std::atomic<std::size_t>& n, begin b) {
      host.spawn_at<writer<Bytes>>(placement::on_worker(w), p, n).send(b);
    };
  };
  using std::integral_constant;
  const std::array<start_writer, 4> start_by_node{
      start(integral_constant<std::size_t, 112>()), start(integral_constant<std::size_t, 96>()),
      start(integral_constant<std::size_t, 80>()), start(integral_constant<std::size_t, 64>())};
  std::size_t letters = 0;
  for (std::uint32_t w = 0; w < rt.workers(); ++w) {
    const std::uint32_t n = rt.plan().workers[w].node;
    if (n >= start_by_node.size()) continue;
    start_by_node[n](rt, w, pages[n], read, begin{5 * g.cells});
    letters += std::size_t{5} * g.cells;
  }
  const bool all_read = eventually([&] { return read == letters; });
  r.expect(all_read, text(read.load(), " of ", letters, " signals were sent within workers"));
  for (std::uint32_t n = 0; n < rt.nodes() && n < start_by_node.size(); ++n) {
    expect_pages(rt.plan(), n, pages[n], "signals", r);
  }
}

void check_memory(const ground& g, report& r) {
  if (!can_be_checked(g, r)) return;
  std::vector<page_set> pages(g.kernel_nodes.size());
  runtime rt(options_for(g));
  for (std::uint32_t w = 0; w < rt.workers(); ++w) {
    const std::uint32_t n = rt.plan().workers[w].node;
    static_cast<void>(confine(far_from(g, rt.plan().nodes[n].os_index)));
    for (int i = 0; i < 4; ++i) {
      const auto cell = rt.spawn_at<keeper>(placement::on_worker(w), pages[n]);
      if (!rt.ask(cell, fill{}, long_time).has_value()) r.expect(false, "cells take memory");
    }
  }
  for (std::uint32_t n = 0; n < rt.nodes(); ++n)
    expect_pages(rt.plan(), n, pages[n], "what cells took from memory()", r);
}

// ---- migration -----------------------------------------------------------------------------------------------------

namespace {

/// What the system did with the pages of cells that were told to migrate, and where they are at home then.
struct moved {
  std::uint64_t pages = 0;
  std::uint64_t refused = 0;
  std::uint32_t arrived = 0;

  void add(const result<migration_report>& report, std::uint32_t to) {
    if (!report) return;
    pages += report->pages_moved;
    refused += report->pages_refused;
    arrived += report->node == to ? 1 : 0;
  }
};

/// How many of the entries are at home on a node of the plan, and how many of them were run there.
std::pair<std::size_t, std::size_t> at_home_and_run(const binding_plan& plan, const std::vector<entry>& all,
                                                    std::uint32_t n) {
  std::pair<std::size_t, std::size_t> counts{0, 0};
  for (const entry& e : all) {
    if (e.node != n) continue;
    ++counts.first;
    if (e.seen.node == plan.nodes[n].os_index) ++counts.second;
  }
  return counts;
}

/// Cells of one node go to another, live there, and end; then others are born where they were.
void migrate_all(const ground& g, std::uint32_t from, std::uint32_t to, report& r) {
  ledger l;
  page_set own;
  runtime rt(options_for(g));
  const std::string way = text("node ", rt.plan().nodes[from].os_index, " to ", rt.plan().nodes[to].os_index, ": ");
  std::vector<ref<large>> crowd;
  std::vector<ref<keeper>> keepers;
  for (std::uint32_t i = 0; i < g.cells; ++i) crowd.push_back(rt.spawn_at<large>(placement::on_node(from), l));
  for (int i = 0; i < 4; ++i) {
    keepers.push_back(rt.spawn_at<keeper>(placement::on_node(from), own));
    if (!rt.ask(keepers.back(), fill{}, long_time).has_value()) r.expect(false, "cells take memory");
  }
  moved m;
  for (const auto& c : crowd) m.add(rt.migrate(c, to).get(long_time), to);
  for (const auto& c : keepers) m.add(rt.migrate(c, to).get(long_time), to);
  r.expect(m.arrived == crowd.size() + keepers.size() && m.refused == 0 && m.pages > crowd.size(),
           text(way, m.arrived, " cells migrated, with ", m.pages, " pages; ", m.refused, " were refused"));
  expect_pages(rt.plan(), to, own, "what cells took along from memory()", r);

  for (const auto& c : crowd) c.send(touch{});
  const auto there = l.take(crowd.size());
  const auto [home, run] = at_home_and_run(rt.plan(), there, to);
  r.expect(home == crowd.size() && run == home, text(way, run, " of ", crowd.size(), " cells run there"));
  page_set slots;
  for (const entry& e : there) slots.add(e.slot, e.slot_bytes);
  const std::size_t arrived = slots.by_node()[static_cast<int>(rt.plan().nodes[to].os_index)];
  constexpr std::size_t left_behind_max = 4;  // those with a chunk's header stay
  r.expect(arrived + left_behind_max >= slots.size(),
           text(way, "of ", slots.size(), " pages of their slots, ", arrived, " lie there"));

  for (const auto& c : crowd) rt.exit(c, exit_reason::killed());
  for (const auto& c : keepers) rt.exit(c, exit_reason::killed());
  r.expect(eventually([&] { return rt.metrics().cells == 0; }), text(way, "the cells end"));
  settle(rt, placement::on_node(from), g.cells, l);
  page_set again;
  for (const entry& e : l.take(std::size_t{2} * g.cells)) again.add(e.slot, e.slot_bytes);
  expect_pages(rt.plan(), from, again, "cells that were born there after them", r);
}

}  // namespace

void check_migration(const ground& g, report& r) {
  if (!can_be_checked(g, r)) return;
  const auto nodes = static_cast<std::uint32_t>(g.kernel_nodes.size());
  if (nodes == 1) return r.not_checked("migration: there is one node");
  for (std::uint32_t from = 0; from < nodes; ++from) migrate_all(g, from, (from + 1) % nodes, r);
}

// ---- supervision ---------------------------------------------------------------------------------------------------

void check_supervision(const ground& g, report& r) {
  if (!can_be_checked(g, r)) return;
  const supervisor_options each{.intensity = {1'000'000, std::chrono::hours(1)}};
  ledger l;
  runtime rt(options_for(g));
  const auto nodes = partitioned_supervisor::start(rt, {.by = partition_by::node, .each = each}).value();
  std::vector<child<small>> children;
  for (std::uint32_t n = 0; n < rt.nodes(); ++n) {
    static_cast<void>(confine(far_from(g, rt.plan().nodes[n].os_index)));
    // One by one they are constructed by this thread, which is far; all at once, on the shards.
    for (std::uint32_t i = 0; i < g.cells / 2; ++i) children.push_back(nodes.partition(n).start<small>(std::ref(l)));
    const auto rest = nodes.partition(n).start_many<small>(g.cells - g.cells / 2, std::ref(l));
    children.insert(children.end(), rest.begin(), rest.end());
  }
  for (const char* const whose : {"supervised cells", "supervised cells, failed and started again"}) {
    for (const auto& c : children) c.send(touch{});
    const auto entries = l.take(children.size());
    expect_at_home(rt.plan(), entries, children.size(), whose, r);
    for (std::uint32_t n = 0; n < rt.nodes(); ++n) {
      const auto there = std::count_if(entries.begin(), entries.end(), [&](const entry& e) { return e.node == n; });
      r.expect(there == static_cast<std::ptrdiff_t>(g.cells),
               text("node ", rt.plan().nodes[n].os_index, ": its partition's ", g.cells, " are among them"));
    }
    if (nodes.restarts() != 0) continue;
    for (const auto& c : children) c.send(fail_now{});
    const bool mended = eventually([&] { return nodes.restarts() == children.size(); });
    r.expect(mended, text(nodes.restarts(), " of ", children.size(), " were started again"));
    static_cast<void>(eventually([&] {
      return std::all_of(children.begin(), children.end(),
                         [](const child<small>& c) { return static_cast<bool>(c.get()); });
    }));
  }
  auto spread = rt.supervise(each);
  const auto everywhere = spread.start_many<small>(g.cells, std::ref(l));
  for (const auto& c : everywhere) c.send(touch{});
  expect_at_home(rt.plan(), l.take(everywhere.size()), everywhere.size(), "supervised cells, spread", r);
}

}  // namespace karyon::tests::numa
