// SPDX-License-Identifier: Apache-2.0
#include "model.hpp"

#include "sched/timer_wheel.cpp"

// A timer that comes due while its cell, which runs on another worker, cancels it: the real wheel and claim; around them
// worker::retire_timer, worker::release_cancelled and the cell's side of src/cell/timers.cpp.
//
// mirrors src/sched/worker.cpp
//| timer* head = cancelled_.load(std::memory_order_relaxed);
//| do {
//| t.cancel_next = head;
//| } while (!cancelled_.compare_exchange_weak(head, &t, std::memory_order_release, std::memory_order_relaxed));
//
// mirrors src/sched/worker.cpp
//| if (cancelled_.load(std::memory_order_relaxed) == nullptr) return;
//| timer* t = cancelled_.exchange(nullptr, std::memory_order_acquire);
//
// mirrors src/cell/timers.cpp
//| if (found == at_home::claimed || (found == at_home::no && t->claim(timer::cancelled))) {
// mirrors src/cell/timers.cpp
//| end_payload(*t);
//| const covered here;
//| return t->home->retire_timer(*t);
//| }
//| t->record_bits |= cell_timer::suppressed;  // its signal is in this cell's mailbox, and will do nothing

namespace karyon::detail {
class worker {};
}  // namespace karyon::detail

namespace {

using karyon::detail::timer;
using karyon::detail::timer_wheel;
using karyon::detail::worker;

enum class decision { claimed, assumed };

/// Two timers of one cell: each is freed once, by the right side, with its content complete.
template <decision Cancel>
struct cancelling : rl::test_suite<cancelling<Cancel>, 2> {
  struct record : timer {
    rl::var<int> content{0};  // the cell's, and the wheel's while it fires
    rl::var<bool> suppressed{false};
    cancelling* home_of = nullptr;
  };
  timer_wheel wheel{0};
  worker self;
  record records[2];
  std::atomic<record*> mail[2];  // the cell's mailbox, one place a timer
  std::atomic<timer*> cancelled;
  rl::var<int> freed[2] = {0, 0};
  rl::var<int> freed_by_cell[2] = {0, 0};

  void before() {
    cancelled.store(nullptr, std::memory_order_relaxed);
    for (int i = 0; i < 2; ++i) {
      mail[i].store(nullptr, std::memory_order_relaxed);
      records[i].home_of = this;
      records[i].fire = [](timer* t, worker&) { fire(static_cast<record*>(t)); };
      records[i].release = [](timer* t, worker&) {
        auto* r = static_cast<record*>(t);
        cancelling& test = *r->home_of;
        RL_ASSERT(r->content($) == 5);
        auto& n = test.freed[r - test.records];
        n($) = n($) + 1;
      };
      wheel.start(records[i], 1);
    }
  }
  static void fire(record* r) {
    r->content($) = 6;
    r->home_of->mail[r - r->home_of->records].store(r, std::memory_order_release);
  }
  void release_cancelled() {
    if (cancelled.load(std::memory_order_relaxed) == nullptr) return;
    timer* t = cancelled.exchange(nullptr, std::memory_order_acquire);
    while (t != nullptr) {
      timer* following = t->cancel_next;
      wheel.unlink(*t);
      t->release(t, self);
      t = following;
    }
  }
  void retire(timer& t) {
    timer* head = cancelled.load(std::memory_order_relaxed);
    do {
      t.cancel_next = head;
    } while (!cancelled.compare_exchange_weak(head, &t, std::memory_order_release, std::memory_order_relaxed));
  }
  void thread(unsigned index) {
    if (index == 0) {
      release_cancelled();
      wheel.advance(std::uint64_t{2} << timer_wheel::tick_shift, self);
      release_cancelled();
      return;
    }
    for (int i = 0; i < 2; ++i) {
      record& r = records[i];
      if (r.claim(timer::cancelled) || Cancel == decision::assumed) {
        r.content($) = 5;  // the winner owns it
        retire(r);
        continue;
      }
      r.suppressed($) = true;
      rl::linear_backoff b;
      while (mail[i].load(std::memory_order_acquire) == nullptr) b.yield($);
      RL_ASSERT(r.content($) == 6);
      freed_by_cell[i]($) = 1;
    }
  }
  void after() {
    release_cancelled();
    RL_ASSERT(wheel.empty());
    for (int i = 0; i < 2; ++i) RL_ASSERT(freed[i]($) + freed_by_cell[i]($) == 1);
  }
};

}  // namespace

int main() {
  constexpr const char* contract = "what the two sides share travels with the mailbox and the cancelled list";
  return model::suite("Firing and cancelling", {"timer_wheel.hpp", "timer_wheel.cpp", "timer_model.cpp"})
      .holds<cancelling<decision::claimed>>("each timer fires or is cancelled, and is freed once with its content",
                                            60'000)
      .fails<cancelling<decision::assumed>>("a cancel that does not ask who won", 60'000)
      .unshown("timer_wheel.hpp claim cas acq_rel -> acquire", contract)
      .unshown("timer_wheel.hpp claim cas acq_rel -> release", contract)
      .unshown("timer_wheel.hpp claim cas-failure acquire -> relaxed", contract)
      .check();
}
