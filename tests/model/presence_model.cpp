// SPDX-License-Identifier: Apache-2.0
#include "model.hpp"

#include "supervise/presence.hpp"

// Who is in a shard, and who says that it has ended. The word is the real one.

namespace {

using karyon::detail::presence;

/// A child, a caller with a turn, and whoever closes the shard come and go: the last of them frees it, once.
struct leaving : rl::test_suite<leaving, 3> {
  presence who;
  rl::var<int> shard{0};  // read by all that are inside, written by the one who says that it has ended
  rl::var<int> said{0};

  void before() { who.reopen(); }
  void touch() { RL_ASSERT(shard($) == 0); }
  void say_ended() {
    RL_ASSERT(said($) == 0);
    said($) = 1;
    shard($) = 1;
  }
  void thread(unsigned index) {
    if (index == 0) {
      if (who.close()) return say_ended();
      touch();
      if (who.leave()) say_ended();
    } else if (index == 1) {
      if (!who.enter_child()) return;
      touch();
      if (who.leave_child()) say_ended();
    } else {
      if (!who.enter()) return;
      who.add();
      touch();
      if (who.leave()) say_ended();
      touch();
      if (who.leave()) say_ended();
    }
  }
  void after() {
    RL_ASSERT(said($) == 1);
    RL_ASSERT(who.children() == 0);
    RL_ASSERT(!who.enter() && !who.enter_child() && !who.enter_closed());
  }
};

/// Whoever enters sees what was prepared before it was opened.
struct opening : rl::test_suite<opening, 2> {
  presence who;
  rl::var<int> prepared{0};
  void thread(unsigned index) {
    if (index == 0) {
      prepared($) = 1;
      who.reopen();
    } else if (who.enter_child()) {
      RL_ASSERT(prepared($) == 1);
    } else if (who.enter()) {
      RL_ASSERT(prepared($) == 1);
    }
  }
};

/// Whoever enters a closed shard sees why it was closed; whoever sees no child sees what the last one did.
struct closing : rl::test_suite<closing, 2> {
  presence who;
  rl::var<int> why{0};
  rl::var<int> done{0};
  void before() {
    who.reopen();
    RL_ASSERT(who.enter_child());
  }
  void thread(unsigned index) {
    if (index == 0) {
      why($) = 1;
      RL_ASSERT(!who.close());
      done($) = 1;
      RL_ASSERT(!who.leave_child());
    } else if (who.enter_closed()) {
      RL_ASSERT(why($) == 1);
      if (who.children() == 0) RL_ASSERT(done($) == 1);
      static_cast<void>(who.leave());
    }
  }
};

}  // namespace

int main() {
  return model::suite("Who is in a shard", {"presence.hpp"})
      .holds<leaving>("the end is said once, after the last has left, and nobody enters then", 60'000)
      .holds<opening>("who enters sees what was prepared before it was opened", 10'000)
      .holds<closing>("who enters a closed shard sees why, and who sees no child sees what it did", 10'000)
      .check();
}
