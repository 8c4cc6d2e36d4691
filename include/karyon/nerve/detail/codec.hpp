#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include <karyon/cell/exit_reason.hpp>
#include <karyon/cell/ref.hpp>
#include <karyon/core/result.hpp>
#include <karyon/nerve/detail/visit.hpp>
#include <karyon/nerve/detail/wire.hpp>
#include <karyon/nerve/detail/wire_kind.hpp>

// What the fields of signals are to a writer and a reader.

namespace karyon::detail {

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
