// SPDX-License-Identifier: Apache-2.0
#include "cell/migration.hpp"

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include <sys/mman.h>

#include "cell/extras.hpp"
#include "cell/lifecycle.hpp"
#include "cell/runtime_core.hpp"
#include "sched/page_moves.hpp"

namespace karyon::detail {

bool rehome_cell(task* t, unsigned to) noexcept {
  if (t->run != &run_cell && t->run != &run_returned_cell && t->run != &run_observed_cell) return false;
  cell_slot& s = cell_slot::of(t);
  if (s.has(cell_slot::pinned) || s.home == to) return false;
  s.home = static_cast<std::uint16_t>(to);
  return true;
}

namespace {

std::uintptr_t page_of(const void* p) noexcept {
  return reinterpret_cast<std::uintptr_t>(p) / page_bytes() * page_bytes();
}

std::uint32_t home_node(const cell_slot& s, runtime_core& core) noexcept {
  const scheduler& workers = core.workers();
  const unsigned home = s.home;
  return home < workers.size() ? workers.at(home).node() : 0;
}

/// Of the cells that live on a page: how many, and how many of them are at home on a node.
struct page_vote {
  unsigned living = 0;
  unsigned there = 0;
};

/// `self`, whose word this thread does not ask, counts as `self_living`, and as at home on the node.
page_vote vote_on(std::uintptr_t page, cell_slot& self, bool self_living, std::uint32_t node,
                  runtime_core& core) noexcept {
  page_vote vote;
  const auto* const begin = reinterpret_cast<const std::byte*>(page);
  slab_store::for_each_neighbour(&self, begin, begin + page_bytes(), [&](void* memory) {
    auto& s = *static_cast<cell_slot*>(memory);
    const bool me = &s == &self;
    // A role lives between two incarnations as well. Neighbours change meanwhile: this is a vote, not a protocol.
    const bool living =
        me ? self_living : inbox_word::accepts(s.inbox.look()) || s.role.load(std::memory_order_relaxed) != 0;
    if (!living) return;
    ++vote.living;
    if (me || home_node(s, core) == node) ++vote.there;
  });
  return vote;
}

/// Collects pages, and moves them when there are enough.
class mover {
public:
  explicit mover(std::uint32_t node_os_index) noexcept : node_(node_os_index) {}
  void add(std::uintptr_t page) noexcept {
    if (count_ == pages_.size()) move();
    pages_[count_++] = reinterpret_cast<void*>(page);
  }
  page_counts finish() noexcept {
    move();
    return counts_;
  }

private:
  void move() noexcept {
    if (count_ != 0) counts_ += move_pages_to(std::span(pages_.data(), count_), node_);
    count_ = 0;
  }
  std::uint32_t node_;
  std::array<void*, 64> pages_;
  std::size_t count_ = 0;
  page_counts counts_;
};

/// A page of a slab can be moved alone: it has none of the chunk's header, and is no part of a huge page any more.
bool can_move_alone(const cell_slot& s, std::uintptr_t page) noexcept {
  if (page < reinterpret_cast<std::uintptr_t>(slab_store::first_of(&s))) return false;
  slab_rest& rest = *slab_chunk::of(&s).rest;
  if (rest.small_pages.load(std::memory_order_relaxed)) return true;
  auto* const base = reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(&s) & ~(slab_chunk_bytes - 1));
  ::madvise(base, slab_chunk_bytes, MADV_NOHUGEPAGE);  // fails where the kernel has no huge pages at all
  if (!split_huge_pages(base, slab_chunk_bytes)) return false;
  rest.small_pages.store(true, std::memory_order_relaxed);
  return true;
}

/// Calls `visit` for the first address of each page that the slot has a part in.
template <class F>
void for_each_page(const cell_slot& s, F&& visit) noexcept {
  const auto begin = reinterpret_cast<std::uintptr_t>(&s);
  const std::uintptr_t end = begin + slab_chunk::of(&s).slot_bytes;
  for (std::uintptr_t page = page_of(&s); page < end; page += page_bytes()) visit(page);
}

void move_own_memory(const cell_memory& memory, mover& to) noexcept {
  const std::uintptr_t page = page_bytes();
  memory.for_each_block([&](const std::byte* first, std::size_t bytes) {
    const std::uintptr_t begin = (reinterpret_cast<std::uintptr_t>(first) + page - 1) / page * page;
    const std::uintptr_t end = (reinterpret_cast<std::uintptr_t>(first) + bytes) / page * page;
    if (begin >= end || !split_huge_pages(reinterpret_cast<void*>(begin), end - begin)) return;
    for (std::uintptr_t at = begin; at < end; at += page) to.add(at);
  });
}

/// Moves what can be moved of the running cell's memory. Nothing where the plan's nodes are not this machine's, or it has one.
void move_memory(cell_slot& s, runtime_core& core, std::uint32_t node, migration_report& report) noexcept {
  const auto os_index = core.workers().plan().nodes[node].memory_os_index;
  const bool physical = os_index && !core.workers().simulated() && can_move_pages_to(*os_index);
  mover to(os_index.value_or(0));
  for_each_page(s, [&](std::uintptr_t page) {
    const page_vote vote = vote_on(page, s, true, node, core);
    if (2 * vote.there <= vote.living || (physical && !can_move_alone(s, page))) {
      ++report.pages_shared;
    } else if (physical) {
      to.add(page);
    }
  });
  if (!physical) return;
  if (s.extras != nullptr && s.extras->memory != nullptr) move_own_memory(*s.extras->memory, to);
  const page_counts counts = to.finish();
  report.pages_moved = counts.moved;
  report.pages_there = counts.there;
  report.pages_refused = counts.refused;
}

result<migration_report> migrate_here(cell_slot& s, runtime_core& core, std::uint32_t node) {
  // Asked once more: the request may have come by another runtime, which has other nodes.
  if (result<void> known = check_node(core, node); !known) return tl::unexpected<error>(std::move(known).error());
  if (s.has(cell_slot::pinned)) {
    return fail(errc::refused, "this cell is pinned to worker " + std::to_string(s.home) + ", and stays there");
  }
  migration_report report;
  report.node = node;
  core.note_migration();
  move_memory(s, core, node, report);
  if (home_node(s, core) != node) {
    s.home = static_cast<std::uint16_t>(core.workers().next_worker(node));
    core.count(&cell_counters::migrations);
  }
  report.worker = s.home;
  core.count(&cell_counters::migration_pages_moved, report.pages_moved);
  core.count(&cell_counters::migration_pages_shared, report.pages_shared);
  core.count(&cell_counters::migration_pages_refused, report.pages_refused);
  return report;
}

void run_request(void*, signal& s) {
  auto& self = static_cast<migration_request&>(s);
  answer<migration_report>(self.reply, migrate_here(*running->slot, *running->core, self.node));
}

void discard_request(signal* s, errc code, const exit_reason& why) noexcept {
  auto* self = static_cast<migration_request*>(s);
  answer_unanswered<migration_report>(self->reply, code, why);
  destroy_signal(self);
}

constexpr signal_ops migrate_ops{&run_request, &discard_request, "karyon::migrate", true, false, true};

}  // namespace

result<void> check_node(runtime_core& core, std::uint32_t node) {
  const unsigned nodes = core.workers().nodes();
  if (node < nodes) return {};
  return fail(errc::not_found, "migration to node " + std::to_string(node) + ": this runtime has " +
                                   std::to_string(nodes) + (nodes == 1 ? " node, node 0" : " nodes, counted from 0"));
}

migration_request::migration_request(std::uint32_t to) noexcept : signal(&migrate_ops), node(to) {}

void return_pages(cell_slot& s) noexcept {
  runtime_core& core = core_of(&s);
  const std::uint32_t own = slab_store::node_of(&s);
  if (home_node(s, core) == own) return;
  const auto os_index = core.workers().plan().nodes[own].memory_os_index;
  if (!os_index || !can_move_pages_to(*os_index)) return;
  mover back(*os_index);
  for_each_page(s, [&](std::uintptr_t page) {
    const page_vote vote = vote_on(page, s, false, own, core);
    if (2 * vote.there >= vote.living && can_move_alone(s, page)) back.add(page);
  });
  static_cast<void>(back.finish());
}

void runtime_core::add_placement(runtime_metrics& m) const noexcept {
  m.migrations = sum(&cell_counters::migrations);
  m.migration_pages_moved = sum(&cell_counters::migration_pages_moved);
  m.migration_pages_shared = sum(&cell_counters::migration_pages_shared);
  m.migration_pages_refused = sum(&cell_counters::migration_pages_refused);
  const auto read = [](const std::atomic<std::uint64_t>& c) { return c.load(std::memory_order_relaxed); };
  std::uint64_t taken = 0;
  std::uint64_t sent_by_workers = 0;
  for (unsigned i = 0; i < scheduler_->size(); ++i) {
    const worker::counters& w = scheduler_->at(i).stats();
    const auto woken = [&](wake_distance d) { return read(w.woken[static_cast<std::size_t>(d)]); };
    m.woken_same_worker += woken(wake_distance::same_worker);
    m.woken_same_cache += woken(wake_distance::same_cache);
    m.woken_same_node += woken(wake_distance::same_node);
    m.woken_other_node += woken(wake_distance::other_node);
    m.rehomed += read(w.rehomed);
    m.forwarded += read(w.forwarded);
    m.rebound += read(w.rebound);
    sent_by_workers += read(w.donated) + read(w.donated_node) + read(w.donated_remote) + read(w.forwarded);
    taken += read(w.taken);
  }
  sent_by_workers += m.woken_same_cache + m.woken_same_node + m.woken_other_node;
  m.woken_from_outside = taken > sent_by_workers ? taken - sent_by_workers : 0;
}

}  // namespace karyon::detail
