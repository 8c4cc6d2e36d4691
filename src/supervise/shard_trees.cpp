#include <optional>
#include <string>
#include <string_view>
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
  keeper.tree_reports(*this, what, reason);
}

void shard::start(std::unique_ptr<tree_child> tree) {
  tree_child& t = *tree;
  presence_.add();
  try {
    // All that it will need in a turn, which must not fail.
    t.path = owner_.path() + "/tree-" + std::to_string(t.number);
    tree_child::table one;
    one.try_emplace(t.number);
    t.place = one.extract(one.begin());
    post({.what = command::to_start_tree, .tree = &t});
  } catch (...) {  // what the caller entered for is given back, with the tree
    owner_.let_go(false);
    if (presence_.leave_child() || presence_.leave()) say_ended();
    throw;
  }
  static_cast<void>(tree.release());  // the shard's since then, and perhaps gone
  if (presence_.leave()) say_ended();
}

void shard::tree_reports(tree_child& t, node_parent::report what, const exit_reason& why) noexcept {
  presence_.add();  // the tree, still a child of ours, may be gone as soon as this is noted
  {
    const std::lock_guard lock(commands_mutex_);
    const bool listed = t.told_started || t.told_over;
    if (what == node_parent::report::started) {
      t.told_started = true;
    } else {
      t.told_over = what;
      t.told_why = why;
    }
    if (!listed) {
      t.told_next = told_trees_;
      told_trees_ = &t;
    }
  }
  if (news_.poke()) schedule();
  if (presence_.leave()) say_ended();
}

void shard::begin_tree(tree_child& t) noexcept {
  if (!t.place.empty()) {  // for the first time
    t.place.mapped().reset(&t);
    trees_.insert(std::move(t.place));
    if (stopping_) {
      t.starter->settle_failed(errc::closed, [] { return "the supervisor is ending: no child is started any more"; });
      return forget_tree(t);
    }
  }
  t.now = tree_child::state::starting;
  t.backoff.started_ns = monotonic_ns();
  t.node->begin_start(t, t.path);
}

bool shard::run_tree_reports(unsigned& work) noexcept {
  while (told_trees_.load(std::memory_order_relaxed) !=
         nullptr) {  // one that is missed here has poked for another turn
    if (is_spent(work++)) return false;
    tree_child* t = nullptr;
    bool started = false;
    std::optional<node_parent::report> over;
    exit_reason why;
    {
      const std::lock_guard lock(commands_mutex_);
      t = told_trees_;
      told_trees_ = t->told_next;
      started = std::exchange(t->told_started, false);
      over = std::exchange(t->told_over, std::nullopt);
      why = std::exchange(t->told_why, {});
    }
    if (started) tree_has_started(*t);
    if (over) tree_is_over(*t, *over, why);
  }
  return true;
}

void shard::tree_has_started(tree_child& t) noexcept {
  t.now = tree_child::state::up;
  const auto starter = std::exchange(t.starter, nullptr);
  if (starter == nullptr) return;
  t.counts = t.options.significant;
  if (t.counts) owner_.significant_started();
  starter->settle();
}

void shard::tree_is_over(tree_child& t, node_parent::report what, const exit_reason& why) noexcept {
  const bool failed = what == node_parent::report::start_failed;
  if (const auto starter = std::exchange(t.starter, nullptr); starter != nullptr) {
    starter->settle_failed(failed ? errc::start_failed : errc::closed, [&] {
      return failed ? to_string(why) : "the supervisor was asked to end before it had started: " + to_string(why);
    });
    return forget_tree(t);
  }
  if (!failed) return tree_after_end(t, why);
  report_tree(t, static_cast<std::uint8_t>(supervisor_context::start_error), why);
  if (stopping_ || owner_.stopping()) return forget_tree(t);
  tree_put_off(t, why, false, 0);
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
  if (!list({{}, t.number, decided}, until_ns))
    go_astray(t, static_cast<std::uint8_t>(decided ? unlisted | allowed : unlisted));
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
  if (brutal || how.is_infinity()) return;
  if (!kill_at(how.deadline(), {}, t.number)) go_astray(t, untimed);
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
         {std::string_view(t.path).substr(owner_.path().size() + 1),
          0,
          nullptr,
          {},
          t.options,
          t.options.shutdown.value_or(child_shutdown::infinity())});
}

}  // namespace karyon::detail
