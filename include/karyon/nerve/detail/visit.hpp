#pragma once

#include <cstddef>
#include <string_view>
#include <type_traits>
#include <utility>

#include <karyon/cell/detail/fields.hpp>
#include <karyon/cell/detail/remote.hpp>
#include <karyon/cell/sendable.hpp>

namespace karyon::detail {

/// The fields that KARYON_SIGNAL names.
template <auto... Members>
struct listed_fields {
  std::string_view names;
};

template <class T>
concept has_listed_fields = requires {
  karyon_fields(declared<T>{});
};

template <class T, class F, auto... Members>
constexpr decltype(auto) visit_listed([[maybe_unused]] T& t, F&& f, listed_fields<Members...>) {
  return f((t.*Members)...);
}

// clang-format off: one line a count reads best
template <std::size_t Count, class T, class F>
constexpr decltype(auto) visit_aggregate([[maybe_unused]] T& t, F&& f) {
  if constexpr (Count == 0) {
    return f();
  } else if constexpr (Count == 1) {
    auto& [a] = t;
    return f(a);
  } else if constexpr (Count == 2) {
    auto& [a, b] = t;
    return f(a, b);
  } else if constexpr (Count == 3) {
    auto& [a, b, c] = t;
    return f(a, b, c);
  } else if constexpr (Count == 4) {
    auto& [a, b, c, d] = t;
    return f(a, b, c, d);
  } else if constexpr (Count == 5) {
    auto& [a, b, c, d, e] = t;
    return f(a, b, c, d, e);
  } else if constexpr (Count == 6) {
    auto& [a, b, c, d, e, g] = t;
    return f(a, b, c, d, e, g);
  } else if constexpr (Count == 7) {
    auto& [a, b, c, d, e, g, h] = t;
    return f(a, b, c, d, e, g, h);
  } else if constexpr (Count == 8) {
    auto& [a, b, c, d, e, g, h, i] = t;
    return f(a, b, c, d, e, g, h, i);
  } else if constexpr (Count == 9) {
    auto& [a, b, c, d, e, g, h, i, j] = t;
    return f(a, b, c, d, e, g, h, i, j);
  } else if constexpr (Count == 10) {
    auto& [a, b, c, d, e, g, h, i, j, k] = t;
    return f(a, b, c, d, e, g, h, i, j, k);
  } else if constexpr (Count == 11) {
    auto& [a, b, c, d, e, g, h, i, j, k, l] = t;
    return f(a, b, c, d, e, g, h, i, j, k, l);
  } else if constexpr (Count == 12) {
    auto& [a, b, c, d, e, g, h, i, j, k, l, m] = t;
    return f(a, b, c, d, e, g, h, i, j, k, l, m);
  } else if constexpr (Count == 13) {
    auto& [a, b, c, d, e, g, h, i, j, k, l, m, n] = t;
    return f(a, b, c, d, e, g, h, i, j, k, l, m, n);
  } else if constexpr (Count == 14) {
    auto& [a, b, c, d, e, g, h, i, j, k, l, m, n, o] = t;
    return f(a, b, c, d, e, g, h, i, j, k, l, m, n, o);
  } else if constexpr (Count == 15) {
    auto& [a, b, c, d, e, g, h, i, j, k, l, m, n, o, p] = t;
    return f(a, b, c, d, e, g, h, i, j, k, l, m, n, o, p);
  } else {
    auto& [a, b, c, d, e, g, h, i, j, k, l, m, n, o, p, q] = t;
    return f(a, b, c, d, e, g, h, i, j, k, l, m, n, o, p, q);
  }
}
// clang-format on

template <class List>
inline constexpr std::size_t list_size = 0;
template <class... Ts>
inline constexpr std::size_t list_size<type_list<Ts...>> = sizeof...(Ts);

/// Whether `visit_fields` can take a T apart.
template <class T>
constexpr bool has_fields() noexcept {
  if constexpr (has_listed_fields<T>) {
    return true;
  } else if constexpr (std::is_empty_v<T> && std::is_aggregate_v<T>) {
    return true;
  } else if constexpr (std::is_class_v<T> && std::is_aggregate_v<T> && !has_tuple_protocol<T>) {
    return !std::is_same_v<fields_of<T>, not_decomposable>;
  } else {
    return false;
  }
}

/// Calls f with a T's fields, in order: those that are listed, or all of an aggregate.
template <class T, class F>
constexpr decltype(auto) visit_fields([[maybe_unused]] T& t, F&& f) {
  using type = std::remove_const_t<T>;
  if constexpr (has_listed_fields<type>) {
    return visit_listed(t, std::forward<F>(f), karyon_fields(declared<type>{}));
  } else if constexpr (std::is_empty_v<type>) {
    return f();
  } else {
    return visit_aggregate<list_size<fields_of<type>>>(t, std::forward<F>(f));
  }
}

/// The types of those fields.
struct list_types {
  template <class... Fs>
  constexpr type_list<std::remove_cvref_t<Fs>...> operator()(Fs&...) const noexcept {
    return {};
  }
};
template <class T>
using visited_types = decltype(visit_fields(std::declval<T&>(), list_types{}));

}  // namespace karyon::detail
