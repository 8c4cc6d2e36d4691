#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <karyon/supervise/supervisor.hpp>

#include "cell/slot.hpp"
#include "sched/task.hpp"
#include "sched/timer_wheel.hpp"
#include "sched/worker.hpp"
#include "supervise/backoff.hpp"
#include "supervise/cause_table.hpp"
#include "supervise/node.hpp"
#include "supervise/presence.hpp"
#include "supervise/waiting.hpp"
#include "supervise/wake_list.hpp"

namespace karyon::detail {

class supervisor_core;
class tree_child;

/// Children to start together: a part of it for each shard. Lives on the stack of the thread that waits for all parts.
struct bulk_start {
  bulk_start(child_factory* f, address* o, std::size_t parts) : factory(f), out(o), parts_left(parts) {}
  // Acquire-release pairs with that of the other parts: the last one has seen what they did, and the room hands it on.
  void part_done() noexcept {
    if (parts_left.fetch_sub(1, std::memory_order_acq_rel) == 1) room.change([this] { done = true; });
  }
  void part_failed(std::exception_ptr e) noexcept {
    if (!failed.exchange(true, std::memory_order_relaxed)) error = std::move(e);
  }
  child_factory* factory;
  address* out;
  std::atomic<std::size_t> parts_left;
  std::atomic<bool> failed{false};  // orders nothing: what else is told of it is read after all parts are done
  std::exception_ptr error;         // written by the one that sets `failed`, read after all parts are done
  waiting_room room;
  bool done = false;  // room
};

/// A supervisor's part on one worker: owns the children there, learns of their ends and starts them again.
///
/// A pinned task, so everything below `run_turn` happens on one worker's thread, one turn at a time, each turn bounded; its
/// timers are in that worker's wheel. Others reach it through two lists: `news_`, of slots whose child has joined or ended
/// (each at most once on it, by cell_slot::keeper_bits), and `commands_`. Whoever posts a command is counted in `presence_`
/// meanwhile; whoever pushes a slot touches nothing of the shard afterwards, unless the turn that follows is still its to start.
///
///   keeper_bits    meaning                                     set by                      cleared by
///   joined 1       started elsewhere, to be taken in           starter, before launch      shard, taking the slot off news_
///   ended 2        an incarnation has ended                    the worker where it ended   shard, the same
///   leaving 4      to be ended for good, not restarted         shard (terminate)           shard, when it has ended
///   waiting 8      ended; its restart is put off               shard                       shard
///   unlisted 16    waiting, in neither list of waiters         shard                       shard, trying again
///   allowed 32     unlisted: the restart is allowed already    shard                       the same
///   untold 64      to end, and not told so                     shard                       the same
///   untimed 128    told to end, and its deadline is not kept   shard                       the same
///
/// Whoever turns joined and ended from none to some pushes the slot; its release pairs with the shard's acquire. The last four are
/// for want of memory: nothing of a turn throws, what it could not do or note is done in a later one (shard_strays.cpp).
class shard final : public guardian, public task {
public:
  shard(supervisor_core& owner, unsigned worker);
  ~shard();
  shard(const shard&) = delete;
  shard& operator=(const shard&) = delete;

  // ---- any thread

  [[nodiscard]] presence& who() noexcept { return presence_; }
  /// After who().leave() or leave_child() has said that the caller was the last one.
  void say_ended() noexcept;

  /// A child whose slot is prepared and about to be launched belongs to this shard. The caller entered for it.
  void join(cell_slot& s) noexcept;
  /// Starts children first..last - 1 of a bulk on this shard.
  void start(bulk_start& bulk, std::uint32_t first, std::uint32_t last) noexcept;
  /// Starts a supervisor as a child; the caller entered for it as for any child. If it throws (std::bad_alloc), the place is
  /// given back.
  void start(std::unique_ptr<tree_child> tree);
  void tree_reports(tree_child& tree, node_parent::report what, const exit_reason& why) noexcept;
  /// These two throw std::bad_alloc.
  void terminate(const address& role);
  void exit_children(const exit_reason& why);
  /// From now on nothing is started; ends all children, at once (killed) if `kill`.
  void close(bool kill) noexcept;
  /// After close: kills what is left.
  void kill() noexcept;
  /// It has ended, or was never open: children may come.
  void open() noexcept;

  [[nodiscard]] unsigned worker_index() const noexcept { return worker_; }
  [[nodiscard]] std::size_t size() const noexcept { return presence_.children(); }
  [[nodiscard]] std::uint64_t restarts() const noexcept { return restarts_.load(std::memory_order_relaxed); }

  // ---- on the shard's worker

  /// The same as join, at once.
  void take_in(cell_slot& s) noexcept;

private:
  enum bits : std::uint8_t {
    joined = 1,
    ended = 2,
    leaving = 4,
    waiting = 8,
    unlisted = 16,
    allowed = 32,
    untold = 64,
    untimed = 128,
    astray = unlisted | allowed | untold | untimed
  };
  enum order_bits : std::uint8_t { to_stop = 1, to_kill = 3 };  // to kill is to stop as well
  struct command {
    enum kind : std::uint8_t { to_start, to_start_tree, to_terminate, to_exit_all } what;
    bool begun = false;
    bulk_start* bulk = nullptr;
    std::uint32_t next = 0;
    std::uint32_t last = 0;
    address role{};
    tree_child* tree = nullptr;
    exit_reason why{};
  };
  /// Armed in the wheel of the shard's worker, which alone arms, fires and cancels it; counted in presence_ while armed.
  struct alarm : timer {
    explicit alarm(shard& s) noexcept : owner(&s) {}
    shard* owner;
    bool rung = false;
  };
  /// A child that was asked to end, and when it is killed if it has not; a cell by its role, a supervisor by its number.
  struct due {
    std::uint64_t at_ns = 0;
    address role;
    std::uint64_t tree = 0;
  };
  /// Those with one and the same deadline: who was asked first is due first.
  struct deadline_line {
    explicit deadline_line(shard& s) : bell(s) {}
    alarm bell;
    std::deque<due> asked;
  };
  /// A child between two incarnations.
  struct waiter {
    address role;
    std::uint64_t tree = 0;
    bool decided = false;  // the restart is allowed, and only its time had to come
  };

  static void child_has_ended(guardian& self, cell_slot& s) noexcept;
  static void write_path(const guardian& self, const cell_slot* child, std::string& path);
  static void run_turn(task* t, class worker& w);
  /// Throws std::bad_alloc; the caller is inside and leaves.
  void post(command c);
  void post_or_leave(command c);
  void order(std::uint8_t what) noexcept;
  void mark(cell_slot& s, std::uint8_t bit) noexcept;
  void schedule() noexcept;

  /// Children mended, and as many started or told to end, in one turn: some tens of microseconds, unless their constructors take long.
  static constexpr unsigned work_per_turn = 256;
  // Of each kind, even if another kind has used up the tick.
  static constexpr unsigned work_at_least = 16;
  [[nodiscard]] bool is_spent(unsigned work) const noexcept {
    return work >= work_per_turn || (work >= work_at_least && worker::current()->ticks() != turn_began_);
  }

  // shard.cpp
  void take_turn() noexcept;
  bool run_events(unsigned& work) noexcept;
  void end_of(cell_slot& s) noexcept;
  void after_end(cell_slot& s, const exit_reason& why) noexcept;
  void decide(cell_slot& s, const exit_reason& why) noexcept;
  void restart(cell_slot& s) noexcept;
  void put_off(cell_slot& s, exit_reason why, bool decided, std::uint64_t until_ns) noexcept;
  void forget(cell_slot& s, const exit_reason& why) noexcept;
  [[nodiscard]] bool list(const waiter& w, std::uint64_t until_ns) noexcept;
  bool run_waiting(unsigned& work) noexcept;
  void resume(const waiter& w) noexcept;
  void count_restart() noexcept {
    restarts_.store(restarts_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  [[nodiscard]] child_shutdown policy_of(const child_options& options) const noexcept;
  void report_cell(cell_slot& s, std::uint8_t context, const exit_reason& why) noexcept;

  // shard_strays.cpp
  [[nodiscard]] bool make_room() noexcept;
  [[nodiscard]] bool hold_up(cell_slot& s) noexcept;
  void go_astray(cell_slot& s, std::uint8_t how) noexcept;
  void go_astray(tree_child& t, std::uint8_t how) noexcept;
  bool run_strays(unsigned& work) noexcept;
  void try_again(cell_slot& s) noexcept;
  void try_again(tree_child& t) noexcept;

  // shard_commands.cpp
  bool run_orders(unsigned& work) noexcept;
  bool run_commands(unsigned& work) noexcept;
  bool run_command(command& c, unsigned& work) noexcept;
  bool run_start(command& c, unsigned& work) noexcept;
  bool run_exit_all(command& c, unsigned& work) noexcept;
  void run_terminate(const address& role) noexcept;
  void end_child(cell_slot& s, bool kill) noexcept;
  [[nodiscard]] bool exit_child(cell_slot& s, const exit_reason& why) noexcept;
  [[nodiscard]] bool kill_at(std::chrono::milliseconds deadline, const address& role, std::uint64_t tree) noexcept;
  bool run_deadlines(unsigned& work) noexcept;
  void arm(alarm& a, std::uint64_t at_ns) noexcept;
  void disarm(alarm& a) noexcept;
  void disarm_all() noexcept;

  // shard_trees.cpp
  bool run_tree_reports(unsigned& work) noexcept;
  void tree_has_started(tree_child& t) noexcept;
  void tree_is_over(tree_child& t, node_parent::report what, const exit_reason& why) noexcept;
  void begin_tree(tree_child& t) noexcept;
  void tree_after_end(tree_child& t, const exit_reason& why) noexcept;
  void tree_decide(tree_child& t, const exit_reason& why) noexcept;
  void tree_put_off(tree_child& t, exit_reason why, bool decided, std::uint64_t until_ns) noexcept;
  void tree_resume(tree_child& t, bool decided) noexcept;
  void forget_tree(tree_child& t) noexcept;
  void end_tree(tree_child& t, bool kill) noexcept;
  void end_all_trees(bool kill) noexcept;
  void exit_all_trees(const exit_reason& why) noexcept;
  void report_tree(tree_child& t, std::uint8_t context, const exit_reason& why) noexcept;

  supervisor_core& owner_;
  const unsigned worker_;
  // The shard's worker only.
  std::vector<cell_slot*> children_;
  std::vector<backoff_state> backoff_;  // by place in children_; empty without back-off
  std::map<std::uint64_t, std::unique_ptr<tree_child>> trees_;
  cell_slot* drained_ = nullptr;
  // Joined, and there was no room for them: linked as on news_, which their mark keeps them away from.
  cell_slot* held_up_ = nullptr;
  bool strays_ = false;         // there are some that no look has passed yet
  std::size_t looks_left_ = 0;  // at so many of children_, for strays
  std::size_t sweep_left_ = 0;  // so many are to be told to end
  std::vector<command> working_;
  std::size_t command_ = 0;
  bool stopping_ = false;
  bool killing_ = false;
  bool bells_rung_ = false;
  std::uint64_t turn_began_ = 0;                // in ticks
  bool again_ = false;                          // there is work left for another turn
  std::deque<waiter> soon_;                     // retried in the next turn
  std::multimap<std::uint64_t, waiter> later_;  // restarted at a time, in monotonic nanoseconds
  alarm later_bell_{*this};
  std::map<std::uint64_t, deadline_line> deadlines_;  // by the deadline in nanoseconds
  cause_table causes_;
  std::uint64_t random_state_;
  std::atomic<std::uint64_t> restarts_{0};  // anyone reads

  alignas(64) wake_list news_;
  presence presence_;
  std::atomic<std::uint8_t> orders_{0};  // not yet seen; who adds some pokes news_ then
  std::mutex commands_mutex_;
  // commands_mutex_: rare, and never in the way of an end
  std::vector<command> commands_;
  std::atomic<tree_child*> told_trees_{nullptr};  // that have reported, linked by told_next; a look needs no lock
};

}  // namespace karyon::detail
