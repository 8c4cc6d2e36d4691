// SPDX-License-Identifier: Apache-2.0
#pragma once

// The types of an aggregate's fields, found without a macro in the aggregate.
//
// Counting: an aggregate takes as many initialisers as it has fields, where an array takes one for each element, its braces
// being left out. So the greatest number of initialisers that converts to anything is found first; then, from left to
// right, each place is given `{}` instead, which stands for a whole field, an array included: how many initialisers may
// follow tells how many the field had taken. Naming: a structured binding of that many names, and decltype of each.

#include <cstddef>
#include <type_traits>
#include <utility>

namespace karyon::detail {

template <class...>
struct type_list {};

/// More fields than this are not looked at.
inline constexpr std::size_t fields_max = 32;
/// More initialisers than this (elements of arrays count each) are not looked at: it would take the compiler long.
inline constexpr std::size_t initialisers_max = 2048;

// Stands for an initialiser of any type. Never defined: lives in unevaluated operands only.
template <class Aggregate>
struct any_field {
  template <class Field>
    requires(!std::is_same_v<std::remove_cv_t<Field>, Aggregate>)
  operator Field() const noexcept;
  template <class Field>
    requires(!std::is_same_v<std::remove_cv_t<Field>, Aggregate>)
  operator Field&() const noexcept;
};

template <class Aggregate, bool Empty>
struct any_base {
  template <class Base>
    requires(std::is_base_of_v<Base, Aggregate> && !std::is_same_v<Base, Aggregate> && std::is_empty_v<Base> == Empty)
  operator Base() const noexcept;
};

template <class Field, std::size_t>
using repeat = Field;

template <class T, class First, class... Init>
concept initialisable_after = requires { T{First(), Init()...}; };

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
inline constexpr bool takes_braces_at =
    takes_braces<T>(std::make_index_sequence<Before>(), std::make_index_sequence<After>());
template <class T, std::size_t Before, std::size_t In, std::size_t After>
inline constexpr bool takes_list_at = takes_list<T>(
    std::make_index_sequence<Before>(), std::make_index_sequence<In>(), std::make_index_sequence<After>());

template <class T, bool Empty, std::size_t... After>
constexpr bool starts_with_base(std::index_sequence<After...>) noexcept {
  return requires { T{any_base<T, Empty>(), repeat<any_field<T>, After>()...}; };
}

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

enum class aggregate_shape { plain, derived, too_big };

/// How many fields an aggregate has, and whether they can be named by a structured binding.
struct field_count {
  aggregate_shape shape;
  std::size_t fields;
};

template <class T>
constexpr field_count count_fields() noexcept {
  constexpr std::size_t least = initialisers_least<T>();
  if constexpr (least > initialisers_max) {
    return {aggregate_shape::too_big, 0};
  } else {
    constexpr std::size_t most = initialisers_most<T, least>();
    if constexpr (most > initialisers_max) {
      return {aggregate_shape::too_big, 0};
    } else if constexpr (most == 0) {
      return {aggregate_shape::plain, 0};
    } else if constexpr (starts_with_base<T, false>(std::make_index_sequence<most - 1>()) ||
                         starts_with_base<T, true>(std::make_index_sequence<most - 1>())) {
      return {aggregate_shape::derived, 0};
    } else {
      constexpr std::size_t fields = count_from<T, most>();
      return {fields > fields_max ? aggregate_shape::too_big : aggregate_shape::plain, fields};
    }
  }
}

// clang-format off
#define KARYON_DETAIL_FIELDS(count, ...)                         \
  else if constexpr (Count == (count)) {                         \
    [[maybe_unused]] auto& [__VA_ARGS__] = aggregate;            \
    return KARYON_DETAIL_FIELD_TYPES(__VA_ARGS__);               \
  }
// clang-format on
