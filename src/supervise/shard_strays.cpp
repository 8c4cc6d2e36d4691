// What a shard does without memory: nothing of its turn throws, and what could not be noted is found again by a look at all
// children, turn after turn until there is memory.

#include <algorithm>
#include <new>

#include "supervise/kept_spec.hpp"
#include "supervise/shard.hpp"
#include "supervise/supervisor_core.hpp"
#include "supervise/tree_child.hpp"

namespace karyon::detail {

/// For one more in children_.
bool shard::make_room() noexcept {
  const bool waits = owner_.options().backoff.minimum.count() > 0;
  if (children_.size() < children_.capacity() && (!waits || backoff_.size() < backoff_.capacity())) return true;
  try {
    const std::size_t more = std::max<std::size_t>(16, 2 * children_.size());
    children_.reserve(more);
    if (waits) backoff_.reserve(more);
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

/// A child that has joined and can not be taken in yet. It keeps its mark, so nobody else puts it on a list meanwhile.
bool shard::hold_up(cell_slot& s) noexcept {
  if ((s.keeper_bits.load(std::memory_order_relaxed) & joined) == 0 || make_room()) return false;
  s.keeper_next = held_up_;
  held_up_ = &s;
  return true;
}

void shard::go_astray(cell_slot& s, std::uint8_t how) noexcept {
  s.keeper_bits.fetch_or(how, std::memory_order_relaxed);
  strays_ = true;
}

void shard::go_astray(tree_child& t, std::uint8_t how) noexcept {
  t.stray |= how;
  strays_ = true;
}

bool shard::run_strays(unsigned& work) noexcept {
  if (looks_left_ == 0) {
    if (!strays_) return true;
    strays_ = false;
    looks_left_ = children_.size();
    for (auto at = trees_.begin(); at != trees_.end();) {
      tree_child& t = *at->second;
      ++at;  // before it is forgotten
      if (t.stray != 0) try_again(t);
    }
  }
  // From the last to the first, as in run_orders.
  for (; looks_left_ > 0 && !is_spent(work); --looks_left_, ++work) {
    if (looks_left_ > children_.size()) continue;
    cell_slot& s = *children_[looks_left_ - 1];
    if ((s.keeper_bits.load(std::memory_order_relaxed) & astray) != 0) try_again(s);
  }
  return looks_left_ == 0 && !strays_;
}

void shard::try_again(cell_slot& s) noexcept {
  const std::uint8_t was =
      s.keeper_bits.fetch_and(static_cast<std::uint8_t>(~astray & 0xffU), std::memory_order_relaxed);
  const address role{&s, s.role.load(std::memory_order_relaxed)};
  if ((was & unlisted) != 0) return resume({role, 0, (was & allowed) != 0});
  if ((was & untold) != 0) return end_child(s, killing_);
  if (!kill_at(policy_of(kept_options(s)).deadline(), role, 0)) go_astray(s, untimed);
}

void shard::try_again(tree_child& t) noexcept {
  const std::uint8_t was = t.stray;
  t.stray = 0;
  if ((was & unlisted) != 0) return tree_resume(t, (was & allowed) != 0);
  const child_shutdown how = t.options.shutdown.value_or(child_shutdown::infinity());
  if (!kill_at(how.deadline(), {}, t.number)) go_astray(t, untimed);
}

}  // namespace karyon::detail
