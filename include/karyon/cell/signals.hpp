#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <typeindex>
#include <unordered_map>
#include <utility>

#include <karyon/cell/detail/ask.hpp>
#include <karyon/cell/detail/copyable.hpp>
#include <karyon/cell/detail/declared.hpp>
#include <karyon/cell/detail/signal.hpp>
#include <karyon/cell/sendable.hpp>
#include <karyon/core/type_name.hpp>

namespace karyon {

class cell;

/// The signals a cell class accepts: `using accepts = karyon::signals<add, total>;`. Each needs a handler `on(T)`.
template <class... Ts>
struct signals {
  static constexpr std::size_t size = sizeof...(Ts);
  /// For templates that choose by what a class accepts. Not by a requires-expression with send or ask: it holds for any T, since what
  /// is not accepted is told in a sentence where the call is compiled.
  template <class T>
  static constexpr bool contains = (std::is_same_v<T, Ts> || ...);
};

/// What a handler returns that is a coroutine; see karyon/cell/task.hpp.
template <class R = void>
class task;

/// The behaviours a cell class can become.
template <class... Bs>
struct behaviors {};

/// Sent to a linked cell that traps exits, in place of ending it: `void on(karyon::exit_signal)`.
struct exit_signal;
/// Sent once to a monitoring cell when the monitored one has ended: `void on(karyon::down)`.
struct down;

namespace detail {

template <class T>
struct answer_type {
  using type = T;
};
template <class T>
struct answer_type<deferred<T>> {
  using type = T;
};
template <class T>
struct answer_type<result<T>> {
  using type = T;
};

template <class R>
struct answer_type<karyon::task<R>> : answer_type<R> {};

template <class T>
inline constexpr bool is_task = false;
template <class R>
inline constexpr bool is_task<karyon::task<R>> = true;

template <class T>
inline constexpr bool is_deferred = false;
template <class R>
inline constexpr bool is_deferred<deferred<R>> = true;

template <class C, class T>
concept handles = requires(C& c, T&& m) {
  c.on(std::move(m));
};

template <class C, class T>
using handler_return = decltype(std::declval<C&>().on(std::declval<T&&>()));

// Without a handler: void, so that whoever asks is told in a sentence (check_signal), and not that no function matches.
template <class C, class T>
struct answer_kind {
  static_assert(
      requires { sizeof(C); },
      "karyon: the asked cell's class is only declared here: define it before the code that asks");
  using type = void;
};
template <class C, class T>
requires handles<C, T>
struct answer_kind<C, T> : answer_type<std::remove_cvref_t<handler_return<C, T>>> {
};

/// What asking C a T yields.
template <class C, class T>
using answer_of = typename answer_kind<C, T>::type;

/// A class's other behaviours, installed by cell::become; null where the class's own `on` applies.
struct behavior_table {
  /// The replacement for `on` of the signal with this position in `accepts`; null for none. Takes the cell, the payload and
  /// where the answer goes (null if nobody asked).
  using function = void (*)(void* object, void* payload, reply_address* reply);
  const function* functions = nullptr;
};

/// The behaviour of the cell that is running; null for its class's own.
KARYON_API const behavior_table* current_behavior() noexcept;

template <class T, class... Ts>
constexpr std::size_t index_in(signals<Ts...>) noexcept {
  std::size_t i = 0;
  (void)((std::is_same_v<T, Ts> || (++i, false)) || ...);
  return i;
}

template <class C>
constexpr bool uses_behaviors() noexcept {
  return requires { typename C::behaviors; };
}

template <class C, class B, class T>
constexpr bool behaves_as_task() noexcept {
  if constexpr (requires(C & c, T && m) { B::on(c, std::move(m)); }) {
    return is_task<std::remove_cvref_t<decltype(B::on(std::declval<C&>(), std::declval<T&&>()))>>;
  } else {
    return false;
  }
}
template <class C, class B, class... Ts>
constexpr bool behavior_has_task(signals<Ts...>) noexcept {
  return (behaves_as_task<C, B, Ts>() || ...);
}
template <class C, class... Bs>
constexpr bool behaviors_have_task(behaviors<Bs...>) noexcept {
  return (behavior_has_task<C, Bs>(typename C::accepts{}) || ...);
}
template <class C, class T>
constexpr bool handler_is_task() noexcept {
  if constexpr (handles<C, T>) {
    return is_task<std::remove_cvref_t<handler_return<C, T>>>;
  } else {
    return false;
  }
}
template <class C, class... Ts>
constexpr bool has_task(signals<Ts...>) noexcept {
  bool found = (handler_is_task<C, Ts>() || ...);
  if constexpr (uses_behaviors<C>()) found = found || behaviors_have_task<C>(typename C::behaviors{});
  if constexpr (requires(C & c) { c.on_start(); }) {
    found = found || is_task<std::remove_cvref_t<decltype(std::declval<C&>().on_start())>>;
  }
  return found || handler_is_task<C, exit_signal>() || handler_is_task<C, down>();
}

/// Whether a handler of the class is a coroutine. Only then a signal is looked at for one that waits for it (cell::receive).
template <class C>
inline constexpr bool uses_tasks = has_task<C>(typename C::accepts{});

/// Takes the longest waiting cell::receive for the signal with this position in `accepts` out of the cell that is running; null if
/// there is none. It is to be given the payload.
KARYON_API request_handler* take_receiver(std::size_t position) noexcept;

/// Runs a handler that is a coroutine until it waits or returns (karyon/cell/task.hpp).
template <class Answered, class R>
void start_handler(karyon::task<R> handler, reply_address* reply);

/// Calls a handler and sends what it returns to whoever asked, or nothing if it has deferred.
template <class Answered, class Call>
void settle(Call&& call, reply_address* reply) {
  using returned = std::remove_cvref_t<decltype(call())>;
  if constexpr (is_task<returned>) {
    start_handler<Answered>(call(), reply);
  } else if constexpr (is_deferred<returned>) {
    (void)call();
  } else if constexpr (std::is_void_v<returned> ||
                       (std::is_void_v<Answered> && !std::is_convertible_v<returned, result<void>>)) {
    (void)call();
    static_assert(std::is_void_v<Answered>, "karyon: a behaviour's handler answers what the class's own answers");
    if (reply != nullptr) answer<void>(*reply, {});
  } else {
    if (reply != nullptr) {
      answer<Answered>(*reply, call());
    } else {
      (void)call();
    }
  }
}

/// Gives a signal to the coroutine that waits for it, or to the handler that there is for it now.
template <class C, class T>
void run_handler(C& c, T& payload, reply_address* reply) {
  if constexpr (uses_tasks<C>) {
    // A question is for its handler, which alone can answer it.
    if (reply == nullptr) {
      if (request_handler* waiting = take_receiver(index_in<T>(typename C::accepts{})))
        return waiting->answer(&payload);
    }
  }
  if constexpr (uses_behaviors<C>()) {
    if (const behavior_table* b = current_behavior()) {
      if (auto f = b->functions[index_in<T>(typename C::accepts{})]) return f(&c, &payload, reply);
    }
  }
  settle<answer_of<C, T>>([&]() -> decltype(auto) { return c.on(std::move(payload)); }, reply);
}

template <class C, class T>
void invoke_tell(void* object, signal& s) {
  run_handler(*static_cast<C*>(object), static_cast<payload_signal<T>&>(s).payload, nullptr);
}

template <class T>
void discard_tell(signal* s, errc, const exit_reason&) noexcept {
  destroy_signal(static_cast<payload_signal<T>*>(s));
}

template <class C, class T>
void run_question(void* object, T& payload, reply_address& reply) {
  struct scope {
    explicit scope(reply_address* r) noexcept : previous(std::exchange(current_question(), r)) {}
    ~scope() { current_question() = previous; }
    reply_address* previous;
  } in_question(&reply);
  run_handler(*static_cast<C*>(object), payload, &reply);
}

template <class C, class T>
void invoke_ask(void* object, signal& s) {
  auto& question = static_cast<ask_signal<T>&>(s);
  run_question<C>(object, question.payload, question.reply);
}

template <class C, class T>
void invoke_tell_copy(void* object, signal& s) {
  T copy = static_cast<const payload_signal<T>&>(s).payload;
  run_handler(*static_cast<C*>(object), copy, nullptr);
}

/// The right to answer stays with the question until the answer is given or taken over.
template <class C, class T>
void invoke_ask_copy(void* object, signal& s) {
  auto& question = static_cast<ask_signal<T>&>(s);
  T copy = static_cast<const ask_signal<T>&>(question).payload;
  run_question<C>(object, copy, question.reply);
}

template <class C, class T, bool Asked>
constexpr auto copying() noexcept -> void (*)(void*, signal&) {
  if constexpr (!can_copy<T>()) {
    return nullptr;
  } else if constexpr (Asked) {
    return &invoke_ask_copy<C, T>;
  } else {
    return &invoke_tell_copy<C, T>;
  }
}

template <class C, class T>
void discard_ask(signal* s, errc code, const exit_reason& why) noexcept {
  auto* question = static_cast<ask_signal<T>*>(s);
  answer_unanswered<answer_of<C, T>>(question->reply, code, why);
  destroy_signal(question);
}

template <class C>
struct declared_dirty_cpu {
  using type = signals<>;
};
template <class C>
requires requires { typename C::dirty_cpu; }
struct declared_dirty_cpu<C> {
  using type = typename C::dirty_cpu;
};
template <class C>
struct declared_dirty_io {
  using type = signals<>;
};
template <class C>
requires requires { typename C::dirty_io; }
struct declared_dirty_io<C> {
  using type = typename C::dirty_io;
};

/// Where class C says that its handler of T runs.
template <class C, class T>
constexpr execution declared_execution() noexcept {
  if (declared_dirty_cpu<C>::type::template contains<T>) return execution::dirty_cpu;
  return declared_dirty_io<C>::type::template contains<T> ? execution::dirty_io : execution::worker;
}

template <class All, class... Ts>
constexpr bool contains_each(signals<Ts...>) noexcept {
  return (All::template contains<Ts> && ...);
}
template <class All, class... Ts>
constexpr bool contains_none(signals<Ts...>) noexcept {
  return !(All::template contains<Ts> || ...);
}

template <class C, class T>
inline constinit handler_site site_of{type_name<C>(), type_name<T>(), declared_execution<C, T>(), 0};

template <class C, class T>
inline constexpr signal_ops tell_ops{&invoke_tell<C, T>,
                                     &discard_tell<T>,
                                     type_name<T>(),
                                     false,
                                     std::is_trivially_destructible_v<T>,
                                     false,
                                     sizeof(payload_signal<T>),
                                     copying<C, T, false>(),
                                     &site_of<C, T>,
                                     conflation_rule_of<C, T>(),
                                     is_high_signal<C, T>(),
                                     remote_tell_of<C, T>()};
template <class C, class T>
inline constexpr signal_ops ask_ops{&invoke_ask<C, T>,
                                    &discard_ask<C, T>,
                                    type_name<T>(),
                                    false,
                                    false,
                                    false,
                                    0,
                                    copying<C, T, true>(),
                                    &site_of<C, T>,
                                    nullptr,  // each question has an asker of its own
                                    is_high_signal<C, T>(),
                                    remote_ask_of<C, T>()};
/// Of a signal that is sent through a cell_ref to another process, where alone the receiver's class is known.
template <class T>
inline constexpr signal_ops remote_only_ops{
    nullptr, &discard_tell<T>, type_name<T>(), false,   false, false,
    0,       nullptr,          nullptr,        nullptr, false, remote_tell_of<void, T>()};

/// Calls a hook, which answers nobody and may be a coroutine.
template <class Hook>
void run_hook(Hook&& hook) {
  if constexpr (is_task<std::remove_cvref_t<decltype(hook())>>) {
    start_handler<void>(hook(), nullptr);
  } else {
    (void)hook();
  }
}

/// What the runtime knows of a cell class; one constant a class.
struct class_info {
  std::string_view name;
  std::uint32_t object_bytes;
  std::uint32_t object_align;
  std::uint32_t mailbox_limit;  // 0: unbounded
  void (*destroy)(void* object) noexcept;
  void (*started)(void* object);                             // null: no on_start
  void (*exiting)(void* object, const exit_reason& why);     // null: no on_exit
  void (*trapped_exit)(void* object, const exit_signal& s);  // null: does not handle exit_signal
  void (*monitored_down)(void* object, const down& d);       // null: does not handle down
  const signal_ops* (*find_tell)(std::type_index type);      // null result: no handler
  turn_needs needs = {};
};

template <class C, class Signals>
struct handler_index;
template <class C, class... Ts>
struct handler_index<C, signals<Ts...>> {
  static const signal_ops* find(std::type_index type) {
    // Never destroyed: a runtime may outlive the static objects that its program made after it.
    static const auto& index =
        *new std::unordered_map<std::type_index, const signal_ops*>{{std::type_index(typeid(Ts)), &tell_ops<C, Ts>}...};
    const auto found = index.find(type);
    return found != index.end() ? found->second : nullptr;
  }
  static constexpr bool any_conflated = (has_conflation_key<C, Ts> || ...);
};

template <class C, class... Ts>
constexpr bool accepts_all(signals<Ts...>) noexcept {
  return (C::accepts::template contains<Ts> && ...);
}
template <class C>
constexpr bool accepts_its_high_signals() noexcept {
  if constexpr (has_high_signals<C>()) {
    return accepts_all<C>(typename C::high_priority{});
  } else {
    return true;
  }
}

// A function for each, so that the compiler's trace names the type that lacks its handler.
template <class C, class T>
constexpr bool check_handler() noexcept {
  static_assert(handles<C, T>, "karyon: each type in a cell class's `accepts` needs a public handler on(T)");
  return true;
}
template <class C, class... Ts>
constexpr bool check_handlers(signals<Ts...>) noexcept {
  return (check_handler<C, Ts>() && ...);
}

template <class C>
struct class_info_of {
  static_assert(std::is_convertible_v<C*, cell*>, "karyon: a cell class derives publicly from karyon::cell");
  static_assert(
      requires { typename C::accepts; },
      "karyon: a cell class names the signals it accepts, in public: using accepts = karyon::signals<...>;");
  static_assert(check_handlers<C>(typename C::accepts{}));
  static_assert(accepts_its_high_signals<C>(),
                "karyon: each type in a cell class's `high_priority` must be in its `accepts`");
  static_assert(
      overflow_of<C>() != overflow::conflate || handler_index<C, typename C::accepts>::any_conflated,
      "karyon: a mailbox that conflates needs a public static conflation_key(const T&) for a type in `accepts`");

  using dirty_cpu = typename declared_dirty_cpu<C>::type;
  using dirty_io = typename declared_dirty_io<C>::type;
  static_assert(contains_each<typename C::accepts>(dirty_cpu{}) && contains_each<typename C::accepts>(dirty_io{}),
                "karyon: dirty_cpu and dirty_io name signals of the class's `accepts`");
  static_assert(
      contains_none<dirty_cpu>(dirty_io{}),
      "karyon: a signal is in dirty_cpu or in dirty_io, not in both: say whether its handler computes or blocks");

  static_assert(sizeof(C) <= 7936, "karyon: a cell object has at most 7,936 bytes: hold large state in a container");
  static_assert(alignof(C) <= 64, "karyon: a cell object is aligned to 64 bytes at most");
  static_assert(std::is_nothrow_destructible_v<C>, "karyon: a cell's destructor must not throw");

  static void destroy(void* object) noexcept { static_cast<C*>(object)->~C(); }
  static constexpr auto started() noexcept -> void (*)(void*) {
    if constexpr (requires(C & c) { c.on_start(); }) {
      return
          [](void* object) { run_hook([object]() -> decltype(auto) { return static_cast<C*>(object)->on_start(); }); };
    } else {
      return nullptr;
    }
  }
  static constexpr auto exiting() noexcept -> void (*)(void*, const exit_reason&) {
    if constexpr (requires(C & c, const exit_reason& why) { c.on_exit(why); }) {
      static_assert(
          !is_task<std::remove_cvref_t<decltype(std::declval<C&>().on_exit(std::declval<const exit_reason&>()))>>,
          "karyon: on_exit is no coroutine: the cell ends with it");
      return [](void* object, const exit_reason& why) { static_cast<C*>(object)->on_exit(why); };
    } else {
      return nullptr;
    }
  }
  static constexpr auto trapped_exit() noexcept -> void (*)(void*, const exit_signal&) {
    if constexpr (requires(C & c, const exit_signal& s) { c.on(s); }) {
      return [](void* object, const exit_signal& s) {
        run_hook([&]() -> decltype(auto) { return static_cast<C*>(object)->on(s); });
      };
    } else {
      return nullptr;
    }
  }
  static constexpr auto monitored_down() noexcept -> void (*)(void*, const down&) {
    if constexpr (requires(C & c, const down& d) { c.on(d); }) {
      return [](void* object, const down& d) {
        run_hook([&]() -> decltype(auto) { return static_cast<C*>(object)->on(d); });
      };
    } else {
      return nullptr;
    }
  }

  static constexpr class_info value{
      type_name<C>(),    sizeof(C), alignof(C),     mailbox_limit_of<C>(), &destroy,
      started(),         exiting(), trapped_exit(), monitored_down(),      &handler_index<C, typename C::accepts>::find,
      turn_needs_of<C>()};
};

}  // namespace detail
}  // namespace karyon
