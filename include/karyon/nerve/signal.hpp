#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <typeindex>
#include <utility>

#include <karyon/cell/broadcast.hpp>
#include <karyon/cell/detail/copyable.hpp>
#include <karyon/nerve/detail/codec.hpp>
#include <karyon/nerve/detail/schema.hpp>

namespace karyon::detail {

/// The one record of a declared type.
template <class T>
const wire_type& wire_type_of() noexcept;

template <class T>
signal* make_arrival(const signal_ops& ops, wire_reader& from, foreign_reply* asker) {
  T value{};
  if (!read_payload(from, value)) return nullptr;
  if (asker == nullptr) return make_signal<payload_signal<T>>(&ops, std::move(value));
  return make_signal<ask_signal<T>>(&ops, reply_address{asker, 0, 0, reply_address::kind::foreign}, std::move(value));
}

template <class T>
constexpr auto copy_of_arrival() noexcept -> signal* (*)(const signal_ops&, const signal&) {
  if constexpr (can_copy<T>()) {
    return [](const signal_ops& ops, const signal& of) -> signal* {
      return make_signal<payload_signal<T>>(&ops, static_cast<const payload_signal<T>&>(of).payload);
    };
  } else {
    return nullptr;
  }
}

template <class T>
[[nodiscard]] wire_type& make_wire_type() {
  static_assert(check_sendable<T>());
  static_assert(
      can_cross<T>(),
      "karyon: a field of this signal can not cross to another process; what can: numbers, bool, enumerations with "
      "a fixed type, strings, containers, optionals, variants, tuples, durations, handles of cells, and classes "
      "made of those");
  static_assert(std::is_default_constructible_v<T>,
                "karyon: a signal that crosses is made without arguments at the receiver, then filled");
  auto& t =
      *new wire_type{type_name<T>(),      {}, 0, std::type_index(typeid(T)), 0, &make_arrival<T>, &remote_only_ops<T>,
                     copy_of_arrival<T>()};
  describe<T>(t.text);
  t.text += layout_of<T>();
  t.schema = wire_hash(goes_raw<T> ? "raw " + t.text : t.text, wire_hash(t.name));
  list_wire_type(t);
  return t;
}

template <class T>
const wire_type& wire_type_of() noexcept {
  static const wire_type& t = make_wire_type<T>();
  return t;
}

template <class T>
bool declare() noexcept {
  return wire_type_of<T>().number != 0;
}

template <class T>
void write_plain(const signal& s, wire_writer& to) {
  write_payload(to, static_cast<const payload_signal<T>&>(s).payload);
}
template <class T>
void write_shared(const signal& s, wire_writer& to) {
  write_payload(to, *static_cast<const shared_signal<T>&>(s).payload);
}

template <class T>
reply_address& reply_of(signal& s) noexcept {
  return static_cast<ask_signal<T>&>(s).reply;
}
template <class R>
const error* error_of(const void* answered) noexcept {
  const auto& r = *static_cast<const result<R>*>(answered);
  return r.has_value() ? nullptr : &r.error();
}
template <class R>
void write_answer(const void* answered, [[maybe_unused]] wire_writer& to) {
  if constexpr (!std::is_void_v<R>) write_payload(to, **static_cast<const result<R>*>(answered));
}
template <class R>
bool read_answer(reply_address& to, wire_reader& from) {
  if constexpr (std::is_void_v<R>) {
    if (!from.complete()) return false;
    answer<R>(to, result<R>());
  } else {
    R value{};
    if (!read_payload(from, value) || !from.complete()) return false;
    answer<R>(to, result<R>(std::move(value)));
  }
  return true;
}
template <class R>
void fail_question(reply_address& to, error why) {
  answer<R>(to, tl::unexpected<error>(std::move(why)));
}
template <class R>
std::uint64_t answer_schema() noexcept {
  return schema_of<R>();
}

template <class C, class T>
constexpr const signal_ops* question_of() noexcept {
  if constexpr (std::is_void_v<C>) {
    return nullptr;
  } else if constexpr (can_answer<answer_of<C, T>>()) {
    return &ask_ops<C, T>;
  } else {
    return nullptr;
  }
}

template <class C, class T>
constexpr remote_ops make_remote_ask() noexcept {
  using R = answer_of<C, T>;
  remote_ops ops{&wire_type_of<T>, &write_plain<T>};
  if constexpr (can_answer<R>()) {
    ops.reply = &reply_of<T>;
    ops.answer_schema = &answer_schema<R>;
    ops.answer_error = &error_of<R>;
    ops.write_answer = &write_answer<R>;
    ops.read_answer = &read_answer<R>;
    ops.fail = &fail_question<R>;
  }
  return ops;
}

template <class C, class T>
inline constexpr remote_ops remote_tell{&wire_type_of<T>, &write_plain<T>, question_of<C, T>()};
template <class C, class T>
inline constexpr remote_ops remote_ask = make_remote_ask<C, T>();
template <class T>
inline constexpr remote_ops remote_shared{&wire_type_of<T>, &write_shared<T>};

/// What karyon_signal(declared<T>) returns: the tables of a declared type.
template <class T>
struct signal_traits {
  template <class C>
  static constexpr const remote_ops* tell() noexcept {
    return &remote_tell<C, T>;
  }
  template <class C>
  static constexpr const remote_ops* ask() noexcept {
    if constexpr (can_answer<answer_of<C, T>>()) {
      return &remote_ask<C, T>;
    } else {
      return nullptr;
    }
  }
  static constexpr const remote_ops* shared() noexcept { return &remote_shared<T>; }
};

}  // namespace karyon::detail

// clang-format off: a macro that calls itself again reads best as it is
#define KARYON_DETAIL_JOIN_(a, b) a##b
#define KARYON_DETAIL_JOIN(a, b) KARYON_DETAIL_JOIN_(a, b)
#define KARYON_DETAIL_NOTHING ()
#define KARYON_DETAIL_AGAIN(...) KARYON_DETAIL_AGAIN_3(KARYON_DETAIL_AGAIN_3(KARYON_DETAIL_AGAIN_3(__VA_ARGS__)))
#define KARYON_DETAIL_AGAIN_3(...) KARYON_DETAIL_AGAIN_2(KARYON_DETAIL_AGAIN_2(KARYON_DETAIL_AGAIN_2(__VA_ARGS__)))
#define KARYON_DETAIL_AGAIN_2(...) KARYON_DETAIL_AGAIN_1(KARYON_DETAIL_AGAIN_1(KARYON_DETAIL_AGAIN_1(__VA_ARGS__)))
#define KARYON_DETAIL_AGAIN_1(...) __VA_ARGS__
#define KARYON_DETAIL_MEMBERS(type, field, ...) \
  &type::field __VA_OPT__(, KARYON_DETAIL_MEMBERS_AGAIN KARYON_DETAIL_NOTHING(type, __VA_ARGS__))
#define KARYON_DETAIL_MEMBERS_AGAIN() KARYON_DETAIL_MEMBERS
// clang-format on

/// Declares that signals of a type may cross to other processes, and what they are made of: in the type's own namespace, right
/// behind its definition, before anything sends it or accepts it.
///
///     struct add { std::int64_t amount; std::string currency; };
///     KARYON_SIGNAL(add, amount, currency)
///     struct total {};
///     KARYON_SIGNAL(total)
///
/// With fields (27 at most): those cross, in that order, and their names are part of what peers compare. Without: all fields of an aggregate
/// (16 at most), known by their order and types alone. Fields can be numbers, bool, enumerations with a fixed underlying type,
/// std::string, arrays, containers, optionals, unique_ptrs, variants, pairs and tuples, durations, results, exit reasons, handles of
/// cells (which are good at the receiver, too), and classes made of those; the type must be default-constructible.
///
/// Nothing but its name (with its namespaces) and its fields tell a type from others: two nodes that have it differently say so by name when
/// they meet, and refuse its signals (`not_declared`) on both sides. A name is declared once in a program.
///
/// A signal that is nothing but numbers without padding goes as it lies in memory; all others as MessagePack.
#define KARYON_SIGNAL(type, ...)                                                                           \
  [[maybe_unused]] constexpr ::karyon::detail::signal_traits<type> karyon_signal(                          \
      ::karyon::detail::declared<type>) noexcept {                                                         \
    return {};                                                                                             \
  }                                                                                                        \
  __VA_OPT__([[maybe_unused]] constexpr auto karyon_fields(::karyon::detail::declared<type>) noexcept {    \
    return ::karyon::detail::listed_fields<KARYON_DETAIL_AGAIN(KARYON_DETAIL_MEMBERS(type, __VA_ARGS__))>{ \
        #__VA_ARGS__};                                                                                     \
  })                                                                                                       \
  [[maybe_unused]] static const bool KARYON_DETAIL_JOIN(karyon_declared_, __COUNTER__) =                   \
      ::karyon::detail::declare<type>();
