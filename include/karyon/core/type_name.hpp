#pragma once

#include <string_view>

namespace karyon {

/// The name of a type as written in the source ("app::counter"), known at compile time, without RTTI's mangling.
template <class T>
[[nodiscard]] constexpr std::string_view type_name() noexcept {
  // GCC: "constexpr std::string_view karyon::type_name() [with T = X; std::string_view = ...]"; clang: "... [T = X]".
  constexpr std::string_view text = __PRETTY_FUNCTION__;
  constexpr std::size_t start = text.find("T = ") + 4;
  constexpr std::size_t semicolon = text.find(';', start);
  constexpr std::size_t end = semicolon != std::string_view::npos ? semicolon : text.rfind(']');
  return text.substr(start, end - start);
}

}  // namespace karyon
