#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <karyon/cell/cell.hpp>
#include <karyon/cell/crash_report.hpp>
#include <karyon/cell/detail/ask.hpp>
#include <karyon/cell/handler_report.hpp>
#include <karyon/cell/migration.hpp>
#include <karyon/sched/options.hpp>

namespace karyon {

class ordered_supervisor;
class supervisor;
struct supervisor_options;
struct supervisor_report;
struct supervisor_spec;

/// Everything about a runtime that can be chosen. The defaults suit a program that owns its machine.
struct runtime_options {
  scheduler_options scheduler{};
  /// The machine to plan for; by default this one.
  const topology* machine = nullptr;
  /// How long the destructor waits for cells to end when asked, before it kills them.
  std::chrono::milliseconds shutdown_deadline{5000};
  /// Crash reports a second that are made, and as many supervisor reports; further ones are counted, and summed up in
  /// the log by reason and supervisor a second later.
  std::uint32_t crash_reports_per_second = 10;
  /// How they, and the sums, are written to the log.
  report_format crash_report_format = report_format::text;
  /// Is given each crash report that is made, after the log. Called on the thread where the cell ended (a worker or, for an
  /// end by a heavy handler, one of a dirty pool), by any number of them at once: it should be quick, and must not block. What
  /// it throws is swallowed and counted.
  std::function<void(const crash_report&)> on_crash{};
  /// Is given each supervisor report that is made (include karyon/supervise/supervisor_report.hpp), in the same way: after the
  /// log, on the supervisor's worker, by any number of workers at once. It may ask supervisors to stop or start children, as
  /// cells may; what it throws is swallowed and counted.
  std::function<void(const supervisor_report&)> on_supervisor_report{};
};

/// Thrown where a constructor or a start can not return an error: options or a machine that do not allow it, a runtime or
/// supervisor that is stopping, a placement that does not exist.
class KARYON_API runtime_error : public std::exception {
public:
  explicit runtime_error(error e) : error_(std::move(e)) {}
  [[nodiscard]] const char* what() const noexcept override { return error_.message().c_str(); }
  [[nodiscard]] const error& why() const noexcept { return error_; }

private:
  error error_;
};

/// How many classes runtime_metrics::timer_lateness has.
inline constexpr std::size_t timer_lateness_classes = 12;

/// What a runtime's dirty pools of one kind do (dirty_options). `queued` and `running` are of now, the rest only grows.
struct dirty_pool_metrics {
  std::uint32_t threads = 0;         ///< started so far
  std::uint64_t queued = 0;          ///< cells and offloaded work that wait for a thread
  std::uint64_t running = 0;         ///< of them, those that have one
  std::uint64_t run = 0;             ///< heavy handlers and offloaded work that have had their thread
  std::uint64_t refused = 0;         ///< offloads beyond dirty_options::offload_queue_limit
  std::uint64_t run_by_workers = 0;  ///< run by a worker, since no thread could be started
  /// What it takes to give work away and to go on with its result, measured when the first thread starts: the median of some
  /// round trips between it and a worker. 0 until then.
  std::uint64_t switch_ns = 0;
};

/// A handler type that a runtime has moved to its dirty CPU pool, since its handlers overran.
struct moved_handler {
  std::string cell_class;
  std::string signal;
  friend bool operator==(const moved_handler&, const moved_handler&) = default;
};

/// Sums over a runtime's life; each number only grows, but for `cells`. Read while cells run, they are of slightly
/// different moments.
struct runtime_metrics {
  std::uint64_t cells = 0;    ///< alive now
  std::uint64_t spawned = 0;  ///< incarnations started, restarts included
  std::uint64_t handled = 0;  ///< signals handled
  std::uint64_t restarts = 0;
  std::uint64_t failures = 0;  ///< incarnations that ended with error, memory_limit or start_failed
  /// Accepted, then lost because the receiver ended first. Where that was while a thread outside made room in its mailbox
  /// (overflow::drop_oldest): counted as refused_dead is.
  std::uint64_t dropped_dead = 0;
  /// Refused at the send: dead or restarting. Counted where the sender is, since the receiver's runtime may be long gone:
  /// sends of this runtime's cells, and those of all threads of the process that are nobody's workers.
  std::uint64_t refused_dead = 0;
  std::uint64_t refused_full = 0;  ///< refused at the send: bounded mailbox full; counted likewise
  /// By mailboxes that overflowed (karyon::overflow). Newest: at the send. Oldest and conflated: accepted before.
  std::uint64_t dropped_newest = 0;
  std::uint64_t dropped_oldest = 0;
  std::uint64_t conflated = 0;           ///< replaced by a newer value of their key before they were handled
  std::uint64_t slowed = 0;              ///< times that a cell gave way to a receiver it had overrun (slow_when_full)
  std::uint64_t refused_no_handler = 0;  ///< refused at the send through a cell_ref: the class has no such handler
  std::uint64_t late_answers = 0;        ///< answers that came after their ask had timed out, or its asker ended
  std::uint64_t offloads_skipped = 0;    ///< offloaded work that was not begun, since its cell had ended
  std::uint64_t offloads_late = 0;       ///< results of offloaded work whose cell had ended
  dirty_pool_metrics dirty_cpu{};        ///< of all nodes together
  dirty_pool_metrics dirty_io{};
  std::uint64_t crash_reports_suppressed = 0;  ///< crash and supervisor reports that were counted instead of made
  std::uint64_t crash_callback_failures = 0;   ///< exceptions that left on_crash or on_supervisor_report
  std::uint64_t slab_bytes = 0;                ///< address space taken for cells
  std::uint64_t turns = 0;                     ///< runs of a cell by a worker
  std::uint64_t given_same_cache = 0;          ///< cells handed to an idle worker of the same last-level cache
  std::uint64_t given_same_node = 0;           ///< to one of the same node
  std::uint64_t given_other_node = 0;          ///< to one of another node (only with steal_across_nodes)
  /// Timers of cells that fired, the timeouts of asks and each period of a periodic one included.
  std::uint64_t timers_fired = 0;
  /// How many of them fired how late, the wait in a mailbox not included: the first number is of those less than a tick
  /// (2^19 ns, 0.52 ms) after their time, each further one of those up to twice as late, the last of all that are later
  /// than 0.54 s.
  std::array<std::uint64_t, timer_lateness_classes> timer_lateness{};
  std::chrono::nanoseconds timer_lateness_max{0};  ///< of the latest of them
  std::uint64_t timer_periods_skipped = 0;         ///< periods that fell to missed_periods::skipped
  std::uint64_t overruns = 0;                      ///< handlers that took longer than watch_options::limit
  std::uint64_t handlers_moved = 0;                ///< handler types moved to the dirty CPU pool (watch_options::move)
  std::uint64_t take_overs = 0;                    ///< workers that another thread took over from such a handler
  std::uint64_t workers_away = 0;                  ///< threads that such a handler holds now
  std::uint64_t threads = 0;                       ///< threads of workers there are, spares among them
  /// What made cells runnable, by the distance between the worker that did it and the worker in whose queue the cell was
  /// put: one count for each signal that found its receiver with nothing to do. (A signal to a cell that has something to do
  /// already costs no queue, whatever the distance.) Supervisors and CAF actors count like cells; a cell that goes on after
  /// its turn does not. Cells of one node that are not pinned are queued at the sender's worker, so the middle two are of
  /// pinned ones. Exact while the workers sleep, else up to half a millisecond old.
  std::uint64_t woken_same_worker = 0;
  std::uint64_t woken_same_cache = 0;        ///< another worker under the same last-level cache
  std::uint64_t woken_same_node = 0;         ///< another cache of the same NUMA node
  std::uint64_t woken_other_node = 0;        ///< across nodes
  std::uint64_t woken_from_outside = 0;      ///< by threads that are no workers: yours, the dirty pools'
  std::uint64_t rehomed = 0;                 ///< cells whose home has followed the load to another worker of their node
  std::uint64_t forwarded = 0;               ///< cells that switched-off workers have handed on
  std::uint64_t rebound = 0;                 ///< workers bound to another unit, since theirs was taken away
  std::uint64_t migrations = 0;              ///< cells moved to another node (runtime::migrate)
  std::uint64_t migration_pages_moved = 0;   ///< as in migration_report
  std::uint64_t migration_pages_shared = 0;  ///< likewise
  std::uint64_t migration_pages_refused = 0;  ///< likewise
};

/// How a shutdown went.
struct shutdown_report {
  std::uint64_t stopped = 0;           ///< cells that ended when asked
  std::uint64_t killed = 0;            ///< cells that had to be killed at the deadline
  std::uint64_t dropped = 0;           ///< signals they had not handled, counted
  bool complete = true;                ///< false if a handler did not return before the deadline and is still running
  std::vector<running_handler> stuck;  ///< those handlers, where they are watched
};

/// What a thread holds of an ask it has not waited for yet.
///
/// Moves, and is used by one thread at a time. It may be dropped unread, and may outlive cell and runtime: a question whose cell or
/// runtime has ended is answered with an error.
template <class R>
class future {
public:
  future() = default;  ///< Without a question: get() fails with invalid_argument.
  /// The answer to whoever holds `to` from now on.
  explicit future(detail::reply_address& to) : slot_(new detail::typed_answer_slot<R>()) {
    to = {static_cast<detail::answer_slot*>(slot_), 0, 0, detail::reply_address::kind::waiter};
  }
  future(future&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)) {}
  future& operator=(future&& other) noexcept {
    std::swap(slot_, other.slot_);
    return *this;
  }
  future(const future&) = delete;
  future& operator=(const future&) = delete;
  ~future() {
    if (slot_ != nullptr) slot_->drop();
  }

  /// Whether get() would return at once. Never waits; for cells, too.
  [[nodiscard]] bool ready() const noexcept { return slot_ != nullptr && slot_->answered(); }
  /// Blocks up to `timeout`, then fails with `timeout`. Once: the answer is moved out. Not from a cell.
  [[nodiscard]] result<R> get(std::chrono::nanoseconds timeout) {
    if (slot_ == nullptr) return fail(errc::invalid_argument, "this future has no question, or its answer was taken");
    if (!slot_->wait(static_cast<std::uint64_t>(timeout.count() > 0 ? timeout.count() : 0))) {
      return fail(errc::timeout, "no answer within the time given; the cell may be busy, or may never answer this");
    }
    result<R> r = std::move(*slot_->value);
    std::exchange(slot_, nullptr)->drop();
    return r;
  }

private:
  detail::typed_answer_slot<R>* slot_ = nullptr;
};

/// The cytoplasm: hosts cells on pinned workers. A process may have several.
///
/// All member functions may be called from any thread, also from cells, unless they say otherwise.
/// A runtime does not survive fork(): the child process has none of its threads. Start other programs with posix_spawn, or
/// with fork followed at once by exec.
class KARYON_API runtime {
public:
  /// Starts the workers. Throws runtime_error with a sentence for options that can not work, and where the system has no
  /// thread for even one worker. What can be done without is done without, with one line in the log: more workers than make
  /// sense (one a core is taken), nodes that do not exist (all are), units that can not be bound to (workers run unbound), fewer
  /// threads than workers (workers() tells how many there are).
  explicit runtime(const runtime_options& options = {});
  /// shutdown(), then frees everything. Not from a cell, and not while another thread is inside a send to a cell that still
  /// lives: end or join your producers first. (Afterwards any handle may be used; it finds its cell dead.)
  /// If a handler never returns, the runtime's memory is left to it.
  ~runtime();
  runtime(const runtime&) = delete;
  runtime& operator=(const runtime&) = delete;

  /// A new cell, unsupervised: its end is reported and otherwise concerns nobody but links and monitors.
  /// Throws what its constructor throws, std::bad_alloc, and runtime_error (`closed`) once the runtime is stopping. The constructor
  /// runs on the calling thread. O(1); usually no system call.
  template <class C, class... Args>
  ref<C> spawn(Args&&... args) {
    return spawn_at<C>(placement::near_parent(), std::forward<Args>(args)...);
  }
  /// The same in a place of one's choice. Throws runtime_error as well: `not_found` for a worker or node that there is not.
  template <class C, class... Args>
  ref<C> spawn_at(placement where, Args&&... args) {
    return detail::handle_access::make<ref<C>>(detail::spawn_cell<C>(*core_, where, std::forward<Args>(args)...));
  }

  /// Asks and blocks for the answer. Errors: `timeout`; `cell_failed`, `dead`, `restarting`, `mailbox_full` at once when no
  /// answer can come; `would_block` when called from a cell (use cell::ask there); what the handler answers as an error. Of a cell in
  /// another process also `no_route`, `peer_down`, `no_credit`, `expired`, `too_large`, `closed`, `not_declared` (send_result.hpp).
  /// A question waits in the mailbox as a signal does, in the order sent. Throws std::bad_alloc, or what copying it throws.
  template <class Handle, class T>
  [[nodiscard]] auto ask(const Handle& whom, T&& question, std::chrono::nanoseconds timeout)
      -> result<detail::answer_of<detail::asked_class<Handle>, std::remove_cvref_t<T>>> {
    if (on_worker())
      return fail(errc::would_block, "a cell must not block its worker: use cell::ask with a continuation");
    return ask_async(whom, std::forward<T>(question)).get(timeout);
  }
  /// Asks and returns at once; the future has the answer, or the errors above. From cells too, which must not wait for it.
  template <class Handle, class T>
  [[nodiscard]] auto ask_async(const Handle& whom, T&& question)
      -> future<detail::answer_of<detail::asked_class<Handle>, std::remove_cvref_t<T>>> {
    using C = detail::asked_class<Handle>;
    using question_type = std::remove_cvref_t<T>;
    detail::check_signal<C, question_type>();
    using R = detail::answer_of<C, question_type>;
    detail::check_answer<R>();
    auto node = detail::make_question<C, question_type>(std::forward<T>(question));
    future<R> f(node->reply);
    detail::deliver_through(whom, node.release());
    return f;
  }

  /// Asks a cell to end, as Erlang's exit/2 (see cell::exit). Throws std::bad_alloc.
  void exit(const cell_ref& whom, exit_reason why);
  /// What a cell has used; answered by the cell itself between two signals, so it may time out. Errors: `timeout`, `dead`,
  /// `cell_failed` (it ended first), `unsupported` (it is in another process), `would_block` (called from a cell).
  [[nodiscard]] result<cell_stats> inspect(const cell_ref& whom, std::chrono::nanoseconds timeout) const;

  /// A new supervisor (include karyon/supervise/supervisor.hpp). Throws runtime_error: `invalid_argument` with the field's name for
  /// options that can not be, `closed` once the runtime is stopping.
  supervisor supervise(const supervisor_options& options);
  supervisor supervise();
  /// A new ordered supervisor with its children (include karyon/supervise/ordered_supervisor.hpp): returns when all of them
  /// have started, in order. If one can not, those before it are ended in reverse order and its error is returned:
  /// invalid_argument (a faulty spec), start_failed, closed, would_block (on a worker's thread).
  result<ordered_supervisor> start(const supervisor_spec& spec);

  /// How many workers there are, switched on or off.
  [[nodiscard]] unsigned workers() const noexcept;
  /// NUMA nodes of the plan; at least one. placement::on_node and migrate count in them.
  [[nodiscard]] unsigned nodes() const noexcept;
  /// Which worker was to run where; a value that does not change, and lives as long as the runtime.
  [[nodiscard]] const binding_plan& plan() const noexcept;
  /// Sums over the workers, read while they go on: O(workers), and disturbs nobody.
  [[nodiscard]] runtime_metrics metrics() const;
  /// How long handlers take, by type: those of which there are samples or overruns, in no order. With the watch only.
  [[nodiscard]] std::vector<handler_report> handlers() const;
  /// The handlers that have exceeded the watch's limit and are running now.
  [[nodiscard]] std::vector<running_handler> overrunning() const;
  /// The handler types that run on the dirty CPU pool though their classes do not say so. Throws std::bad_alloc.
  [[nodiscard]] std::vector<moved_handler> moved_handlers() const;
  /// Handlers of that type run on workers again, and are not moved by the watch any more. False if they were not moved.
  bool move_back(const moved_handler& which);

  /// From now on workers 0 to n - 1 run cells; the others keep only their timers, the cells that are pinned to them and
  /// their share of the supervisors' work, and hand everything else to workers of their node, or of any if all of the node are
  /// off. Nothing is lost, and the order between two cells stays. Takes effect when a worker's current handler returns, within
  /// a tick; returns at once. Errors: invalid_argument unless 1 <= n <= workers().
  result<void> set_workers(unsigned n);
  /// How many are switched on: the n of set_workers.
  [[nodiscard]] unsigned active_workers() const noexcept;

  /// Moves a cell to NUMA node `node` of the plan: between two of its signals first its memory, then its home, so that from its
  /// next turn on it runs there. Returns at once; the future has the report, and may be dropped. Handles stay what they
  /// are: a cell's address does not change, only the place of its pages. On a machine whose nodes are not those of the plan (it
  /// is pretended, or has one node) only the home changes.
  /// Errors: not_found (no such node), refused (the cell is pinned), dead, closed; cell_failed if it ends first. Throws
  /// std::bad_alloc. The cell pays some microseconds a page.
  future<migration_report> migrate(const cell_ref& whom, std::uint32_t node);
  template <class C>
  future<migration_report> migrate(const child<C>& whom, std::uint32_t node) {
    return migrate(cell_ref(whom.get()), node);
  }

  /// Ends all cells: asks them (`shutdown`), waits up to `deadline`, kills the rest; every signal not handled is
  /// counted. From then on spawns throw and sends say `dead`. Idempotent. From a cell it aborts with a sentence.
  shutdown_report shutdown(std::chrono::milliseconds deadline);

  /// For the library's other rooms; nothing of it is promised.
  [[nodiscard]] detail::runtime_core& core() noexcept { return *core_; }

private:
  [[nodiscard]] static bool on_worker() noexcept;
  std::unique_ptr<detail::runtime_core> core_;
};

}  // namespace karyon
