// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>

#include <karyon/cell/broadcast.hpp>
#include <karyon/core/type_name.hpp>
#include <karyon/nerve/detail/codec.hpp>
#include <karyon/nerve/detail/schema.hpp>

namespace karyon::detail {

/// Whether there is a handle of a cell in a T. Path has the classes that are being looked into, so that a tree of itself ends.
template <class T, class... Path>
constexpr bool holds_handle() noexcept;
template <class... Path, class... Ts>
constexpr bool any_holds_handle(type_list<Ts...>) noexcept {
  return (holds_handle<std::remove_cv_t<Ts>, Path...>() || ...);
}
template <class T, class... Path>
constexpr bool holds_handle() noexcept {
  if constexpr ((std::is_same_v<T, Path> || ...)) {
    return false;
  } else if constexpr (kind_of<T>() == wire_kind::handle || kind_of<T>() == wire_kind::found) {
    return true;
  } else {
    return any_holds_handle<Path..., T>(wire_parts<T>());
  }
}

/// What a bus knows of a type that is published; one constant a type. Its values travel as signals between nodes do (codec.hpp), and
/// are looked at as closely when they arrive.
struct hormone_type {
  std::string_view name;
  std::uint64_t id;           // within this process
  std::uint64_t (*schema)();  // the same in all processes that have the type the same way: of its name and its fields
  void (*write)(const void* value, wire_writer& to);
  /// Null if what comes is no such value.
  std::shared_ptr<const void> (*read)(wire_reader& from);
};

constexpr std::uint64_t hash_of_text(std::string_view text, std::uint64_t seed = 0xcbf29ce484222325u) noexcept {
  for (const char c : text) seed = (seed ^ static_cast<unsigned char>(c)) * 0x100000001b3u;  // FNV-1a
  return seed;
}

template <class T>
std::uint64_t hormone_schema() {
  static const std::uint64_t schema = hash_of_text(type_name<T>(), schema_of<T>());
  return schema;
}
template <class T>
void write_hormone(const void* value, wire_writer& to) {
  write_payload(to, *static_cast<const T*>(value));
}
template <class T>
std::shared_ptr<const void> read_hormone(wire_reader& from) {
  auto value = std::make_shared<T>();
  if (!read_payload(from, *value)) return nullptr;
  return value;
}

template <class T>
inline constexpr hormone_type hormone_type_of{type_name<T>(),
                                              hash_of_text(type_name<T>()) + sizeof(T) * 0x9e3779b97f4a7c15u,
                                              &hormone_schema<T>, &write_hormone<T>, &read_hormone<T>};

template <class T>
constexpr void check_published() {
  static_assert(check_sendable<T>());
  static_assert(
      can_cross<T>() && std::is_default_constructible_v<T>,
      "karyon: what is published may have to cross to another process: the type must be default constructible, and "
      "an aggregate of what can cross or declared with KARYON_SIGNAL");
  if constexpr (can_cross<T>()) {
    static_assert(
        !holds_handle<T>(),
        "karyon: what is published reaches processes that are no nodes, where a handle of a cell says nothing");
  }
}

/// How many hops the broadcast has behind it that this thread's handler handles; 0 outside.
[[nodiscard]] KARYON_API std::uint32_t& hops_behind() noexcept;

class hop_scope {
public:
  explicit hop_scope(std::uint32_t hops) noexcept : here_(hops_behind()), previous_(std::exchange(here_, hops)) {}
  ~hop_scope() { here_ = previous_; }
  hop_scope(const hop_scope&) = delete;
  hop_scope& operator=(const hop_scope&) = delete;

private:
  std::uint32_t& here_;
  std::uint32_t previous_;
};

/// A copy of a small value, for one receiver.
template <class T>
struct hormone_signal : payload_signal<T> {
  std::uint32_t hops;
  hormone_signal(const signal_ops* o, std::uint32_t h, const T& value) : payload_signal<T>(o, value), hops(h) {}
};

template <class C, class T>
void invoke_hormone(void* object, signal& s) {
  const hop_scope scope(static_cast<hormone_signal<T>&>(s).hops);
  invoke_tell<C, T>(object, s);
}
template <class C, class T>
void invoke_hormone_copy(void* object, signal& s) {
  const hop_scope scope(static_cast<hormone_signal<T>&>(s).hops);
  invoke_tell_copy<C, T>(object, s);
}
template <class C, class T>
void invoke_shared_hormone(void* object, signal& s) {
  const hop_scope scope(static_cast<shared_signal<T>&>(s).hops);
  invoke_shared<C, T>(object, s);
}
template <class T>
void discard_hormone(signal* s, errc, const exit_reason&) noexcept {
  destroy_signal(static_cast<hormone_signal<T>*>(s));
}

template <class C, class T>
inline constexpr signal_ops hormone_ops{&invoke_hormone<C, T>,
                                        &discard_hormone<T>,
                                        type_name<T>(),
                                        false,
                                        std::is_trivially_destructible_v<T>,
                                        false,
                                        sizeof(hormone_signal<T>),
                                        &invoke_hormone_copy<C, T>,
                                        &site_of<C, T>,
                                        conflation_rule_of<C, T>(),
                                        is_high_signal<C, T>()};
template <class C, class T>
inline constexpr signal_ops shared_hormone_ops{&invoke_shared_hormone<C, T>,
                                               &discard_shared<T>,
                                               type_name<T>(),
                                               false,
                                               false,
                                               false,
                                               0,
                                               &invoke_shared_hormone<C, T>,
                                               &site_of<C, T>,
                                               nullptr,
                                               is_high_signal<C, T>()};

/// How cells of one class get signals of one type.
struct hormone_receiver {
  const hormone_type* type;
  /// Makes one receiver's signal. Throws std::bad_alloc.
  signal* (*make)(const std::shared_ptr<const void>& value, std::uint32_t hops);
};

template <class C, class T>
signal* make_hormone(const std::shared_ptr<const void>& value, std::uint32_t hops) {
  // As in broadcast(): what is small is copied, and what is conflated by key needs a value of its own.
  if constexpr ((std::is_trivially_copyable_v<T> && sizeof(T) <= 64) || is_conflated<C, T>()) {
    return make_signal<hormone_signal<T>>(&hormone_ops<C, T>, hops, *static_cast<const T*>(value.get()));
  } else {
    auto* s = make_signal<shared_signal<T>>(&shared_hormone_ops<C, T>, std::static_pointer_cast<const T>(value));
    s->hops = hops;
    return s;
  }
}

template <class C, class T>
inline constexpr hormone_receiver hormone_receiver_of{&hormone_type_of<T>, &make_hormone<C, T>};

}  // namespace karyon::detail
