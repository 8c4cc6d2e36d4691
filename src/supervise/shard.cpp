#include "supervise/shard.hpp"

#include <algorithm>
#include <utility>

#include "cell/backend.hpp"
#include "cell/lifecycle.hpp"
#include "cell/runtime_core.hpp"
#include "supervise/asked_end.hpp"
#include "supervise/kept_spec.hpp"
#include "supervise/reports.hpp"
#include "supervise/supervisor_core.hpp"
#include "supervise/tree_child.hpp"

namespace karyon::detail {

namespace {
// Failed restarts tried again in one turn: what has just failed can wait for those who work.
constexpr unsigned retries_per_turn = 16;
}  // namespace

shard::shard(supervisor_core& owner, unsigned worker)
    : guardian(&child_has_ended, &write_path),
      task(&run_turn),
      owner_(owner),
      worker_(worker),
      causes_(restart_limits::window_of(owner.options())),
      random_state_(random_bits()) {}

shard::~shard() = default;

// ---- from any thread -----------------------------------------------------------------------------------------------

void shard::schedule() noexcept {
  // The turn's place. Whoever had it to start is inside as well, or has a child that no turn has let go yet.
  presence_.add();
  owner_.runtime().workers().schedule(this, worker_, true);
}

void shard::mark(cell_slot& s, std::uint8_t bit) noexcept {
  // Partner: the fetch_and in run_events. Its acquire sees why the child ended; its release lets us reuse keeper_next.
  if ((s.keeper_bits.fetch_or(bit, std::memory_order_acq_rel) & (joined | ended)) != 0) return;  // on the list already
  if (news_.push(s)) schedule();
}

void shard::child_has_ended(guardian& self, cell_slot& s) noexcept { static_cast<shard&>(self).mark(s, ended); }

void shard::write_path(const guardian& self, const cell_slot* child, std::string& path) {
  const auto& shard_of = static_cast<const shard&>(self);
  path.append(shard_of.owner_.path());
  if (child != nullptr) {
    path.append("/#").append(std::to_string(child->keeper_index));
  } else {
    path.append(" shard ").append(std::to_string(shard_of.worker_));
  }
}

void shard::join(cell_slot& s) noexcept { mark(s, joined); }

void shard::say_ended() noexcept { owner_.drop_unit(); }

void shard::open() noexcept {
  stopping_ = false;
  killing_ = false;
  strays_ = false;
  looks_left_ = 0;
  sweep_left_ = 0;
  causes_.clear();
  presence_.reopen();
}

// ---- the turn ------------------------------------------------------------------------------------------------------

void shard::run_turn(task* t, worker&) {
  auto& self = *static_cast<shard*>(t);
  self.again_ = false;
  self.take_turn();
  if (self.again_ || !self.news_.rest()) return self.owner_.runtime().workers().schedule(&self, self.worker_, true);
  if (self.presence_.leave()) self.say_ended();  // nothing of it is touched any more
}

void shard::take_turn() noexcept {
  turn_began_ = worker::current()->ticks();
  // First: what is posted from here on is seen below, or by another turn (rest).
  if (drained_ == nullptr) drained_ = news_.take_newest_first();
  unsigned sweep = 0;
  unsigned commands = 0;
  unsigned trees = 0;
  unsigned bells = 0;
  unsigned retries = 0;
  unsigned strays = 0;
  unsigned events = 0;
  // Each kind of work has its own bound, so that a storm of ends never keeps a stop from being seen, nor a bulk start the
  // ends and the deadlines.
  const bool orders_done = run_orders(sweep);
  const bool commands_done = run_commands(commands);
  const bool trees_done = run_tree_reports(trees);
  const bool bells_done = run_deadlines(bells);
  const bool waiting_done = run_waiting(retries);
  const bool strays_done = run_strays(strays);
  const bool events_done = run_events(events);
  again_ = !orders_done || !commands_done || !trees_done || !bells_done || !waiting_done || !strays_done ||
           !events_done || !soon_.empty();
  if (stopping_ && children_.empty() && trees_.empty()) {
    disarm_all();
    soon_.clear();
    later_.clear();
  }
}

bool shard::run_events(unsigned& work) noexcept {
  while (cell_slot* s = drained_) {
    if (is_spent(work++)) return false;
    drained_ = s->keeper_next;
    if (hold_up(*s)) continue;
    // Partner: the fetch_or in mark, which says what each half is for.
    const std::uint8_t happened =
        s->keeper_bits.fetch_and(static_cast<std::uint8_t>(~(joined | ended)), std::memory_order_acq_rel);
    if ((happened & joined) != 0) take_in(*s);
    if ((happened & ended) != 0) {
      end_of(*s);
    } else if (stopping_ || (happened & leaving) != 0) {
      end_child(*s, killing_);  // told to end before it was taken in
    }
  }
  if (held_up_ == nullptr) return true;
  if (make_room()) drained_ = std::exchange(held_up_, nullptr);
  return false;
}

/// There is room.
void shard::take_in(cell_slot& s) noexcept {
  s.keeper_position = static_cast<std::uint32_t>(children_.size());
  children_.push_back(&s);
  if (owner_.options().backoff.minimum.count() > 0) backoff_.push_back({monotonic_ns(), 0});
}

// ---- ends and restarts ---------------------------------------------------------------------------------------------

void shard::end_of(cell_slot& s) noexcept {
  const exit_reason why = std::move(s.ended_why);
  s.pending_tail = nullptr;
  after_end(s, why);
}

void shard::after_end(cell_slot& s, const exit_reason& why) noexcept {
  const child_options options = kept_options(s);
  const bool permanent = options.restart == restart_type::permanent;
  if ((s.keeper_bits.load(std::memory_order_relaxed) & leaving) != 0 || stopping_ || owner_.stopping()) {
    if (!killing_ && !ended_as_asked(options.restart, policy_of(options), why)) {
      report_cell(s, static_cast<std::uint8_t>(supervisor_context::shutdown_error), why);
    }
    return forget(s, why);
  }
  if (permanent || !why.is_expected()) {
    report_cell(s, static_cast<std::uint8_t>(supervisor_context::child_terminated), why);
  }
  if (options.restart == restart_type::temporary || (options.restart == restart_type::transient && why.is_expected())) {
    forget(s, why);
    if (options.significant) owner_.significant_ended();
    return;
  }
  decide(s, why);
}

void shard::decide(cell_slot& s, const exit_reason& why) noexcept {
  const std::uint64_t now_ns = monotonic_ns();
  if (!owner_.limits().allow(why, now_ns, owner_.counted_children(), causes_)) {
    report_cell(s, static_cast<std::uint8_t>(supervisor_context::shutdown), too_many_restarts());
    forget(s, why);
    return owner_.give_up();
  }
  if (backoff_.empty()) return restart(s);
  const std::uint64_t wait_ns =
      backoff_[s.keeper_position].next_wait_ns(owner_.options().backoff, now_ns, next_chance(random_state_));
  put_off(s, why, true, now_ns + wait_ns);
}

void shard::restart(cell_slot& s) noexcept {
  const child_factory& factory = *kept_factory(s);
  if (!backoff_.empty()) backoff_[s.keeper_position].started_ns = monotonic_ns();
  begin_incarnation(s, factory.info());
  count_restart();
  owner_.runtime().count(&cell_counters::restarts);
  try {
    construction_scope scope(&s);
    factory.construct(s.object(), s.keeper_index);
  } catch (const ignore_start&) {
    abandon_incarnation(s, exit_reason::normal());
    owner_.runtime().count(&cell_counters::ended);
    return forget(s, exit_reason::normal());
  } catch (...) {
    exit_reason why = reason_of_current_exception(exit_reason::kind::start_failed);
    abandon_incarnation(s, why);
    owner_.runtime().count(&cell_counters::ended);
    report_cell(s, static_cast<std::uint8_t>(supervisor_context::start_error), why);
    return put_off(s, std::move(why), false, 0);
  }
  launch_cell(s);
}

void shard::put_off(cell_slot& s, exit_reason why, bool decided, std::uint64_t until_ns) noexcept {
  ::new (&s.ended_why) exit_reason(std::move(why));
  s.keeper_bits.fetch_or(waiting, std::memory_order_relaxed);
  if (!list({{&s, s.role.load(std::memory_order_relaxed)}, 0, decided}, until_ns)) {
    go_astray(s, static_cast<std::uint8_t>(decided ? unlisted | allowed : unlisted));
  }
}

/// False without memory.
bool shard::list(const waiter& w, std::uint64_t until_ns) noexcept {
  try {
    if (!w.decided) {
      // A failed restart counts and is tried again in a later turn, so that all else goes on, until the budget ends it.
      soon_.push_back(w);
      return true;
    }
    later_.emplace(until_ns, w);
  } catch (const std::bad_alloc&) {
    return false;
  }
  arm(later_bell_, later_.begin()->first);
  return true;
}

bool shard::run_waiting(unsigned& work) noexcept {
  // Those that fail again in this turn wait for the next one.
  for (std::size_t n = std::min<std::size_t>(soon_.size(), retries_per_turn); n > 0 && !is_spent(work); --n, ++work) {
    const waiter w = soon_.front();
    soon_.pop_front();
    resume(w);
  }
  const std::uint64_t now_ns = later_.empty() ? 0 : monotonic_ns();
  while (!later_.empty() && later_.begin()->first <= now_ns) {
    if (is_spent(work++)) return false;
    const waiter w = later_.begin()->second;
    later_.erase(later_.begin());
    resume(w);
  }
  if (!later_.empty()) arm(later_bell_, later_.begin()->first);
  return true;
}

void shard::resume(const waiter& w) noexcept {
  if (w.tree != 0) {
    const auto found = trees_.find(w.tree);
    if (found != trees_.end()) tree_resume(*found->second, w.decided);
    return;
  }
  cell_slot& s = *w.role.slot;
  // Forgotten meanwhile, and perhaps somebody else's: a role's number is never given twice.
  if (!role_alive(w.role) || (s.keeper_bits.load(std::memory_order_relaxed) & waiting) == 0) return;
  s.keeper_bits.fetch_and(static_cast<std::uint8_t>(~waiting), std::memory_order_relaxed);
  const exit_reason why = std::move(s.ended_why);
  s.pending_tail = nullptr;
  if (owner_.stopping()) return forget(s, why);
  if (w.decided) return restart(s);
  decide(s, why);
}

void shard::forget(cell_slot& s, const exit_reason& why) noexcept {
  const bool significant = kept_options(s).significant;
  end_role(s);  // before it is no longer counted: whoever sees the count sees the handle dead
  discard_kept(s, why);
  const std::uint32_t at = s.keeper_position;
  children_[at] = children_.back();
  children_[at]->keeper_position = at;
  children_.pop_back();
  if (!backoff_.empty()) {
    backoff_[at] = backoff_.back();
    backoff_.pop_back();
  }
  child_factory* factory = kept_factory(s);
  s.keeper_bits.store(0, std::memory_order_relaxed);
  if (backend_release(s)) release_slot(s);
  if (factory != nullptr) factory->release(1);
  owner_.let_go(significant);
  if (presence_.leave_child()) say_ended();  // never here: the turn itself is inside
}

child_shutdown shard::policy_of(const child_options& options) const noexcept {
  return options.shutdown.value_or(child_shutdown::within(owner_.options().shutdown_deadline));
}

void shard::report_cell(cell_slot& s, std::uint8_t context, const exit_reason& why) noexcept {
  const child_options options = kept_options(s);
  report(owner_.runtime(), {owner_.path(), worker_}, static_cast<supervisor_context>(context), why,
         {{}, s.keeper_index, s.info.load(std::memory_order_relaxed), s.at(), options, policy_of(options)});
}

}  // namespace karyon::detail
