#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include <karyon/cell/runtime.hpp>

#include "cell/moved_handlers.hpp"
#include "cell/observer.hpp"
#include "cell/overrun_desk.hpp"
#include "cell/peer_channel.hpp"
#include "cell/report_desk.hpp"
#include "cell/runtime_service.hpp"
#include "cell/slab.hpp"
#include "cell/slot.hpp"
#include "sched/actor_backend.hpp"
#include "sched/scheduler.hpp"
#include "sched/wait.hpp"

namespace karyon::detail {

/// Something that must stop before a runtime's cells are ended one by one: a supervisor, which would restart them.
class shutdown_participant {
public:
  shutdown_participant() = default;
  shutdown_participant(const shutdown_participant&) = delete;
  shutdown_participant& operator=(const shutdown_participant&) = delete;
  virtual ~shutdown_participant() = default;
  /// From now on nothing is started or restarted. Does not wait.
  virtual void begin_shutdown() noexcept = 0;
  /// The shutdown's deadline has passed: it is to kill what it has left. After begin_shutdown; does not wait.
  virtual void begin_kill() noexcept = 0;
  /// Whether it has nothing left.
  [[nodiscard]] virtual bool has_ended() const noexcept = 0;
};

/// Counters that one thread writes and anyone reads. What counts up is released (runtime_core::count), for the sake of
/// `spawned` and `ended`, whose difference others act on.
struct alignas(64) cell_counters {
  std::atomic<std::uint64_t> spawned{0};
  std::atomic<std::uint64_t> ended{0};
  std::atomic<std::uint64_t> handled{0};
  std::atomic<std::uint64_t> restarts{0};
  std::atomic<std::uint64_t> failures{0};
  std::atomic<std::uint64_t> dropped_dead{0};
  std::atomic<std::uint64_t> refused_dead{0};
  std::atomic<std::uint64_t> refused_full{0};
  std::atomic<std::uint64_t> refused_no_handler{0};
  std::atomic<std::uint64_t> dropped_newest{0};
  std::atomic<std::uint64_t> dropped_oldest{0};
  std::atomic<std::uint64_t> conflated{0};
  std::atomic<std::uint64_t> slowed{0};
  std::atomic<std::uint64_t> late_answers{0};
  std::atomic<std::uint64_t> migrations{0};
  std::atomic<std::uint64_t> migration_pages_moved{0};
  std::atomic<std::uint64_t> migration_pages_shared{0};
  std::atomic<std::uint64_t> migration_pages_refused{0};
  std::atomic<std::uint64_t> periods_skipped{0};
};

/// How late the timers of cells fired: counted by one worker alone, but for those that no worker counts; read by anyone
/// (relaxed: each is a number of its own).
struct timer_counters {
  std::array<std::atomic<std::uint64_t>, timer_lateness_classes> late{};
  std::atomic<std::uint64_t> lateness_max_ns{0};

  [[nodiscard]] static std::size_t class_of(std::uint64_t late_ns) noexcept {
    const auto ticks = static_cast<std::size_t>(std::bit_width(late_ns >> timer_wheel::tick_shift));
    return ticks < timer_lateness_classes ? ticks : timer_lateness_classes - 1;
  }
  void fired(std::uint64_t late_ns) noexcept {
    auto& c = late[class_of(late_ns)];
    c.store(c.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    if (late_ns > lateness_max_ns.load(std::memory_order_relaxed)) {
      lateness_max_ns.store(late_ns, std::memory_order_relaxed);
    }
  }
  void fired_outside(std::uint64_t late_ns) noexcept {
    late[class_of(late_ns)].fetch_add(1, std::memory_order_relaxed);
    std::uint64_t most = lateness_max_ns.load(std::memory_order_relaxed);
    while (late_ns > most && !lateness_max_ns.compare_exchange_weak(most, late_ns, std::memory_order_relaxed)) {
    }
  }
};

/// What became of offloaded work whose cell ended first.
enum class offload_loss : std::uint8_t {
  skipped,  ///< it was not begun
  late,     ///< what it yielded was dropped
};

/// A worker's part of the runtime.
struct worker_state {
  slab_cache cache;
  cell_counters counters;
  timer_counters timers;
};

/// The inside of a runtime.
class KARYON_API runtime_core {
public:
  runtime_core(runtime& owner, const runtime_options& options);
  ~runtime_core();
  runtime_core(const runtime_core&) = delete;
  runtime_core& operator=(const runtime_core&) = delete;

  [[nodiscard]] scheduler& workers() noexcept { return *scheduler_; }
  [[nodiscard]] slab_store& slabs() noexcept { return *slabs_; }
  [[nodiscard]] actor_backend& backend() noexcept { return *backend_; }
  [[nodiscard]] runtime& owner() noexcept { return owner_; }
  [[nodiscard]] const runtime_options& options() const noexcept { return options_; }
  /// Tells this runtime from all others of the process, before and after; never 0.
  [[nodiscard]] std::uint64_t serial() const noexcept { return serial_; }
  /// Where sequences that are to look random start: differs from runtime to runtime; in a simulation it follows from the seed.
  [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }
  /// Null, but in a simulation.
  [[nodiscard]] cell_observer* observer() const noexcept { return observer_; }
  [[nodiscard]] bool closing() const noexcept { return closing_.load(std::memory_order_relaxed); }

  /// The calling worker's state, or null on a thread that is not one of this runtime's workers. Within a `covered`, where a
  /// handler may be the caller.
  [[nodiscard]] worker_state* local() noexcept {
    worker* w = worker::current();
    return w != nullptr && &w->owner() == scheduler_.get() ? static_cast<worker_state*>(w->user) : nullptr;
  }

  /// Adds to a counter: a plain store on a worker, an atomic addition to a shared counter elsewhere. Release: partner sum.
  void count(std::atomic<std::uint64_t> cell_counters::*which, std::uint64_t n = 1) noexcept {
    const covered here;
    if (worker_state* s = local()) {
      auto& c = s->counters.*which;
      c.store(c.load(std::memory_order_relaxed) + n, std::memory_order_release);
    } else {
      (outside_.*which).fetch_add(n, std::memory_order_release);
    }
  }
  /// A timer of a cell fired so late.
  void timer_fired(std::uint64_t late_ns) noexcept {
    if (worker_state* s = local()) {
      s->timers.fired(late_ns);
    } else {
      outside_timers_.fired_outside(late_ns);
    }
  }
  [[nodiscard]] std::uint64_t sum(std::atomic<std::uint64_t> cell_counters::*which) const noexcept;
  [[nodiscard]] std::uint64_t live_cells() const noexcept;
  [[nodiscard]] runtime_metrics metrics() const;

  /// Where a new cell goes: {node, home worker, pinned}. Throws runtime_error for an index that does not exist.
  struct place {
    std::uint32_t node;
    std::uint16_t home;
    bool pinned;
  };
  [[nodiscard]] place choose(placement where);

  /// Where this runtime runs a handler. Any thread, no lock.
  [[nodiscard]] execution place_of(const handler_site& site) const noexcept {
    if (site.declared != execution::worker) return site.declared;
    return moved_.has(site) ? execution::dirty_cpu : execution::worker;
  }
  /// From now on handlers of this type run on the dirty CPU pool. Any thread; allocates nothing. False if they do already, or
  /// if too many were moved.
  bool move_to_dirty(handler_site& site) noexcept { return site.declared == execution::worker && moved_.add(site); }
  [[nodiscard]] moved_handlers& moved() noexcept { return moved_; }
  void count_offload(offload_loss how) noexcept {
    (how == offload_loss::late ? offloads_late_ : offloads_skipped_).fetch_add(1, std::memory_order_relaxed);
  }

  void schedule(cell_slot& s) noexcept {
    if (s.has(cell_slot::particular)) [[unlikely]]
      return schedule_particular(s, false);
    scheduler_->schedule(&s.run_link, s.home, s.has(cell_slot::pinned));
  }
  /// For a cell whose turn is over, though it has signals left.
  void schedule_again(cell_slot& s) noexcept {
    if (s.has(cell_slot::particular)) [[unlikely]]
      return schedule_particular(s, true);
    scheduler_->schedule_again(&s.run_link, s.home, s.has(cell_slot::pinned));
  }

  /// For one that a tick has cut short: among those that were woken.
  void schedule_cut_short(cell_slot& s) noexcept {
    if (s.has(cell_slot::particular)) [[unlikely]]
      return schedule_particular(s, true);
    scheduler_->schedule_cut_short(&s.run_link, s.home, s.has(cell_slot::pinned));
  }

  /// Whether any cell of this runtime was ever moved to another node, so that slots may be away from theirs. Relaxed: who
  /// moves or releases a slot owns it, and has got it from where this was set.
  [[nodiscard]] bool has_migrated() const noexcept { return has_migrated_.load(std::memory_order_relaxed); }
  void note_migration() noexcept { has_migrated_.store(true, std::memory_order_relaxed); }

  /// A cell has ended abnormally, with `mailbox` signals not handled: into the log and to the host, or counted if there
  /// are too many. On the slot's worker, before its links are gone.
  void report_crash(cell_slot& s, const exit_reason& why, std::string_view handling, std::uint64_t mailbox) noexcept;
  [[nodiscard]] report_desk& reports() noexcept { return *reports_; }
  [[nodiscard]] overrun_desk& overruns() noexcept { return overruns_; }
  /// The host's callback for reports has thrown.
  void callback_failed() noexcept { crash_callback_failures_.fetch_add(1, std::memory_order_relaxed); }

  /// The service of this kind, made by the first who asks; `key` is the address of something of the kind's own. Throws
  /// std::bad_alloc, and runtime_error (unsupported) beyond 8 kinds.
  template <class Make>
  runtime_service& service(const void* key, Make&& make) {
    const std::lock_guard lock(services_mutex_);
    if (runtime_service* known = find_service(key)) return *known;
    return add_service(key, std::forward<Make>(make)());
  }
  void tell_end(std::uint8_t noted, const address& which) noexcept;
  void tell_role_end(std::uint8_t noted, const address& which) noexcept;
  /// The way to other nodes, kept for as long as the runtime lives; false if there is one already. Before the runtime's shutdown.
  bool install_network(std::shared_ptr<peer_network> network);
  /// Null if there is none (yet).
  [[nodiscard]] std::shared_ptr<peer_network> network() const;

  void add_participant(std::shared_ptr<shutdown_participant> p);
  /// It has nothing left: forgets it, which may free it. No effect if it is not there.
  void remove_participant(const shutdown_participant& p) noexcept;
  shutdown_report shutdown(std::chrono::milliseconds deadline);

private:
  void schedule_particular(cell_slot& s, bool again) noexcept;
  void add_timers(runtime_metrics& to) const noexcept;
  void add_placement(runtime_metrics& m) const noexcept;
  [[nodiscard]] crash_report describe_crash(cell_slot& s, const exit_reason& why, std::string_view handling,
                                            std::uint64_t mailbox) const;
  /// Cells that wait for a thread of a dirty pool look at their mailboxes again: they may have been told to end.
  void recall_from_pools() noexcept;
  [[nodiscard]] std::uint64_t running_on_pools() const noexcept;
  [[nodiscard]] bool wait_until_empty(std::chrono::milliseconds at_most);
  /// Not supervised ones: their supervisors end them, in their order, and would start again what others end.
  void exit_all(const exit_reason& why);

  [[nodiscard]] static std::uint64_t next_serial() noexcept;
  [[nodiscard]] runtime_service* find_service(const void* key) const noexcept;
  runtime_service& add_service(const void* key, std::unique_ptr<runtime_service> s);

  runtime& owner_;
  const std::uint64_t serial_ = next_serial();
  const std::uint64_t seed_ = random_bits();
  runtime_options options_;
  cell_observer* const observer_ = current_observer;
  overrun_desk overruns_;
  std::unique_ptr<scheduler> scheduler_;
  std::unique_ptr<worker_state[]> states_;
  cell_counters outside_;
  timer_counters outside_timers_;
  std::unique_ptr<slab_store> slabs_;
  std::unique_ptr<actor_backend> backend_;
  std::unique_ptr<report_desk> reports_;
  moved_handlers moved_;
  std::atomic<std::uint64_t> offloads_skipped_{0};
  std::atomic<std::uint64_t> offloads_late_{0};
  std::atomic<std::uint64_t> crash_callback_failures_{0};
  std::atomic<bool> has_migrated_{false};
  std::atomic<bool> closing_{false};
  static constexpr std::size_t services_max = 8;  // bits of cell_slot::noted
  mutable std::mutex services_mutex_;
  std::array<const void*, services_max> service_keys_{};  // services_mutex_
  std::size_t services_count_ = 0;                        // services_mutex_
  std::shared_ptr<peer_network> network_;                 // services_mutex_; outlives the services
  // Written once each, before a bit of cell_slot::noted says so; read by whoever has seen that bit.
  std::array<std::unique_ptr<runtime_service>, services_max> services_;
  std::mutex participants_mutex_;
  std::vector<std::shared_ptr<shutdown_participant>>
      participants_;  // participants_mutex_; nothing is added once closing_
  std::mutex shutdown_mutex_;
  bool shut_down_ = false;  // shutdown_mutex_
  shutdown_report report_;  // shutdown_mutex_
};

/// How many signals were lost in this way by what senders did that are nobody's workers (deliver.cpp).
[[nodiscard]] std::uint64_t lost_outside(loss cause) noexcept;

/// What a cell has used; its owner only, between signals or within its own (cell.cpp).
[[nodiscard]] cell_stats stats_of(cell_slot& s);

/// Whether the calling thread is in a cell's code, or otherwise a worker: it must not wait for cells.
[[nodiscard]] inline bool in_runtime() noexcept;

/// What runs on this thread right now: set by run_cell around everything a cell does.
struct run_context {
  run_context(cell_slot& s, runtime_core& c) noexcept : slot(&s), core(&c) {}

  cell_slot* slot;
  runtime_core* core;
  reply_address* question = nullptr;
  std::uint64_t due_ns = 0;          // of the timer whose signal is handled
  std::string_view failed_handling;  // the type of the signal whose handler threw
  signal* last = nullptr;            // the user's signal that it dies of, if that is kept
  bool doomed = false;
  bool in_place = false;        // ended by its guardian, in whose turn this is
  std::uint32_t unsettled = 0;  // signals of this turn that the slot's count does not have yet
  std::uint32_t turn = 0;       // signals of this turn, at the most
  bool closing = false;         // past the cancelling of timers: the cell starts nothing any more
  address overran;              // a receiver that it found nearly full, if its class has slow_when_full
  exit_reason why;
};
extern KARYON_API thread_local constinit run_context* running __attribute__((tls_model("initial-exec")));

inline bool in_runtime() noexcept { return worker::current() != nullptr || running != nullptr; }

/// The worker that the calling thread is, or, within a handler elsewhere, the cell's own; null on other threads.
[[nodiscard]] inline worker* worker_at_hand() noexcept {
  if (worker* w = worker::current()) return w;
  return running != nullptr ? &running->core->workers().at(running->slot->home) : nullptr;
}

}  // namespace karyon::detail
