#include <array>
#include <new>
#include <utility>

#include <karyon/cell/broadcast.hpp>

#include "cell/backlog.hpp"
#include "cell/extras.hpp"
#include "cell/lifecycle.hpp"
#include "cell/runtime_core.hpp"
#include "cell/stub.hpp"

namespace karyon {

const char* to_string(send_result r) noexcept {
  switch (r) {
    case send_result::accepted: return "accepted";
    case send_result::dead: return "dead";
    case send_result::restarting: return "restarting";
    case send_result::full: return "full";
    case send_result::no_handler: return "no_handler";
    case send_result::dropped: return "dropped";
    case send_result::no_route: return "no_route";
    case send_result::peer_down: return "peer_down";
    case send_result::no_credit: return "no_credit";
    case send_result::expired: return "expired";
    case send_result::too_large: return "too_large";
    case send_result::closed: return "closed";
    case send_result::not_declared: return "not_declared";
  }
  return "unknown";
}

namespace detail {

namespace {

thread_local constinit deferred_discards* discards_later = nullptr;

errc code_of(send_result r) noexcept {
  switch (r) {
    case send_result::restarting: return errc::restarting;
    case send_result::full:
    case send_result::dropped: return errc::mailbox_full;
    case send_result::no_route: return errc::no_route;
    case send_result::peer_down: return errc::peer_down;
    case send_result::no_credit: return errc::no_credit;
    case send_result::expired: return errc::expired;
    case send_result::too_large: return errc::too_large;
    case send_result::closed: return errc::closed;
    case send_result::not_declared: return errc::not_declared;
    case send_result::no_handler: return errc::unsupported;
    default: return errc::dead;
  }
}

constexpr std::size_t losses = 6;

/// The runtime that the calling thread belongs to, or null.
runtime_core* core_of_this_thread() noexcept {
  if (worker* w = worker::current()) return static_cast<runtime_core*>(w->owner().user);
  return running != nullptr ? running->core : nullptr;
}

/// What a sender's doing loses is counted where the sender is: the receiver's runtime may be long gone.
std::array<std::atomic<std::uint64_t>, losses> outside{};

void count_loss(loss cause, std::uint64_t n = 1) noexcept {
  // By loss.
  constexpr std::array<std::atomic<std::uint64_t> cell_counters::*, losses> inside{
      &cell_counters::refused_dead,   &cell_counters::refused_full, &cell_counters::dropped_newest,
      &cell_counters::dropped_oldest, &cell_counters::conflated,    &cell_counters::dropped_dead};
  const auto i = static_cast<std::size_t>(cause);
  const covered here;
  if (runtime_core* core = core_of_this_thread()) {
    core->count(inside[i], n);
  } else {
    outside[i].fetch_add(n, std::memory_order_relaxed);
    if (current_observer != nullptr) current_observer->lost_outside(cause, n);
  }
}

loss loss_of(send_result r) noexcept {
  switch (r) {
    case send_result::full: return loss::full;
    case send_result::dropped: return loss::newest;
    default: return loss::dead;
  }
}

send_result refuse(signal* s, send_result why) noexcept {
  if (!s->ops->internal) count_loss(loss_of(why));
  s->ops->discard(s, code_of(why), exit_reason(exit_reason::kind::no_cell));
  return why;
}

/// Nobody accepts there: either it is a cell in another process, or it has ended.
[[gnu::noinline]] send_result deliver_elsewhere(cell_slot* slot, std::uint32_t number, signal* s,
                                                send_result if_gone) noexcept {
  stub to;
  if (!find_stub({slot, number}, to)) return refuse(s, if_gone);
  const remote_gate::pass through(*to.gate);
  if (through.port() == nullptr) {
    // Its node is going, and counts no more.
    if (!s->ops->internal) count_loss(loss::dead);
    return refuse_remote(s, send_result::closed, exit_reason(exit_reason::kind::node_down));
  }
  return through.port()->forward(to, s);
}

runtime_core& core_at(cell_slot* slot) noexcept { return *static_cast<runtime_core*>(slab_store::context_of(slot)); }

/// A cell of a class that asked for it ends its turn after this handler (run_turn), because it has brought `receiver` near its
/// limit. Its own mailbox is none of that: only its handlers can empty it.
void note_overrun(cell_slot& receiver) noexcept {
  run_context* sender = running;
  if (sender == nullptr || sender->slot == &receiver) return;
  if (!sender->slot->info.load(std::memory_order_relaxed)->needs.slows) return;
  sender->overran = receiver.at();
  sender->turn = 0;
}

/// The tenant of `seen` drops what waits: takes the oldest out for it, or what newer ones replace. False if nothing is gained.
/// Not wait-free for others: who finds a trim under way is refused, and the owner leaves the mailbox alone until it is over.
bool make_room(cell_slot& slot, std::uint32_t limit, std::uint64_t seen) noexcept {
  signal* const newest = slot.inbox.begin_trim(inbox_word::tag_of(seen));
  if (newest == nullptr) return false;
  shortened r = shorten(newest, limit);
  count_loss(loss::conflated, r.conflated);
  count_loss(loss::oldest, r.dropped);
  // Before others are let in, so that what lies in memory stays bounded.
  while (r.lost != nullptr) {
    deferred_discards::discard(std::exchange(r.lost, r.lost->next), errc::mailbox_full);
  }
  slot.queued.fetch_sub(r.conflated + r.dropped, std::memory_order_relaxed);
  const bool given_back = slot.inbox.end_trim(inbox_word::tag_of(seen), r.kept);
  // The cell has ended meanwhile, so what it would have discarded or kept (mailbox_policy) is lost with it.
  while (!given_back && r.kept != nullptr) {
    signal* const lost = std::exchange(r.kept, r.kept->next);
    if (!lost->ops->internal) {
      slot.queued.fetch_sub(1, std::memory_order_relaxed);
      count_loss(loss::dropped_dead);
    }
    deferred_discards::discard(lost, errc::dead);
  }
  return given_back && r.conflated + r.dropped != 0;
}

/// Whether the tenant of `seen` still accepts. One that has ended leaves its number in the word until the next one opens it, which
/// has given the slot its class by then.
bool is_still_there(const cell_slot& slot, std::uint64_t seen) noexcept {
  const std::uint64_t now = slot.inbox.look();
  return inbox_word::tag_of(now) == inbox_word::tag_of(seen) && inbox_word::accepts(now);
}

/// Counted already, as one of `before` + 1, and the mailbox is nearly full, or full: `accepted` if there is a place all the same.
[[gnu::noinline]] send_result reserve_when_crowded(cell_slot& slot, const class_info& info, std::uint32_t before,
                                                   std::uint64_t seen, send_result if_gone) noexcept {
  note_overrun(slot);
  const std::uint32_t limit = info.mailbox_limit;
  if (before < limit) return send_result::accepted;
  if (info.needs.drops_waiting() && (before < limits_in_memory * limit || make_room(slot, limit, seen))) {
    return send_result::accepted;
  }
  slot.queued.fetch_sub(1, std::memory_order_relaxed);
  // The limit that refuses may be that of a successor in the slot.
  if (!is_still_there(slot, seen)) return if_gone;
  return info.needs.on_overflow == overflow::drop_newest ? send_result::dropped : send_result::full;
}

/// A bounded mailbox counts before it links; the count may briefly exceed the limit while refused senders back out.
/// Relaxed is enough: `queued` is a count and nothing else. Every change is a read-modify-write, which works on the last
/// value there is, so no two senders get the same place and no place is lost; the signal itself is handed over by the
/// inbox word. Whether the limit read is that of `seen`'s tenant shows in the push that follows, or in what follows here: the
/// acquire of the class pairs with begin_incarnation's release, so who has read a successor's sees that its tenant is gone.
inline send_result reserve_place(cell_slot& slot, std::uint64_t seen, send_result if_gone) noexcept {
  const class_info& info = *slot.info.load(std::memory_order_acquire);
  const std::uint32_t before = slot.queued.fetch_add(1, std::memory_order_relaxed);
  if (before < crowded_from(info.mailbox_limit)) return send_result::accepted;
  return reserve_when_crowded(slot, info, before, seen, if_gone);
}

/// `wake` is called with the slot if the signal made the cell runnable; the caller owns the cell then.
template <class Wake>
inline send_result deliver_seen(cell_slot& slot, std::uint64_t seen, signal* s, send_result if_gone,
                                Wake&& wake) noexcept {
  // Waking an idle cell writes its hot line too: fetch it while the word is being changed. Not of a busy one, which needs it.
  if (inbox_word::is_idle(seen)) prefetch_for_write(&slot.run_link);
  const bool counted = inbox_word::is_bounded(seen) && !s->ops->internal;
  if (counted) {
    const send_result place = reserve_place(slot, seen, if_gone);
    if (!ok(place)) return refuse(s, place);
  }
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
thread_local constinit sequence_guess receivers __attribute__((tls_model("initial-exec")));
#endif

constexpr std::ptrdiff_t sends_ahead = 8;

/// To a thread outside, a receiver that it has not just sent to is likely far away, and idle: its lines come at the same time, and
/// as our own, not one after the other and first to be read. From one that is being flooded the second line would be stolen.
/// Scatter to 500,000 cells takes 15% less by it; a worker's sends, which stay near, would take longer.
inline void fetch(cell_slot& slot) noexcept {
  if (worker::current() != nullptr || receivers.last() == &slot) return;
  prefetch_for_write(&slot.inbox);
  prefetch_for_write(&slot.run_link);
  // To many in the order in which they were spawned: each send ends with an atomic operation, under which the next one's lines
  // could not come, so those of some later ones are asked for.
  if (const std::ptrdiff_t step = receivers.next(&slot); step != 0) {
    const std::uintptr_t later =
        reinterpret_cast<std::uintptr_t>(&slot) + static_cast<std::uintptr_t>(sends_ahead * step);
    prefetch_for_write(later + offsetof(cell_slot, inbox));
    prefetch_for_write(later + offsetof(cell_slot, run_link));
  }
}

template <class Wake>
inline send_result deliver_to_incarnation(cell_slot* slot, std::uint32_t generation, signal* s, Wake&& wake) noexcept {
  if (slot == nullptr) return refuse(s, send_result::dead);
  fetch(*slot);
  const std::uint64_t seen = slot->inbox.look();
  if (inbox_word::tag_of(seen) != inbox_word::tag_of_incarnation(generation) || !inbox_word::accepts(seen)) {
    return deliver_elsewhere(slot, generation, s, send_result::dead);
  }
  return deliver_seen(*slot, seen, s, send_result::dead, std::forward<Wake>(wake));
}

template <class Wake>
inline send_result deliver_to_current(cell_slot* slot, std::uint32_t role, signal* s, Wake&& wake) noexcept {
  if (slot == nullptr || role == 0) return refuse(s, send_result::dead);
  fetch(*slot);
  // First the word, then the role: a role changes only while the word is vacant, so if the role is still the one meant
  // after the look, the word's incarnation belongs to it; push fails if the word has changed since. Acquire pairs with the
  // releases in begin_role and make_stub; the look before it orders the same.
  const std::uint64_t seen = slot->inbox.look();
  if (slot->role.load(std::memory_order_acquire) != role) return refuse(s, send_result::dead);
  if (!inbox_word::accepts(seen)) return deliver_elsewhere(slot, role, s, send_result::restarting);
  return deliver_seen(*slot, seen, s, send_result::restarting, std::forward<Wake>(wake));
}

inline void schedule_now(cell_slot& slot) noexcept {
  runtime_core& core = core_at(&slot);
  // A wave of exits (a supervisor's, an operator's) shares its worker with the cells that it does not concern: in the lane of
  // pinned tasks it gets its share of the turns, and does not stand as one long queue before them.
  const bool own_lane = slot.pending_tail != nullptr && slot.pending_tail->ops->urgent;
  if (own_lane) return core.workers().schedule(&slot.run_link, slot.home, true);
  core.schedule(slot);
}

}  // namespace

deferred_discards::deferred_discards() noexcept {
  if (discards_later == nullptr) discards_later = this;
}
deferred_discards::~deferred_discards() {
  if (discards_later != this) return;
  discards_later = nullptr;  // first: what is discarded now may send in its turn
  while (full_ != nullptr) discard(std::exchange(full_, full_->next), errc::mailbox_full);
  while (dead_ != nullptr) discard(std::exchange(dead_, dead_->next), errc::dead);
}
void deferred_discards::discard(signal* lost, errc why) noexcept {
  if (discards_later == nullptr) return lost->ops->discard(lost, why, exit_reason(exit_reason::kind::no_cell));
  signal*& kept = why == errc::dead ? discards_later->dead_ : discards_later->full_;
  lost->next = std::exchange(kept, lost);
}

send_result refuse_remote(signal* s, send_result why, const exit_reason& reason) noexcept {
  s->ops->discard(s, code_of(why), reason);
  return why;
}

void count_late_answer() noexcept {
  const covered here;
  if (runtime_core* core = core_of_this_thread()) core->count(&cell_counters::late_answers);
}

std::uint64_t lost_outside(loss cause) noexcept {
  return outside[static_cast<std::size_t>(cause)].load(std::memory_order_relaxed);
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
  // On a worker, waking costs next to nothing, and pinned cells and those of high priority have queues of their own.
  if (worker::current() != nullptr || slot.has(cell_slot::pinned) || slot.has(cell_slot::particular)) {
    return schedule_now(slot);
  }
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

send_result find_tell(const address& a, std::type_index type, const signal_ops*& ops, const signal_ops& if_remote) {
  const auto dead = [&] {
    stub elsewhere;
    if (find_stub(a, elsewhere)) {
      ops = &if_remote;
      if (if_remote.remote != nullptr) return send_result::accepted;
      const remote_gate::pass through(*elsewhere.gate);
      if (through.port() != nullptr) {
        through.port()->refused_undeclared();
      } else {
        count_loss(loss::dead);
      }
      return send_result::not_declared;
    }
    count_loss(loss::dead);
    return send_result::dead;
  };
  if (a.slot == nullptr) return dead();
  const std::uint64_t seen = a.slot->inbox.look();
  if (inbox_word::tag_of(seen) != inbox_word::tag_of_incarnation(a.number) || !inbox_word::accepts(seen)) return dead();
  // Acquire pairs with begin_incarnation's release: who reads a later tenant's class sees then that the one meant is gone.
  const class_info* info = a.slot->info.load(std::memory_order_acquire);
  // The class was that of `seen`'s tenant only if the tenant is still there; the push that follows checks once more.
  if (!is_still_there(*a.slot, seen)) return dead();
  ops = info->find_tell(type);
  if (ops != nullptr) return send_result::accepted;
  core_at(a.slot).count(&cell_counters::refused_no_handler);
  return send_result::no_handler;
}

namespace {

bool is_reachable_stub(const address& a) noexcept {
  stub elsewhere;
  if (!find_stub(a, elsewhere)) return false;
  const remote_gate::pass through(*elsewhere.gate);
  return through.port() != nullptr && through.port()->reachable(elsewhere);
}

}  // namespace

bool incarnation_alive(const address& a) noexcept {
  if (a.slot == nullptr) return false;
  const std::uint64_t seen = a.slot->inbox.look();
  if (inbox_word::tag_of(seen) != inbox_word::tag_of_incarnation(a.number)) return false;
  return inbox_word::accepts(seen) || is_reachable_stub(a);
}

bool role_alive(const address& a) noexcept {
  // Acquire pairs with the releases in begin_role and make_stub: who finds the role sees its keeper, or the stub's word.
  return a.slot != nullptr && a.number != 0 && a.slot->role.load(std::memory_order_acquire) == a.number;
}

address incarnation_of_role(const address& a) noexcept {
  if (!role_alive(a)) return {a.slot, 0};
  const std::uint64_t seen = a.slot->inbox.look();
  const std::uint32_t number = a.slot->incarnation.load(std::memory_order_relaxed);
  if (stub elsewhere; !inbox_word::accepts(seen) && find_stub(a, elsewhere)) return a;  // its number is both
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
