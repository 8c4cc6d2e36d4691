#include "sched/timer_wheel.hpp"

#include <bit>

namespace karyon::detail {

void timer_wheel::start(timer& t, std::uint64_t deadline_ns) noexcept {
  t.due_ns = deadline_ns;
  link(t);
  ++size_;
}

void timer_wheel::link(timer& t) noexcept {
  // A due time in the past waits for the next tick; one beyond the wheel's span waits in the outermost slot and is
  // linked anew when that slot cascades. The span stops one outermost slot short of a full turn, or a timer could land
  // in the slot that time is in now.
  std::uint64_t due = tick_of(t.due_ns);
  if (due <= now_) due = now_ + 1;
  constexpr std::uint64_t span = std::uint64_t{slot_count - 1} << (slot_bits * (levels - 1));
  if (due - now_ >= span) due = now_ + span - 1;
  // The level of the highest digit in which the two differ. Without a branch: delays are mixed, and none would be foreseen.
  const auto differing = static_cast<unsigned>(std::bit_width((due ^ now_) | 1u)) - 1;
  const unsigned level = differing / slot_bits < levels ? differing / slot_bits : levels - 1;
  put_first(t, level, static_cast<unsigned>(due >> (slot_bits * level)) & (slot_count - 1));
}

void timer_wheel::put_first(timer& t, unsigned level, unsigned slot) noexcept {
  timer*& head = slots_[level][slot];
  t.prev = nullptr;
  t.next = head;
  if (head != nullptr) head->prev = &t;
  head = &t;
  t.level_slot = static_cast<std::uint16_t>(level * slot_count + slot);
  t.linked = true;
  used_[level][slot / 64] |= std::uint64_t{1} << (slot % 64);
}

void timer_wheel::unlink(timer& t) noexcept {
  if (!t.linked) return;
  const unsigned level = t.level_slot / slot_count;
  const unsigned slot = t.level_slot % slot_count;
  if (t.prev != nullptr) {
    t.prev->next = t.next;
  } else {
    slots_[level][slot] = t.next;
    if (t.next == nullptr) used_[level][slot / 64] &= ~(std::uint64_t{1} << (slot % 64));
  }
  if (t.next != nullptr) t.next->prev = t.prev;
  t.linked = false;
  --size_;
}

namespace {

/// A slot holds its newest timer first, but what is moved inward or fires goes in the order of its start.
timer* oldest_first(timer* newest) noexcept {
  timer* oldest = nullptr;
  while (newest != nullptr) {
    timer* following = newest->next;
    newest->next = oldest;
    newest->prev = following;
    oldest = newest;
    newest = following;
  }
  return oldest;
}

}  // namespace

void timer_wheel::cascade(unsigned level) noexcept {
  const auto slot = static_cast<unsigned>(now_ >> (slot_bits * level)) & (slot_count - 1);
  timer* t = oldest_first(slots_[level][slot]);
  slots_[level][slot] = nullptr;
  used_[level][slot / 64] &= ~(std::uint64_t{1} << (slot % 64));
  while (t != nullptr) {
    timer* following = t->next;
    if (tick_of(t->due_ns) <= now_) {
      // Due exactly now: into the slot that expire() is about to empty.
      put_first(*t, 0, static_cast<unsigned>(now_) & (slot_count - 1));
    } else {
      link(*t);
    }
    t = following;
  }
}

void timer_wheel::expire(worker& w) {
  const auto slot = static_cast<unsigned>(now_) & (slot_count - 1);
  slots_[0][slot] = oldest_first(slots_[0][slot]);
  while (slots_[0][slot] != nullptr) {
    timer* t = slots_[0][slot];
    unlink(*t);
    // A cancelled one is freed by whoever drains the cancelled list.
    if (t->claim(timer::fired)) t->fire(t, w);
  }
}

void timer_wheel::advance(std::uint64_t now_ns, worker& w) {
  const std::uint64_t target = now_ns >> tick_shift;
  advanced_to_ns_ = now_ns;
  while (now_ < target) {
    if (size_ == 0) {
      now_ = target;
      return;
    }
    // Skip what is empty: jump to the next used slot of the innermost level or to its end.
    const std::uint64_t block_end = (now_ | (slot_count - 1)) + 1;
    std::uint64_t next = block_end;
    for (std::uint64_t i = now_ + 1; i < block_end;) {
      const unsigned slot = static_cast<unsigned>(i) & (slot_count - 1);
      const std::uint64_t bits = used_[0][slot / 64] >> (slot % 64);
      if (bits != 0) {
        next = i + static_cast<unsigned>(std::countr_zero(bits));
        break;
      }
      i += 64 - slot % 64;
    }
    if (next > target) {
      now_ = target;
      return;
    }
    now_ = next;
    for (unsigned level = levels - 1; level >= 1; --level) {
      if ((now_ & ((std::uint64_t{1} << (slot_bits * level)) - 1)) == 0) cascade(level);
    }
    expire(w);
  }
}

std::uint64_t timer_wheel::next_ns() const noexcept {
  if (size_ == 0) return no_deadline;
  const std::uint64_t block_end = (now_ | (slot_count - 1)) + 1;
  for (std::uint64_t i = now_ + 1; i < block_end;) {
    const unsigned slot = static_cast<unsigned>(i) & (slot_count - 1);
    const std::uint64_t bits = used_[0][slot / 64] >> (slot % 64);
    if (bits != 0) return (i + static_cast<unsigned>(std::countr_zero(bits))) << tick_shift;
    i += 64 - slot % 64;
  }
  // Nothing in this block: the next used block of an outer level, or its end, is a safe and rare early wake-up.
  for (unsigned level = 1; level < levels; ++level) {
    const std::uint64_t current = now_ >> (slot_bits * level);
    const std::uint64_t end = (current | (slot_count - 1)) + 1;
    for (std::uint64_t i = current + 1; i < end; ++i) {
      const unsigned slot = static_cast<unsigned>(i) & (slot_count - 1);
      if ((used_[level][slot / 64] >> (slot % 64)) & 1u) return (i << (slot_bits * level)) << tick_shift;
    }
  }
  return ((now_ >> (slot_bits * levels)) + 1) << (slot_bits * levels) << tick_shift;
}

}  // namespace karyon::detail
