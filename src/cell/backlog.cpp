#include "cell/backlog.hpp"

#include <algorithm>
#include <memory>
#include <new>
#include <utility>

#include "cell/extras.hpp"
#include "cell/runtime_core.hpp"

namespace karyon::detail {

// ---- conflation ----------------------------------------------------------------------------------------------------

bool conflation_index::absorb(signal& s) noexcept {
  const conflation_rule* rule = s.ops->conflation;
  std::uint64_t hash = 0;
  if (!rule->hash(s, hash)) return false;
  try {
    const auto [found, is_first] = waiting_.try_emplace(key{rule, hash}, &s);
    // Of two keys with one hash the second is not found: it waits as often as it is sent.
    if (is_first || !rule->same(*found->second, s)) return false;
    rule->replace(*found->second, s);
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

void conflation_index::forget(const signal& s) noexcept {
  std::uint64_t hash = 0;
  if (waiting_.empty()) return;
  if (!s.ops->conflation->hash(s, hash)) {  // the user's: it may throw now, where it did not before
    std::erase_if(waiting_, [&s](const auto& each) { return each.second == &s; });
    return;
  }
  const auto found = waiting_.find(key{s.ops->conflation, hash});
  if (found != waiting_.end() && found->second == &s) waiting_.erase(found);
}

namespace {

[[nodiscard]] const class_info& class_of(const cell_slot& s) noexcept {
  return *s.info.load(std::memory_order_relaxed);
}

[[nodiscard]] signal* reversed(signal* list) noexcept {
  signal* out = nullptr;
  while (list != nullptr) {
    signal* following = list->next;
    list->next = out;
    out = list;
    list = following;
  }
  return out;
}

/// Files a list, oldest first, by lane and by key.
void sort_in(cell_slot& s, backlog& b, signal* oldest) noexcept {
  signal* urgent = nullptr;  // newest first
  while (oldest != nullptr) {
    signal* const n = oldest;
    oldest = n->next;
    if (n->ops->urgent) {
      n->next = urgent;
      urgent = n;
    } else if (n->ops->conflation != nullptr && b.keys.absorb(*n)) {
      s.queued.fetch_sub(1, std::memory_order_relaxed);
      core_of(&s).count(&cell_counters::conflated);
      discard_overflow(n);
    } else {
      b.users += n->ops->internal ? 0 : 1;
      ring_push_back(n->ops->high ? b.high_tail : s.pending_tail, n);
    }
  }
  if (urgent != nullptr) pending_push_behind_urgent(s, urgent);
}

/// What came by another way than the inbox: the signal that woke the cell, or what was kept over a restart.
void sort_pending(cell_slot& s, backlog& b) noexcept {
  b.sorted = true;
  b.users = 0;
  signal* tail = std::exchange(s.pending_tail, nullptr);
  if (tail != nullptr) sort_in(s, b, std::exchange(tail->next, nullptr));
}

void take_arrived(cell_slot& s, const class_info& info, backlog* b) noexcept {
  signal* newest = info.needs.drops_waiting() ? s.inbox.take_all_untrimmed() : s.inbox.take_all();
  if (newest == nullptr) return;
  if (b == nullptr) return pending_append(s, newest);
  sort_in(s, *b, reversed(newest));
}

/// The oldest of the user's signals in a circular list by its tail, taken out; null if there is none.
signal* take_oldest_user(signal*& tail) noexcept {
  if (tail == nullptr) return nullptr;
  signal* before = tail;
  do {
    signal* const n = before->next;
    if (!n->ops->internal) {
      if (n == before) {
        tail = nullptr;
      } else {
        before->next = n->next;
        if (n == tail) tail = before;
      }
      return n;
    }
    before = n;
  } while (before != tail);
  return nullptr;
}

/// Those of high priority are dropped last. Goes by what is in hand: the count of all that wait has senders in it that are still to
/// bring theirs, or will be refused, and may be kept from that for long. Without memory for a backlog there is nothing better.
void drop_excess(cell_slot& s, const class_info& info, backlog* b) noexcept {
  while ((b != nullptr ? b->users : s.queued.load(std::memory_order_relaxed)) > info.mailbox_limit) {
    signal* lost = take_oldest_user(s.pending_tail);
    if (lost == nullptr && b != nullptr) lost = take_oldest_user(b->high_tail);
    if (lost == nullptr) return;
    s.queued.fetch_sub(1, std::memory_order_relaxed);
    core_of(&s).count(&cell_counters::dropped_oldest);
    if (b != nullptr) {
      --b->users;
      if (lost->ops->conflation != nullptr) b->keys.forget(*lost);
    }
    discard_overflow(lost);
  }
}

[[nodiscard]] bool urgent_waits(const cell_slot& s) noexcept {
  return s.pending_tail != nullptr && s.pending_tail->next->ops->urgent;
}

signal* pop(cell_slot& s, backlog& b) noexcept {
  const bool others_wait = s.pending_tail != nullptr;
  signal* n = nullptr;
  if (b.high_tail != nullptr && !urgent_waits(s) && (!others_wait || b.high_in_row < high_in_row_most)) {
    b.high_in_row = others_wait ? b.high_in_row + 1 : 0;
    n = ring_pop(b.high_tail);
  } else {
    n = pending_pop(s);
    if (n == nullptr) return nullptr;
    if (!n->ops->urgent) b.high_in_row = 0;
  }
  b.users -= n->ops->internal ? 0 : 1;
  if (n->ops->conflation != nullptr) b.keys.forget(*n);
  return n;
}

}  // namespace

// ---- a turn --------------------------------------------------------------------------------------------------------

backlog* backlog_of(cell_slot& s) noexcept {
  const turn_needs& needs = class_of(s).needs;
  if (!needs.backlog && !needs.drops_waiting()) return nullptr;
  try {
    auto& b = extras_of(s).waiting;
    if (b == nullptr) b = std::make_unique<backlog>();
    return b.get();
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void take_in(cell_slot& s) noexcept {
  backlog* const b = s.extras != nullptr ? s.extras->waiting.get() : nullptr;
  // In on_start the first look at the mailbox may be the user's: what is filed twice would replace itself.
  if (b != nullptr && !b->sorted) sort_pending(s, *b);
  take_arrived(s, class_of(s), b);
}

signal* next_signal(cell_slot& s, backlog* b) noexcept {
  const class_info& info = class_of(s);
  if (b != nullptr && !b->sorted) sort_pending(s, *b);
  if (s.inbox.has_signals()) take_arrived(s, info, b);
  if (info.needs.drops_waiting()) drop_excess(s, info, b);
  if (b == nullptr) return pending_pop(s);
  signal* n = pop(s, *b);
  // Who sends to an idle cell puts the signal where a backlog's lists do not have it.
  if (n == nullptr) b->sorted = false;
  return n;
}

void put_back(cell_slot& s, backlog* b, signal* n) noexcept {
  pending_push_front(s, n);
  if (b == nullptr) return;
  b->users += n->ops->internal ? 0 : 1;
  // No other of its key waits: that would have been replaced, and nothing has been taken in since.
  if (n->ops->conflation != nullptr) static_cast<void>(b->keys.absorb(*n));
}

signal* take_put_back(cell_slot& s, backlog* b) noexcept {
  signal* n = pending_pop(s);
  if (b == nullptr) return n;
  b->users -= n->ops->internal ? 0 : 1;
  if (n->ops->conflation != nullptr) b->keys.forget(*n);
  return n;
}

void drop_excess(cell_slot& s, backlog* b) noexcept {
  const class_info& info = class_of(s);
  if (info.needs.drops_waiting()) drop_excess(s, info, b);
}

void gather(cell_slot& s, backlog& b) noexcept {
  signal* newest = nullptr;
  while (signal* n = ring_pop(b.high_tail)) {
    n->next = newest;
    newest = n;
  }
  if (newest != nullptr) pending_push_behind_urgent(s, newest);
}

// ---- giving way ----------------------------------------------------------------------------------------------------

namespace {

/// A receiver that stays full is no reason to stand still for ever: two cells may have overrun each other.
constexpr std::uint64_t given_ticks_most = 4;
constexpr std::uint32_t given_turns_simulated_most = 256;  // there the clock stands while cells run

[[nodiscard]] bool has_given_enough(cell_slot& s, const backlog& b, std::uint64_t now_ticks) noexcept {
  if (now_ticks - b.since_ticks > given_ticks_most) return true;
  return b.turns_given >= given_turns_simulated_most && core_of(&s).workers().simulated();
}

[[nodiscard]] bool is_crowded(const address& whom) noexcept {
  if (!incarnation_alive(whom)) return false;
  const std::uint32_t limit = class_of(*whom.slot).mailbox_limit;
  return limit != 0 && whom.slot->queued.load(std::memory_order_relaxed) >= crowded_from(limit);
}

}  // namespace

bool gives_way(cell_slot& s, backlog& b, std::uint64_t now_ticks) noexcept {
  if (b.overran.slot == nullptr) return false;
  if (!b.sorted) sort_pending(s, b);
  if (s.inbox.has_signals()) take_arrived(s, class_of(s), &b);
  // Exits do not wait; and without a signal there is nothing to put off.
  if (urgent_waits(s) || (s.pending_tail == nullptr && b.high_tail == nullptr)) return false;
  if (b.turns_given == 0) b.since_ticks = now_ticks;
  if (is_crowded(b.overran) && !has_given_enough(s, b, now_ticks)) {
    ++b.turns_given;
    return true;
  }
  b.overran = {};
  return false;
}

// ---- a sender's part -----------------------------------------------------------------------------------------------

shortened shorten(signal* newest, std::uint32_t limit) noexcept {
  shortened r;
  conflation_index keys;
  const auto lose = [&r](signal* n) {
    n->next = r.lost;
    r.lost = n;
  };
  std::uint32_t users = 0;
  std::uint32_t high = 0;  // of them
  signal* kept = nullptr;  // newest first
  for (signal* n = reversed(newest); n != nullptr;) {
    signal* const following = n->next;
    if (n->ops->conflation != nullptr && keys.absorb(*n)) {
      ++r.conflated;
      lose(n);
    } else {
      n->next = kept;
      kept = n;
      users += n->ops->internal ? 0 : 1;
      high += n->ops->high && !n->ops->internal ? 1 : 0;
    }
    n = following;
  }
  // As drop_excess: those of high priority last.
  const std::uint32_t excess = users > limit ? users - limit : 0;
  std::uint32_t excess_others = std::min(excess, users - high);
  std::uint32_t excess_high = excess - excess_others;
  for (signal* n = reversed(kept); n != nullptr;) {
    signal* const following = n->next;
    std::uint32_t& left = n->ops->high ? excess_high : excess_others;
    if (left != 0 && !n->ops->internal) {
      --left;
      ++r.dropped;
      lose(n);
    } else {
      n->next = r.kept;
      r.kept = n;
    }
    n = following;
  }
  return r;
}

}  // namespace karyon::detail
