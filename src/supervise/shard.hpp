#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <latch>
#include <mutex>
#include <vector>

#include <karyon/supervise/supervisor.hpp>

#include "cell/slot.hpp"
#include "sched/task.hpp"
#include "sched/timer_wheel.hpp"

namespace karyon::detail {

class supervisor_core;

/// Children to start together: a part of it for each shard.
struct bulk_start {
  child_factory* factory;
  address* out;
  std::latch done;
  std::atomic<bool> failed{false};
  std::exception_ptr error;  // written by the one that sets `failed`
  bulk_start(child_factory* f, address* o, std::ptrdiff_t parts) : factory(f), out(o), done(parts) {}
};

/// A supervisor's part on one worker: owns the children there, learns of their ends and starts them again.
///
/// A pinned task, so everything below `run` happens on one worker's thread, one turn at a time, each turn bounded. Others
/// reach it through two lists: `events_`, of slots whose child has joined or ended (each at most once on it, by
/// cell_slot::keeper_bits), and `commands_`.
///
///   keeper_bits   meaning                                     set by                      cleared by
///   joined 1      started elsewhere, to be taken in           starter, before launch      shard, taking the slot off events_
///   ended 2       an incarnation has ended                    the worker where it ended   shard, the same
///   leaving 4     to be ended for good, not restarted         shard (terminate)           shard, when it has ended
///
/// Whoever turns joined and ended from none to some pushes the slot; release, paired with the shard's acquire.
class shard final : public guardian, public task {
public:
  shard(supervisor_core& owner, unsigned worker);

  /// Any thread: a child whose slot is prepared and about to be launched belongs to this shard.
  void join(cell_slot& s) noexcept;
  /// Any thread: starts children first..last - 1 of a bulk on this shard.
  void start(bulk_start& bulk, std::uint32_t first, std::uint32_t last);
  /// Any thread.
  void terminate(const address& role);
  void stop();

  /// On the shard's worker: the same as join, at once.
  void take_in(cell_slot& s) noexcept;

  [[nodiscard]] unsigned worker_index() const noexcept { return worker_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_.load(std::memory_order_acquire); }  // partner: forget

private:
  /// Kills a child that was asked to end and has not.
  struct termination : timer {
    shard* owner = nullptr;
    address role;
  };
  enum bits : std::uint8_t { joined = 1, ended = 2, leaving = 4 };
  struct command {
    enum kind : std::uint8_t { to_start, to_terminate, to_kill_role, to_stop, to_kill } what;
    bool begun = false;
    bulk_start* bulk = nullptr;
    std::uint32_t next = 0;
    std::uint32_t last = 0;
    address role;
  };
  struct deadline_timer : timer {
    shard* owner = nullptr;
  };

  static void child_has_ended(guardian& self, cell_slot& s) noexcept;
  static void run_turn(task* t, class worker& w);
  void post(command c);
  void mark(cell_slot& s, std::uint8_t bit) noexcept;
  void wake() noexcept;

  // On the shard's worker.
  bool run_commands(unsigned& work) noexcept;
  bool run_command(command& c, unsigned& work) noexcept;
  bool run_start(command& c, unsigned& work) noexcept;
  bool run_exit_all(command& c, unsigned& work) noexcept;
  bool run_events(unsigned& work) noexcept;
  void end_of(cell_slot& s) noexcept;
  void restart(cell_slot& s) noexcept;
  void forget(cell_slot& s) noexcept;
  void arm_deadline();
  void arm_termination(const address& role);

  supervisor_core& owner_;
  const unsigned worker_;
  // The shard's worker only.
  std::vector<cell_slot*> children_;
  cell_slot* drained_ = nullptr;
  std::vector<command> working_;
  std::size_t command_ = 0;
  bool stopping_ = false;
  deadline_timer deadline_;

  std::atomic<std::size_t> size_{0};
  alignas(64) std::atomic<cell_slot*> events_{nullptr};
  std::atomic<bool> scheduled_{false};
  std::mutex commands_mutex_;
  std::vector<command> commands_;  // commands_mutex_: rare, and never in the way of an end
};

}  // namespace karyon::detail
