#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

#include <karyon/cell/detail/signal.hpp>
#include <karyon/cell/sendable.hpp>
#include <karyon/core/result.hpp>

namespace karyon::detail {

/// Where the answer to an ask goes: a request of a cell, a thread that waits, or nowhere (any more).
struct reply_address {
  enum class kind : std::uint8_t { none, request, waiter, foreign };
  void* target = nullptr;        // request: the asker's cell_slot; waiter: an answer_slot; foreign: a foreign_reply
  std::uint64_t token = 0;       // request: its number
  std::uint32_t generation = 0;  // request: the asker's incarnation
  kind to = kind::none;
};

/// The meeting place of a waiting thread and the answer; two owners, the last one frees it.
///
///   state     0 open -> 1 answered   by the answerer, after the value
///
/// Orders: the acquire of answered pairs with complete's store: who finds it answered sees the value. The acquire-release of drop
/// pairs with that of the other owner: whoever is last frees what the other has written before its own drop.
class KARYON_API answer_slot {
public:
  answer_slot() = default;
  answer_slot(const answer_slot&) = delete;
  answer_slot& operator=(const answer_slot&) = delete;
  virtual ~answer_slot() = default;

  /// Answerer: after the value is in place.
  void complete() noexcept;
  /// Waiter: true if answered within the time (nanoseconds; spins shortly, then sleeps).
  [[nodiscard]] bool wait(std::uint64_t timeout_ns) noexcept;
  [[nodiscard]] bool answered() const noexcept { return state_.load(std::memory_order_acquire) != 0; }
  /// Answerer, before complete(): whether the waiter has given up. (After it, a waiter that was served may have gone too.)
  [[nodiscard]] bool abandoned() const noexcept { return owners_.load(std::memory_order_relaxed) == 1; }
  /// One of the two, once.
  void drop() noexcept {
    if (owners_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

private:
  std::atomic<std::uint32_t> state_{0};
  std::atomic<std::uint32_t> sleeping_{0};
  std::atomic<std::uint32_t> owners_{2};
};

template <class R>
class typed_answer_slot final : public answer_slot {
public:
  std::optional<result<R>> value;
};

/// The answer as it travels to the asking cell. The asker's request knows the type.
template <class R>
struct answer_signal : signal {
  std::uint64_t token;
  result<R> value;
  answer_signal(const signal_ops* o, std::uint64_t t, result<R>&& v) : signal(o), token(t), value(std::move(v)) {}
};

/// What a cell keeps of a question it has asked: the continuation, or the coroutine that waits. Lives in the asker, dies with it.
class request_handler {
public:
  request_handler() = default;
  request_handler(const request_handler&) = delete;
  request_handler& operator=(const request_handler&) = delete;
  virtual ~request_handler() = default;
  /// `value` points to the result<R> of the question; called on the asker's thread of execution, at most once.
  virtual void answer(void* value) = 0;
  virtual void fail(error e) = 0;
};

/// Frees a request's handler, unless that lies in a coroutine's frame, where it may be gone once it has been called.
struct request_release {
  bool owned = true;
  request_release() = default;
  explicit request_release(bool is_owned) noexcept : owned(is_owned) {}
  template <class T>
  request_release(const std::default_delete<T>&) noexcept {}
  void operator()(request_handler* h) const noexcept {
    if (owned) delete h;
  }
};
using request_ptr = std::unique_ptr<request_handler, request_release>;

/// A reply to an asker outside the runtime's own kinds (a CAF actor).
class foreign_reply {
public:
  foreign_reply() = default;
  foreign_reply(const foreign_reply&) = delete;
  foreign_reply& operator=(const foreign_reply&) = delete;
  virtual ~foreign_reply() = default;
  virtual void answer(void* value) = 0;  // points to result<R>
  virtual void fail(const error& e) = 0;
};

/// Takes the request with this number out of the cell that is running; null, and counted, if it has timed out.
KARYON_API request_ptr take_request(std::uint64_t token) noexcept;

/// Counts an answer that nobody waits for any more, if a cell gives it.
KARYON_API void count_late_answer() noexcept;

template <class R>
inline void invoke_answer(void*, signal& s) {
  auto& answer = static_cast<answer_signal<R>&>(s);
  if (auto handler = take_request(std::exchange(answer.token, 0))) handler->answer(&answer.value);
}

/// An answer that still has its number has come too late: the asker has ended.
template <class R>
inline void discard_answer(signal* s, errc, const exit_reason&) noexcept {
  auto* const answer = static_cast<answer_signal<R>*>(s);
  if (answer->token != 0) count_late_answer();
  destroy_signal(answer);
}

template <class R>
inline constexpr signal_ops answer_ops{&invoke_answer<R>, &discard_answer<R>, "karyon::answer", false, false, true};

template <class R>
constexpr void check_answer() {
  static_assert(
      std::is_void_v<R> || is_sendable<R>,
      "karyon: this type can not be an answer: what a handler returns travels as a signal does, and must be a plain "
      "value without pointers, references or views (see karyon/cell/sendable.hpp)");
}

/// Sends `value` to where `to` points and forgets the address: an ask is answered at most once. If it throws (std::bad_alloc)
/// nothing has been sent, and `to` is as it was.
template <class R>
void answer(reply_address& to, result<R>&& value) {
  switch (to.to) {
    case reply_address::kind::none: return;
    case reply_address::kind::request: {
      signal* const node = make_signal<answer_signal<R>>(&answer_ops<R>, to.token, std::move(value));
      const reply_address address = std::exchange(to, reply_address{});
      deliver(static_cast<cell_slot*>(address.target), address.generation, node);
      return;
    }
    case reply_address::kind::waiter: {
      auto* slot = static_cast<typed_answer_slot<R>*>(static_cast<answer_slot*>(to.target));
      to = {};
      slot->value.emplace(std::move(value));
      if (slot->abandoned()) count_late_answer();
      slot->complete();
      slot->drop();
      return;
    }
    case reply_address::kind::foreign: {
      auto* reply = static_cast<foreign_reply*>(to.target);
      reply->answer(&value);
      to = {};
      delete reply;
      return;
    }
  }
}

/// The error for an ask that was refused (`code`), or whose receiver ended before it answered (`cell_failed`). Without its
/// words where there is no memory for them.
[[nodiscard]] KARYON_API error unanswered(errc code, const exit_reason& why) noexcept;

/// The end of a question that nobody will answer any more. Without memory for that, a cell that asked is left to its timeout.
template <class R>
void answer_unanswered(reply_address& to, errc code, const exit_reason& why) noexcept {
  if (to.to == reply_address::kind::none) return;
  try {
    answer<R>(to, tl::unexpected<error>(unanswered(code, why)));
  } catch (...) {  // std::bad_alloc, or what the asker's framework throws
    if (to.to == reply_address::kind::foreign) delete static_cast<foreign_reply*>(to.target);
    to = {};
  }
}

/// A question in flight.
template <class T>
struct ask_signal : payload_signal<T> {
  reply_address reply;
  template <class... Args>
  ask_signal(const signal_ops* o, const reply_address& to, Args&&... args)
      : payload_signal<T>(o, std::forward<Args>(args)...), reply(to) {}
};

/// Set while a handler answers an ask, so that it can take the reply address over (cell::defer).
KARYON_API reply_address*& current_question() noexcept;

}  // namespace karyon::detail

namespace karyon {

/// What a handler returns that answers later, through the `promise` it has made with `cell::defer<R>()`.
template <class R>
struct deferred {
  using value_type = R;
};

/// The right to answer one question, kept beyond the handler that received it.
///
/// Move-only and sendable: it may be passed to another cell. Answers at most once; dropped unanswered it tells the asker so at once
/// (`cell_failed`). Any thread may hold it, one at a time.
template <class R>
class promise {
public:
  promise() = default;
  explicit promise(const detail::reply_address& to) noexcept : to_(to) { detail::check_answer<R>(); }
  promise(promise&& other) noexcept : to_(std::exchange(other.to_, {})) {}
  promise& operator=(promise&& other) noexcept {
    std::swap(to_, other.to_);
    return *this;
  }
  promise(const promise&) = delete;
  promise& operator=(const promise&) = delete;
  ~promise() { detail::answer_unanswered<R>(to_, errc::cell_failed, exit_reason::normal()); }

  /// Whether somebody still waits for this answer to be given.
  [[nodiscard]] bool pending() const noexcept { return to_.to != detail::reply_address::kind::none; }
  /// Throws std::bad_alloc, and can then be tried again.
  void answer(result<R> value) { detail::answer<R>(to_, std::move(value)); }

private:
  detail::reply_address to_;
};

}  // namespace karyon
