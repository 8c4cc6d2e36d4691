#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <memory_resource>
#include <new>
#include <type_traits>
#include <utility>

#include <karyon/cell/detail/offload.hpp>
#include <karyon/cell/detail/spawn.hpp>
#include <karyon/cell/detail/timer.hpp>
#include <karyon/cell/placement.hpp>
#include <karyon/cell/ref.hpp>

namespace karyon {

namespace detail {
struct cell_access;
// What the coroutines of a cell await; in karyon/cell/task.hpp.
template <class Handle, class T>
struct ask_awaitable;
struct sleep_awaitable;
template <class Work>
struct offload_awaitable;
template <class T, bool Timed>
struct receive_awaitable;
}  // namespace detail

/// Names a timer of the cell that started it; `value` 0 names none.
struct timer_id {
  std::uint64_t value = 0;
  friend bool operator==(const timer_id&, const timer_id&) = default;
};

/// What a periodic timer does about periods that passed before it could fire, since its worker or its cell was busy.
enum class missed_periods : std::uint8_t {
  sent,     ///< a signal for each, one behind the other, until it has caught up
  skipped,  ///< one signal for all of them, as the last; the others are counted (runtime_metrics::timer_periods_skipped)
};

/// What a cell has used so far.
struct cell_stats {
  std::uint64_t handled = 0;       ///< signals handled by this incarnation
  std::uint64_t mailbox = 0;       ///< signals waiting
  std::uint64_t stashed = 0;       ///< signals put aside
  std::uint64_t suspended = 0;     ///< handlers that wait at a co_await
  std::uint64_t links = 0;         ///< cells linked to this one
  std::uint64_t memory_bytes = 0;  ///< held from memory(), headers included
  std::uint64_t memory_peak_bytes = 0;
  std::uint64_t slot_bytes = 0;  ///< the cell itself with all its bookkeeping
  std::uint32_t restarts = 0;    ///< of its role, if it is supervised
  std::uint32_t node = 0;        ///< NUMA node, an index into the binding plan's nodes
  std::uint32_t worker = 0;      ///< home worker
  /// Time in handlers, from the runtime's tick of 0.52 ms: right on average, zero for a cell that is never met by a tick.
  std::chrono::nanoseconds in_handlers{0};
};

/// Base of every cell class: an isolated piece of state that handles one signal at a time.
///
/// A cell class derives from it, names what it accepts and has a handler for each:
///
///     class counter : public karyon::cell {
///     public:
///       using accepts = karyon::signals<add, total>;
///       void         on(add m) { sum_ += m.amount; }
///       std::int64_t on(total) { return sum_; }       // what a handler returns answers an ask
///       ...
///
/// Optional members: `void on_start()`, called on a worker before the first signal; `void on_exit(const exit_reason&)`, called
/// before destruction, whatever the reason; `void on(exit_signal)` and `void on(down)` for links and monitors;
/// `static constexpr std::size_t mailbox_limit` bounds the mailbox, and `static constexpr karyon::overflow mailbox_overflow` says
/// what happens at the bound; `using high_priority = karyon::signals<...>` names signals that overtake the others;
/// `static constexpr karyon::priority run_priority` puts the class's cells before others; with `static constexpr bool
/// slow_when_full = true` a cell that finds a receiver's bounded mailbox three quarters full gives way to the other cells of
/// its worker before it handles its next signal, and again while that is so (for some milliseconds at most, then once more).
/// `using dirty_cpu = signals<...>` and `using dirty_io = signals<...>` name those of `accepts` whose handlers compute for longer
/// than a millisecond, or block (execution.hpp). Handlers (but not on_exit) may be coroutines: karyon/cell/task.hpp.
///
/// Threads: constructor, handlers, hooks and destructor never run at the same time as each other, and each sees what the one
/// before did, but they may run on different threads. All member functions below are for the cell itself, within them.
/// An exception that leaves a handler ends the cell with reason `error`, one that leaves its constructor or on_start with
/// `start_failed` (type and text kept), and nothing else.
class KARYON_API cell {
public:
  cell(const cell&) = delete;
  cell& operator=(const cell&) = delete;

protected:
  /// Only the runtime constructs cells (spawn, supervise); anything else is a programmer's error and aborts with a sentence.
  cell() noexcept;
  ~cell() = default;

  // -- identity ------------------------------------------------------------------------------------------------------

  /// A handle to this incarnation, for others; in the constructor, too.
  [[nodiscard]] cell_ref self() const noexcept;
  /// `self(this)`: a handle that knows the class.
  template <class C>
  [[nodiscard]] static ref<C> self(const C* me) noexcept {
    return detail::handle_access::make<ref<C>>(detail::handle_access::of(me->cell::self()));
  }
  /// The runtime that this cell lives in; it outlives the cell.
  [[nodiscard]] runtime& host() const noexcept;

  // -- other cells ---------------------------------------------------------------------------------------------------

  /// A new cell, unsupervised, on this cell's node; its constructor runs within this call. Throws as runtime::spawn.
  template <class C, class... Args>
  ref<C> spawn(Args&&... args) {
    return spawn_at<C>(placement::near_parent(), std::forward<Args>(args)...);
  }
  /// The same in a place of one's choice. Throws as runtime::spawn_at.
  template <class C, class... Args>
  ref<C> spawn_at(placement where, Args&&... args) {
    return detail::handle_access::make<ref<C>>(
        detail::spawn_cell<C>(detail::core_of(slot_), where, std::forward<Args>(args)...));
  }

  /// Asks and goes on; `then(result<R>)` is called as a handler of this cell when the answer, the timeout or the
  /// receiver's death comes first. It dies unasked with this cell. Allocates the question and the request; if it throws
  /// (std::bad_alloc, or what copying the question throws), nothing was asked.
  template <class Handle, class T, class Then>
  void ask(const Handle& whom, T&& question, std::chrono::nanoseconds timeout, Then&& then);

  /// Takes over the right to answer the question being handled, for a handler that returns `deferred<R>`.
  template <class R>
  [[nodiscard]] promise<R> defer() noexcept {
    detail::reply_address* question = detail::current_question();
    return question != nullptr ? promise<R>(std::exchange(*question, detail::reply_address{})) : promise<R>();
  }

  // -- long work -----------------------------------------------------------------------------------------------------

  /// Runs `work()`, which computes for longer than a millisecond, on a thread of the dirty CPU pool while this cell goes on, and
  /// then `then(result<R>)` as a handler of this cell, with what it returned (R, or a result<R>).
  ///
  /// `work` is moved to the other thread: it must hold what it needs as values, and must not refer to this cell, its memory() or
  /// anything that changes meanwhile. Errors: `cell_failed` with type and text of what it threw, `out_of_memory` for a
  /// std::bad_alloc, `refused` if too much waits already (dirty_options::offload_queue_limit). It can not be interrupted: when this
  /// cell ends first `then` is not called; work that was not begun is dropped, and what the rest yields as well, both counted
  /// (runtime_metrics::offloads_skipped, offloads_late). If it throws (std::bad_alloc, or what moving `work` and `then` throws)
  /// nothing has happened. Costs a switch to another thread and back (dirty_pool_metrics::switch_ns), and four allocations.
  template <class Work, class Then>
  void offload(Work&& work, Then&& then) {
    offload_to(execution::dirty_cpu, std::forward<Work>(work), std::forward<Then>(then));
  }
  /// The same for work that blocks: on a thread of the dirty I/O pool.
  template <class Work, class Then>
  void offload_io(Work&& work, Then&& then) {
    offload_to(execution::dirty_io, std::forward<Work>(work), std::forward<Then>(then));
  }

  // -- time ----------------------------------------------------------------------------------------------------------

  /// Sends `value` to `whom` once `delay` has passed, never early, late by up to a tick (0.5 ms) and what the workers owe
  /// others. O(1), one allocation. Timers die with the cell that started them. Monotonic: setting the wall clock changes
  /// nothing. Throws std::bad_alloc, or what copying `value` throws, and has started nothing then.
  template <class C, class T>
  timer_id send_after(const ref<C>& whom, T&& value, std::chrono::nanoseconds delay);
  /// The same again and again, without drift: the n-th is due at start + n * period. T is copied for each. Where it is late by
  /// a period or more `missed` decides. A period is a microsecond at least.
  template <class C, class T>
  timer_id send_every(const ref<C>& whom, T&& value, std::chrono::nanoseconds period,
                      missed_periods missed = missed_periods::sent);
  /// False if it has fired already (its signal may be in the mailbox) or is not this cell's. O(1).
  bool cancel(timer_id timer) noexcept;
  /// In the handler of a signal that a timer sent: how long ago that timer was due, the wait in this cell's mailbox included.
  /// Zero for all other signals, for one that was stashed in between, and outside of handlers. Reads the clock, so that each
  /// call tells the time that has passed by then.
  [[nodiscard]] std::chrono::nanoseconds lateness() const noexcept;

  // -- in coroutines: co_await what these return, with karyon/cell/task.hpp included -------------------------------------

  /// Asks, and goes on with the answer: `result<R> r = co_await ask(whom, question, timeout);` Otherwise as ask above, without its
  /// request: that lies in the coroutine's frame.
  template <class Handle, class T>
  [[nodiscard]] detail::ask_awaitable<Handle, T> ask(const Handle& whom, T&& question,
                                                     std::chrono::nanoseconds timeout);
  /// Goes on with what `work()` returned on a thread of the dirty CPU pool: `result<R> r = co_await offload(work);` Otherwise as
  /// offload above: what it throws is in the result, and it can not be interrupted; when this cell ends first, its result is
  /// dropped and counted. One allocation less.
  template <class Work>
  [[nodiscard]] detail::offload_awaitable<Work> offload(Work&& work);
  /// The same for work that blocks: on a thread of the dirty I/O pool.
  template <class Work>
  [[nodiscard]] detail::offload_awaitable<Work> offload_io(Work&& work);
  /// Goes on once `time` has passed; as exact as send_after. nanoseconds::max(): never.
  [[nodiscard]] detail::sleep_awaitable sleep_for(std::chrono::nanoseconds time);
  /// Goes on with the next signal T that is sent to this cell, which then does not reach its handler: `order o = co_await
  /// receive<order>(this);` A question is never received: its handler answers it. Several that wait for a T get one each, the longest
  /// waiting first.
  template <class T, class C>
  [[nodiscard]] detail::receive_awaitable<T, false> receive(C* me);
  /// The same, a `result<T>` that is `timeout` if none has come in time.
  template <class T, class C>
  [[nodiscard]] detail::receive_awaitable<T, true> receive(C* me, std::chrono::nanoseconds timeout);

  // -- failure -------------------------------------------------------------------------------------------------------

  /// Ends this cell after the current handler. Throws nothing but, in a constructor, std::bad_alloc.
  void exit(exit_reason why = exit_reason::normal());
  /// Asks another to end, as Erlang's exit/2: overtakes ordinary signals; `killed` can not be trapped, `normal` is ignored.
  void exit(const cell_ref& whom, exit_reason why);
  /// Ends both when one ends abnormally (unless it traps exits). Links are mutual; linking twice is one link. If the other
  /// is gone already this cell gets the exit signal `no_cell`. Links and unlinks that cross between the two sides leave both
  /// with the link or both without it. Throws std::bad_alloc before anything has changed; a link's end needs no memory.
  void link(const cell_ref& other);
  /// After it returns no exit signal from `other` reaches this cell.
  void unlink(const cell_ref& other) noexcept;
  /// One `down` when `other` has ended, at once if it is gone (`no_cell`). Each call is a monitor of its own. Throws as link.
  monitor_id monitor(const cell_ref& other);
  /// After it returns no `down` of that monitor reaches this cell.
  void demonitor(monitor_id id) noexcept;
  /// With true, exit signals of links become signals `exit_signal` for the handler that the class must have.
  void trap_exit(bool on) noexcept;

  // -- behaviour -----------------------------------------------------------------------------------------------------

  /// From the next signal on, B's static handlers `R on(C&, T)` replace the class's own for the types they have. The class C
  /// lists them: `using behaviors = karyon::behaviors<idle, busy>;`. Call as `become<busy>(this)`. The first call of a cell may
  /// throw std::bad_alloc.
  template <class B, class C>
  void become(C* me);
  /// The class's own handlers again.
  void unbecome() noexcept;
  /// Puts a signal aside, in order, until unstash() puts all of them before what waits. Lost, and counted, with the cell.
  /// If it throws (as ask), nothing was put aside, and a question keeps its right to an answer.
  template <class C, class T>
  void stash(C* me, T&& value);
  /// All that was put aside is handled next, in its order, before what waits in the mailbox.
  void unstash() noexcept;

  // -- resources -----------------------------------------------------------------------------------------------------

  /// Memory of this cell: counted, limited by memory_quota, and given back whole when the cell ends, whatever it left behind.
  /// Objects in it must not outlive the cell, and are for its handlers only.
  [[nodiscard]] std::pmr::memory_resource* memory();
  /// From now on an allocation that would hold more than `bytes` throws std::bad_alloc, and the cell ends after the handler
  /// with `memory_limit`, also if the handler catches it. 0: no quota.
  void memory_quota(std::size_t bytes);
  /// What this cell has used; counts what waits in the mailbox one by one: O(waiting signals).
  [[nodiscard]] cell_stats stats() const noexcept;
  /// Moves this cell to NUMA node `node` of the plan, after the current handler (runtime::migrate has the details). Errors:
  /// not_found (no such node), refused (it is pinned). Throws std::bad_alloc.
  result<void> migrate_to(std::uint32_t node);

private:
  friend struct detail::cell_access;
  template <class Work, class Then>
  void offload_to(execution pool, Work&& work, Then&& then);
  detail::cell_slot* slot_;
};

namespace detail {

/// The library's way from a cell to its slot.
struct cell_access {
  static cell_slot* slot_of(const cell& c) noexcept { return c.slot_; }
};

KARYON_API std::uint64_t add_request(cell_slot* self, request_ptr handler, std::chrono::nanoseconds timeout);
KARYON_API reply_address request_address(cell_slot* self, std::uint64_t token) noexcept;
KARYON_API void set_behavior(cell_slot* self, const behavior_table* table);
/// Makes room for one more stashed signal, so that stash_signal can not fail.
KARYON_API void reserve_stash(cell_slot* self);
KARYON_API void stash_signal(cell_slot* self, signal* s) noexcept;

template <class R, class Then>
class typed_request final : public request_handler {
public:
  template <class F>
  explicit typed_request(F&& f) : then_(std::forward<F>(f)) {}
  void answer(void* value) override { then_(std::move(*static_cast<result<R>*>(value))); }
  void fail(error e) override { then_(result<R>(tl::unexpected<error>(std::move(e)))); }

private:
  Then then_;
};

template <class C, class B>
struct behavior_of {
  template <class T>
  static void run(void* object, void* payload, reply_address* reply) {
    settle<answer_of<C, T>>(
        [&]() -> decltype(auto) { return B::on(*static_cast<C*>(object), std::move(*static_cast<T*>(payload))); },
        reply);
  }
  template <class T>
  static constexpr behavior_table::function entry() {
    if constexpr (requires(C & c, T && m) { B::on(c, std::move(m)); }) {
      return &run<T>;
    } else {
      return nullptr;
    }
  }
  template <class... Ts>
  static constexpr std::array<behavior_table::function, sizeof...(Ts)> entries(signals<Ts...>) {
    return {entry<Ts>()...};
  }
  static constexpr auto functions = entries(typename C::accepts{});
  static constexpr behavior_table table{functions.data()};
};

template <class B, class... Bs>
constexpr bool listed(behaviors<Bs...>) {
  return (std::is_same_v<B, Bs> || ...);
}
template <class C, class B>
constexpr bool can_become() {
  if constexpr (uses_behaviors<C>()) {
    return listed<B>(typename C::behaviors{});
  } else {
    return false;
  }
}

/// A question that does not know yet where its answer goes.
template <class C, class T, class U>
[[nodiscard]] signal_ptr<ask_signal<T>> make_question(U&& value) {
  return signal_ptr<ask_signal<T>>(make_signal<ask_signal<T>>(&ask_ops<C, T>, reply_address{}, std::forward<U>(value)));
}

/// Delivers through any handle.
template <class C>
send_result deliver_through(const ref<C>& r, signal* s) noexcept {
  const address& a = handle_access::of(r);
  return deliver(a.slot, a.number, s);
}
template <class C>
send_result deliver_through(const child<C>& c, signal* s) noexcept {
  const address& a = handle_access::of(c);
  return deliver_to_role(a.slot, a.number, s);
}

}  // namespace detail

template <class Handle, class T, class Then>
void cell::ask(const Handle& whom, T&& question, std::chrono::nanoseconds timeout, Then&& then) {
  using C = detail::asked_class<Handle>;
  using question_type = std::remove_cvref_t<T>;
  detail::check_signal<C, question_type>();
  using R = detail::answer_of<C, question_type>;
  detail::check_answer<R>();
  static_assert(std::is_invocable_v<std::decay_t<Then>&, result<R>>,
                "karyon: the continuation of this ask takes a karyon::result of what the handler returns");
  // All that may throw comes before the request: once it is there, its continuation is called in every case.
  auto node = detail::make_question<C, question_type>(std::forward<T>(question));
  const std::uint64_t token = detail::add_request(
      slot_, std::make_unique<detail::typed_request<R, std::decay_t<Then>>>(std::forward<Then>(then)), timeout);
  node->reply = detail::request_address(slot_, token);
  // A refused question is discarded, which answers it with the refusal.
  detail::deliver_through(whom, node.release());
}

template <class Work, class Then>
void cell::offload_to(execution pool, Work&& work, Then&& then) {
  using work_type = std::decay_t<Work>;
  static_assert(std::is_invocable_v<work_type&>, "karyon: offloaded work is called without arguments");
  using R = detail::offload_result<work_type>;
  detail::check_answer<R>();
  static_assert(std::is_invocable_v<std::decay_t<Then>&, result<R>>,
                "karyon: the continuation of this offload takes a karyon::result of what the work returns");
  auto job = std::make_unique<detail::typed_offload<work_type>>(std::forward<Work>(work));
  detail::begin_offload(slot_, pool,
                        std::make_unique<detail::typed_request<R, std::decay_t<Then>>>(std::forward<Then>(then)),
                        std::move(job));
}

template <class C, class T>
timer_id cell::send_after(const ref<C>& whom, T&& value, std::chrono::nanoseconds delay) {
  using signal_type = std::remove_cvref_t<T>;
  detail::check_signal<C, signal_type>();
  return {detail::add_timer<C, signal_type>(slot_, detail::handle_access::of(whom), std::forward<T>(value), delay,
                                            detail::timer_mode::once)};
}

template <class C, class T>
timer_id cell::send_every(const ref<C>& whom, T&& value, std::chrono::nanoseconds period, missed_periods missed) {
  using signal_type = std::remove_cvref_t<T>;
  detail::check_signal<C, signal_type>();
  static_assert(std::is_copy_constructible_v<signal_type>, "karyon: a periodic signal is copied for each period");
  return {detail::add_timer<C, signal_type>(
      slot_, detail::handle_access::of(whom), std::forward<T>(value), period,
      missed == missed_periods::skipped ? detail::timer_mode::every_skipping : detail::timer_mode::every)};
}

template <class B, class C>
void cell::become(C* me) {
  static_assert(detail::can_become<C, B>(),
                "karyon: list in public what a cell can become: using behaviors = karyon::behaviors<...>;");
  static_cast<void>(me);
  detail::set_behavior(slot_, &detail::behavior_of<C, B>::table);
}

template <class C, class T>
void cell::stash(C* me, T&& value) {
  static_cast<void>(me);
  using signal_type = std::remove_cvref_t<T>;
  detail::check_signal<C, signal_type>();
  detail::reserve_stash(slot_);
  // A question that is stashed keeps its right to an answer; it stays the handler's until the signal is made.
  detail::reply_address* question = detail::current_question();
  if (question != nullptr && question->to != detail::reply_address::kind::none) {
    auto node = detail::make_question<C, signal_type>(std::forward<T>(value));
    node->reply = std::exchange(*question, detail::reply_address{});
    detail::stash_signal(slot_, node.release());
  } else {
    detail::stash_signal(slot_, detail::make_signal<detail::payload_signal<signal_type>>(
                                    &detail::tell_ops<C, signal_type>, std::forward<T>(value)));
  }
}

}  // namespace karyon
