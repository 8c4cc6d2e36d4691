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

#include <karyon/cell/detail/spawn.hpp>
#include <karyon/cell/placement.hpp>
#include <karyon/cell/ref.hpp>

namespace karyon {

namespace detail {
struct cell_access;
}  // namespace detail

/// Names a timer of the cell that started it; `value` 0 names none.
struct timer_id {
  std::uint64_t value = 0;
  friend bool operator==(const timer_id&, const timer_id&) = default;
};

/// What a cell has used so far.
struct cell_stats {
  std::uint64_t handled = 0;       ///< signals handled by this incarnation
  std::uint64_t mailbox = 0;       ///< signals waiting
  std::uint64_t stashed = 0;       ///< signals put aside
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
/// `static constexpr std::size_t mailbox_limit` bounds the mailbox.
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

  [[nodiscard]] cell_ref self() const noexcept;
  /// `self(this)`: a handle that knows the class.
  template <class C>
  [[nodiscard]] static ref<C> self(const C* me) noexcept {
    return detail::handle_access::make<ref<C>>(detail::handle_access::of(me->cell::self()));
  }
  [[nodiscard]] runtime& host() const noexcept;

  // -- other cells ---------------------------------------------------------------------------------------------------

  /// A new cell, unsupervised, on this cell's node. Throws what its constructor throws.
  template <class C, class... Args>
  ref<C> spawn(Args&&... args) {
    return spawn_at<C>(placement::near_parent(), std::forward<Args>(args)...);
  }
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

  // -- time ----------------------------------------------------------------------------------------------------------

  /// Sends `value` to `whom` once `delay` has passed, never early, late by up to a tick (0.5 ms) and what the workers owe
  /// others. O(1). Timers die with the cell that started them. Monotonic: setting the wall clock changes nothing.
  template <class C, class T>
  timer_id send_after(const ref<C>& whom, T&& value, std::chrono::nanoseconds delay);
  /// The same again and again, without drift: the n-th is due at start + n * period. T is copied for each.
  template <class C, class T>
  timer_id send_every(const ref<C>& whom, T&& value, std::chrono::nanoseconds period);
  /// False if it has fired already (its signal may be in the mailbox) or is not this cell's.
  bool cancel(timer_id timer) noexcept;

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
  void unstash() noexcept;

  // -- resources -----------------------------------------------------------------------------------------------------

  /// Memory of this cell: counted, limited by memory_quota, and given back whole when the cell ends, whatever it left behind.
  /// Objects in it must not outlive the cell, and are for its handlers only.
  [[nodiscard]] std::pmr::memory_resource* memory();
  /// From now on an allocation that would hold more than `bytes` throws std::bad_alloc, and the cell ends after the handler
  /// with `memory_limit`, also if the handler catches it. 0: no quota.
  void memory_quota(std::size_t bytes);
  [[nodiscard]] cell_stats stats() const noexcept;
  /// Moves this cell to NUMA node `node` of the plan, after the current handler (runtime::migrate has the details). Errors:
  /// not_found (no such node), refused (it is pinned). Throws std::bad_alloc.
  result<void> migrate_to(std::uint32_t node);

private:
  friend struct detail::cell_access;
  detail::cell_slot* slot_;
};

/// The behaviours a cell class can become.
template <class... Bs>
struct behaviors {};

namespace detail {

/// The library's way from a cell to its slot.
struct cell_access {
  static cell_slot* slot_of(const cell& c) noexcept { return c.slot_; }
};

KARYON_API std::uint64_t add_request(cell_slot* self, std::unique_ptr<request_handler> handler,
                                     std::chrono::nanoseconds timeout);
KARYON_API reply_address request_address(cell_slot* self, std::uint64_t token) noexcept;
/// `make` builds the signal to send, each time the timer fires; owned by the timer.
class timer_payload {
public:
  timer_payload() = default;
  timer_payload(const timer_payload&) = delete;
  timer_payload& operator=(const timer_payload&) = delete;
  virtual ~timer_payload() = default;
  virtual signal* make() = 0;
};
KARYON_API std::uint64_t add_timer(cell_slot* self, const address& whom, std::unique_ptr<timer_payload> payload,
                                   std::chrono::nanoseconds delay, bool periodic);
KARYON_API void set_behavior(cell_slot* self, const behavior_table* table);
/// Makes room for one more stashed signal, so that stash_signal can not fail.
KARYON_API void reserve_stash(cell_slot* self);
KARYON_API void stash_signal(cell_slot* self, signal* s) noexcept;

template <class C, class T>
class typed_timer_payload final : public timer_payload {
public:
  template <class U>
  typed_timer_payload(U&& v, bool again) : value_(std::forward<U>(v)), again_(again) {}
  signal* make() override {
    if constexpr (std::is_copy_constructible_v<T>) {
      if (again_) return make_signal<payload_signal<T>>(&tell_ops<C, T>, value_);
    }
    return make_signal<payload_signal<T>>(&tell_ops<C, T>, std::move(value_));
  }

private:
  T value_;
  bool again_;
};

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
  static void run(void* object, void* payload, void* place) {
    auto& c = *static_cast<C*>(object);
    using answered = answer_of<C, T>;
    if constexpr (std::is_void_v<answered>) {
      B::on(c, std::move(*static_cast<T*>(payload)));
      if (place != nullptr) *static_cast<result<void>*>(place) = {};
    } else {
      *static_cast<result<answered>*>(place) = B::on(c, std::move(*static_cast<T*>(payload)));
    }
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
  using C = typename Handle::cell_type;
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

template <class C, class T>
timer_id cell::send_after(const ref<C>& whom, T&& value, std::chrono::nanoseconds delay) {
  using signal_type = std::remove_cvref_t<T>;
  detail::check_signal<C, signal_type>();
  return {detail::add_timer(
      slot_, detail::handle_access::of(whom),
      std::make_unique<detail::typed_timer_payload<C, signal_type>>(std::forward<T>(value), false), delay, false)};
}

template <class C, class T>
timer_id cell::send_every(const ref<C>& whom, T&& value, std::chrono::nanoseconds period) {
  using signal_type = std::remove_cvref_t<T>;
  detail::check_signal<C, signal_type>();
  static_assert(std::is_copy_constructible_v<signal_type>, "karyon: a periodic signal is copied for each period");
  return {detail::add_timer(slot_, detail::handle_access::of(whom),
                            std::make_unique<detail::typed_timer_payload<C, signal_type>>(std::forward<T>(value), true),
                            period, true)};
}

template <class B, class C>
void cell::become(C* me) {
  static_assert(detail::uses_behaviors<C>() && detail::listed<B>(typename C::behaviors{}),
                "karyon: list what a cell can become: using behaviors = karyon::behaviors<...>;");
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
