#pragma once

#include <cstdint>
#include <exception>
#include <type_traits>

#include <karyon/core/export.hpp>
#include <karyon/core/result.hpp>

namespace karyon::detail {

template <class T>
struct as_result {
  using type = result<T>;
};
template <class T>
struct as_result<result<T>> {
  using type = result<T>;
};

/// The errors of tables; apart from their templates.
[[nodiscard]] KARYON_API tl::unexpected<error> quota_error(std::uint64_t quota_bytes);
[[nodiscard]] KARYON_API tl::unexpected<error> nested_error();
/// Of the exception being handled: out_of_memory for std::bad_alloc, else cell_failed with its type and text.
[[nodiscard]] KARYON_API error error_of_current_exception() noexcept;
/// A comparison has asked for a range that would wait for the range that it is called by.
[[noreturn]] KARYON_API void throw_nested_range();

/// Within a handler of all exceptions: this one nobody has thrown, so it is none of C++. User code ends its thread (pthread_exit): that must
/// go on (`throw;`), or the process ends.
[[nodiscard]] inline bool thread_is_ending() noexcept { return std::current_exception() == nullptr; }

/// Calls f, and gives what it throws as an error.
template <class F>
auto as_errors(F&& f) -> typename as_result<std::invoke_result_t<F&>>::type {
  try {
    if constexpr (std::is_void_v<std::invoke_result_t<F&>>) {
      f();
      return {};
    } else {
      return f();
    }
  } catch (...) {
    if (thread_is_ending()) throw;
    return tl::unexpected<error>(error_of_current_exception());
  }
}

}  // namespace karyon::detail
