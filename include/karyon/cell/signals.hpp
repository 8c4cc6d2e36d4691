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

/// The signals a cell class accepts: `using accepts = karyon::signals<add, total>;`. Each needs a handler `on(T)`.
template <class... Ts>
struct signals {
  static constexpr std::size_t size = sizeof...(Ts);
  template <class T>
  static constexpr bool contains = (std::is_same_v<T, Ts> || ...);
};

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

template <class C, class T>
concept handles = requires(C& c, T&& m) {
  c.on(std::move(m));
};

template <class C, class T>
using handler_return = decltype(std::declval<C&>().on(std::declval<T&&>()));

/// What asking C a T yields.
template <class C, class T>
using answer_of = typename answer_type<std::remove_cvref_t<handler_return<C, T>>>::type;

/// A class's other behaviours, installed by cell::become; null where the class's own `on` applies.
struct behavior_table {
  /// The replacement for `on` of the signal with this position in `accepts`; null for none. Takes the cell, the payload and
  /// a place for the answer (result<R>*, or null if nobody asked).
  using function = void (*)(void* object, void* payload, void* answer);
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

/// Calls the handler of T and turns what it returns into a result<R>, or into nothing if it has deferred.
template <class C, class T>
void run_handler(C& c, T& payload, reply_address* reply) {
  using returned = std::remove_cvref_t<handler_return<C, T>>;
  using answered = answer_of<C, T>;
  if constexpr (uses_behaviors<C>()) {
    if (const behavior_table* b = current_behavior()) {
      if (auto f = b->functions[index_in<T>(typename C::accepts{})]) {
        result<answered> place = fail(errc::cell_failed, "the behaviour gave no answer");
        f(&c, &payload, &place);
        if (reply != nullptr) answer<answered>(*reply, std::move(place));
        return;
      }
    }
  }
  if constexpr (std::is_void_v<returned>) {
    c.on(std::move(payload));
    if (reply != nullptr) answer<void>(*reply, {});
  } else if constexpr (std::is_same_v<returned, deferred<answered>>) {
    (void)c.on(std::move(payload));
  } else {
    if (reply != nullptr) {
      answer<answered>(*reply, c.on(std::move(payload)));
    } else {
      (void)c.on(std::move(payload));
    }
  }
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

/// Where class C says that its handler of T runs.
template <class C, class T>
constexpr execution declared_execution() noexcept {
  if constexpr (requires { typename C::dirty_cpu; }) {
    if constexpr (C::dirty_cpu::template contains<T>) return execution::dirty_cpu;
  }
  if constexpr (requires { typename C::dirty_io; }) {
    if constexpr (C::dirty_io::template contains<T>) return execution::dirty_io;
  }
  return execution::worker;
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
                                     is_high_signal<C, T>()};
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
                                    is_high_signal<C, T>()};

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
  static constexpr bool all_handled = (handles<C, Ts> && ...);
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

template <class C>
struct class_info_of {
  static_assert(
      requires { typename C::accepts; },
      "karyon: a cell class names the signals it accepts: using accepts = karyon::signals<...>;");
  static_assert(handler_index<C, typename C::accepts>::all_handled,
                "karyon: each type in a cell class's `accepts` needs a public handler on(T)");
  static_assert(accepts_its_high_signals<C>(),
                "karyon: each type in a cell class's `high_priority` must be in its `accepts`");
  static_assert(
      overflow_of<C>() != overflow::conflate || handler_index<C, typename C::accepts>::any_conflated,
      "karyon: a mailbox that conflates needs a public static conflation_key(const T&) for a type in `accepts`");

  static_assert(sizeof(C) <= 7936, "karyon: a cell object has at most 7,936 bytes: hold large state in a container");
  static_assert(alignof(C) <= 64, "karyon: a cell object is aligned to 64 bytes at most");
  static_assert(std::is_nothrow_destructible_v<C>, "karyon: a cell's destructor must not throw");

  static void destroy(void* object) noexcept { static_cast<C*>(object)->~C(); }
  static constexpr auto started() noexcept -> void (*)(void*) {
    if constexpr (requires(C & c) { c.on_start(); }) {
      return [](void* object) { static_cast<C*>(object)->on_start(); };
    } else {
      return nullptr;
    }
  }
  static constexpr auto exiting() noexcept -> void (*)(void*, const exit_reason&) {
    if constexpr (requires(C & c, const exit_reason& why) { c.on_exit(why); }) {
      return [](void* object, const exit_reason& why) { static_cast<C*>(object)->on_exit(why); };
    } else {
      return nullptr;
    }
  }
  static constexpr auto trapped_exit() noexcept -> void (*)(void*, const exit_signal&) {
    if constexpr (requires(C & c, const exit_signal& s) { c.on(s); }) {
      return [](void* object, const exit_signal& s) { static_cast<C*>(object)->on(s); };
    } else {
      return nullptr;
    }
  }
  static constexpr auto monitored_down() noexcept -> void (*)(void*, const down&) {
    if constexpr (requires(C & c, const down& d) { c.on(d); }) {
      return [](void* object, const down& d) { static_cast<C*>(object)->on(d); };
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
