#include "cell/lifecycle.hpp"

#include <cxxabi.h>

#include <exception>
#include <memory>
#include <new>
#include <string>
#include <typeinfo>

#include "cell/backend.hpp"
#include "cell/extras.hpp"
#include "cell/links.hpp"
#include "cell/migration.hpp"
#include "cell/observer.hpp"
#include "cell/runtime_core.hpp"
#include "core/demangled.hpp"

namespace karyon::detail {

namespace {

thread_local constinit cell_slot* constructing = nullptr;

exit_reason describe_current_exception(exit_reason::kind as) {
  try {
    throw;
  } catch (const std::exception& e) {
    return {as, demangled(typeid(e).name()), e.what()};
  } catch (const std::string& text) {
    return {as, "std::string", text};
  } catch (const char* text) {
    return {as, "const char*", text != nullptr ? text : "(null)"};
  } catch (int n) {
    return {as, "int", std::to_string(n)};
  } catch (...) {
    const std::type_info* type = abi::__cxa_current_exception_type();
    return {as, type != nullptr ? demangled(type->name()) : "unknown", ""};
  }
}

}  // namespace

exit_reason reason_of_current_exception(exit_reason::kind as) noexcept {
  try {
    return describe_current_exception(as);
  } catch (...) {
    return as;  // no memory for its words, or a what() that throws: the bare kind allocates nothing
  }
}

construction_scope::construction_scope(cell_slot* slot) noexcept : previous_(constructing) {
  constructing = slot;
  // A constructor that a handler calls is a part of that handler.
  if (slot == nullptr || current_seat == nullptr || !current_seat->is_outside()) return;
  current_seat->watch_only(slot);
  current_seat->now(&constructor_ops);
  watched_ = true;
}
construction_scope::~construction_scope() {
  constructing = previous_;
  if (watched_) current_seat->end_turn();
}

cell_slot* slot_under_construction() noexcept { return constructing; }

runtime_core& core_of(cell_slot* slot) noexcept { return *static_cast<runtime_core*>(slab_store::context_of(slot)); }

// ---- slots ---------------------------------------------------------------------------------------------------------

void initialise_slot(void* memory, void* core) {
  // Fresh memory is zero; a recycled slot keeps its inbox word (vacant) and its incarnation, or stale handles could match.
  auto& s = *static_cast<cell_slot*>(memory);
  const bool observed = static_cast<runtime_core*>(core)->observer() != nullptr;
  ::new (&s.run_link) task(observed ? &run_observed_cell : &run_cell);
  s.role.store(0, std::memory_order_relaxed);
  s.pending_tail = nullptr;
  s.flags = 0;
  s.keeper_bits.store(0, std::memory_order_relaxed);
  s.noted.store(0, std::memory_order_relaxed);
  s.extras = nullptr;
  s.keeper.store(nullptr, std::memory_order_relaxed);
  backend_construct(s, *static_cast<runtime_core*>(core));
}

cell_slot& take_slot(runtime_core& core, const class_info& info, std::uint32_t node) {
  const covered here;
  worker_state* local = core.local();
  void* memory = core.slabs().allocate(slot_bytes_of(info), node, local != nullptr ? &local->cache : nullptr);
  return *static_cast<cell_slot*>(memory);
}

void begin_incarnation(cell_slot& s, const class_info& info) noexcept {
  const std::uint32_t n = s.number() + 1;
  // Release pairs with the acquires in class_of, find_tell and reserve_place: who reads it sees that the tenant before has ended.
  s.info.store(&info, std::memory_order_release);
  s.object_offset = static_cast<std::uint16_t>(object_offset_of(info));
  s.pending_tail = s.has(cell_slot::holds_kept) ? s.kept_tail : nullptr;
  s.set(cell_slot::holds_kept, false);
  s.handled = 0;
  s.busy_ticks = 0;
  s.cut_turns = 0;
  s.extras = nullptr;
  s.set(cell_slot::starting, info.started != nullptr);
  s.set(cell_slot::trapping, false);
  s.set(cell_slot::particular, info.needs.any || info.needs.run != priority::normal);
  // `queued` stays: a sender that counted for an earlier incarnation may still be about to take that back.
  // Released by open: whoever sees the new word sees the number and the class.
  s.incarnation.store(n, std::memory_order_relaxed);
  s.inbox.open(n, info.mailbox_limit != 0);
  core_of(&s).count(&cell_counters::spawned);
}

void launch_cell(cell_slot& s) noexcept {
  if (s.has(cell_slot::starting) || s.pending_tail != nullptr || !s.inbox.go_idle()) core_of(&s).schedule(s);
}

void release_slot(cell_slot& s) noexcept {
  runtime_core& core = core_of(&s);
  discard_kept(s, exit_reason::shutdown());
  s.keeper.store(nullptr, std::memory_order_relaxed);
  // A slot whose incarnations have used up the inbox word's tag is never given to another class or role (inbox.hpp): it
  // stays out of the slabs, a few hundred bytes in 262,143 lives.
  if (s.number() >= inbox_word::tag_max) return;
  if (core.has_migrated()) return_pages(s);
  const covered here;
  worker_state* local = core.local();
  core.slabs().release(&s, local != nullptr ? &local->cache : nullptr);
}

std::uint32_t begin_role(cell_slot& s, guardian& keeper) noexcept {
  s.keeper.store(&keeper, std::memory_order_relaxed);  // released by the role below (role_keeper)
  s.set(cell_slot::in_role, true);
  const std::uint32_t role = s.number() + 1;
  // Release pairs with the acquire in role_alive, after which role_keeper is read. For deliver_to_role, which looks at the word
  // first, the word's open releases it.
  s.role.store(role, std::memory_order_release);
  return role;
}

void end_role(cell_slot& s) noexcept {
  s.set(cell_slot::in_role, false);
  const std::uint32_t role = s.role.exchange(0, std::memory_order_seq_cst);  // as close
  if (const std::uint8_t noted = s.noted.load(std::memory_order_seq_cst); noted != 0) [[unlikely]]
    core_of(&s).tell_role_end(noted, {&s, role});
}

// ---- spawning ------------------------------------------------------------------------------------------------------

reservation reserve(runtime_core& core, const class_info& info, placement where) {
  if (core.closing())
    throw runtime_error(error(errc::closed, "the runtime is shutting down: no cell is started any more"));
  const runtime_core::place place = core.choose(where);
  cell_slot& s = take_slot(core, info, place.node);
  s.home = place.home;
  s.flags = 0;
  s.set(cell_slot::pinned, place.pinned);
  begin_incarnation(s, info);
  return {s.at(), s.object()};
}

void launch(const reservation& r) noexcept {
  runtime_core& core = core_of(r.at.slot);
  launch_cell(*r.at.slot);
  // A shutdown that began after reserve() may have looked for cells before this one was one. Partner of the fence: shutdown's.
  process_fences::light();
  if (core.closing()) send_exit(r.at, {}, exit_reason::shutdown());
}

// ---- the end -------------------------------------------------------------------------------------------------------

namespace {

/// Discards one signal that was not handled; true if it was the user's.
bool discard(signal* lost, const exit_reason& why) noexcept {
  const bool users = !lost->ops->internal;
  lost->ops->discard(lost, errc::cell_failed, why);
  return users;
}

/// Discards all signals that were not handled; returns how many of the user's.
std::uint64_t discard_mailbox(cell_slot& s, signal* newest, cell_extras* extras, const exit_reason& why) noexcept {
  if (newest != nullptr) pending_append(s, newest);
  std::uint64_t n = 0;
  // A bounded mailbox's count is exact over all incarnations: whoever takes a signal out takes it off. Stashed ones are off.
  const bool limited = s.info.load(std::memory_order_relaxed)->mailbox_limit != 0;
  while (signal* lost = pending_pop(s)) {
    const bool bounded = limited && !lost->ops->internal;
    if (bounded) s.queued.fetch_sub(1, std::memory_order_relaxed);
    n += discard(lost, why) ? 1 : 0;
  }
  if (extras != nullptr) {
    for (signal* lost : extras->stash) n += discard(lost, why) ? 1 : 0;
    extras->stash.clear();
  }
  return n;
}

/// What is left of a mailbox.
struct mailbox_rest {
  std::uint64_t users = 0;    // the user's signals that were not handled
  std::uint64_t dropped = 0;  // of them
  signal* kept = nullptr;     // the others, a circular list by its tail
};

/// Takes the mailbox of a closed inbox apart: for the next incarnation (what the cell died of first, then what it had put aside,
/// then what waited), where the cell keeps it; else all is discarded.
mailbox_rest empty_mailbox(cell_slot& s, signal* newest, cell_extras* extras, signal* last,
                           const exit_reason& why) noexcept {
  mailbox_rest rest;
  if (extras != nullptr && extras->waiting != nullptr) gather(s, *extras->waiting);
  if (!s.has(cell_slot::keeps_mailbox)) {
    rest.users = rest.dropped = discard_mailbox(s, newest, extras, why);
    return rest;
  }
  if (newest != nullptr) pending_append(s, newest);
  signal* waiting = std::exchange(s.pending_tail, nullptr);
  // Those back from the stash, and the last one, count again.
  const bool limited = s.info.load(std::memory_order_relaxed)->mailbox_limit != 0;
  auto put_back = [&](signal* n) {
    if (limited) s.queued.fetch_add(1, std::memory_order_relaxed);
    pending_push_back(s, n);
    ++rest.users;
  };
  if (last != nullptr) put_back(last);
  if (extras != nullptr) {
    for (signal* n : extras->stash) put_back(n);
    extras->stash.clear();
  }
  signal* n = waiting != nullptr ? std::exchange(waiting->next, nullptr) : nullptr;
  while (n != nullptr) {
    signal* following = n->next;
    if (n->ops->internal) {
      n->ops->discard(n, errc::cell_failed, why);
    } else {
      pending_push_back(s, n);
      ++rest.users;
    }
    n = following;
  }
  rest.kept = std::exchange(s.pending_tail, nullptr);
  return rest;
}

void hold_kept(cell_slot& s, signal* kept) noexcept {
  if (kept == nullptr) return;
  s.kept_tail = kept;
  s.set(cell_slot::holds_kept, true);
}

bool is_failure(const exit_reason& why) noexcept {
  return why.why() == exit_reason::kind::error || why.why() == exit_reason::kind::memory_limit ||
         why.why() == exit_reason::kind::start_failed;
}

/// Hands the slot on: to its guardian, or back to the slab.
void pass_on(cell_slot& s, exit_reason why) noexcept {
  runtime_core& core = core_of(&s);
  if (guardian* keeper = s.keeper.load(std::memory_order_relaxed)) {
    ::new (&s.ended_why) exit_reason(std::move(why));
    core.count(&cell_counters::ended);
    keeper->child_ended(*keeper, s);
    return;
  }
  if (backend_release(s)) release_slot(s);
  core.count(&cell_counters::ended);  // last: at zero live cells the runtime may go
}

}  // namespace

namespace {

/// Calls user code of the end. In a turn of the cell's own the worker may be taken over meanwhile, as in a handler; a guardian
/// that ends a cell in place needs it afterwards.
template <class F>
void exit_hook(const run_context& context, F&& f) noexcept {
  seat* const here = current_seat;
  if (here == nullptr) return f();
  if (here->is_outside()) {
    here->watch_only(context.slot);
    here->now(&exit_hook_ops);
    f();
    return here->end_turn();
  }
  here->now(&exit_hook_ops);
  if (context.in_place) return f();
  here->expose();
  f();
  if (!here->cover()) worker_is_lost();
}

/// Tells who has noted the slot; the inbox is closed. Partner: runtime_service::note_end.
void tell_noted(cell_slot& s) noexcept {
  if (const std::uint8_t noted = s.noted.load(std::memory_order_seq_cst); noted != 0) [[unlikely]]
    core_of(&s).tell_end(noted, s.at());
}

/// All of the end but the handing on of the slot.
void finish_incarnation(run_context& context) noexcept {
  cell_slot& s = *context.slot;
  runtime_core& core = *context.core;
  const class_info& info = *s.info.load(std::memory_order_relaxed);
  context.closing = true;  // from here on the cell starts no timer, and its reason is settled
  if (info.exiting != nullptr) {
    exit_hook(context, [&]() noexcept {
      try {
        info.exiting(s.object(), context.why);
      } catch (...) {
        context.why = reason_of_current_exception();
      }
    });
  }
  if (s.extras != nullptr) cancel_all_timers(*s.extras);
  const mailbox_rest rest = empty_mailbox(s, s.inbox.close(), s.extras, context.last, context.why);
  if (rest.dropped != 0) core.count(&cell_counters::dropped_dead, rest.dropped);
  // Questions first: their continuations refer to the object, as do the coroutines, which the questions refer to. Then the
  // object, which may refer to its memory.
  if (s.extras != nullptr) s.extras->requests = {};
  exit_hook(context, [&]() noexcept {
    if (s.extras != nullptr) destroy_suspended(*s.extras, context.why);
    info.destroy(s.object());
  });
  if (is_failure(context.why)) {
    core.count(&cell_counters::failures);
    core.report_crash(s, context.why, context.failed_handling, rest.users);
  }
  tell_noted(s);
  std::unique_ptr<cell_extras> extras(std::exchange(s.extras, nullptr));
  if (extras != nullptr) tell_links(s.at(), *extras, context.why);
  extras.reset();  // with the cell's memory, before anybody can start the next incarnation
  backend_ended(s, context.why);
  hold_kept(s, rest.kept);  // last: it lies where the count of handled signals was
}

}  // namespace

void finish_cell(run_context& context) noexcept {
  finish_incarnation(context);
  pass_on(*context.slot, std::move(context.why));
}

exit_outcome exit_in_place(cell_slot& s, const exit_reason& why, exit_reason& ended_with) noexcept {
  if (!s.inbox.claim(s.number())) {
    return send_exit(s.at(), {}, why) ? exit_outcome::asked : exit_outcome::no_memory;
  }
  runtime_core& core = core_of(&s);
  const bool has_a_say =
      why.why() != exit_reason::kind::killed && (s.has(cell_slot::trapping) || why.why() == exit_reason::kind::normal);
  if (has_a_say) {
    try {
      pending_push_back(s, make_exit_request(why));
    } catch (const std::bad_alloc&) {
      if (!s.inbox.go_idle()) core.schedule(s);
      return exit_outcome::no_memory;
    }
    core.schedule(s);
    return exit_outcome::asked;
  }
  run_context context(s, core);
  context.why = why;
  context.in_place = true;
  if (cell_observer* o = core.observer()) o->ends(s, why);
  run_context* const outer = std::exchange(running, &context);
  finish_incarnation(context);
  running = outer;
  core.count(&cell_counters::ended);
  ended_with = std::move(context.why);
  return exit_outcome::ended;
}

void discard_kept_signals(cell_slot& s, const exit_reason& why) noexcept {
  s.pending_tail = s.kept_tail;
  s.set(cell_slot::holds_kept, false);
  const std::uint64_t dropped = discard_mailbox(s, nullptr, nullptr, why);
  core_of(&s).count(&cell_counters::dropped_dead, dropped);
}

void abandon_incarnation(cell_slot& s, const exit_reason& why) noexcept {
  runtime_core& core = core_of(&s);
  if (cell_observer* o = core.observer()) o->ends(s, why);
  std::unique_ptr<cell_extras> extras(std::exchange(s.extras, nullptr));
  if (extras != nullptr) cancel_all_timers(*extras);
  const mailbox_rest rest = empty_mailbox(s, s.inbox.close(), extras.get(), nullptr, why);
  if (rest.dropped != 0) core.count(&cell_counters::dropped_dead, rest.dropped);
  tell_noted(s);
  if (extras != nullptr) tell_links(s.at(), *extras, why);
  backend_ended(s, why);
  hold_kept(s, rest.kept);
  if (is_failure(why)) core.count(&cell_counters::failures);
}

void abandon(const reservation& r) noexcept {
  cell_slot& s = *r.at.slot;
  runtime_core& core = core_of(&s);
  abandon_incarnation(s, reason_of_current_exception(exit_reason::kind::start_failed));
  if (backend_release(s)) release_slot(s);
  core.count(&cell_counters::ended);  // last, as in pass_on
}

}  // namespace karyon::detail
