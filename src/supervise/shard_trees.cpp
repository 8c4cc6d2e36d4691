#include <string>
#include <utility>

#include "cell/runtime_core.hpp"
#include "supervise/asked_end.hpp"
#include "supervise/reports.hpp"
#include "supervise/shard.hpp"
#include "supervise/supervisor_core.hpp"
#include "supervise/tree_child.hpp"

namespace karyon::detail {

// Supervisors as children of a shard. They are few, so each is found by its number in a tree, and each change is a command.

void tree_child::child_reports(supervisor_node&, report what, const exit_reason& reason) noexcept {
  keeper.tree_reports(*this, static_cast<std::uint8_t>(what), reason);
}

void shard::start(std::unique_ptr<tree_child> tree) {
  presence_.add();
  try {
    post({.what = command::to_start_tree, .tree = tree.get()});
  } catch (...) {  // there is no memory for the command: what the caller entered for is given back, with the tree
    owner_.let_go(false);
    if (presence_.leave_child() || presence_.leave()) say_ended();
    throw;
  }
  static_cast<void>(tree.release());  // the shard's since then, and perhaps gone
  if (presence_.leave()) say_ended();
}

void shard::tree_reports(tree_child& tree, std::uint8_t what, const exit_reason& why) {
  presence_.add();  // the tree, still a child of ours, may be gone as soon as this is posted
  post({.what = command::to_note_tree, .report = what, .tree = &tree, .why = why});
  if (presence_.leave()) say_ended();
}

void shard::begin_tree(tree_child& t) noexcept {
  if (t.number == 0) {
    t.number = ++last_tree_;
    trees_.emplace(t.number, &t);
    if (stopping_) {
      if (t.starter != nullptr)
        t.starter->settle(fail(errc::closed, "the supervisor is ending: no child is started any more"));
      return forget_tree(t);
    }
  }
  t.now = tree_child::state::starting;
  t.backoff.started_ns = monotonic_ns();
  t.node->begin_start(t, owner_.path() + "/tree-" + std::to_string(t.number));
}

void shard::run_tree_report(command& c) noexcept {
  tree_child& t = *c.tree;
  const auto starter = std::exchange(t.starter, nullptr);
  switch (static_cast<node_parent::report>(c.report)) {
    case node_parent::report::started:
      t.now = tree_child::state::up;
      if (starter == nullptr) return;
      t.counts = t.options.significant;
      if (t.counts) owner_.significant_started();
      return starter->settle({});
    case node_parent::report::start_failed:
      if (starter != nullptr) {
        starter->settle(fail(errc::start_failed, to_string(c.why)));
        return forget_tree(t);
      }
      report_tree(t, static_cast<std::uint8_t>(supervisor_context::start_error), c.why);
      if (stopping_ || owner_.stopping()) return forget_tree(t);
      return tree_put_off(t, std::move(c.why), false, 0);
    case node_parent::report::ended:
      if (starter != nullptr) {
        starter->settle(
            fail(errc::closed, "the supervisor was asked to end before it had started: " + to_string(c.why)));
        return forget_tree(t);
      }
      return tree_after_end(t, c.why);
  }
}

void shard::tree_after_end(tree_child& t, const exit_reason& why) noexcept {
  if (stopping_ || owner_.stopping()) {
    const child_shutdown how = t.options.shutdown.value_or(child_shutdown::infinity());
    if (!killing_ && !ended_as_asked(t.options.restart, how, why)) {
      report_tree(t, static_cast<std::uint8_t>(supervisor_context::shutdown_error), why);
    }
    return forget_tree(t);
  }
  const bool permanent = t.options.restart == restart_type::permanent;
  if (permanent || !why.is_expected()) {
    report_tree(t, static_cast<std::uint8_t>(supervisor_context::child_terminated), why);
  }
  if (t.options.restart == restart_type::temporary ||
      (t.options.restart == restart_type::transient && why.is_expected())) {
    const bool significant = t.options.significant;
    forget_tree(t);
    if (significant) owner_.significant_ended();
    return;
  }
  tree_decide(t, why);
}

void shard::tree_decide(tree_child& t, const exit_reason& why) noexcept {
  const std::uint64_t now_ns = monotonic_ns();
  if (!owner_.limits().allow(why, now_ns, owner_.counted_children(), causes_)) {
    report_tree(t, static_cast<std::uint8_t>(supervisor_context::shutdown), too_many_restarts());
    forget_tree(t);
    return owner_.give_up();
  }
  const restart_backoff& backoff = owner_.options().backoff;
  if (backoff.minimum.count() > 0) {
    return tree_put_off(t, why, true, now_ns + t.backoff.next_wait_ns(backoff, now_ns, next_chance(random_state_)));
  }
  tree_resume(t, true);
}

void shard::tree_put_off(tree_child& t, exit_reason why, bool decided, std::uint64_t until_ns) noexcept {
  t.now = tree_child::state::waiting;
  t.why = std::move(why);
  const waiter w{{}, t.number, decided};
  if (!decided) {
    soon_.push_back(w);
    return;
  }
  later_.emplace(until_ns, w);
  arm(later_bell_, later_.begin()->first);
}

void shard::tree_resume(tree_child& t, bool decided) noexcept {
  if (owner_.stopping()) return forget_tree(t);
  if (!decided) return tree_decide(t, std::exchange(t.why, {}));
  count_restart();
  begin_tree(t);
}

void shard::end_tree(tree_child& t, bool kill) noexcept {
  if (t.now == tree_child::state::waiting) return forget_tree(t);
  const child_shutdown how = t.options.shutdown.value_or(child_shutdown::infinity());
  const bool brutal = kill || how.is_brutal_kill();
  t.node->request_exit(brutal ? exit_reason::killed() : exit_reason::shutdown());
  if (!brutal && !how.is_infinity()) kill_at(how.deadline(), {}, t.number);
}

void shard::end_all_trees(bool kill) noexcept {
  for (auto at = trees_.begin(); at != trees_.end();) {
    tree_child& t = *at->second;
    ++at;  // before it is forgotten
    end_tree(t, kill);
  }
}

void shard::exit_all_trees(const exit_reason& why) noexcept {
  for (auto& [number, t] : trees_) {
    if (t->now != tree_child::state::waiting) t->node->request_exit(why);
  }
}

void shard::forget_tree(tree_child& t) noexcept {
  const bool counts = t.counts;
  t.node->retire();
  trees_.erase(t.number);
  owner_.let_go(counts);
  if (presence_.leave_child()) say_ended();  // never here: the turn itself is inside
}

void shard::report_tree(tree_child& t, std::uint8_t context, const exit_reason& why) noexcept {
  report(owner_.runtime(), {owner_.path(), worker_}, static_cast<supervisor_context>(context), why,
         {{},
          static_cast<std::uint32_t>(t.number),
          nullptr,
          {},
          t.options,
          t.options.shutdown.value_or(child_shutdown::infinity())});
}

}  // namespace karyon::detail
