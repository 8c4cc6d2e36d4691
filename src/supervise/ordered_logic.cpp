#include "supervise/ordered_logic.hpp"

#include <algorithm>

#include "supervise/asked_end.hpp"
#include "supervise/in_ns.hpp"

namespace karyon::detail {

namespace {

/// The splitmix64 sequence (Steele, Lea and Flood, OOPSLA 2014).
std::uint64_t next_random(std::uint64_t& state) noexcept {
  std::uint64_t z = (state += 0x9e3779b97f4a7c15U);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31);
}

bool plain(const exit_reason& why) noexcept { return why.text().empty() && why.type().empty(); }

}  // namespace

// ---- small parts ---------------------------------------------------------------------------------------------------

ordered_logic::record* ordered_logic::find(key child) {
  const auto found = children_.find(child);
  return found != children_.end() ? &found->second : nullptr;
}

ordered_logic::effect& ordered_logic::emit(effect::kind what, key child) {
  effect& e = effects_.emplace_back();
  e.what = what;
  e.child = child;
  return e;
}

void ordered_logic::report(key child, supervisor_context context, const exit_reason& why) {
  effect& e = emit(effect::report, child);
  e.context = context;
  e.why = why;
}

void ordered_logic::answer(ticket asker, key child) { emit(effect::answer, child).asker = asker; }

void ordered_logic::refuse(ticket asker, errc code, std::string text) {
  effect& e = emit(effect::answer);
  e.asker = asker;
  e.refusal.emplace(code, std::move(text));
}

void ordered_logic::change(key child, record& r, life to, child_state shown) {
  if (r.kept.significant) {
    if (r.is == life::absent && to != life::absent) ++significant_;
    if (r.is != life::absent && to == life::absent) --significant_;
  }
  if (r.is == life::retrying && r.timed) {
    r.timed = false;
    emit(effect::cancel_retry, child);
  }
  r.is = to;
  ++r.run;
  emit(effect::become, child).state = shown;
}

/// Its spec is no longer kept.
void ordered_logic::drop(key child) {
  const auto found = children_.find(child);
  change(child, found->second, life::absent, child_state::stopped);
  ids_.erase(found->second.kept.id);
  children_.erase(found);
  emit(effect::forget, child);
}

/// It has no incarnation any more: dropped if it is temporary.
void ordered_logic::settle(key child, record& r) {
  if (r.kept.restart == restart_type::temporary) return drop(child);
  change(child, r, life::absent, job_.what == aim::group ? child_state::restarting : child_state::stopped);
}

void ordered_logic::post(message m) {
  if (ending_ && m.asker != 0) {
    if (m.what == message::start) emit(effect::forget, m.child);
    return refuse(m.asker, errc::closed, "the supervisor is ending");
  }
  mailbox_.push_back(std::move(m));
}

// ---- events --------------------------------------------------------------------------------------------------------

void ordered_logic::begin(std::vector<std::pair<key, rules>> children) {
  job_ = {};
  job_.what = aim::boot;
  for (auto& [child, r] : children) {
    job_.starts.push_back(child);
    ids_.emplace(r.id, child);
    children_[child].kept = std::move(r);
  }
}

bool ordered_logic::stopping(key child) const {
  return job_.waiting && job_.stopped < job_.stops.size() && job_.stops[job_.stopped] == child;
}

bool ordered_logic::starting(key child) const {
  return job_.waiting && job_.stopped == job_.stops.size() && job_.starts[job_.started] == child;
}

void ordered_logic::child_started(key child, std::uint64_t now) {
  record* r = find(child);
  if (r == nullptr || !starting(child)) return;  // it is being ended already
  r->since_ns = now;
  change(child, *r, life::alive, child_state::running);
  ++job_.started;
  job_.waiting = false;
}

void ordered_logic::child_ignored(key child) {
  record* r = find(child);
  if (r == nullptr) return;
  if (stopping(child)) return confirm(child, *r, exit_reason::shutdown());
  const bool awaited = starting(child);
  if (r->kept.restart == restart_type::temporary) {
    drop(child);
  } else {
    change(child, *r, life::absent, child_state::stopped);
  }
  if (!awaited) return;  // everything is to end, and it would have been asked next
  ++job_.started;
  job_.waiting = false;
}

void ordered_logic::child_start_failed(key child, const exit_reason& why) {
  record* r = find(child);
  if (r == nullptr) return;
  if (stopping(child)) return confirm(child, *r, exit_reason::shutdown());
  if (!starting(child)) return settle(child, *r);  // everything is to end, and it would have been asked next
  job_.waiting = false;
  const job failed = std::exchange(job_, {});
  // A restart is tried again: nobody is to see it stopped in between.
  change(child, *r, life::absent, failed.what == aim::group ? child_state::restarting : child_state::stopped);
  switch (failed.what) {
    case aim::boot: {
      report(child, supervisor_context::start_error, why);
      job_.what = aim::failed_boot;
      std::string text = "child \"" + r->kept.id + "\"";
      if (!plain(why)) text.append(": ").append(why.text());
      job_.why = exit_reason(exit_reason::kind::start_failed, std::string(why.type()), std::move(text));
      for (auto c = children_.rbegin(); c != children_.rend(); ++c) job_.stops.push_back(c->first);
      refuse_waiting();
      break;
    }
    case aim::group:
      report(child, supervisor_context::start_error, why);
      // Those behind it stay without an incarnation until this one has been tried again.
      for (std::size_t i = failed.started + 1; i < failed.starts.size(); ++i) {
        if (record* behind = find(failed.starts[i]); behind != nullptr && behind->is == life::absent) {
          emit(effect::become, failed.starts[i]).state = child_state::stopped;
        }
      }
      retry(child, *r, false);
      break;
    case aim::add: drop(child); [[fallthrough]];
    default: refuse(failed.asker, errc::start_failed, to_string(why));
  }
}

void ordered_logic::child_ended(key child, const exit_reason& why, std::uint64_t now) {
  record* r = find(child);
  if (r == nullptr) return;
  if (stopping(child)) return confirm(child, *r, why);
  if (starting(child)) {  // a supervisor that somebody has asked to end before it had started
    return child_start_failed(child, exit_reason(exit_reason::kind::start_failed, {}, "ended: " + to_string(why)));
  }
  if (now - r->since_ns >= in_ns(settings_.backoff.reset_after)) r->waits = 0;
  r->end = why;
  r->is = life::dead;
  ++r->run;
  if (!ending_) mailbox_.push_back({message::ended, child, r->run, 0, {}, {}});
}

void ordered_logic::deadline_due() {
  if (!deadline_armed_) return;
  deadline_armed_ = false;
  emit(effect::kill, job_.stops[job_.stopped]);
}

void ordered_logic::retry_due(key child) {
  record* r = find(child);
  if (r == nullptr || r->is != life::retrying || !r->timed) return;
  r->timed = false;
  mailbox_.push_back({message::retry, child, r->run, 0, {}, {}});
}

void ordered_logic::start_child(ticket asker, key child, rules r) {
  message m{message::start, child, 0, asker, r.id, {}};
  m.fresh = std::move(r);
  post(std::move(m));
}

void ordered_logic::request_exit(const exit_reason& why) {
  const bool kill = why.why() == exit_reason::kind::killed;
  if (why.why() == exit_reason::kind::normal || killing_ || (ending_ && !kill)) return;
  if (!ending_) end_all(why);
  if (!kill) return;
  killing_ = true;
  if (job_.what == aim::end) job_.why = why;
  if (std::exchange(deadline_armed_, false)) emit(effect::cancel_deadline);
  for (const auto& [child, r] : children_) {
    if (r.is == life::alive || r.is == life::starting) emit(effect::kill, child);
  }
}

// ---- the job -------------------------------------------------------------------------------------------------------

bool ordered_logic::step(std::uint64_t now) {
  if (job_.waiting) return false;
  if (job_.stopped < job_.stops.size()) {
    stop_next();
  } else if (job_.started < job_.starts.size()) {
    start_next();
  } else if (job_.what != aim::nothing) {
    finish();
  } else if (running_ && !mailbox_.empty()) {
    message m = std::move(mailbox_.front());
    mailbox_.pop_front();
    handle(std::move(m), now);
  } else {
    return false;
  }
  return true;
}

void ordered_logic::stop_next() {
  const key child = job_.stops[job_.stopped];
  record* r = find(child);
  if (r == nullptr || r->is == life::absent) {
    ++job_.stopped;
    return;
  }
  if (r->is == life::dead) return confirm(child, *r, exit_reason(r->end));
  if (r->is == life::retrying) {
    ++job_.stopped;
    return settle(child, *r);
  }
  job_.waiting = true;
  if (killing_) return;  // it is told so already
  const child_shutdown& how = r->kept.shutdown;
  if (how.is_brutal_kill()) {
    emit(effect::kill, child);
    return;
  }
  emit(effect::ask, child).why = exit_reason::shutdown();
  if (how.is_infinity()) return;
  deadline_armed_ = true;
  emit(effect::arm_deadline, child).delay_ns = in_ns(how.deadline());
}

/// The child that was to end has.
void ordered_logic::confirm(key child, record& r, const exit_reason& why) {
  job_.waiting = false;
  ++job_.stopped;
  if (std::exchange(deadline_armed_, false)) emit(effect::cancel_deadline);
  if (!killing_ && !ended_as_asked(r.kept.restart, r.kept.shutdown, why)) {
    report(child, supervisor_context::shutdown_error, why);
  }
  settle(child, r);
}

void ordered_logic::start_next() {
  const key child = job_.starts[job_.started];
  record* r = find(child);
  if (r == nullptr) {  // a temporary one: it has ended with its group, and is not started again
    ++job_.started;
    return;
  }
  job_.waiting = true;
  change(child, *r, life::starting, job_.what == aim::group ? child_state::restarting : child_state::stopped);
  emit(effect::start, child);
}

void ordered_logic::finish() {
  const job done = std::exchange(job_, {});
  switch (done.what) {
    case aim::boot:
      running_ = true;
      emit(effect::has_started);
      break;
    case aim::failed_boot: emit(effect::start_has_failed).why = done.why; break;
    case aim::end: emit(effect::has_ended).why = done.why; break;
    case aim::add:
    case aim::again: answer(done.asker, done.starts.front()); break;
    case aim::terminate: answer(done.asker, no_child); break;
    default: break;
  }
}

/// From now on no message is handled.
void ordered_logic::refuse_waiting() {
  ending_ = true;
  for (message& m : std::exchange(mailbox_, {})) {
    if (m.asker != 0) post(std::move(m));
  }
}

void ordered_logic::end_all(const exit_reason& why) {
  const job left = std::exchange(job_, {});
  job_.what = aim::end;
  job_.why = why;
  key first = no_child;
  if (left.waiting) {
    // In the middle of one: that goes on being ended, or is ended instead of started.
    job_.waiting = left.stopped < left.stops.size();
    first = job_.waiting ? left.stops[left.stopped] : left.starts[left.started];
    job_.stops.push_back(first);
  }
  for (auto c = children_.rbegin(); c != children_.rend(); ++c) {
    if (c->first != first) job_.stops.push_back(c->first);
  }
  if (left.asker != 0) refuse(left.asker, errc::closed, "the supervisor is ending");
  refuse_waiting();
}

// ---- messages ------------------------------------------------------------------------------------------------------

void ordered_logic::handle(message m, std::uint64_t now) {
  switch (m.what) {
    case message::ended: {
      record* r = find(m.child);
      if (r != nullptr && r->is == life::dead && r->run == m.run) handle_end(m.child, *r, now);
      return;
    }
    case message::retry: {
      record* r = find(m.child);
      if (r == nullptr || r->is != life::retrying || r->run != m.run) return;
      if (r->counted || allow_restart(m.child, now)) restart_group(m.child);
      return;
    }
    case message::start: return handle_start(std::move(m));
    default: return handle_id(m);
  }
}

void ordered_logic::handle_end(key child, record& r, std::uint64_t now) {
  const restart_type type = r.kept.restart;
  const exit_reason why = r.end;
  if (type == restart_type::permanent || !why.is_expected()) report(child, supervisor_context::child_terminated, why);
  if (type == restart_type::temporary || (type == restart_type::transient && why.is_expected())) {
    return left_by_itself(child, r);
  }
  if (!allow_restart(child, now)) return;
  if (settings_.backoff.minimum.count() > 0) return retry(child, r, true);
  restart_group(child);
}

/// Not to be restarted: its end may be that of the supervisor.
void ordered_logic::left_by_itself(key child, record& r) {
  const bool counts = r.kept.significant;
  settle(child, r);
  if (!counts || settings_.automatic == karyon::auto_shutdown::never) return;
  if (settings_.automatic == karyon::auto_shutdown::any_significant || significant_ == 0) {
    end_all(exit_reason::shutdown());
  }
}

/// OTP's rule: so many restarts, this one included, in any period. If it is one too many, everything ends.
bool ordered_logic::allow_restart(key child, std::uint64_t now) {
  const auto period = static_cast<std::uint64_t>(settings_.intensity.period.count());
  while (!restarts_.empty() && now - restarts_.front() > period) restarts_.pop_front();
  restarts_.push_back(now);
  if (restarts_.size() <= settings_.intensity.restarts) {
    ++allowed_;
    return true;
  }
  report(child, supervisor_context::shutdown, too_many_restarts());
  change(child, *find(child), life::absent, child_state::stopped);
  end_all(exit_reason::shutdown());
  return false;
}

void ordered_logic::restart_group(key child) {
  job_ = {};
  job_.what = aim::group;
  change(child, *find(child), life::absent, child_state::restarting);
  if (settings_.strategy == one_for_one) {
    job_.starts.push_back(child);
    return;
  }
  auto first = settings_.strategy == one_for_all ? children_.begin() : children_.find(child);
  for (; first != children_.end(); ++first) job_.starts.push_back(first->first);
  job_.stops.assign(job_.starts.rbegin(), job_.starts.rend());
}

/// To be started again later, in its turn: behind what waits in the mailbox, or after the back-off's time.
void ordered_logic::retry(key child, record& r, bool counted) {
  change(child, r, life::retrying, child_state::restarting);
  r.counted = counted;
  const std::uint64_t wait = next_wait_ns(r);
  if (wait == 0) {
    mailbox_.push_back({message::retry, child, r.run, 0, {}, {}});
    return;
  }
  r.timed = true;
  emit(effect::arm_retry, child).delay_ns = wait;
}

std::uint64_t ordered_logic::next_wait_ns(record& r) {
  const std::uint64_t minimum = in_ns(settings_.backoff.minimum);
  const std::uint64_t maximum = std::max(minimum, in_ns(settings_.backoff.maximum));
  if (minimum == 0) return 0;
  std::uint64_t wait = minimum;
  for (std::uint32_t i = 0; i < r.waits && wait < maximum; ++i) wait = wait > maximum / 2 ? maximum : wait * 2;
  if (wait < maximum) ++r.waits;
  const double share = static_cast<double>(next_random(random_) >> 11) * 0x1p-53;  // [0, 1)
  const double taken_off = static_cast<double>(wait) * settings_.backoff.jitter * share;
  return std::max<std::uint64_t>(1, wait - static_cast<std::uint64_t>(taken_off));
}

void ordered_logic::handle_start(message m) {
  if (const auto known = ids_.find(m.id); known != ids_.end()) {
    const record& r = *find(known->second);
    const bool runs = r.is == life::alive || r.is == life::dead;
    emit(effect::forget, m.child);
    if (runs) return refuse(m.asker, errc::already_started, "child \"" + m.id + "\" runs already");
    return refuse(m.asker, errc::already_present,
                  "child \"" + m.id + "\" is kept without a cell: restart it, or delete it first");
  }
  ids_.emplace(m.id, m.child);
  children_[m.child].kept = std::move(m.fresh);
  job_ = {};
  job_.what = aim::add;
  job_.starts.push_back(m.child);
  job_.asker = m.asker;
}

void ordered_logic::handle_id(const message& m) {
  const auto known = ids_.find(m.id);
  if (known == ids_.end()) return refuse(m.asker, errc::not_found, "there is no child \"" + m.id + "\"");
  const key child = known->second;
  const life is = find(child)->is;
  if (m.what == message::terminate) {
    job_ = {};
    job_.what = aim::terminate;
    job_.stops.push_back(child);
    job_.asker = m.asker;
    return;
  }
  if (is == life::retrying) return refuse(m.asker, errc::restarting, "child \"" + m.id + "\" is being restarted");
  if (is != life::absent) return refuse(m.asker, errc::running, "child \"" + m.id + "\" runs: terminate it first");
  if (m.what == message::remove) {
    drop(child);
    return answer(m.asker, no_child);
  }
  job_ = {};
  job_.what = aim::again;
  job_.starts.push_back(child);
  job_.asker = m.asker;
}

}  // namespace karyon::detail
