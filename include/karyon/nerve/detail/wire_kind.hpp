#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include <karyon/cell/exit_reason.hpp>
#include <karyon/cell/ref.hpp>
#include <karyon/core/result.hpp>
#include <karyon/core/type_name.hpp>
#include <karyon/nerve/detail/visit.hpp>
#include <karyon/nerve/remote_cell.hpp>

// What a type is to the wire, and what it is made of. Containers are told by what they offer, as in sendable.hpp.

namespace karyon::detail {

enum class wire_kind {
  unknown,
  boolean,
  integer,
  natural,
  single,
  real,
  enumeration,
  text,
  blob,
  array,
  fields,
  optional,
  owner,
  expected,
  variant,
  map,
  set,
  list,
  tuple,
  duration,
  handle,  // ref, child, cell_ref
  found,
  reason,
  failure,
};

template <class T>
struct handle_kind {
  static constexpr bool is = false;
};
template <class C>
struct handle_kind<ref<C>> {
  static constexpr bool is = true, role = false;
  static const class_info* expected() noexcept { return &class_info_of<C>::value; }
  static std::string text() { return "ref<" + std::string(type_name<C>()) + ">"; }
};
template <class C>
struct handle_kind<child<C>> {
  static constexpr bool is = true, role = true;
  static const class_info* expected() noexcept { return &class_info_of<C>::value; }
  static std::string text() { return "child<" + std::string(type_name<C>()) + ">"; }
};
template <>
struct handle_kind<cell_ref> {
  static constexpr bool is = true, role = false;
  static const class_info* expected() noexcept { return nullptr; }
  static std::string text() { return "cell_ref"; }
};

template <class T>
concept has_key_type = requires {
  typename T::key_type;
};
template <class T>
concept is_duration = requires(const T& t) {
  typename T::rep;
  typename T::period;
  t.count();
};
template <class T>
concept is_optional_like = has_value_type<T> && requires(const T& t) {
  t.has_value();
  *t;
};
template <class T>
concept is_growing_list = has_value_type<T> && requires(T& t) {
  t.size();
  t.begin();
  t.push_back(std::declval<typename T::value_type>());
};

template <class T>
constexpr bool is_byte_list() noexcept {
  if constexpr (is_growing_list<T> && requires(T & t) { t.data(), t.resize(1); }) {
    using V = typename T::value_type;
    return std::is_same_v<V, std::byte> || std::is_same_v<V, std::uint8_t>;
  } else {
    return false;
  }
}

/// An enumeration that may hold any value of its underlying type.
template <class T>
concept is_fixed_enum = std::is_enum_v<T> && requires {
  T{std::underlying_type_t<T>(0)};
};

template <class T>
constexpr wire_kind kind_of_class() noexcept {
  if constexpr (std::is_same_v<T, std::string>) {
    return wire_kind::text;
  } else if constexpr (handle_kind<T>::is) {
    return wire_kind::handle;
  } else if constexpr (std::is_same_v<T, remote_cell>) {
    return wire_kind::found;
  } else if constexpr (std::is_same_v<T, exit_reason>) {
    return wire_kind::reason;
  } else if constexpr (std::is_same_v<T, error>) {
    return wire_kind::failure;
  } else if constexpr (has_fields<T>()) {
    return wire_kind::fields;
  } else if constexpr (is_duration<T>) {
    return wire_kind::duration;
  } else if constexpr (has_value_type<T> && has_error_type<T>) {
    return wire_kind::expected;
  } else if constexpr (is_optional_like<T>) {
    return wire_kind::optional;
  } else if constexpr (is_smart_pointer<T> && has_deleter<T> && !std::is_copy_constructible_v<T>) {
    return wire_kind::owner;
  } else if constexpr (is_variant<T>) {
    return wire_kind::variant;
  } else if constexpr (has_mapped_type<T>) {
    return wire_kind::map;
  } else if constexpr (has_key_type<T>) {
    return wire_kind::set;
  } else if constexpr (is_byte_list<T>()) {
    return wire_kind::blob;
  } else if constexpr (is_growing_list<T>) {
    return wire_kind::list;
  } else if constexpr (has_tuple_protocol<T> && has_value_type<T>) {
    return wire_kind::array;
  } else if constexpr (has_tuple_protocol<T>) {
    return wire_kind::tuple;
  } else {
    return wire_kind::unknown;
  }
}

template <class T>
constexpr wire_kind kind_of() noexcept {
  if constexpr (std::is_same_v<T, bool>) {
    return wire_kind::boolean;
  } else if constexpr (std::is_integral_v<T>) {
    return std::is_signed_v<T> ? wire_kind::integer : wire_kind::natural;
  } else if constexpr (std::is_same_v<T, float>) {
    return wire_kind::single;
  } else if constexpr (std::is_same_v<T, double>) {
    return wire_kind::real;
  } else if constexpr (is_fixed_enum<T>) {
    return wire_kind::enumeration;
  } else if constexpr (std::is_bounded_array_v<T>) {
    return wire_kind::array;
  } else if constexpr (std::is_class_v<T>) {
    return kind_of_class<T>();
  } else {
    return wire_kind::unknown;
  }
}

template <class T>
using element_of = std::remove_cvref_t<decltype(*std::begin(std::declval<T&>()))>;

template <class T>
struct tuple_types {
  using type = decltype(tuple_elements<T>(std::make_index_sequence<std::tuple_size_v<T>>()));
};

// ---- what can cross ------------------------------------------------------------------------------------------------

/// What a T of this kind is made of. Path has the classes that are being looked into, so that a tree of itself ends.
template <class T, wire_kind Kind>
struct parts_of {
  using type = type_list<>;
};
template <class T>
struct parts_of<T, wire_kind::array> {
  using type = type_list<element_of<T>>;
};
template <class T>
struct parts_of<T, wire_kind::fields> {
  using type = visited_types<T>;
};
template <class T>
struct parts_of<T, wire_kind::optional> {
  using type = type_list<typename T::value_type>;
};
template <class T>
struct parts_of<T, wire_kind::owner> {
  using type = type_list<typename T::element_type>;
};
template <class T>
struct parts_of<T, wire_kind::expected> {
  using type = std::conditional_t<std::is_void_v<typename T::value_type>, type_list<typename T::error_type>,
                                  type_list<typename T::value_type, typename T::error_type>>;
};
template <class T>
struct parts_of<T, wire_kind::variant> {
  using type = typename template_arguments<T>::type;
};
template <class T>
struct parts_of<T, wire_kind::map> {
  using type = type_list<typename T::key_type, typename T::mapped_type>;
};
template <class T>
struct parts_of<T, wire_kind::set> {
  using type = type_list<typename T::key_type>;
};
template <class T>
struct parts_of<T, wire_kind::list> {
  using type = type_list<typename T::value_type>;
};
template <class T>
struct parts_of<T, wire_kind::tuple> : tuple_types<T> {};
template <class T>
struct parts_of<T, wire_kind::duration> {
  using type = type_list<typename T::rep>;
};
template <class T>
using wire_parts = typename parts_of<T, kind_of<T>()>::type;

template <class T, class... Path>
constexpr bool can_cross() noexcept;
template <class... Path, class... Ts>
constexpr bool all_can_cross(type_list<Ts...>) noexcept {
  return (can_cross<std::remove_cv_t<Ts>, Path...>() && ...);
}
/// Whether a T can be written and read: every part of it is of a kind that is known.
template <class T, class... Path>
constexpr bool can_cross() noexcept {
  if constexpr ((std::is_same_v<T, Path> || ...)) {
    return true;
  } else if constexpr (kind_of<T>() == wire_kind::unknown) {
    return false;
  } else {
    return all_can_cross<Path..., T>(wire_parts<T>());
  }
}
template <class T>
constexpr bool can_answer() noexcept {
  if constexpr (std::is_void_v<T>) {
    return true;
  } else {
    return can_cross<T>() && std::is_default_constructible_v<T>;
  }
}

/// The bytes of a T that is nothing but numbers without a gap, in any of which every bit pattern is a value; else 0.
template <class T>
constexpr std::size_t raw_bytes() noexcept;
template <class... Ts>
constexpr std::size_t raw_sum(type_list<Ts...>) noexcept {
  return ((raw_bytes<Ts>() != 0) && ...) ? (raw_bytes<Ts>() + ... + 0) : 0;
}
template <class T>
constexpr std::size_t raw_bytes() noexcept {
  constexpr wire_kind kind = kind_of<T>();
  if constexpr (kind == wire_kind::integer || kind == wire_kind::natural || kind == wire_kind::single ||
                kind == wire_kind::real) {
    return sizeof(T);
  } else if constexpr (kind == wire_kind::enumeration) {
    return std::is_same_v<std::underlying_type_t<T>, bool> ? 0 : sizeof(T);
  } else if constexpr (kind == wire_kind::array) {
    return raw_bytes<element_of<T>>() != 0 ? sizeof(T) : 0;
  } else if constexpr (kind == wire_kind::fields && std::is_trivially_copyable_v<T>) {
    return raw_sum(visited_types<T>()) == sizeof(T) ? sizeof(T) : 0;
  } else {
    return 0;
  }
}
/// Signals that go as they are.
template <class T>
inline constexpr bool goes_raw = (kind_of<T>() == wire_kind::fields) && (raw_bytes<T>() != 0) &&
                                 (std::endian::native == std::endian::little);

}  // namespace karyon::detail
