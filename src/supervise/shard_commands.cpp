#include <exception>
#include <new>
#include <utility>

#include "cell/lifecycle.hpp"
#include "cell/runtime_core.hpp"
#include "sched/cpu.hpp"
#include "supervise/in_ns.hpp"
#include "supervise/kept_spec.hpp"
#include "supervise/shard.hpp"
#include "supervise/supervisor_core.hpp"
#include "supervise/tree_child.hpp"

namespace karyon::detail {

namespace {
// Slots are far apart: those to come are fetched while this one is dealt with.
constexpr std::uint32_t fetched_ahead = 6;

void fetch(const cell_slot& s) noexcept {
  prefetch_for_write(&s.inbox);
  prefetch_for_write(&s.role);
  s.run_link.prefetch();
}
}  // namespace

// ---- from any thread -----------------------------------------------------------------------------------------------

void shard::post(command c) {
  {
    const std::lock_guard lock(commands_mutex_);
    commands_.push_back(std::move(c));
  }
  if (news_.poke()) schedule();
}

void shard::post_or_leave(command c) {
  try {
    post(std::move(c));
  } catch (...) {
    if (presence_.leave()) say_ended();
    throw;
  }
  if (presence_.leave()) say_ended();
}

/// What must get through: needs no memory.
void shard::order(std::uint8_t what) noexcept {
  orders_.fetch_or(what);
  if (news_.poke()) schedule();
  if (presence_.leave()) say_ended();
}

void shard::start(bulk_start& bulk, std::uint32_t first, std::uint32_t last) noexcept {
  try {
    if (!presence_.enter()) {
      throw runtime_error(error(errc::closed, "the supervisor is ending: no child is started any more"));
    }
    post_or_leave({.what = command::to_start, .bulk = &bulk, .next = first, .last = last});
  } catch (...) {
    bulk.part_failed(std::current_exception());
    bulk.part_done();
  }
}

void shard::terminate(const address& role) {
  if (presence_.enter()) post_or_leave({.what = command::to_terminate, .role = role});  // else all are being ended
}

void shard::exit_children(const exit_reason& why) {
  if (presence_.enter()) post_or_leave({.what = command::to_exit_all, .why = why});
}

void shard::close(bool kill) noexcept {
  if (presence_.close()) return say_ended();
  order(kill ? to_kill : to_stop);
}

void shard::kill() noexcept {
  if (presence_.enter_closed()) order(to_kill);
}

// ---- on the shard's worker -----------------------------------------------------------------------------------------

bool shard::run_orders(unsigned& work) noexcept {
  if (orders_.load(std::memory_order_relaxed) != 0) {  // one that is missed here has poked for another turn
    stopping_ = true;
    if (orders_.exchange(0) == to_kill) killing_ = true;
    sweep_left_ = children_.size();
    end_all_trees(killing_);
  }
  // From the last to the first: a child that ends meanwhile is replaced by the last one, which has been told already, or
  // is moved to a place still to come.
  for (; sweep_left_ > 0 && !is_spent(work); --sweep_left_, ++work) {
    if (sweep_left_ > children_.size()) continue;
    if (sweep_left_ > fetched_ahead) fetch(*children_[sweep_left_ - 1 - fetched_ahead]);
    end_child(*children_[sweep_left_ - 1], killing_);
  }
  return sweep_left_ == 0;
}

bool shard::run_commands(unsigned& work) noexcept {
  while (true) {
    if (command_ == working_.size()) {
      working_.clear();
      command_ = 0;
      const std::lock_guard lock(commands_mutex_);
      if (commands_.empty()) return true;
      working_.swap(commands_);
    }
    if (is_spent(work) || !run_command(working_[command_], work)) return false;
    ++command_;
  }
}

bool shard::run_command(command& c, unsigned& work) noexcept {
  switch (c.what) {
    case command::to_start: return run_start(c, work);
    case command::to_start_tree:
      ++work;
      begin_tree(*c.tree);
      return true;
    case command::to_terminate:
      ++work;
      run_terminate(c.role);
      return true;
    case command::to_exit_all: return run_exit_all(c, work);
  }
  return true;
}

bool shard::run_start(command& c, unsigned& work) noexcept {
  bulk_start& bulk = *c.bulk;
  for (; c.next < c.last && !is_spent(work); ++c.next, ++work) {
    if (bulk.failed.load(std::memory_order_relaxed)) {
      c.next = c.last;
      break;
    }
    try {
      if (!make_room()) throw std::bad_alloc();
      bulk.factory->acquire(1);
      bulk.out[c.next] = owner_.start(*this, *bulk.factory, c.next, false, nullptr);
    } catch (...) {
      bulk.part_failed(std::current_exception());
    }
  }
  if (c.next < c.last) return false;
  bulk.part_done();
  return true;
}

void shard::run_terminate(const address& role) noexcept {
  if (!role_alive(role)) return;
  cell_slot& s = *role.slot;
  // One that is not taken in yet is told so when it is.
  if ((s.keeper_bits.fetch_or(leaving, std::memory_order_relaxed) & joined) == 0) end_child(s, killing_);
}

bool shard::run_exit_all(command& c, unsigned& work) noexcept {
  if (!c.begun) {
    c.begun = true;
    c.next = static_cast<std::uint32_t>(children_.size());
    exit_all_trees(c.why);
  }
  // As in run_orders.
  for (; c.next > 0 && !is_spent(work); --c.next, ++work) {
    if (c.next > children_.size()) continue;
    if (c.next > fetched_ahead) fetch(*children_[c.next - 1 - fetched_ahead]);
    if (!exit_child(*children_[c.next - 1], c.why)) return false;
  }
  return c.next == 0;
}

void shard::end_child(cell_slot& s, bool kill) noexcept {
  if ((s.keeper_bits.load(std::memory_order_relaxed) & waiting) != 0) {  // there is nobody to end
    const exit_reason why = std::move(s.ended_why);
    s.pending_tail = nullptr;
    return forget(s, why);
  }
  const child_shutdown how = policy_of(kept_options(s));
  const bool brutal = kill || how.is_brutal_kill();
  exit_reason why;
  switch (exit_in_place(s, brutal ? exit_reason::killed() : exit_reason::shutdown(), why)) {
    case exit_outcome::ended: return after_end(s, why);
    case exit_outcome::no_memory: return go_astray(s, untold);
    case exit_outcome::asked: break;
  }
  if (brutal || how.is_infinity()) return;
  if (!kill_at(how.deadline(), {&s, s.role.load(std::memory_order_relaxed)}, 0)) go_astray(s, untimed);
}

/// False: there was no memory to tell it.
bool shard::exit_child(cell_slot& s, const exit_reason& asked) noexcept {
  if ((s.keeper_bits.load(std::memory_order_relaxed) & waiting) != 0) return true;
  exit_reason why;
  const exit_outcome outcome = exit_in_place(s, asked, why);
  if (outcome == exit_outcome::ended) after_end(s, why);
  return outcome != exit_outcome::no_memory;
}

// ---- deadlines -----------------------------------------------------------------------------------------------------

/// False without memory.
bool shard::kill_at(std::chrono::milliseconds deadline, const address& role, std::uint64_t tree) noexcept {
  const std::uint64_t wait_ns = in_ns(deadline);
  try {
    deadline_line& line = deadlines_.try_emplace(wait_ns, *this).first->second;
    line.asked.push_back({monotonic_ns() + wait_ns, role, tree});
    arm(line.bell, line.asked.front().at_ns);
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

bool shard::run_deadlines(unsigned& work) noexcept {
  if (!bells_rung_) return true;
  const std::uint64_t now_ns = monotonic_ns();
  for (auto at = deadlines_.begin(); at != deadlines_.end();) {
    deadline_line& line = at->second;
    for (; !line.asked.empty() && line.asked.front().at_ns <= now_ns; line.asked.pop_front(), ++work) {
      if (is_spent(work)) return false;
      const due d = line.asked.front();
      if (d.tree != 0) {
        const auto found = trees_.find(d.tree);
        if (found != trees_.end()) end_tree(*found->second, true);
      } else if (const address now = incarnation_of_role(d.role); now.number != 0) {
        // Those that have ended in time, which is the rule, have no role any more.
        if (!send_exit(now, {}, exit_reason::killed())) return false;  // again in the next turn
      }
    }
    if (line.asked.empty()) {
      disarm(line.bell);
      at = deadlines_.erase(at);
    } else {
      arm(line.bell, line.asked.front().at_ns);
      ++at;
    }
  }
  bells_rung_ = false;
  return true;
}

void shard::arm(alarm& a, std::uint64_t at_ns) noexcept {
  if (a.linked) {
    if (a.due_ns <= at_ns) return;
    disarm(a);
  }
  presence_.add();
  a.state_word.store(timer::armed, std::memory_order_relaxed);
  a.fire = [](timer* t, worker&) {
    shard& self = *static_cast<alarm*>(t)->owner;
    self.bells_rung_ = true;
    if (self.news_.poke()) self.schedule();
    if (self.presence_.leave()) self.say_ended();
  };
  a.release = [](timer*, worker&) {};
  worker::current()->start_timer(a, at_ns);
}

void shard::disarm(alarm& a) noexcept {
  if (!a.linked || !a.claim(timer::cancelled)) return;
  a.home->retire_timer(a);             // out at once: this is its worker
  if (presence_.leave()) say_ended();  // never here: the turn itself is inside
}

void shard::disarm_all() noexcept {
  for (auto& [wait_ns, line] : deadlines_) disarm(line.bell);
  deadlines_.clear();
  disarm(later_bell_);
}

}  // namespace karyon::detail
