// SPDX-License-Identifier: Apache-2.0
#pragma once

// The types of an aggregate's fields, found without a macro in the aggregate.
//
// Counting: an aggregate takes as many initialisers as it has fields, where an array takes one for each element, its
// braces being left out. So the greatest number of initialisers that convert to anything is found first; then, from left
// to right, each place is given `{}` instead, which stands for a whole field, an array included: how many initialisers
// may follow tells how many the field had taken. Naming: a structured binding of that many names, and decltype of each.

#include <cstddef>
#include <type_traits>
#include <utility>

namespace karyon::detail {

template <class...>
struct type_list {};

/// More fields than this are not looked at.
inline constexpr std::size_t fields_max = 16;
/// More initialisers than this (elements of arrays count each) are not looked at: it would take the compiler long.
inline constexpr std::size_t initialisers_max = 2048;

// Stands for an initialiser of any type. Never called: lives in unevaluated operands only (clang warns without a body).
//
// The qualifiers rank what could else be ambiguous: a converting constructor template of the field (std::optional has
// one) goes before the first operator, since it need not add const; that one before the second, which only a reference
// to something that can be written to needs, since it binds to a value as such.
template <class Aggregate>
struct any_field {
  template <class Field>
  requires(!std::is_same_v<std::remove_cv_t<Field>, Aggregate>) operator Field() const&& noexcept {
    __builtin_unreachable();
  }
  template <class Field>
  requires(!std::is_same_v<std::remove_cv_t<Field>, Aggregate>) operator Field&() const& noexcept {
    __builtin_unreachable();
  }
};

// The same, for base classes of the aggregate alone.
template <class Aggregate, bool Empty>
struct any_base {
  template <class Base>
  requires(std::is_base_of_v<Base, Aggregate> && !std::is_same_v<Base, Aggregate> && std::is_empty_v<Base> == Empty)
  operator Base() const&& noexcept {
    __builtin_unreachable();
  }
};

template <class Field, std::size_t>
using repeat = Field;

template <class T, std::size_t... I>
constexpr bool takes(std::index_sequence<I...>) noexcept {
  return requires { T{repeat<any_field<T>, I>()...}; };
}
// Whether T can be initialised from Count initialisers.
template <class T, std::size_t Count>
inline constexpr bool takes_initialisers = takes<T>(std::make_index_sequence<Count>());

template <class T, std::size_t... Before, std::size_t... After>
constexpr bool takes_braces(std::index_sequence<Before...>, std::index_sequence<After...>) noexcept {
  return requires { T{repeat<any_field<T>, Before>()..., {}, repeat<any_field<T>, After>()...}; };
}
template <class T, std::size_t... Before, std::size_t... In, std::size_t... After>
constexpr bool takes_list(std::index_sequence<Before...>, std::index_sequence<In...>,
                          std::index_sequence<After...>) noexcept {
  return requires {
    T{repeat<any_field<T>, Before>()..., {repeat<any_field<T>, In>()...}, repeat<any_field<T>, After>()...};
  };
}
// Whether T can be initialised from Before initialisers, a `{}` and After initialisers.
template <class T, std::size_t Before, std::size_t After>
inline constexpr bool takes_braces_at = takes_braces<T>(std::make_index_sequence<Before>(),
                                                        std::make_index_sequence<After>());
template <class T, std::size_t Before, std::size_t In, std::size_t After>
inline constexpr bool takes_list_at = takes_list<T>(std::make_index_sequence<Before>(), std::make_index_sequence<In>(),
                                                    std::make_index_sequence<After>());

template <class T, bool Empty, std::size_t... Before, std::size_t... After>
constexpr bool takes_base(std::index_sequence<Before...>, std::index_sequence<After...>) noexcept {
  return requires { T{repeat<any_field<T>, Before>()..., any_base<T, Empty>(), repeat<any_field<T>, After>()...}; };
}
// Whether place At of Most is a base class of T, which come before its fields.
template <class T, bool Empty, std::size_t At, std::size_t Most>
inline constexpr bool takes_base_at = takes_base<T, Empty>(std::make_index_sequence<At>(),
                                                           std::make_index_sequence<Most - At - 1>());

// The least number of initialisers that T takes: 0 where every field has a default.
template <class T, std::size_t Count = 0>
constexpr std::size_t initialisers_least() noexcept {
  if constexpr (takes_initialisers<T, Count>) {
    return Count;
  } else if constexpr (Count < 4 * fields_max) {
    return initialisers_least<T, Count + 1>();
  } else {
    return initialisers_max + 1;
  }
}

// The greatest number, known to be in [Low, High): doubles the step while it can, then halves the interval.
template <class T, std::size_t Low, std::size_t High>
constexpr std::size_t bisect_most() noexcept {
  if constexpr (High - Low == 1) {
    return Low;
  } else if constexpr (takes_initialisers<T, (Low + High) / 2>) {
    return bisect_most<T, (Low + High) / 2, High>();
  } else {
    return bisect_most<T, Low, (Low + High) / 2>();
  }
}
template <class T, std::size_t Low, std::size_t Step = 1>
constexpr std::size_t initialisers_most() noexcept {
  if constexpr (Low > initialisers_max) {
    return Low;
  } else if constexpr (takes_initialisers<T, Low + Step>) {
    return initialisers_most<T, Low + Step, 2 * Step>();
  } else {
    return bisect_most<T, Low, Low + Step>();
  }
}

// How many of the Left initialisers from place At on the field there takes.
template <class T, std::size_t At, std::size_t Left, std::size_t Guess = 2>
constexpr std::size_t array_width() noexcept {
  if constexpr (Guess > Left) {
    return 1;  // no array; a field that `{}` does not initialise, such as a reference
  } else if constexpr (takes_list_at<T, At, Guess, Left - Guess> && !takes_list_at<T, At, Guess, Left - Guess + 1>) {
    return Guess;
  } else {
    return array_width<T, At, Left, Guess + 1>();
  }
}
// The array at At takes at least Low and less than High initialisers.
template <class T, std::size_t At, std::size_t Left, std::size_t Low, std::size_t High>
constexpr std::size_t bisect_width() noexcept {
  if constexpr (Low == High) {
    return Low;
  } else if constexpr (takes_braces_at<T, At, Left - (Low + High) / 2>) {
    return bisect_width<T, At, Left, Low, (Low + High) / 2>();
  } else {
    return bisect_width<T, At, Left, (Low + High) / 2 + 1, High>();
  }
}
template <class T, std::size_t At, std::size_t Left>
constexpr std::size_t field_width() noexcept {
  if constexpr (takes_braces_at<T, At, Left - 1>) {
    return 1;
  } else if constexpr (takes_initialisers<T, 0> && takes_braces_at<T, At, 0>) {
    return bisect_width<T, At, Left, 2, Left>();
  } else {
    return array_width<T, At, Left>();
  }
}

template <class T, std::size_t Most, std::size_t At = 0, std::size_t Fields = 0>
constexpr std::size_t count_from() noexcept {
  if constexpr (At >= Most || Fields > fields_max) {
    return Fields;
  } else {
    return count_from<T, Most, At + field_width<T, At, Most - At>(), Fields + 1>();
  }
}

template <class T, std::size_t Most, std::size_t At = 0>
constexpr std::size_t count_empty_bases() noexcept {
  if constexpr (At < Most) {
    if constexpr (takes_base_at<T, true, At, Most>) {
      return count_empty_bases<T, Most, At + 1>();
    } else {
      return At;
    }
  } else {
    return At;
  }
}

template <class T, std::size_t Most, std::size_t At>
constexpr bool has_state_base() noexcept {
  if constexpr (At < Most) {
    return takes_base_at<T, false, At, Most>;
  } else {
    return false;
  }
}

/// `fields_of` names what can not be taken apart: too many fields or elements, or a base class with fields of its own.
struct not_decomposable {};

template <class T>
constexpr std::size_t initialisers_of() noexcept {
  constexpr std::size_t least = initialisers_least<T>();
  if constexpr (least > initialisers_max) {
    return least;
  } else {
    return initialisers_most<T, least>();
  }
}

// clang-format off: one line a count reads best
template <class T, std::size_t Count>
constexpr auto name_fields([[maybe_unused]] T& t) noexcept {
  if constexpr (Count == 0) {
    return type_list<>();
  } else if constexpr (Count == 1) {
    [[maybe_unused]] auto& [a] = t;
    return type_list<decltype(a)>();
  } else if constexpr (Count == 2) {
    [[maybe_unused]] auto& [a, b] = t;
    return type_list<decltype(a), decltype(b)>();
  } else if constexpr (Count == 3) {
    [[maybe_unused]] auto& [a, b, c] = t;
    return type_list<decltype(a), decltype(b), decltype(c)>();
  } else if constexpr (Count == 4) {
    [[maybe_unused]] auto& [a, b, c, d] = t;
    return type_list<decltype(a), decltype(b), decltype(c), decltype(d)>();
  } else if constexpr (Count == 5) {
    [[maybe_unused]] auto& [a, b, c, d, e] = t;
    return type_list<decltype(a), decltype(b), decltype(c), decltype(d), decltype(e)>();
  } else if constexpr (Count == 6) {
    [[maybe_unused]] auto& [a, b, c, d, e, f] = t;
    return type_list<decltype(a), decltype(b), decltype(c), decltype(d), decltype(e), decltype(f)>();
  } else if constexpr (Count == 7) {
    [[maybe_unused]] auto& [a, b, c, d, e, f, g] = t;
    return type_list<decltype(a), decltype(b), decltype(c), decltype(d), decltype(e), decltype(f), decltype(g)>();
  } else if constexpr (Count == 8) {
    [[maybe_unused]] auto& [a, b, c, d, e, f, g, h] = t;
    return type_list<decltype(a), decltype(b), decltype(c), decltype(d), decltype(e), decltype(f), decltype(g),
                     decltype(h)>();
  } else if constexpr (Count == 9) {
    [[maybe_unused]] auto& [a, b, c, d, e, f, g, h, i] = t;
    return type_list<decltype(a), decltype(b), decltype(c), decltype(d), decltype(e), decltype(f), decltype(g),
                     decltype(h), decltype(i)>();
  } else if constexpr (Count == 10) {
    [[maybe_unused]] auto& [a, b, c, d, e, f, g, h, i, j] = t;
    return type_list<decltype(a), decltype(b), decltype(c), decltype(d), decltype(e), decltype(f), decltype(g),
                     decltype(h), decltype(i), decltype(j)>();
  } else if constexpr (Count == 11) {
    [[maybe_unused]] auto& [a, b, c, d, e, f, g, h, i, j, k] = t;
    return type_list<decltype(a), decltype(b), decltype(c), decltype(d), decltype(e), decltype(f), decltype(g),
                     decltype(h), decltype(i), decltype(j), decltype(k)>();
  } else if constexpr (Count == 12) {
    [[maybe_unused]] auto& [a, b, c, d, e, f, g, h, i, j, k, l] = t;
    return type_list<decltype(a), decltype(b), decltype(c), decltype(d), decltype(e), decltype(f), decltype(g),
                     decltype(h), decltype(i), decltype(j), decltype(k), decltype(l)>();
  } else if constexpr (Count == 13) {
    [[maybe_unused]] auto& [a, b, c, d, e, f, g, h, i, j, k, l, m] = t;
    return type_list<decltype(a), decltype(b), decltype(c), decltype(d), decltype(e), decltype(f), decltype(g),
                     decltype(h), decltype(i), decltype(j), decltype(k), decltype(l), decltype(m)>();
  } else if constexpr (Count == 14) {
    [[maybe_unused]] auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = t;
    return type_list<decltype(a), decltype(b), decltype(c), decltype(d), decltype(e), decltype(f), decltype(g),
                     decltype(h), decltype(i), decltype(j), decltype(k), decltype(l), decltype(m), decltype(n)>();
  } else if constexpr (Count == 15) {
    [[maybe_unused]] auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o] = t;
    return type_list<decltype(a), decltype(b), decltype(c), decltype(d), decltype(e), decltype(f), decltype(g),
                     decltype(h), decltype(i), decltype(j), decltype(k), decltype(l), decltype(m), decltype(n),
                     decltype(o)>();
  } else if constexpr (Count == 16) {
    [[maybe_unused]] auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = t;
    return type_list<decltype(a), decltype(b), decltype(c), decltype(d), decltype(e), decltype(f), decltype(g),
                     decltype(h), decltype(i), decltype(j), decltype(k), decltype(l), decltype(m), decltype(n),
                     decltype(o), decltype(p)>();
  }
}
// clang-format on

template <class T>
constexpr auto list_fields() noexcept {
  constexpr std::size_t most = initialisers_of<T>();
  if constexpr (most > initialisers_max) {
    return not_decomposable();
  } else {
    constexpr std::size_t bases = count_empty_bases<T, most>();
    constexpr std::size_t fields = count_from<T, most, bases>();
    if constexpr (has_state_base<T, most, bases>() || fields > fields_max) {
      return not_decomposable();
    } else {
      return decltype(name_fields<T, fields>(std::declval<T&>()))();
    }
  }
}

/// `type_list` of the declared types of an aggregate class's fields, or `not_decomposable`.
///
/// Hard error (of the compiler, at the structured binding) for an aggregate with an anonymous union.
template <class T>
using fields_of = decltype(list_fields<T>());

}  // namespace karyon::detail
