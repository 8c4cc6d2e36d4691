#include "cell/extras.hpp"
#include "cell/lifecycle.hpp"
#include "cell/observer.hpp"
#include "cell/runtime_core.hpp"

namespace karyon::detail {

thread_local constinit run_context* running = nullptr;
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

constexpr std::uint64_t sampled_every = 256;  // so that two looks at a clock cost a fraction of a nanosecond a signal

/// Times a handler, for the histogram of its type.
class handler_sample {
public:
  explicit handler_sample(const signal_ops& ops) noexcept : site_(ops.site), began_ns_(monotonic_ns()) {}
  void end(runtime_core& core) const noexcept {
    if (site_ == nullptr) return;
    if (handler_record* r = core.overruns().record_of(*site_)) r->sample(monotonic_ns() - began_ns_);
  }

private:
  handler_site* site_;
  std::uint64_t began_ns_;
};

/// Calls user code `f`, named by `what`, in sight of the watch: the thread's worker may be taken over meanwhile.
template <class F>
inline void exposed(run_context& context, seat* here, const signal_ops& what, F&& f) noexcept(noexcept(f())) {
  if (here == nullptr) return f();
  const std::uint64_t number = here->begin(&what);
  if (number % sampled_every != 0) [[likely]] {
    f();
  } else {
    const handler_sample sample(what);
    f();
    sample.end(*context.core);
  }
  if (!here->end()) [[unlikely]] {
    context.lost = true;
    worker_is_lost();
  }
}

/// Calls `f`; what it throws becomes the cell's exit reason, of kind `as`. False if it threw.
template <class F>
bool guarded(run_context& context, F&& f, exit_reason::kind as = exit_reason::kind::error) noexcept {
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

/// Over its quota a cell ends, whether or not it has caught the bad_alloc.
inline void check_quota(run_context& context, const cell_slot& slot) noexcept {
  if (slot.extras != nullptr && slot.extras->memory != nullptr && slot.extras->memory->over_quota() &&
      !context.doomed) {
    context.doomed = true;
    context.why = exit_reason::kind::memory_limit;
  }
}

/// Handles one signal and frees it. With KeepsLast (mailbox_policy::kept) it is handled as a copy where that can be, and is not freed
/// if the handler throws: the next incarnation gets it. A handler that has returned has handled it, also if the cell ends by it.
template <bool KeepsLast>
inline void handle(run_context& context, cell_slot& slot, signal* s, seat* here) noexcept {
  const signal_ops* ops = s->ops;
  const auto invoke = KeepsLast && ops->invoke_copy != nullptr ? ops->invoke_copy : ops->invoke;
  bool returned = false;
  exposed(context, here, *ops, [&]() noexcept { returned = guarded(context, [&] { invoke(slot.object(), *s); }); });
  if (!returned) {
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
  check_quota(context, slot);
}

/// The rest of a turn in which a handler's worker was taken over: this thread is nobody's worker now. The cell goes on at home.
[[gnu::noinline]] void finish_lost_turn(run_context& context, cell_slot& slot, std::uint32_t handled) noexcept {
  runtime_core& core = *context.core;
  slot.handled += handled;
  context.unsettled = 0;
  core.count(&cell_counters::handled, handled);
  if (context.doomed) {
    finish_cell(context);
  } else {
    core.schedule(slot);
  }
  running = nullptr;
}

/// `Observed`: with an observer, in a simulation. `KeepsLast`: a failing signal stays (mailbox_policy::kept).
template <bool Observed, bool KeepsLast>
[[gnu::always_inline]] inline void run_turn(cell_slot& slot, worker& w) {
  auto& core = *static_cast<runtime_core*>(w.owner().user);
  run_context context(slot, core);
  running = &context;
  seat* const here = current_seat;
  if (here != nullptr) here->show(&slot);
  auto& counters = core.state_of(w.index()).counters;
  if constexpr (Observed) core.observer()->runs(slot);
  const std::uint32_t turn = core.workers().signals_per_turn();
  const std::uint64_t started = w.ticks();
  const bool bounded = slot.info.load(std::memory_order_relaxed)->mailbox_limit != 0;
  std::uint64_t settled = started;
  std::uint32_t n = 0;
  bool idle = false;

  if (slot.has(cell_slot::starting)) {
    slot.set(cell_slot::starting, false);
    const auto started_hook = slot.info.load(std::memory_order_relaxed)->started;
    exposed(context, here, start_hook_ops, [&]() noexcept {
      guarded(
          context, [&] { started_hook(slot.object()); }, exit_reason::kind::start_failed);
    });
    check_quota(context, slot);
    if (context.lost) [[unlikely]]
      return finish_lost_turn(context, slot, 0);
  }
  // What must be written before the cell is given up: after go_idle it may already run elsewhere.
  auto settle = [&](std::uint32_t count) {
    slot.handled += count;
    context.unsettled = 0;
    counters.handled.store(counters.handled.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
    const std::uint64_t now = w.ticks();
    slot.busy_ticks += static_cast<std::uint32_t>(now - settled);
    settled = now;
  };
  while (!context.doomed) {
    signal* s = pending_pop(slot);
    if (s == nullptr) {
      if (signal* list = slot.inbox.take_all()) {
        pending_append(slot, list);
        continue;
      }
      settle(n);
      n = 0;
      if (slot.inbox.go_idle()) {
        idle = true;
        break;
      }
      continue;
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
    handle<KeepsLast>(context, slot, s, here);
    if (context.lost) [[unlikely]]
      return finish_lost_turn(context, slot, n);
    if (n >= turn || w.ticks() != started) {
      if (context.doomed) break;
      settle(n);
      core.schedule_again(slot);
      idle = true;
      break;
    }
    // Urgent signals overtake: look for them now and then while a backlog is worked off.
    if ((n & 15u) == 0 && slot.inbox.has_signals()) pending_append(slot, slot.inbox.take_all());
  }
  if (!idle) {
    settle(n);
    if constexpr (Observed) core.observer()->ends(slot, context.why);
    finish_cell(context);
  }
  running = nullptr;
}

// Apart, so that cells without the policy, nearly all, pay one look at their flags a turn.
template <bool Observed>
[[gnu::noinline]] void run_keeping_turn(cell_slot& slot, worker& w) {
  run_turn<Observed, true>(slot, w);
}

template <bool Observed>
inline void run(task* t, worker& w) {
  cell_slot& slot = cell_slot::of(t);
  if (slot.has(cell_slot::keeps_last)) [[unlikely]]
    return run_keeping_turn<Observed>(slot, w);
  run_turn<Observed, false>(slot, w);
}

}  // namespace

void run_cell(task* t, worker& w) { run<false>(t, w); }
void run_observed_cell(task* t, worker& w) { run<true>(t, w); }

}  // namespace karyon::detail
