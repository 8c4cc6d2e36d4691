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

using history = karyon::detail::basic_restart_history<2, 8, models_mutex>;  // two places a chunk

/// Of three restarts at one moment two are allowed.
struct deciding : rl::test_suite<deciding, 3> {
  history shared{10};
  rl::var<int> allowed[3] = {0, 0, 0};

  void thread(unsigned index) { allowed[index]($) = shared.add(100, 2) ? 1 : 0; }
  void after() { RL_ASSERT(allowed[0]($) + allowed[1]($) + allowed[2]($) == 2); }
};

/// Both of two restarts are allowed, since what they look for lies behind: one looks for it while the other needs a new chunk, takes
/// that one back, and writes its own time into it.
struct taking_back : rl::test_suite<taking_back, 2> {
  history shared{10};
  rl::var<int> allowed[2] = {0, 0};

  void before() {
    RL_ASSERT(shared.add(0, 2));
    RL_ASSERT(shared.add(0, 2));
    RL_ASSERT(shared.add(5, 3));  // the second chunk, made while the first could not be taken back
  }
  void thread(unsigned index) { allowed[index]($) = shared.add(100, 2) ? 1 : 0; }
  void after() { RL_ASSERT(allowed[0]($) + allowed[1]($) == 2); }
};

}  // namespace

int main() {
  return model::suite("The restart history", {"restart_history.hpp"})
      .holds<deciding>("of three restarts at one moment two are allowed", 10'000)
      .holds<taking_back>("a restart finds its old one behind while another takes back the chunk", 30'000)
      .unshown(
          "restart_history.hpp add store release -> relaxed",
          "one thread would stand still while another takes back a chunk, makes one of it and writes: too rare here")
      .unshown("restart_history.hpp made store release -> relaxed",
               "the number of a new chunk, likewise; its place is shown")
      .check();
}
