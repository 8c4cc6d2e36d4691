#include <karyon/cell/cell.hpp>

#include <algorithm>
#include <new>
#include <string>

#include "cell/extras.hpp"
#include "cell/lifecycle.hpp"
#include "cell/migration.hpp"
#include "cell/runtime_core.hpp"
#include "core/programmer_error.hpp"

namespace karyon {

namespace detail {

void set_behavior(cell_slot* self, const behavior_table* table) {
  if (table != nullptr || self->extras != nullptr) extras_of(*self).behavior = table;
}

void reserve_stash(cell_slot* self) {
  auto& stash = extras_of(*self).stash;
  if (stash.size() == stash.capacity()) stash.reserve(std::max<std::size_t>(4, 2 * stash.size()));
}

void stash_signal(cell_slot* self, signal* s) noexcept { self->extras->stash.push_back(s); }

namespace {

error describe_unanswered(errc code, const exit_reason& why) {
  switch (code) {
    case errc::dead: return {code, "the cell asked has ended"};
    case errc::restarting: return {code, "the child asked is between two incarnations; ask again"};
    case errc::mailbox_full: return {code, "the mailbox of the cell asked is full; ask again later"};
    case errc::closed: return {code, "the runtime, or its node, is stopping"};
    case errc::no_route: return {code, "no node of that name and incarnation is known"};
    case errc::peer_down: return {code, "the node of the cell asked is not connected: " + to_string(why)};
    case errc::no_credit: return {code, "no room for one more question to that node now; ask again later"};
    case errc::expired: return {code, "the question's time to live was over before it was sent"};
    case errc::too_large: return {code, "the question is larger than a frame may be"};
    case errc::not_declared:
      return {code, "the question, or its answer, may not cross: declare both with KARYON_SIGNAL, on both sides alike"};
    case errc::unsupported: return {code, "this can not be asked of a cell on another node"};
    default:
      if (why.why() == exit_reason::kind::normal && why.text().empty()) {
        return {
            errc::cell_failed,
            "the cell asked gave no answer: it ended, or dropped the promise to answer, or its handler deferred and "
            "forgot"};
      }
      return {errc::cell_failed, "the cell asked ended before it answered: " + to_string(why)};
  }
}

}  // namespace

error unanswered(errc code, const exit_reason& why) noexcept {
  try {
    return describe_unanswered(code, why);
  } catch (const std::bad_alloc&) {
    return {code, std::string()};
  }
}

cell_stats stats_of(cell_slot& s) {
  cell_stats stats;
  take_in(s);
  stats.handled = s.handled + (running != nullptr && running->slot == &s ? running->unsettled : 0);
  const auto count = [&stats](const signal* tail) {
    for (const signal* n = tail; n != nullptr; n = n->next == tail ? nullptr : n->next) ++stats.mailbox;
  };
  count(s.pending_tail);
  if (s.extras != nullptr && s.extras->waiting != nullptr) count(s.extras->waiting->high_tail);
  stats.slot_bytes = slot_bytes_of(*s.info.load(std::memory_order_relaxed));
  if (s.has(cell_slot::in_role)) stats.restarts = s.number() - s.role.load(std::memory_order_relaxed);
  stats.worker = s.home;
  stats.node = core_of(&s).workers().at(s.home).node();
  stats.in_handlers = std::chrono::nanoseconds(s.busy_ticks * pulse::tick_ns);
  if (const cell_extras* e = s.extras) {
    stats.stashed = e->stash.size();
    stats.suspended = e->suspended_count;
    for (const auto& [other, end] : e->links) stats.links += end.unlinking == 0 ? 1 : 0;
    if (e->memory != nullptr) {
      stats.memory_bytes = e->memory->bytes();
      stats.memory_peak_bytes = e->memory->peak();
    }
  }
  return stats;
}

}  // namespace detail

cell::cell() noexcept : slot_(detail::slot_under_construction()) {
  if (slot_ == nullptr)
    detail::programmer_error("a cell is made by runtime::spawn, cell::spawn or supervisor::start, never by itself");
}

cell_ref cell::self() const noexcept { return detail::handle_access::make<cell_ref>(slot_->at()); }

runtime& cell::host() const noexcept { return detail::core_of(slot_).owner(); }

void cell::unbecome() noexcept { detail::set_behavior(slot_, nullptr); }

void cell::unstash() noexcept {
  if (slot_->extras == nullptr) return;
  auto& stash = slot_->extras->stash;
  // They count as handled again, and as queued if bounded.
  if (slot_->info.load(std::memory_order_relaxed)->mailbox_limit != 0) {
    slot_->queued.fetch_add(static_cast<std::uint32_t>(stash.size()), std::memory_order_relaxed);
  }
  detail::signal* newest = nullptr;
  for (detail::signal* s : stash) {
    s->next = newest;
    newest = s;
  }
  if (const auto& b = slot_->extras->waiting) b->users += static_cast<std::uint32_t>(stash.size());
  detail::pending_push_behind_urgent(*slot_, newest);
  stash.clear();
}

std::pmr::memory_resource* cell::memory() { return &detail::memory_of(*slot_); }

void cell::memory_quota(std::size_t bytes) { static_cast<detail::cell_memory*>(memory())->quota = bytes; }

result<void> cell::migrate_to(std::uint32_t node) {
  if (result<void> known = detail::check_node(detail::core_of(slot_), node); !known) return known;
  if (slot_->has(detail::cell_slot::pinned)) {
    return fail(errc::refused, "this cell is pinned to worker " + std::to_string(slot_->home) + ", and stays there");
  }
  const detail::address at = slot_->at();
  detail::deliver(at.slot, at.number, detail::make_signal<detail::migration_request>(node));
  return {};
}

cell_stats cell::stats() const noexcept { return detail::stats_of(*slot_); }

}  // namespace karyon
