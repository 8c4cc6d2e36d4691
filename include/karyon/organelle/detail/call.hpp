// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include <karyon/cell/cell.hpp>
#include <karyon/cell/execution.hpp>
#include <karyon/organelle/result.hpp>

namespace karyon::detail {

class function_core;

// ---- Arguments as the boundary has them. They are borrowed: nothing is counted or copied as long as the call stays here.

[[nodiscard]] inline karyon_value lend(std::monostate) noexcept { return {KARYON_NONE, 0, {.u64 = 0}}; }
// Templates, so that nothing becomes a boolean or a number that is none.
template <class T>
requires std::is_arithmetic_v<T> || std::is_enum_v<T>
[[nodiscard]] karyon_value lend(T number) noexcept {
  if constexpr (std::is_enum_v<T>) {
    return lend(static_cast<std::underlying_type_t<T>>(number));
  } else if constexpr (std::is_same_v<T, bool>) {
    return {KARYON_BOOLEAN, 0, {.u64 = number ? 1U : 0U}};
  } else if constexpr (std::is_floating_point_v<T>) {
    return {KARYON_F64, 0, {.f64 = static_cast<double>(number)}};
  } else if constexpr (std::is_signed_v<T>) {
    return {KARYON_I64, 0, {.i64 = number}};
  } else {
    return {KARYON_U64, 0, {.u64 = number}};
  }
}
[[nodiscard]] inline karyon_value lend(const handle& h) noexcept {
  return h ? karyon_value{KARYON_RESOURCE, 0, {.resource = h.object()}} : lend(std::monostate());
}
[[nodiscard]] inline karyon_value lend_bytes(const void* data, std::size_t bytes, void* owner) noexcept {
  return {KARYON_VIEW, 0, {.view = {data, bytes, owner}}};
}
[[nodiscard]] inline karyon_value lend(const view& v) noexcept {
  return lend_bytes(v.data(), v.size(), v.owner().object());
}
[[nodiscard]] inline karyon_value lend(std::string_view text) noexcept {
  return lend_bytes(text.data(), text.size(), nullptr);
}
[[nodiscard]] inline karyon_value lend(const char* text) noexcept { return lend(std::string_view(text)); }
template <class T>
[[nodiscard]] karyon_value lend(std::span<const T> elements) noexcept {
  static_assert(std::is_trivially_copyable_v<T>, "karyon: what a view shows is plain elements");
  return lend_bytes(elements.data(), elements.size_bytes(), nullptr);
}
template <class T>
[[nodiscard]] karyon_value lend(const std::vector<T>& elements) noexcept {
  return lend(std::span<const T>(elements));
}
[[nodiscard]] inline karyon_value lend(const std::string& text) noexcept { return lend(std::string_view(text)); }
[[nodiscard]] inline karyon_value lend(const columns& c) noexcept {
  return {KARYON_COLUMNS, 0, {.columns = {c.schema(), c.array(), c.owner().object()}}};
}
template <std::same_as<organelle_value> T>
[[nodiscard]] karyon_value lend(const T& value) noexcept {
  return std::visit([](const auto& v) { return lend(v); }, value);
}

// ---- One call

/// Where a call goes on with its result: in the cell, in a later turn.
class call_continuation {
public:
  call_continuation() = default;
  call_continuation(const call_continuation&) = delete;
  call_continuation& operator=(const call_continuation&) = delete;
  virtual ~call_continuation() = default;
  virtual void go_on(organelle_result&& result) = 0;
};

template <class Then>
class typed_continuation final : public call_continuation {
public:
  template <class F>
  explicit typed_continuation(F&& then) : then_(std::forward<F>(then)) {}
  void go_on(organelle_result&& result) override { then_(std::move(result)); }

private:
  Then then_;
};

/// The arguments of a call, and what it has come to so far.
struct call_in_progress {
  std::span<karyon_value> arguments;
  organelle_result result;
  handle cursor;              // set: it is not finished
  std::uint64_t took_ns = 0;  // where it was measured
  std::uint64_t declared_ns = 0;
  bool in_steps = false;  // it goes on in turns of its cell, not on another thread
  execution pool = execution::dirty_cpu;
};

/// Makes the call here if it belongs here: true, with its result. Otherwise it was not begun, or has come to a cursor, and goes on
/// with `continue_call`. In the cell's turn.
[[nodiscard]] KARYON_API bool call_here(function_core& function, cell_slot* self, call_in_progress& call);
/// Throws std::bad_alloc; nothing has been begun then.
KARYON_API void continue_call(const std::shared_ptr<function_core>& function, cell_slot* self, call_in_progress& call,
                              std::unique_ptr<call_continuation> then);
/// The whole call on this thread, however long it takes.
[[nodiscard]] KARYON_API organelle_result call_now(function_core& function, std::span<karyon_value> arguments);

}  // namespace karyon::detail
