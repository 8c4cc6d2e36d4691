// SPDX-License-Identifier: Apache-2.0
#include "model.hpp"

#include "sched/seat.hpp"

// A worker changes hands while a handler runs: the real seat; the fences as the system gives them (a light fence on one side
// and a heavy one on the other order as two sequentially consistent ones), and without them.
//
// mirrors src/sched/crew.cpp
//| if (!from.place.take(number)) {
//
// mirrors src/sched/worker.cpp
//| if (current_worker != this) [[unlikely]]

namespace {

struct both_fences {
  static void light() { std::atomic_thread_fence(std::memory_order_seq_cst); }
  static void heavy() { std::atomic_thread_fence(std::memory_order_seq_cst); }
  static void wait() { rl::yield(1, $); }
};
struct no_light_fence : both_fences {
  static void light() {}
};
struct no_heavy_fence : both_fences {
  static void heavy() {}
};

/// What only the worker's holder may touch; Relacy tells of two that do.
struct private_things {
  rl::var<int> queue{0};
};

/// Thread 0 runs handlers on the worker, which call the runtime; thread 1 is the watch and then whoever takes the worker over.
template <class Fences>
struct take_over : rl::test_suite<take_over<Fences>, 2> {
  karyon::detail::basic_seat<Fences> place;
  private_things worker;
  int dummy = 0;

  void touch() {
    const int n = worker.queue($);
    worker.queue($) = n + 1;
  }

  void thread(unsigned index) {
    if (index == 1) {
      for (int look = 0; look < 2; ++look) {
        const auto seen = place.seen();
        if (seen.number == 0) continue;
        if (place.take(seen.number)) {
          touch();
          touch();
          return;
        }
      }
      return;
    }
    place.take_place();
    touch();
    for (int handler = 0; handler < 2; ++handler) {
      place.begin(&dummy);
      if (place.cover()) {  // the handler sends something
        touch();
        place.expose();
      } else {
        RL_ASSERT(!place.end());
        return;
      }
      if (!place.end()) return;
      touch();
    }
  }
};

/// The watch takes a worker only from the handler that it has seen, not from the next one.
struct same_handler : rl::test_suite<same_handler, 2> {
  karyon::detail::basic_seat<both_fences> place;
  rl::var<std::uint64_t> taken_from{0};
  int dummy = 0;

  void thread(unsigned index) {
    if (index == 1) {
      const auto seen = place.seen();
      if (seen.number != 0) {
        taken_from($) = seen.number;
        static_cast<void>(place.take(seen.number));
      }
      return;
    }
    place.take_place();
    for (int handler = 0; handler < 2; ++handler) {
      const auto number = place.begin(&dummy);
      if (!place.end()) {
        lost_in = number;
        return;
      }
    }
  }
  void after() { RL_ASSERT(lost_in == 0 || lost_in == taken_from($)); }
  std::uint64_t lost_in = 0;
};

/// What a look finds is all of one handler.
enum class told { what, whom };
template <told Which>
struct names : rl::test_suite<names<Which>, 2> {
  karyon::detail::basic_seat<both_fences> place;
  int things[4] = {};

  void thread(unsigned index) {
    if (index == 1) {
      const auto seen = place.seen();
      if (seen.number == 0) return;
      RL_ASSERT((Which == told::what ? seen.what : seen.whom) == &things[seen.number]);
      return;
    }
    place.take_place();
    for (unsigned handler = 1; handler <= 2; ++handler) {
      if (Which == told::whom) place.show(&things[handler]);
      place.begin(&things[handler]);
      static_cast<void>(place.end());
    }
  }
};

}  // namespace

int main() {
  return model::suite("seat", {"seat.hpp"})
      .holds<take_over<both_fences>>("a worker has one holder at a time", 60000)
      .holds<same_handler>("a handler that has returned does not lose the worker of the next", 20000)
      .holds<names<told::what>>("a look tells of one handler, not of two", 20000)
      .holds<names<told::whom>>("and of one cell", 20000)
      .fails<take_over<no_light_fence>>("without the fence of the thread that covers itself", 60000)
      .fails<take_over<no_heavy_fence>>("without the fence of the one that takes", 60000)
      .unshown("seat.hpp begin store release -> relaxed",
               "of what: the light fence in end() is a real one here, and orders the same; in production it is the "
               "compiler's alone")
      .unshown("seat.hpp show store release -> relaxed", "likewise")
      .check();
}
