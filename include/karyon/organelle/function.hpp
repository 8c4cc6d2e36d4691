// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>

#include <karyon/cell/task.hpp>
#include <karyon/organelle/detail/call.hpp>

namespace karyon {

/// What a call is expected to take, and where it would run.
struct call_estimate {
  std::uint64_t declared_ns = 0;  ///< by the organelle's own cost model
  std::uint64_t expected_ns = 0;  ///< corrected by what calls of this site took
  std::uint64_t switch_ns = 0;    ///< what going to another thread and back costs here
  execution where = execution::worker;
};

/// What a call site has done so far.
struct call_site_stats {
  std::uint64_t away = 0;      ///< calls that ran on another thread
  std::uint64_t moved = 0;     ///< of them, those that began in the cell's handler and came to the end of their budget
  std::uint64_t overruns = 0;  ///< calls that took longer than a millisecond in a handler, against what was expected
};

namespace detail {
template <std::size_t N>
class call_awaiter;
template <std::size_t N>
struct call_awaitable;
}  // namespace detail

/// A function of an organelle with the arguments of one call, which lie where the caller has them: for use in the expression that
/// makes it. See organelle_function.
template <std::size_t N>
class organelle_call {
public:
  organelle_call(const std::shared_ptr<detail::function_core>& function, std::array<karyon_value, N> arguments) noexcept
      : function_(function), arguments_(arguments) {}
  organelle_call(const organelle_call&) = delete;
  organelle_call& operator=(const organelle_call&) = delete;

  /// For a cell, in its turn: makes the call where it belongs and goes on with `then(karyon::organelle_result)`: before this returns, if it
  /// ran here, else as a handler of this cell. If the cell ends first, `then` is not called, and the call is told (karyon_cancelled).
  /// Throws std::bad_alloc, and then has not begun; and what `then` throws if it is called at once.
  template <class C, class Then>
  void then(C* me, Then&& then) &&;

  /// In a coroutine of a cell: `karyon::organelle_result r = co_await f(graph_, 7).on(this);` The same, without a continuation.
  template <class C>
  [[nodiscard]] detail::call_awaitable<N> on(C* me) &&;

  /// On this thread, however long it takes: for threads of the host's own, or for functions known to be short.
  [[nodiscard]] organelle_result now() && { return detail::call_now(*function_, arguments_); }

  /// Where `then` would run it, of this moment.
  [[nodiscard]] call_estimate estimate() &&;

private:
  const std::shared_ptr<detail::function_core>& function_;
  std::array<karyon_value, N> arguments_;
};

/// A place to call one function of an organelle from.
///
///     degree_(graph_, 7).then(this, [this](karyon::organelle_result r) { ... });
///     karyon::organelle_result r = co_await degree_(graph_, 7).on(this);
///     karyon::organelle_result r = degree_(graph_, 7).now();           // not in a cell, unless it is short
///
/// Arguments are bool, integers, double, handle, view, columns, strings and spans of plain elements, std::monostate for one that is left
/// out, or an organelle_value. They are checked against what the function declares before it is called (KARYON_INVALID_ARGUMENT). As long
/// as a call stays in the handler they are not copied; one that goes to another thread keeps handles and views, and copies strings
/// and spans: give big ones as view::of.
///
/// Where a call runs: the organelle may have said so (in the handler, on the dirty CPU pool, on the dirty I/O pool). If not, it stays in
/// the handler when it is expected to take less than going to another thread and back, and goes to the dirty CPU pool otherwise. What is
/// expected is what the function declares for these arguments, corrected by what calls of about that declared length took at this
/// site. A function with cursors (KARYON_RESUMABLE) is begun in the handler with that as its budget, and goes on elsewhere if it
/// needs more; one that is bound to the handler is cut into turns of half a millisecond, with other signals in between.
/// In a simulation only what is declared counts, so that runs repeat.
///
/// A value that any cell or thread may have: copies are one site, and share what it learns; make one for each kind of use. Cost of a call
/// in the handler: some tens of nanoseconds, and one atomic operation for each handle among its results.
class KARYON_API organelle_function {
public:
  template <class... Args>
  [[nodiscard]] organelle_call<sizeof...(Args)> operator()(const Args&... arguments) const {
    return {core_, std::array<karyon_value, sizeof...(Args)>{detail::lend(arguments)...}};
  }

  [[nodiscard]] std::string_view name() const noexcept;
  [[nodiscard]] call_site_stats stats() const noexcept;

private:
  friend class organelle;
  explicit organelle_function(std::shared_ptr<detail::function_core> core) noexcept : core_(std::move(core)) {}
  std::shared_ptr<detail::function_core> core_;
};

/// Shared by those who may call it; what is behind it counts with atomics.
template <>
inline constexpr bool enable_sendable<organelle_function> = true;

namespace detail {

[[nodiscard]] KARYON_API call_estimate estimate_call(function_core& function, std::span<karyon_value> arguments);

template <class C>
[[nodiscard]] cell_slot* slot_of(C* me) noexcept {
  static_assert(std::is_base_of_v<cell, C>, "karyon: a call belongs to a cell: f(...).then(this, ...)");
  return cell_access::slot_of(*me);
}

template <std::size_t N>
struct [[nodiscard]] call_awaitable : awaitable {
  using awaiter = call_awaiter<N>;
  const std::shared_ptr<function_core>* function;
  cell_slot* self;
  std::array<karyon_value, N> arguments;
};

/// Is ready at once if the call ran here.
template <std::size_t N>
class call_awaiter final : public waiting_point {
public:
  explicit call_awaiter(const call_awaitable<N>& about)
      : function_(*about.function), self_(about.self), arguments_(about.arguments) {
    call_.arguments = arguments_;
  }

  [[nodiscard]] bool await_ready() { return call_here(*function_, self_, call_); }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> at) {
    wait_in(at);
    continue_call(function_, self_, call_, std::make_unique<relay>(*this));
  }
  [[nodiscard]] organelle_result await_resume() { return std::move(call_.result); }

private:
  /// The awaiter lies in a frame that dies with the cell, as the continuation does.
  class relay final : public call_continuation {
  public:
    explicit relay(call_awaiter& to) noexcept : to_(to) {}
    void go_on(organelle_result&& result) override {
      to_.call_.result = std::move(result);
      to_.resume();
    }

  private:
    call_awaiter& to_;
  };

  const std::shared_ptr<function_core> function_;
  cell_slot* const self_;
  std::array<karyon_value, N> arguments_;
  call_in_progress call_;
};

}  // namespace detail

template <std::size_t N>
template <class C, class Then>
void organelle_call<N>::then(C* me, Then&& then) && {
  using then_type = std::decay_t<Then>;
  static_assert(std::is_invocable_v<then_type&, organelle_result>,
                "karyon: the continuation of a call takes a karyon::organelle_result");
  detail::cell_slot* const self = detail::slot_of(me);
  detail::call_in_progress call;
  call.arguments = arguments_;
  if (detail::call_here(*function_, self, call)) {
    std::forward<Then>(then)(std::move(call.result));
  } else {
    detail::continue_call(function_, self, call,
                          std::make_unique<detail::typed_continuation<then_type>>(std::forward<Then>(then)));
  }
}

template <std::size_t N>
template <class C>
detail::call_awaitable<N> organelle_call<N>::on(C* me) && {
  return {{}, &function_, detail::slot_of(me), arguments_};
}

template <std::size_t N>
call_estimate organelle_call<N>::estimate() && {
  return detail::estimate_call(*function_, arguments_);
}

}  // namespace karyon
