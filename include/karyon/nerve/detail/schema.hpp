#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <karyon/core/type_name.hpp>
#include <karyon/nerve/detail/visit.hpp>
#include <karyon/nerve/detail/wire.hpp>
#include <karyon/nerve/detail/wire_kind.hpp>

// How a type is told to others: a text that is the same on both sides exactly where the fields are, and its hash.

namespace karyon::detail {

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

}  // namespace karyon::detail
