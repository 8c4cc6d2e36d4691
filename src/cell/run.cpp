#include <sched.h>

#include <utility>

#include "cell/away.hpp"
#include "cell/backlog.hpp"
#include "cell/extras.hpp"
#include "cell/lifecycle.hpp"
#include "cell/observer.hpp"
#include "cell/runtime_core.hpp"

namespace karyon::detail {

// The model once more: GCC forgets that of the declaration here, and calls a function twice a turn to find the variable.
thread_local constinit run_context* running __attribute__((tls_model("initial-exec"))) = nullptr;
thread_local constinit cell_observer* current_observer = nullptr;

reply_address*& current_question() noexcept {
  static thread_local reply_address* none = nullptr;  // outside handlers: always null
  // A cell constructed by a handler has no part in the question that the handler answers.
  if (running != nullptr && slot_under_construction() == nullptr) return running->question;
  none = nullptr;
  return none;
}

const behavior_table* current_behavior() noexcept {
  const cell_extras* e = running->slot->extras;
  return e != nullptr ? e->behavior : nullptr;
}

void pending_append(cell_slot& s, signal* newest) noexcept {
  // Reverse: oldest first.
  signal* oldest = nullptr;
  while (newest != nullptr) {
    signal* following = newest->next;
    newest->next = oldest;
    oldest = newest;
    newest = following;
  }
  signal* urgent = nullptr;  // newest first again: pushing them to the front one by one restores their order
  while (oldest != nullptr) {
    signal* following = oldest->next;
    if (oldest->ops->urgent) {
      oldest->next = urgent;
      urgent = oldest;
    } else {
      pending_push_back(s, oldest);
    }
    oldest = following;
  }
  if (urgent != nullptr) pending_push_behind_urgent(s, urgent);
}

void pending_push_behind_urgent(cell_slot& s, signal* newest) noexcept {
  signal* earlier = nullptr;
  while (s.pending_tail != nullptr && s.pending_tail->next->ops->urgent) {
    signal* first = pending_pop(s);
    first->next = earlier;
    earlier = first;
  }
  for (signal* list : {newest, earlier}) {
    while (list != nullptr) {
      signal* following = list->next;
      pending_push_front(s, list);
      list = following;
    }
  }
}

namespace {

// So often a turn may end early, by a tick or a take-over, from one rest to the next, and the cell still count as woken.
constexpr std::uint8_t cut_turns_forgiven = 4;

// A power of two: two looks at a clock for each must cost next to nothing a turn.
constexpr std::uint64_t turns_a_sample = 256;

/// Calls `f`; what it throws becomes the cell's exit reason, of kind `as`. False if it threw.
template <class F>
[[gnu::always_inline]] inline bool guarded(run_context& context, F&& f,
                                           exit_reason::kind as = exit_reason::kind::error) noexcept {
  try {
    f();
    return true;
  } catch (...) {
    context.doomed = true;
    const cell_extras* e = context.slot->extras;
    context.why = e != nullptr && e->memory != nullptr && e->memory->over_quota()
                      ? exit_reason(exit_reason::kind::memory_limit)
                      : reason_of_current_exception(as);
    return false;
  }
}

/// After each call of the cell's code in a turn: acts on the timers that it has cancelled. Over its quota a cell ends, whether or
/// not it has caught the bad_alloc.
inline void after_user_code(run_context& context, const cell_slot& slot) noexcept {
  cell_extras* const e = slot.extras;
  if (e == nullptr) return;
  if (e->cancelled != nullptr) finish_cancels(*e);
  if (e->memory != nullptr && e->memory->over_quota() && !context.doomed) {
    context.doomed = true;
    context.why = exit_reason::kind::memory_limit;
  }
}

/// Handles one signal and frees it. With KeepsLast (mailbox_policy::kept) it is handled as a copy where that can be, and is not freed
/// if the handler throws: the next incarnation gets it. A handler that has returned has handled it, also if the cell ends by it.
template <bool KeepsLast>
[[gnu::always_inline]] inline void handle(run_context& context, cell_slot& slot, signal* s) noexcept {
  const signal_ops* ops = s->ops;
  const auto invoke = KeepsLast && ops->invoke_copy != nullptr ? ops->invoke_copy : ops->invoke;
  if (!guarded(context, [&] { invoke(slot.object(), *s); })) {
    context.failed_handling = ops->type;
    if (KeepsLast && ops->invoke_copy != nullptr) {
      context.last = s;
      return;
    }
    if (KeepsLast && !ops->internal) context.core->count(&cell_counters::dropped_dead);  // it was moved from
  }
  if (ops->trivial) {
    free_signal(s, ops->bytes);
  } else {
    ops->discard(s, errc::cell_failed, context.why);
  }
  after_user_code(context, slot);
}

/// Whether the handler of `s` runs elsewhere than on a worker. Two loads for nearly all signals.
inline bool leaves_worker(const runtime_core& core, const signal& s) noexcept {
  const handler_site* site = s.ops->site;
  return site != nullptr && site->elsewhere.load(std::memory_order_relaxed) != 0 &&
         core.place_of(*site) != execution::worker;
}

/// `s`, whose handler runs elsewhere, is to be handled next: puts it back, and says whether it is still next, now that all is
/// looked at which has arrived. Urgent signals are not to wait for a pool.
template <bool Needs>
[[gnu::noinline]] bool put_back_heavy(cell_slot& slot, backlog* waiting, signal* s) noexcept {
  if constexpr (Needs) {
    put_back(slot, waiting, s);
    return true;  // all was looked at right before
  }
  pending_push_front(slot, s);
  if (slot.inbox.has_signals()) pending_append(slot, slot.inbox.take_all());
  return slot.pending_tail->next == s;
}

/// The same, timed for the histogram of its type.
template <bool KeepsLast>
[[gnu::noinline]] void handle_sample(run_context& context, cell_slot& slot, signal* s) noexcept {
  handler_site* const site = s->ops->site;
  const std::uint64_t began_ns = monotonic_ns();
  handle<KeepsLast>(context, slot, s);
  if (site == nullptr) return;
  const std::uint64_t took_ns = monotonic_ns() - began_ns;
  if (handler_record* r = context.core->overruns().record_of(*site)) r->sample(took_ns);
}

/// Gives the cell up if nothing waits for it: then its turns that were cut short are forgotten, before, since it may already run
/// elsewhere when this returns.
[[gnu::always_inline]] inline bool rests(cell_slot& slot) noexcept {
  const std::uint8_t cut = slot.cut_turns;
  if (cut != 0) [[unlikely]]
    slot.cut_turns = 0;
  if (slot.inbox.go_idle()) return true;
  if (cut != 0) [[unlikely]]
    slot.cut_turns = cut;
  return false;
}

/// Whether a turn that has ended before its work does not count as used up. Few signals within the time say little: the system may
/// have had the core meanwhile. So the cell is not behind all that never rest, until that has become a habit.
[[gnu::always_inline]] inline bool is_forgiven(cell_slot& slot, const run_context& context,
                                               std::uint32_t handled) noexcept {
  if (handled >= context.turn || slot.cut_turns >= cut_turns_forgiven) return false;
  ++slot.cut_turns;
  return true;
}

/// Whether it waits in a lane in which all have the same right, however they come.
bool has_equal_lane(const cell_slot& slot) noexcept {
  return slot.has(cell_slot::pinned) || slot.info.load(std::memory_order_relaxed)->needs.run == priority::high;
}

/// The rest of a turn in which the worker was taken over: this thread is nobody's worker now. The cell goes on at home.
[[gnu::noinline]] void finish_lost_turn(run_context& context, cell_slot& slot, seat& here,
                                        std::uint32_t handled) noexcept {
  worker_is_lost();
  here.end_turn();
  runtime_core& core = *context.core;
  slot.handled += handled;
  context.unsettled = 0;
  core.count(&cell_counters::handled, handled);
  if (context.doomed) {
    finish_cell(context);
  } else if (slot.has(cell_slot::particular) || slot.pending_tail != nullptr || !rests(slot)) {
    if (!has_equal_lane(slot) && !is_forgiven(slot, context, handled)) slot.run_link.run = &run_returned_cell;
    core.schedule(slot);
  }
  running = nullptr;
}

/// The turn has ended because a receiver is nearly full (note_overrun).
void remember_overrun(const run_context& context, backlog* b) noexcept {
  if (context.overran.slot == nullptr) return;
  context.core->count(&cell_counters::slowed);
  if (b == nullptr) return;  // no memory for more than this once
  b->overran = context.overran;
  b->turns_given = 0;
}

/// `Observed`: with an observer, in a simulation. `KeepsLast`: a failing signal stays (mailbox_policy::kept). `Needs`: the class has
/// turn_needs.
///
/// Between the places marked "covered" nothing of the worker's is touched, by whatever this calls: another thread may run it.
/// `here`: null where nobody watches. `Sampled`: the first handler is timed, for the histogram of its type, if `sample`.
template <bool Observed, bool KeepsLast, bool Sampled, bool Needs>
[[gnu::always_inline]] inline void run_turn(cell_slot& slot, worker& w, seat* const here, bool sample = Sampled) {
  auto& core = *static_cast<runtime_core*>(w.owner().user);
  run_context context(slot, core);
  running = &context;
  auto& counters = static_cast<worker_state*>(w.user)->counters;
  if constexpr (Observed) core.observer()->runs(slot);
  context.turn = w.owner().signals_per_turn();
  const std::uint64_t started = w.ticks();
  backlog* const waiting = Needs ? backlog_of(slot) : nullptr;
  if constexpr (Needs) {
    if (here != nullptr) here->now(&overflow_ops);  // of what is dropped, the destructors are the user's
    if (waiting != nullptr && gives_way(slot, *waiting, started)) {
      if (here != nullptr && !here->leave()) [[unlikely]]
        return finish_lost_turn(context, slot, *here, 0);
      core.schedule_again(slot);
      running = nullptr;
      return;
    }
  }
  const bool bounded = slot.info.load(std::memory_order_relaxed)->mailbox_limit != 0;
  std::uint64_t settled = started;
  std::uint32_t n = 0;

  if (slot.has(cell_slot::starting)) {
    slot.set(cell_slot::starting, false);
    if (here != nullptr) here->now(&start_hook_ops);
    guarded(
        context, [&] { slot.info.load(std::memory_order_relaxed)->started(slot.object()); },
        exit_reason::kind::start_failed);
    after_user_code(context, slot);
  }
  // What must be written before the cell is given up: after go_idle it may already run elsewhere. Covered.
  auto settle = [&](std::uint32_t count) {
    slot.handled += count;
    context.unsettled = 0;
    counters.handled.store(counters.handled.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
    const std::uint64_t now = w.ticks();
    slot.busy_ticks += static_cast<std::uint32_t>(now - settled);
    settled = now;
  };
  while (!context.doomed) {
    if (Needs && here != nullptr) here->now(&overflow_ops);
    signal* s = Needs ? next_signal(slot, waiting) : pending_pop(slot);
    if (s == nullptr) {
      if constexpr (!Needs) {
        if (signal* list = slot.inbox.take_all()) {
          pending_append(slot, list);
          continue;
        }
      }
      if (here != nullptr && !here->leave()) [[unlikely]]
        return finish_lost_turn(context, slot, *here, n);
      settle(n);
      n = 0;
      if (rests(slot)) {
        running = nullptr;
        return;
      }
      if constexpr (Needs) {
        // A sender is shortening the list: others run meanwhile, and perhaps the sender, which may wait for this very core.
        if (slot.inbox.is_trimmed()) {
          sched_yield();
          core.schedule_again(slot);
          running = nullptr;
          return;
        }
      }
      if (here != nullptr) here->expose();
      continue;
    }
    if (leaves_worker(core, *s)) [[unlikely]] {
      if (!put_back_heavy<Needs>(slot, waiting, s)) continue;
      if (here != nullptr && !here->leave()) [[unlikely]]
        return finish_lost_turn(context, slot, *here, n);
      settle(n);
      n = 0;
      if (send_away(slot, core, core.place_of(*s->ops->site))) {
        running = nullptr;
        return;
      }
      s = Needs ? take_put_back(slot, waiting) : pending_pop(slot);  // no thread: here
      if (here != nullptr) here->expose();
    }
    if (!s->ops->internal) {
      context.unsettled = ++n;
      if (bounded) slot.queued.fetch_sub(1, std::memory_order_relaxed);
    }
    if constexpr (Observed) {
      const bool counted = !s->ops->internal;
      if (!core.observer()->admits(slot, *s)) {
        if (counted) context.unsettled = --n;
        continue;
      }
    }
    if (here != nullptr) here->now(s->ops);
    if (Sampled && sample) {
      sample = false;
      handle_sample<KeepsLast>(context, slot, s);
    } else {
      handle<KeepsLast>(context, slot, s);
    }
    if (n >= context.turn || w.ticks() != started) {
      if (context.doomed) break;
      if constexpr (Needs) remember_overrun(context, waiting);
      if (here != nullptr && !here->leave()) [[unlikely]]
        return finish_lost_turn(context, slot, *here, n);
      settle(n);
      if constexpr (!Needs && !Observed) {
        // One that has nothing left does not wait among those that have: what comes next would wait with it, for all of them. In a
        // simulation it may: any order may be met, and a seed keeps its meaning.
        if (slot.pending_tail == nullptr && rests(slot)) {
          running = nullptr;
          return;
        }
      }
      if constexpr (!Observed) {
        if (is_forgiven(slot, context, n)) {
          core.schedule_cut_short(slot);
          running = nullptr;
          return;
        }
      }
      core.schedule_again(slot);
      running = nullptr;
      return;
    }
    // Urgent signals overtake: look for them now and then while a backlog is worked off.
    if (!Needs && (n & 15u) == 0 && slot.inbox.has_signals()) pending_append(slot, slot.inbox.take_all());
  }
  if (here != nullptr && !here->cover()) [[unlikely]]
    return finish_lost_turn(context, slot, *here, n);
  settle(n);
  if constexpr (Observed) core.observer()->ends(slot, context.why);
  finish_cell(context);
  if (here != nullptr) here->end_turn();
  running = nullptr;
}

// Apart, so that nearly all cells, which have no such policies, and turns without a sample pay one look at their flags.
template <bool Observed>
[[gnu::noinline]] void run_particular_turn(cell_slot& slot, worker& w, seat* here, bool sample) {
  const bool needs = slot.info.load(std::memory_order_relaxed)->needs.any;
  if (slot.has(cell_slot::keeps_last)) {
    if (needs) return run_turn<Observed, true, !Observed, true>(slot, w, here, sample);
    return run_turn<Observed, true, !Observed, false>(slot, w, here, sample);
  }
  if (needs) return run_turn<Observed, false, !Observed, true>(slot, w, here, sample);
  run_turn<Observed, false, !Observed, false>(slot, w, here, sample);
}
[[gnu::noinline]] void run_sampled_turn(cell_slot& slot, worker& w, seat* here) {
  run_turn<false, false, true, false>(slot, w, here);
}

}  // namespace

// ---- away ----------------------------------------------------------------------------------------------------------

namespace {

/// Handles a heavy signal, the cell's next.
void handle_away(run_context& context, cell_slot& slot, signal* s) noexcept {
  runtime_core& core = *context.core;
  if (cell_observer* o = core.observer(); o != nullptr && !o->admits(slot, *s)) return;
  context.unsettled = 1;
  const std::uint64_t began_ns = monotonic_ns();
  if (slot.has(cell_slot::keeps_last)) {
    handle<true>(context, slot, s);
  } else {
    handle<false>(context, slot, s);
  }
  context.unsettled = 0;
  ++slot.handled;
  // Not by the pulse, which rests while only pools are busy.
  slot.busy_ticks += static_cast<std::uint32_t>((monotonic_ns() - began_ns) / pulse::tick_ns);
  core.count(&cell_counters::handled);
}

/// The signal that the cell was sent here for, which is its next one also if its mailbox overflows. Null if something urgent has come
/// before it: that is for the cell's worker.
signal* take_heavy(cell_slot& slot, const class_info& info, backlog* waiting) noexcept {
  const signal* const first = slot.pending_tail->next;
  if (slot.inbox.has_signals()) take_in(slot);
  if (slot.pending_tail->next != first) return nullptr;
  signal* s = info.needs.any ? take_put_back(slot, waiting) : pending_pop(slot);
  if (info.mailbox_limit != 0) slot.queued.fetch_sub(1, std::memory_order_relaxed);
  if (info.needs.any) drop_excess(slot, waiting);
  return s;
}

}  // namespace

bool send_away(cell_slot& s, runtime_core& core, execution where) noexcept {
  scheduler& workers = core.workers();
  dirty_pool& pool = workers.dirty().at(kind_of(where), workers.at(s.home).node());
  if (!workers.simulated()) return pool.push(&s.run_link);
  pool.count_simulated();
  s.run_link.run = &run_simulated_away_cell;
  workers.schedule(&s.run_link, s.home, true);
  return true;
}

void run_away_cell(task* t) noexcept {
  cell_slot& slot = cell_slot::of(t);
  runtime_core& core = core_of(&slot);
  run_context context(slot, core);
  running = &context;
  if (cell_observer* o = core.observer()) o->runs(slot);
  const class_info& info = *slot.info.load(std::memory_order_relaxed);
  backlog* const waiting = info.needs.any ? backlog_of(slot) : nullptr;
  if (signal* s = take_heavy(slot, info, waiting)) handle_away(context, slot, s);
  if (context.doomed) {
    if (cell_observer* o = core.observer()) o->ends(slot, context.why);
    finish_cell(context);
    running = nullptr;
  } else {
    remember_overrun(context, waiting);
    running = nullptr;
    core.schedule(slot);
  }
}

void run_simulated_away_cell(task* t, worker&) {
  t->run = core_of(&cell_slot::of(t)).observer() != nullptr ? &run_observed_cell : &run_cell;
  // What runs there is no worker.
  worker* const me = std::exchange(current_worker, nullptr);
  run_away_cell(t);
  current_worker = me;
}

void run_cell(task* t, worker& w) {
  cell_slot& slot = cell_slot::of(t);
  seat* const here = current_seat;
  const bool sampled = here != nullptr && here->begin_turn(&slot) % turns_a_sample == 0;
  if (slot.has(cell_slot::keeps_last) || slot.has(cell_slot::particular)) [[unlikely]]
    return run_particular_turn<false>(slot, w, here, sampled);
  if (sampled) [[unlikely]]
    return run_sampled_turn(slot, w, here);
  run_turn<false, false, false, false>(slot, w, here);
}

void run_returned_cell(task* t, worker&) {
  t->run = &run_cell;
  cell_slot& slot = cell_slot::of(t);
  core_of(&slot).schedule_again(slot);
}

void look_into_cell(task& t) noexcept {
  if (t.run == &run_cell) prefetch_for_write(cell_slot::of(&t).pending_tail);
}

void run_observed_cell(task* t, worker& w) {
  cell_slot& slot = cell_slot::of(t);
  if (slot.has(cell_slot::keeps_last) || slot.has(cell_slot::particular))
    return run_particular_turn<true>(slot, w, nullptr, false);
  run_turn<true, false, false, false>(slot, w, nullptr);
}

}  // namespace karyon::detail
