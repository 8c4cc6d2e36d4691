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

void shard::start(bulk_start& bulk, std::uint32_t first, std::uint32_t last) {
  if (!presence_.enter()) {
    bulk.part_failed(std::make_exception_ptr(
        runtime_error(error(errc::closed, "the supervisor is ending: no child is started any more"))));
    return bulk.part_done();
  }
  post({.what = command::to_start, .bulk = &bulk, .next = first, .last = last});
  if (presence_.leave()) say_ended();
}

void shard::terminate(const address& role) {
  if (!presence_.enter()) return;  // all are being ended
  post({.what = command::to_terminate, .role = role});
  if (presence_.leave()) say_ended();
}

void shard::exit_children(const exit_reason& why) {
  if (!presence_.enter()) return;
  post({.what = command::to_exit_all, .why = why});
  if (presence_.leave()) say_ended();
}

void shard::close(bool kill) noexcept {
  if (presence_.close()) return say_ended();
  post({.what = kill ? command::to_kill : command::to_stop});
  if (presence_.leave()) say_ended();
}

void shard::kill() noexcept {
  if (!presence_.enter_closed()) return;
  post({.what = command::to_kill});
  if (presence_.leave()) say_ended();
}

// ---- on the shard's worker -----------------------------------------------------------------------------------------

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
    case command::to_note_tree:
      ++work;
      run_tree_report(c);
      return true;
    case command::to_terminate:
      ++work;
      run_terminate(c.role);
      return true;
    case command::to_exit_all:
    case command::to_stop:
    case command::to_kill: return run_exit_all(c, work);
  }
  return true;
}

bool shard::run_start(command& c, unsigned& work) noexcept {
  bulk_start& bulk = *c.bulk;
  for (; c.next < c.last && !is_spent(work); ++c.next, ++work) {
    if (bulk.failed.load(std::memory_order_acquire)) {
      c.next = c.last;
      break;
    }
    try {
      bulk.factory->acquire(1);
      bulk.out[c.next] = owner_.start(*this, *bulk.factory, c.next, false);
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
  const bool stops = c.what != command::to_exit_all;
  const bool kills = c.what == command::to_kill;
  if (!c.begun) {
    c.begun = true;
    c.next = static_cast<std::uint32_t>(children_.size());
    if (stops) {
      stopping_ = true;
      killing_ = killing_ || kills;
      end_all_trees(kills);
    } else {
      exit_all_trees(c.why);
    }
  }
  // From the last to the first: a child that ends meanwhile is replaced by the last one, which has been told already, or
  // is moved to a place still to come.
  for (; c.next > 0 && !is_spent(work); --c.next, ++work) {
    if (c.next > children_.size()) continue;
    if (c.next > fetched_ahead) fetch(*children_[c.next - 1 - fetched_ahead]);
    cell_slot& s = *children_[c.next - 1];
    if (stops) {
      end_child(s, killing_);
    } else {
      exit_child(s, c.why);
    }
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
  if (exit_in_place(s, brutal ? exit_reason::killed() : exit_reason::shutdown(), why)) return after_end(s, why);
  if (!brutal && !how.is_infinity()) kill_at(how.deadline(), {&s, s.role.load(std::memory_order_relaxed)}, 0);
}

void shard::exit_child(cell_slot& s, const exit_reason& asked) noexcept {
  if ((s.keeper_bits.load(std::memory_order_relaxed) & waiting) != 0) return;
  exit_reason why;
  if (exit_in_place(s, asked, why)) after_end(s, why);
}

// ---- deadlines -----------------------------------------------------------------------------------------------------

void shard::kill_at(std::chrono::milliseconds deadline, const address& role, std::uint64_t tree) {
  const std::uint64_t wait_ns = in_ns(deadline);
  deadline_line& line = deadlines_.try_emplace(wait_ns, *this).first->second;
  line.asked.push_back({monotonic_ns() + wait_ns, role, tree});
  arm(line.bell, line.asked.front().at_ns);
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
        send_exit(now, {}, exit_reason::killed());
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
