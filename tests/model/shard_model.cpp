// SPDX-License-Identifier: Apache-2.0
#include "model.hpp"

#include "sched/parker.cpp"
#include "sched/remote_queue.hpp"

// How a supervisor's shard learns of ends: shard::mark, shard::wake, shard::run_turn and shard::run_events, on a worker
// made of the real queue and parker.
//
// mirrors src/supervise/shard.cpp
//| if (!scheduled_.exchange(true, std::memory_order_acq_rel)) owner_.runtime().workers().schedule(this, worker_, true);
//
// mirrors src/supervise/shard.cpp
//| if ((s.keeper_bits.fetch_or(bit, std::memory_order_acq_rel) & (joined | ended)) != 0) return;  // on the list already
//| cell_slot* head = events_.load(std::memory_order_relaxed);
//| do {
//| s.keeper_next = head;
//| } while (!events_.compare_exchange_weak(head, &s, std::memory_order_release, std::memory_order_relaxed));
//| wake();
//
// mirrors src/supervise/shard.cpp
//| self.scheduled_.exchange(false, std::memory_order_acq_rel);  // what is pushed from here on schedules another turn
//
// mirrors src/supervise/shard.cpp
//| if (drained_ == nullptr) drained_ = events_.exchange(nullptr, std::memory_order_acquire);
//| cell_slot* s = drained_;
//| if (s == nullptr) return true;
//| drained_ = s->keeper_next;
//| const std::uint8_t happened =
//| s->keeper_bits.fetch_and(static_cast<std::uint8_t>(~(joined | ended)), std::memory_order_acq_rel);

namespace {

using karyon::detail::parker;
using karyon::detail::remote_queue;
using karyon::detail::task;

enum class mistake { none, reset_after_the_turn, bits_cleared_before_the_link_is_read };

constexpr std::uint8_t joined = 1;
constexpr std::uint8_t ended = 2;

struct child {
  std::atomic<std::uint8_t> bits;
  rl::var<child*> keeper_next{nullptr};
  rl::var<int> why{0};
  rl::var<int> ends_seen{0};
  rl::var<bool> taken_in{false};
};

/// One child ends, fails to restart and so ends again on the shard; another joins and ends at once.
template <mistake Made>
struct guarding : rl::test_suite<guarding<Made>, 3> {
  struct turn : task {
    rl::var<bool> queued{false};  // a task is in at most one queue
  };
  child children[2];
  std::atomic<child*> events;
  std::atomic<bool> scheduled;
  turn shard;
  remote_queue runs;
  parker bed;
  model::futex kernel;
  child* drained = nullptr;
  int ends = 0;

  void before() {
    events.store(nullptr, std::memory_order_relaxed);
    scheduled.store(false, std::memory_order_relaxed);
    for (child& c : children) c.bits.store(0, std::memory_order_relaxed);
    children[0].taken_in($) = true;
  }
  void wake() {
    if (scheduled.exchange(true, std::memory_order_acq_rel)) return;
    RL_ASSERT(!shard.queued($));
    shard.queued($) = true;
    runs.push(&shard);
    bed.wake();
  }
  void mark(child& c, std::uint8_t bit) {
    if ((c.bits.fetch_or(bit, std::memory_order_acq_rel) & (joined | ended)) != 0) return;
    child* head = events.load(std::memory_order_relaxed);
    do {
      c.keeper_next($) = head;
    } while (!events.compare_exchange_weak(head, &c, std::memory_order_release, std::memory_order_relaxed));
    wake();
  }
  void end_of(child& c) {
    RL_ASSERT(c.taken_in($));
    c.ends_seen($) = c.ends_seen($) + 1;
    RL_ASSERT(c.why($) == c.ends_seen($));
    ++ends;
    if (&c == &children[0] && c.ends_seen($) == 1) {
      c.why($) = 2;
      mark(c, ended);
    }
  }
  void run_turn() {
    shard.queued($) = false;
    if (Made != mistake::reset_after_the_turn) scheduled.exchange(false, std::memory_order_acq_rel);
    unsigned work = 0;
    while (work < 2) {
      if (drained == nullptr) drained = events.exchange(nullptr, std::memory_order_acquire);
      child* c = drained;
      if (c == nullptr) break;
      if (Made != mistake::bits_cleared_before_the_link_is_read) drained = c->keeper_next($);
      const std::uint8_t happened =
          c->bits.fetch_and(static_cast<std::uint8_t>(~(joined | ended)), std::memory_order_acq_rel);
      if (Made == mistake::bits_cleared_before_the_link_is_read) drained = c->keeper_next($);
      if ((happened & joined) != 0) c->taken_in($) = true;
      if ((happened & ended) != 0) end_of(*c);
      ++work;
    }
    if (Made == mistake::reset_after_the_turn) scheduled.exchange(false, std::memory_order_acq_rel);
    if (work == 2) wake();
  }
  void thread(unsigned index) {
    if (index == 1) {
      children[0].why($) = 1;
      mark(children[0], ended);
    } else if (index == 2) {
      mark(children[1], joined);
      children[1].why($) = 1;
      mark(children[1], ended);
    } else {
      while (ends < 3) {
        if (runs.take_all() != nullptr) {
          run_turn();
          continue;
        }
        bed.prepare();
        if (runs.has_tasks()) {
          bed.cancel();
        } else {
          bed.sleep(0);
        }
      }
    }
  }
  void after() {
    RL_ASSERT(children[0].ends_seen($) == 2);
    RL_ASSERT(children[1].ends_seen($) == 1);
  }
};

}  // namespace

int main() {
  constexpr const char* moved =
      "keeps the list's exchange behind the flag's; Relacy never moves a read-modify-write before another";
  return model::suite("The shard of a supervisor", {"shard_model.cpp"})
      .holds<guarding<mistake::none>>(
          "every end is seen once, after its join, with its reason, and no turn is lost or doubled", 60'000)
      .fails<guarding<mistake::reset_after_the_turn>>("resetting scheduled_ at the end of the turn", 60'000)
      .fails<guarding<mistake::bits_cleared_before_the_link_is_read>>("clearing the bits before reading the link",
                                                                      60'000)
      .unshown("shard_model.cpp wake exchange acq_rel -> acquire", moved)
      .unshown("shard_model.cpp run_turn exchange acq_rel -> release", moved)
      .check();
}
