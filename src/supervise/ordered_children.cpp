// The half of ordered_core that has to do with its children: effects of the logic on them, and looks at them.

#include <exception>
#include <utility>

#include "cell/backend.hpp"
#include "cell/lifecycle.hpp"
#include "supervise/ordered_core.hpp"
#include "supervise/reports.hpp"

namespace karyon::detail {

ordered_core::kept_child* ordered_core::at(key child) noexcept {
  const auto found = children_.find(child);
  return found != children_.end() ? found->second.get() : nullptr;
}

// ---- effects -------------------------------------------------------------------------------------------------------

void ordered_core::carry_out() {
  restarts_.store(restarts_before_ + logic_->restarts(), std::memory_order_relaxed);
  // An effect that is carried out may be an event, with effects of its own.
  for (auto effects = logic_->take_effects(); !effects.empty(); effects = logic_->take_effects()) {
    for (ordered_logic::effect& e : effects) carry_out(e);
  }
}

void ordered_core::carry_out(ordered_logic::effect& e) {
  using effect = ordered_logic::effect;
  const auto over = [&](report what) {
    over_ = what;
    over_why_ = std::move(e.why);
  };
  switch (e.what) {
    case effect::start: return start(*at(e.child));
    case effect::ask: return end_child(*at(e.child), e.why);
    case effect::kill: return end_child(*at(e.child), exit_reason::killed());
    case effect::arm_deadline: return arm(deadline_, e.delay_ns);
    case effect::cancel_deadline: deadline_due_ = false; return disarm(deadline_);
    case effect::arm_retry: return arm(at(e.child)->retry, e.delay_ns);
    case effect::cancel_retry: return disarm(at(e.child)->retry);
    case effect::become: return show(*at(e.child), e.state);
    case effect::forget: return forget(e.child);
    case effect::report: return send_report(e);
    case effect::answer: return send_answer(e);
    case effect::has_started: return parent_->child_reports(*this, report::started, {});
    case effect::start_has_failed: return over(report::start_failed);
    case effect::has_ended: return over(report::ended);
  }
}

void ordered_core::arm(timer& t, std::uint64_t delay_ns) noexcept {
  t.state_word.store(timer::armed, std::memory_order_relaxed);  // this worker's alone
  worker::current()->start_timer(t, monotonic_ns() + delay_ns);
}

void ordered_core::disarm(timer& t) noexcept {
  if (t.linked && t.claim(timer::cancelled)) t.home->retire_timer(t);
}

void ordered_core::send_answer(ordered_logic::effect& e) {
  const auto found = askers_.find(e.asker);
  if (found == askers_.end()) return;  // nobody wants to know
  asker a = found->second;
  askers_.erase(found);
  if (e.refusal) return reply(a, tl::unexpected<error>(*std::move(e.refusal)));
  started_child outcome;
  if (kept_child* c = at(e.child)) {
    const std::lock_guard lock(table_mutex_);
    if (!c->listed) ids_.emplace(c->spec.id(), c->number);
    c->listed = true;
    outcome.child = handle_of(*c);
    outcome.info = std::move(c->info);
  }
  reply(a, std::move(outcome));
}

void ordered_core::send_report(const ordered_logic::effect& e) {
  const kept_child* c = at(e.child);
  const address cell = c->slot != nullptr ? c->slot->at() : address{};
  detail::report(runtime_, {path_, report_source::no_shard}, e.context, e.why,
                 {c->spec.id(), 0, c->info_of_class, cell, c->spec.options(), c->spec.shutdown()});
}

void ordered_core::show(kept_child& c, child_state state) {
  // What its mailbox kept is for an incarnation that is on the way, and not for one that may never come.
  if (state == child_state::stopped && c.slot != nullptr) discard_kept(*c.slot, c.last_end);
  const std::lock_guard lock(table_mutex_);
  c.state = state;
  if (state != child_state::running) return;
  c.ignored = false;
  if (!c.listed) ids_.emplace(c.spec.id(), c.number);
  c.listed = true;
  // Neither the spec nor the arguments of a temporary child are kept: it is never started again.
  if (c.spec.options().restart == restart_type::temporary) {
    child_spec_access::drop_making(c.spec);  // in place: it runs already, and may crash
    if (c.factory != nullptr) std::exchange(c.factory, nullptr)->release(1);
  }
}

void ordered_core::forget(key child) {
  table::node_type out;
  {
    const std::lock_guard lock(table_mutex_);
    out = children_.extract(child);
    if (out.mapped()->listed) ids_.erase(out.mapped()->spec.id());
  }
  release(*out.mapped());
}

/// Gives back what a child is made of; it has no incarnation.
void ordered_core::release(kept_child& c) noexcept {
  disarm(c.retry);
  if (c.slot != nullptr) {
    end_role(*c.slot);
    discard_kept(*c.slot, c.last_end);
    if (backend_release(*c.slot)) release_slot(*c.slot);
  }
  if (c.factory != nullptr) c.factory->release(1);
  if (c.node != nullptr) {
    node_keys_.erase(c.node.get());
    c.node->retire();
  }
}

// ---- starts and ends -----------------------------------------------------------------------------------------------

void ordered_core::start(kept_child& c) {
  if (c.state == child_state::restarting) runtime_.count(&cell_counters::restarts);
  c.retry.owner = this;
  c.retry.child = c.number;
  c.retry.fire = [](timer* t, worker&) {
    auto& due = *static_cast<retry_timer*>(t);
    due.owner->due_retries_.push_back(due.child);
    if (due.owner->wakes_.poke()) due.owner->schedule();
  };
  c.retry.release = [](timer*, worker&) {};
  if (c.spec.kind() == child_kind::worker) return start_cell(c);
  start_node(c);
}

void ordered_core::prepare_slot(kept_child& c) {
  if (c.factory == nullptr) {
    c.factory = std::get<child_spec::cell_making>(c.spec.made_of())->make(c.spec.options());
  }
  if (c.slot != nullptr) return;
  const placement where = c.spec.options().where;
  runtime_core::place place{};
  if (where.how == placement::kind::parent) {
    const unsigned node = runtime_.workers().at(worker_).node();
    place = {node, static_cast<std::uint16_t>(runtime_.workers().next_worker(node)), false};
  } else {
    place = runtime_.choose(where);
  }
  const class_info& info = c.factory->info();
  cell_slot& s = take_slot(runtime_, info, place.node);
  s.home = place.home;
  s.flags = 0;
  s.set(cell_slot::pinned, place.pinned);
  const mailbox_policy policy = c.spec.options().mailbox;
  if (policy != mailbox_policy::dropped) keep_mailbox(s, policy == mailbox_policy::kept);
  s.keeper_data = &c;
  s.keeper_bits.store(0, std::memory_order_relaxed);
  const std::lock_guard lock(table_mutex_);
  c.info_of_class = &info;
  c.slot = &s;
  c.role = begin_role(s, *this);
}

void ordered_core::start_cell(kept_child& c) {
  try {
    prepare_slot(c);
  } catch (...) {
    return logic_->child_start_failed(c.number, reason_of_current_exception(exit_reason::kind::start_failed));
  }
  cell_slot& s = *c.slot;
  s.keeper_index = c.number;
  start_note note;
  begin_incarnation(s, *c.info_of_class);
  try {
    const construction_scope scope(&s);
    const start_note_scope notes(note, s);
    c.factory->construct(s.object(), 0);
  } catch (const ignore_start&) {
    abandon_incarnation(s, exit_reason::normal());
    runtime_.count(&cell_counters::ended);
    {
      const std::lock_guard lock(table_mutex_);
      c.ignored = true;
    }
    return logic_->child_ignored(c.number);
  } catch (...) {
    const exit_reason why = reason_of_current_exception(exit_reason::kind::start_failed);
    abandon_incarnation(s, why);
    runtime_.count(&cell_counters::ended);
    return logic_->child_start_failed(c.number, why);
  }
  c.info = std::move(note.info);
  logic_->child_started(c.number, monotonic_ns());
  launch_cell(s);
}

void ordered_core::start_node(kept_child& c) {
  if (c.node == nullptr) {
    try {
      std::shared_ptr<supervisor_node> node;
      if (const auto* tree = std::get_if<child_spec::tree_making>(&c.spec.made_of())) {
        std::shared_ptr<const supervisor_spec> spec = *tree;
        if (spec->where.how == placement::kind::parent && c.spec.options().where.how != placement::kind::parent) {
          auto placed = std::make_shared<supervisor_spec>(*spec);
          placed->where = c.spec.options().where;
          spec = std::move(placed);
        }
        node = make_ordered_node(runtime_, std::move(spec));
      } else {
        node = make_dynamic_node(runtime_, *std::get<child_spec::dynamic_making>(c.spec.made_of()));
      }
      const std::lock_guard lock(table_mutex_);
      c.node = std::move(node);
    } catch (...) {
      return logic_->child_start_failed(c.number, reason_of_current_exception(exit_reason::kind::start_failed));
    }
  }
  node_keys_[c.node.get()] = c.number;
  c.node->begin_start(*this, path_ + "/" + c.spec.id());
}

void ordered_core::end_child(kept_child& c, const exit_reason& why) noexcept {
  if (c.node != nullptr) return c.node->request_exit(why);
  send_exit(c.slot->at(), {}, why);
}

// ---- looks, from any thread ----------------------------------------------------------------------------------------

const ordered_core::kept_child* ordered_core::at(std::string_view id) const {
  const auto found = ids_.find(id);
  return found != ids_.end() ? children_.at(found->second).get() : nullptr;
}

any_child ordered_core::handle_of(const kept_child& c) noexcept {
  if (c.node != nullptr) return any_child_access::of_node(c.node);
  if (c.role == 0 || c.ignored) return {};
  return any_child_access::of_cell(*c.info_of_class, {c.slot, c.role});
}

std::vector<child_info> ordered_core::list() const {
  const std::lock_guard lock(table_mutex_);
  std::vector<child_info> all;
  all.reserve(ids_.size());
  for (const auto& [child, c] : children_) {
    if (c->listed) all.push_back({c->spec.id(), handle_of(*c), c->state, c->spec.kind(), c->spec.options().restart});
  }
  return all;
}

child_counts ordered_core::count() const {
  const std::lock_guard lock(table_mutex_);
  child_counts n;
  for (const auto& [child, c] : children_) {
    if (!c->listed) continue;
    ++n.specs;
    ++(c->spec.kind() == child_kind::supervisor ? n.supervisors : n.workers);
    const bool there = c->node != nullptr || incarnation_of_role({c->slot, c->role}).number != 0;
    if (c->state == child_state::running && there) ++n.active;
  }
  return n;
}

result<child_spec> ordered_core::spec_of(std::string_view id) const {
  const std::lock_guard lock(table_mutex_);
  if (const kept_child* c = at(id)) return c->spec;
  return fail(errc::not_found, "there is no child \"" + std::string(id) + "\"");
}

any_child ordered_core::find(std::string_view id) const {
  const std::lock_guard lock(table_mutex_);
  const kept_child* c = at(id);
  return c != nullptr ? handle_of(*c) : any_child();
}

}  // namespace karyon::detail
