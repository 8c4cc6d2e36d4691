// SPDX-License-Identifier: Apache-2.0
#include "sched/parker.hpp"

#include <array>
#include <atomic>
#include <thread>

#include "sched/remote_queue.hpp"
#include "support/catch.hpp"

using karyon::detail::monotonic_ns;
using karyon::detail::parker;
using karyon::detail::remote_queue;
using karyon::detail::task;

TEST_CASE("waking somebody who is awake does nothing") {
  parker p;
  CHECK_FALSE(p.wake());
  CHECK_FALSE(p.is_parked());
}

TEST_CASE("a wake between prepare and sleep is not lost") {
  parker p;
  p.prepare();
  CHECK(p.is_parked());
  CHECK(p.wake());
  CHECK_FALSE(p.wake());  // one wake ends one sleep
  p.sleep(0);             // returns at once, or this test does not end
  CHECK_FALSE(p.is_parked());
}

TEST_CASE("who finds work after prepare does not sleep") {
  parker p;
  p.prepare();
  p.cancel();
  CHECK_FALSE(p.is_parked());
  CHECK_FALSE(p.wake());
}

TEST_CASE("a sleep ends at its deadline without a wake, not before") {
  parker p;
  const std::uint64_t deadline = monotonic_ns() + 2'000'000;
  p.prepare();
  p.sleep(deadline);
  CHECK(monotonic_ns() >= deadline);
  CHECK_FALSE(p.is_parked());
}

TEST_CASE("a sleep until a time that is past returns") {
  parker p;
  p.prepare();
  p.sleep(1);
  CHECK_FALSE(p.is_parked());
}

TEST_CASE("two threads that hand a task to and fro, sleeping in between, miss no wake") {
  constexpr unsigned rounds = 20'000;
  struct side {
    remote_queue inbox;
    parker bed;
    task* wait() {
      while (true) {
        if (task* t = inbox.take_all()) return t;
        bed.prepare();
        if (inbox.has_tasks()) {
          bed.cancel();
        } else {
          bed.sleep(0);
        }
      }
    }
    void give(task* t) {
      inbox.push(t);
      bed.wake();
    }
  };
  struct ball : task {
    unsigned touched = 0;  // by either side, in turn, without an atomic
  };
  side here;
  side there;
  ball b;
  std::thread other([&] {
    for (unsigned i = 0; i < rounds; ++i) {
      auto* t = static_cast<ball*>(there.wait());
      ++t->touched;
      here.give(t);
    }
  });
  for (unsigned i = 0; i < rounds; ++i) {
    there.give(&b);
    ++static_cast<ball*>(here.wait())->touched;
  }
  other.join();
  CHECK(b.touched == 2 * rounds);
}
