#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <karyon/cell/exit_reason.hpp>
#include <karyon/cell/ref.hpp>
#include <karyon/core/result.hpp>
#include <karyon/core/type_name.hpp>
#include <karyon/nerve/detail/visit.hpp>
#include <karyon/nerve/detail/wire.hpp>

// What the fields of signals are to a writer and a reader. Containers are told by what they offer, as in sendable.hpp.

namespace karyon {

namespace detail {
struct remote_cell_access;
/// The same cell, if it is another process', whose node looks at the class itself, or a role of that class here; else none.
[[nodiscard]] KARYON_API address checked_cell(const address& at, bool role, const class_info& expected) noexcept;
}  // namespace detail

/// A cell whose class is known to whoever asked for it: what a node answers that was asked for one.
class remote_cell {
public:
  remote_cell() = default;
  /// As a handle; C is the class that was asked for. It follows restarts if the node published a child. Empty if it has led home, to
  /// what is no child of class C.
  template <class C>
  [[nodiscard]] child<C> as() const noexcept {
    return detail::handle_access::make<child<C>>(detail::checked_cell(at_, role_, detail::class_info_of<C>::value));
  }

private:
  friend struct detail::remote_cell_access;
  detail::address at_;
  bool role_ = false;
};

}  // namespace karyon

namespace karyon::detail {

struct remote_cell_access {
  [[nodiscard]] static remote_cell make(const address& at, bool role) noexcept {
    remote_cell c;
    c.at_ = at;
    c.role_ = role;
    return c;
  }
  static address& at(remote_cell& c) noexcept { return c.at_; }
  static bool& role(remote_cell& c) noexcept { return c.role_; }
};

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
inline constexpr bool goes_raw = kind_of<T>() == wire_kind::fields&& raw_bytes<T>() != 0 && std::endian::native
                                                                                                == std::endian::little;

// ---- how its type is told to others ----------------------------------------------------------------------------------

template <class T, class... Path>
void describe(std::string& out);

template <class... Path, class... Ts>
void describe_each(std::string& out, std::string_view between, type_list<Ts...>) {
  [[maybe_unused]] bool first = true;
  [[maybe_unused]] const auto one = [&]<class P>(std::type_identity<P>) {
    if (!std::exchange(first, false)) out += between;
    describe<P, Path...>(out);
  };
  (one(std::type_identity<std::remove_cv_t<Ts>>()), ...);
}

/// Takes the first name off a list "amount, currency".
[[nodiscard]] inline std::string_view next_name(std::string_view& names) noexcept {
  const std::size_t end = names.find(',');
  std::string_view name = names.substr(0, end);
  names = end == std::string_view::npos ? std::string_view() : names.substr(end + 1);
  while (!name.empty() && name.front() == ' ') name.remove_prefix(1);
  while (!name.empty() && name.back() == ' ') name.remove_suffix(1);
  return name;
}

template <class T, class... Path, class... Fs>
void describe_fields(std::string& out, type_list<Fs...>) {
  std::string_view names;
  if constexpr (has_listed_fields<T>) names = karyon_fields(declared<T>{}).names;
  out += '{';
  [[maybe_unused]] bool first = true;
  [[maybe_unused]] const auto one = [&]<class F>(std::type_identity<F>) {
    if (!std::exchange(first, false)) out += ", ";
    describe<F, Path..., T>(out);
    if (const std::string_view name = next_name(names); !name.empty()) (out += ' ') += name;
  };
  (one(std::type_identity<std::remove_cv_t<Fs>>()), ...);
  out += '}';
}

template <class T, class... Path>
void describe(std::string& out) {
  constexpr wire_kind kind = kind_of<T>();
  const auto parts = [&](const char* before, const char* between,
                         auto after) {  // generic: compiled where it is called alone
    out += before;
    describe_each<Path..., T>(out, between, wire_parts<T>());
    out += after;
  };
  if constexpr ((std::is_same_v<T, Path> || ...)) {
    out += type_name<T>();
  } else if constexpr (kind == wire_kind::boolean) {
    out += "bool";
  } else if constexpr (kind == wire_kind::integer || kind == wire_kind::natural) {
    out += (kind == wire_kind::integer ? "int" : "uint") + std::to_string(8 * sizeof(T));
  } else if constexpr (kind == wire_kind::single) {
    out += "float32";
  } else if constexpr (kind == wire_kind::real) {
    out += "float64";
  } else if constexpr (kind == wire_kind::enumeration) {
    out += "enum ";
    describe<std::underlying_type_t<T>>(out);
  } else if constexpr (kind == wire_kind::text) {
    out += "text";
  } else if constexpr (kind == wire_kind::blob) {
    out += "bytes";
  } else if constexpr (kind == wire_kind::array) {
    parts("", "", ("[" + std::to_string(sizeof(T) / sizeof(element_of<T>)) + "]").c_str());
  } else if constexpr (kind == wire_kind::fields) {
    describe_fields<T, Path...>(out, visited_types<T>());
  } else if constexpr (kind == wire_kind::optional || kind == wire_kind::owner) {
    parts("", "", "?");
  } else if constexpr (kind == wire_kind::expected) {
    parts("result<", ", ", ">");
  } else if constexpr (kind == wire_kind::variant) {
    parts("<", " | ", ">");
  } else if constexpr (kind == wire_kind::map) {
    parts("map<", ", ", ">");
  } else if constexpr (kind == wire_kind::set) {
    parts("set<", "", ">");
  } else if constexpr (kind == wire_kind::list) {
    parts("[", "", "]");
  } else if constexpr (kind == wire_kind::tuple) {
    parts("(", ", ", ")");
  } else if constexpr (kind == wire_kind::duration) {
    parts("duration<", "", "");
    out += ' ' + std::to_string(T::period::num) + '/' + std::to_string(T::period::den) + '>';
  } else if constexpr (kind == wire_kind::handle) {
    out += handle_kind<T>::text();
  } else if constexpr (kind == wire_kind::found) {
    out += "cell";
  } else if constexpr (kind == wire_kind::reason) {
    out += "exit_reason";
  } else if constexpr (kind == wire_kind::failure) {
    out += "error";
  }
}

template <class T>
void list_offsets(std::vector<std::size_t>& out, const T& v, const void* begin) {
  constexpr wire_kind kind = kind_of<T>();
  if constexpr (kind == wire_kind::fields) {
    visit_fields(v, [&](const auto&... fields) { (list_offsets(out, fields, begin), ...); });
  } else if constexpr (kind == wire_kind::array) {
    if (std::begin(v) != std::end(v)) list_offsets(out, *std::begin(v), begin);  // the others lie as the first
  } else {
    out.push_back(static_cast<std::size_t>(reinterpret_cast<const char*>(&v) - static_cast<const char*>(begin)));
  }
}

/// Where the fields of a T that goes as it lies in memory are, if not in the order in which they are listed: two types with one list
/// would be taken for each other. Else nothing.
template <class T>
[[nodiscard]] std::string layout_of() {
  std::string text;
  if constexpr (goes_raw<T>) {
    const T v{};
    std::vector<std::size_t> offsets;
    list_offsets(offsets, v, &v);
    if (std::adjacent_find(offsets.begin(), offsets.end(), std::greater_equal<>()) == offsets.end()) return text;
    text = " at bytes";
    for (const std::size_t at : offsets) text += ' ' + std::to_string(at);
  }
  return text;
}

/// A hash of a type that stands for itself, such as an answer's.
template <class T>
[[nodiscard]] std::uint64_t schema_of() {
  if constexpr (std::is_void_v<T>) {
    return 0;
  } else {
    static const std::uint64_t hash = [] {
      std::string text(goes_raw<T> ? "raw " : "");
      describe<T>(text);
      text += layout_of<T>();
      return wire_hash(text);
    }();
    return hash;
  }
}

// ---- writing -------------------------------------------------------------------------------------------------------

template <class T>
void wire_write(wire_writer& w, const T& v) {
  constexpr wire_kind kind = kind_of<T>();
  static_assert(
      kind != wire_kind::unknown,
      "karyon: a value of this type can not cross to another process: declare what it is made of with KARYON_SIGNAL");
  if constexpr (kind == wire_kind::boolean) {
    w.boolean(v);
  } else if constexpr (kind == wire_kind::integer) {
    w.integer(v);
  } else if constexpr (kind == wire_kind::natural) {
    w.natural(v);
  } else if constexpr (kind == wire_kind::single) {
    w.single(v);
  } else if constexpr (kind == wire_kind::real) {
    w.real(v);
  } else if constexpr (kind == wire_kind::enumeration) {
    wire_write(w, static_cast<std::underlying_type_t<T>>(v));
  } else if constexpr (kind == wire_kind::text) {
    w.text(v);
  } else if constexpr (kind == wire_kind::blob) {
    w.blob(std::as_bytes(std::span(v.data(), v.size())));
  } else if constexpr (kind == wire_kind::array) {
    for (const auto& e : v) wire_write(w, e);
  } else if constexpr (kind == wire_kind::fields) {
    visit_fields(v, [&w](const auto&... fields) { (wire_write(w, fields), ...); });
  } else if constexpr (kind == wire_kind::optional || kind == wire_kind::owner) {
    w.boolean(static_cast<bool>(v));
    if (v) wire_write(w, *v);
  } else if constexpr (kind == wire_kind::expected) {
    w.boolean(v.has_value());
    if (!v.has_value()) return wire_write(w, v.error());
    if constexpr (!std::is_void_v<typename T::value_type>) wire_write(w, *v);
  } else if constexpr (kind == wire_kind::variant) {
    w.natural(v.index());
    visit([&w](const auto& alternative) { wire_write(w, alternative); }, v);
  } else if constexpr (kind == wire_kind::map) {
    w.natural(v.size());
    for (const auto& [key, value] : v) {
      wire_write(w, key);
      wire_write(w, value);
    }
  } else if constexpr (kind == wire_kind::set || kind == wire_kind::list) {
    w.natural(v.size());
    for (const auto& e : v) wire_write(w, static_cast<const typename T::value_type&>(e));
  } else if constexpr (kind == wire_kind::tuple) {
    std::apply([&w](const auto&... e) { (wire_write(w, e), ...); }, v);
  } else if constexpr (kind == wire_kind::duration) {
    wire_write(w, v.count());
  } else if constexpr (kind == wire_kind::handle) {
    w.cell(handle_access::of(v), handle_kind<T>::role);
  } else if constexpr (kind == wire_kind::found) {
    T copy = v;
    w.cell(remote_cell_access::at(copy), remote_cell_access::role(copy));
  } else if constexpr (kind == wire_kind::reason) {
    w.natural(static_cast<std::uint64_t>(v.why()));
    w.text(v.type());
    w.text(v.text());
  } else if constexpr (kind == wire_kind::failure) {
    w.natural(static_cast<std::uint64_t>(v.code()));
    w.text(v.message());
  }
}

// ---- reading -------------------------------------------------------------------------------------------------------

template <class T>
[[nodiscard]] bool wire_read(wire_reader& r, T& v);

template <class T>
[[nodiscard]] bool read_number(wire_reader& r, T& v) {
  std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t> n = 0;
  if constexpr (std::is_signed_v<T>) {
    if (!r.integer(n)) return false;
  } else {
    if (!r.natural(n)) return false;
  }
  if (n < std::numeric_limits<T>::min() || n > std::numeric_limits<T>::max()) return r.out_of_range();
  v = static_cast<T>(n);
  return true;
}

/// Reads an element that lies deeper.
template <class T>
[[nodiscard]] bool read_within(wire_reader& r, T& v) {
  if (!r.enter()) return false;
  const bool good = wire_read(r, v);
  r.leave();
  return good;
}

template <class T, std::size_t... I>
[[nodiscard]] bool read_alternative(wire_reader& r, T& v, std::uint64_t index, std::index_sequence<I...>) {
  bool good = false;
  [[maybe_unused]] const auto one = [&]<std::size_t N>(std::integral_constant<std::size_t, N>) {
    if (index == N) good = read_within(r, v.template emplace<N>());
  };
  (one(std::integral_constant<std::size_t, I>()), ...);
  return index < sizeof...(I) ? good : r.out_of_range();
}

/// The least number of values that a T takes in a frame.
template <class T, class... Path>
constexpr std::size_t least_values() noexcept {
  if constexpr (kind_of<T>() == wire_kind::fields && !(std::is_same_v<T, Path> || ...)) {
    return []<class... Fs>(type_list<Fs...>) {
      return (least_values<Fs, Path..., T>() + ... + std::size_t{0});
    }(visited_types<T>());
  } else {
    return 1;
  }
}

template <class T>
[[nodiscard]] bool read_container(wire_reader& r, T& v) {
  constexpr wire_kind kind = kind_of<T>();
  using element = typename T::value_type;
  std::uint64_t n = 0;
  if (!r.natural(n) || !r.enter()) return false;
  constexpr std::size_t least = [] {
    if constexpr (kind == wire_kind::map) {
      return least_values<typename T::key_type>() + least_values<typename T::mapped_type>();
    } else {
      return least_values<std::remove_cv_t<element>>();
    }
  }();
  bool good = r.begin_list(n, sizeof(element), least);
  for (std::uint64_t i = 0; good && i < n; ++i) {
    if constexpr (kind == wire_kind::map) {
      typename T::key_type key{};
      typename T::mapped_type value{};
      good = wire_read(r, key) && wire_read(r, value);
      if (good) v.emplace(std::move(key), std::move(value));
    } else {
      element e{};
      good = wire_read(r, e);
      if (!good) break;
      if constexpr (kind == wire_kind::set) {
        v.emplace(std::move(e));
      } else {
        v.push_back(std::move(e));
      }
    }
  }
  r.leave();
  return good;
}

[[nodiscard]] KARYON_API bool read_reason(wire_reader& r, exit_reason& v);
[[nodiscard]] KARYON_API bool read_error(wire_reader& r, error& v);

template <class T>
[[nodiscard]] bool read_handle(wire_reader& r, T& v) {
  address at;
  bool role = handle_kind<T>::role;
  if (!r.cell(at, role, handle_kind<T>::expected())) return false;
  v = handle_access::make<T>(at);
  return true;
}

template <class T>
[[nodiscard]] bool read_expected(wire_reader& r, T& v) {
  bool has_value = false;
  if (!r.boolean(has_value)) return false;
  if (!has_value) {
    typename T::error_type e = [] {
      if constexpr (std::is_same_v<typename T::error_type, error>) {
        return error(errc::cell_failed, std::string());
      } else {
        return typename T::error_type{};
      }
    }();
    if (!read_within(r, e)) return false;
    v = T(tl::unexpected<typename T::error_type>(std::move(e)));
    return true;
  }
  if constexpr (std::is_void_v<typename T::value_type>) {
    v = T();
    return true;
  } else {
    typename T::value_type value{};
    if (!read_within(r, value)) return false;
    v = T(std::move(value));
    return true;
  }
}

template <class T>
[[nodiscard]] bool read_maybe(wire_reader& r, T& v) {
  bool there = false;
  if (!r.boolean(there)) return false;
  if (!there) return true;
  if constexpr (kind_of<T>() == wire_kind::owner) {
    using element = typename T::element_type;
    if (!r.begin_list(1, sizeof(element), 0)) return false;
    v = T(new element{});
    return read_within(r, *v);
  } else {
    return read_within(r, v.emplace());
  }
}

template <class T>
[[nodiscard]] bool read_blob(wire_reader& r, T& v) {
  std::span<const std::byte> bytes;
  if (!r.blob(bytes)) return false;
  const auto* from = reinterpret_cast<const typename T::value_type*>(bytes.data());
  v.assign(from, from + bytes.size());
  return true;
}

/// Into a value that was made without arguments. False if what comes is no T; the value is then in a state that nobody is to see.
template <class T>
[[nodiscard]] bool wire_read(wire_reader& r, T& v) {
  constexpr wire_kind kind = kind_of<T>();
  if constexpr (kind == wire_kind::boolean) {
    return r.boolean(v);
  } else if constexpr (kind == wire_kind::integer || kind == wire_kind::natural) {
    return read_number(r, v);
  } else if constexpr (kind == wire_kind::single) {
    return r.single(v);
  } else if constexpr (kind == wire_kind::real) {
    return r.real(v);
  } else if constexpr (kind == wire_kind::enumeration) {
    std::underlying_type_t<T> n{};
    if (!wire_read(r, n)) return false;
    v = static_cast<T>(n);
    return true;
  } else if constexpr (kind == wire_kind::text) {
    std::string_view text;
    if (!r.text(text)) return false;
    v.assign(text);
    return true;
  } else if constexpr (kind == wire_kind::blob) {
    return read_blob(r, v);
  } else if constexpr (kind == wire_kind::array) {
    for (auto& e : v) {
      if (!wire_read(r, e)) return false;
    }
    return true;
  } else if constexpr (kind == wire_kind::fields) {
    return visit_fields(v, [&r](auto&... fields) { return (wire_read(r, fields) && ...); });
  } else if constexpr (kind == wire_kind::optional || kind == wire_kind::owner) {
    return read_maybe(r, v);
  } else if constexpr (kind == wire_kind::expected) {
    return read_expected(r, v);
  } else if constexpr (kind == wire_kind::variant) {
    std::uint64_t index = 0;
    return r.natural(index) &&
           read_alternative(r, v, index, std::make_index_sequence<list_size<typename template_arguments<T>::type>>());
  } else if constexpr (kind == wire_kind::map || kind == wire_kind::set || kind == wire_kind::list) {
    return read_container(r, v);
  } else if constexpr (kind == wire_kind::tuple) {
    return std::apply([&r](auto&... e) { return (wire_read(r, e) && ...); }, v);
  } else if constexpr (kind == wire_kind::duration) {
    typename T::rep count{};
    if (!wire_read(r, count)) return false;
    v = T(count);
    return true;
  } else if constexpr (kind == wire_kind::handle) {
    return read_handle(r, v);
  } else if constexpr (kind == wire_kind::found) {
    remote_cell_access::role(v) = true;
    return r.cell(remote_cell_access::at(v), remote_cell_access::role(v), nullptr);
  } else if constexpr (kind == wire_kind::reason) {
    return read_reason(r, v);
  } else {
    static_assert(kind == wire_kind::failure);
    return read_error(r, v);
  }
}

/// A whole payload: as it is, where that can be.
template <class T>
void write_payload(wire_writer& w, const T& v) {
  if constexpr (goes_raw<T>) {
    w.raw(&v, sizeof(T));
  } else {
    wire_write(w, v);
  }
}
template <class T>
[[nodiscard]] bool read_payload(wire_reader& r, T& v) {
  if constexpr (goes_raw<T>) {
    return r.raw(&v, sizeof(T));
  } else {
    return wire_read(r, v);
  }
}

}  // namespace karyon::detail

template <>
inline constexpr bool karyon::enable_sendable<karyon::remote_cell> = true;
