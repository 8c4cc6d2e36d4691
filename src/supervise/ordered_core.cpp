#include "supervise/ordered_core.hpp"

#include <functional>
#include <utility>

#include "cell/backend.hpp"
#include "cell/lifecycle.hpp"
#include "sched/parker.hpp"

namespace karyon::detail {

namespace {

// Steps of the logic in one turn. Each starts or ends one child at most.
constexpr unsigned work_per_turn = 64;

unsigned choose_worker(runtime_core& rt, const placement& where) {
  if (where.how != placement::kind::parent) return rt.choose(where).home;
  // The parent's node, but not its worker: a start that hangs should hold up as few supervisors as possible.
  const worker* self = worker_at_hand();
  const bool ours = self != nullptr && &self->owner() == &rt.workers();
  return ours ? rt.workers().next_worker(self->node()) : rt.workers().next_worker();
}

result<started_child> closed() { return fail(errc::closed, "the supervisor is ending or has ended"); }

}  // namespace

ordered_core::ordered_core(runtime_core& rt, std::shared_ptr<const supervisor_spec> spec)
    : guardian(&child_has_ended, &write_path),
      task(&run_turn),
      runtime_(rt),
      spec_(std::move(spec)),
      worker_(choose_worker(rt, spec_->where)) {
  deadline_.owner = this;
  deadline_.fire = [](timer* t, worker&) {
    ordered_core& core = *static_cast<deadline_timer*>(t)->owner;
    core.deadline_due_ = true;
    if (core.wakes_.poke()) core.schedule();
  };
  deadline_.release = [](timer*, worker&) {};
}

ordered_core::~ordered_core() = default;

// ---- from any thread -----------------------------------------------------------------------------------------------

void ordered_core::child_has_ended(guardian& self, cell_slot& s) noexcept {
  auto& core = static_cast<ordered_core&>(self);
  if (core.wakes_.push(s)) core.schedule();
}

void ordered_core::write_path(const guardian& self, const cell_slot* child, std::string& path) {
  path.append(static_cast<const ordered_core&>(self).path_);
  if (child != nullptr) path.append("/").append(static_cast<const kept_child*>(child->keeper_data)->spec.id());
}

void ordered_core::post(command c) noexcept {
  {
    // The task is woken under the lock: once a turn has set `active_` back, nobody is on the way to wake it.
    const std::lock_guard lock(mutex_);
    if (active_ && keep(c)) {
      news_.store(true,
                  std::memory_order_relaxed);  // a hint: the wake that follows brings a turn that looks in any case
      if (wakes_.poke()) schedule();
      return;
    }
  }
  refuse(c);
}

/// Under mutex_. False: there is no memory for it, and whoever asks is told no.
bool ordered_core::keep(command& c) noexcept {
  if (c.what == command::report) {  // must get through
    inbox_.push_back(std::move(c));
    return true;
  }
  try {
    inbox_.push_back(std::move(c));
    return true;
  } catch (const std::bad_alloc&) {
    if (c.what != command::exit) return false;
    if (!late_exit_ || c.why.why() == exit_reason::kind::killed) late_exit_ = c.why;
    return true;
  }
}

void ordered_core::refuse(command& c) noexcept {
  asker a{c.what, c.to};
  if (a.to.to != reply_address::kind::none) reply(a, closed());
}

void ordered_core::reply(asker& a, result<started_child> outcome) noexcept {
  if (a.what == command::start || a.what == command::restart) return answer<started_child>(a.to, std::move(outcome));
  result<void> plain;
  if (!outcome) plain = tl::unexpected<error>(std::move(outcome.error()));
  answer<void>(a.to, std::move(plain));
}

void ordered_core::begin_start(node_parent& parent, const std::string& path) noexcept {
  try {
    const std::lock_guard lock(mutex_);
    path_ = path;
    inbox_.reserve(1);  // nobody posts before it is active
  } catch (const std::bad_alloc&) {
    return parent.child_reports(*this, report::start_failed,
                                reason_of_current_exception(exit_reason::kind::start_failed));
  }
  room_.change([this] { ++lives_begun_; });
  const std::lock_guard lock(mutex_);
  active_ = true;
  parent_ = &parent;
  inbox_.push_back({command::begin, {}, {}, {}, {}, nullptr, {}});
  if (wakes_.poke()) schedule();
}

void ordered_core::request_exit(const exit_reason& why) noexcept {
  if (why.why() != exit_reason::kind::normal) post({command::exit, {}, {}, {}, why, nullptr, {}});
}

void ordered_core::child_reports(supervisor_node& child, report what, const exit_reason& why) noexcept {
  const auto self = shared_from_this();  // this report may be the last that our end waits for
  post({command::report, {}, {}, {}, why, &child, what});
}

void ordered_core::start_child(child_spec spec, reply_address to) {
  if (auto good = check_start(spec, spec_->auto_shutdown); !good) {
    return answer<started_child>(to, tl::unexpected<error>(good.error()));
  }
  std::string id = spec.id();
  post({command::start, to, std::move(id), std::move(spec), {}, nullptr, {}});
}

void ordered_core::terminate_child(std::string_view id, reply_address to) {
  post({command::terminate, to, std::string(id), {}, {}, nullptr, {}});
}

void ordered_core::restart_child(std::string_view id, reply_address to) {
  post({command::restart, to, std::string(id), {}, {}, nullptr, {}});
}

void ordered_core::delete_child(std::string_view id, reply_address to) {
  post({command::remove, to, std::string(id), {}, {}, nullptr, {}});
}

std::optional<exit_reason> ordered_core::ended() const {
  return room_.read([this]() -> std::optional<exit_reason> {
    if (lives_over_ == lives_begun_ && lives_over_ != 0) return ended_;
    return std::nullopt;
  });
}

bool ordered_core::wait_ended(std::chrono::nanoseconds timeout) const {
  return room_.wait([this] { return lives_over_ == lives_begun_ && lives_over_ != 0; }, timeout);
}

void ordered_core::stop() {
  const std::uint64_t life = room_.read([this] { return lives_begun_; });
  request_exit(exit_reason::shutdown());
  room_.wait([&] { return lives_over_ >= life; });
}

// ---- a turn --------------------------------------------------------------------------------------------------------

void ordered_core::run_turn(task* t, worker&) {
  auto& self = *static_cast<ordered_core*>(t);
  const auto keep = self.shared_from_this();  // the last report may make everybody else forget it
  self.turn();
}

void ordered_core::turn() noexcept {
  take_ends();
  take_timers();
  take_commands();
  unsigned work = 0;
  while (work < work_per_turn && logic_ && !over_ && logic_->step(monotonic_ns())) {
    carry_out();
    if (news_.load(std::memory_order_relaxed)) take_commands();
    ++work;
  }
  if (over_) return finish();
  if (work == work_per_turn || !wakes_.rest()) schedule();
}

void ordered_core::take_ends() noexcept {
  for (cell_slot* s = wakes_.take(); s != nullptr;) {
    cell_slot* following = s->keeper_next;
    auto& c = *static_cast<kept_child*>(s->keeper_data);
    const exit_reason why = std::move(s->ended_why);
    s->pending_tail = nullptr;
    c.last_end = why;
    logic_->child_ended(c.number, why, monotonic_ns());
    carry_out();
    s = following;
  }
}

void ordered_core::take_timers() {
  if (std::exchange(deadline_due_, false)) {
    logic_->deadline_due();
    carry_out();
  }
  for (const key child : std::exchange(due_retries_, {})) {
    logic_->retry_due(child);
    carry_out();
  }
}

void ordered_core::take_commands() {
  std::optional<exit_reason> exit;
  {
    const std::lock_guard lock(mutex_);
    news_.store(false, std::memory_order_relaxed);
    working_.swap(inbox_);
    exit.swap(late_exit_);
  }
  for (command& c : working_) {
    take(c);
    if (logic_) carry_out();
  }
  working_.clear();
  if (!exit || !logic_) return;
  logic_->request_exit(*exit);
  carry_out();
}

void ordered_core::take(command& c) {
  if (c.what == command::begin) return begin_life();
  const ordered_logic::ticket t = ++last_ticket_;
  if (c.to.to != reply_address::kind::none) askers_.emplace(t, asker{c.what, c.to});
  switch (c.what) {
    case command::exit: return logic_->request_exit(c.why);
    case command::report: {
      const key child = node_keys_.at(c.node);
      if (c.reported == report::started) return logic_->child_started(child, monotonic_ns());
      if (c.reported == report::start_failed) return logic_->child_start_failed(child, c.why);
      return logic_->child_ended(child, c.why, monotonic_ns());
    }
    case command::start: {
      ordered_logic::rules rules{c.id, c.spec->options().restart, c.spec->shutdown(), c.spec->options().significant};
      auto fresh = std::make_unique<kept_child>(*std::move(c.spec));
      const key child = ++last_key_;
      fresh->number = child;
      {
        const std::lock_guard lock(table_mutex_);
        children_.emplace(child, std::move(fresh));
      }
      return logic_->start_child(t, child, std::move(rules));
    }
    case command::terminate: return logic_->terminate_child(t, c.id);
    case command::restart: return logic_->restart_child(t, c.id);
    case command::remove: return logic_->delete_child(t, c.id);
    case command::begin: return;
  }
}

void ordered_core::begin_life() {
  ordered_logic::settings settings{spec_->strategy, spec_->intensity, spec_->backoff, spec_->auto_shutdown, 0};
  settings.seed = random_bits();
  std::vector<std::pair<key, ordered_logic::rules>> rules;
  {
    const std::lock_guard lock(table_mutex_);
    table kept = std::exchange(children_, {});
    const auto ids = std::exchange(ids_, {});
    last_key_ = ordered_logic::no_child;
    for (const child_spec& spec : spec_->children) {
      const auto known = ids.find(spec.id());
      auto c = known != ids.end() ? std::move(kept.at(known->second)) : std::make_unique<kept_child>(spec);
      const key child = ++last_key_;
      c->number = child;
      c->declared = c->listed = true;
      ids_.emplace(spec.id(), child);
      children_.emplace(child, std::move(c));
      rules.push_back({child, {spec.id(), spec.options().restart, spec.shutdown(), spec.options().significant}});
    }
  }
  logic_.emplace(settings);
  logic_->begin(std::move(rules));
}

/// The life is over: nothing is left of it but what is kept for the next.
void ordered_core::finish() noexcept {
  const report what = *std::exchange(over_, std::nullopt);
  const exit_reason why = std::move(over_why_);
  std::vector<command> late;
  {
    const std::lock_guard lock(mutex_);
    active_ = false;
    late.swap(inbox_);
    late_exit_.reset();
  }
  restarts_before_ += logic_->restarts();
  logic_.reset();
  node_keys_.clear();
  for (command& c : late) refuse(c);
  for (auto& [t, a] : std::exchange(askers_, {})) reply(a, closed());
  for (auto c = children_.begin(); c != children_.end();) {
    const key child = c->first;
    kept_child& left = *c->second;
    ++c;
    disarm(left.retry);
    if (!left.declared || left.spec.options().restart == restart_type::temporary) {
      forget(child);
    } else {
      show(left, child_state::stopped);
    }
  }
  disarm(deadline_);
  deadline_due_ = false;
  due_retries_.clear();
  // Nobody is left who could wake it: what makes rest() fail is of this turn.
  while (!wakes_.rest()) static_cast<void>(wakes_.take());
  parent_->child_reports(*this, what, why);
  // Last: whoever waits finds everything done, also what a parent that has no more use for it gives back. A parent that has
  // begun the next life meanwhile has counted it first.
  room_.change([&] {
    ended_ = why;
    ++lives_over_;
  });
}

void ordered_core::retire() noexcept {
  while (!children_.empty()) forget(children_.begin()->first);
}

std::shared_ptr<supervisor_node> make_ordered_node(runtime_core& rt, std::shared_ptr<const supervisor_spec> spec) {
  return std::make_shared<ordered_core>(rt, std::move(spec));
}

}  // namespace karyon::detail
