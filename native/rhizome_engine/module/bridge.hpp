// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <karyon/organelle/abi.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "algo/budget.hpp"
#include "base/types.hpp"

/// What lies between the engine's C++ and the table of C functions that a host calls: exceptions and results become statuses,
/// objects become resources of the host, and arguments are looked at before they are used.
namespace rhizome::module {

/// The host, from karyon_organelle_open on.
extern const karyon_host* host;

// The engine's codes are the boundary's statuses, but for the sign.
static_assert(-static_cast<int>(errc::invalid_argument) == KARYON_INVALID_ARGUMENT);
static_assert(-static_cast<int>(errc::conflict) == KARYON_CONFLICT);
static_assert(-static_cast<int>(errc::io) == KARYON_IO);
static_assert(-static_cast<int>(errc::unsupported) == KARYON_UNSUPPORTED);

inline karyon_status refuse(karyon_call* call, const error& e) noexcept {
  return karyon_fail(call->error, -static_cast<karyon_status>(e.code), e.text.c_str());
}

// ---- resources -------------------------------------------------------------------------------------------------------

/// The kind of resource that a T is; `name` is what a host shows of it.
template <class T>
struct resource {
  static void destroy(void* object) { static_cast<T*>(object)->~T(); }
  static void down(void* object, std::uint64_t) {
    if constexpr (requires(T & t) { t.asker_is_gone(); }) static_cast<T*>(object)->asker_is_gone();
  }
  static inline const karyon_resource_type type{T::type_name, &destroy, &down, nullptr};
};

/// A new resource with one reference, the caller's. Throws std::bad_alloc, and what T's constructor throws.
template <class T, class... Args>
[[nodiscard]] T* make_resource(Args&&... args) {
  static_assert(alignof(T) <= 64);
  void* const room = host->allocate(host, &resource<T>::type, sizeof(T));
  if (room == nullptr) throw std::bad_alloc();
  try {
    return ::new (room) T(std::forward<Args>(args)...);
  } catch (...) {
    host->discard(room);
    throw;
  }
}

// ---- arguments (the host has checked their kinds) --------------------------------------------------------------------

[[nodiscard]] inline bool has(const karyon_call* call, std::uint32_t i) noexcept {
  return i < call->argument_count && call->arguments[i].kind != KARYON_NONE;
}

/// The object behind the i-th argument, or a refusal that says what was expected.
template <class T>
[[nodiscard]] result<T*> object(const karyon_call* call, std::uint32_t i) {
  const karyon_value& v = call->arguments[i];
  if (v.kind == KARYON_RESOURCE && host->type_of(v.as.resource) == &resource<T>::type) {
    return static_cast<T*>(v.as.resource);
  }
  return fail(errc::invalid_argument,
              "argument " + std::to_string(i + 1) + " is not a " + T::type_name + " of this engine");
}

[[nodiscard]] inline std::string_view text(const karyon_call* call, std::uint32_t i) noexcept {
  const karyon_view& v = call->arguments[i].as.view;
  return {static_cast<const char*>(v.data), v.length};
}

/// An unsigned number that fits T.
template <class T>
[[nodiscard]] result<T> number(const karyon_call* call, std::uint32_t i, const char* what) {
  const std::uint64_t n = call->arguments[i].as.u64;
  if (n > std::numeric_limits<T>::max()) {
    return fail(errc::invalid_argument, std::string(what) + " " + std::to_string(n) + " is out of range");
  }
  return static_cast<T>(n);
}

/// The whole elements of a view. Their bytes are copied where they are not aligned.
template <class T>
class elements {
public:
  [[nodiscard]] static result<elements> of(const karyon_call* call, std::uint32_t i, const char* what) {
    const karyon_view& v = call->arguments[i].as.view;
    if (v.length % sizeof(T) != 0) {
      return fail(errc::invalid_argument, std::string(what) + ": " + std::to_string(v.length) +
                                              " bytes are no whole number of elements of " + std::to_string(sizeof(T)));
    }
    elements e;
    const std::size_t count = v.length / sizeof(T);
    if (reinterpret_cast<std::uintptr_t>(v.data) % alignof(T) == 0) {
      e.list_ = {static_cast<const T*>(v.data), count};
    } else {
      e.copied_.resize(count);
      std::copy_n(static_cast<const char*>(v.data), v.length, reinterpret_cast<char*>(e.copied_.data()));
      e.list_ = e.copied_;
    }
    return e;
  }
  [[nodiscard]] std::span<const T> list() const noexcept { return list_; }
  elements(elements&&) noexcept = default;
  elements& operator=(elements&&) noexcept = default;

private:
  elements() = default;
  std::vector<T> copied_;  // a moved vector keeps its elements where they are
  std::span<const T> list_;
};

// ---- results (call->results has room for those that the function declares) ---------------------------------------------

inline void give(karyon_call* call, std::uint64_t n) noexcept {
  karyon_value& v = call->results[call->result_count++];
  v.kind = KARYON_U64;
  v.as.u64 = n;
}
inline void give(karyon_call* call, std::int64_t n) noexcept {
  karyon_value& v = call->results[call->result_count++];
  v.kind = KARYON_I64;
  v.as.i64 = n;
}
inline void give(karyon_call* call, double n) noexcept {
  karyon_value& v = call->results[call->result_count++];
  v.kind = KARYON_F64;
  v.as.f64 = n;
}
inline void give(karyon_call* call, bool b) noexcept {
  karyon_value& v = call->results[call->result_count++];
  v.kind = KARYON_BOOLEAN;
  v.as.u64 = b ? 1 : 0;
}
inline void give_none(karyon_call* call) noexcept { call->results[call->result_count++].kind = KARYON_NONE; }
/// Passes one reference on.
inline void give_resource(karyon_call* call, void* object) noexcept {
  karyon_value& v = call->results[call->result_count++];
  v.kind = KARYON_RESOURCE;
  v.as.resource = object;
}
/// Passes one reference of `owner` on, which keeps what `bytes` shows.
template <class T>
void give_view(karyon_call* call, std::span<const T> list, void* owner) noexcept {
  karyon_value& v = call->results[call->result_count++];
  v.kind = KARYON_VIEW;
  v.as.view = {list.data(), list.size_bytes(), owner};
}

/// Runs a function's body: what it refuses or throws becomes the call's status. A body returns result<void>, or result<progress>
/// of a resumable one. What it gives, it gives last, after all that can be refused.
template <class Body>
karyon_status guarded(karyon_call* call, Body&& body) noexcept {
  try {
    auto outcome = body();
    if (!outcome) return refuse(call, outcome.error());
    if constexpr (requires { *outcome == progress::more; }) {
      if (*outcome == progress::cancelled) {
        return karyon_fail(call->error, KARYON_CANCELLED, "nobody waits for this call any more");
      }
      return *outcome == progress::more ? KARYON_MORE : KARYON_OK;
    } else {
      return KARYON_OK;
    }
  } catch (const std::bad_alloc&) {
    return karyon_fail(call->error, KARYON_OUT_OF_MEMORY, "there is no memory for this call");
  } catch (const std::exception& e) {
    return karyon_fail(call->error, KARYON_INTERNAL, e.what());
  } catch (...) {
    return karyon_fail(call->error, KARYON_INTERNAL, "an exception of unknown type");
  }
}

/// A cost's units: nothing crosses the boundary, and what can not be told is 0.
template <class Body>
std::uint64_t estimated(Body&& body) noexcept {
  try {
    return body();
  } catch (...) {
    return 0;
  }
}

/// `RHIZOME_TRY(auto x, expression)`: x is the result's value, or the body ends with its error.
#define RHIZOME_TRY_NAME_(line) rhizome_try_##line
#define RHIZOME_TRY_2_(line, declaration, ...)                                                                       \
  auto RHIZOME_TRY_NAME_(line) = __VA_ARGS__;                                                                        \
  if (!RHIZOME_TRY_NAME_(line)) return tl::unexpected<::rhizome::error>(std::move(RHIZOME_TRY_NAME_(line)).error()); \
  declaration = *std::move(RHIZOME_TRY_NAME_(line))
#define RHIZOME_TRY_1_(line, declaration, ...) RHIZOME_TRY_2_(line, declaration, __VA_ARGS__)
#define RHIZOME_TRY(declaration, ...) RHIZOME_TRY_1_(__LINE__, declaration, __VA_ARGS__)
/// The same for a result without a value.
#define RHIZOME_CHECK(...)                                                                             \
  do {                                                                                                 \
    auto rhizome_checked = __VA_ARGS__;                                                                \
    if (!rhizome_checked) return tl::unexpected<::rhizome::error>(std::move(rhizome_checked).error()); \
  } while (false)

}  // namespace rhizome::module
