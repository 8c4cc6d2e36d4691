// SPDX-License-Identifier: Apache-2.0
#include "model.hpp"

#include "supervise/restart_history.hpp"

// The restart history with limits: the real one, with a place a chunk, so that each restart may take back another's.

namespace {

struct models_mutex {
  rl::mutex real;
  void lock() { real.lock($); }
  void unlock() { real.unlock($); }
};

/// Of three restarts at one moment two are allowed: the first three of all, or three after one that lies behind, whose chunk the
/// last of them may take back and use while the second looks for it.
template <bool Later>
struct deciding : rl::test_suite<deciding<Later>, 3> {
  karyon::detail::basic_restart_history<1, 8, models_mutex> shared{10};
  rl::var<int> allowed[3] = {0, 0, 0};

  void before() {
    if (Later) RL_ASSERT(shared.add(0, 2));
  }
  void thread(unsigned index) { allowed[index]($) = shared.add(100, 2) ? 1 : 0; }
  void after() { RL_ASSERT(allowed[0]($) + allowed[1]($) + allowed[2]($) == 2); }
};

/// The same with two restarts that lie behind, and chunks that were used again before.
struct deciding_again : rl::test_suite<deciding_again, 2> {
  karyon::detail::basic_restart_history<1, 8, models_mutex> shared{10};
  rl::var<int> allowed[2] = {0, 0};

  void before() {
    RL_ASSERT(shared.add(0, 1));
    RL_ASSERT(shared.add(100, 1));
    RL_ASSERT(shared.add(200, 1));
  }
  void thread(unsigned index) { allowed[index]($) = shared.add(300, 1) ? 1 : 0; }
  void after() { RL_ASSERT(allowed[0]($) + allowed[1]($) == 1); }
};

}  // namespace

int main() {
  return model::suite("The restart history", {"restart_history.hpp"})
      .holds<deciding<false>>("of three first restarts at one moment two are allowed", 10'000)
      .holds<deciding<true>>("of three restarts at one moment, one long after another, two are allowed", 20'000)
      .holds<deciding_again>("of two restarts at one moment, with chunks used again, one is allowed", 10'000)
      .check();
}
