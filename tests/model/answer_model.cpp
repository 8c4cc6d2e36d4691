// SPDX-License-Identifier: Apache-2.0
#include "model.hpp"

#include "cell/answer_slot.cpp"

// A thread that waits for an answer, and the cell that gives it: the real slot. Relacy watches `new` and `delete`, so a slot
// that is freed twice, never, or under the other side's hands is found.

namespace karyon::detail {

/// Time goes on in great strides, so that wait() spins little.
std::uint64_t monotonic_ns() noexcept {
  static std::uint64_t now = 0;
  return now += 30'000;
}

// What sched/wait.hpp and sched/simulation.hpp declare: no simulation, and deadlines as they are.
thread_local constinit simulation* current_simulation = nullptr;
std::uint64_t deadline_in(std::uint64_t delay_ns) noexcept {
  const std::uint64_t now = monotonic_ns();
  return delay_ns < never_ns - now ? now + delay_ns : never_ns;
}

}  // namespace karyon::detail

namespace {

struct slot final : karyon::detail::answer_slot {
  rl::var<int> value{0};
  rl::var<bool>* freed = nullptr;
  ~slot() override { (*freed)($) = true; }
};

enum class reference { each_has_one, answerer_drops_first };

template <reference Kept, bool TimesOut>
struct answering : rl::test_suite<answering<Kept, TimesOut>, 2> {
  slot* meeting = nullptr;
  rl::var<bool> freed{false};  // a race, if it is freed while somebody still has a reference
  model::futex kernel;

  void before() {
    meeting = new slot;
    meeting->freed = &freed;
  }
  void thread(unsigned index) {
    if (index == 0) {
      const bool answered = meeting->wait(TimesOut ? 60'000 : ~std::uint64_t{0});
      RL_ASSERT(answered || TimesOut);
      if (answered) RL_ASSERT(meeting->value($) == 42);
      RL_ASSERT(!freed($));
      meeting->drop();
    } else {
      meeting->value($) = 42;
      if (Kept == reference::answerer_drops_first) meeting->drop();
      meeting->complete();
      RL_ASSERT(!freed($));
      if (Kept == reference::each_has_one) meeting->drop();
    }
  }
  void after() { RL_ASSERT(freed($)); }
};

}  // namespace

int main() {
  return model::suite("The answer to a waiting thread", {"answer_slot.cpp", "ask.hpp"})
      .holds<answering<reference::each_has_one, false>>("the waiter wakes and sees the value; the slot is freed once",
                                                        60'000)
      .holds<answering<reference::each_has_one, true>>("a waiter that gave up frees nothing under the answerer", 60'000)
      .fails<answering<reference::answerer_drops_first, true>>("giving the slot up before completing it", 60'000)
      .check();
}
