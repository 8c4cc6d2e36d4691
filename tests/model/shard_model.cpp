// SPDX-License-Identifier: Apache-2.0
#include "model.hpp"

#include "sched/parker.cpp"
#include "sched/remote_queue.hpp"
#include "supervise/presence.hpp"
#include "supervise/wake_list.hpp"

// How a supervisor's shard learns of ends: shard::mark, shard::schedule, shard::run_turn and shard::run_events, on a worker
// made of the real queue and parker, with the real list and the real count of who is inside.
//
// mirrors src/supervise/shard.cpp
//| presence_.add();
//| owner_.runtime().workers().schedule(this, worker_, true);
//
// mirrors src/supervise/shard.cpp
//| if ((s.keeper_bits.fetch_or(bit, std::memory_order_acq_rel) & (joined | ended)) != 0) return;  // on the list already
//| if (news_.push(s)) schedule();
//
// mirrors src/supervise/shard.cpp
//| if (self.again_ || !self.news_.rest()) return self.owner_.runtime().workers().schedule(&self, self.worker_, true);
//| if (self.presence_.leave()) self.say_ended();  // nothing of it is touched any more
//
// mirrors src/supervise/shard.cpp
//| if (drained_ == nullptr) drained_ = news_.take_newest_first();
//
// mirrors src/supervise/shard.cpp
//| while (cell_slot* s = drained_) {
//| if (is_spent(work++)) return false;
//| drained_ = s->keeper_next;
//
// mirrors src/supervise/shard.cpp
//| const std::uint8_t happened =
//| s->keeper_bits.fetch_and(static_cast<std::uint8_t>(~(joined | ended)), std::memory_order_acq_rel);

namespace {

using karyon::detail::parker;
using karyon::detail::presence;
using karyon::detail::remote_queue;
using karyon::detail::task;

enum class mistake { none, bits_cleared_before_the_link_is_read, taken_after_the_commands, no_presence_of_the_turn };

constexpr std::uint8_t joined = 1;
constexpr std::uint8_t ended = 2;

struct child {
  std::atomic<std::uint8_t> bits;
  child* keeper_next = nullptr;
  rl::var<int> link_uses{0};  // stands for keeper_next: who may write it while another reads it
  rl::var<int> why{0};
  rl::var<int> ends_seen{0};
  rl::var<bool> taken_in{false};
};

/// One child ends, is restarted, and ends again on the shard's worker; another joins and ends at once; a command is posted. The
/// shard is closed already, so it has ended, and is freed, when both have left.
template <mistake Made>
struct guarding : rl::test_suite<guarding<Made>, 3> {
  struct turn : task {
    rl::var<bool> queued{false};  // a task is in at most one queue
  };
  child children[2];
  karyon::detail::basic_wake_list<child> news;
  presence who;
  std::atomic<int> command;  // stands for the list under its mutex
  rl::var<int> body{0};      // of the shard: written when it has ended
  turn shard;
  remote_queue runs;
  parker bed;
  model::futex kernel;
  child* drained = nullptr;
  int ends = 0;
  bool commanded = false;
  bool over = false;

  void before() {
    for (child& c : children) c.bits.store(0, std::memory_order_relaxed);
    children[0].taken_in($) = true;
    command.store(0, std::memory_order_relaxed);
    who.reopen();
    RL_ASSERT(who.enter_child());
    RL_ASSERT(who.enter_child());
    RL_ASSERT(!who.close());  // the thread that posts the command has this place
  }
  void run() {
    RL_ASSERT(!shard.queued($));
    shard.queued($) = true;
    runs.push(&shard);
    bed.wake();
  }
  void schedule() {
    RL_ASSERT(body($) == 0);
    if (Made != mistake::no_presence_of_the_turn) who.add();
    run();
  }
  void mark(child& c, std::uint8_t bit) {
    if ((c.bits.fetch_or(bit, std::memory_order_acq_rel) & (joined | ended)) != 0) return;
    c.link_uses($) = c.link_uses($) + 1;
    if (news.push(c)) schedule();
  }
  void say_ended() {
    body($) = 1;
    over = true;
  }
  void end_of(child& c) {
    RL_ASSERT(c.taken_in($));
    c.ends_seen($) = c.ends_seen($) + 1;
    RL_ASSERT(c.why($) == c.ends_seen($));
    ++ends;
    if (&c == &children[0] && c.ends_seen($) == 1) {
      c.why($) = 2;
      mark(c, ended);
    } else if (who.leave_child()) {
      say_ended();
    }
  }
  void run_command() {
    if (command.load(std::memory_order_relaxed) == 1) commanded = true;
  }
  void run_turn() {
    shard.queued($) = false;
    if (Made == mistake::taken_after_the_commands) run_command();
    if (drained == nullptr) drained = news.take_newest_first();
    if (Made != mistake::taken_after_the_commands) run_command();
    unsigned work = 0;
    bool again = false;
    while (child* c = drained) {
      if (work++ >= 1) {
        again = true;
        break;
      }
      if (Made != mistake::bits_cleared_before_the_link_is_read) RL_ASSERT(c->link_uses($) > 0);
      drained = c->keeper_next;
      const std::uint8_t happened =
          c->bits.fetch_and(static_cast<std::uint8_t>(~(joined | ended)), std::memory_order_acq_rel);
      if (Made == mistake::bits_cleared_before_the_link_is_read) RL_ASSERT(c->link_uses($) > 0);
      if ((happened & joined) != 0) c->taken_in($) = true;
      if ((happened & ended) != 0) end_of(*c);
    }
    if (Made == mistake::no_presence_of_the_turn && over) return;
    if (again || !news.rest()) return run();
    if (Made != mistake::no_presence_of_the_turn && who.leave()) say_ended();
  }
  void thread(unsigned index) {
    if (index == 1) {
      children[0].why($) = 1;
      mark(children[0], ended);
      // A caller with a command, which has been inside all the time.
      command.store(1, std::memory_order_relaxed);
      if (news.poke()) schedule();
      if (who.leave()) {
        body($) = 1;
        over = true;
        bed.wake();
      }
    } else if (index == 2) {
      mark(children[1], joined);
      children[1].why($) = 1;
      mark(children[1], ended);
    } else {
      while (!over) {
        if (runs.take_all() != nullptr) {
          run_turn();
          continue;
        }
        bed.prepare();
        if (runs.has_tasks() || over) {
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
    RL_ASSERT(commanded);
  }
};

}  // namespace

int main() {
  return model::suite("The shard of a supervisor", {"shard_model.cpp", "wake_list.hpp"})
      .holds<guarding<mistake::none>>(
          "every end is seen once, after its join, with its reason, every command is seen, and nothing is touched "
          "afterwards",
          60'000)
      .fails<guarding<mistake::bits_cleared_before_the_link_is_read>>("clearing the bits before reading the link",
                                                                      60'000)
      .fails<guarding<mistake::taken_after_the_commands>>("looking at the commands before the list is taken", 60'000)
      .fails<guarding<mistake::no_presence_of_the_turn>>("a turn that is not counted as inside", 60'000)
      .unshown("wake_list.hpp poke cas acq_rel -> release",
               "who pokes reads nothing of what the turn or the others have written")
      .unshown("wake_list.hpp take_newest_first exchange acq_rel -> acquire",
               "what the turn writes is read by its next run, which it is scheduled for after rest")
      .unshown("wake_list.hpp rest cas acq_rel -> release", "it has found nothing that it would read")
      .check();
}
