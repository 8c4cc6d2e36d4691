#include "sim/driver.hpp"

#include <algorithm>
#include <utility>

#include "cell/away.hpp"
#include "cell/lifecycle.hpp"
#include "cell/runtime_core.hpp"
#include "core/programmer_error.hpp"

namespace karyon::testing::detail {

namespace kd = karyon::detail;

namespace {

bool is_cell(const task* t) noexcept {
  return t->run == &kd::run_observed_cell || t->run == &kd::run_simulated_away_cell;
}

}  // namespace

driver::driver(const world_options& options)
    : seed_(options.seed),
      turn_time_ns_(static_cast<std::uint64_t>(std::max<std::int64_t>(0, options.turn_time.count()))),
      turns_max_(options.turns_max),
      signals_most_(options.runtime.scheduler.signals_per_turn),
      started_ns_(now_ns_),
      chance_(options.seed),
      rule_chance_(options.seed ^ 0x9e3779b97f4a7c15u),
      slow_key_(chance_.one_in(2) ? chance_() | 1u : 0),
      trace_(options.record) {
  if (kd::current_simulation != nullptr) {
    kd::programmer_error("a world is made on a thread that has one already: one world at a time on a thread");
  }
  kd::current_simulation = this;
  kd::current_observer = this;
  kd::current_log_capture = this;
}

driver::~driver() {
  if (!steppers_.empty()) {
    kd::programmer_error("a runtime that was made in a simulated world outlives it: destroy it before the world");
  }
  discard_kept();
  let_go();
}

void driver::begin_end() noexcept {
  rules_.clear();
  failure_.clear();
  turns_max_ = std::max(turns_max_, std::uint64_t{1} << 32u);
}

void driver::let_go() noexcept {
  kd::current_simulation = nullptr;
  kd::current_observer = nullptr;
  kd::current_log_capture = nullptr;
}

void driver::adopt(scheduler& s) {
  steppers_.push_back(std::make_unique<stepper>(s));
  steppers_.back()->show_time(now_ns_);
}

void driver::release(scheduler& s) noexcept {
  std::erase_if(due_, [&](const due_timers& d) { return &d.of->owner() == &s; });
  std::erase_if(steppers_, [&](const auto& of) { return &of->owner() == &s; });
}

// ---- what runs next ------------------------------------------------------------------------------------------------

bool driver::is_blocked(const worker& w) const noexcept {
  return std::find(blocked_.begin(), blocked_.end(), &w) != blocked_.end();
}

std::size_t driver::runnable_tasks() const noexcept {
  std::size_t n = 0;
  for (const auto& s : steppers_) {
    for (unsigned w = 0; w < s->owner().size(); ++w) {
      if (blocked_.empty() || !is_blocked(s->owner().at(w))) n += s->runnable(w);
    }
  }
  return n;
}

/// The worker that has the runnable task number `choice`; `choice` becomes the task's place there.
stepper* driver::chosen(std::size_t& choice, unsigned& worker) const noexcept {
  for (const auto& s : steppers_) {
    for (unsigned w = 0; w < s->owner().size(); ++w) {
      if (!blocked_.empty() && is_blocked(s->owner().at(w))) continue;
      if (choice < s->runnable(w)) {
        worker = w;
        return s.get();
      }
      choice -= s->runnable(w);
    }
  }
  return nullptr;
}

void driver::refuse_inside(const char* call) const noexcept {
  if (now_running_.where == nullptr && kd::slot_under_construction() == nullptr) return;
  kd::programmer_error(
      report_of(*this, std::string("world::") + call +
                           " is called by what the world runs (a handler, a constructor or a predicate): it is for the "
                           "test, outside of all cells")
          .c_str());
}

bool driver::step() {
  for (const auto& s : steppers_) s->collect();
  const std::size_t due = due_.size() + (delayed_due_ ? 1 : 0);
  const std::size_t tasks = runnable_tasks();
  if (due + tasks == 0) return false;
  const auto choice = static_cast<std::size_t>(chance_.below(due + tasks));
  if (choice >= due) {
    ++turns_;
    run_task(choice - due);
  } else if (!run_due(choice)) {
    return tasks != 0;  // all that is due belongs to workers that are blocked
  }
  if (turn_time_ns_ != 0) move_to(now_ns_ + turn_time_ns_);
  return true;
}

bool driver::run_due(std::size_t choice) {
  if (choice == due_.size()) {
    deliver_delayed();
    return true;
  }
  const due_timers d = due_[choice];
  if (is_blocked(d.of->owner().at(d.worker))) return false;
  due_.erase(due_.begin() + static_cast<std::ptrdiff_t>(choice));
  const turn before = std::exchange(now_running_, turn{&d.of->owner().at(d.worker), 0});
  event e;
  e.what = event::kind::timers;
  e.worker = static_cast<std::uint16_t>(d.worker);
  e.time_ns = elapsed_ns();
  trace_.add(e);
  d.of->fire_timers(d.worker, now_ns_);
  now_running_ = before;
  return true;
}

void driver::run_task(std::size_t choice) {
  unsigned at = 0;
  stepper* s = chosen(choice, at);
  const std::size_t tasks = s->runnable(at);
  if (slow_key_ != 0) {
    // Some look again and again as if they were late, so that much happens before they get their turn.
    for (unsigned looks = 0; looks < 8 && is_slow(s->at(at, choice), s->owner().at(at)); ++looks) {
      choice = static_cast<std::size_t>(chance_.below(tasks));
    }
  }
  const stepper::taken t = s->take(at, choice, chance_());
  worker* where = is_blocked(*t.where) ? &s->owner().at(at) : t.where;
  const turn before = std::exchange(now_running_, turn{where, 0});
  if (!is_cell(t.what)) {
    event e;
    e.worker = static_cast<std::uint16_t>(where->index());
    e.time_ns = elapsed_ns();
    trace_.add(e);
  }
  s->run({t.what, where}, turn_length());
  now_running_ = before;
}

bool driver::is_slow(const task* t, const worker& w) {
  std::uint64_t of = w.index();
  if (is_cell(t)) of = 1024 + number_of(cell_slot::of(const_cast<task*>(t)));
  std::uint64_t mixed = (of + 1) * slow_key_;
  mixed ^= mixed >> 32u;
  return mixed % 8 == 0;
}

std::uint32_t driver::turn_length() noexcept {
  // Mostly short: what can go wrong between two turns should get its chance, and long turns are like a quiet machine.
  const std::uint64_t kind = chance_.below(8);
  const std::uint64_t n = kind < 4 ? 1 : kind < 7 ? 1 + chance_.below(8) : signals_most_;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(n, signals_most_));
}

// ---- time ----------------------------------------------------------------------------------------------------------

std::uint64_t driver::next_event_ns() {
  std::uint64_t next = delayed_.empty() ? no_event : delayed_.begin()->first;
  for (const auto& s : steppers_) {
    for (unsigned w = 0; w < s->owner().size(); ++w) {
      if (is_blocked(s->owner().at(w))) continue;
      s->release_cancelled(w);
      next = std::min(next, s->next_timer_ns(w));
    }
  }
  return next;
}

void driver::move_to(std::uint64_t time_ns) {
  now_ns_ = std::max(now_ns_, time_ns);
  due_.clear();
  for (const auto& s : steppers_) {
    s->show_time(now_ns_);
    for (unsigned w = 0; w < s->owner().size(); ++w) {
      if (s->next_timer_ns(w) <= now_ns_) due_.push_back({s.get(), w});
    }
  }
  delayed_due_ = !delayed_.empty() && delayed_.begin()->first <= now_ns_;
}

bool driver::within_budget(std::uint64_t turns_before) {
  if (turns_ - turns_before < turns_max_) return true;
  fail("after " + std::to_string(turns_max_) +
       " turns the cells are still busy: they never come to rest (world_options::turns_max)");
  return false;
}

void driver::settle(std::uint64_t end_ns) {
  const std::uint64_t before = turns_;
  while (failure_.empty() && !turns_reached(end_ns) && within_budget(before) && step()) {
  }
}

void driver::pass_until(std::uint64_t end_ns) {
  while (true) {
    settle(end_ns);
    if (!failure_.empty() || turns_reached(end_ns)) return;
    const std::uint64_t next = next_event_ns();
    if (next > end_ns) break;
    move_to(next);
  }
  move_to(end_ns);
}

bool driver::run_until(const std::function<bool()>& ready, std::uint64_t deadline_ns) {
  const std::uint64_t before = turns_;
  while (!ready()) {
    if (!failure_.empty() || !within_budget(before)) return false;
    if (turns_reached(deadline_ns)) return false;
    if (step()) continue;
    const std::uint64_t next = next_event_ns();
    if (next > deadline_ns) {
      if (deadline_ns != no_event) move_to(deadline_ns);
      return false;
    }
    move_to(next);
  }
  return true;
}

// ---- what would block ----------------------------------------------------------------------------------------------

bool driver::drive_until(condition ready, const void* what, std::uint64_t deadline_ns) noexcept {
  // In a handler: its worker is blocked, as it would be on a real runtime, and the others go on.
  worker* const me = std::exchange(kd::current_worker, nullptr);
  kd::run_context* const context = std::exchange(kd::running, nullptr);
  const turn before = std::exchange(now_running_, turn{});
  if (me != nullptr) blocked_.push_back(me);
  waits_.push_back({ready, what, deadline_ns});
  bool done = false;
  {
    const kd::construction_scope not_constructing(nullptr);
    const std::uint64_t turns_before = turns_;
    while (!(done = ready(what))) {
      if (now_ns_ >= deadline_ns) break;
      if (turns_ - turns_before >= turns_max_) {
        if (deadline_ns == no_event) {
          stuck("after " + std::to_string(turns_max_) +
                " turns the cells are still busy, and what is waited for has not happened: they never come to rest, or "
                "need more turns (world_options::turns_max)");
        }
        static_cast<void>(within_budget(turns_before));
        break;
      }
      if (step()) continue;
      const std::uint64_t next = next_event_ns();
      if (next == no_event && deadline_ns == no_event) deadlocked();
      move_to(std::min(next, deadline_ns));
    }
  }
  waits_.pop_back();
  if (me != nullptr) std::erase(blocked_, me);
  now_running_ = before;
  kd::running = context;
  kd::current_worker = me;
  return done;
}

void driver::deadlocked() const noexcept {
  std::string why = "nothing is left that could happen, and a wait without a deadline goes on";
  // Those below have what they wait for, or will give up in time; but on one stack they must wait for those above.
  const auto could_end = [](const wait& w) { return w.deadline_ns != no_event || w.ready(w.what); };
  if (std::any_of(waits_.begin(), waits_.end() - 1, could_end)) {
    why +=
        "; this may be no deadlock but a limit of the simulation: another wait could end, but lies below this one on "
        "the one stack that handlers which block share";
  } else if (!blocked_.empty()) {
    why += "; handlers block, and what the test was to do next can not happen before they return";
  }
  stuck(why);
}

void driver::stuck(const std::string& why) const noexcept {
  kd::programmer_error(with_command(report_of(*this, why), seed_).c_str());
}

// ---- what is seen --------------------------------------------------------------------------------------------------

std::uint32_t driver::number_of(cell_slot& s) {
  cell_name& name = names_[&s];
  if (name.incarnation != s.number()) name = {s.number(), ++last_number_};
  return name.number;
}

void driver::record(event::kind what, const cell_slot& s, std::uint32_t number, std::string_view type,
                    const exit_reason& why) {
  event e;
  e.what = what;
  e.worker = now_running_.where != nullptr ? static_cast<std::uint16_t>(now_running_.where->index()) : event::no_worker;
  e.cell = number;
  e.time_ns = elapsed_ns();
  e.cell_class = s.info.load(std::memory_order_relaxed)->name;
  e.type = type;
  e.why = why;
  trace_.add(e);
}

void driver::runs(cell_slot& s) noexcept { now_running_.cell = number_of(s); }

bool driver::admits(cell_slot& s, signal& what) noexcept {
  if (!rules_.empty()) {
    if (!what.ops->internal && take_away(s, what)) return false;
    count_expected(s, what);
  }
  record(event::kind::handled, s, now_running_.cell, what.ops->type);
  return true;
}

// Not always in a turn of its own: the number is the cell's, whoever has the turn.
void driver::ends(cell_slot& s, const exit_reason& why) noexcept {
  record(event::kind::ended, s, number_of(s), {}, why);
}

void driver::line(log_level level, std::string_view text) {
  constexpr std::size_t kept = 64;
  if (log_.size() == kept) log_.pop_front();
  log_.push_back(seconds_text(elapsed_ns()).append("  ").append(to_string(level)).append(": ").append(text));
}

std::string report_of(const driver& d, std::string_view what) {
  std::string out = "in the simulated world of seed " + std::to_string(d.seed()) + ", at " +
                    seconds_text(d.elapsed_ns()) + ": " + std::string(what);
  constexpr std::size_t lines_most = 20;
  const std::vector<std::string> events = d.happened().lines(lines_most);
  if (!events.empty()) out += "\nlast events:";
  for (const std::string& e : events) out += "\n  " + e;
  const std::vector<std::string> logged = d.log_lines();
  if (!logged.empty()) out += "\nlast log lines:";
  for (std::size_t i = logged.size() > lines_most ? logged.size() - lines_most : 0; i < logged.size(); ++i) {
    out += "\n  " + logged[i];
  }
  return out;
}

}  // namespace karyon::testing::detail
