#pragma once

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include <karyon/cell/cell.hpp>

namespace karyon::detail {

class coroutine_base;

/// What is done with a handler's coroutine where only its promise knows the types.
struct coroutine_ops {
  /// It has ended: answers and destroys it. If that throws (what the handler threw, or std::bad_alloc), it is still there.
  void (*finish)(coroutine_base& handler);
  /// Its cell has ended: tells whoever asked, and destroys it with all that it awaits.
  void (*abandon)(coroutine_base& handler, const exit_reason& why) noexcept;
};

/// What every coroutine has in its frame. A *handler* is one that the runtime called; one that another awaits has that other as
/// `awaiting`, and the handler at the bottom of it all as `handler`. Touched in the cell's turn alone.
class coroutine_base {
public:
  coroutine_base() = default;
  coroutine_base(const coroutine_base&) = delete;
  coroutine_base& operator=(const coroutine_base&) = delete;

  std::coroutine_handle<> awaiting;
  coroutine_base* handler = nullptr;
  std::exception_ptr failure;

  // Of a handler.
  std::coroutine_handle<> next;  // to be resumed when the one that runs has given way
  bool ended = false;
  const coroutine_ops* ops = nullptr;
  reply_address reply;              // of the question that it handles
  coroutine_base* newer = nullptr;  // newer, older: the cell's handlers that wait
  coroutine_base* older = nullptr;
};

/// A frame lies in the memory of the cell that is running: the calling thread must be in its turn. Throws std::bad_alloc.
[[nodiscard]] KARYON_API void* allocate_frame(std::size_t bytes);
KARYON_API void free_frame(void* frame) noexcept;
/// A handler waits from now on, and dies with the cell that is running; has ended.
KARYON_API void link_suspended(coroutine_base& handler) noexcept;
KARYON_API void unlink_suspended(coroutine_base& handler) noexcept;
/// As add_request; `waiting` lies in a frame. Aborts unless the calling thread is in this cell's turn.
KARYON_API std::uint64_t add_awaited_request(cell_slot* self, request_handler& waiting,
                                             std::chrono::nanoseconds timeout);

/// As begin_offload, likewise.
KARYON_API void begin_awaited_offload(cell_slot* self, execution pool, request_handler& waiting,
                                      std::unique_ptr<offloaded> work);

/// A coroutine that waits for a signal: a place in a queue, and, if it waits for a time only, a request.
class KARYON_API receiver : public request_handler {
public:
  std::size_t position = 0;
  receiver* ahead = nullptr;
  receiver* behind = nullptr;
  std::uint64_t request = 0;
};
/// Throws std::bad_alloc, and then has done nothing. Aborts as add_awaited_request.
KARYON_API void add_receiver(cell_slot* self, receiver& waiting, std::chrono::nanoseconds timeout);
/// It has timed out.
KARYON_API void remove_receiver(receiver& waiting) noexcept;

/// While one of these lives, the handler's question is the one that cell::defer and cell::stash take over.
class question_scope {
public:
  explicit question_scope(reply_address& question) noexcept
      : place_(current_question()), previous_(std::exchange(place_, &question)) {}
  question_scope(const question_scope&) = delete;
  question_scope& operator=(const question_scope&) = delete;
  ~question_scope() { place_ = previous_; }

private:
  reply_address*& place_;
  reply_address* previous_;
};

/// Runs a handler on from `at` until it waits or has ended. Coroutines that await each other take turns here, so none of them lies
/// upon another on the stack, whether or not the compiler makes tail calls.
inline void run_until_waiting(coroutine_base& handler, std::coroutine_handle<> at) {
  const question_scope scope(handler.reply);
  do {
    handler.next = nullptr;
    at.resume();
    at = handler.next;
  } while (at);
}

/// What a coroutine waited for has come.
inline void go_on(coroutine_base& handler, std::coroutine_handle<> at) {
  run_until_waiting(handler, at);
  if (handler.ended) handler.ops->finish(handler);
}

/// Marks what a coroutine may await: a value that says what it is about, of which the promise makes the `awaiter`. (An awaiter is
/// not movable, since others refer to it; g++ 12 makes a copy of one that it is given by reference.)
struct awaitable {
  /// Whether it was perhaps made of a temporary that g++ 12 would destroy twice.
  static constexpr bool of_temporary = false;
};

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 14
inline constexpr bool temporaries_are_destroyed_once = false;
#else
inline constexpr bool temporaries_are_destroyed_once = true;
#endif

template <class A>
inline constexpr bool is_awaitable = std::is_base_of_v<awaitable, A>;

/// The base of those that wait for something.
class waiting_point {
public:
  waiting_point() = default;
  waiting_point(const waiting_point&) = delete;
  waiting_point& operator=(const waiting_point&) = delete;

  [[nodiscard]] bool await_ready() const noexcept { return false; }

protected:
  ~waiting_point() = default;
  template <class Promise>
  void wait_in(std::coroutine_handle<Promise> at) noexcept {
    handler_ = at.promise().handler;
    at_ = at;
  }
  /// Not to be touched afterwards: it may be gone with its frame.
  void resume() { go_on(*handler_, at_); }

private:
  coroutine_base* handler_ = nullptr;
  std::coroutine_handle<> at_;
};

struct final_waiting_point {
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> at) const noexcept {
    coroutine_base& self = at.promise();
    if (self.awaiting) {
      self.handler->next = self.awaiting;
    } else {
      self.ended = true;
    }
  }
  void await_resume() const noexcept {}
};

template <class R>
class task_awaiter;

template <class R>
class task_promise_base : public coroutine_base {
public:
  static void* operator new(std::size_t bytes) { return allocate_frame(bytes); }
  static void operator delete(void* frame, std::size_t) noexcept { free_frame(frame); }

  [[nodiscard]] karyon::task<R> get_return_object() noexcept;
  [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
  [[nodiscard]] final_waiting_point final_suspend() const noexcept { return {}; }
  void unhandled_exception() noexcept { failure = std::current_exception(); }

  template <class U>
  [[nodiscard]] task_awaiter<U> await_transform(karyon::task<U>&& other) noexcept;
  template <class U>
  void await_transform(karyon::task<U>& other) = delete;  // a task is awaited once: co_await std::move(it)
  template <class A>
  [[nodiscard]] auto await_transform(A&& what) {
    using about = std::remove_cvref_t<A>;
    static_assert(
        is_awaitable<about>,
        "karyon: a task can wait for what the cell gives it (ask, sleep_for, receive, offload) and for another "
        "task: anything else could go on with it outside of its cell");
    if constexpr (is_awaitable<about>) {
      static_assert(
          std::is_lvalue_reference_v<A> || !about::of_temporary || temporaries_are_destroyed_once,
          "karyon: this compiler (g++ before 14) destroys the members of an aggregate twice that is made within a "
          "co_await expression. Make it before: auto asked = ask(...); then co_await asked;");
      return typename about::awaiter(std::move(what));
    } else {
      return std::suspend_never();
    }
  }
};

template <class R>
class task_promise final : public task_promise_base<R> {
public:
  template <class U = R>
  void return_value(U&& v) {
    static_assert(std::is_convertible_v<U&&, R>, "karyon: what this task co_returns is not what it is a task of");
    value_.emplace(std::forward<U>(v));
  }
  /// Of a task that has ended without failure, once.
  [[nodiscard]] R take() { return std::move(*value_); }

private:
  std::optional<R> value_;
};

template <>
class task_promise<void> final : public task_promise_base<void> {
public:
  void return_void() const noexcept {}
  void take() const noexcept {}
};

/// Waits for another task, which it owns.
template <class R>
class [[nodiscard]] task_awaiter {
public:
  using promise_handle = std::coroutine_handle<task_promise<R>>;
  explicit task_awaiter(promise_handle task) noexcept : task_(task) {}
  task_awaiter(const task_awaiter&) = delete;
  task_awaiter& operator=(const task_awaiter&) = delete;
  ~task_awaiter() {
    if (task_) task_.destroy();
  }

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> at) const noexcept {
    coroutine_base& mine = at.promise();
    coroutine_base& its = task_.promise();
    its.awaiting = at;
    its.handler = mine.handler;
    mine.handler->next = task_;
  }
  R await_resume() const {
    auto& its = task_.promise();
    if (its.failure) std::rethrow_exception(std::exchange(its.failure, nullptr));
    return its.take();
  }

private:
  promise_handle task_;
};

/// What a handler has co_returned, as the answer to its question.
template <class Answered, class R>
[[nodiscard]] result<Answered> answer_from(task_promise<R>& ended) {
  if constexpr (std::is_void_v<R>) {
    static_assert(std::is_void_v<Answered>, "karyon: a behaviour's handler answers what the class's own answers");
    return {};
  } else if constexpr (std::is_void_v<Answered> && !std::is_convertible_v<R, result<void>>) {
    return {};
  } else {
    return ended.take();
  }
}

template <class Answered, class R>
struct handler_coroutine {
  using promise = task_promise<R>;

  static void destroy(promise& p) noexcept {
    unlink_suspended(p);
    std::coroutine_handle<promise>::from_promise(p).destroy();
  }
  static void finish(coroutine_base& b) {
    auto& p = static_cast<promise&>(b);
    // Both leave it to the cell, which ends by them, and tells whoever asked why.
    if (p.failure) std::rethrow_exception(p.failure);
    answer<Answered>(p.reply, answer_from<Answered>(p));
    destroy(p);
  }
  static void abandon(coroutine_base& b, const exit_reason& why) noexcept {
    auto& p = static_cast<promise&>(b);
    answer_unanswered<Answered>(p.reply, errc::cell_failed, why);
    destroy(p);
  }
  static constexpr coroutine_ops ops{&finish, &abandon};
};

}  // namespace karyon::detail
