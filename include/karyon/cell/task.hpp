#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

#include <karyon/cell/cell.hpp>
#include <karyon/cell/detail/coroutine.hpp>

namespace karyon {

/// What a handler returns that waits in its middle: a coroutine, for conversations that would be a chain of continuations.
///
///     class clerk : public karyon::cell {
///     public:
///       using accepts = karyon::signals<order>;
///       karyon::task<receipt> on(order o) {
///         const auto price = co_await ask(prices_, price_of{o.item}, 1s);   // karyon::result<int>
///         if (!price) co_return receipt{};
///         co_await sleep_for(10ms);
///         co_return receipt{*price};                                        // answers whoever asked
///       }
///
/// While it waits the cell handles other signals, so its state may be another after a co_await than before it; what must not
/// come in between is put aside by another behaviour (docs/howto/coroutines.md). The coroutine runs in its cell's turns alone,
/// never beside another handler.
///
/// A handler takes its signal by value; a reference would dangle at the first co_await. Its question is answered by co_return,
/// or with the failure if an exception leaves it, which ends the cell as any handler's does. When the cell ends, its
/// coroutines that wait are destroyed, the newest first, before its object is; those who asked are told.
///
/// A task may also be a part of another one, which awaits it: `const int n = co_await count(text);`. It starts when it is awaited,
/// belongs to the cell in whose turn it was called, and passes on what it returns or throws. One that is never awaited does nothing.
/// It may take references, since whoever awaits it is there until it has ended.
///
/// With g++ before 14, which destroys the members of an aggregate twice that is made within a co_await expression, such a question
/// is made before it: `auto asked = ask(whom, word{"..."}, 1s); co_await asked;`. If it is not, it does not compile. The same
/// holds for an offloaded lambda whose captures have destructors.
///
/// Awaited are ask, offload, offload_io, sleep_for and receive of cell, and tasks. Threads: the cell's own turns; to call a coroutine elsewhere is a
/// programmer's error and aborts with a sentence. Cost: one frame from the cell's own memory for each call of a coroutine (counted
/// in cell_stats::memory_bytes and against memory_quota; if it can not be had, std::bad_alloc leaves the call), and nothing beside what
/// is awaited. R: void or an object type, for a handler one that can be an answer, or a result of it.
template <class R>
class [[nodiscard]] task {
  static_assert(std::is_void_v<R> || (std::is_object_v<R> && !std::is_array_v<R>),
                "karyon: a task is of void or of an object, not of a reference");

public:
  task(task&& other) noexcept : coroutine_(std::exchange(other.coroutine_, nullptr)) {}
  task& operator=(task&& other) noexcept {
    std::swap(coroutine_, other.coroutine_);
    return *this;
  }
  task(const task&) = delete;
  task& operator=(const task&) = delete;
  ~task() {
    if (coroutine_) coroutine_.destroy();
  }

private:
  template <class>
  friend class detail::task_promise_base;
  template <class Answered, class Returned>
  friend void detail::start_handler(task<Returned> handler, detail::reply_address* reply);
  using promise_handle = std::coroutine_handle<detail::task_promise<R>>;

  explicit task(promise_handle coroutine) noexcept : coroutine_(coroutine) {}
  promise_handle coroutine_;
};

/// A task belongs to its cell.
template <class R>
inline constexpr bool enable_sendable<task<R>> = false;

namespace detail {

template <class R>
karyon::task<R> task_promise_base<R>::get_return_object() noexcept {
  return karyon::task<R>(std::coroutine_handle<task_promise<R>>::from_promise(static_cast<task_promise<R>&>(*this)));
}

/// What was awaited, or moved from, can not be awaited again.
[[noreturn]] KARYON_API void refuse_second_wait() noexcept;

template <class R>
template <class U>
task_awaiter<U> task_promise_base<R>::await_transform(karyon::task<U>&& other) noexcept {
  if (!other.coroutine_) refuse_second_wait();
  return task_awaiter<U>(std::exchange(other.coroutine_, nullptr));
}

template <class Answered, class R>
void start_handler(karyon::task<R> handler, reply_address* reply) {
  check_answer<Answered>();
  auto& p = handler.coroutine_.promise();
  p.handler = &p;
  p.ops = &handler_coroutine<Answered, R>::ops;
  if (reply != nullptr) p.reply = std::exchange(*reply, reply_address{});
  run_until_waiting(p, handler.coroutine_);
  if (!p.ended) {
    link_suspended(p);
    handler.coroutine_ = nullptr;
    return;
  }
  // Without a wait it is a handler like any other: if it fails, the question has its right to an answer back, and may be
  // handled once more (mailbox_policy::kept).
  if (reply != nullptr) *reply = std::exchange(p.reply, reply_address{});
  if (p.failure) std::rethrow_exception(std::exchange(p.failure, nullptr));
  if (reply != nullptr) answer<Answered>(*reply, answer_from<Answered>(p));
}

template <class C, class T>
consteval bool handles_by_reference() noexcept {
  using cell_class = std::remove_cvref_t<C>;
  using signal_type = std::remove_cvref_t<T>;
  if constexpr (!std::is_reference_v<T> || !std::is_base_of_v<cell, cell_class>) {
    return false;
  } else if constexpr (requires { typename cell_class::accepts; }) {
    return cell_class::accepts::template contains<signal_type> || std::is_same_v<signal_type, down> ||
           std::is_same_v<signal_type, exit_signal>;
  } else {
    return false;
  }
}

/// Whether a coroutine looks like a handler, and would keep a reference to its signal.
template <class... Parameters>
inline constexpr bool refers_to_signal = false;
template <class C, class T>
inline constexpr bool refers_to_signal<C, T> = handles_by_reference<C, T>();

template <class Handle, class T>
class ask_awaiter;

/// T as ask has deduced it: a reference where the question has a name.
template <class Handle, class T>
struct [[nodiscard]] ask_awaitable : awaitable {
  using awaiter = ask_awaiter<Handle, T>;
  using question_type = std::remove_cvref_t<T>;
  static constexpr bool of_temporary =
      !std::is_reference_v<T> && std::is_aggregate_v<T> && !std::is_trivially_destructible_v<T>;
  cell_slot* self;
  Handle whom;
  signal_ptr<ask_signal<question_type>> question;
  std::chrono::nanoseconds timeout;
};

template <class Handle, class T>
class ask_awaiter final : public request_handler, public waiting_point {
public:
  using answered = answer_of<typename Handle::cell_type, std::remove_cvref_t<T>>;

  explicit ask_awaiter(ask_awaitable<Handle, T>&& about) noexcept : about_(std::move(about)) {}

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> at) {
    wait_in(at);
    if (about_.question == nullptr) refuse_second_wait();
    const std::uint64_t token = add_awaited_request(about_.self, *this, about_.timeout);
    about_.question->reply = request_address(about_.self, token);
    // A refused question is discarded, which answers it with the refusal.
    deliver_through(about_.whom, about_.question.release());
  }
  [[nodiscard]] result<answered> await_resume() { return std::move(*answer_); }

  void answer(void* value) override {
    answer_.emplace(std::move(*static_cast<result<answered>*>(value)));
    resume();
  }
  void fail(error e) override {
    answer_.emplace(tl::unexpected<error>(std::move(e)));
    resume();
  }

private:
  ask_awaitable<Handle, T> about_;
  std::optional<result<answered>> answer_;
};

template <class Work>
class offload_awaiter;

/// Work as offload has deduced it: a reference where the work has a name.
template <class Work>
struct [[nodiscard]] offload_awaitable : awaitable {
  using awaiter = offload_awaiter<Work>;
  using work_type = std::remove_cvref_t<Work>;
  static constexpr bool of_temporary = !std::is_reference_v<Work> && !std::is_trivially_destructible_v<work_type> &&
                                       (std::is_aggregate_v<work_type> || is_closure<work_type>());
  cell_slot* self;
  execution pool;
  std::unique_ptr<offloaded> work;
};

template <class Work>
class offload_awaiter final : public request_handler, public waiting_point {
public:
  using yielded = offload_result<std::remove_cvref_t<Work>>;

  explicit offload_awaiter(offload_awaitable<Work>&& about) noexcept : about_(std::move(about)) {}

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> at) {
    wait_in(at);
    if (about_.work == nullptr) refuse_second_wait();
    begin_awaited_offload(about_.self, about_.pool, *this, std::move(about_.work));
  }
  [[nodiscard]] result<yielded> await_resume() { return std::move(*answer_); }

  void answer(void* value) override {
    answer_.emplace(std::move(*static_cast<result<yielded>*>(value)));
    resume();
  }
  void fail(error e) override {
    answer_.emplace(tl::unexpected<error>(std::move(e)));
    resume();
  }

private:
  offload_awaitable<Work> about_;
  std::optional<result<yielded>> answer_;
};

template <class Work>
offload_awaitable<Work> make_offload(cell_slot* self, execution pool, Work&& work) {
  using work_type = std::remove_cvref_t<Work>;
  static_assert(std::is_invocable_v<work_type&>, "karyon: offloaded work is called without arguments");
  check_answer<offload_result<work_type>>();
  return {{}, self, pool, std::make_unique<typed_offload<work_type>>(std::forward<Work>(work))};
}

class sleep_awaiter;

struct [[nodiscard]] sleep_awaitable : awaitable {
  using awaiter = sleep_awaiter;
  cell_slot* self;
  std::chrono::nanoseconds time;
};

/// A request that nobody is asked: it times out.
class sleep_awaiter final : public request_handler, public waiting_point {
public:
  explicit sleep_awaiter(const sleep_awaitable& about) noexcept : about_(about) {}

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> at) {
    wait_in(at);
    static_cast<void>(add_awaited_request(about_.self, *this, about_.time));
  }
  void await_resume() const noexcept {}

  void answer(void*) override {}
  void fail(error) override { resume(); }

private:
  sleep_awaitable about_;
};

template <class T, bool Timed>
class receive_awaiter;

template <class T, bool Timed>
struct [[nodiscard]] receive_awaitable : awaitable {
  using awaiter = receive_awaiter<T, Timed>;
  cell_slot* self;
  std::size_t position;
  std::chrono::nanoseconds timeout;
};

template <class T, bool Timed>
class receive_awaiter final : public receiver, public waiting_point {
public:
  explicit receive_awaiter(const receive_awaitable<T, Timed>& about) noexcept : about_(about) {
    position = about.position;
  }

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> at) {
    wait_in(at);
    add_receiver(about_.self, *this, about_.timeout);
  }
  [[nodiscard]] std::conditional_t<Timed, result<T>, T> await_resume() { return std::move(*received_); }

  void answer(void* payload) override {
    received_.emplace(std::move(*static_cast<T*>(payload)));
    resume();
  }
  void fail(error e) override {
    remove_receiver(*this);
    if constexpr (Timed) received_.emplace(tl::unexpected<error>(std::move(e)));
    resume();
  }

private:
  receive_awaitable<T, Timed> about_;
  std::optional<std::conditional_t<Timed, result<T>, T>> received_;
};

template <class T, class C>
consteval std::size_t position_to_receive() noexcept {
  static_assert(C::accepts::template contains<T>,
                "karyon: a cell receives what its class lists: add this type to `accepts`, with a handler for when no "
                "coroutine waits "
                "for it");
  static_assert(uses_tasks<C>, "karyon: a class whose coroutines receive signals has a handler that is a coroutine");
  return index_in<T>(typename C::accepts{});
}

}  // namespace detail

template <class Handle, class T>
detail::ask_awaitable<Handle, T> cell::ask(const Handle& whom, T&& question, std::chrono::nanoseconds timeout) {
  using C = detail::asked_class<Handle>;
  using question_type = std::remove_cvref_t<T>;
  detail::check_signal<C, question_type>();
  detail::check_answer<detail::answer_of<C, question_type>>();
  return {{}, slot_, whom, detail::make_question<C, question_type>(std::forward<T>(question)), timeout};
}

template <class Work>
detail::offload_awaitable<Work> cell::offload(Work&& work) {
  return detail::make_offload<Work>(slot_, execution::dirty_cpu, std::forward<Work>(work));
}

template <class Work>
detail::offload_awaitable<Work> cell::offload_io(Work&& work) {
  return detail::make_offload<Work>(slot_, execution::dirty_io, std::forward<Work>(work));
}

inline detail::sleep_awaitable cell::sleep_for(std::chrono::nanoseconds time) { return {{}, slot_, time}; }

template <class T, class C>
detail::receive_awaitable<T, false> cell::receive(C* me) {
  static_cast<void>(me);
  return {{}, slot_, detail::position_to_receive<T, C>(), std::chrono::nanoseconds::max()};
}

template <class T, class C>
detail::receive_awaitable<T, true> cell::receive(C* me, std::chrono::nanoseconds timeout) {
  static_cast<void>(me);
  return {{}, slot_, detail::position_to_receive<T, C>(), timeout};
}

}  // namespace karyon

template <class R, class... Parameters>
struct std::coroutine_traits<karyon::task<R>, Parameters...> {
  static_assert(!karyon::detail::refers_to_signal<Parameters...>,
                "karyon: a coroutine that takes a signal as a handler does takes it by value: a reference would dangle "
                "at its first "
                "co_await");
  using promise_type = karyon::detail::task_promise<R>;
};
