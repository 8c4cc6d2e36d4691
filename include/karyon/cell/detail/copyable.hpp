#pragma once

#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>

#include <karyon/cell/sendable.hpp>

namespace karyon::detail {

// Whether a signal can be handled as a copy. std::is_copy_constructible alone does not say: a vector of unique_ptr claims to
// be copyable, and so does whatever holds one. So aggregates are looked into, and containers, by their element types, as
// is_sendable does; other classes are trusted.

template <class T, class... Path>
constexpr bool can_copy() noexcept;

template <class... Path, class... Ts>
constexpr bool can_copy_all(type_list<Ts...>) noexcept {
  return (can_copy<std::remove_cv_t<Ts>, Path...>() && ...);
}

template <class T, class... Path>
constexpr bool can_copy_class() noexcept {
  if constexpr ((std::is_same_v<T, Path> || ...)) {
    return true;
  } else if constexpr (std::is_trivially_copyable_v<T> || has_verdict<T>) {
    return true;
  } else if constexpr (std::is_aggregate_v<T> && !(has_tuple_protocol<T> && has_value_type<T>)) {
    if constexpr (std::is_same_v<fields_of<T>, not_decomposable>) {
      return true;
    } else {
      return can_copy_all<Path..., T>(fields_of<T>());
    }
  } else if constexpr (is_variant<T>) {
    return can_copy_all<Path..., T>(typename template_arguments<T>::type());
  } else if constexpr (has_mapped_type<T>) {
    return can_copy_all<Path..., T>(type_list<typename T::key_type, typename T::mapped_type>());
  } else if constexpr (has_value_type<T> && has_error_type<T>) {
    return can_copy_all<Path..., T>(type_list<typename T::value_type, typename T::error_type>());
  } else if constexpr (has_value_type<T>) {
    return can_copy_all<Path..., T>(type_list<typename T::value_type>());
  } else if constexpr (has_tuple_protocol<T>) {
    using elements = decltype(tuple_elements<T>(std::make_index_sequence<std::tuple_size_v<T>>()));
    return can_copy_all<Path..., T>(elements());
  } else {
    return true;
  }
}

template <class T, class... Path>
constexpr bool can_copy() noexcept {
  if constexpr (std::is_array_v<T>) {
    return can_copy<std::remove_cv_t<std::remove_extent_t<T>>, Path...>();
  } else if constexpr (!std::is_copy_constructible_v<T>) {
    return false;
  } else if constexpr (std::is_class_v<T>) {
    return can_copy_class<T, Path...>();
  } else {
    return true;
  }
}

}  // namespace karyon::detail
