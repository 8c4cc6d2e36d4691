#include <algorithm>
#include <exception>
#include <string>
#include <utility>

#include "core/programmer_error.hpp"
#include "sim/driver.hpp"

namespace karyon::testing::detail {

namespace kd = karyon::detail;

/// A signal that was held back, on its way again: a signal around it, so that it is known and not held back twice.
struct driver::delayed_signal : signal {
  signal* inner;
  address to;
  kd::signal_ops ops_here;

  delayed_signal(signal* held, const address& receiver) noexcept
      : signal(&ops_here), inner(held), to(receiver), ops_here(*held->ops) {
    ops_here.invoke = &invoke;
    ops_here.discard = &discard;
    if (held->ops->invoke_copy != nullptr) ops_here.invoke_copy = &invoke_copy;
    ops_here.trivial = false;
    ops_here.bytes = sizeof(delayed_signal);
  }
  static void invoke(void* object, signal& s) {
    signal& held_back = *static_cast<delayed_signal&>(s).inner;
    held_back.ops->invoke(object, held_back);
  }
  static void invoke_copy(void* object, signal& s) {
    signal& held_back = *static_cast<delayed_signal&>(s).inner;
    held_back.ops->invoke_copy(object, held_back);
  }
  static void discard(signal* s, errc code, const exit_reason& why) noexcept {
    auto* self = static_cast<delayed_signal*>(s);
    self->inner->ops->discard(self->inner, code, why);
    kd::destroy_signal(self);
  }
  /// What was sent: the signal, or the one that is on its way again in it.
  static const signal& sent(const signal& s) noexcept {
    return is_one(s) ? *static_cast<const delayed_signal&>(s).inner : s;
  }
  static bool is_one(const signal& s) noexcept { return s.ops->invoke == &invoke; }
};

void driver::add_rule(std::shared_ptr<rule_state> r) { rules_.push_back(std::move(r)); }

bool driver::applies(rule_state& r, const cell_slot& s, const signal& what) {
  if (!r.active || r.type != what.ops->type) return false;
  if (r.one_receiver) {
    if (r.receiver.slot != &s) return false;
    const std::uint32_t number = r.role ? s.role.load(std::memory_order_relaxed) : s.number();
    if (r.receiver.number != number) return false;
  }
  if (!r.when) return true;
  // Only what carries a payload of the type: the runtime's own signals may share its name (`down`, `exit_signal`).
  if (what.ops->internal) return false;
  // It is the test's code, but called in a cell's turn, which nothing may be thrown through.
  try {
    return r.when(what);
  } catch (const std::exception& e) {
    fail("the predicate of a rule on " + std::string(r.type) + " has thrown: " + e.what());
  } catch (...) {
    fail("the predicate of a rule on " + std::string(r.type) + " has thrown what is no std::exception");
  }
  return false;
}

bool driver::take_away(cell_slot& s, signal& what) {
  const bool again = delayed_signal::is_one(what);
  const signal& seen = delayed_signal::sent(what);
  for (const auto& r : rules_) {
    if (r->what == rule_state::kind::expect || r->count >= r->acts_most || !applies(*r, s, seen)) continue;
    if (again && r->what == rule_state::kind::delay) continue;
    if (r->chance < 1 && !rule_chance_.chance(r->chance)) continue;
    ++r->count;
    if (r->what == rule_state::kind::drop) {
      record(event::kind::dropped, s, now_running_.cell, what.ops->type);
      ++dropped_;
      lost_.push_back(&what);
    } else {
      record(event::kind::delayed, s, now_running_.cell, what.ops->type);
      const std::int64_t delay = std::max<std::int64_t>(0, r->delay.count());
      auto* held = kd::make_signal<delayed_signal>(&what, s.at());
      delayed_.emplace(now_ns_ + static_cast<std::uint64_t>(delay), held);
      if (delay == 0) delayed_due_ = true;
    }
    return true;
  }
  return false;
}

void driver::count_expected(const cell_slot& s, const signal& what) {
  const signal& seen = delayed_signal::sent(what);
  for (const auto& r : rules_) {
    if (r->what != rule_state::kind::expect || !applies(*r, s, seen)) continue;
    if (++r->count <= r->expected.most) continue;
    std::string text = r->expected.most == 0 ? "a disallowed " : "one too many ";
    text.append(r->type).append(" was handled by ").append(s.info.load(std::memory_order_relaxed)->name);
    text.append(" #").append(std::to_string(now_running_.cell));
    if (r->expected.most != 0) text.append(" (").append(std::to_string(r->expected.most)).append(" allowed)");
    fail(std::move(text));
  }
}

void driver::deliver_delayed() {
  const auto first = delayed_.begin();
  delayed_signal* held = first->second;
  delayed_.erase(first);
  delayed_due_ = !delayed_.empty() && delayed_.begin()->first <= now_ns_;
  kd::deliver(held->to.slot, held->to.number, held);
}

void driver::discard_kept() noexcept {
  const auto discard = [](signal* s) { s->ops->discard(s, errc::dead, exit_reason(exit_reason::kind::no_cell)); };
  for (signal* s : std::exchange(lost_, {})) discard(s);
  for (const auto& [due, s] : std::exchange(delayed_, {})) discard(s);
  delayed_due_ = false;
}

void driver::fail(std::string text) {
  if (failure_.empty()) failure_ = report_of(*this, text);
}

void driver::check_failed() const {
  if (!failure_.empty()) throw failure(failure_);
}

bool driver::has_open_expectations() const noexcept {
  return std::any_of(rules_.begin(), rules_.end(),
                     [](const auto& r) { return r->active && r->what == rule_state::kind::expect; });
}

void driver::verify() {
  std::string unmet;
  for (const auto& r : rules_) {
    if (!r->active || r->what != rule_state::kind::expect) continue;
    r->active = false;
    if (r->count >= r->expected.least || !failure_.empty()) continue;
    if (!unmet.empty()) unmet += "; ";
    unmet.append(r->type).append(" was handled ").append(std::to_string(r->count)).append(" times, expected were ");
    unmet.append(r->expected.most == r->expected.least ? "exactly " : "at least ");
    unmet.append(std::to_string(r->expected.least));
  }
  if (!unmet.empty()) fail(std::move(unmet));
  check_failed();
}

}  // namespace karyon::testing::detail
