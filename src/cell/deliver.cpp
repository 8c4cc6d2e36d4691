#include <new>
#include <utility>

#include <karyon/cell/broadcast.hpp>

#include "cell/extras.hpp"
#include "cell/lifecycle.hpp"
#include "cell/runtime_core.hpp"

namespace karyon {

const char* to_string(send_result r) noexcept {
  switch (r) {
    case send_result::accepted: return "accepted";
    case send_result::dead: return "dead";
    case send_result::restarting: return "restarting";
    case send_result::full: return "full";
    case send_result::no_handler: return "no_handler";
  }
  return "unknown";
}

namespace detail {

namespace {

errc code_of(send_result r) noexcept {
  switch (r) {
    case send_result::restarting: return errc::restarting;
    case send_result::full: return errc::mailbox_full;
    default: return errc::dead;
  }
}

/// Refusals are counted where the sender is: the receiver's runtime may be long gone.
std::atomic<std::uint64_t> refused_outside_dead{0};
std::atomic<std::uint64_t> refused_outside_full{0};

/// The runtime that the calling thread belongs to, or null.
runtime_core* core_of_this_thread() noexcept {
  if (worker* w = worker::current()) return static_cast<runtime_core*>(w->owner().user);
  return running != nullptr ? running->core : nullptr;
}

void count_refusal(bool full) noexcept {
  const covered here;
  if (runtime_core* core = core_of_this_thread()) {
    core->count(full ? &cell_counters::refused_full : &cell_counters::refused_dead);
  } else {
    (full ? refused_outside_full : refused_outside_dead).fetch_add(1, std::memory_order_relaxed);
    if (current_observer != nullptr) current_observer->refused_outside();
  }
}

send_result refuse(signal* s, send_result why) noexcept {
  if (!s->ops->internal) count_refusal(why == send_result::full);
  s->ops->discard(s, code_of(why), exit_reason(exit_reason::kind::no_cell));
  return why;
}

runtime_core& core_at(cell_slot* slot) noexcept { return *static_cast<runtime_core*>(slab_store::context_of(slot)); }

/// A bounded mailbox counts before it links; the count may briefly exceed the limit while refused senders back out.
/// Relaxed is enough: `queued` is a count and nothing else. Every change is a read-modify-write, which works on the last
/// value there is, so no two senders get the same place and no place is lost; the signal itself is handed over by the
/// inbox word. Whether the limit read is that of `seen`'s tenant shows in the push that follows, or in full_or_gone.
bool reserve_place(cell_slot& slot) noexcept {
  const std::uint32_t limit = slot.info.load(std::memory_order_relaxed)->mailbox_limit;
  if (slot.queued.fetch_add(1, std::memory_order_relaxed) < limit) return true;
  slot.queued.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

/// The limit that refused a signal may be that of a successor in the slot.
send_result full_or_gone(const cell_slot& slot, std::uint64_t seen, send_result if_gone) noexcept {
  return inbox_word::tag_of(slot.inbox.look()) == inbox_word::tag_of(seen) ? send_result::full : if_gone;
}

/// `wake` is called with the slot if the signal made the cell runnable; the caller owns the cell then.
template <class Wake>
inline send_result deliver_seen(cell_slot& slot, std::uint64_t seen, signal* s, send_result if_gone,
                                Wake&& wake) noexcept {
  // Waking an idle cell writes its hot line too: fetch it while the word is being changed. Not of a busy one, which needs it.
  if (inbox_word::is_idle(seen)) prefetch_for_write(&slot.run_link);
  const bool counted = inbox_word::is_bounded(seen) && !s->ops->internal;
  if (counted && !reserve_place(slot)) return refuse(s, full_or_gone(slot, seen, if_gone));
  switch (slot.inbox.push(s, seen)) {
    case inbox_word::push_result::queued: return send_result::accepted;
    case inbox_word::push_result::owner:
      pending_push_back(slot, s);
      wake(slot);
      return send_result::accepted;
    case inbox_word::push_result::refused: break;
  }
  if (counted) slot.queued.fetch_sub(1, std::memory_order_relaxed);
  return refuse(s, if_gone);
}

#if defined(__GNUC__)
thread_local constinit const cell_slot* last_receiver __attribute__((tls_model("initial-exec"))) = nullptr;
#endif

/// To a thread outside, a receiver that it has not just sent to is likely far away, and idle: its lines come at the same time, and
/// as our own, not one after the other and first to be read. From one that is being flooded the second line would be stolen.
/// Scatter to 500,000 cells takes 15% less by it; a worker's sends, which stay near, would take longer.
inline void fetch(cell_slot& slot) noexcept {
  if (worker::current() != nullptr || &slot == last_receiver) return;
  last_receiver = &slot;
  prefetch_for_write(&slot.inbox);
  prefetch_for_write(&slot.run_link);
}

template <class Wake>
inline send_result deliver_to_incarnation(cell_slot* slot, std::uint32_t generation, signal* s, Wake&& wake) noexcept {
  if (slot == nullptr) return refuse(s, send_result::dead);
  fetch(*slot);
  const std::uint64_t seen = slot->inbox.look();
  if (inbox_word::tag_of(seen) != inbox_word::tag_of_incarnation(generation) || !inbox_word::accepts(seen)) {
    return refuse(s, send_result::dead);
  }
  return deliver_seen(*slot, seen, s, send_result::dead, std::forward<Wake>(wake));
}

template <class Wake>
inline send_result deliver_to_current(cell_slot* slot, std::uint32_t role, signal* s, Wake&& wake) noexcept {
  if (slot == nullptr || role == 0) return refuse(s, send_result::dead);
  fetch(*slot);
  // First the word, then the role: a role changes only while the word is vacant, so if the role is still the one meant
  // after the look, the word's incarnation belongs to it; push fails if the word has changed since.
  const std::uint64_t seen = slot->inbox.look();
  if (slot->role.load(std::memory_order_acquire) != role) return refuse(s, send_result::dead);
  if (!inbox_word::accepts(seen)) return refuse(s, send_result::restarting);
  return deliver_seen(*slot, seen, s, send_result::restarting, std::forward<Wake>(wake));
}

inline void schedule_now(cell_slot& slot) noexcept {
  runtime_core& core = core_at(&slot);
  // A wave of exits (a supervisor's, an operator's) shares its worker with the cells that it does not concern: in the lane of
  // pinned tasks it gets its share of the turns, and does not stand as one long queue before them.
  const bool own_lane = slot.pending_tail != nullptr && slot.pending_tail->ops->urgent;
  core.workers().schedule(&slot.run_link, slot.home, own_lane || slot.has(cell_slot::pinned));
}

}  // namespace

void count_late_answer() noexcept {
  const covered here;
  if (runtime_core* core = core_of_this_thread()) core->count(&cell_counters::late_answers);
}

std::uint64_t refused_outside(bool full) noexcept {
  return (full ? refused_outside_full : refused_outside_dead).load(std::memory_order_relaxed);
}

send_result deliver(cell_slot* slot, std::uint32_t generation, signal* s) noexcept {
  return deliver_to_incarnation(slot, generation, s, &schedule_now);
}

send_result deliver_to_role(cell_slot* slot, std::uint32_t role, signal* s) noexcept {
  return deliver_to_current(slot, role, s, &schedule_now);
}

// ---- many receivers ------------------------------------------------------------------------------------------------

void bulk_sender::fetch(const cell_slot* slot) noexcept {
  if (slot == nullptr) return;
  prefetch_for_write(&slot->inbox);
  prefetch_for_write(&slot->run_link);
}

send_result bulk_sender::send(const address& to, bool role, signal* s) noexcept {
  auto wake_later = [this](cell_slot& slot) noexcept { wake(slot); };
  return role ? deliver_to_current(to.slot, to.number, s, wake_later)
              : deliver_to_incarnation(to.slot, to.number, s, wake_later);
}

void bulk_sender::wake(cell_slot& slot) noexcept {
  // On a worker, waking costs next to nothing, and a pinned cell has a queue of its own.
  if (worker::current() != nullptr || slot.has(cell_slot::pinned)) return schedule_now(slot);
  constexpr std::size_t handed_over_together = 32;
  const scheduler& workers = core_at(&slot).workers();
  worker* target = &workers.at(workers.route(slot.home));
  chain* mine = nullptr;
  for (chain& c : chains_) {
    if (c.target == target) mine = &c;
  }
  if (mine == nullptr) {
    mine = &chains_[next_++ % chains_.size()];
    hand_over(*mine);
    mine->target = target;
  }
  slot.run_link.next = nullptr;
  if (mine->first == nullptr) {
    mine->first = &slot.run_link;
  } else {
    mine->last->next = &slot.run_link;
  }
  mine->last = &slot.run_link;
  if (++mine->size == handed_over_together) hand_over(*mine);
}

void bulk_sender::hand_over(chain& c) noexcept {
  if (c.first != nullptr) static_cast<worker*>(c.target)->push_remote(c.first, c.last);
  c.first = nullptr;
  c.size = 0;
}

void bulk_sender::flush() noexcept {
  for (chain& c : chains_) hand_over(c);
}

send_result find_tell(const address& a, std::type_index type, const signal_ops*& ops) {
  const auto dead = [] {
    count_refusal(false);
    return send_result::dead;
  };
  if (a.slot == nullptr) return dead();
  const std::uint64_t seen = a.slot->inbox.look();
  if (inbox_word::tag_of(seen) != inbox_word::tag_of_incarnation(a.number) || !inbox_word::accepts(seen)) return dead();
  const class_info* info = a.slot->info.load(std::memory_order_relaxed);
  // The class was that of `seen`'s tenant only if the tenant is still there; the push that follows checks once more.
  if (inbox_word::tag_of(a.slot->inbox.look()) != inbox_word::tag_of(seen)) return dead();
  ops = info->find_tell(type);
  if (ops != nullptr) return send_result::accepted;
  core_at(a.slot).count(&cell_counters::refused_no_handler);
  return send_result::no_handler;
}

bool incarnation_alive(const address& a) noexcept {
  if (a.slot == nullptr) return false;
  const std::uint64_t seen = a.slot->inbox.look();
  return inbox_word::tag_of(seen) == inbox_word::tag_of_incarnation(a.number) && inbox_word::accepts(seen);
}

bool role_alive(const address& a) noexcept {
  return a.slot != nullptr && a.number != 0 && a.slot->role.load(std::memory_order_acquire) == a.number;
}

address incarnation_of_role(const address& a) noexcept {
  if (!role_alive(a)) return {a.slot, 0};
  const std::uint64_t seen = a.slot->inbox.look();
  const std::uint32_t number = a.slot->incarnation.load(std::memory_order_relaxed);
  // As in deliver_to_role; a number that is not the word's belongs to a neighbour in time.
  if (!inbox_word::accepts(seen) || inbox_word::tag_of(seen) != inbox_word::tag_of_incarnation(number) ||
      !role_alive(a)) {
    return {a.slot, 0};
  }
  return {a.slot, number};
}

std::uint64_t identity(const address& a) noexcept {
  return (reinterpret_cast<std::uint64_t>(a.slot) >> 6) | (std::uint64_t{a.number} << 41);
}

}  // namespace detail
}  // namespace karyon
