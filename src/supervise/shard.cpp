#include "supervise/shard.hpp"

#include <utility>

#include "cell/backend.hpp"
#include "cell/lifecycle.hpp"
#include "cell/runtime_core.hpp"
#include "supervise/supervisor_core.hpp"

namespace karyon::detail {

namespace {
// Children started, mended or told to end in one turn of a shard: some tens of microseconds.
constexpr unsigned work_per_turn = 256;
}  // namespace

shard::shard(supervisor_core& owner, unsigned worker)
    : guardian(&child_has_ended), task(&run_turn), owner_(owner), worker_(worker) {
  deadline_.owner = this;
}

// ---- from any thread -----------------------------------------------------------------------------------------------

void shard::wake() noexcept {
  // Acquire-release: the turn that resets the flag sees what was pushed before it was set.
  if (!scheduled_.exchange(true, std::memory_order_acq_rel)) owner_.runtime().workers().schedule(this, worker_, true);
}

void shard::mark(cell_slot& s, std::uint8_t bit) noexcept {
  // Partner: the fetch_and in run_events. Its acquire sees why the child ended; its release lets us reuse keeper_next.
  if ((s.keeper_bits.fetch_or(bit, std::memory_order_acq_rel) & (joined | ended)) != 0) return;  // on the list already
  cell_slot* head = events_.load(std::memory_order_relaxed);
  do {
    s.keeper_next = head;
  } while (!events_.compare_exchange_weak(head, &s, std::memory_order_release, std::memory_order_relaxed));
  wake();
}

void shard::child_has_ended(guardian& self, cell_slot& s) noexcept { static_cast<shard&>(self).mark(s, ended); }

void shard::join(cell_slot& s) noexcept { mark(s, joined); }

void shard::post(command c) {
  {
    const std::lock_guard lock(commands_mutex_);
    commands_.push_back(c);
  }
  wake();
}

void shard::start(bulk_start& bulk, std::uint32_t first, std::uint32_t last) {
  post({command::to_start, false, &bulk, first, last, {}});
}

void shard::terminate(const address& role) { post({command::to_terminate, false, nullptr, 0, 0, role}); }

void shard::stop() { post({command::to_stop, false, nullptr, 0, 0, {}}); }

// ---- on the shard's worker -----------------------------------------------------------------------------------------

void shard::run_turn(task* t, worker&) {
  auto& self = *static_cast<shard*>(t);
  self.scheduled_.exchange(false, std::memory_order_acq_rel);  // what is pushed from here on schedules another turn
  unsigned work = 0;
  const bool events_done = self.run_events(work);
  const bool commands_done = self.run_commands(work);
  if (!events_done || !commands_done) {
    self.wake();
  } else if (self.stopping_ && self.children_.empty() && self.drained_ == nullptr &&
             self.events_.load(std::memory_order_acquire) == nullptr) {
    self.stopping_ = false;
    if (self.deadline_.linked && self.deadline_.claim(timer::cancelled))
      self.deadline_.home->retire_timer(self.deadline_);
    self.owner_.shard_is_empty();
  }
}

bool shard::run_events(unsigned& work) noexcept {
  while (work < work_per_turn) {
    if (drained_ == nullptr) drained_ = events_.exchange(nullptr, std::memory_order_acquire);
    cell_slot* s = drained_;
    if (s == nullptr) return true;
    drained_ = s->keeper_next;
    const std::uint8_t happened =
        s->keeper_bits.fetch_and(static_cast<std::uint8_t>(~(joined | ended)), std::memory_order_acq_rel);
    if ((happened & joined) != 0) take_in(*s);
    if ((happened & ended) != 0) end_of(*s);
    ++work;
  }
  return false;
}

void shard::take_in(cell_slot& s) noexcept {
  s.keeper_position = static_cast<std::uint32_t>(children_.size());
  children_.push_back(&s);
  size_.store(children_.size(), std::memory_order_relaxed);
  // Started while the supervisor was told to stop: told so in its turn.
  if (owner_.stopping()) {
    send_exit(s.at(), {}, exit_reason::shutdown());
    arm_termination({&s, s.role.load(std::memory_order_relaxed)});
  }
}

void shard::end_of(cell_slot& s) noexcept {
  const exit_reason why = std::move(s.ended_why);
  s.pending_tail = nullptr;
  const auto& factory = *static_cast<child_factory*>(s.keeper_data);
  const bool leaves = (s.keeper_bits.load(std::memory_order_relaxed) & leaving) != 0 || owner_.stopping();
  const restart_type type = factory.options().restart;
  if (leaves || type == restart_type::temporary || (type == restart_type::transient && why.is_expected())) {
    return forget(s);
  }
  bool allowed = false;
  try {
    allowed = owner_.budget().add(monotonic_ns());
  } catch (const std::bad_alloc&) {  // a budget that can not be kept is exceeded
  }
  if (!allowed) {
    forget(s);
    return owner_.give_up(why);
  }
  restart(s);
}

void shard::restart(cell_slot& s) noexcept {
  const auto& factory = *static_cast<child_factory*>(s.keeper_data);
  begin_incarnation(s, factory.info());
  owner_.count_restart();
  owner_.runtime().count(&cell_counters::restarts);
  try {
    construction_scope scope(&s);
    factory.construct(s.object(), s.keeper_index);
  } catch (...) {
    // A failed restart counts and is tried again, in a later turn, until the budget ends it.
    exit_reason why = reason_of_current_exception(exit_reason::kind::start_failed);
    abandon_incarnation(s, why);
    owner_.runtime().report_crash(s, why, "its restart", 0);
    ::new (&s.ended_why) exit_reason(std::move(why));
    owner_.runtime().count(&cell_counters::ended);
    return mark(s, ended);
  }
  launch_cell(s);
}

void shard::forget(cell_slot& s) noexcept {
  end_role(s);  // before it is no longer counted: whoever sees the count sees the handle dead
  children_[s.keeper_position] = children_.back();
  children_[s.keeper_position]->keeper_position = s.keeper_position;
  children_.pop_back();
  size_.store(children_.size(), std::memory_order_release);
  auto* factory = static_cast<child_factory*>(s.keeper_data);
  s.keeper_bits.store(0, std::memory_order_relaxed);
  if (backend_release(s)) release_slot(s);
  factory->release(1);
}

// ---- commands ------------------------------------------------------------------------------------------------------

bool shard::run_commands(unsigned& work) noexcept {
  while (true) {
    if (command_ == working_.size()) {
      working_.clear();
      command_ = 0;
      const std::lock_guard lock(commands_mutex_);
      if (commands_.empty()) return true;
      working_.swap(commands_);
    }
    if (work >= work_per_turn || !run_command(working_[command_], work)) return false;
    ++command_;
  }
}

bool shard::run_command(command& c, unsigned& work) noexcept {
  switch (c.what) {
    case command::to_start: return run_start(c, work);
    case command::to_terminate: {
      cell_slot& s = *c.role.slot;
      ++work;
      if (!role_alive(c.role)) return true;
      s.keeper_bits.fetch_or(leaving, std::memory_order_relaxed);
      if (const address now = incarnation_of_role(c.role); now.number != 0) send_exit(now, {}, exit_reason::shutdown());
      arm_termination(c.role);
      return true;
    }
    case command::to_kill_role:
      ++work;
      if (const address now = incarnation_of_role(c.role); now.number != 0) send_exit(now, {}, exit_reason::killed());
      return true;
    case command::to_stop:
      if (!c.begun) {
        stopping_ = true;
        arm_deadline();
      }
      return run_exit_all(c, work);
    case command::to_kill: return run_exit_all(c, work);
  }
  return true;
}

bool shard::run_start(command& c, unsigned& work) noexcept {
  bulk_start& bulk = *c.bulk;
  for (; c.next < c.last && work < work_per_turn; ++c.next, ++work) {
    if (bulk.failed.load(std::memory_order_acquire)) {
      c.next = c.last;
      break;
    }
    try {
      bulk.factory->acquire(1);
      bulk.out[c.next] = owner_.start(*this, *bulk.factory, c.next, false);
    } catch (...) {
      if (!bulk.failed.exchange(true, std::memory_order_acq_rel)) bulk.error = std::current_exception();
    }
  }
  if (c.next < c.last) return false;
  bulk.done.count_down();
  return true;
}

bool shard::run_exit_all(command& c, unsigned& work) noexcept {
  const exit_reason why = c.what == command::to_stop ? exit_reason::shutdown() : exit_reason::killed();
  if (!c.begun) {
    c.begun = true;
    c.next = static_cast<std::uint32_t>(children_.size());
  }
  // From the last to the first: a child that ends meanwhile is replaced by the last one, which has been told already, or
  // is moved to a place still to come.
  for (; c.next > 0 && work < work_per_turn; --c.next, ++work) {
    if (c.next <= children_.size()) send_exit(children_[c.next - 1]->at(), {}, why);
  }
  return c.next == 0;
}

void shard::arm_deadline() {
  deadline_.state_word.store(timer::armed, std::memory_order_relaxed);
  deadline_.fire = [](timer* t, worker&) {
    static_cast<deadline_timer*>(t)->owner->post({command::to_kill, false, nullptr, 0, 0, {}});
  };
  deadline_.release = [](timer*, worker&) {};
  const auto delay = std::chrono::nanoseconds(owner_.options().shutdown_deadline).count();
  worker::current()->start_timer(deadline_, monotonic_ns() + static_cast<std::uint64_t>(delay > 0 ? delay : 0));
}

void shard::arm_termination(const address& role) {
  // Not taken back when the child ends in time, which is the rule: it finds its role gone then.
  auto* t = new (std::nothrow) termination();
  if (t == nullptr) return;  // asked to end, but not killed if it ignores that
  t->owner = this;
  t->role = role;
  t->fire = [](timer* fired, worker&) {
    auto* due = static_cast<termination*>(fired);
    due->owner->post({command::to_kill_role, false, nullptr, 0, 0, due->role});
    delete due;
  };
  t->release = [](timer* unfired, worker&) { delete static_cast<termination*>(unfired); };
  const auto delay = std::chrono::nanoseconds(owner_.options().shutdown_deadline).count();
  worker::current()->start_timer(*t, monotonic_ns() + static_cast<std::uint64_t>(delay > 0 ? delay : 0));
}

}  // namespace karyon::detail
