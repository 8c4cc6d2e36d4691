#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <karyon/core/export.hpp>
#include <karyon/sched/binding.hpp>
#include <karyon/sched/options.hpp>

#include "sched/task.hpp"

namespace karyon::detail {

class scheduler;

/// What a pool is for.
enum class dirty_kind : std::uint8_t { cpu, io };

/// Work for a pool that is no cell's turn: run once, or discarded unrun; either frees it. It is a task as well, so that a worker
/// can run it where there is no thread.
class KARYON_API pool_job : public task {
public:
  pool_job(const pool_job&) = delete;
  pool_job& operator=(const pool_job&) = delete;

  /// Within neither a worker nor a cell.
  virtual void execute() noexcept = 0;
  virtual void discard() noexcept = 0;

  [[nodiscard]] static bool is(const task* t) noexcept { return t->run == &run_on_worker; }
  [[nodiscard]] static pool_job& of(task* t) noexcept { return *static_cast<pool_job*>(t); }

protected:
  pool_job() noexcept : task(&run_on_worker) {}
  virtual ~pool_job() = default;

private:
  static void run_on_worker(task* t, worker& w);
};

/// Threads for work that takes longer than a millisecond or blocks, and the queue before them.
///
/// One lock, and a thread is started while it is held: whoever comes here is about to wait for a sleeping thread anyway, and does
/// so at most once a millisecond of work. A thread that can not be created is told of once; the work then waits for those that
/// there are, and where there is none the caller keeps it.
class KARYON_API dirty_pool {
public:
  struct settings {
    dirty_kind kind = dirty_kind::cpu;
    unsigned number = 0;  ///< of the node, or 0
    unsigned threads_max = 1;
    std::uint32_t jobs_max = 1;        ///< pool_jobs that may wait
    std::vector<std::uint32_t> units;  ///< by the system's number; empty: threads are not bound
    unsigned probed_worker = 0;        ///< whom the switch is measured with
  };
  enum class answer : std::uint8_t { taken, full, no_thread };

  dirty_pool(scheduler& owner, settings s);
  ~dirty_pool() { stop(); }
  dirty_pool(const dirty_pool&) = delete;
  dirty_pool& operator=(const dirty_pool&) = delete;

  /// Any thread: a cell's turn, which is run through scheduler::run_away. Not bounded: a cell is queued at most once. False if
  /// there is no thread: then it stays the caller's, for a worker to run, and is counted.
  [[nodiscard]] bool push(task* t) noexcept;
  /// Any thread. The job stays the caller's unless it is taken; without a thread it is for a worker to run, and counted.
  [[nodiscard]] answer push(pool_job& job) noexcept;
  /// A job or a turn was run by a worker, in a simulation.
  void count_simulated() noexcept;

  /// Takes the cells' turns out of the queue, linked by `next`: their cells have more urgent things to see. Any thread.
  [[nodiscard]] task* recall() noexcept;
  [[nodiscard]] bool is_own_thread() const noexcept;
  /// Threads end after what they run, and are joined; what is queued stays there (take_all). Nothing is pushed any more.
  void stop() noexcept;
  [[nodiscard]] task* take_all() noexcept;

  struct figures {
    std::uint32_t threads = 0;
    std::uint64_t queued = 0;
    std::uint64_t running = 0;
    std::uint64_t run = 0;       ///< since the start
    std::uint64_t refused = 0;   ///< jobs beyond jobs_max
    std::uint64_t in_place = 0;  ///< run by workers, for want of a thread
    std::uint64_t switch_ns = 0;
  };
  [[nodiscard]] figures look() const noexcept;
  /// Whether anything runs, or is queued that is no cell's turn.
  [[nodiscard]] bool is_busy() const noexcept;

private:
  /// Goes to a worker and back, to see how long that takes.
  struct probe : task {
    explicit probe(dirty_pool& p) noexcept : task(&run_on_worker), pool(&p) {}
    static void run_on_worker(task* t, worker& w);
    dirty_pool* pool;
    // mutex_
    std::uint64_t sent_ns = 0;
    bool is_back = false;
    bool is_late = false;  // nobody waits for it any more, and nothing else is known
  };

  void append(task* t) noexcept;
  [[nodiscard]] task* pop() noexcept;
  [[nodiscard]] bool ensure_thread() noexcept;
  [[nodiscard]] bool start_thread() noexcept;
  void tell_refusal() noexcept;
  void main(std::size_t index) noexcept;
  void measure_switch() noexcept;

  scheduler& owner_;
  const settings settings_;
  mutable std::mutex mutex_;  // all below but threads_' content, which stop() alone joins
  std::condition_variable work_;
  std::condition_variable probe_back_;
  std::vector<std::thread> threads_;  // has room for all from the start
  task* first_ = nullptr;
  task* last_ = nullptr;
  std::uint64_t jobs_queued_ = 0;
  std::uint64_t idle_ = 0;
  std::uint64_t refusal_ns_ = 0;  // when a thread could not be had
  int untold_refusal_ = 0;        // errno of that, until it is told
  bool stopping_ = false;
  figures figures_;
  probe probe_{*this};
};

/// A scheduler's pools: one for computation a node, one for what blocks.
class KARYON_API dirty_pools {
public:
  dirty_pools(scheduler& owner, const dirty_options& options);

  [[nodiscard]] dirty_pool& at(dirty_kind kind, unsigned node) const noexcept {
    return kind == dirty_kind::io ? *io_ : *cpu_[node];
  }
  /// Sums; of switch_ns the largest.
  [[nodiscard]] dirty_pool::figures look(dirty_kind kind) const noexcept;
  [[nodiscard]] bool is_busy() const noexcept;
  /// Whether the calling thread is of one of these pools.
  [[nodiscard]] bool is_own_thread() const noexcept;

  template <class F>
  void for_each(F&& f) const {
    for (const auto& pool : cpu_) f(*pool);
    f(*io_);
  }

private:
  std::vector<std::unique_ptr<dirty_pool>> cpu_;  // by node
  std::unique_ptr<dirty_pool> io_;
};

/// Binds the calling thread to a set of units, for good; other units are the system's choice again. As bind_current_thread.
[[nodiscard]] result<void> bind_current_thread_to(const std::vector<std::uint32_t>& units);

}  // namespace karyon::detail
